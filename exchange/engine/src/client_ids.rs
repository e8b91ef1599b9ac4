//! Client order ids of one user: what makes the retry of an insert safe.

use std::hash::{BuildHasher, RandomState};

use crate::command::OrderTerms;
use crate::order::NIL;
use crate::types::{ClientOrderId, InstrumentId, OrderId};

/// The first insert of a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstInsert {
    /// Where.
    pub(crate) instrument: InstrumentId,
    /// As inserted, whatever amends did since.
    pub(crate) terms: OrderTerms,
    /// Its order.
    pub(crate) order_id: OrderId,
    /// Its event.
    pub(crate) event_seq: u64,
    /// Its ACCEPTED report.
    pub(crate) report_seq: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: ClientOrderId,
    insert: FirstInsert,
    hash: u32,
    /// The next entry of the bucket.
    next: u32,
    /// Of a done order: the one that got done after it.
    done_next: u32,
}

/// Ids of open orders, and of the last done ones.
///
/// A hash table that grows by one bucket at a time (linear hashing), so that no insert ever waits for a
/// table to be rebuilt. The hash is seeded, as ids are the clients' choice; nothing of it can be
/// observed.
#[derive(Debug, Default)]
pub(crate) struct ClientIds {
    seed: RandomState,
    /// First entry of each bucket, in `hash` modulo the number of buckets rounded to powers of two.
    buckets: Vec<u32>,
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    /// Ids of done orders, in the order they got done.
    done: Option<Done>,
}

#[derive(Clone, Copy, Debug)]
struct Done {
    oldest: u32,
    newest: u32,
    count: usize,
}

impl ClientIds {
    /// The first insert of an id that is still known.
    #[inline]
    pub(crate) fn get(&self, id: &ClientOrderId) -> Option<&FirstInsert> {
        if id.is_empty() {
            return None;
        }
        Some(&self.entries[self.find(id)? as usize].insert)
    }

    /// A new order's id; none if empty.
    #[inline]
    pub(crate) fn open(&mut self, id: ClientOrderId, insert: FirstInsert) {
        if !id.is_empty() {
            self.add(id, insert);
        }
    }

    /// The order is done: its id is kept until `kept_max` others are done after it.
    #[inline]
    pub(crate) fn done(&mut self, id: &ClientOrderId, kept_max: u32) {
        if !id.is_empty() {
            self.retire(id, kept_max as usize);
        }
    }

    /// All known ids with their inserts, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ClientOrderId, &FirstInsert)> {
        let chains = self.buckets.iter().flat_map(|first| self.chain(*first));
        let mut all: Vec<&Entry> = chains.map(|at| &self.entries[at as usize]).collect();
        all.sort_unstable_by_key(|entry| entry.id);
        all.into_iter().map(|entry| (&entry.id, &entry.insert))
    }

    /// Ids of done orders, in the order they got done.
    pub(crate) fn done_ids(&self) -> impl Iterator<Item = &ClientOrderId> {
        let mut at = self.done.map_or(NIL, |done| done.oldest);
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.done_next;
            Some(&entry.id)
        })
    }

    /// How many of them there are.
    pub(crate) fn done_count(&self) -> usize {
        self.done.map_or(0, |done| done.count)
    }

    fn hash(&self, id: &ClientOrderId) -> u32 {
        self.seed.hash_one(id) as u32
    }

    /// Place of a hash's bucket: the table is somewhere between two powers of two, and buckets that are
    /// not there yet are still part of those that they will be split from.
    fn bucket(&self, hash: u32) -> usize {
        let mask = self.buckets.len().next_power_of_two() - 1;
        let at = hash as usize & mask;
        if at < self.buckets.len() { at } else { at & (mask >> 1) }
    }

    fn chain(&self, first: u32) -> impl Iterator<Item = u32> {
        let mut next = first;
        std::iter::from_fn(move || {
            let at = next;
            next = self.entries.get(at as usize)?.next;
            Some(at)
        })
    }

    fn find(&self, id: &ClientOrderId) -> Option<u32> {
        if self.buckets.is_empty() {
            return None;
        }
        let hash = self.hash(id);
        let is_it = |at: &u32| {
            let entry = &self.entries[*at as usize];
            entry.hash == hash && entry.id == *id
        };
        self.chain(self.buckets[self.bucket(hash)]).find(is_it)
    }

    fn add(&mut self, id: ClientOrderId, insert: FirstInsert) {
        if self.entries.len() - self.vacant.len() >= self.buckets.len() {
            self.grow();
        }
        let hash = self.hash(&id);
        let bucket = self.bucket(hash);
        let entry = Entry {
            id,
            insert,
            hash,
            next: self.buckets[bucket],
            done_next: NIL,
        };
        self.buckets[bucket] = match self.vacant.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
    }

    /// Adds a bucket: those entries go there that only the longer hash tells apart.
    fn grow(&mut self) {
        let split = self.buckets.len() - (self.buckets.len() + 1).next_power_of_two() / 2;
        self.buckets.push(NIL);
        if self.buckets.len() == 1 {
            return;
        }
        let mut at = std::mem::replace(&mut self.buckets[split], NIL);
        while at != NIL {
            let Entry { hash, next, .. } = self.entries[at as usize];
            let bucket = self.bucket(hash);
            self.entries[at as usize].next = std::mem::replace(&mut self.buckets[bucket], at);
            at = next;
        }
    }

    fn retire(&mut self, id: &ClientOrderId, kept_max: usize) {
        let Some(at) = self.find(id) else { return };
        let mut done = match self.done {
            Some(done) => {
                self.entries[done.newest as usize].done_next = at;
                Done {
                    newest: at,
                    count: done.count + 1,
                    ..done
                }
            }
            None => Done {
                oldest: at,
                newest: at,
                count: 1,
            },
        };
        if done.count <= kept_max {
            self.done = Some(done);
            return;
        }
        let oldest = done.oldest;
        done.oldest = self.entries[oldest as usize].done_next;
        done.count -= 1;
        self.done = (done.count > 0).then_some(done);
        self.remove(oldest);
    }

    fn remove(&mut self, at: u32) {
        let Entry { hash, next, .. } = self.entries[at as usize];
        let bucket = self.bucket(hash);
        let mut chain = self.chain(self.buckets[bucket]);
        let before = chain.find(|before| self.entries[*before as usize].next == at);
        drop(chain);
        match before {
            Some(before) => self.entries[before as usize].next = next,
            None => self.buckets[bucket] = next,
        }
        self.vacant.push(at);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use super::*;
    use crate::types::{OrderType, SelfTradePrevention, Side, TimeInForce};
    use proptest::prelude::*;

    fn insert(number: u64) -> FirstInsert {
        FirstInsert {
            instrument: InstrumentId(0),
            terms: OrderTerms {
                side: Side::Buy,
                price_e4: 1,
                quantity: 1,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::GoodTillCancelled,
                post_only: false,
                self_trade_prevention: SelfTradePrevention::CancelBoth,
            },
            order_id: OrderId(number),
            event_seq: number,
            report_seq: number,
        }
    }

    proptest! {
        #[test]
        fn ids_are_a_map_and_a_queue(
            steps in prop::collection::vec((0..300_u32, any::<bool>()), 1..600),
            kept_max in 0..40_u32,
        ) {
            let mut ids = ClientIds::default();
            let mut known = BTreeMap::new();
            let mut done = VecDeque::new();
            for (number, (name, open)) in (1..).zip(steps) {
                let id = ClientOrderId::from(&format!("id {name}")).expect("short");
                prop_assert_eq!(ids.get(&id), known.get(&id));
                if open && !known.contains_key(&id) {
                    ids.open(id, insert(number));
                    known.insert(id, insert(number));
                } else if !open && known.contains_key(&id) && !done.contains(&id) {
                    ids.done(&id, kept_max);
                    done.push_back(id);
                    if done.len() > kept_max as usize && let Some(oldest) = done.pop_front() {
                        known.remove(&oldest);
                    }
                }
                prop_assert_eq!(ids.get(&id), known.get(&id));
                prop_assert_eq!(ids.done_count(), done.len());
            }
            prop_assert!(ids.iter().eq(known.iter()));
            prop_assert!(ids.done_ids().eq(done.iter()));
        }
    }
}
