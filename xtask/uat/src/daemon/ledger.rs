//! The ledger: one line for each result, each with the hash of the line before. What was judged cannot be changed,
//! left out or put in later without every line behind it changing.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::durable;
use optivex_bundle::names::Name;
use optivex_bundle::verdict::{JobResult, Verdict};
use serde::{Deserialize, Serialize};

/// What a line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// From 0, without gaps.
    pub number: u64,
    /// Hash of the line before, without its newline; of nothing for the first one.
    pub previous: Digest,
    /// Whose.
    pub participant: Name,
    /// Which.
    pub id: SubmissionId,
    /// The receipt's attempt.
    pub attempt: u32,
    /// Whether it replaces an earlier result, by other tests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rejudged: bool,
    /// Hash of `result.json`.
    pub result: Digest,
    /// Hash of the tests' archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Digest>,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// When, as RFC 3339 in UTC.
    pub finished: String,
    /// Milliseconds of a slot that its participant used.
    pub used_millis: u64,
    /// What each stage came to, by number: slug and word.
    #[serde(default)]
    pub stages: BTreeMap<u32, (String, String)>,
    /// The load score: orders a second in a closed loop, in units of the echo's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

impl Entry {
    /// Of a result; number and previous are the ledger's to set.
    pub fn of(result: &JobResult, bytes: &[u8], rejudged: bool) -> Self {
        let ours = matches!(result.verdict, Verdict::Infrastructure { .. });
        Self {
            number: 0,
            previous: Digest::of(b""),
            participant: result.participant.clone(),
            id: result.id,
            attempt: result.attempt,
            rejudged,
            result: Digest::of(bytes),
            tests: result.tests,
            verdict: result.verdict.clone(),
            finished: result.finished.clone(),
            used_millis: if ours || rejudged {
                0
            } else {
                (result.ran_seconds * 1000.0) as u64
            },
            stages: result
                .stages
                .iter()
                .map(|row| (row.number, (row.stage.clone(), row.word().to_owned())))
                .collect(),
            score: result
                .score
                .iter()
                .find(|row| row.name == "closed-loop")
                .and_then(|row| row.ratio),
        }
    }

    /// Whether it is of this attempt at this deployment.
    pub fn is_of(&self, participant: &Name, id: SubmissionId, attempt: u32) -> bool {
        self.participant == *participant && self.id == id && self.attempt == attempt
    }
}

/// The ledger's file, and what is known of it: what stands in it never changes, so only what came since is read. Who
/// changed it all the same is found out by [`Ledger::read`], which reads all of it.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    known: Mutex<Arc<Read>>,
}

/// What a ledger came to when it was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// In order.
    pub entries: Vec<Entry>,
    /// Hash of the last line: whoever wrote it down can tell later that nothing before it was changed.
    pub head: Option<Digest>,
    /// Bytes of all whole lines.
    pub bytes: u64,
    /// Bytes behind the last whole line: a power cut in the middle of a write.
    pub torn: u64,
}

impl Ledger {
    /// In this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            known: Mutex::default(),
        }
    }

    /// Reads all of it, and checks the chain.
    pub fn read(&self) -> Result<Read> {
        let mut read = Read::default();
        self.read_on(&mut read)?;
        Ok(read)
    }

    /// What is in it by now.
    pub fn entries(&self) -> Result<Arc<Read>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut known)?;
        Ok(Arc::clone(&known))
    }

    fn refresh(&self, known: &mut Arc<Read>) -> Result<()> {
        let length = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(|| self.path.display().to_string()),
        };
        if length < known.bytes {
            bail!(
                "{}: {length} bytes, where {} were before",
                self.path.display(),
                known.bytes
            );
        }
        if length != known.bytes + known.torn {
            // Into a copy, if somebody looks at it: a line that is wrong leaves what was known.
            let mut read = Read::clone(known);
            self.read_on(&mut read)?;
            *known = Arc::new(read);
        }
        Ok(())
    }

    /// Reads what is behind that.
    fn read_on(&self, read: &mut Read) -> Result<()> {
        let at = || self.path.display().to_string();
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(at),
        };
        file.seek(SeekFrom::Start(read.bytes)).with_context(at)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(at)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            let line = &line[..line.len() - 1];
            let wrong = || format!("{}, line {}", self.path.display(), read.entries.len() + 1);
            let entry: Entry = serde_json::from_slice(line).with_context(wrong)?;
            if entry.number != read.entries.len() as u64 {
                bail!("{}: number {} is out of order", wrong(), entry.number);
            }
            if entry.previous != read.head.unwrap_or_else(|| Digest::of(b"")) {
                bail!(
                    "{}: the line before it is not the one that it was written behind",
                    wrong()
                );
            }
            read.head = Some(Digest::of(line));
            read.entries.push(entry);
        }
        read.bytes += whole as u64;
        read.torn = (bytes.len() - whole) as u64;
        Ok(())
    }

    /// Writes an entry, unless there is one of this attempt already: it is on disk when this returns.
    pub fn append(&self, mut entry: Entry) -> Result<Entry> {
        let _lock = self.lock()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut known)?;
        let same = |old: &&Entry| old.is_of(&entry.participant, entry.id, entry.attempt) && old.result == entry.result;
        if let Some(old) = known.entries.iter().rev().find(same) {
            return Ok(old.clone());
        }
        entry.number = known.entries.len() as u64;
        entry.previous = known.head.unwrap_or_else(|| Digest::of(b""));
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o644)
            .open(&self.path)?;
        if known.torn > 0 {
            tracing::warn!(
                bytes = known.torn,
                "the ledger's last line was torn by a crash: cut off"
            );
            file.set_len(known.bytes)?;
            Arc::make_mut(&mut known).torn = 0;
        }
        file.write_all(&line)
            .and_then(|()| file.sync_all())
            .context("the ledger")?;
        if entry.number == 0
            && let Some(folder) = self.path.parent()
        {
            durable::sync_folder(folder)?;
        }
        self.refresh(&mut known)?;
        Ok(entry)
    }

    /// Daemon and `rejudge` may write at the same time.
    fn lock(&self) -> Result<File> {
        let path = self.path.with_extension("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        file.lock().with_context(|| path.display().to_string())?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(participant: &str, attempt: u32) -> Entry {
        Entry {
            number: 0,
            previous: Digest::of(b""),
            participant: participant.parse().expect("a name"),
            id: "0123456789abcdef".parse().expect("an id"),
            attempt,
            rejudged: false,
            result: Digest::of(b"result"),
            tests: None,
            verdict: Verdict::Passed,
            finished: "2027-01-01T00:00:00Z".to_owned(),
            used_millis: 5,
            stages: BTreeMap::from([(1, ("boot".to_owned(), "passed".to_owned()))]),
            score: Some(0.5),
        }
    }

    fn three() -> (tempfile::TempDir, Ledger) {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::new(folder.path().join("ledger.jsonl"));
        for name in ["a", "b", "c"] {
            ledger.append(entry(name, 1)).expect("written");
        }
        (folder, ledger)
    }

    #[test]
    fn what_is_written_is_read_and_nothing_is_written_twice() {
        let (_folder, ledger) = three();
        let before = ledger.read().expect("sound");
        assert_eq!(before.entries.len(), 3);
        ledger.append(entry("b", 1)).expect("there already");
        assert_eq!(ledger.read().expect("sound").entries, before.entries);
        ledger.append(entry("b", 2)).expect("another attempt");
        assert_eq!(ledger.read().expect("sound").entries.len(), 4);
    }

    #[test]
    fn whoever_changes_a_line_is_found_out() {
        type Forge = fn(Vec<String>) -> Vec<String>;
        let cases: [(&str, Forge); 4] = [
            ("changed", |mut lines| {
                lines[1] = lines[1].replace("passed", "failed");
                lines
            }),
            ("left out", |mut lines| {
                lines.remove(1);
                lines
            }),
            ("put in", |mut lines| {
                lines.insert(1, lines[1].clone());
                lines
            }),
            ("swapped", |mut lines| {
                lines.swap(1, 2);
                lines
            }),
        ];
        for (name, forge) in cases {
            let (_folder, ledger) = three();
            let text = std::fs::read_to_string(&ledger.path).expect("read");
            let lines = forge(text.lines().map(str::to_owned).collect());
            std::fs::write(&ledger.path, lines.join("\n") + "\n").expect("written");
            ledger.read().expect_err(name);
            Ledger::new(&ledger.path)
                .append(entry("d", 1))
                .expect_err("nothing is written behind a broken chain");
        }
    }

    #[test]
    fn what_another_process_writes_is_seen_and_what_is_gone_is_missed() {
        let (_folder, ledger) = three();
        assert_eq!(ledger.entries().expect("sound").entries.len(), 3);
        // As a rejudge beside the daemon does.
        Ledger::new(&ledger.path).append(entry("d", 1)).expect("written");
        let kept = ledger.entries().expect("sound");
        assert_eq!(kept.entries.len(), 4);
        ledger.append(entry("e", 1)).expect("written");
        assert_eq!(kept.entries.len(), 4, "whoever looks at it keeps what it was");
        let (known, whole) = (ledger.entries().expect("sound"), ledger.read().expect("sound"));
        assert_eq!((known.head, &known.entries), (whole.head, &whole.entries));
        let text = std::fs::read_to_string(&ledger.path).expect("read");
        let first = text.split_inclusive('\n').next().expect("a line");
        std::fs::write(&ledger.path, first).expect("written");
        ledger.append(entry("f", 1)).expect_err("somebody cut it");
    }

    #[test]
    fn a_torn_line_is_cut_off_by_the_next_one() {
        let (_folder, ledger) = three();
        let mut file = OpenOptions::new().append(true).open(&ledger.path).expect("open");
        file.write_all(br#"{"number":3,"prev"#).expect("written");
        assert_eq!(ledger.read().expect("sound").entries.len(), 3);
        ledger.append(entry("d", 1)).expect("written");
        let read = ledger.read().expect("sound");
        assert_eq!((read.entries.len(), read.torn), (4, 0));
    }
}
