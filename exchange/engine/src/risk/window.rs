//! True sliding windows: what was counted at `t` counts at `now` exactly if `t > now − length`, so no
//! half-open interval of that length, wherever it starts, holds more than was let through.

use std::collections::VecDeque;

use crate::types::WINDOW_SECONDS_MAX;

const NS_PER_SECOND: i128 = 1_000_000_000;

/// Length of a window of so many seconds, in nanoseconds.
pub(crate) fn length_ns(seconds: i32) -> i64 {
    i64::from(seconds) * NS_PER_SECOND as i64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    time_unix_ns: i64,
    /// Everything ever counted up to and with this moment, so that a sum is one subtraction.
    through: i128,
}

/// Amounts and when they were counted, for as long as the longest window.
///
/// At most `moments_max` moments are kept apart. Beyond, the older half is merged in pairs at the later
/// time of each: such an amount counts for too long, never for too short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RollingWindow {
    moments: VecDeque<Moment>,
    /// Everything counted before the first moment.
    before: i128,
}

impl RollingWindow {
    /// Counts an amount above zero at a time not before any counted one, and forgets what no window
    /// reaches any more.
    pub(crate) fn count(&mut self, time_unix_ns: i64, amount: i128, moments_max: u32) {
        if amount <= 0 || fault!(WindowsForgotten) {
            return;
        }
        let horizon = i128::from(time_unix_ns) - i128::from(length_ns(WINDOW_SECONDS_MAX));
        while let Some(first) = self.moments.front()
            && i128::from(first.time_unix_ns) <= horizon
        {
            self.before = first.through;
            self.moments.pop_front();
        }
        let through = self.total() + amount;
        match self.moments.back_mut() {
            Some(last) if last.time_unix_ns == time_unix_ns => last.through = through,
            _ => self.moments.push_back(Moment { time_unix_ns, through }),
        }
        if self.moments.len() > moments_max.max(1) as usize {
            self.merge_older_half();
        }
    }

    /// What counts at `now` in a window of so many seconds.
    pub(crate) fn sum(&self, now_unix_ns: i64, seconds: i32) -> i128 {
        let window_ns = length_ns(seconds);
        let reached_ns = fault!(TumblingWindow, now_unix_ns.rem_euclid(window_ns), window_ns);
        let counted_until = i128::from(now_unix_ns) - i128::from(reached_ns);
        let at = self
            .moments
            .partition_point(|moment| i128::from(moment.time_unix_ns) <= counted_until);
        self.total() - self.through_before(at)
    }

    /// How long from `now` until `amount` more would fit under `limit`, if nothing else were counted;
    /// the whole window if it never would.
    pub(crate) fn wait_ns(&self, now_unix_ns: i64, seconds: i32, limit: i64, amount: i128) -> i64 {
        let length = length_ns(seconds);
        let room = i128::from(limit) - amount;
        if room < 0 {
            return length;
        }
        if self.sum(now_unix_ns, seconds) <= room {
            return 0;
        }
        // The oldest moment behind which what is left fits has to go first.
        let at = self
            .moments
            .partition_point(|moment| self.total() - moment.through > room);
        match self.moments.get(at) {
            Some(moment) => {
                let passes_at = i128::from(moment.time_unix_ns) + i128::from(length);
                (passes_at - i128::from(now_unix_ns)).clamp(0, i128::from(length)) as i64
            }
            None => 0,
        }
    }

    /// Each moment and its amount, oldest first.
    pub(crate) fn moments(&self) -> impl Iterator<Item = (i64, i128)> {
        (0..self.moments.len()).map(|at| {
            let moment = self.moments[at];
            (moment.time_unix_ns, moment.through - self.through_before(at))
        })
    }

    /// Puts back what [`RollingWindow::moments`] told; `None` if it cannot have told that.
    pub(crate) fn restored(moments: impl Iterator<Item = (i64, i128)>, moments_max: u32) -> Option<Self> {
        let mut window = Self::default();
        for (time_unix_ns, amount) in moments {
            let later = window
                .moments
                .back()
                .is_none_or(|last| last.time_unix_ns < time_unix_ns);
            if amount <= 0 || !later || window.moments.len() >= moments_max.max(1) as usize {
                return None;
            }
            let through = window.total().checked_add(amount)?;
            window.moments.push_back(Moment { time_unix_ns, through });
        }
        Some(window)
    }

    fn total(&self) -> i128 {
        self.moments.back().map_or(self.before, |last| last.through)
    }

    fn through_before(&self, at: usize) -> i128 {
        match at {
            0 => self.before,
            _ => self.moments[at - 1].through,
        }
    }

    fn merge_older_half(&mut self) {
        let pairs = (self.moments.len() / 4).max(1);
        // Of each pair the later moment stays, and its `through` covers both.
        for pair in 0..pairs {
            self.moments[pair] = self.moments[2 * pair + 1];
        }
        self.moments.drain(pairs..2 * pairs);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1_000_000_000;

    fn window(moments: &[(i64, i128)]) -> RollingWindow {
        let mut window = RollingWindow::default();
        for (time, amount) in moments {
            window.count(*time, *amount, 1000);
        }
        window
    }

    #[test]
    fn an_amount_counts_for_exactly_the_length() {
        let window = window(&[(5 * S, 7)]);
        assert_eq!(window.sum(5 * S, 1), 7);
        assert_eq!(window.sum(6 * S - 1, 1), 7);
        assert_eq!(window.sum(6 * S, 1), 0);
    }

    #[test]
    fn the_wait_is_until_enough_is_gone() {
        let window = window(&[(0, 3), (S, 4), (2 * S, 5)]);
        for (limit, amount, wait) in [(12, 1, 8 * S), (12, 3, 8 * S), (12, 4, 9 * S), (12, 8, 10 * S)] {
            assert_eq!(
                window.wait_ns(2 * S, 10, limit, amount),
                wait,
                "{amount} more of {limit}"
            );
        }
        assert_eq!(window.wait_ns(2 * S, 10, 12, 13), 10 * S, "it never passes");
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let mut window = RollingWindow::default();
        window.count(i64::MIN, 1, 10);
        assert_eq!(window.sum(i64::MIN, WINDOW_SECONDS_MAX), 1);
        window.count(i64::MAX, 1, 10);
        assert_eq!(window.sum(i64::MAX, WINDOW_SECONDS_MAX), 1);
        assert_eq!(window.wait_ns(i64::MAX, 1, 1, 1), S);
    }

    proptest! {
        /// Merged moments never count for less than they should; unmerged ones count exactly.
        #[test]
        fn coalescing_is_on_the_safe_side(
            steps in prop::collection::vec((0..3_i64, 1..5_i128), 1..200),
            moments_max in 0..20_u32,
            seconds in 1..40,
        ) {
            let mut exact = Vec::new();
            let mut bounded = RollingWindow::default();
            let mut unbounded = RollingWindow::default();
            let mut now = 0;
            for (pause, amount) in steps {
                now += pause * S;
                exact.push((now, amount));
                bounded.count(now, amount, moments_max);
                unbounded.count(now, amount, u32::MAX);
                let counts: i128 = exact.iter().filter(|(t, _)| *t > now - length_ns(seconds)).map(|(_, a)| a).sum();
                prop_assert_eq!(unbounded.sum(now, seconds), counts);
                prop_assert!(bounded.sum(now, seconds) >= counts);
                prop_assert!(bounded.moments.len() <= moments_max.max(1) as usize);
                let restored = RollingWindow::restored(bounded.moments(), moments_max).expect("its own words");
                prop_assert_eq!(restored.sum(now, seconds), bounded.sum(now, seconds));
                // After the wait it fits, and a moment earlier it does not.
                let limit = 10;
                let wait = bounded.wait_ns(now, seconds, limit, 3);
                prop_assert!(bounded.sum(now + wait, seconds) + 3 <= i128::from(limit));
                if wait > 0 {
                    prop_assert!(bounded.sum(now + wait - 1, seconds) + 3 > i128::from(limit));
                }
            }
        }
    }
}
