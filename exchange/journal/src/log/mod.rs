//! The embedded journal: a log of segment files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::{Batch, Journal, JournalError, SnapshotStore};

/// How much of the journal stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retention {
    /// Everything, for ever: any moment of the past can be rebuilt.
    #[default]
    All,
    /// Whole segments go when the older kept snapshot and durable history make them needless.
    BehindSnapshot,
}

/// Settings of an embedded journal.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of a segment in bytes; at least 8 KiB. A commit larger than that gets a segment of its own.
    pub segment_bytes: u64,
    /// Room that must be free on the disk beside what is preallocated, in bytes: less is "no room".
    pub reserve_bytes: u64,
    /// How much of the journal stays.
    pub retention: Retention,
    /// How often the free room is looked at, and a spare segment tried again.
    pub room_check_interval: Duration,
    /// Whether spare segments are made by a thread of their own, so that no commit waits for one.
    pub spare_in_background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            reserve_bytes: 64 << 20,
            retention: Retention::All,
            room_check_interval: Duration::from_millis(100),
            spare_in_background: true,
        }
    }
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The segment's file.
    pub segment: Arc<Path>,
    /// The record's first byte in it.
    pub offset: u64,
}

/// Bytes behind the last whole record that are not a record: what a crash in the middle of a write
/// leaves. They were never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Where they start.
    pub position: Position,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
    /// How much shorter the file is than it was made.
    pub missing_bytes: u64,
    /// The last event before them; 0 if there is none.
    pub last_event_seq: u64,
}

/// What opening a journal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// The oldest event that is kept; one more than the last if there is none.
    pub first_event_seq: u64,
    /// The last event; 0 if there is none.
    pub last_event_seq: u64,
    /// How many segments there are.
    pub segments: usize,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Tail>,
    /// Whether the journal was made by this call.
    pub created: bool,
}

/// A journal that is open for writing, with what belongs to it.
pub struct Opened {
    /// The journal.
    pub journal: Embedded,
    /// Its snapshots.
    pub snapshots: SnapshotStore,
    /// The bytes that the journal was made with.
    pub genesis: Vec<u8>,
    /// What was found.
    pub report: OpenReport,
}

/// The embedded journal.
pub struct Embedded {}

impl Embedded {
    /// Opens the journal of a data directory, or makes one with the bytes that `genesis` gives.
    /// Checks every record that is kept, cuts a torn tail, and takes the directory's lock.
    pub fn open(
        data_directory: &Path,
        options: &Options,
        genesis: impl FnOnce() -> Vec<u8>,
    ) -> Result<Opened, JournalError> {
        let _ = (data_directory, options, genesis());
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }
}

impl Journal for Embedded {
    fn commit(&mut self, _batches: &[Batch]) -> Result<(), JournalError> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }

    fn durable_event_seq(&self) -> u64 {
        0
    }

    fn has_room(&mut self) -> bool {
        false
    }

    fn store_snapshot(&mut self, _event_seq: u64, _snapshot: &[u8]) -> Result<(), JournalError> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }

    fn retain(&mut self, _history_durable_through: u64) -> Result<u64, JournalError> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }
}

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The event's number.
    pub event_seq: u64,
    /// What was pushed into the batch.
    pub payload: &'a [u8],
    /// Where it is.
    pub position: Position,
}

/// Reads a journal without its lock: for replay and for tools, also while an exchange writes it.
pub struct Reader {}

impl Reader {
    /// Opens the journal of a data directory; [`JournalError::NoJournal`] if there is none.
    pub fn open(data_directory: &Path) -> Result<Self, JournalError> {
        Err(JournalError::NoJournal {
            directory: data_directory.to_owned(),
        })
    }

    /// The bytes that the journal was made with.
    pub fn genesis(&self) -> &[u8] {
        &[]
    }

    /// The oldest event that is kept, or that would be the first.
    pub fn first_event_seq(&self) -> Result<u64, JournalError> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }

    /// Records from an event on; [`JournalError::NotKept`] if it is older than what is kept. An event
    /// that is not written yet is not an error: the records are then none.
    pub fn read_from(&self, event_seq: u64) -> Result<Records, JournalError> {
        let _ = event_seq;
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }
}

/// Records in order, read one at a time.
pub struct Records {}

impl Records {
    /// The next record; `None` where the journal ends (asked again, it looks for what was written since).
    #[expect(clippy::should_implement_trait, reason = "the record borrows the reader's memory")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, JournalError> {
        Ok(None)
    }

    /// What lies behind the last record, once [`Records::next`] has answered `None`.
    pub fn tail(&self) -> Option<&Tail> {
        None
    }
}
