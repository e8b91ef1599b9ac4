//! What the exchange keeps on disk: the journal of its inputs, snapshots of its state, and history.
//!
//! Only accepted inputs are journaled, so record N is event N: the journal's numbers are the
//! contract's `event_seq`.

mod batch;
mod error;
pub mod history;
pub mod inspect;
pub mod log;
mod protobuf;
mod read_ahead;
pub mod record;
pub mod recover;
pub mod replay;
pub mod snapshots;
pub mod storage;
mod whole_file;

use std::sync::Arc;

use optivex_engine::Event;

pub use batch::Batch;
pub use error::JournalError;
pub use log::{Embedded, OpenReport, Opened, Options, Position, Reader, Record, Records, Retention, Tail};
pub use snapshots::{Snapshot, SnapshotStore};

/// Longest record that a journal takes, in bytes.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Consecutive durable events.
pub type Events = Arc<Vec<Event>>;

/// Makes batches durable. The sequencer's journal thread owns one; all of it blocks.
pub trait Journal: Send {
    /// Writes the batches and returns when they are durable. After an error nothing of them counts
    /// as written; the caller keeps them and calls again with the same ones (and more) later.
    ///
    /// The first record must follow the last durable one ([`JournalError::OutOfOrder`] otherwise).
    fn commit(&mut self, batches: &[Batch]) -> Result<(), JournalError>;

    /// The last event that is durable; 0 before the first.
    fn durable_event_seq(&self) -> u64;

    /// Whether there is room for what may be in flight: asked before commands are taken, so that a
    /// disk that fills up refuses commands instead of leaving them unanswered. Cheap enough to be
    /// asked before every commit; becomes true again by itself when there is room again.
    fn has_room(&mut self) -> bool;

    /// Keeps a snapshot of the state after `event_seq`, durably. The event must be durable.
    ///
    /// Takes as long as the snapshot is large: where a thread other than the journal's can do it,
    /// [`SnapshotStore::store`] does the same and holds nobody up.
    fn store_snapshot(&mut self, event_seq: u64, snapshot: &[u8]) -> Result<(), JournalError>;

    /// Drops what the kept snapshots make needless, if the journal is told to keep no more than that:
    /// only events up to `history_durable_through`, the last event of which reports and trades are
    /// durable elsewhere. Says how many events went.
    fn retain(&mut self, history_durable_through: u64) -> Result<u64, JournalError>;
}

/// Something that follows durable events: market data, history.
pub trait EventSink: Send {
    /// Takes the next events. Called in order, without gaps, before the events' replies are sent.
    fn publish(&mut self, events: &Events);
}
