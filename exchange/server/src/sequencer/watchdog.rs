//! The thread that notices a disk that neither takes what it is given nor refuses it: a commit that does
//! not return, or history that is so far behind that it takes no more.

use std::sync::Arc;
use std::time::Instant;

use super::shared::Shared;

/// Looks at the journal thread so often before it takes it for stalled.
const LOOKS: u32 = 4;

pub(super) struct Watchdog {
    shared: Arc<Shared>,
}

impl Watchdog {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn run(self) {
        let shared = self.shared;
        let stall_after = shared.options.stall_after;
        let (mut seen, mut since) = (shared.steps(), Instant::now());
        while shared.watch_for(stall_after / LOOKS) {
            let steps = shared.steps();
            if steps != seen || shared.is_idle() {
                (seen, since) = (steps, Instant::now());
            } else if since.elapsed() >= stall_after && shared.disk_ready() {
                shared.set_stalled();
            }
        }
    }
}
