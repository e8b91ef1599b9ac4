//! The files of history, and what is asked of them.
//!
//! | file | holds |
//! |---|---|
//! | `log` | everything: see [`super::format`] |
//! | `checkpoint` | what is known of the log up to a place: saves reading it from the start |
//! | `lock` | held by the one process that uses the directory |

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use optivex_engine::types::{InstrumentId, OrderId, Symbol, UserId};
use optivex_proto::v1;
use prost::Message;

use super::format::{
    BLOCK_BYTES, Block, ENTRY_BYTES, Entry, HEADER_BYTES, LogHeader, NOWHERE, Seed, Stream, Unreadable,
};
use super::index::{Index, Keys};
use super::projection::Projection;
use super::state::State;
use super::{HistoryError, HistoryOptions, scan};
use crate::storage::{Disk, Storage, StorageFile};
use crate::{JournalError, whole_file};

const LOG: &str = "log";
const LOCK: &str = "lock";
const CHECKPOINT: &str = "checkpoint";
const CHECKPOINT_MAGIC: [u8; 8] = *b"OPTVXHCP";
/// A block is read with one look if it is no longer.
const READ_BYTES: usize = 4 << 10;
/// Written again at a time, after a sync that failed.
const REWRITE_BYTES: u64 = 1 << 20;
/// The version that a directory of the database before this log has.
const DATABASE_VERSION: u32 = 1;

pub(super) struct Store {
    directory: PathBuf,
    file: File,
    header: LogHeader,
    seed: Seed,
    /// Where locks are nested, this one comes first.
    index: RwLock<Index>,
    state: RwLock<State>,
    /// The file may be longer than the log.
    is_ragged: AtomicBool,
    synced: Mutex<Synced>,
    checkpoint_bytes: u64,
    _lock: File,
}

struct Synced {
    /// What of the log is durable.
    through: u64,
    /// Where the checkpoint stands.
    checkpoint: u64,
    /// A sync failed: what of the log lies behind `through` may never reach the disk.
    is_suspect: bool,
}

impl Store {
    pub(super) fn open(directory: &Path, options: &HistoryOptions) -> Result<Self, HistoryError> {
        Disk.create_directory(directory)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(HistoryError::Locked),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        let path = directory.join(LOG);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                begin(directory, options)?;
                OpenOptions::new().read(true).write(true).open(&path)?
            }
            file => file?,
        };
        let mut bytes = vec![0; HEADER_BYTES as usize];
        let count = StorageFile::read_at(&file, &mut bytes, 0)?;
        let header = LogHeader::decode(&bytes[..count]).map_err(|unreadable| match unreadable {
            Unreadable::Damaged => HistoryError::damaged("log"),
            Unreadable::Version(found) => HistoryError::UnknownVersion { found },
        })?;
        let seed = header.seed();
        let length = file.metadata()?.len();
        let (mut state, mut index) =
            read_checkpoint(directory, &header, length).unwrap_or_else(|| (State::default(), Index::new(&header)));
        let checkpoint = state.end;
        scan::scan(&file, seed, &mut state, &mut index)?;
        Ok(Self {
            directory: directory.to_owned(),
            file,
            header,
            seed,
            is_ragged: AtomicBool::new(length != state.end),
            index: RwLock::new(index),
            state: RwLock::new(state),
            synced: Mutex::new(Synced {
                through: checkpoint,
                checkpoint,
                is_suspect: false,
            }),
            checkpoint_bytes: options.checkpoint_bytes,
            _lock: lock,
        })
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn synced(&self) -> MutexGuard<'_, Synced> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For events that follow those in the log.
    pub(super) fn projection(&self) -> Result<Projection, HistoryError> {
        Ok(Projection::new(Keys::new(&self.header), self.symbols()?))
    }

    /// Appends what was gathered, all or nothing; the last report of each user that has new ones.
    pub(super) fn commit(&self, projection: &mut Projection) -> Result<Vec<(UserId, u64)>, HistoryError> {
        let (end, checksum) = {
            let state = self.state();
            if projection.is_empty(&state) {
                return Ok(Vec::new());
            }
            (state.end, state.checksum)
        };
        projection.write_blocks(end, self.seed);
        // Held until the entries are in the log: who follows one finds it.
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let written = projection.write_entries(end, checksum, self.seed, &mut index);
        if let Err(error) = self.append(projection.bytes(), end) {
            index.undo();
            return Err(error.into());
        }
        index.keep();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        Ok(projection.committed(&written, &mut state))
    }

    fn append(&self, bytes: &[u8], end: u64) -> io::Result<()> {
        // What a crash or a failed write left behind the end must not follow what is written there now.
        if self.is_ragged.load(Ordering::Relaxed) {
            self.file.set_len(end)?;
        }
        self.is_ragged.store(true, Ordering::Relaxed);
        FileExt::write_all_at(&self.file, bytes, end)?;
        self.is_ragged.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// A sync may have failed before the store was opened.
    pub(super) fn distrust(&self) {
        self.synced().is_suspect = true;
    }

    /// Returns when everything that was committed is durable.
    pub(super) fn sync(&self) -> Result<(), HistoryError> {
        let mut synced = self.synced();
        let (end, checkpoint) = self.look(synced.checkpoint);
        if synced.is_suspect {
            // The system may have dropped what it could not write, and call it written.
            self.rewrite(synced.through, end)?;
        }
        synced.is_suspect = true;
        self.file.sync_data()?;
        synced.is_suspect = false;
        synced.through = end;
        if let Some((watermark, content)) = checkpoint {
            let path = self.directory.join(CHECKPOINT);
            match whole_file::write(&Disk, &path, CHECKPOINT_MAGIC, self.header.id, watermark, &content) {
                Ok(()) => synced.checkpoint = end,
                // The next start takes longer; nothing is lost.
                Err(error) => tracing::warn!(%error, "history's checkpoint cannot be written"),
            }
        }
        Ok(())
    }

    /// The log's end, and a checkpoint of it with its event if one is due.
    fn look(&self, last_checkpoint: u64) -> (u64, Option<(u64, Vec<u8>)>) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let state = self.state();
        let is_due = state.end - last_checkpoint >= self.checkpoint_bytes;
        (state.end, is_due.then(|| (state.watermark, state.encode(&index))))
    }

    fn rewrite(&self, mut start: u64, end: u64) -> io::Result<()> {
        let mut bytes = Vec::new();
        while start < end {
            bytes.resize(REWRITE_BYTES.min(end - start) as usize, 0);
            self.file.read_exact_at(&mut bytes, start)?;
            FileExt::write_all_at(&self.file, &bytes, start)?;
            start += bytes.len() as u64;
        }
        Ok(())
    }

    pub(super) fn reports(
        &self,
        user: UserId,
        after_report_seq: u64,
        max: usize,
    ) -> Result<Vec<v1::ExecutionReport>, HistoryError> {
        let report_seq = |report: &v1::ExecutionReport| report.report_seq;
        self.messages(Stream::Reports(user), after_report_seq, max, report_seq)
    }

    pub(super) fn trades(
        &self,
        instrument: Option<InstrumentId>,
        after_trade_id: u64,
        max: usize,
    ) -> Result<Vec<v1::Trade>, HistoryError> {
        let stream = instrument.map_or(Stream::Trades, Stream::InstrumentTrades);
        self.messages(stream, after_trade_id, max, |trade: &v1::Trade| trade.trade_id)
    }

    pub(super) fn order(&self, order: OrderId) -> Result<Option<(UserId, v1::Order)>, HistoryError> {
        let key = Keys::new(&self.header).order(order);
        self.find(key, |_, found| found.order_id == order.0)
    }

    pub(super) fn order_by_client_id(
        &self,
        user: UserId,
        client_order_id: &str,
    ) -> Result<Option<v1::Order>, HistoryError> {
        let key = Keys::new(&self.header).client_order_id(user, client_order_id);
        let found = self.find(key, |owner, order| {
            owner == user && order.client_order_id == client_order_id
        })?;
        Ok(found.map(|(_, order)| order))
    }

    /// The newest done order with this key that is meant.
    fn find(
        &self,
        key: u64,
        is_meant: impl Fn(UserId, &v1::Order) -> bool,
    ) -> Result<Option<(UserId, v1::Order)>, HistoryError> {
        let damaged = || HistoryError::damaged("orders");
        let mut place = self.index.read().unwrap_or_else(PoisonError::into_inner).head(key);
        let mut bytes = [0; ENTRY_BYTES];
        while place != NOWHERE {
            let count = StorageFile::read_at(&self.file, &mut bytes, place)?;
            let (entry, _) = Entry::decode(&bytes[..count], self.seed, place).ok_or_else(damaged)?;
            if entry.key == key {
                let (block, payload) = self.block(entry.block)?;
                let Stream::Reports(user) = block.stream else {
                    return Err(damaged());
                };
                let message = payload.get(entry.offset as usize..).ok_or_else(damaged)?;
                let report = v1::ExecutionReport::decode_length_delimited(message).map_err(|_| damaged())?;
                let order = report.order.ok_or_else(damaged)?;
                if is_meant(user, &order) {
                    return Ok(Some((user, order)));
                }
            }
            if entry.previous >= place {
                return Err(damaged());
            }
            place = entry.previous;
        }
        Ok(None)
    }

    /// Messages of a stream after number `after`, at most `max`.
    fn messages<M: Message + Default>(
        &self,
        stream: Stream,
        after: u64,
        max: usize,
        number_of: impl Fn(&M) -> u64,
    ) -> Result<Vec<M>, HistoryError> {
        let damaged = || HistoryError::damaged(stream.name());
        let newest = self.state().tail(stream).map_or(NOWHERE, |tail| tail.place());
        let (Some(from), true) = (after.checked_add(1), max > 0 && newest != NOWHERE) else {
            return Ok(Vec::new());
        };
        // The first message may lie within a block that starts before it.
        let start = self.newest_block(stream, newest, |block| block.first <= from)?;
        let (block, payload) = self.block(start)?;
        let decode = |mut payload: &[u8], messages: &mut Vec<M>| {
            let mut passed = 0;
            while !payload.is_empty() && messages.len() < max {
                let message = M::decode_length_delimited(&mut payload).map_err(|_| damaged())?;
                if number_of(&message) > after {
                    messages.push(message);
                } else {
                    passed += 1;
                }
            }
            Ok::<u64, HistoryError>(passed)
        };
        let mut messages = Vec::new();
        let passed = decode(&payload, &mut messages)?;
        if messages.len() == max || start == newest {
            return Ok(messages);
        }
        // Links lead back: from the last block that is needed.
        let end = block.ordinal.saturating_add(passed).saturating_add(max as u64);
        let mut place = self.newest_block(stream, newest, |block| block.ordinal < end)?;
        let mut payloads = Vec::new();
        while place > start {
            let (block, payload) = self.block(place)?;
            if block.stream != stream {
                return Err(damaged());
            }
            payloads.push(payload);
            place = block.links.previous;
        }
        while let Some(payload) = payloads.pop() {
            decode(&payload, &mut messages)?;
        }
        Ok(messages)
    }

    /// The newest block for which something is true that is true for all before it; the oldest one if it
    /// is true for none.
    fn newest_block(
        &self,
        stream: Stream,
        newest: u64,
        is_early: impl Fn(&Block) -> bool,
    ) -> Result<u64, HistoryError> {
        let damaged = || HistoryError::damaged(stream.name());
        let header = |place: u64| {
            let mut bytes = [0; BLOCK_BYTES];
            let count = StorageFile::read_at(&self.file, &mut bytes, place)?;
            Block::decode(&bytes[..count], self.seed, place)
                .filter(|block| block.stream == stream)
                .ok_or_else(damaged)
        };
        let mut place = newest;
        let mut block = header(place)?;
        while !is_early(&block) && block.links.previous != NOWHERE {
            let jump = match block.links.jump {
                NOWHERE => None,
                jump => Some((jump, header(jump)?)),
            };
            (place, block) = match jump {
                Some((jump, further)) if !is_early(&further) => (jump, further),
                _ => (block.links.previous, header(block.links.previous)?),
            };
        }
        Ok(place)
    }

    /// A block and its payload.
    fn block(&self, place: u64) -> Result<(Block, Vec<u8>), HistoryError> {
        let damaged = || HistoryError::damaged("blocks");
        let mut bytes = vec![0; READ_BYTES];
        let mut count = StorageFile::read_at(&self.file, &mut bytes, place)?;
        let block = Block::decode(&bytes[..count], self.seed, place).ok_or_else(damaged)?;
        let length = BLOCK_BYTES + block.payload_bytes;
        if length > count {
            bytes.resize(length, 0);
            count += StorageFile::read_at(&self.file, &mut bytes[count..], place + count as u64)?;
        }
        bytes.truncate(length.min(count));
        bytes.drain(..BLOCK_BYTES);
        if !block.is_payload(&bytes) {
            return Err(damaged());
        }
        Ok((block, bytes))
    }

    /// Symbols of all instruments.
    fn symbols(&self) -> Result<Vec<Symbol>, HistoryError> {
        let damaged = || HistoryError::damaged("symbols");
        let mut place = self.state().tail(Stream::Symbols).map_or(NOWHERE, |tail| tail.place());
        let mut payloads = Vec::new();
        while place != NOWHERE {
            let (block, payload) = self.block(place)?;
            if block.stream != Stream::Symbols {
                return Err(damaged());
            }
            payloads.push(payload);
            place = block.links.previous;
        }
        let mut symbols = Vec::new();
        for payload in payloads.iter().rev() {
            let mut rest = payload.as_slice();
            while let Some((&length, after)) = rest.split_first() {
                let (symbol, after) = after.split_at_checked(length as usize).ok_or_else(damaged)?;
                let symbol = std::str::from_utf8(symbol)
                    .ok()
                    .and_then(|text| Symbol::from(text).ok());
                symbols.push(symbol.ok_or_else(damaged)?);
                rest = after;
            }
        }
        Ok(symbols)
    }
}

/// Makes an empty log, if nothing speaks against it.
fn begin(directory: &Path, options: &HistoryOptions) -> Result<(), HistoryError> {
    let path = directory.join(LOG);
    let temporary = whole_file::temporary(&path);
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name == CHECKPOINT {
            return Err(HistoryError::damaged("log"));
        }
        let is_ours = name == LOCK || name.to_string_lossy().ends_with(".tmp");
        if !is_ours {
            return Err(HistoryError::UnknownVersion {
                found: DATABASE_VERSION,
            });
        }
    }
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    let buckets = (options.memory_bytes / 8).max(1 << 8);
    let header = LogHeader {
        id,
        bucket_bits: buckets.ilog2().min(28),
    };
    let file = File::create(&temporary)?;
    FileExt::write_all_at(&file, &header.encode(), 0)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    Ok(Disk.sync_directory(directory)?)
}

/// What the checkpoint tells, if there is one and it fits the log.
fn read_checkpoint(directory: &Path, header: &LogHeader, length: u64) -> Option<(State, Index)> {
    let path = directory.join(CHECKPOINT);
    let why = match whole_file::read(&Disk, &path, CHECKPOINT_MAGIC) {
        Ok((whole, content)) if whole.journal == header.id => match State::decode(&content, 1 << header.bucket_bits) {
            Some((state, index)) if (HEADER_BYTES..=length).contains(&state.end) => return Some((state, index)),
            _ => "it does not fit the log".to_owned(),
        },
        Ok(_) => "it is of another log".to_owned(),
        Err(JournalError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
    };
    tracing::warn!(path = %path.display(), why, "history's checkpoint is passed over: its whole log is read");
    None
}

#[cfg(test)]
mod tests {
    use optivex_engine::Event;
    use optivex_engine::event::{Outcome, Report, ReportKind};
    use optivex_engine::types::{
        CancelReason, ClientOrderId, Instrument, Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce,
        TradingPhase,
    };
    use tempfile::TempDir;

    use super::*;

    const USER: UserId = UserId(3);

    /// An instrument first, then an order that ends in its own event, again and again.
    fn event(event_seq: u64) -> Event {
        let mut event = Event {
            event_seq,
            ..Event::default()
        };
        if event_seq == 1 {
            event.outcome = Outcome::InstrumentCreated(Box::new(Instrument {
                id: InstrumentId(0),
                symbol: "SYM".try_into().expect("short"),
                description: String::new(),
                currency: "EUR".try_into().expect("short"),
                multiplier: 1,
                tick_size_e4: 1,
                phase: TradingPhase::Continuous,
                created_unix_ns: 0,
            }));
            return event;
        }
        event.reports.push(Report {
            report_seq: event_seq - 1,
            kind: ReportKind::Cancelled,
            order: Order {
                order_id: OrderId(event_seq << 24),
                user: USER,
                client_order_id: ClientOrderId::from(&format!("c{}", event_seq % 3)).expect("short"),
                instrument: InstrumentId(0),
                side: Side::Buy,
                price_e4: 1,
                quantity: 1,
                filled_quantity: 0,
                status: OrderStatus::Cancelled(CancelReason::User),
                created_unix_ns: 0,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::GoodTillCancelled,
                post_only: false,
                self_trade_prevention: SelfTradePrevention::CancelIncoming,
                event_seq,
            },
        });
        event
    }

    fn commit(
        store: &Store,
        projection: &mut Projection,
        events: std::ops::RangeInclusive<u64>,
    ) -> Result<(), HistoryError> {
        let state = store.state();
        projection.begin(&state);
        for event_seq in events {
            projection.add_all(&[event(event_seq)], &state)?;
        }
        drop(state);
        store.commit(projection).map(|_| ())
    }

    fn assert_holds(store: &Store, through: u64) {
        let reports = store.reports(USER, 0, usize::MAX).expect("readable");
        assert_eq!(reports.len() as u64, through - 1);
        for event_seq in 2..=through + 20 {
            let order = store.order(OrderId(event_seq << 24)).expect("readable");
            let found = order.map(|(user, order)| (user, order.event_seq));
            assert_eq!(found, (event_seq <= through).then_some((USER, event_seq)));
        }
        for newest in through.saturating_sub(2).max(2)..=through {
            let id = format!("c{}", newest % 3);
            let order = store.order_by_client_id(USER, &id).expect("readable").expect("done");
            assert_eq!(order.event_seq, newest);
        }
    }

    /// A write that fails changes nothing that readers see, and works later; a sync that failed makes the
    /// next one write everything again.
    #[test]
    fn a_disk_that_refuses_is_tried_again() {
        let directory = TempDir::new().expect("a directory");
        let options = HistoryOptions {
            // So few buckets that every entry has others before it.
            memory_bytes: 1,
            ..HistoryOptions::default()
        };
        let path = directory.path().join(LOG);
        let mut store = Store::open(directory.path(), &options).expect("opens");
        let mut projection = store.projection().expect("empty");
        commit(&store, &mut projection, 1..=1_000).expect("written");
        for round in 1..5 {
            assert_holds(&store, round * 1_000);
            let file = std::mem::replace(&mut store.file, File::open(&path).expect("readable"));
            let next = round * 1_000 + 1..=round * 1_000 + 1_000;
            for _ in 0..2 {
                let refused = commit(&store, &mut projection, next.clone());
                assert!(matches!(refused, Err(HistoryError::Io(_))), "{refused:?}");
                assert_holds(&store, round * 1_000);
            }
            // A part of it was written.
            FileExt::write_all_at(&file, &projection.bytes()[..5_000], store.state().end).expect("written");
            store.file = file;
            commit(&store, &mut projection, next).expect("written");
            store.distrust();
            store.sync().expect("durable");
            assert!(!store.synced().is_suspect);
        }
        assert_holds(&store, 5_000);
        let bytes = fs::read(&path).expect("readable");
        assert_eq!(bytes.len() as u64, store.state().end);
        let (state, index) = (store.state().clone(), store.index.read().expect("no panic").clone());
        drop(store);
        let store = Store::open(directory.path(), &options).expect("opens");
        assert_eq!(*store.state(), state);
        assert!(*store.index.read().expect("no panic") == index);
        assert_holds(&store, 5_000);
    }

    /// What a failed write left is gone before something shorter is written there.
    #[test]
    fn nothing_of_a_failed_write_comes_back() {
        let directory = TempDir::new().expect("a directory");
        let store = Store::open(directory.path(), &HistoryOptions::default()).expect("opens");
        let mut projection = store.projection().expect("empty");
        commit(&store, &mut projection, 1..=10).expect("written");
        let end = store.state().end;
        store.is_ragged.store(true, Ordering::Relaxed);
        FileExt::write_all_at(&store.file, &[0xff; 50_000], end).expect("written");
        commit(&store, &mut projection, 11..=11).expect("written");
        assert_eq!(store.file.metadata().expect("there").len(), store.state().end);
        drop(store);
        let store = Store::open(directory.path(), &HistoryOptions::default()).expect("opens");
        assert_eq!(store.state().watermark, 11);
        assert_holds(&store, 11);
    }
}
