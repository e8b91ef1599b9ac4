//! Snapshots of the exchange's state: files in `DATA_DIR/snapshots`, named by the event they follow.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::JournalError;
use crate::log::directory::{Directory, number_in_name};
use crate::log::format::JournalId;
use crate::storage::{Disk, Storage};
use crate::whole_file;

const MAGIC: [u8; 8] = *b"OPTVXSNP";
const SUFFIX: &str = ".snapshot";

/// How many snapshots are kept: if the newest cannot be read, the one before it and a longer replay
/// give the same state.
pub const SNAPSHOTS_KEPT: usize = 2;

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
pub struct SnapshotStore {
    storage: Arc<dyn Storage>,
    directory: PathBuf,
    journal: JournalId,
    /// The journal's last durable event; `None` in a store that is only read.
    durable: Option<Arc<AtomicU64>>,
    writing: Arc<Mutex<()>>,
}

impl SnapshotStore {
    /// Opens the snapshots of a data directory for reading, without its lock: for tools.
    pub fn open_for_reading(data_directory: &Path) -> Result<Self, JournalError> {
        Self::open_for_reading_on(Arc::new(Disk), data_directory)
    }

    /// As [`SnapshotStore::open_for_reading`], on other storage than the operating system's.
    pub fn open_for_reading_on(storage: Arc<dyn Storage>, data_directory: &Path) -> Result<Self, JournalError> {
        let directory = Directory::new(data_directory);
        let genesis = directory.require_genesis(&*storage)?;
        Ok(Self::new(storage, &directory, genesis.journal, None))
    }

    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        directory: &Directory,
        journal: JournalId,
        durable: Option<Arc<AtomicU64>>,
    ) -> Self {
        Self {
            storage,
            directory: directory.snapshots.clone(),
            journal,
            durable,
            writing: Arc::default(),
        }
    }

    fn path(&self, event_seq: u64) -> PathBuf {
        self.directory.join(format!("{event_seq:020}{SUFFIX}"))
    }

    /// Removes what a process left half done; names what is not ours and leaves it alone.
    pub(crate) fn tidy(&self) -> Result<(), JournalError> {
        let entries = self
            .storage
            .list(&self.directory)
            .map_err(JournalError::file("list", &self.directory))?;
        for entry in entries {
            let path = self.directory.join(&entry.name);
            if number_in_name(&entry.name, &format!("{SUFFIX}.tmp")).is_some() {
                self.storage
                    .remove(&path)
                    .map_err(JournalError::file("remove", &path))?;
            } else if number_in_name(&entry.name, SUFFIX).is_none() {
                tracing::warn!(path = %path.display(), "not a snapshot: left alone");
            }
        }
        Ok(())
    }

    /// Event numbers of the snapshots that are there, newest first, whole or not.
    pub fn list(&self) -> Result<Vec<u64>, JournalError> {
        let entries = match self.storage.list(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(JournalError::file("list", &self.directory)(error)),
        };
        let mut numbers: Vec<u64> = entries
            .iter()
            .filter_map(|entry| number_in_name(&entry.name, SUFFIX))
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    /// Event numbers of the snapshots whose header is sound and says so, newest first. Contents are not
    /// read: this is what the journal's own decisions rest on, and they must be cheap.
    pub(crate) fn list_sound(&self) -> Result<Vec<u64>, JournalError> {
        let mut numbers = self.list()?;
        numbers.retain(|&event_seq| self.check_header(event_seq).is_ok());
        Ok(numbers)
    }

    fn check_header(&self, event_seq: u64) -> Result<(), JournalError> {
        let (header, _) = whole_file::read_header(&*self.storage, &self.path(event_seq), MAGIC)?;
        self.check_identity(event_seq, header.journal, header.number)
    }

    fn check_identity(&self, event_seq: u64, journal: JournalId, number: u64) -> Result<(), JournalError> {
        if journal == self.journal && number == event_seq {
            return Ok(());
        }
        let why = if journal == self.journal {
            "its name is another snapshot's"
        } else {
            "it is another journal's"
        };
        Err(JournalError::Damaged {
            segment: self.path(event_seq),
            offset: 0,
            event_seq,
            why: why.to_owned(),
        })
    }

    /// Reads one; [`JournalError::Damaged`] if it is not whole.
    pub fn load(&self, event_seq: u64) -> Result<Snapshot, JournalError> {
        let (header, bytes) = whole_file::read(&*self.storage, &self.path(event_seq), MAGIC)?;
        self.check_identity(event_seq, header.journal, header.number)?;
        Ok(Snapshot { event_seq, bytes })
    }

    /// The newest that is whole and not after `event_seq`; damaged ones are passed over with a warning.
    pub fn newest_until(&self, event_seq: u64) -> Result<Option<Snapshot>, JournalError> {
        for number in self.list()?.into_iter().filter(|&number| number <= event_seq) {
            match self.load(number) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(error) => tracing::warn!(event_seq = number, %error, "a snapshot cannot be used: passed over"),
            }
        }
        Ok(None)
    }

    /// Keeps a snapshot of the state after `event_seq`, durably, and the one before it; drops older ones.
    /// [`JournalError::NotDurable`] if the journal has not made the event durable yet.
    pub fn store(&self, event_seq: u64, snapshot: &[u8]) -> Result<(), JournalError> {
        // A snapshot on disk proves to the next start that its event was durable: it must be true.
        let durable = self
            .durable
            .as_ref()
            .map_or(0, |durable| durable.load(Ordering::Acquire));
        if event_seq > durable {
            return Err(JournalError::NotDurable { event_seq, durable });
        }
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        whole_file::write(
            &*self.storage,
            &self.path(event_seq),
            MAGIC,
            self.journal,
            event_seq,
            snapshot,
        )?;
        if let Err(error) = self.remove_older() {
            tracing::warn!(%error, "snapshots that are not needed any more are still there");
        }
        Ok(())
    }

    fn remove_older(&self) -> Result<(), JournalError> {
        let sound = self.list_sound()?;
        let Some(&oldest_kept) = sound.get(SNAPSHOTS_KEPT - 1) else {
            return Ok(());
        };
        for number in self.list()?.into_iter().filter(|&number| number < oldest_kept) {
            let path = self.path(number);
            self.storage
                .remove(&path)
                .map_err(JournalError::file("remove", &path))?;
        }
        Ok(())
    }
}
