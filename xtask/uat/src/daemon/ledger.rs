//! The ledger: one line for each result, each with the hash of the line before. What was judged cannot be changed,
//! left out or put in later without every line behind it changing.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

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

/// The ledger's file.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
}

/// What a ledger came to when it was read.
#[derive(Debug, Default)]
pub struct Read {
    /// In order.
    pub entries: Vec<Entry>,
    /// Hash of the last line: whoever wrote it down can tell later that nothing before it was changed.
    pub head: Option<Digest>,
    /// Bytes behind the last whole line: a power cut in the middle of a write.
    pub torn: u64,
}

impl Ledger {
    /// In this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads and checks the chain.
    pub fn read(&self) -> Result<Read> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Read::default()),
            Err(error) => return Err(error).with_context(|| self.path.display().to_string()),
        };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut read = Read {
            torn: (bytes.len() - whole) as u64,
            ..Read::default()
        };
        for (number, line) in (0..).zip(bytes[..whole].split_inclusive(|byte| *byte == b'\n')) {
            let line = &line[..line.len() - 1];
            let wrong = || format!("{}, line {}", self.path.display(), number + 1);
            let entry: Entry = serde_json::from_slice(line).with_context(wrong)?;
            if entry.number != number {
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
        Ok(read)
    }

    /// Writes an entry, unless there is one of this attempt already: it is on disk when this returns.
    pub fn append(&self, mut entry: Entry) -> Result<Entry> {
        let _lock = self.lock()?;
        let read = self.read()?;
        let same = |old: &&Entry| old.is_of(&entry.participant, entry.id, entry.attempt) && old.result == entry.result;
        if let Some(old) = read.entries.iter().rev().find(same) {
            return Ok(old.clone());
        }
        entry.number = read.entries.len() as u64;
        entry.previous = read.head.unwrap_or_else(|| Digest::of(b""));
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o644)
            .open(&self.path)?;
        if read.torn > 0 {
            let length = file.metadata()?.len() - read.torn;
            tracing::warn!(bytes = read.torn, "the ledger's last line was torn by a crash: cut off");
            file.set_len(length)?;
        }
        file.write_all(&line)
            .and_then(|()| file.sync_all())
            .context("the ledger")?;
        if entry.number == 0
            && let Some(folder) = self.path.parent()
        {
            durable::sync_folder(folder)?;
        }
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
            ledger
                .append(entry("d", 1))
                .expect_err("nothing is written behind a broken chain");
        }
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
