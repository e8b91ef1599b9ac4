//! The thread that writes history, and the queue before it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use optivex_engine::Event;

use super::projection::Projection;
use super::store::Store;
use super::{HistoryError, HistoryOptions, Shared};
use crate::storage::{Disk, Storage};
use crate::{EventSink, Events};

/// Events, trades and reports in one write: large enough to share its price, small enough that a
/// report is not held up by those behind it.
const WRITE_MAX: usize = 1 << 14;
/// From one write to the next: a write has its price however little it writes. What comes after a pause is
/// written at once, and so is what follows a full write.
const WRITE_INTERVAL: Duration = Duration::from_millis(1);
/// How often free room is looked at.
const ROOM_CHECK_INTERVAL: Duration = Duration::from_millis(250);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How often the same trouble is told.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// What the event costs while it waits.
fn weight(event: &Event) -> usize {
    1 + event.trades.len() + event.reports.len()
}

/// Events that wait to be written.
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    weight_max: usize,
}

struct QueueState {
    batches: VecDeque<Events>,
    weight: usize,
    /// Last event that was taken in.
    published: u64,
    /// Last event that is readable.
    written: u64,
    /// No more events come.
    is_closing: bool,
    /// The writer is gone: nothing will be written any more.
    is_stopped: bool,
    /// Threads that wait for a change: without any, a signal would be a call of the system for nothing.
    waiting: usize,
    /// Somebody found the store not working.
    wants_reopen: bool,
}

/// What the writer has to do next.
enum Next {
    Write { is_full: bool },
    Reopen,
    End,
}

impl Queue {
    pub(super) fn new(watermark: u64, weight_max: usize) -> Self {
        Self {
            state: Mutex::new(QueueState {
                batches: VecDeque::new(),
                weight: 0,
                published: watermark,
                written: watermark,
                is_closing: false,
                is_stopped: false,
                waiting: 0,
                wants_reopen: false,
            }),
            changed: Condvar::new(),
            weight_max,
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, QueueState>) -> MutexGuard<'a, QueueState> {
        state.waiting += 1;
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    /// Signals whoever waits that the state has changed.
    fn signal(&self, state: MutexGuard<'_, QueueState>) {
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.changed.notify_all();
        }
    }

    pub(super) fn weight(&self) -> usize {
        self.state().weight
    }

    /// Returns when everything that was published before is written, or nothing will be any more; the
    /// last event that is written.
    pub(super) fn wait_until_written(&self) -> u64 {
        let mut state = self.state();
        let published = state.published;
        while state.written < published && !state.is_stopped {
            state = self.wait(state);
        }
        state.written
    }

    fn publish(&self, events: &Events) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return;
        };
        let mut state = self.state();
        if last.event_seq <= state.published {
            return;
        }
        assert!(
            first.event_seq <= state.published + 1,
            "event {} was published after event {}: those between are missing",
            first.event_seq,
            state.published
        );
        // One batch may be larger than the bound: it waits until the queue is empty, not for ever.
        while state.weight >= self.weight_max && !state.is_stopped {
            state = self.wait(state);
        }
        state.published = last.event_seq;
        if !state.is_stopped {
            state.weight += events.iter().map(weight).sum::<usize>();
            state.batches.push_back(events.clone());
            self.signal(state);
        }
    }

    /// Waits for something to do; events to write are put into `events`.
    fn next(&self, events: &mut Vec<Events>) -> Next {
        let mut state = self.state();
        while state.batches.is_empty() && !state.is_closing && !state.wants_reopen {
            state = self.wait(state);
        }
        if std::mem::take(&mut state.wants_reopen) {
            return Next::Reopen;
        }
        let mut taken = 0;
        while taken < WRITE_MAX
            && let Some(batch) = state.batches.pop_front()
        {
            taken += batch.iter().map(weight).sum::<usize>();
            events.push(batch);
        }
        if events.is_empty() {
            return Next::End;
        }
        Next::Write {
            is_full: taken >= WRITE_MAX,
        }
    }

    /// Has the store opened again, even if nothing is to be written.
    pub(super) fn want_reopen(&self) {
        self.state().wants_reopen = true;
        self.changed.notify_all();
    }

    fn written(&self, events: &[Events], watermark: u64) {
        let weight: usize = events.iter().flat_map(|batch| batch.iter()).map(weight).sum();
        let mut state = self.state();
        state.weight -= weight;
        state.written = watermark;
        self.signal(state);
    }

    fn close(&self) {
        self.state().is_closing = true;
        self.changed.notify_all();
    }

    fn is_closing(&self) -> bool {
        self.state().is_closing
    }

    fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.batches.clear();
        state.weight = 0;
        self.changed.notify_all();
    }

    /// Waits, but not longer than until the queue is closed.
    fn sleep(&self, duration: Duration) {
        let state = self.state();
        if !state.is_closing {
            let (state, _) = self
                .changed
                .wait_timeout_while(state, duration, |state| !state.is_closing)
                .unwrap_or_else(PoisonError::into_inner);
            drop(state);
        }
    }
}

/// Takes events in and writes them on a thread of its own.
///
/// Publishing blocks when the writer lags by more than [`HistoryOptions::queued_max`]. A disk that
/// refuses is tried again until it works. Dropped, it writes what is queued first.
pub struct HistoryWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl HistoryWriter {
    pub(super) fn start(
        shared: Arc<Shared>,
        projection: Projection,
        directory: &Path,
        options: &HistoryOptions,
    ) -> Result<Self, HistoryError> {
        let writer = Writer {
            shared: shared.clone(),
            watermark: *shared.watermark.borrow(),
            projection,
            directory: directory.to_owned(),
            options: options.clone(),
            room_checked: None,
            warned: None,
        };
        let thread = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Writes what is queued, makes it durable and ends the thread. While closing, a disk that refuses is
    /// not tried again: what is missing is written at the next start.
    pub fn close(mut self) -> Result<(), HistoryError> {
        self.join();
        self.shared.read(Store::sync)
    }

    fn join(&mut self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the history thread panicked");
        }
    }
}

impl EventSink for HistoryWriter {
    /// Events that history has already are passed over.
    ///
    /// # Panics
    ///
    /// If events are missing between the last published ones and these.
    fn publish(&mut self, events: &Events) {
        self.shared.queue.publish(events);
    }
}

impl Drop for HistoryWriter {
    fn drop(&mut self) {
        self.join();
    }
}

struct Writer {
    shared: Arc<Shared>,
    projection: Projection,
    /// Last event that is in the log.
    watermark: u64,
    directory: PathBuf,
    options: HistoryOptions,
    room_checked: Option<Instant>,
    warned: Option<Instant>,
}

/// Whoever waits must not wait for a thread that is gone, whatever ended it.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.queue.stop();
    }
}

impl Writer {
    fn run(mut self) {
        let shared = self.shared.clone();
        let _stop = StopOnDrop(&shared);
        let mut events = Vec::new();
        let mut rest_until = Instant::now();
        loop {
            // What comes meanwhile is written with the rest; whoever brings it need not wake this thread.
            thread::sleep(rest_until.saturating_duration_since(Instant::now()));
            match shared.queue.next(&mut events) {
                Next::Write { is_full: true } => {}
                Next::Write { is_full: false } => rest_until = Instant::now() + WRITE_INTERVAL,
                Next::Reopen => {
                    self.reopen();
                    continue;
                }
                Next::End => return,
            }
            if !self.write_until_written(&events) {
                return;
            }
            shared.queue.written(&events, self.watermark);
            events.clear();
        }
    }

    /// Tries until it works; false if there is no use in going on.
    fn write_until_written(&mut self, events: &[Events]) -> bool {
        let mut retry = RETRY_FIRST;
        loop {
            let error = match self.write(events) {
                Ok(()) => return true,
                Err(error @ HistoryError::Inconsistent { .. }) => {
                    tracing::error!(%error, "history stops here; a restart goes on with it");
                    *self.shared.store.write().unwrap_or_else(PoisonError::into_inner) = None;
                    return false;
                }
                Err(error) => error,
            };
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            self.warn(&error);
            if self.shared.queue.is_closing() {
                return false;
            }
            self.shared.queue.sleep(retry);
            retry = (retry * 2).min(RETRY_MAX);
            // Without room, nothing was tried.
            if !matches!(error, HistoryError::Io(_)) {
                self.reopen();
            }
        }
    }

    fn write(&mut self, events: &[Events]) -> Result<(), HistoryError> {
        self.check_room()?;
        let projection = &mut self.projection;
        let (watermark, last_trade_id, users) = self.shared.read(|store| {
            {
                let state = store.state();
                projection.begin(&state);
                for batch in events {
                    projection.add_all(batch, &state)?;
                }
            }
            let users = store.commit(projection)?;
            let state = store.state();
            Ok((state.watermark, state.last_trade_id, users))
        })?;
        self.watermark = watermark;
        self.shared.announce(watermark, last_trade_id, &users);
        Ok(())
    }

    /// What is left belongs to the journal.
    fn check_room(&mut self) -> Result<(), HistoryError> {
        if self.room_checked.is_some_and(|at| at.elapsed() < ROOM_CHECK_INTERVAL) {
            return Ok(());
        }
        if Disk.free_bytes(&self.directory)? < self.options.reserve_bytes {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        }
        self.room_checked = Some(Instant::now());
        Ok(())
    }

    /// What of the log is whole, the store then knows.
    fn reopen(&mut self) {
        let shared = self.shared.clone();
        let mut store = shared.store.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: it holds a lock on its directory.
        *store = None;
        match self.open_again() {
            Ok(opened) => *store = Some(opened),
            Err(error) => self.warn(&error),
        }
    }

    fn open_again(&mut self) -> Result<Store, HistoryError> {
        let store = Store::open(&self.directory, &self.options)?;
        store.distrust();
        self.projection = store.projection()?;
        self.watermark = store.state().watermark;
        Ok(store)
    }

    fn warn(&mut self, error: &HistoryError) {
        if self.warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            tracing::warn!(%error, event_seq = self.watermark, "history cannot be written; trying again");
            self.warned = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use optivex_engine::event::{Outcome, Trade};
    use optivex_engine::types::{InstrumentId, OrderId, TradeId, UserId};
    use tempfile::TempDir;

    use super::*;
    use crate::history;

    fn events(numbers: std::ops::RangeInclusive<u64>) -> Events {
        Arc::new(
            numbers
                .map(|event_seq| Event {
                    event_seq,
                    outcome: Outcome::UserResumed(UserId(0)),
                    ..Event::default()
                })
                .collect(),
        )
    }

    /// A store that stopped working is opened again, and nothing is lost or written twice.
    #[test]
    fn goes_on_after_a_failure() {
        let directory = TempDir::new().expect("a directory");
        let (mut writer, history) = history::open(directory.path(), &HistoryOptions::default()).expect("opens");
        for round in 0..4 {
            *history.shared.store.write().expect("no panic") = None;
            assert!(matches!(
                history.reports(UserId(0), 0, 1),
                Err(HistoryError::Unavailable) | Ok(_)
            ));
            writer.publish(&events(round * 10 + 1..=round * 10 + 10));
            assert_eq!(history.sync().expect("durable"), round * 10 + 10);
            assert_eq!(history.stats().failures, round + 1);
        }
        // Without anything to write too.
        *history.shared.store.write().expect("no panic") = None;
        history.sync().expect_err("not open");
        while history.order(OrderId(1)).is_err() {
            thread::yield_now();
        }
        assert_eq!(history.sync().expect("durable"), 40);
        writer.close().expect("closes");
    }

    /// Events that cannot be right stop history, not the exchange.
    #[test]
    fn nonsense_stops_history_only() {
        let directory = TempDir::new().expect("a directory");
        let options = HistoryOptions {
            queued_max: 1,
            ..HistoryOptions::default()
        };
        let (mut writer, history) = history::open(directory.path(), &options).expect("opens");
        writer.publish(&events(1..=2));
        let trade = Trade {
            trade_id: TradeId(0),
            instrument: InstrumentId(0),
            price_e4: 1,
            quantity: 1,
            aggressor_side: None,
            buy_order: OrderId(1),
            buyer: UserId(0),
            sell_order: OrderId(2),
            seller: UserId(1),
        };
        let wrong = Event {
            event_seq: 3,
            trades: vec![trade],
            ..Event::default()
        };
        writer.publish(&Arc::new(vec![wrong]));
        for event_seq in 4..100 {
            writer.publish(&events(event_seq..=event_seq));
        }
        history.sync().expect_err("stopped");
        assert!(matches!(history.order(OrderId(1)), Err(HistoryError::Unavailable)));
    }
}
