//! One order book: price levels of both sides, each a FIFO of resting orders with exact totals.
//!
//! The rest of the engine knows a book by the methods of [`Book`] only, so that what is behind them
//! can be replaced.

mod ladder;
mod levels;

use crate::auction::{self, AuctionTree};
use crate::order::Node;
use crate::types::{Indicative, Level, Side};

pub(crate) use levels::{BookLevel, LevelId, Levels, index, rank};

/// Levels that a book without orders keeps room for: there may be many such books.
const KEPT_MAX: usize = 1024;

/// A level's totals as they were before the event.
#[derive(Clone, Copy, Debug)]
struct Noted {
    level: LevelId,
    /// Order of notes: of two notes of a level the first tells.
    position: u32,
    before: Level,
}

impl Noted {
    fn rank(&self) -> (usize, i64) {
        let side = self.level.side();
        (index(side), rank(side, self.before.price_e4))
    }
}

/// One order book.
#[derive(Debug)]
pub(crate) struct Book {
    levels: Levels,
    /// All lots of each side.
    lots: [i64; 2],
    noted: Vec<Noted>,
    /// Kept only in an auction.
    auction: Option<AuctionTree>,
}

impl Book {
    /// Without orders; all prices to come are multiples of the tick.
    pub(crate) fn new(tick_size_e4: i64) -> Self {
        Self {
            levels: Levels::new(tick_size_e4),
            lots: [0, 0],
            noted: Vec::new(),
            auction: None,
        }
    }

    /// The best level of a side.
    pub(crate) fn best(&self, side: Side) -> Option<&BookLevel> {
        self.levels.best(side)
    }

    /// The best level of a side that an incoming order of the other side, limited to `limit_rank`, reaches.
    #[inline]
    pub(crate) fn best_within(&self, side: Side, limit_rank: i64) -> Option<&BookLevel> {
        if self.levels.best_rank(side) > limit_rank {
            return None;
        }
        self.levels.best(side)
    }

    /// The level at a price.
    pub(crate) fn level(&self, side: Side, price_e4: i64) -> Option<&BookLevel> {
        self.levels.level(side, price_e4)
    }

    /// All lots of a side.
    pub(crate) fn lots(&self, side: Side) -> i64 {
        self.lots[index(side)]
    }

    /// Lots at a price.
    pub(crate) fn quantity_at(&self, side: Side, price_e4: i64) -> i64 {
        self.level(side, price_e4).map_or(0, |level| level.quantity)
    }

    /// The nearest price of a side at or below a price; strictly below if `strictly`.
    pub(crate) fn nearest_below(&self, side: Side, price_e4: i64, strictly: bool) -> Option<i64> {
        if !strictly && self.level(side, price_e4).is_some() {
            return Some(price_e4);
        }
        let level = match side {
            Side::Buy => self.levels.next_worse(side, price_e4),
            Side::Sell => self.levels.next_better(side, price_e4),
        };
        level.map(|level| level.price_e4)
    }

    /// The nearest price of a side at or above a price; strictly above if `strictly`.
    pub(crate) fn nearest_above(&self, side: Side, price_e4: i64, strictly: bool) -> Option<i64> {
        if !strictly && self.level(side, price_e4).is_some() {
            return Some(price_e4);
        }
        let level = match side {
            Side::Buy => self.levels.next_better(side, price_e4),
            Side::Sell => self.levels.next_worse(side, price_e4),
        };
        level.map(|level| level.price_e4)
    }

    /// Levels of a side, best first.
    pub(crate) fn levels(&self, side: Side) -> impl Iterator<Item = &BookLevel> {
        self.levels.iter(side)
    }

    /// How many levels a side has.
    pub(crate) fn level_count(&self, side: Side) -> usize {
        self.levels.count(side)
    }

    /// Whether bids and asks overlap.
    pub(crate) fn is_crossed(&self) -> bool {
        match (self.best(Side::Buy), self.best(Side::Sell)) {
            (Some(bid), Some(ask)) => bid.price_e4 >= ask.price_e4,
            _ => false,
        }
    }

    /// Puts an order with so many open lots behind all others at its price.
    pub(crate) fn append(&mut self, nodes: &mut [Node], slot: u32, side: Side, price_e4: i64, open: u32) {
        let level = self.levels.append(nodes, slot, side, price_e4, open);
        self.note(level, open.into(), 1);
        self.count_lots(side, price_e4, open.into());
    }

    /// Takes lots of a resting order away, and leaves it at least one. The order's own numbers are the caller's.
    pub(crate) fn reduce(&mut self, nodes: &mut [Node], slot: u32, quantity: u32) {
        let level = nodes[slot as usize].level;
        self.note(level, 0, 0);
        let price_e4 = self.levels.of_mut(level).price_e4;
        self.levels.reduce(nodes, slot, quantity);
        self.count_lots(level.side(), price_e4, -i64::from(quantity));
    }

    /// Takes an order out of its level, with what is open of it.
    pub(crate) fn remove(&mut self, nodes: &mut [Node], slot: u32) {
        let Node { open, level, .. } = nodes[slot as usize];
        self.note(level, 0, 0);
        let price_e4 = self.levels.of_mut(level).price_e4;
        self.levels.remove(nodes, slot);
        self.count_lots(level.side(), price_e4, -i64::from(open));
    }

    /// [`Book::append`] without a note: gives back what there is at the price now.
    #[inline(always)]
    pub(crate) fn append_alone(
        &mut self,
        nodes: &mut [Node],
        slot: u32,
        side: Side,
        price_e4: i64,
        open: u32,
    ) -> Level {
        let level = self.levels.append(nodes, slot, side, price_e4, open);
        self.count_lots(side, price_e4, open.into());
        self.levels.of_mut(level).total()
    }

    /// [`Book::reduce`] without a note: gives back what is left at the price.
    #[inline(always)]
    pub(crate) fn reduce_alone(&mut self, nodes: &mut [Node], slot: u32, quantity: u32) -> Level {
        let level = nodes[slot as usize].level;
        self.levels.reduce(nodes, slot, quantity);
        let left = self.levels.of_mut(level).total();
        self.count_lots(level.side(), left.price_e4, -i64::from(quantity));
        left
    }

    /// [`Book::remove`] without a note: gives back what is left at the price.
    #[inline(always)]
    pub(crate) fn remove_alone(&mut self, nodes: &mut [Node], slot: u32) -> Level {
        let Node { open, level, .. } = nodes[slot as usize];
        let before = self.levels.of_mut(level).total();
        self.levels.remove(nodes, slot);
        self.count_lots(level.side(), before.price_e4, -i64::from(open));
        let left = Level {
            quantity: before.quantity - i64::from(open),
            order_count: before.order_count - 1,
            ..before
        };
        // What is noted of the other side refers to its levels, though they may be empty by now.
        if left.order_count == 0 && self.noted.is_empty() {
            self.levels.shrink_if_empty(KEPT_MAX);
        }
        left
    }

    /// How many notes there are.
    #[cfg(feature = "faults")]
    pub(crate) fn note_count(&self) -> usize {
        self.noted.len()
    }

    /// Takes notes back that were made behind the first so many.
    #[cfg(feature = "faults")]
    pub(crate) fn forget_notes(&mut self, count: usize) {
        for note in self.noted.drain(count..) {
            self.levels.take_noted(note.level, note.before.price_e4);
        }
    }

    /// Appends every level whose totals are not what they were at the last call, best first, bids
    /// before asks, and says how many are bids.
    #[inline]
    pub(crate) fn take_changes(&mut self, out: &mut Vec<Level>) -> u32 {
        let Self { levels, noted, .. } = self;
        let mut bids = 0;
        let mut tell = |note: &Noted| {
            let now = levels.take_noted(note.level, note.before.price_e4);
            if now != note.before {
                out.push(now);
                bids += u32::from(note.level.side() == Side::Buy);
            }
        };
        if let [note] = noted.as_slice() {
            tell(note);
        } else {
            noted.sort_unstable_by_key(|note| (note.rank(), note.position));
            let mut last = None;
            for note in noted
                .iter()
                .filter(|note| last.replace(note.rank()) != Some(note.rank()))
            {
                tell(note);
            }
        }
        noted.clear();
        if noted.capacity() > KEPT_MAX {
            noted.shrink_to(KEPT_MAX);
        }
        levels.shrink_if_empty(KEPT_MAX);
        bids
    }

    /// Begins or ends keeping the indicative uncross.
    pub(crate) fn set_auction(&mut self, on: bool) {
        self.auction = on.then(|| self.build_auction());
    }

    /// What an uncross would do, as kept during an auction.
    pub(crate) fn indicative(&self, tick_size_e4: i64, last_trade_price_e4: Option<i64>) -> Option<Indicative> {
        auction::clearing(self, self.auction.as_ref()?, tick_size_e4, last_trade_price_e4)
    }

    /// What an uncross would do, whether kept or not: walks the levels if it is not.
    pub(crate) fn uncross(&self, tick_size_e4: i64, last_trade_price_e4: Option<i64>) -> Option<Indicative> {
        if !self.is_crossed() {
            return None;
        }
        match &self.auction {
            Some(tree) => auction::clearing(self, tree, tick_size_e4, last_trade_price_e4),
            None => auction::clearing(self, &self.build_auction(), tick_size_e4, last_trade_price_e4),
        }
    }

    fn build_auction(&self) -> AuctionTree {
        let mut tree = AuctionTree::new();
        for side in [Side::Buy, Side::Sell] {
            for level in self.levels(side) {
                tree.add(side, level.price_e4, level.quantity);
            }
        }
        tree
    }

    #[inline]
    fn count_lots(&mut self, side: Side, price_e4: i64, quantity: i64) {
        self.lots[index(side)] += quantity;
        if let Some(tree) = &mut self.auction {
            tree.add(side, price_e4, quantity);
        }
    }

    /// Notes a level's totals before its first change in an event; a change that is made already is told.
    /// A level that goes and comes back within one event is noted twice, and the first note tells.
    #[inline]
    fn note(&mut self, id: LevelId, quantity_added: i64, orders_added: u32) {
        let level = self.levels.of_mut(id);
        if level.noted {
            return;
        }
        level.noted = true;
        self.noted.push(Noted {
            level: id,
            position: self.noted.len() as u32,
            before: Level {
                price_e4: level.price_e4,
                quantity: level.quantity - quantity_added,
                order_count: level.order_count - orders_added,
            },
        });
    }
}
