//! Snapshots of the exchange's state: files in `DATA_DIR/snapshots`, named by the event they follow.

use std::path::Path;

use crate::JournalError;

/// A snapshot that was read and found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event that the state includes.
    pub event_seq: u64,
    /// The state, as the engine encoded it.
    pub bytes: Vec<u8>,
}

/// Keeps the newest snapshots. A handle: clones share what they work on, from any thread.
#[derive(Clone)]
pub struct SnapshotStore {}

impl SnapshotStore {
    /// Opens the snapshots of a data directory for reading, without its lock: for tools.
    pub fn open_for_reading(data_directory: &Path) -> Result<Self, JournalError> {
        let _ = data_directory;
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }

    /// Event numbers of the snapshots that are there, newest first, whole or not.
    pub fn list(&self) -> Result<Vec<u64>, JournalError> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }

    /// Reads one; [`JournalError::Damaged`] if it is not whole.
    pub fn load(&self, event_seq: u64) -> Result<Snapshot, JournalError> {
        let _ = event_seq;
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }

    /// The newest that is whole and not after `event_seq`; damaged ones are passed over with a warning.
    pub fn newest_until(&self, event_seq: u64) -> Result<Option<Snapshot>, JournalError> {
        let _ = event_seq;
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }

    /// Keeps a snapshot of the state after `event_seq`, durably, and the one before it; drops older ones.
    /// [`JournalError::NotDurable`] if the journal has not made the event durable yet.
    pub fn store(&self, event_seq: u64, snapshot: &[u8]) -> Result<(), JournalError> {
        let _ = (event_seq, snapshot);
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
    }
}
