//! What the exchange keeps on disk: the journal of its inputs, snapshots of its state, and history.
//!
//! Only accepted inputs are journaled, so record N is event N: the journal's numbers are the
//! contract's `event_seq`.

pub mod record;

use std::sync::Arc;

use optivex_engine::{Event, Input};

/// Consecutive durable events.
pub type Events = Arc<Vec<Event>>;

/// Encoded records of consecutive events that are not durable yet.
#[derive(Debug, Default)]
pub struct Batch {
    first_event_seq: u64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// Adds the record of one event; event numbers follow one another.
    pub fn push(&mut self, event_seq: u64, input: &Input) {
        let _ = (event_seq, input);
        if self.ends.is_empty() {
            self.first_event_seq = event_seq;
        }
        self.ends.push(self.bytes.len());
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Event number of the first record.
    pub fn first_event_seq(&self) -> u64 {
        self.first_event_seq
    }
}

/// Makes batches durable. The sequencer's journal thread owns one.
pub trait Journal: Send {
    /// Writes the batches and returns when they are durable. After an error nothing of them counts
    /// as written; the caller keeps them and calls again with the same ones (and more) later.
    fn commit(&mut self, batches: &[Batch]) -> Result<(), JournalError>;

    /// Whether there is room for what may be in flight: asked before commands are taken, so that a
    /// disk that fills up refuses commands instead of leaving them unanswered.
    fn has_room(&mut self) -> bool;

    /// Keeps a snapshot of the state after `event_seq`, durably, and drops what it makes needless.
    fn store_snapshot(&mut self, event_seq: u64, snapshot: &[u8]) -> Result<(), JournalError>;
}

/// Something that follows durable events: market data, history.
pub trait EventSink: Send {
    /// Takes the next events. Called in order, without gaps, before the events' replies are sent.
    fn publish(&mut self, events: &Events);
}

/// What can go wrong with the disk or with what lies on it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
