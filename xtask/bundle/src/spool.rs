//! The spool: where gate and daemon meet. All of it is on one file system and belongs to one user.
//!
//! ```text
//! incoming/PARTICIPANT/               the gate's own: transfers under way, locks
//! waiting/PARTICIPANT/ID/             bundle.tar.zst, receipt.json: appears in whole, by rename
//! claimed/PARTICIPANT/ID/             the same folder, renamed by the daemon
//! results/PARTICIPANT/ID/             stages.jsonl grows while it runs; result.json comes last, and means: over
//! cancel/PARTICIPANT/ID               an empty file: the participant wants it to end
//! aside/PARTICIPANT/ID/               a deployment that the daemon could not make sense of, for people to look at
//! state/                              the daemon's own; status.json is for the gate
//! ```
//!
//! Gate and daemon keep to this:
//! - The gate makes folders in `waiting` and files in `cancel`, and touches nothing else outside `incoming`.
//! - A deployment goes from `waiting` to `claimed` to a `result.json`, and only then leaves `claimed`. So whoever looks
//!   in this order misses none ([`Spool::state`]).
//! - One that was not judged ([`Verdict::is_judged`]) may be handed over again: it waits again, with the next
//!   [`Receipt::attempt`], beside the old result, which the daemon replaces. A `result.json` of a lower attempt than the
//!   receipt in `claimed` is an old one.
//! - Of one participant's waiting deployments the newest ([`Receipt::received`]) is meant, the others are superseded:
//!   the daemon decides, so that each gets a result that says so.
//! - Names that begin with a dot or end in `.tmp` are nobody's business but their maker's.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, NotThat, SubmissionId, serde_as_text};
use crate::durable;
use crate::names::Name;
use crate::verdict::{JobResult, Verdict};

/// Name of the bundle in a deployment's folder.
pub const BUNDLE: &str = "bundle.tar.zst";

/// Name of the receipt in a deployment's folder.
pub const RECEIPT: &str = "receipt.json";

/// A file of the spool is never read further than this, unless it is a bundle or a result's file.
const SMALL: u64 = 16 << 20;

/// What the gate promises: this bundle is on disk and will be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whose.
    pub participant: Name,
    /// What it is called.
    pub id: SubmissionId,
    /// Hash of the bundle.
    pub sha256: Digest,
    /// Bytes of the bundle.
    pub size: u64,
    /// When, as RFC 3339 in UTC with nine digits of a second, so that the order of the texts is that of the times. No
    /// two receipts of one participant that wait at the same time have the same.
    pub received: String,
    /// The how manieth time that it was handed over, from 1: one that was not judged may come again.
    pub attempt: u32,
}

/// Where a deployment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// In the queue.
    Waiting {
        /// How many other participants' deployments may come before it, at most.
        ahead: u32,
    },
    /// It runs.
    Running,
    /// It is over.
    Done {
        /// What it came to.
        #[serde(flatten)]
        verdict: Verdict,
    },
}

/// `state/status.json`: what the daemon tells the gate. Written anew at least every [`UatStatus::HEARTBEAT_SECONDS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UatStatus {
    /// Unix time in seconds at which this was written.
    pub written: u64,
    /// What the daemon does.
    pub mode: UatMode,
    /// Deployments at a time.
    pub slots: u32,
    /// Hash of the archive of system tests.
    #[serde(default)]
    pub tests: Option<Digest>,
    /// Hash of the contract that they go by.
    #[serde(default)]
    pub contract: Option<Digest>,
    /// The queue as the daemon sees it, next first.
    #[serde(default)]
    pub queue: Vec<(Name, SubmissionId)>,
}

/// What the daemon does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum UatMode {
    /// It judges.
    Running,
    /// It takes deployments, and starts none for now.
    Paused {
        /// In one line.
        why: String,
    },
    /// It ends when those that run are over.
    Draining,
    /// It ended.
    Stopped,
}

impl UatStatus {
    /// How often the daemon writes it.
    pub const HEARTBEAT_SECONDS: u64 = 5;

    /// From when on the daemon counts as down.
    pub const STALE_SECONDS: u64 = 60;

    /// Whether the daemon lived a moment ago.
    pub fn is_alive(&self, unix_now: u64) -> bool {
        unix_now.saturating_sub(self.written) < Self::STALE_SECONDS && self.mode != UatMode::Stopped
    }
}

/// The files of a result; there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResultFile {
    /// `result.json`: [`JobResult`].
    Result,
    /// `result.json.sig`: its signature, by `ssh-keygen -Y sign`.
    Signature,
    /// `report.md`
    Markdown,
    /// `report.html`
    Html,
    /// `junit.xml`
    Junit,
    /// `log.txt`: what the submission printed.
    Log,
    /// `stages.jsonl`: [`crate::progress::Event`]s.
    Stages,
}

impl ResultFile {
    /// All of them. The result itself comes last: who has it has them all.
    pub const ALL: [Self; 7] = [
        Self::Stages,
        Self::Log,
        Self::Junit,
        Self::Html,
        Self::Markdown,
        Self::Signature,
        Self::Result,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Result => "result.json",
            Self::Signature => "result.json.sig",
            Self::Markdown => "report.md",
            Self::Html => "report.html",
            Self::Junit => "junit.xml",
            Self::Log => "log.txt",
            Self::Stages => "stages.jsonl",
        }
    }
}

impl fmt::Display for ResultFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ResultFile {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        let found = Self::ALL.into_iter().find(|file| file.name() == text);
        found.ok_or(NotThat("the name of a result's file"))
    }
}

serde_as_text!(ResultFile);

/// What is in a participant's folder of deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployments {
    /// Receipts, in order of id.
    pub receipts: Vec<Receipt>,
    /// Those of which nobody can say what was promised, and why in one line.
    pub broken: Vec<(SubmissionId, String)>,
}

/// The spool's paths. All of them are made of names and ids that cannot lead elsewhere.
#[derive(Clone, Debug)]
pub struct Spool {
    root: PathBuf,
}

impl Spool {
    /// In this folder, which is there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folders that every participant shares. Their own are made when they are needed.
    pub fn create(&self) -> io::Result<()> {
        for part in ["incoming", "waiting", "claimed", "results", "cancel", "state"] {
            durable::create_folders(&self.root.join(part))?;
        }
        Ok(())
    }

    /// The gate's own.
    pub fn incoming(&self, participant: &Name) -> PathBuf {
        self.of("incoming", participant)
    }

    /// The participant's deployments that wait.
    pub fn waiting(&self, participant: &Name) -> PathBuf {
        self.of("waiting", participant)
    }

    /// A deployment that waits.
    pub fn waiting_job(&self, participant: &Name, id: SubmissionId) -> PathBuf {
        self.waiting(participant).join(id.to_string())
    }

    /// The participant's deployments that the daemon took.
    pub fn claimed(&self, participant: &Name) -> PathBuf {
        self.of("claimed", participant)
    }

    /// A deployment that the daemon took.
    pub fn claimed_job(&self, participant: &Name, id: SubmissionId) -> PathBuf {
        self.claimed(participant).join(id.to_string())
    }

    /// The participant's results.
    pub fn results(&self, participant: &Name) -> PathBuf {
        self.of("results", participant)
    }

    /// A deployment's result, whole or growing.
    pub fn result(&self, participant: &Name, id: SubmissionId) -> PathBuf {
        self.results(participant).join(id.to_string())
    }

    /// A file of a result.
    pub fn result_file(&self, participant: &Name, id: SubmissionId, file: ResultFile) -> PathBuf {
        self.result(participant, id).join(file.name())
    }

    /// Is there when the participant wants the deployment to end.
    pub fn cancel(&self, participant: &Name, id: SubmissionId) -> PathBuf {
        self.of("cancel", participant).join(id.to_string())
    }

    /// Where a deployment is put that cannot be judged and must not be lost.
    pub fn aside(&self, participant: &Name) -> PathBuf {
        self.of("aside", participant)
    }

    /// The daemon's own.
    pub fn state_folder(&self) -> PathBuf {
        self.root.join("state")
    }

    /// What the daemon tells the gate: [`UatStatus`].
    pub fn status_file(&self) -> PathBuf {
        self.state_folder().join("status.json")
    }

    fn of(&self, part: &str, participant: &Name) -> PathBuf {
        self.root.join(part).join(participant.as_str())
    }

    /// Participants who have a folder in `waiting`, in order of name.
    pub fn participants_waiting(&self) -> io::Result<Vec<Name>> {
        named(&self.root.join("waiting"))
    }

    /// Participants who have a folder in `claimed`, in order of name.
    pub fn participants_claimed(&self) -> io::Result<Vec<Name>> {
        named(&self.root.join("claimed"))
    }

    /// Participants who have a folder in `aside`, in order of name.
    pub fn participants_aside(&self) -> io::Result<Vec<Name>> {
        named(&self.root.join("aside"))
    }

    /// A participant's deployments that wait, without those that are broken.
    pub fn waiting_receipts(&self, participant: &Name) -> io::Result<Vec<Receipt>> {
        Ok(self.waiting_deployments(participant)?.receipts)
    }

    /// A participant's deployments that the daemon took, without those that are broken.
    pub fn claimed_receipts(&self, participant: &Name) -> io::Result<Vec<Receipt>> {
        Ok(self.claimed_deployments(participant)?.receipts)
    }

    /// All of a participant's deployments that wait.
    pub fn waiting_deployments(&self, participant: &Name) -> io::Result<Deployments> {
        deployments(&self.waiting(participant), participant)
    }

    /// All of a participant's deployments that the daemon took.
    pub fn claimed_deployments(&self, participant: &Name) -> io::Result<Deployments> {
        deployments(&self.claimed(participant), participant)
    }

    /// Ids of a participant's results, whole or growing.
    pub fn result_ids(&self, participant: &Name) -> io::Result<Vec<SubmissionId>> {
        named(&self.results(participant))
    }

    /// A result that is whole.
    pub fn read_result(&self, participant: &Name, id: SubmissionId) -> io::Result<Option<JobResult>> {
        read_json(&self.result_file(participant, id, ResultFile::Result))
    }

    /// What the daemon last told.
    pub fn read_status(&self) -> io::Result<Option<UatStatus>> {
        read_json(&self.status_file())
    }

    /// Where a deployment is, with what was promised; none if there is none of this participant.
    pub fn state(&self, participant: &Name, id: SubmissionId) -> io::Result<Option<(Receipt, State)>> {
        // Twice: the daemon gives back to `waiting` what it could not judge.
        for _ in 0..2 {
            if let Some(receipt) = read_json(&self.waiting_job(participant, id).join(RECEIPT))? {
                let ahead = self.ahead(participant, id)?;
                return Ok(Some((receipt, State::Waiting { ahead })));
            }
            let claimed: Option<Receipt> = read_json(&self.claimed_job(participant, id).join(RECEIPT))?;
            let result = self.read_result(participant, id)?;
            match (claimed, result) {
                (Some(receipt), Some(result)) if result.attempt >= receipt.attempt => {
                    return Ok(Some((
                        receipt,
                        State::Done {
                            verdict: result.verdict,
                        },
                    )));
                }
                (Some(receipt), _) => return Ok(Some((receipt, State::Running))),
                (None, Some(result)) => {
                    let receipt = Receipt {
                        participant: result.participant,
                        id: result.id,
                        sha256: result.submission,
                        size: result.size,
                        received: result.received,
                        attempt: result.attempt,
                    };
                    return Ok(Some((
                        receipt,
                        State::Done {
                            verdict: result.verdict,
                        },
                    )));
                }
                (None, None) => {}
            }
        }
        Ok(None)
    }

    /// How many others may come first: by the daemon's word, or if it did not see this one yet, one of every other
    /// participant who waits, since newer ones replace older ones.
    fn ahead(&self, participant: &Name, id: SubmissionId) -> io::Result<u32> {
        if let Some(status) = self.read_status()?
            && let Some(place) = status
                .queue
                .iter()
                .position(|(name, other)| name == participant && *other == id)
        {
            return Ok(u32::try_from(place).unwrap_or(u32::MAX));
        }
        let mut ahead = 0;
        for other in self.participants_waiting()? {
            if other != *participant && !named::<SubmissionId>(&self.waiting(&other))?.is_empty() {
                ahead += 1;
            }
        }
        Ok(ahead)
    }
}

fn deployments(folder: &Path, participant: &Name) -> io::Result<Deployments> {
    let mut found = Deployments::default();
    for id in named::<SubmissionId>(folder)? {
        let place = folder.join(id.to_string());
        match read_json::<Receipt>(&place.join(RECEIPT)) {
            Ok(Some(receipt)) if receipt.participant == *participant && receipt.id == id => {
                found.receipts.push(receipt);
            }
            Ok(Some(receipt)) => {
                let whose = format!("its receipt is that of {}/{}", receipt.participant, receipt.id);
                found.broken.push((id, whose));
            }
            // It may go on to the next folder at any time.
            Ok(None) if fs::symlink_metadata(&place).is_err() => {}
            Ok(None) => found.broken.push((id, "it has no receipt".to_owned())),
            Err(error) => found.broken.push((id, format!("its receipt cannot be read: {error}"))),
        }
    }
    Ok(found)
}

/// The entries of a folder whose names are what they should be, in order. No folder: none.
fn named<T: FromStr + Ord>(folder: &Path) -> io::Result<Vec<T>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Some(name) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A small file of ours; none if it is not there.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    use std::io::Read;
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(SMALL).read_to_end(&mut bytes)?;
    let unreadable =
        |error: serde_json::Error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

/// Writes a small file of ours, durably.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
    bytes.push(b'\n');
    durable::write(path, &bytes, 0o600)
}
