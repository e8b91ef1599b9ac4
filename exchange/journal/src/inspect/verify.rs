//! `optivex journal verify`.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use optivex_engine::{Engine, Event};

use super::{InspectError, Journal};
use crate::Tail;

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The data directory.
    pub data_directory: PathBuf,
}

/// What verifying found. Damage of the journal itself is an error instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The oldest event that is kept.
    pub first_event_seq: u64,
    /// The last event; 0 if there is none.
    pub last_event_seq: u64,
    /// Event of the snapshot that the replay started from, if the journal's front was cut; that
    /// snapshot cannot be verified.
    pub started_from: Option<u64>,
    /// SHA-256 of the state after the last event.
    pub digest: [u8; 32],
    /// Each snapshot and what it was found to be, oldest first.
    pub snapshots: Vec<(u64, SnapshotVerdict)>,
    /// What lies behind the last record: a torn write, or one that an exchange is at.
    pub tail: Option<Tail>,
}

impl VerifyReport {
    /// Whether nothing is wrong. A tail is not: it was never acknowledged.
    pub fn is_sound(&self) -> bool {
        self.snapshots
            .iter()
            .all(|(_, verdict)| matches!(verdict, SnapshotVerdict::Equal | SnapshotVerdict::StartedFrom))
    }
}

/// What a snapshot is, compared with the replay's state at its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotVerdict {
    /// The same state.
    Equal,
    /// The replay started from it.
    StartedFrom,
    /// Another state.
    Differs {
        /// SHA-256 of its state.
        digest: [u8; 32],
        /// SHA-256 of the replay's.
        expected: [u8; 32],
    },
    /// It cannot be read, or does not restore.
    Unreadable(String),
    /// The replay never stood at its event: it is newer than the journal, or older than its start.
    NotReached,
}

impl fmt::Display for SnapshotVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal => f.write_str("equal"),
            Self::StartedFrom => f.write_str("not compared: the replay started from it"),
            Self::Differs { digest, expected } => {
                write!(f, "DIFFERS: {} instead of {}", hex(digest), hex(expected))
            }
            Self::Unreadable(why) => write!(f, "UNREADABLE: {why}"),
            Self::NotReached => f.write_str("NOT REACHED by the journal"),
        }
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks every record (its checksum, that it decodes, that the engine accepts it as exactly this
/// event), and each snapshot against the state that the replay has at its event. Writes what it found as
/// text, one `name: value` a line.
///
/// Errors are damage of the journal, with its place. A snapshot that is wrong is in the report:
/// [`VerifyReport::is_sound`] says whether all is well.
pub fn verify(options: &VerifyOptions, out: &mut dyn Write) -> Result<VerifyReport, InspectError> {
    let journal = Journal::open(&options.data_directory)?;
    let mut waiting = journal.snapshots.list()?;
    // Newest first, so that the next one is last.
    waiting.sort_unstable_by(|a, b| b.cmp(a));
    let mut replay = journal.replay_from_start()?;
    let mut snapshots = Vec::new();
    let start = replay.engine().event_seq();
    let started_from = (start > 0).then_some(start);
    while let Some(event_seq) = waiting.pop_if(|event_seq| *event_seq <= start) {
        let verdict = match started_from {
            Some(start) if start == event_seq => SnapshotVerdict::StartedFrom,
            _ => SnapshotVerdict::NotReached,
        };
        snapshots.push((event_seq, verdict));
    }
    let mut event = Event::default();
    while replay.step(&mut event)? {
        if let Some(event_seq) = waiting.pop_if(|event_seq| *event_seq == event.event_seq)
            && let Some(verdict) = compare(&journal, event_seq, replay.engine())
        {
            snapshots.push((event_seq, verdict));
        }
    }
    while let Some(event_seq) = waiting.pop() {
        snapshots.push((event_seq, SnapshotVerdict::NotReached));
    }
    let report = VerifyReport {
        first_event_seq: journal.reader.first_event_seq()?,
        last_event_seq: replay.engine().event_seq(),
        started_from,
        digest: replay.engine().digest(),
        snapshots,
        tail: replay.tail().cloned(),
    };
    write_report(&report, replay.replayed(), out)?;
    Ok(report)
}

/// None for a snapshot that an exchange has replaced meanwhile.
fn compare(journal: &Journal, event_seq: u64, engine: &Engine) -> Option<SnapshotVerdict> {
    let snapshot = match journal.snapshots.load(event_seq) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let is_there = journal.snapshots.list().is_ok_and(|list| list.contains(&event_seq));
            return is_there.then(|| SnapshotVerdict::Unreadable(error.to_string()));
        }
    };
    Some(match Engine::restore(&snapshot.bytes) {
        Err(error) => SnapshotVerdict::Unreadable(error.to_string()),
        Ok(restored) => {
            let (digest, expected) = (restored.digest(), engine.digest());
            if digest == expected {
                SnapshotVerdict::Equal
            } else {
                SnapshotVerdict::Differs { digest, expected }
            }
        }
    })
}

fn write_report(report: &VerifyReport, replayed: u64, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "first event: {}", report.first_event_seq)?;
    writeln!(out, "last event: {}", report.last_event_seq)?;
    if let Some(event_seq) = report.started_from {
        writeln!(out, "started from the snapshot of event: {event_seq}")?;
    }
    writeln!(out, "records replayed: {replayed}")?;
    writeln!(out, "digest: {}", hex(&report.digest))?;
    for (event_seq, verdict) in &report.snapshots {
        writeln!(out, "snapshot {event_seq}: {verdict}")?;
    }
    if let Some(tail) = &report.tail {
        writeln!(
            out,
            "tail: {} bytes at byte {} of {}, never acknowledged",
            tail.bytes,
            tail.position.offset,
            tail.position.segment.display()
        )?;
    }
    writeln!(out, "sound: {}", if report.is_sound() { "yes" } else { "NO" })
}
