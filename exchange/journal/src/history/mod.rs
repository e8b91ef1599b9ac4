//! History: what clients may ask of the past, on disk.
//!
//! Execution reports, the tape and done orders are a projection of the events. They are written behind
//! the journal and not synced with it: after a crash history goes on where it stood, and
//! [`crate::recover`] feeds it what it lacks. Memory does not grow with the number of trades.
//!
//! [`HistoryWriter`] takes the events, [`History`] answers questions; both are two ends of one
//! projection. A question is answered from disk and may block: async callers use `spawn_blocking`.
//!
//! # One log
//!
//! Nearly all of history comes in the order in which it is asked for, so it is kept as it comes: in one
//! file that is only appended to, one write for all events that wait. A commit groups their messages by
//! stream (the reports of a user, the tape, the tape of an instrument), in blocks of about 8 KiB at most:
//!
//! ```text
//!             commit 7                             commit 8
//! ┌────────┬────────┬────────┬──────┬─────────┐┌────────┬────────┬──────┬─────────┐
//! │ header │ user 3 │ user 5 │ tape │ entries ││ header │ user 3 │ tape │ entries │
//! └────────┴───▲────┴────────┴──▲───┴────▲────┘└────────┴──┬──▲──┴──┬───┴──┬──┬───┘
//!              └────────────────│────────│─────────────────┘  └─────│──────┘  │
//!                               └────────│──────────────────────────┘         │
//!                                        └────────────────────────────────────┘
//! A block links to the one before of its stream; an entry to the last report of an order that is done,
//! and to the entry before in its bucket.
//! ```
//!
//! - **Reports and trades.** Each block links to the one before of its stream and to one further back, so
//!   that an append is all that is ever written (`stream.rs`); a page is found by its first number and its
//!   last, and read.
//! - **Done orders**, by id and by user and client id: entries of a hash table, each with a link to the one
//!   before in its bucket; the newest entry of each bucket is in memory (`index.rs`). Whatever happened, a
//!   lookup reads on average one entry for every 4,194,304 keys (order ids and client ids of done orders).
//! - **A crash** leaves whole commits and perhaps the beginning of one, or of several with holes: the last one
//!   up to which everything is whole is the end, what follows is cut before something is written there.
//!   History goes on at its watermark. To find the end, the log is read from the last checkpoint on, at most
//!   [`HistoryOptions::checkpoint_bytes`] and what was never synced (about 1.5 GB a second); without a
//!   checkpoint, all of it.
//! - **Damage** to what was durable is seen by whoever reads it ([`HistoryError::Damaged`]; every block and entry
//!   has a checksum), not at the start. Then the directory is deleted, and rebuilt from the journal. The
//!   checkpoint is needed for nothing.
//! - **Memory**: 8 bytes a bucket (32 MiB), allocated once; 80 bytes a user and instrument and 16 more whenever the
//!   number of its blocks has doubled; what waits to be written. For another million events: nothing, or
//!   16 bytes a user.
//! - **Disk**: about 165 bytes an event, of which 64 for each done order with a client id.
//!
//! A history of another format ([`HistoryError::UnknownVersion`]; a directory of the database that was used
//! before counts as version 1) is rebuilt from the journal where that is whole; otherwise recovery says that
//! it cannot.

mod encode;
mod format;
mod index;
mod projection;
mod scan;
mod state;
mod store;
mod stream;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use optivex_engine::Engine;
use optivex_engine::types::{InstrumentId, OrderId, UserId};
use optivex_proto::v1;
use tokio::sync::watch;

pub use writer::HistoryWriter;

use store::Store;
use writer::Queue;

/// Settings of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Memory for the index of done orders, in bytes; about. What a history was begun with stays. With less,
    /// lookups read more: see the module's documentation.
    pub memory_bytes: u64,
    /// How much may be written from one checkpoint to the next, in bytes; about: as much is read at a start.
    pub checkpoint_bytes: u64,
    /// Events, trades and reports that may wait to be written; beyond, publishing blocks.
    pub queued_max: usize,
    /// Room that must be free on the disk, in bytes: with less, nothing is written and publishing blocks
    /// before long. Less than the journal's reserve, so that the exchange refuses commands first.
    pub reserve_bytes: u64,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 32 << 20,
            checkpoint_bytes: 256 << 20,
            queued_max: 1 << 17,
            reserve_bytes: 32 << 20,
        }
    }
}

/// What can go wrong with history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The disk refused.
    #[error("history on disk: {0}")]
    Io(#[from] io::Error),
    /// Something is not what was written; deleted, it is rebuilt from the journal.
    #[error("history is damaged: its {part} cannot be read")]
    Damaged {
        /// Which part.
        part: String,
    },
    /// Another process uses the directory.
    #[error("another process uses history")]
    Locked,
    /// Written by another version; deleted, it is rebuilt from the journal.
    #[error(
        "history is of version {found}, this build reads and writes version {}",
        format::VERSION
    )]
    UnknownVersion {
        /// Its version.
        found: u32,
    },
    /// An event does not follow from those before: history is of another exchange, or there is a bug.
    #[error("event {event_seq} does not fit history: {why}")]
    Inconsistent {
        /// The event.
        event_seq: u64,
        /// What does not fit.
        why: String,
    },
    /// The disk failed, and history is being opened again.
    #[error("history is not available at the moment")]
    Unavailable,
}

impl HistoryError {
    /// Whether what lies on the disk cannot be read, rather than the disk refusing.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::UnknownVersion { .. } | Self::Inconsistent { .. } => true,
            Self::Io(_) | Self::Locked | Self::Unavailable => false,
        }
    }

    fn damaged(part: &str) -> Self {
        Self::Damaged { part: part.to_owned() }
    }
}

/// How history keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryStats {
    /// Last event that is readable.
    pub watermark: u64,
    /// Events, trades and reports that wait to be written.
    pub queued: usize,
    /// How often the disk refused so far.
    pub failures: u64,
}

/// Opens the history of a directory, or begins one. The directory is history's alone; one process at a
/// time.
pub fn open(directory: &Path, options: &HistoryOptions) -> Result<(HistoryWriter, History), HistoryError> {
    let store = Store::open(directory, options)?;
    let projection = store.projection()?;
    let (watermark, last_trade_id, last_report_seq) = {
        let state = store.state();
        (state.watermark, state.last_trade_id, state.last_report_seq())
    };
    let shared = Arc::new(Shared {
        watermark: watch::Sender::new(watermark),
        last_trade_id: watch::Sender::new(last_trade_id),
        reports: Mutex::new(ReportWatches {
            last_report_seq,
            watches: HashMap::new(),
        }),
        store: RwLock::new(Some(store)),
        queue: Queue::new(watermark, options.queued_max),
        failures: AtomicU64::new(0),
    });
    let writer = HistoryWriter::start(shared.clone(), projection, directory, options)?;
    Ok((writer, History { shared }))
}

/// The last event that the history of a directory holds.
pub(crate) fn watermark(directory: &Path, options: &HistoryOptions) -> Result<u64, HistoryError> {
    Ok(Store::open(directory, options)?.state().watermark)
}

/// Answers questions about the past. A handle, cheap to clone.
#[derive(Clone)]
pub struct History {
    shared: Arc<Shared>,
}

impl History {
    /// The last event that is readable, as it moves on.
    pub fn watermark(&self) -> watch::Receiver<u64> {
        self.shared.watermark.subscribe()
    }

    /// Returns when the event is readable: not while the disk refuses, and never once history has stopped
    /// ([`HistoryError::Inconsistent`]). Who must answer in time sets a timeout.
    pub async fn wait_for(&self, event_seq: u64) {
        let mut watermark = self.watermark();
        // The sender lives as long as this handle.
        let _ = watermark.wait_for(|watermark| *watermark >= event_seq).await;
    }

    /// The last readable `report_seq` of a user, as it moves on; 0 before the first.
    pub fn report_watch(&self, user: UserId) -> watch::Receiver<u64> {
        self.shared.reports().watch(user)
    }

    /// The last readable `trade_id` of all instruments, as it moves on; 0 before the first.
    pub fn trade_watch(&self) -> watch::Receiver<u64> {
        self.shared.last_trade_id.subscribe()
    }

    /// Reports of a user after a `report_seq`, oldest first, at most `max`. Blocks.
    pub fn reports(
        &self,
        user: UserId,
        after_report_seq: u64,
        max: usize,
    ) -> Result<Vec<v1::ExecutionReport>, HistoryError> {
        self.shared.read(|store| store.reports(user, after_report_seq, max))
    }

    /// Trades of one instrument or of all after a `trade_id`, oldest first, at most `max`. Blocks.
    pub fn trades(
        &self,
        instrument: Option<InstrumentId>,
        after_trade_id: u64,
        max: usize,
    ) -> Result<Vec<v1::Trade>, HistoryError> {
        self.shared.read(|store| store.trades(instrument, after_trade_id, max))
    }

    /// A done order as it ended, and its owner. Blocks.
    pub fn order(&self, order: OrderId) -> Result<Option<(UserId, v1::Order)>, HistoryError> {
        self.shared.read(|store| store.order(order))
    }

    /// The newest done order of a user with a client order id, as it ended. Blocks.
    pub fn order_by_client_id(&self, user: UserId, client_order_id: &str) -> Result<Option<v1::Order>, HistoryError> {
        self.shared
            .read(|store| store.order_by_client_id(user, client_order_id))
    }

    /// Makes everything that was published before this call durable, and says through which event:
    /// what [`crate::Journal::retain`] wants to know. Blocks, also for as long as the disk refuses to
    /// take them. After an error, what was published is kept and a later call may work.
    pub fn sync(&self) -> Result<u64, HistoryError> {
        let through = self.shared.queue.wait_until_written();
        // A store that failed takes no writes until it is opened again.
        self.shared
            .read(Store::sync)
            .inspect_err(|_| self.shared.queue.want_reopen())?;
        Ok(through)
    }

    /// How history keeps up.
    pub fn stats(&self) -> HistoryStats {
        HistoryStats {
            watermark: *self.shared.watermark.borrow(),
            queued: self.shared.queue.weight(),
            failures: self.shared.failures.load(Ordering::Relaxed),
        }
    }

    /// Whether history holds exactly the reports and trades that the engine numbered so far. Both must
    /// stand at the same event.
    pub(crate) fn agrees_with(&self, engine: &Engine) -> bool {
        let reports = self.shared.reports();
        let users = u32::try_from(engine.usernames().len()).unwrap_or(u32::MAX);
        *self.shared.watermark.borrow() == engine.event_seq()
            && *self.shared.last_trade_id.borrow() == engine.last_trade_id()
            && reports.last_report_seq.len() <= users as usize
            && (0..users)
                .map(UserId)
                .all(|user| reports.last(user) == engine.report_seq(user))
    }
}

/// What the two ends share.
struct Shared {
    watermark: watch::Sender<u64>,
    last_trade_id: watch::Sender<u64>,
    reports: Mutex<ReportWatches>,
    /// None while it is being opened again.
    store: RwLock<Option<Store>>,
    queue: Queue,
    failures: AtomicU64,
}

impl Shared {
    fn read<T>(&self, read: impl FnOnce(&Store) -> Result<T, HistoryError>) -> Result<T, HistoryError> {
        // Only opening the store again excludes readers, and may take seconds.
        let store = match self.store.try_read() {
            Ok(store) => store,
            Err(TryLockError::Poisoned(store)) => store.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(HistoryError::Unavailable),
        };
        read(store.as_ref().ok_or(HistoryError::Unavailable)?)
    }

    fn reports(&self) -> MutexGuard<'_, ReportWatches> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody what is readable now. The watermark comes last: who waits for it finds the rest.
    fn announce(&self, watermark: u64, last_trade_id: u64, users: &[(UserId, u64)]) {
        let mut reports = self.reports();
        for (user, report_seq) in users {
            reports.advance(*user, *report_seq);
        }
        drop(reports);
        let newer = |value: u64| {
            move |old: &mut u64| {
                let is_newer = *old < value;
                *old = value;
                is_newer
            }
        };
        self.last_trade_id.send_if_modified(newer(last_trade_id));
        self.watermark.send_if_modified(newer(watermark));
    }
}

/// The last report of each user; only users that somebody watches cost more than a number.
struct ReportWatches {
    last_report_seq: Vec<u64>,
    watches: HashMap<UserId, watch::Sender<u64>>,
}

impl ReportWatches {
    fn last(&self, user: UserId) -> u64 {
        self.last_report_seq.get(user.0 as usize).copied().unwrap_or(0)
    }

    fn watch(&mut self, user: UserId) -> watch::Receiver<u64> {
        let last = self.last(user);
        self.watches
            .entry(user)
            .or_insert_with(|| watch::Sender::new(last))
            .subscribe()
    }

    fn advance(&mut self, user: UserId, report_seq: u64) {
        let index = user.0 as usize;
        if self.last_report_seq.len() <= index {
            self.last_report_seq.resize(index + 1, 0);
        }
        self.last_report_seq[index] = report_seq;
        if let Some(watch) = self.watches.get(&user)
            && watch.send(report_seq).is_err()
        {
            // Nobody watches any more.
            self.watches.remove(&user);
        }
    }
}
