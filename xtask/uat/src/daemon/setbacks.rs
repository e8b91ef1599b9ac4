//! Deployments that we cannot get on with: unreadable ones, and those whose end could not be told. They are tried again
//! a few times, since disks come back, and set aside then. The others do not wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use optivex_bundle::digest::SubmissionId;
use optivex_bundle::names::Name;
use optivex_bundle::verdict::Verdict;

use super::queue::{Job, TRIES};

/// Time between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// And where it could not even be set aside.
const LONG_PAUSE: Duration = Duration::from_secs(60);

pub(super) type Key = (Name, SubmissionId);
/// What is to be told of a job that is over.
pub(super) type Untold = (Job, Verdict);

#[derive(Debug)]
struct Setback {
    count: u32,
    again: Instant,
    untold: Option<Untold>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Setbacks(BTreeMap<Key, Setback>);

impl Setbacks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of them resist being set aside, too.
    pub(super) fn hopeless(&self) -> bool {
        self.0.values().all(|setback| setback.count > TRIES)
    }

    /// One more; whether it was often enough. None where it is not time yet.
    pub(super) fn count(&mut self, key: Key, untold: Option<Untold>, now: Instant) -> Option<bool> {
        let setback = self.0.entry(key).or_insert(Setback {
            count: 0,
            again: now,
            untold: None,
        });
        if setback.again > now {
            return None;
        }
        setback.count += 1;
        setback.untold = untold.or(setback.untold.take());
        let enough = setback.count >= TRIES;
        setback.again = now + if enough { LONG_PAUSE } else { PAUSE };
        Some(enough)
    }

    pub(super) fn over(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Whether its end is still to be told.
    pub(super) fn is_untold(&self, key: &Key) -> bool {
        self.0.get(key).is_some_and(|setback| setback.untold.is_some())
    }

    /// Ends that may be told again now.
    pub(super) fn due(&self, now: Instant) -> Vec<(Key, Untold)> {
        let due = self.0.iter().filter(|(_, setback)| setback.again <= now);
        due.filter_map(|(key, setback)| Some((key.clone(), setback.untold.clone()?)))
            .collect()
    }

    /// Forgets those that were unreadable and are not any more.
    pub(super) fn only(&mut self, unreadable: &BTreeSet<Key>) {
        self.0
            .retain(|key, setback| setback.untold.is_some() || unreadable.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tried_again_and_then_set_aside() {
        let mut setbacks = Setbacks::default();
        let key: Key = (
            "alice".parse().expect("a name"),
            "0123456789abcdef".parse().expect("an id"),
        );
        let job = Job::new(key.1, "2027", 1);
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let untold = (job, Verdict::Cancelled);
        assert_eq!(setbacks.count(key.clone(), Some(untold.clone()), at(0)), Some(false));
        assert_eq!(setbacks.count(key.clone(), None, at(0)), None, "not yet");
        assert_eq!(setbacks.due(at(0)), []);
        assert_eq!(setbacks.due(at(1)), [(key.clone(), untold.clone())]);
        setbacks.only(&BTreeSet::new());
        assert!(setbacks.is_untold(&key), "that it can be read tells nobody its end");
        assert_eq!(setbacks.count(key.clone(), None, at(1)), Some(false));
        assert_eq!(setbacks.count(key.clone(), None, at(2)), Some(true));
        assert!(!setbacks.hopeless(), "it may work");
        assert_eq!(
            setbacks.count(key.clone(), None, at(3)),
            None,
            "there is no hurry any more"
        );
        assert_eq!(setbacks.count(key.clone(), None, at(62)), Some(true));
        assert!(setbacks.hopeless());
        setbacks.over(&key);
        assert_eq!(setbacks.count(key.clone(), None, at(63)), Some(false));
        setbacks.only(&BTreeSet::new());
        assert!(setbacks.is_empty(), "it can be read again");
    }
}
