//! Names in a data directory, and the genesis file.

use std::path::{Path, PathBuf};

use crate::JournalError;
use crate::log::Proof;
use crate::log::format::JournalId;
use crate::storage::Storage;
use crate::whole_file;

const GENESIS_MAGIC: [u8; 8] = *b"OPTVXGEN";
const SEGMENT_SUFFIX: &str = ".log";

/// The data directory.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) data: PathBuf,
    pub(crate) journal: PathBuf,
    pub(crate) snapshots: PathBuf,
}

/// What the journal was made with.
#[derive(Debug, Clone)]
pub(crate) struct Genesis {
    pub(crate) journal: JournalId,
    pub(crate) content: Vec<u8>,
}

impl Directory {
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            journal: data.join("journal"),
            snapshots: data.join("snapshots"),
        }
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.journal.join("genesis")
    }

    pub(crate) fn spare(&self) -> PathBuf {
        self.journal.join("spare.tmp")
    }

    pub(crate) fn segment(&self, first_event_seq: u64) -> PathBuf {
        self.journal.join(format!("{first_event_seq:020}{SEGMENT_SUFFIX}"))
    }

    /// First events of the segments that are there, ascending. Files of other names are none of ours.
    pub(crate) fn segments(&self, storage: &dyn Storage) -> Result<Vec<u64>, JournalError> {
        let entries = storage
            .list(&self.journal)
            .map_err(JournalError::file("list", &self.journal))?;
        let mut segments: Vec<u64> = entries
            .iter()
            .filter_map(|entry| segment_in_name(&entry.name))
            .collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// The error that no segment is there although events were durable.
    pub(crate) fn no_segments(&self, Proof { through, by }: Proof) -> JournalError {
        let why = format!("no segment is there, but {by} shows that event {through} was durable");
        JournalError::Damaged {
            segment: self.segment(1),
            offset: 0,
            event_seq: 1,
            why,
        }
    }

    /// Removes what a process left half done; names what is not ours and leaves it alone.
    pub(crate) fn tidy(&self, storage: &dyn Storage) -> Result<(), JournalError> {
        for entry in storage
            .list(&self.journal)
            .map_err(JournalError::file("list", &self.journal))?
        {
            let path = self.journal.join(&entry.name);
            if path == self.spare() || path == whole_file::temporary(&self.genesis()) {
                storage.remove(&path).map_err(JournalError::file("remove", &path))?;
            } else if path != self.genesis() && segment_in_name(&entry.name).is_none() {
                tracing::warn!(path = %path.display(), "not a file of the journal: left alone");
            }
        }
        Ok(())
    }

    /// Reads the genesis file; `None` if there is none.
    pub(crate) fn read_genesis(&self, storage: &dyn Storage) -> Result<Option<Genesis>, JournalError> {
        let path = self.genesis();
        match whole_file::read(storage, &path, GENESIS_MAGIC) {
            Ok((header, content)) => Ok(Some(Genesis {
                journal: header.journal,
                content,
            })),
            Err(JournalError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the genesis file of a journal that must be there; [`JournalError::NoJournal`] if it is not.
    pub(crate) fn require_genesis(&self, storage: &dyn Storage) -> Result<Genesis, JournalError> {
        self.read_genesis(storage)?.ok_or_else(|| JournalError::NoJournal {
            directory: self.data.clone(),
        })
    }

    /// Makes the genesis file.
    pub(crate) fn write_genesis(&self, storage: &dyn Storage, genesis: &Genesis) -> Result<(), JournalError> {
        whole_file::write(
            storage,
            &self.genesis(),
            GENESIS_MAGIC,
            genesis.journal,
            0,
            &genesis.content,
        )
    }
}

/// The first event of the segment that has this name.
fn segment_in_name(name: &str) -> Option<u64> {
    number_in_name(name, SEGMENT_SUFFIX).filter(|&first_event_seq| first_event_seq > 0)
}

/// The number in a name of 20 digits and the suffix: numbers sort as names do.
pub(crate) fn number_in_name(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let sound = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| digits.parse().ok()).flatten()
}
