//! Price levels of both sides, each a FIFO of resting orders with exact totals.

use crate::book::ladder::{Ladder, Place};
use crate::order::{NIL, Node, Orders, grow};
use crate::types::{Level, OrderId, PRICE_E4_MAX, Side};

/// Where a price, in 1e-4 or in ticks, stands in a side's priority: lower is better.
#[inline(always)]
pub(crate) fn rank(side: Side, price: i64) -> i64 {
    // Without a branch: sides come at random.
    let mask = index(side) as i64 - 1;
    (price ^ mask) - mask
}

/// Index of a side in pairs.
#[inline(always)]
pub(crate) fn index(side: Side) -> usize {
    side as usize
}

/// One price of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BookLevel {
    /// Price, in 1e-4.
    pub(crate) price_e4: i64,
    /// Sum of what is open, in lots.
    pub(crate) quantity: i64,
    /// How many orders rest here.
    pub(crate) order_count: u32,
    /// Oldest order.
    pub(crate) head: u32,
    /// Youngest order.
    tail: u32,
    /// Whether its totals before the event are noted; the [`Book`](crate::book::Book)'s own.
    pub(crate) noted: bool,
}

impl BookLevel {
    /// Price and totals.
    pub(crate) fn total(&self) -> Level {
        Level {
            price_e4: self.price_e4,
            quantity: self.quantity,
            order_count: self.order_count,
        }
    }
}

/// A level of either side: what an order keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LevelId(u32);

impl LevelId {
    /// Of an order that rests nowhere.
    pub(crate) const NONE: Self = Self(NIL);

    #[inline]
    fn new(side: Side, at: u32) -> Self {
        Self(at << 1 | index(side) as u32)
    }

    /// Side of the level.
    #[inline]
    pub(crate) fn side(self) -> Side {
        if self.0 & 1 == 0 { Side::Buy } else { Side::Sell }
    }

    #[inline]
    fn at(self) -> usize {
        (self.0 >> 1) as usize
    }
}

/// Counts prices in ticks. Prices are multiples of the tick, so a division is a rotation and a
/// multiplication by the inverse of the tick's odd part modulo 2^64.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    size_e4: i64,
    /// Ticks in the highest price.
    count_max: i64,
    lowest_e4: i64,
    shift: u32,
    inverse: i64,
}

impl Ticks {
    fn new(size_e4: i64) -> Self {
        let shift = size_e4.trailing_zeros();
        let odd = size_e4 >> shift;
        // Newton's method: each step doubles the bits that are right, of which an odd number has 3.
        let mut inverse = odd;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_i64.wrapping_sub(odd.wrapping_mul(inverse)));
        }
        let count_max = PRICE_E4_MAX / size_e4;
        Self {
            size_e4,
            count_max,
            lowest_e4: -count_max * size_e4,
            shift,
            inverse,
        }
    }

    /// Ticks in a multiple of the tick.
    #[inline(always)]
    fn count(self, price_or_rank_e4: i64) -> i64 {
        (price_or_rank_e4 >> self.shift).wrapping_mul(self.inverse)
    }

    /// Ticks in any price; none if it is no multiple of the tick, or out of the bounds of prices. What stands
    /// above the lowest price is, without its sign, as small as a quotient only if it is one: multiplied and
    /// rotated like this, 64-bit numbers change places, and the multiples take those of the quotients
    /// (Granlund and Montgomery, "Division by invariant integers using multiplication", 9).
    #[inline(always)]
    fn checked_count(self, price_e4: i64) -> Option<i64> {
        let above = price_e4.wrapping_sub(self.lowest_e4).wrapping_mul(self.inverse);
        let number = (above as u64).rotate_right(self.shift);
        (number <= 2 * self.count_max as u64).then(|| number as i64 - self.count_max)
    }

    #[inline]
    fn e4(self, count: i64) -> i64 {
        count * self.size_e4
    }
}

/// A trade with a resting order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    /// The resting order.
    pub(crate) resting: OrderId,
    /// Lots.
    pub(crate) quantity: u32,
    /// Its price.
    pub(crate) price_e4: i64,
    /// What is left of it.
    pub(crate) open: u32,
}

/// Levels of one side.
#[derive(Debug)]
struct HalfBook {
    /// The best level, or [`NIL`].
    best: u32,
    /// Its rank in 1e-4, or the worst there is.
    best_rank: i64,
    /// Where the ladder has it.
    best_place: Place,
    levels: Vec<BookLevel>,
    vacant: Vec<u32>,
    /// Levels by rank in ticks.
    ladder: Ladder,
}

impl HalfBook {
    fn new() -> Self {
        Self {
            best: NIL,
            best_rank: i64::MAX,
            best_place: Place::NOWHERE,
            levels: Vec::new(),
            vacant: Vec::new(),
            ladder: Ladder::new(),
        }
    }

    #[inline(always)]
    fn place(&self, ticks: Ticks, side: Side, price_e4: i64) -> Place {
        self.ladder.place(ticks.count(rank(side, price_e4)))
    }

    /// The level at a price, or [`NIL`].
    #[inline(always)]
    fn at(&self, ticks: Ticks, side: Side, price_e4: i64) -> u32 {
        self.ladder.get(self.place(ticks, side, price_e4))
    }

    #[inline(always)]
    fn open_level(&mut self, place: Place, rank_e4: i64, level: BookLevel) -> u32 {
        let at = match self.vacant.pop() {
            Some(at) => {
                self.levels[at as usize] = level;
                at
            }
            None => {
                grow(&mut self.levels);
                self.levels.push(level);
                (self.levels.len() - 1) as u32
            }
        };
        let place = self.ladder.insert(place, at);
        if rank_e4 < self.best_rank {
            (self.best, self.best_rank, self.best_place) = (at, rank_e4, place);
        }
        at
    }

    /// Closes an empty level.
    #[inline(always)]
    fn close_level(&mut self, ticks: Ticks, rank_e4: i64, at: u32) {
        if at == self.best {
            return self.close_best(ticks);
        }
        self.ladder.remove(self.ladder.place(ticks.count(rank_e4)));
        self.vacant.push(at);
    }

    /// Closes the best level, which is empty.
    #[inline(always)]
    fn close_best(&mut self, ticks: Ticks) {
        let place = self.best_place;
        self.ladder.remove(place);
        self.vacant.push(self.best);
        (self.best, self.best_rank, self.best_place) = match self.ladder.after(place) {
            Some((place, at)) => (at, ticks.e4(place.rank), place),
            None => (NIL, i64::MAX, Place::NOWHERE),
        };
    }
}

/// Levels of both sides. The orders themselves, and the links between them, lie with the caller.
#[derive(Debug)]
pub(crate) struct Levels {
    ticks: Ticks,
    halves: [HalfBook; 2],
}

impl Levels {
    /// Without levels; all prices to come are multiples of the tick.
    pub(crate) fn new(tick_size_e4: i64) -> Self {
        Self {
            ticks: Ticks::new(tick_size_e4),
            halves: [HalfBook::new(), HalfBook::new()],
        }
    }

    /// A price in ticks; none if it is no multiple of the tick, or out of the bounds of prices.
    #[inline(always)]
    pub(crate) fn ticks(&self, price_e4: i64) -> Option<i64> {
        self.ticks.checked_count(price_e4)
    }

    /// Where the best level of a side stands; above all ranks if there is none.
    #[inline]
    pub(crate) fn best_rank(&self, side: Side) -> i64 {
        self.halves[index(side)].best_rank
    }

    /// The best level of a side.
    #[inline]
    pub(crate) fn best(&self, side: Side) -> Option<&BookLevel> {
        let half = &self.halves[index(side)];
        half.levels.get(half.best as usize)
    }

    /// The level at a price that is a multiple of the tick.
    #[inline]
    pub(crate) fn level(&self, side: Side, price_e4: i64) -> Option<&BookLevel> {
        let half = &self.halves[index(side)];
        let at = half.at(self.ticks, side, price_e4);
        half.levels.get(at as usize)
    }

    /// Totals now of a level that was noted, and its note is taken back.
    #[inline]
    pub(crate) fn take_noted(&mut self, id: LevelId, price_e4: i64) -> Level {
        let half = &mut self.halves[index(id.side())];
        let mut at = id.at() as u32;
        let level = &half.levels[at as usize];
        // It may have gone, and another have come in its place, and the price have come back elsewhere.
        if level.order_count == 0 || level.price_e4 != price_e4 {
            at = half.at(self.ticks, id.side(), price_e4);
        }
        match half.levels.get_mut(at as usize) {
            Some(level) => {
                level.noted = false;
                level.total()
            }
            None => Level {
                price_e4,
                quantity: 0,
                order_count: 0,
            },
        }
    }

    /// The level that an order lies in.
    #[inline(always)]
    pub(crate) fn of_mut(&mut self, level: LevelId) -> &mut BookLevel {
        &mut self.halves[index(level.side())].levels[level.at()]
    }

    /// How many levels a side has.
    pub(crate) fn count(&self, side: Side) -> usize {
        self.halves[index(side)].ladder.len()
    }

    /// Levels of a side, best first.
    pub(crate) fn iter(&self, side: Side) -> impl Iterator<Item = &BookLevel> {
        let half = &self.halves[index(side)];
        let mut next = half.ladder.first();
        std::iter::from_fn(move || {
            let (place, at) = next?;
            next = half.ladder.after(place);
            Some(&half.levels[at as usize])
        })
    }

    /// The nearest level that is worse than a price.
    pub(crate) fn next_worse(&self, side: Side, price_e4: i64) -> Option<&BookLevel> {
        let half = &self.halves[index(side)];
        let (_, at) = half.ladder.after(half.place(self.ticks, side, price_e4))?;
        Some(&half.levels[at as usize])
    }

    /// The nearest level that is better than a price.
    pub(crate) fn next_better(&self, side: Side, price_e4: i64) -> Option<&BookLevel> {
        let half = &self.halves[index(side)];
        let (_, at) = half.ladder.before(self.ticks.count(rank(side, price_e4)))?;
        Some(&half.levels[at as usize])
    }

    /// Puts an order with so many open lots behind all others at a price.
    #[inline(always)]
    pub(crate) fn append(&mut self, nodes: &mut [Node], slot: u32, side: Side, price_e4: i64, open: u32) -> LevelId {
        let ticks = self.ticks.count(price_e4);
        self.append_at(nodes, slot, side, (price_e4, ticks), open)
    }

    /// The same at a price that is also given in ticks.
    #[inline(always)]
    pub(crate) fn append_at(
        &mut self,
        nodes: &mut [Node],
        slot: u32,
        side: Side,
        (price_e4, ticks): (i64, i64),
        open: u32,
    ) -> LevelId {
        let half = &mut self.halves[index(side)];
        let place = half.ladder.place(rank(side, ticks));
        let mut at = half.ladder.get(place);
        let mut before = NIL;
        // That NIL is no level is part of the check of bounds.
        if let Some(level) = half.levels.get_mut(at as usize) {
            level.quantity += i64::from(open);
            level.order_count += 1;
            if fault!(PriorityForgotten) {
                let id = LevelId::new(side, at);
                let head = std::mem::replace(&mut level.head, slot);
                nodes[head as usize].prev = slot;
                let node = &mut nodes[slot as usize];
                (node.open, node.level, node.prev, node.next) = (open, id, NIL, head);
                return id;
            }
            before = std::mem::replace(&mut level.tail, slot);
            nodes[before as usize].next = slot;
        } else {
            let level = BookLevel {
                price_e4,
                quantity: open.into(),
                order_count: 1,
                head: slot,
                tail: slot,
                noted: false,
            };
            at = half.open_level(place, rank(side, price_e4), level);
        }
        let level = LevelId::new(side, at);
        let node = &mut nodes[slot as usize];
        node.open = open;
        node.level = level;
        node.prev = before;
        node.next = NIL;
        level
    }

    /// Takes lots of a resting order away.
    #[inline]
    pub(crate) fn reduce(&mut self, nodes: &mut [Node], slot: u32, quantity: u32) {
        let node = &mut nodes[slot as usize];
        node.open -= quantity;
        self.of_mut(node.level).quantity -= i64::from(quantity);
    }

    /// Takes an order out of its level, with what is open of it.
    #[inline(always)]
    pub(crate) fn remove(&mut self, nodes: &mut [Node], slot: u32) {
        let Node {
            open,
            level: id,
            prev,
            next,
            ..
        } = nodes[slot as usize];
        let half = &mut self.halves[index(id.side())];
        let level = &mut half.levels[id.at()];
        level.quantity -= i64::from(open);
        level.order_count -= 1;
        if level.order_count == 0 {
            debug_assert_eq!(level.quantity, 0, "an empty level holds nothing");
            let rank_e4 = rank(id.side(), level.price_e4);
            half.close_level(self.ticks, rank_e4, id.at() as u32);
            return;
        }
        // That NIL is no slot is part of the check of bounds.
        match nodes.get_mut(prev as usize) {
            Some(older) => older.next = next,
            None => level.head = next,
        }
        match nodes.get_mut(next as usize) {
            Some(younger) => younger.prev = prev,
            None => level.tail = prev,
        }
    }

    /// Trades up to so many lots with the best level's orders, oldest first, and gives back the slots of
    /// those that trade whole; tells how many lots are left.
    #[inline(always)]
    pub(crate) fn take_best<D: Clone>(
        &mut self,
        orders: &mut Orders<D>,
        side: Side,
        mut quantity: u32,
        mut traded: impl FnMut(Fill),
    ) -> u32 {
        let half = &mut self.halves[index(side)];
        let best = half.best;
        let level = &mut half.levels[best as usize];
        let price_e4 = level.price_e4;
        let mut slot = level.head;
        loop {
            let node = &mut orders.nodes()[slot as usize];
            let resting = node.id;
            if quantity < node.open {
                node.open -= quantity;
                node.prev = NIL;
                let open = node.open;
                level.quantity -= i64::from(quantity);
                level.head = slot;
                traded(Fill {
                    resting,
                    quantity,
                    price_e4,
                    open,
                });
                return 0;
            }
            let (open, next) = (node.open, node.next);
            quantity -= open;
            level.quantity -= i64::from(open);
            level.order_count -= 1;
            orders.release_slot(slot);
            traded(Fill {
                resting,
                quantity: open,
                price_e4,
                open: 0,
            });
            if next == NIL {
                half.close_best(self.ticks);
                return quantity;
            }
            slot = next;
            if quantity == 0 {
                orders.nodes()[slot as usize].prev = NIL;
                level.head = slot;
                return 0;
            }
        }
    }

    /// Gives back what only a much larger book needed, if there is nothing left of it.
    pub(crate) fn shrink_if_empty(&mut self, levels_kept: usize) {
        for half in &mut self.halves {
            if half.ladder.len() == 0 && half.levels.len() > levels_kept {
                *half = HalfBook::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ticks_are_counted_as_a_division_would(
            size in prop_oneof![1..200_i64, 1..=PRICE_E4_MAX],
            price in prop_oneof![-1_000..1_000_i64, -PRICE_E4_MAX - 9..=PRICE_E4_MAX + 9, any::<i64>()],
            times in -1_000..1_000_i64,
        ) {
            let ticks = Ticks::new(size);
            let is_price = |price: i64| price % size == 0 && (-PRICE_E4_MAX..=PRICE_E4_MAX).contains(&price);
            for price in [price, size * times, size * times + 1] {
                prop_assert_eq!(ticks.checked_count(price), is_price(price).then(|| price / size));
                if is_price(price) {
                    prop_assert_eq!(ticks.count(price), price / size);
                }
            }
        }
    }
}
