//! Who is sent to next: one line a participant, so many lines at a time, and pauses after failures. Without a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use optivex_bundle::names::Name;

/// Participants who are sent to at a time.
pub(super) const LINES: usize = 8;
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

#[derive(Debug, Default)]
pub(super) struct Lines {
    busy: BTreeSet<Name>,
    pauses: BTreeMap<Name, (Instant, Duration)>,
}

impl Lines {
    /// Of those for whom something waits, those who are sent to now: who failed least before comes first.
    pub(super) fn next(&mut self, waiting: impl IntoIterator<Item = Name>, now: Instant) -> Vec<Name> {
        let pause = |name: &Name| self.pauses.get(name).map_or(Duration::ZERO, |(_, pause)| *pause);
        let may =
            |name: &Name| !self.busy.contains(name) && self.pauses.get(name).is_none_or(|(until, _)| *until <= now);
        let mut next: Vec<Name> = waiting.into_iter().filter(may).collect();
        next.sort_by_cached_key(|name| (pause(name), name.clone()));
        next.truncate(LINES.saturating_sub(self.busy.len()));
        self.busy.extend(next.iter().cloned());
        next
    }

    /// A line is free; how long its participant is left alone.
    pub(super) fn ended(&mut self, name: &Name, arrived: bool, now: Instant) -> Option<Duration> {
        self.busy.remove(name);
        let before = self.pauses.remove(name);
        if arrived {
            return None;
        }
        let pause = before.map_or(PAUSES.0, |(_, pause)| (pause * 2).min(PAUSES.1));
        self.pauses.insert(name.clone(), (now + pause, pause));
        Some(pause)
    }

    /// Everybody may be sent to at once.
    pub(super) fn forget_pauses(&mut self, now: Instant) {
        for (until, _) in self.pauses.values_mut() {
            *until = now;
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.busy.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(numbers: std::ops::Range<u32>) -> Vec<Name> {
        numbers
            .map(|number| format!("p{number:02}").parse().expect("a name"))
            .collect()
    }

    #[test]
    fn each_has_one_line_and_there_are_so_many() {
        let mut lines = Lines::default();
        let now = Instant::now();
        let all = names(0..12);
        assert_eq!(lines.next(all.clone(), now), names(0..8));
        assert_eq!(lines.next(all.clone(), now), [], "all lines are busy");
        assert_eq!(lines.ended(&all[3], true, now), None);
        assert_eq!(lines.ended(&all[4], true, now), None);
        // Both have something new, and there are two lines.
        assert_eq!(
            lines.next(vec![all[3].clone(), all[0].clone(), all[9].clone()], now),
            [all[3].clone(), all[9].clone()]
        );
        assert!(!lines.is_idle());
    }

    #[test]
    fn whoever_is_gone_is_asked_ever_less_often_and_after_the_others() {
        let mut lines = Lines::default();
        let mut now = Instant::now();
        let all = names(0..10);
        let gone = &all[0];
        let only = std::slice::from_ref(gone);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert_eq!(lines.next([gone.clone()], now), only);
            let pause = lines.ended(gone, false, now).expect("a pause");
            pauses.push(pause.as_secs());
            assert_eq!(lines.next([gone.clone()], now), []);
            now += pause;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        // Its time has come, but there are enough others.
        assert_eq!(lines.next(all.clone(), now), names(1..9));
        lines.ended(&all[1], true, now);
        assert_eq!(lines.next([gone.clone()], now), only);
        assert_eq!(lines.ended(gone, true, now), None);
        assert_eq!(lines.next([gone.clone()], now), only, "it is back: no pause");
    }
}
