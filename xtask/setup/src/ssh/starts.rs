//! How many connections are being made at once, and how long the next try waits.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A bound on connections that are being made: key exchange is work for both sides, and sshd drops what exceeds its
/// own bound (MaxStartups).
#[derive(Debug)]
pub(crate) struct Starts {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One of the places; given back when dropped.
pub(crate) struct Start<'a>(&'a Starts);

impl Starts {
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            free: Mutex::new(at_once.max(1)),
            freed: Condvar::new(),
        }
    }

    /// Waits for a place.
    pub(crate) fn enter(&self) -> Start<'_> {
        // A count stays a count, whoever panicked while holding it.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Start(self)
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// How long to wait after try number `tried` (from 1) failed. `random` is in 0..1: forty machines that came up
/// together must not knock together.
pub(crate) fn pause(tried: u32, random: f64) -> Duration {
    let ceiling = (0.5 * 2f64.powi(tried.min(6) as i32 - 1)).min(8.0);
    Duration::from_secs_f64(ceiling * (0.5 + random / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn never_more_than_the_bound() {
        let starts = Starts::new(3);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _start = starts.enter();
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(now.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for (tried, least, most) in [
            (1, 250, 500),
            (2, 500, 1000),
            (3, 1000, 2000),
            (5, 4000, 8000),
            (40, 4000, 8000),
        ] {
            assert_eq!(pause(tried, 0.0), Duration::from_millis(least));
            assert_eq!(pause(tried, 1.0), Duration::from_millis(most));
        }
    }
}
