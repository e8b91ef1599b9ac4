//! Client order ids of one user: what makes the retry of an insert safe.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use crate::command::OrderTerms;
use crate::order::{NIL, prefetch};
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
}

/// Where an order's client id is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdPlace {
    hash: u32,
    /// [`NIL`] for an empty id.
    at: u32,
}

impl IdPlace {
    /// Of an order without a client id.
    pub(crate) const NONE: Self = Self { hash: 0, at: NIL };
}

/// Entries whose hashes end alike: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    /// Of the entries, and then how many there are: all compared at once.
    hashes: [u32; PLACES + 1],
    entries: [u32; PLACES],
    /// Where it goes on if that is not enough, among all `further` buckets.
    further: u32,
}

const PLACES: usize = 7;
/// Entries that a bucket should hold; more are rare where hashes are random.
const FILL: usize = 4;

impl Bucket {
    const EMPTY: Self = Self {
        hashes: [0; PLACES + 1],
        entries: [NIL; PLACES],
        further: NIL,
    };

    #[inline(always)]
    fn taken(&self) -> usize {
        // At most that; told for the sake of the bounds checks.
        (self.hashes[PLACES] as usize).min(PLACES)
    }

    /// Whether a hash may be among these: a count or what was taken out may look like it.
    #[inline(always)]
    fn may_hold(&self, hash: u32) -> bool {
        self.hashes.iter().fold(false, |found, other| found | (*other == hash))
    }

    fn entries(&self) -> impl Iterator<Item = (u32, u32)> {
        let entries = self.hashes.into_iter().zip(self.entries);
        entries.take(self.taken())
    }

    #[inline(always)]
    fn push(&mut self, hash: u32, at: u32) {
        let taken = self.taken();
        self.hashes[taken] = hash;
        self.entries[taken] = at;
        self.hashes[PLACES] = taken as u32 + 1;
    }
}

/// Ids of open orders, and of the last done ones.
///
/// A hash table that grows by one bucket at a time (linear hashing), so that no insert ever waits for a
/// table to be rebuilt. The hash is seeded, as ids are the clients' choice; nothing of it can be
/// observed.
#[derive(Debug, Default)]
pub(crate) struct ClientIds {
    seed: RandomState,
    /// By the hash modulo their number, rounded to powers of two.
    buckets: Vec<Bucket>,
    /// The next power of two of their number, less one.
    mask: u32,
    further: Vec<Bucket>,
    further_vacant: Vec<u32>,
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    /// Ids of done orders, in the order they got done.
    done: VecDeque<IdPlace>,
}

impl ClientIds {
    /// The first insert of an id that is still known.
    pub(crate) fn get(&self, id: &ClientOrderId) -> Option<&FirstInsert> {
        if id.is_empty() {
            return None;
        }
        self.find(id, self.hash(id))
    }

    /// What [`ClientIds::find`] and [`ClientIds::open`] want of an id that is not empty.
    #[inline(always)]
    pub(crate) fn hash(&self, id: &ClientOrderId) -> u32 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(id.as_bytes());
        hasher.finish() as u32
    }

    /// Adds a new order's id that is not known; tells where for [`ClientIds::done`].
    #[inline]
    pub(crate) fn open(&mut self, id: &ClientOrderId, hash: u32, insert: FirstInsert) -> IdPlace {
        if fault!(ClientIdsForgotten) {
            return IdPlace::NONE;
        }
        self.add(id, hash, insert)
    }

    /// The order is done: its id is kept until `kept_max` others are done after it.
    #[inline]
    pub(crate) fn done(&mut self, place: IdPlace, kept_max: u32) {
        if place.at != NIL {
            self.retire(place, kept_max as usize);
        }
    }

    /// Makes room for so many ids, so that adding them rebuilds nothing.
    pub(crate) fn make_room(&mut self, count: usize) {
        if self.buckets.is_empty() {
            self.buckets = vec![Bucket::EMPTY; count.div_ceil(FILL)];
            self.set_mask();
        }
        self.entries.reserve_exact(count);
    }

    /// Fetches what the look-up of an id that is not empty is going to touch into the cache.
    #[inline(never)]
    pub(crate) fn prefetch(&self, id: &ClientOrderId) {
        prefetch(self.buckets.get(self.bucket(self.hash(id))));
    }

    /// Ids of open orders with their inserts, by id.
    pub(crate) fn open_inserts(&self) -> impl Iterator<Item = (&ClientOrderId, &FirstInsert)> {
        let mut is_open = vec![true; self.entries.len()];
        for at in self.vacant.iter().chain(self.done.iter().map(|place| &place.at)) {
            is_open[*at as usize] = false;
        }
        let mut open: Vec<(u128, &Entry)> = self
            .entries
            .iter()
            .zip(is_open)
            .filter(|(_, is_open)| *is_open)
            .map(|(entry, _)| (beginning(&entry.id), entry))
            .collect();
        open.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.id.cmp(&b.1.id)));
        open.into_iter().map(|(_, entry)| (&entry.id, &entry.insert))
    }

    /// Ids of done orders with their inserts, in the order they got done.
    pub(crate) fn done_inserts(&self) -> impl Iterator<Item = (&ClientOrderId, &FirstInsert)> {
        let entries = self.done.iter().map(|place| &self.entries[place.at as usize]);
        entries.map(|entry| (&entry.id, &entry.insert))
    }

    /// How many ids are known.
    pub(crate) fn known_count(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// How many ids of done orders there are.
    pub(crate) fn done_count(&self) -> usize {
        self.done.len()
    }

    /// Place of a hash's bucket: the table is somewhere between two powers of two, and buckets that are
    /// not there yet are still part of those that they will be split from.
    #[inline(always)]
    fn bucket(&self, hash: u32) -> usize {
        let at = (hash & self.mask) as usize;
        if at < self.buckets.len() {
            at
        } else {
            (hash & (self.mask >> 1)) as usize
        }
    }

    fn set_mask(&mut self) {
        self.mask = (self.buckets.len().next_power_of_two() - 1) as u32;
    }

    /// The first insert of an id with this hash that is still known.
    #[inline]
    pub(crate) fn find(&self, id: &ClientOrderId, hash: u32) -> Option<&FirstInsert> {
        let mut bucket = self.buckets.get(self.bucket(hash))?;
        loop {
            if bucket.may_hold(hash)
                && let Some(insert) = self.find_in(bucket, id, hash)
            {
                return Some(insert);
            }
            bucket = self.further.get(bucket.further as usize)?;
        }
    }

    #[cold]
    fn find_in(&self, bucket: &Bucket, id: &ClientOrderId, hash: u32) -> Option<&FirstInsert> {
        let entries = bucket.entries().filter(|(other, _)| *other == hash);
        let mut entries = entries.map(|(_, at)| &self.entries[at as usize]);
        let entry = entries.find(|entry| entry.id == *id)?;
        Some(&entry.insert)
    }

    fn add(&mut self, id: &ClientOrderId, hash: u32, insert: FirstInsert) -> IdPlace {
        if self.entries.len() - self.vacant.len() >= FILL * self.buckets.len() {
            self.grow();
        }
        let entry = || Entry { id: *id, insert };
        let at = match self.vacant.pop() {
            Some(at) => {
                self.entries[at as usize] = entry();
                at
            }
            None => {
                self.entries.push(entry());
                (self.entries.len() - 1) as u32
            }
        };
        self.place(hash, at);
        IdPlace { hash, at }
    }

    /// Puts an entry into its bucket. A bucket that is full moves away, and a new one takes its place.
    #[inline(always)]
    fn place(&mut self, hash: u32, at: u32) {
        let first = self.bucket(hash);
        if self.buckets[first].taken() == PLACES {
            self.move_away(first);
        }
        self.buckets[first].push(hash, at);
    }

    #[cold]
    fn move_away(&mut self, first: usize) {
        let full = self.buckets[first];
        let further = match self.further_vacant.pop() {
            Some(further) => {
                self.further[further as usize] = full;
                further
            }
            None => {
                self.further.push(full);
                (self.further.len() - 1) as u32
            }
        };
        self.buckets[first] = Bucket {
            further,
            ..Bucket::EMPTY
        };
    }

    /// Adds a bucket: those entries go there that only the longer hash tells apart.
    #[cold]
    fn grow(&mut self) {
        let split = self.buckets.len() - (self.buckets.len() + 1).next_power_of_two() / 2;
        self.buckets.push(Bucket::EMPTY);
        self.set_mask();
        if self.buckets.len() == 1 {
            return;
        }
        let mut bucket = std::mem::replace(&mut self.buckets[split], Bucket::EMPTY);
        loop {
            for (hash, at) in bucket.entries() {
                self.place(hash, at);
            }
            let further = bucket.further;
            if further == NIL {
                return;
            }
            bucket = std::mem::replace(&mut self.further[further as usize], Bucket::EMPTY);
            self.further_vacant.push(further);
        }
    }

    fn retire(&mut self, place: IdPlace, kept_max: usize) {
        self.done.push_back(place);
        if self.done.len() > kept_max
            && let Some(oldest) = self.done.pop_front()
        {
            self.remove(oldest);
            // The next one is not far, and its entry is going to be written anew.
            if let Some(next) = self.done.front() {
                prefetch(self.entries.get(next.at as usize));
                prefetch(self.buckets.get(self.bucket(next.hash)));
            }
        }
    }

    /// Takes an entry out of its bucket; the last one of the first bucket fills the gap.
    fn remove(&mut self, IdPlace { hash, at }: IdPlace) {
        self.vacant.push(at);
        let first = self.bucket(hash);
        let bucket = &mut self.buckets[first];
        let left = bucket.taken() - 1;
        let last = (bucket.hashes[left], bucket.entries[left]);
        bucket.hashes[PLACES] = left as u32;
        if let Some(place) = bucket.entries[..=left].iter().position(|other| *other == at) {
            (bucket.hashes[place], bucket.entries[place]) = last;
        } else {
            self.replace_further(first, at, last);
        }
        let bucket = &mut self.buckets[first];
        if left == 0 && bucket.further != NIL {
            let further = bucket.further;
            *bucket = std::mem::replace(&mut self.further[further as usize], Bucket::EMPTY);
            self.further_vacant.push(further);
        }
    }

    /// Puts another entry into the place of one that a further bucket holds.
    #[cold]
    fn replace_further(&mut self, first: usize, at: u32, other: (u32, u32)) {
        let mut further = self.buckets[first].further;
        while let Some(bucket) = self.further.get_mut(further as usize) {
            let place = bucket.entries().position(|entry| entry.1 == at);
            if let Some(place) = place {
                (bucket.hashes[place], bucket.entries[place]) = other;
                return;
            }
            further = bucket.further;
        }
    }
}

/// What comes first when ids are compared, in one number.
fn beginning(id: &ClientOrderId) -> u128 {
    let mut bytes = [0; size_of::<u128>()];
    let length = id.len().min(bytes.len());
    bytes[..length].copy_from_slice(&id.as_bytes()[..length]);
    u128::from_be_bytes(bytes)
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
            room in prop::option::of(0..80_usize),
        ) {
            let mut ids = ClientIds::default();
            if let Some(room) = room {
                ids.make_room(room);
            }
            let mut known = BTreeMap::new();
            let mut done = VecDeque::new();
            let mut places = BTreeMap::new();
            for (number, (name, open)) in (1..).zip(steps) {
                // Of lengths below, at and above those of the numbers that they are sorted by.
                let id = format!("{name:0length$}", length = 12 + name as usize % 8);
                let id = ClientOrderId::from(&id).expect("short");
                prop_assert_eq!(ids.get(&id), known.get(&id));
                if open && !known.contains_key(&id) {
                    places.insert(id, ids.open(&id, ids.hash(&id), insert(number)));
                    known.insert(id, insert(number));
                } else if !open && known.contains_key(&id) && !done.contains(&id) {
                    ids.done(places[&id], kept_max);
                    done.push_back(id);
                    if done.len() > kept_max as usize && let Some(oldest) = done.pop_front() {
                        known.remove(&oldest);
                    }
                }
                prop_assert_eq!(ids.get(&id), known.get(&id));
                prop_assert_eq!((ids.known_count(), ids.done_count()), (known.len(), done.len()));
            }
            let open = known.iter().filter(|(id, _)| !done.contains(id));
            prop_assert!(ids.open_inserts().eq(open));
            prop_assert!(ids.done_inserts().eq(done.iter().map(|id| (id, &known[id]))));
        }
    }
}
