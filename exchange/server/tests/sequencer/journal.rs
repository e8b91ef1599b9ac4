//! A journal in memory that can be held, fail, and run full.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use optivex_engine::Input;
use optivex_journal::{Batch, EventSink, Events, Journal, JournalError, record};

/// The disk as a test moves it.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    shared: Arc<(Mutex<Platter>, Condvar)>,
}

#[derive(Default)]
struct Platter {
    held: bool,
    failing: bool,
    full: bool,
    attempts: usize,
    /// How many events each successful commit had.
    commits: Vec<usize>,
    records: Vec<Vec<u8>>,
    retained: Vec<u64>,
}

impl Disk {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.shared.0.lock().expect("no test thread panics with the lock")
    }

    fn change(&self, change: impl FnOnce(&mut Platter)) {
        change(&mut self.platter());
        self.shared.1.notify_all();
    }

    /// Commits do not return until `release`.
    pub(crate) fn hold(&self) {
        self.change(|platter| platter.held = true);
    }

    pub(crate) fn release(&self) {
        self.change(|platter| platter.held = false);
    }

    /// Whether commits fail.
    pub(crate) fn set_failing(&self, failing: bool) {
        self.change(|platter| platter.failing = failing);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.change(|platter| platter.full = full);
    }

    pub(crate) fn attempts(&self) -> usize {
        self.platter().attempts
    }

    /// Waits until so many commits were begun.
    pub(crate) fn wait_for_attempts(&self, attempts: usize) {
        let (_, changed) = &*self.shared;
        drop(
            changed
                .wait_while(self.platter(), |platter| platter.attempts < attempts)
                .expect("no test thread panics with the lock"),
        );
    }

    /// Waits until so many events are durable.
    pub(crate) fn wait_for_durable(&self, event_seq: u64) {
        let (_, changed) = &*self.shared;
        drop(
            changed
                .wait_while(self.platter(), |platter| (platter.records.len() as u64) < event_seq)
                .expect("no test thread panics with the lock"),
        );
    }

    pub(crate) fn durable(&self) -> u64 {
        self.platter().records.len() as u64
    }

    pub(crate) fn commits(&self) -> Vec<usize> {
        self.platter().commits.clone()
    }

    pub(crate) fn retained(&self) -> Vec<u64> {
        self.platter().retained.clone()
    }

    /// Everything that was committed.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let decode = |bytes: &Vec<u8>| record::decode(bytes).expect("what the sequencer encoded");
        self.platter().records.iter().map(decode).collect()
    }
}

impl Journal for Disk {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), JournalError> {
        self.change(|platter| platter.attempts += 1);
        let (_, changed) = &*self.shared;
        let mut platter = changed
            .wait_while(self.platter(), |platter| platter.held)
            .expect("no test thread panics with the lock");
        if platter.failing {
            return Err(std::io::Error::other("the test's disk fails").into());
        }
        let before = platter.records.len();
        for (event_seq, record) in batches.iter().flat_map(Batch::records) {
            assert_eq!(
                event_seq,
                platter.records.len() as u64 + 1,
                "records follow one another"
            );
            platter.records.push(record.to_vec());
        }
        let events = platter.records.len() - before;
        assert!(events > 0, "a commit for nothing");
        platter.commits.push(events);
        changed.notify_all();
        Ok(())
    }

    fn durable_event_seq(&self) -> u64 {
        self.durable()
    }

    fn has_room(&mut self) -> bool {
        !self.platter().full
    }

    fn store_snapshot(&mut self, _event_seq: u64, _snapshot: &[u8]) -> Result<(), JournalError> {
        unreachable!("the sequencer's caller stores snapshots")
    }

    fn retain(&mut self, history_durable_through: u64) -> Result<u64, JournalError> {
        self.change(|platter| platter.retained.push(history_durable_through));
        Ok(0)
    }
}

/// Remembers the events that it was shown, and that they were durable then.
#[derive(Clone, Default)]
pub(crate) struct Witness {
    pub(crate) disk: Disk,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Witness {
    pub(crate) fn new(disk: &Disk) -> Self {
        Self {
            disk: disk.clone(),
            seen: Arc::default(),
        }
    }

    pub(crate) fn seen(&self) -> Vec<u64> {
        self.seen.lock().expect("no test thread panics with the lock").clone()
    }
}

impl EventSink for Witness {
    fn publish(&mut self, events: &Events) {
        let mut seen = self.seen.lock().expect("no test thread panics with the lock");
        for event in events.iter() {
            assert!(event.event_seq <= self.disk.durable(), "shown before it was durable");
            assert_eq!(
                event.event_seq,
                seen.last().map_or(1, |last| last + 1),
                "in order, without gaps"
            );
            seen.push(event.event_seq);
        }
    }
}
