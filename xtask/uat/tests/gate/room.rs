//! A spool of a test's own, and a gate before it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::limits::{LIMITS, Limits};
use optivex_bundle::names::Name;
use optivex_bundle::spool::{BUNDLE, Receipt, ResultFile, Spool, UatMode, UatStatus, write_json};
use optivex_bundle::verdict::{JobResult, Verdict};
use optivex_bundle::wire::{Answer, Ask, Request};
use optivex_uat::gate::{Gate, Step};

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// Spool and limits.
pub(crate) struct Room {
    pub(crate) home: tempfile::TempDir,
    pub(crate) spool: Spool,
    pub(crate) limits: Limits,
    pub(crate) free: Cell<u64>,
    pub(crate) now: Cell<SystemTime>,
}

/// What the client got.
#[derive(Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) answers: Vec<Answer>,
    pub(crate) files: BTreeMap<ResultFile, Vec<u8>>,
}

impl Heard {
    pub(crate) fn receipt(&self) -> Receipt {
        let receipts = self.answers.iter().filter_map(|answer| match answer {
            Answer::Receipt { receipt, .. } => Some(receipt.clone()),
            _ => None,
        });
        let receipts: Vec<Receipt> = receipts.collect();
        assert_eq!(receipts.len(), 1, "{:?}", self.answers);
        assert_eq!(self.answers.last(), Some(&Answer::Done));
        receipts.into_iter().next().expect("one")
    }

    pub(crate) fn offset(&self) -> Option<u64> {
        self.answers.iter().find_map(|answer| match answer {
            Answer::Go { offset } => Some(*offset),
            _ => None,
        })
    }

    /// Why not; panics if it was not refused.
    pub(crate) fn refusal(&self) -> String {
        match self.answers.last() {
            Some(Answer::Refused { reason, message }) => format!("{reason:?}: {message}"),
            _ => panic!("not refused: {:?}", self.answers),
        }
    }
}

/// What comes back, as a client takes it apart.
pub(crate) fn heard(bytes: &[u8]) -> Heard {
    let mut heard = Heard {
        answers: Vec::new(),
        files: BTreeMap::new(),
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("whole lines");
        let answer: Answer = serde_json::from_slice(&rest[..end])
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&rest[..end])));
        rest = &rest[end + 1..];
        if let Answer::File { name, size, sha256 } = &answer {
            let (file, behind) = rest.split_at(usize::try_from(*size).expect("small"));
            assert_eq!(Digest::of(file), *sha256);
            heard.files.insert(*name, file.to_vec());
            rest = behind;
        }
        heard.answers.push(answer);
    }
    heard
}

pub(crate) fn request(ask: Ask) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Request::new(ask)).expect("JSON");
    line.push(b'\n');
    line
}

pub(crate) fn contract() -> Digest {
    Digest::of(b"contract")
}

/// A whole submission, or its end from an offset on.
pub(crate) fn submission(bundle: &[u8], from: usize) -> Vec<u8> {
    let mut bytes = request(Ask::Submit {
        sha256: Digest::of(bundle),
        size: bundle.len() as u64,
        contract: contract(),
    });
    bytes.extend_from_slice(&bundle[from..]);
    bytes
}

pub(crate) fn id_of(bundle: &[u8]) -> SubmissionId {
    SubmissionId::from(&Digest::of(bundle))
}

impl Room {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let room = Self::at(home);
        room.spool.create().expect("made");
        room.tell(UatMode::Running);
        room
    }

    /// On a spool that is there.
    pub(crate) fn at(home: tempfile::TempDir) -> Self {
        Self {
            spool: Spool::new(home.path()),
            home,
            limits: LIMITS,
            free: Cell::new(u64::MAX),
            now: Cell::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)),
        }
    }

    /// As the daemon would.
    pub(crate) fn tell(&self, mode: UatMode) {
        let now = self
            .now
            .get()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        let status = UatStatus {
            written: now.as_secs(),
            mode,
            slots: 2,
            tests: None,
            contract: Some(contract()),
            queue: Vec::new(),
        };
        write_json(&self.spool.status_file(), &status).expect("written");
    }

    pub(crate) fn serve(&self, participant: &str, input: &[u8]) -> Heard {
        self.serve_with(participant, input, &mut |_| Ok(()), &mut |_| panic!("waits"))
    }

    pub(crate) fn ask(&self, participant: &str, ask: Ask) -> Heard {
        self.serve(participant, &request(ask))
    }

    pub(crate) fn serve_with(
        &self,
        participant: &str,
        input: &[u8],
        step: &mut dyn FnMut(Step) -> io::Result<()>,
        pause: &mut dyn FnMut(Duration),
    ) -> Heard {
        let mut output = Vec::new();
        self.serve_raw(participant, &mut &*input, &mut output, step, pause);
        heard(&output)
    }

    pub(crate) fn serve_raw(
        &self,
        participant: &str,
        input: &mut dyn Read,
        output: &mut dyn Write,
        step: &mut dyn FnMut(Step) -> io::Result<()>,
        pause: &mut dyn FnMut(Duration),
    ) {
        let mut gate = Gate {
            spool: &self.spool,
            participant: &name(participant),
            limits: &self.limits,
            step,
            now: &|| self.now.get(),
            free: &|_| Ok(self.free.get()),
            pause,
            deadline: Instant::now() + Duration::from_secs(3600),
        };
        gate.serve(input, output);
    }

    /// The daemon takes one.
    pub(crate) fn claim(&self, participant: &str, id: SubmissionId) {
        let participant = name(participant);
        fs::create_dir_all(self.spool.claimed(&participant)).expect("made");
        let from = self.spool.waiting_job(&participant, id);
        fs::rename(from, self.spool.claimed_job(&participant, id)).expect("claimed");
        fs::create_dir_all(self.spool.result(&participant, id)).expect("made");
    }

    /// The daemon is done with one that it took.
    pub(crate) fn finish(&self, participant: &str, id: SubmissionId, verdict: Verdict) {
        let participant = name(participant);
        let folder = self.spool.claimed_job(&participant, id);
        let receipt: Receipt =
            serde_json::from_slice(&fs::read(folder.join("receipt.json")).expect("there")).expect("a receipt");
        let result = JobResult {
            schema: JobResult::SCHEMA,
            participant: participant.clone(),
            id,
            attempt: receipt.attempt,
            verdict,
            submission: receipt.sha256,
            size: receipt.size,
            tests: None,
            contract: None,
            commit: None,
            dirty: false,
            seed: None,
            received: receipt.received,
            finished: "2026-11-23T00:00:00Z".to_owned(),
            waited_seconds: 0.0,
            ran_seconds: 0.0,
            stages: Vec::new(),
            cases: Vec::new(),
            note: None,
            troubles: Vec::new(),
            score: Vec::new(),
            timings: BTreeMap::new(),
        };
        let path = self.spool.result_file(&participant, id, ResultFile::Result);
        write_json(&path, &result).expect("written");
        fs::remove_dir_all(folder).expect("removed");
    }

    /// Deployments of a participant that anybody could see as waiting: each whole.
    pub(crate) fn waiting(&self, participant: &str) -> Vec<Vec<u8>> {
        let participant = name(participant);
        let mut bundles = Vec::new();
        let Ok(entries) = fs::read_dir(self.spool.waiting(&participant)) else {
            return bundles;
        };
        for entry in entries {
            let folder = entry.expect("an entry").path();
            let bundle = fs::read(folder.join(BUNDLE)).expect("a bundle in every folder");
            let receipt = fs::read(folder.join("receipt.json")).expect("a receipt in every folder");
            let receipt: Receipt = serde_json::from_slice(&receipt).expect("a whole receipt");
            assert_eq!(receipt.sha256, Digest::of(&bundle));
            assert_eq!(receipt.participant, participant);
            assert_eq!(
                folder.file_name().and_then(|name| name.to_str()),
                Some(&*receipt.id.to_string())
            );
            bundles.push(bundle);
        }
        bundles
    }

    /// The same spool at this moment, as a process that is killed now leaves it.
    pub(crate) fn as_it_is(&self) -> Room {
        let home = tempfile::tempdir().expect("a folder");
        copy(self.home.path(), home.path());
        Room::at(home)
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let place = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir_all(&place).expect("made");
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).expect("copied");
        }
    }
}

/// Inode, time of change, bytes.
type Print = (u64, i64, Vec<u8>);

/// Everything below a folder.
pub(crate) fn fingerprint(folder: &Path) -> BTreeMap<PathBuf, Print> {
    fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Print>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries {
            let entry = entry.expect("an entry");
            let metadata = entry.metadata().expect("there");
            let bytes = if metadata.is_dir() {
                collect(&entry.path(), files);
                Vec::new()
            } else {
                fs::read(entry.path()).expect("read")
            };
            files.insert(entry.path(), (metadata.ino(), metadata.ctime_nsec(), bytes));
        }
    }
    let mut files = BTreeMap::new();
    collect(folder, &mut files);
    files
}
