//! Throttles guessing. Only failures count, so that a class behind one address can log in at once.
//!
//! A user that logged in from an address before is judged by what happens to this pair alone: nobody
//! elsewhere can lock it out, and neither can its neighbours' guesses at other names.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Failures in a row that a name may have, and how long it takes to get one back.
const NAME: Rate = Rate::new(10, Duration::from_secs(5));
/// The same for all names from one address.
const PEER: Rate = Rate::new(100, Duration::from_millis(200));

/// Most names, addresses and pairs with failures that are kept; beyond, the least of them go.
const BUCKETS_MAX: usize = 65_536;
/// Most pairs of name and address that are remembered for a success; beyond, the oldest go.
const KNOWN_MAX: usize = 16_384;

#[derive(Clone, Copy)]
struct Rate {
    burst: u32,
    every: Duration,
}

impl Rate {
    const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every }
    }
}

/// Where a login comes from: one IPv4 address, or the /64 that one IPv6 subscriber has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(Option<IpAddr>);

impl From<Option<IpAddr>> for Peer {
    fn from(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
            }
            other => other,
        }))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Name(Box<str>),
    Peer(Peer),
    Pair(Box<str>, Peer),
}

impl Key {
    fn rate(&self) -> Rate {
        match self {
            Key::Name(_) | Key::Pair(..) => NAME,
            Key::Peer(_) => PEER,
        }
    }
}

/// Failures of late. Each bucket is the moment when it will have forgotten all of them.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: HashMap<Key, Duration>,
    known: HashSet<(Box<str>, Peer)>,
    known_by_age: VecDeque<(Box<str>, Peer)>,
}

impl Throttle {
    /// Whether an attempt may be made; if not, how long until it may.
    pub(super) fn check(&self, name: &str, peer: Peer, now: Duration) -> Result<(), Duration> {
        let wait = self
            .keys(name, peer)
            .iter()
            .map(|key| {
                let rate = key.rate();
                let forgotten = self.buckets.get(key).copied().unwrap_or_default().max(now);
                (forgotten + rate.every).saturating_sub(now + rate.every * rate.burst)
            })
            .max()
            .unwrap_or_default();
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Counts a failure.
    pub(super) fn failed(&mut self, name: &str, peer: Peer, now: Duration) {
        for key in self.keys(name, peer) {
            if !self.buckets.contains_key(&key) {
                self.make_room(now);
            }
            let every = key.rate().every;
            let forgotten = self.buckets.entry(key).or_default();
            *forgotten = (*forgotten).max(now) + every;
        }
    }

    /// Remembers a success.
    pub(super) fn succeeded(&mut self, name: &str, peer: Peer) {
        let pair = (Box::from(name), peer);
        if self.known.insert(pair.clone()) {
            self.known_by_age.push_back(pair);
            if self.known_by_age.len() > KNOWN_MAX
                && let Some(oldest) = self.known_by_age.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    fn keys(&self, name: &str, peer: Peer) -> Vec<Key> {
        if self.known.contains(&(Box::from(name), peer)) {
            vec![Key::Pair(name.into(), peer)]
        } else {
            vec![Key::Name(name.into()), Key::Peer(peer)]
        }
    }

    fn make_room(&mut self, now: Duration) {
        if self.buckets.len() < BUCKETS_MAX {
            return;
        }
        self.buckets.retain(|_, forgotten| *forgotten > now);
        if self.buckets.len() >= BUCKETS_MAX
            && let Some(least) = self.buckets.iter().min_by_key(|(_, forgotten)| **forgotten)
        {
            let least = least.0.clone();
            self.buckets.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::from(Some(address.parse::<IpAddr>().unwrap()))
    }

    fn fail(throttle: &mut Throttle, name: &str, from: Peer, now: Duration) -> u32 {
        let mut failures = 0;
        while throttle.check(name, from, now).is_ok() {
            throttle.failed(name, from, now);
            failures += 1;
        }
        failures
    }

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn a_name_gets_a_burst_and_then_one_attempt_at_a_time() {
        let mut throttle = Throttle::default();
        let home = peer("192.0.2.1");
        assert_eq!(fail(&mut throttle, "alice", home, START), NAME.burst);
        assert_eq!(throttle.check("alice", home, START), Err(NAME.every));
        let later = START + NAME.every;
        assert_eq!(fail(&mut throttle, "alice", home, later), 1);
        // Names without an account are no different, and other names are not concerned.
        assert_eq!(fail(&mut throttle, "nobody", home, START), NAME.burst);
        assert_eq!(throttle.check("bob", home, START), Ok(()));
        // All is forgotten in the end.
        let end = later + NAME.every * NAME.burst;
        assert_eq!(fail(&mut throttle, "alice", home, end), NAME.burst);
    }

    #[test]
    fn an_address_gets_a_burst_over_all_names() {
        let mut throttle = Throttle::default();
        let school = peer("192.0.2.1");
        let failures: u32 = (0..200)
            .map(|i| u32::from(fail_once(&mut throttle, &format!("guess{i}"), school)))
            .sum();
        assert_eq!(failures, PEER.burst);
        assert_eq!(throttle.check("alice", school, START), Err(PEER.every));
        assert_eq!(throttle.check("alice", peer("192.0.2.2"), START), Ok(()));
    }

    fn fail_once(throttle: &mut Throttle, name: &str, from: Peer) -> bool {
        let may = throttle.check(name, from, START).is_ok();
        if may {
            throttle.failed(name, from, START);
        }
        may
    }

    #[test]
    fn who_logged_in_before_is_not_locked_out_by_others() {
        let mut throttle = Throttle::default();
        let school = peer("192.0.2.1");
        throttle.succeeded("alice", school);
        fail(&mut throttle, "alice", peer("198.51.100.7"), START);
        for i in 0..200 {
            fail_once(&mut throttle, &format!("guess{i}"), school);
        }
        assert_eq!(throttle.check("alice", school, START), Ok(()));
        assert!(throttle.check("bob", school, START).is_err());
        // The pair has a burst of its own.
        assert_eq!(fail(&mut throttle, "alice", school, START), NAME.burst);
    }

    #[test]
    fn an_ipv6_subscriber_is_its_64() {
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }

    #[test]
    fn tables_are_bounded() {
        let mut throttle = Throttle::default();
        for i in 0..u32::try_from(BUCKETS_MAX).unwrap() + 10 {
            throttle.failed(
                "x",
                Peer(Some(IpAddr::from(i.to_be_bytes()))),
                START + Duration::from_secs(u64::from(i)),
            );
        }
        assert!(throttle.buckets.len() <= BUCKETS_MAX);
        for i in 0..u32::try_from(KNOWN_MAX).unwrap() + 10 {
            throttle.succeeded("x", Peer(Some(IpAddr::from(i.to_be_bytes()))));
        }
        assert_eq!(throttle.known.len(), KNOWN_MAX);
        assert_eq!(throttle.known_by_age.len(), KNOWN_MAX);
    }
}
