//! One order book: price levels of both sides, each a FIFO of resting orders with exact totals.
//!
//! The rest of the engine knows a book by the methods of [`Book`] only, so that what is behind them
//! can be replaced.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::Range;

use crate::auction::{self, AuctionTree};
use crate::order::{NIL, Orders};
use crate::types::{Indicative, Level, Order, Side};

/// Where a price stands in a side's priority: lower is better.
pub(crate) fn rank(side: Side, price_e4: i64) -> i64 {
    match side {
        Side::Buy => -price_e4,
        Side::Sell => price_e4,
    }
}

/// Index of a side in pairs.
pub(crate) fn index(side: Side) -> usize {
    match side {
        Side::Buy => 0,
        Side::Sell => 1,
    }
}

/// Levels that a book without orders keeps room for: there may be many such books.
const KEPT_MAX: usize = 1024;

/// One price of one side.
#[derive(Clone, Debug)]
pub(crate) struct BookLevel {
    /// Price and totals.
    pub(crate) total: Level,
    /// Oldest order.
    pub(crate) head: u32,
    /// Youngest order.
    tail: u32,
    /// Event (as the book counts them) that noted its totals last.
    noted: u64,
}

/// A level's totals as they were before the event.
#[derive(Clone, Copy, Debug)]
struct Noted {
    side: usize,
    rank: i64,
    /// Order of notes: of two notes of a level the first tells.
    position: u32,
    quantity: i64,
    order_count: u32,
}

/// One order book.
#[derive(Debug)]
pub(crate) struct Book {
    /// Levels by rank, for each side.
    sides: [BTreeMap<i64, u32>; 2],
    levels: Vec<BookLevel>,
    vacant: Vec<u32>,
    /// All lots of each side.
    lots: [i64; 2],
    noted: Vec<Noted>,
    event: u64,
    /// Kept only in an auction.
    auction: Option<AuctionTree>,
}

impl Book {
    /// Without orders.
    pub(crate) fn new() -> Self {
        Self {
            sides: [BTreeMap::new(), BTreeMap::new()],
            levels: Vec::new(),
            vacant: Vec::new(),
            lots: [0, 0],
            noted: Vec::new(),
            event: 1,
            auction: None,
        }
    }

    /// The best level of a side.
    pub(crate) fn best(&self, side: Side) -> Option<&BookLevel> {
        let (_, level) = self.sides[index(side)].first_key_value()?;
        Some(&self.levels[*level as usize])
    }

    /// The best level of a side that an incoming order of the other side, limited to `limit_rank`, reaches.
    pub(crate) fn best_within(&self, side: Side, limit_rank: i64) -> Option<&BookLevel> {
        let (rank, level) = self.sides[index(side)].first_key_value()?;
        (*rank <= limit_rank).then(|| &self.levels[*level as usize])
    }

    /// The level at a price.
    pub(crate) fn level(&self, side: Side, price_e4: i64) -> Option<&BookLevel> {
        let level = self.sides[index(side)].get(&rank(side, price_e4))?;
        Some(&self.levels[*level as usize])
    }

    /// All lots of a side.
    pub(crate) fn lots(&self, side: Side) -> i64 {
        self.lots[index(side)]
    }

    /// Lots at a price.
    pub(crate) fn quantity_at(&self, side: Side, price_e4: i64) -> i64 {
        self.level(side, price_e4).map_or(0, |level| level.total.quantity)
    }

    /// The nearest price of a side at or below a price; strictly below if `strictly`.
    pub(crate) fn nearest_below(&self, side: Side, price_e4: i64, strictly: bool) -> Option<i64> {
        let from = rank(side, price_e4);
        let bound = if strictly { Excluded(from) } else { Included(from) };
        let found = match side {
            Side::Buy => self.sides[0].range((bound, Unbounded)).next(),
            Side::Sell => self.sides[1].range((Unbounded, bound)).next_back(),
        };
        found.map(|(_, level)| self.levels[*level as usize].total.price_e4)
    }

    /// The nearest price of a side at or above a price; strictly above if `strictly`.
    pub(crate) fn nearest_above(&self, side: Side, price_e4: i64, strictly: bool) -> Option<i64> {
        let from = rank(side, price_e4);
        let bound = if strictly { Excluded(from) } else { Included(from) };
        let found = match side {
            Side::Buy => self.sides[0].range((Unbounded, bound)).next_back(),
            Side::Sell => self.sides[1].range((bound, Unbounded)).next(),
        };
        found.map(|(_, level)| self.levels[*level as usize].total.price_e4)
    }

    /// Levels of a side, best first.
    pub(crate) fn levels(&self, side: Side) -> impl Iterator<Item = &BookLevel> {
        self.sides[index(side)]
            .values()
            .map(|level| &self.levels[*level as usize])
    }

    /// How many levels a side has.
    pub(crate) fn level_count(&self, side: Side) -> usize {
        self.sides[index(side)].len()
    }

    /// Whether bids and asks overlap.
    pub(crate) fn is_crossed(&self) -> bool {
        match (self.best(Side::Buy), self.best(Side::Sell)) {
            (Some(bid), Some(ask)) => bid.total.price_e4 >= ask.total.price_e4,
            _ => false,
        }
    }

    /// Puts an open order behind all others at its price.
    pub(crate) fn append(&mut self, orders: &mut Orders, slot: u32) {
        let Order { side, price_e4, .. } = orders.node(slot).order;
        let quantity = orders.node(slot).order.open_quantity();
        let at = self.level_for(side, price_e4);
        self.note(side, at);
        let level = &mut self.levels[at as usize];
        level.total.quantity += quantity;
        level.total.order_count += 1;
        if fault!(PriorityForgotten) && level.head != NIL {
            let head = std::mem::replace(&mut level.head, slot);
            orders.node_mut(head).prev = slot;
            let node = orders.node_mut(slot);
            (node.level, node.prev, node.next) = (at, NIL, head);
            return self.count_lots(side, price_e4, quantity);
        }
        let tail = std::mem::replace(&mut level.tail, slot);
        if tail == NIL {
            level.head = slot;
        } else {
            orders.node_mut(tail).next = slot;
        }
        let node = orders.node_mut(slot);
        node.level = at;
        node.prev = tail;
        node.next = NIL;
        self.count_lots(side, price_e4, quantity);
    }

    /// Takes lots of a resting order out of its level's total. The order's own numbers are the caller's.
    pub(crate) fn reduce(&mut self, orders: &Orders, slot: u32, quantity: i64) {
        let node = orders.node(slot);
        let Order { side, price_e4, .. } = node.order;
        self.note(side, node.level);
        self.levels[node.level as usize].total.quantity -= quantity;
        self.count_lots(side, price_e4, -quantity);
    }

    /// Takes an order out of its level, with the lots that its level still counts for it.
    pub(crate) fn remove(&mut self, orders: &mut Orders, slot: u32, quantity: i64) {
        if quantity != 0 {
            self.reduce(orders, slot, quantity);
        }
        let node = orders.node(slot);
        let (at, prev, next) = (node.level, node.prev, node.next);
        let Order { side, price_e4, .. } = node.order;
        self.note(side, at);
        let level = &mut self.levels[at as usize];
        level.total.order_count -= 1;
        match prev {
            NIL => level.head = next,
            _ => orders.node_mut(prev).next = next,
        }
        match next {
            NIL => level.tail = prev,
            _ => orders.node_mut(next).prev = prev,
        }
        if level.total.order_count == 0 {
            debug_assert_eq!(level.total.quantity, 0, "an empty level holds nothing");
            self.sides[index(side)].remove(&rank(side, price_e4));
            self.vacant.push(at);
        }
    }

    /// Orders of a level, oldest first.
    pub(crate) fn queue<'a>(&self, orders: &'a Orders, level: &BookLevel) -> impl Iterator<Item = &'a Order> + use<'a> {
        let mut at = level.head;
        std::iter::from_fn(move || {
            if at == NIL {
                return None;
            }
            let node = orders.node(at);
            at = node.next;
            Some(&node.order)
        })
    }

    /// Appends every level whose totals are not what they were at the last call, best first, bids
    /// before asks, and says where each side's lie in `out`.
    pub(crate) fn take_changes(&mut self, out: &mut Vec<Level>) -> (Range<u32>, Range<u32>) {
        let mut noted = std::mem::take(&mut self.noted);
        noted.sort_unstable_by_key(|note| (note.side, note.rank, note.position));
        let start = out.len() as u32;
        let mut asks_start = None;
        let mut last = None;
        for note in &noted {
            if last == Some((note.side, note.rank)) {
                continue;
            }
            last = Some((note.side, note.rank));
            if note.side == 1 && asks_start.is_none() {
                asks_start = Some(out.len() as u32);
            }
            let price_e4 = if note.side == 0 { -note.rank } else { note.rank };
            let now = match self.sides[note.side].get(&note.rank) {
                Some(level) => self.levels[*level as usize].total,
                None => Level {
                    price_e4,
                    quantity: 0,
                    order_count: 0,
                },
            };
            if (now.quantity, now.order_count) != (note.quantity, note.order_count) {
                out.push(now);
            }
        }
        noted.clear();
        noted.shrink_to(KEPT_MAX);
        self.noted = noted;
        self.event += 1;
        if self.vacant.len() == self.levels.len() && self.levels.len() > KEPT_MAX {
            self.levels = Vec::new();
            self.vacant = Vec::new();
        }
        let end = out.len() as u32;
        let middle = asks_start.unwrap_or(end);
        (start..middle, middle..end)
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
                tree.add(side, level.total.price_e4, level.total.quantity);
            }
        }
        tree
    }

    fn count_lots(&mut self, side: Side, price_e4: i64, quantity: i64) {
        self.lots[index(side)] += quantity;
        if let Some(tree) = &mut self.auction {
            tree.add(side, price_e4, quantity);
        }
    }

    fn level_for(&mut self, side: Side, price_e4: i64) -> u32 {
        let Self {
            sides, levels, vacant, ..
        } = self;
        *sides[index(side)].entry(rank(side, price_e4)).or_insert_with(|| {
            let level = BookLevel {
                total: Level {
                    price_e4,
                    quantity: 0,
                    order_count: 0,
                },
                head: NIL,
                tail: NIL,
                noted: 0,
            };
            match vacant.pop() {
                Some(at) => {
                    levels[at as usize] = level;
                    at
                }
                None => {
                    levels.push(level);
                    (levels.len() - 1) as u32
                }
            }
        })
    }

    /// Notes a level's totals before its first change in an event. A level that goes and comes back
    /// within one event is noted twice, and the first note tells.
    fn note(&mut self, side: Side, at: u32) {
        let level = &mut self.levels[at as usize];
        if level.noted == self.event {
            return;
        }
        level.noted = self.event;
        self.noted.push(Noted {
            side: index(side),
            rank: rank(side, level.total.price_e4),
            position: self.noted.len() as u32,
            quantity: level.total.quantity,
            order_count: level.total.order_count,
        });
    }
}
