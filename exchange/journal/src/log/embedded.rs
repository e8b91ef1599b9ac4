//! The writing side: commits, new segments, retention.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::log::directory::{Directory, Genesis};
use crate::log::format::{FRAME_BYTES, HEADER_BYTES, SegmentHeader, append_record};
use crate::log::reader::Reader;
use crate::log::segment::Walk;
use crate::log::spare::{Readiness, Spare};
use crate::log::{OpenReport, Opened, Options, Proof, Retention, Tail};
use crate::storage::{Disk, Storage, StorageFile, StorageLock};
use crate::{Batch, Journal, JournalError, SnapshotStore};

/// Smallest segment: its header and something to write.
const SEGMENT_BYTES_MIN: u64 = 2 * HEADER_BYTES;

/// The embedded journal: see the module's documentation.
pub struct Embedded {
    // Dropped in this order: the lock goes last.
    spare: Spare,
    active: Option<Active>,
    snapshots: SnapshotStore,
    storage: Arc<dyn Storage>,
    directory: Directory,
    genesis: Genesis,
    options: Options,
    /// The last durable event; snapshots look at it too.
    durable: Arc<AtomicU64>,
    /// First events of the segments that are there, the active one last.
    segments: Vec<u64>,
    room: Room,
    /// When a new segment last could not be started.
    start_failed_at: Option<Instant>,
    buffer: Vec<u8>,
    _lock: Box<dyn StorageLock>,
}

/// The segment that is being written.
struct Active {
    file: Box<dyn StorageFile>,
    header: SegmentHeader,
    /// Everything before is durable, nothing behind it counts.
    end: u64,
    /// How far the file can be written without wanting room.
    capacity: u64,
    /// What lies behind `end` cannot be relied on: this segment takes no more records.
    failed: bool,
}

/// What was seen when the disk's free room was last looked at.
#[derive(Default)]
struct Room {
    checked_at: Option<Instant>,
    enough: bool,
}

impl Embedded {
    /// Opens the journal of a data directory, or makes one with the bytes that `genesis` gives.
    /// Checks every record that is kept, cuts a torn tail, and takes the directory's lock.
    pub fn open(
        data_directory: &Path,
        options: &Options,
        genesis: impl FnOnce() -> Vec<u8>,
    ) -> Result<Opened, JournalError> {
        Self::open_on(Arc::new(Disk), data_directory, options, genesis)
    }

    /// As [`Embedded::open`], on other storage than the operating system's.
    pub fn open_on(
        storage: Arc<dyn Storage>,
        data_directory: &Path,
        options: &Options,
        genesis: impl FnOnce() -> Vec<u8>,
    ) -> Result<Opened, JournalError> {
        Self::open_proven(storage, data_directory, options, genesis, || None)
    }

    /// As [`Embedded::open_on`]; `proof`, asked once the lock is held and before anything is cut, tells
    /// what shows beside the snapshots which events were durable.
    pub(crate) fn open_proven(
        storage: Arc<dyn Storage>,
        data_directory: &Path,
        options: &Options,
        genesis: impl FnOnce() -> Vec<u8>,
        proof: impl FnOnce() -> Option<Proof>,
    ) -> Result<Opened, JournalError> {
        let directory = Directory::new(data_directory);
        for path in [&directory.data, &directory.journal, &directory.snapshots] {
            storage
                .create_directory(path)
                .map_err(JournalError::file("create", path))?;
        }
        let lock_path = directory.lock();
        let lock = storage
            .try_lock(&lock_path)
            .map_err(JournalError::file("lock", &lock_path))?
            .ok_or_else(|| JournalError::Locked {
                directory: data_directory.to_owned(),
            })?;
        directory.tidy(&*storage)?;

        let present = directory.read_genesis(&*storage)?;
        let created = present.is_none();
        let genesis = match present {
            Some(genesis) => genesis,
            None => make_genesis(&*storage, &directory, genesis())?,
        };
        let durable = Arc::new(AtomicU64::new(0));
        let snapshots = SnapshotStore::new(storage.clone(), &directory, genesis.journal, Some(durable.clone()));
        snapshots.tidy()?;
        // Names that a process before this one saw, and the machine not yet.
        for path in [&directory.journal, &directory.snapshots] {
            storage.sync_directory(path).map_err(JournalError::file("sync", path))?;
        }

        let options = Options {
            segment_bytes: options.segment_bytes.max(SEGMENT_BYTES_MIN),
            ..options.clone()
        };
        let segments = directory.segments(&*storage)?;
        let (mut report, active) = check_all(storage.clone(), &directory, &segments, proof())?;
        report.created = created;
        durable.store(report.last_event_seq, Ordering::Release);
        if report.first_event_seq > 1 {
            check_start(&snapshots, &directory, report.first_event_seq)?;
        }
        let spare = Spare::new(
            storage.clone(),
            directory.spare(),
            options.segment_bytes,
            options.spare_in_background,
            options.room_check_interval,
        );
        let content = genesis.content.clone();
        let mut journal = Self {
            spare,
            active,
            snapshots: snapshots.clone(),
            storage,
            directory,
            genesis,
            options,
            durable,
            segments,
            room: Room::default(),
            start_failed_at: None,
            buffer: Vec::new(),
            _lock: lock,
        };
        // A disk that is full now may have room later: has_room() tells.
        if journal.is_unusable() {
            journal.restart();
        }
        Ok(Opened {
            journal,
            snapshots,
            genesis: content,
            report,
        })
    }

    fn next_event_seq(&self) -> u64 {
        self.durable.load(Ordering::Acquire) + 1
    }

    fn is_unusable(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.failed)
    }

    /// Ends the active segment at its durable end and goes on in a new one with room for the bytes.
    fn start_segment(&mut self, bytes: u64) -> Result<(), JournalError> {
        let first_event_seq = self.next_event_seq();
        let path = self.directory.segment(first_event_seq);
        if let Some(active) = &mut self.active {
            // First of all: once the new segment is there, nothing may be left here that a reader could
            // take for the same events. Until both calls succeed, nothing is written anywhere.
            active.failed = true;
            let old = self.directory.segment(active.header.first_event_seq);
            cut(&*active.file, active.end).map_err(JournalError::file("end", &old))?;
        }
        let spare = self
            .spare
            .take(HEADER_BYTES + bytes)
            .map_err(JournalError::file("make", &path))?;
        let header = SegmentHeader {
            journal: self.genesis.journal,
            first_event_seq,
            capacity: spare.capacity,
        };
        let named = spare
            .file
            .write_all_at(&header.encode(), 0)
            .and_then(|()| spare.file.sync())
            // In place of a segment of the same name, which then has no durable record.
            .and_then(|()| self.storage.rename(&self.directory.spare(), &path))
            .and_then(|()| self.storage.sync_directory(&self.directory.journal));
        named.map_err(JournalError::file("make", &path))?;
        self.active = Some(Active {
            file: spare.file,
            header,
            end: HEADER_BYTES,
            capacity: spare.capacity,
            failed: false,
        });
        if self.segments.last() != Some(&first_event_seq) {
            self.segments.push(first_event_seq);
        }
        Ok(())
    }

    /// Tries again to have a segment that can be written; not more often than the disk is asked for room.
    fn restart(&mut self) -> bool {
        if self
            .start_failed_at
            .is_some_and(|at| at.elapsed() < self.options.room_check_interval)
        {
            return false;
        }
        match self.start_segment(0) {
            Ok(()) => {
                self.start_failed_at = None;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be written yet");
                self.start_failed_at = Some(Instant::now());
                false
            }
        }
    }

    fn check_order(&self, batches: &[Batch]) -> Result<usize, JournalError> {
        let mut expected = self.next_event_seq();
        let mut records = 0;
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            if batch.first_event_seq() != expected {
                return Err(JournalError::OutOfOrder {
                    expected,
                    got: batch.first_event_seq(),
                });
            }
            expected += batch.len() as u64;
            records += batch.len();
        }
        Ok(records)
    }

    fn enough_free(&mut self) -> bool {
        if self
            .room
            .checked_at
            .is_none_or(|at| at.elapsed() >= self.options.room_check_interval)
        {
            let enough = match self.storage.free_bytes(&self.directory.journal) {
                Ok(free) => free >= self.options.reserve_bytes,
                Err(error) => {
                    tracing::error!(%error, "the disk does not say how much room is free");
                    false
                }
            };
            if enough != self.room.enough && self.room.checked_at.is_some() {
                tracing::warn!(
                    enough,
                    reserve = self.options.reserve_bytes,
                    "free room on the journal's disk changed"
                );
            }
            self.room = Room {
                checked_at: Some(Instant::now()),
                enough,
            };
        }
        self.room.enough
    }
}

impl Journal for Embedded {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), JournalError> {
        let records = self.check_order(batches)?;
        if records == 0 {
            return Ok(());
        }
        let payloads: usize = batches.iter().map(Batch::byte_len).sum();
        let bytes = (payloads + records * FRAME_BYTES) as u64;
        let fits = |active: &Active| !active.failed && active.end + bytes <= active.capacity;
        if !self.active.as_ref().is_some_and(fits) {
            self.start_segment(bytes)?;
        }
        let active = self
            .active
            .as_mut()
            .expect("a segment was started where there was none");
        self.buffer.clear();
        self.buffer.reserve(bytes as usize);
        let seed = active.header.seed();
        let payloads = batches
            .iter()
            .filter(|batch| !batch.is_empty())
            .flat_map(Batch::records);
        for (index, (event_seq, payload)) in (0..).zip(payloads) {
            append_record(&mut self.buffer, seed, event_seq, index, payload);
        }
        let written = active
            .file
            .write_all_at(&self.buffer, active.end)
            .and_then(|()| active.file.sync());
        if let Err(error) = written {
            // The kernel may have dropped the pages and call them clean: a sync that succeeds later
            // would prove nothing. What was written here is cut off before anything else is.
            active.failed = true;
            return Err(JournalError::file(
                "write",
                &self.directory.segment(active.header.first_event_seq),
            )(error));
        }
        active.end += self.buffer.len() as u64;
        self.durable.fetch_add(records as u64, Ordering::Release);
        // An unusual commit must not hold its memory for ever.
        if self.buffer.capacity() > 8 << 20 {
            self.buffer = Vec::new();
        }
        self.spare.prepare();
        Ok(())
    }

    fn durable_event_seq(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    fn has_room(&mut self) -> bool {
        let spare = self.spare.prepare();
        if self.is_unusable() && (spare != Readiness::Ready || !self.restart()) {
            return false;
        }
        let spare = self.spare.prepare();
        let half_left = self
            .active
            .as_ref()
            .is_some_and(|active| active.capacity.saturating_sub(active.end) >= active.capacity / 2);
        let segments = spare == Readiness::Ready || (spare == Readiness::UnderWay && half_left);
        segments && self.enough_free()
    }

    fn store_snapshot(&mut self, event_seq: u64, snapshot: &[u8]) -> Result<(), JournalError> {
        self.snapshots.store(event_seq, snapshot)
    }

    fn retain(&mut self, history_durable_through: u64) -> Result<u64, JournalError> {
        if self.options.retention == Retention::All {
            return Ok(0);
        }
        // Behind the older of those that are kept: the newest may turn out to be unreadable.
        let sound = self.snapshots.list_sound()?;
        let Some(&older) = sound.get(crate::snapshots::SNAPSHOTS_KEPT - 1) else {
            return Ok(0);
        };
        let needless = older.min(history_durable_through);
        let mut dropped = 0;
        while let [first, second, ..] = self.segments[..] {
            if second - 1 > needless {
                break;
            }
            let path = self.directory.segment(first);
            self.storage
                .remove(&path)
                .map_err(JournalError::file("remove", &path))?;
            // One after another: a machine that stops here must not find a gap.
            let synced = self.storage.sync_directory(&self.directory.journal);
            self.segments.remove(0);
            dropped += second - first;
            synced.map_err(JournalError::file("sync", &self.directory.journal))?;
        }
        Ok(dropped)
    }
}

fn make_genesis(storage: &dyn Storage, directory: &Directory, content: Vec<u8>) -> Result<Genesis, JournalError> {
    // A journal without its genesis file is not an empty one.
    if let Some(&first) = directory.segments(storage)?.first() {
        let why = "the genesis file is missing, which a journal is made with".to_owned();
        return Err(JournalError::Damaged {
            segment: directory.genesis(),
            offset: 0,
            event_seq: first,
            why,
        });
    }
    let mut journal = [0; 16];
    getrandom::fill(&mut journal).map_err(|error| std::io::Error::other(format!("no random numbers: {error}")))?;
    let genesis = Genesis { journal, content };
    directory.write_genesis(storage, &genesis)?;
    Ok(genesis)
}

/// Without the events before its first segment a journal is of use only behind a snapshot.
fn check_start(snapshots: &SnapshotStore, directory: &Directory, first_event_seq: u64) -> Result<(), JournalError> {
    if snapshots
        .list_sound()?
        .iter()
        .any(|&event_seq| event_seq + 1 >= first_event_seq)
    {
        return Ok(());
    }
    let why = format!("the journal starts at event {first_event_seq}, and no snapshot is there of what came before");
    Err(JournalError::Damaged {
        segment: directory.segment(first_event_seq),
        offset: 0,
        event_seq: 1,
        why,
    })
}

/// Reads every record, and makes the last segment one that can be written on.
fn check_all(
    storage: Arc<dyn Storage>,
    directory: &Directory,
    segments: &[u64],
    proof: Option<Proof>,
) -> Result<(OpenReport, Option<Active>), JournalError> {
    let first_event_seq = segments.first().copied().unwrap_or(1);
    let mut records = Reader::open_on(storage.clone(), &directory.data)?.read_proven(first_event_seq, proof)?;
    while records.next()?.is_some() {}
    let cut = records.tail().cloned();
    let mut report = OpenReport {
        first_event_seq,
        last_event_seq: first_event_seq - 1,
        segments: segments.len(),
        cut: None,
        created: false,
    };
    let Some(walk) = records.last_walk() else {
        return Ok((report, None));
    };
    report.last_event_seq = walk.next_event_seq - 1;
    report.cut = cut;
    let active = reopen(&*storage, walk, report.cut.as_ref())?;
    Ok((report, Some(active)))
}

/// Makes what was read from the last segment durable, and everything behind it zero.
fn reopen(storage: &dyn Storage, walk: &Walk, cut: Option<&Tail>) -> Result<Active, JournalError> {
    let path = &walk.path;
    let file = storage.open_writable(path).map_err(JournalError::file("open", path))?;
    if let Some(tail) = cut {
        tracing::warn!(
            path = %path.display(),
            offset = tail.position.offset,
            bytes = tail.bytes,
            missing_bytes = tail.missing_bytes,
            last_event_seq = tail.last_event_seq,
            "the journal ended in the middle of a write: what was not acknowledged is cut",
        );
        self::cut(&*file, walk.offset).map_err(JournalError::file("cut", path))?;
    }
    // The last commit was read, perhaps from memory that a failed sync never brought to the disk, and
    // whoever reads it now will rely on it. The same bytes in the same place can do no harm.
    rewrite(&*file, walk.commit_offset, walk.offset).map_err(JournalError::file("write", path))?;
    let mut active = Active {
        file,
        header: walk.header,
        end: walk.offset,
        capacity: walk.header.capacity,
        failed: false,
    };
    if let Err(error) = active.file.allocate(active.capacity).and_then(|()| active.file.sync()) {
        tracing::warn!(path = %path.display(), %error, "no room for the rest of the segment: it is ended");
        active.failed = true;
    }
    Ok(active)
}

/// Cuts off what lies behind, durably. An earlier cut whose sync failed may be forgotten as any write may:
/// the file is then as long as it should be in memory only, and setting that length would change nothing.
fn cut(file: &dyn StorageFile, end: u64) -> std::io::Result<()> {
    file.set_length(end + 1)?;
    file.set_length(end)?;
    file.sync()
}

fn rewrite(file: &dyn StorageFile, start: u64, end: u64) -> std::io::Result<()> {
    let mut bytes = vec![0; (1 << 20).min(end - start) as usize];
    let mut offset = start;
    while offset < end {
        let part = &mut bytes[..(1 << 20).min(end - offset) as usize];
        if file.read_at(part, offset)? < part.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        file.write_all_at(part, offset)?;
        offset += part.len() as u64;
    }
    file.sync()
}
