//! Steps of a job that have to be safe to die after: a test dies after each of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts steps.
#[derive(Debug, Default)]
pub struct Steps {
    abort_after: Option<u64>,
    count: AtomicU64,
}

impl Steps {
    /// A process that dies after so many steps; never, if none is given.
    pub fn new(abort_after: Option<u64>) -> Self {
        Self {
            abort_after,
            count: AtomicU64::new(0),
        }
    }

    /// Something is on disk that was not before.
    pub fn reached(&self, what: &str) {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        tracing::trace!(count, what, "step");
        if Some(count) == self.abort_after {
            eprintln!("step {count}, {what}: abort, as asked for");
            // As a power cut would: nothing is cleaned up, no destructor runs.
            std::process::abort();
        }
    }
}
