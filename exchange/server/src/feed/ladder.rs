//! One side of a book as its subscribers see it: levels by price, best first, and the part of it
//! that a view of limited depth shows.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Bound;

use optivex_engine::types::{Level, Side};

/// Levels of one side.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    side: Side,
    /// By rank: the price, with bids negated, so that the best comes first on both sides.
    levels: BTreeMap<i64, Totals>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Totals {
    quantity: i64,
    order_count: u32,
}

impl Ladder {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            levels: BTreeMap::new(),
        }
    }

    /// At most `depth` levels, best first.
    pub(super) fn first(&self, depth: usize) -> impl Iterator<Item = Level> {
        self.levels
            .iter()
            .take(depth)
            .map(|(&rank, &totals)| self.level(rank, totals))
    }

    /// All levels, best first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Level> {
        self.first(usize::MAX)
    }

    pub(super) fn best(&self) -> Option<Level> {
        self.first(1).next()
    }

    /// Takes a level's new totals; quantity 0 removes it.
    pub(super) fn set(&mut self, level: &Level) {
        let rank = self.rank(level.price_e4);
        if level.quantity == 0 {
            self.levels.remove(&rank);
        } else {
            self.levels.insert(rank, totals(level));
        }
    }

    /// Makes this the best `depth` levels of `whole`, which it was before `changes` were applied to
    /// `whole`. Returns what changed here, best first: a level that left with quantity 0, one that
    /// entered whole.
    pub(super) fn follow(&mut self, whole: &Ladder, depth: usize, changes: &[Level]) -> Vec<Level> {
        // Up to here the view knows every level; beyond, only `whole` does. No end: the whole side is shown.
        let end = (self.levels.len() >= depth)
            .then(|| self.levels.last_key_value().map(|(&rank, _)| rank))
            .flatten();
        let mut before: BTreeMap<i64, Option<Totals>> = BTreeMap::new();
        for level in changes {
            let rank = self.rank(level.price_e4);
            if end.is_some_and(|end| rank > end) {
                continue;
            }
            let old = if level.quantity == 0 {
                self.levels.remove(&rank)
            } else {
                self.levels.insert(rank, totals(level))
            };
            before.entry(rank).or_insert(old);
        }
        while self.levels.len() > depth {
            if let Some((rank, old)) = self.levels.pop_last() {
                before.entry(rank).or_insert(Some(old));
            }
        }
        if let Some(end) = end
            && self.levels.len() < depth
        {
            let missing = depth - self.levels.len();
            let beyond = whole.levels.range((Bound::Excluded(end), Bound::Unbounded));
            for (&rank, &totals) in beyond.take(missing) {
                self.levels.insert(rank, totals);
                before.entry(rank).or_insert(None);
            }
        }
        before
            .into_iter()
            .filter_map(|(rank, old)| {
                let new = self.levels.get(&rank).copied();
                let gone = Totals {
                    quantity: 0,
                    order_count: 0,
                };
                (new != old).then(|| self.level(rank, new.unwrap_or(gone)))
            })
            .collect()
    }

    fn rank(&self, price_e4: i64) -> i64 {
        match self.side {
            Side::Buy => -price_e4,
            Side::Sell => price_e4,
        }
    }

    fn level(&self, rank: i64, totals: Totals) -> Level {
        Level {
            // Its own inverse.
            price_e4: self.rank(rank),
            quantity: totals.quantity,
            order_count: totals.order_count,
        }
    }
}

fn totals(level: &Level) -> Totals {
    Totals {
        quantity: level.quantity,
        order_count: level.order_count,
    }
}

/// The contract's checksum of a book: CRC-32 (ISO-HDLC) over `price_e4:quantity:order_count;` of
/// every level, bids then asks, best first.
pub fn checksum(levels: impl Iterator<Item = Level>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut text = Vec::with_capacity(4096);
    for level in levels {
        // Writing to a vector cannot fail.
        let _ = write!(text, "{}:{}:{};", level.price_e4, level.quantity, level.order_count);
        if text.len() > 4000 {
            hasher.update(&text);
            text.clear();
        }
    }
    hasher.update(&text);
    hasher.finalize()
}
