//! The thread that stores snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use super::StoreSnapshot;
use super::shared::Shared;

/// The sequencer's end.
pub(super) struct Snapshots {
    sender: Sender<(u64, Vec<u8>)>,
    busy: Arc<AtomicBool>,
}

impl Snapshots {
    /// Whether the last snapshot was stored: one at a time bounds their memory.
    pub(super) fn is_idle(&self) -> bool {
        !self.busy.load(Ordering::Acquire)
    }

    pub(super) fn store(&self, event_seq: u64, snapshot: Vec<u8>) {
        self.busy.store(true, Ordering::Release);
        // Without its thread the exchange has failed already; the journal has everything.
        let _ = self.sender.send((event_seq, snapshot));
    }
}

pub(super) struct SnapshotThread {
    shared: Arc<Shared>,
    store: StoreSnapshot,
    receiver: Receiver<(u64, Vec<u8>)>,
    busy: Arc<AtomicBool>,
}

impl SnapshotThread {
    pub(super) fn new(shared: Arc<Shared>, store: StoreSnapshot) -> (Snapshots, Self) {
        let (sender, receiver) = channel();
        let busy = Arc::new(AtomicBool::new(false));
        let snapshots = Snapshots {
            sender,
            busy: busy.clone(),
        };
        let thread = Self {
            shared,
            store,
            receiver,
            busy,
        };
        (snapshots, thread)
    }

    pub(super) fn run(mut self) {
        while let Ok((event_seq, snapshot)) = self.receiver.recv() {
            // A snapshot ahead of the journal would be of a state that a crash can undo.
            if !self.shared.wait_durable(event_seq) {
                return;
            }
            let begun = Instant::now();
            match (self.store)(event_seq, &snapshot) {
                Ok(history_durable_through) => {
                    self.shared.ask_to_retain(history_durable_through);
                    tracing::info!(event_seq, bytes = snapshot.len(), elapsed = ?begun.elapsed(), "snapshot stored");
                    self.shared.telemetry.snapshot_stored(event_seq, begun.elapsed());
                }
                Err(error) => {
                    // The journal has everything; the next snapshot is another chance.
                    tracing::error!(event_seq, %error, "the snapshot cannot be stored");
                    self.shared.telemetry.snapshot_failed();
                }
            }
            self.busy.store(false, Ordering::Release);
        }
        // The sequencer has handed over its last work, and what the last snapshot makes needless is
        // known: the journal thread may end.
        self.shared.close_queue();
    }
}
