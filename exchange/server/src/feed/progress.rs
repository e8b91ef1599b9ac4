//! How far the writer is, as its readers and who publishes to it see it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// How far the writer is; read by all subscriptions.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Last event that was applied to every channel.
    pub(super) applied: AtomicU64,
    /// Last heartbeat interval that is over: everything of it is in the channels, marked and announced.
    pub(super) epoch: AtomicU64,
    /// Last event that was published to the writer.
    pub(super) published: AtomicU64,
    /// Whether there is no writer any more.
    pub(super) ended: AtomicBool,
    beat: Mutex<Beat>,
    /// Signals who publishes: less waits for the writer.
    room: Condvar,
    /// Of `room` only.
    waiting: Mutex<()>,
}

/// The end of one heartbeat interval.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beat {
    pub(super) epoch: u64,
    pub(super) event_seq: u64,
}

impl Progress {
    pub(super) fn end_interval(&self, beat: Beat) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = beat;
        self.epoch.store(beat.epoch, Ordering::Release);
    }

    /// Waits until at most so many events wait for the writer, or there is none any more.
    pub(super) fn wait_for_room(&self, events_max: u64) {
        let lags = || {
            let (published, applied) = (&self.published, &self.applied);
            let behind = published
                .load(Ordering::Relaxed)
                .saturating_sub(applied.load(Ordering::Acquire));
            behind > events_max && !self.ended.load(Ordering::Acquire)
        };
        if lags() {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.room.wait_while(waiting, |()| lags()));
        }
    }

    /// Wakes who waits in `wait_for_room`.
    pub(super) fn make_room(&self) {
        // The lock: whoever waits is either before its look or in its wait.
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.room.notify_all();
    }

    /// The last interval that is over, if that is a later one than `known`.
    pub(super) fn after(&self, known: u64) -> Option<Beat> {
        if self.epoch.load(Ordering::Acquire) <= known {
            return None;
        }
        Some(*self.beat.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
