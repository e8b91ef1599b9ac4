//! What can go wrong with the disk, or with what lies on it.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with the disk or with what lies on it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("{0}")]
    Io(#[from] io::Error),

    /// The disk refused something to a file.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },

    /// The journal does not hold what was written: it must not be used until a person has looked.
    #[error("the journal is damaged at byte {offset} of {} (event {event_seq}): {why}", segment.display())]
    Damaged {
        /// The file.
        segment: PathBuf,
        /// Where in the file the record starts that cannot be read.
        offset: u64,
        /// The event whose record should start there; 0 where that cannot be known.
        event_seq: u64,
        /// What is wrong with it.
        why: String,
    },

    /// Another process uses the data directory.
    #[error("another process uses the data directory {}", directory.display())]
    Locked {
        /// The data directory.
        directory: PathBuf,
    },

    /// There is no journal where one was to be read.
    #[error("there is no journal in {}", directory.display())]
    NoJournal {
        /// The data directory.
        directory: PathBuf,
    },

    /// The records given do not follow the durable ones: a bug of the caller; nothing was written.
    #[error("event {got} was to be written where event {expected} is next")]
    OutOfOrder {
        /// The event that would be next.
        expected: u64,
        /// The first event of the batch.
        got: u64,
    },

    /// The events asked for are not kept any more.
    #[error("the journal starts at event {first}: event {asked} is not kept")]
    NotKept {
        /// The event asked for.
        asked: u64,
        /// The oldest event that is kept.
        first: u64,
    },

    /// A snapshot may only be kept of what is durable.
    #[error("a snapshot of event {event_seq} cannot be kept while only event {durable} is durable")]
    NotDurable {
        /// The snapshot's event.
        event_seq: u64,
        /// The last durable event.
        durable: u64,
    },
}

impl JournalError {
    /// Names the file and what was tried with it.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File { action, path, error }
    }

    /// Whether the disk was full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io(error) | Self::File { error, .. } => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}
