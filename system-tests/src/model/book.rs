//! A simple reference model of one order book: what an exchange of the contract must come to. It is
//! slow on purpose (it searches a list), so that a reader can see that it is right.

use std::collections::BTreeMap;

use optivex_proto::v1::{PriceLevel, Side};

/// An order that rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resting {
    /// The exchange's id.
    pub order_id: u64,
    /// Whose it is: the case's own number for a user.
    pub owner: usize,
    /// Buy or sell.
    pub side: Side,
    /// Limit price.
    pub price_e4: i64,
    /// Total lots.
    pub quantity: i64,
    /// Lots traded.
    pub filled: i64,
    /// Place in time: lower is earlier.
    place: u64,
}

impl Resting {
    /// Lots that remain.
    pub fn open(&self) -> i64 {
        self.quantity - self.filled
    }
}

/// One trade, seen from the incoming order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traded {
    /// The resting order.
    pub resting: u64,
    /// Whose it was.
    pub owner: usize,
    /// The resting order's price.
    pub price_e4: i64,
    /// Lots.
    pub quantity: i64,
}

/// What a user holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Lots, long above zero.
    pub quantity: i64,
    /// Received less paid, for a multiplier of 1.
    pub cash_e4: i64,
}

/// One book with price-time priority, in continuous trading.
#[derive(Clone, Debug, Default)]
pub struct Book {
    resting: Vec<Resting>,
    holdings: BTreeMap<usize, Holding>,
    last_price_e4: Option<i64>,
    places: u64,
}

/// The side that an order of this side trades with.
pub fn opposite(side: Side) -> Side {
    match side {
        Side::Buy => Side::Sell,
        Side::Sell => Side::Buy,
        Side::Unspecified => Side::Unspecified,
    }
}

/// Whether an order of this side at `price_e4` may trade at `at_e4`.
pub fn reaches(side: Side, price_e4: i64, at_e4: i64) -> bool {
    match side {
        Side::Buy => at_e4 <= price_e4,
        Side::Sell => at_e4 >= price_e4,
        Side::Unspecified => false,
    }
}

impl Book {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// Orders of one side in price-time priority.
    pub fn queue(&self, side: Side) -> Vec<&Resting> {
        let mut queue: Vec<&Resting> = self.resting.iter().filter(|order| order.side == side).collect();
        queue.sort_by_key(|order| match side {
            Side::Buy => (-order.price_e4, order.place),
            _ => (order.price_e4, order.place),
        });
        queue
    }

    /// All that rests, in no order that means anything.
    pub fn resting(&self) -> &[Resting] {
        &self.resting
    }

    /// One resting order.
    pub fn order(&self, order_id: u64) -> Option<&Resting> {
        self.resting.iter().find(|order| order.order_id == order_id)
    }

    /// Whether an incoming order would meet an order of its own user before it is filled.
    pub fn meets_own(&self, owner: usize, side: Side, price_e4: i64, quantity: i64) -> bool {
        let mut left = quantity;
        for order in self.queue(opposite(side)) {
            if left <= 0 || !reaches(side, price_e4, order.price_e4) {
                return false;
            }
            if order.owner == owner {
                return true;
            }
            left -= order.open();
        }
        false
    }

    /// Inserts a limit order that may rest: trades in price-time priority, each trade at the resting
    /// order's price; what remains rests.
    pub fn insert(&mut self, order_id: u64, owner: usize, side: Side, price_e4: i64, quantity: i64) -> Vec<Traded> {
        let mut trades = Vec::new();
        let mut filled = 0;
        while filled < quantity {
            let Some(best) = self.queue(opposite(side)).first().map(|order| order.order_id) else {
                break;
            };
            let Some(resting) = self.resting.iter_mut().find(|order| order.order_id == best) else {
                break;
            };
            if !reaches(side, price_e4, resting.price_e4) {
                break;
            }
            let lots = resting.open().min(quantity - filled);
            resting.filled += lots;
            filled += lots;
            trades.push(Traded {
                resting: best,
                owner: resting.owner,
                price_e4: resting.price_e4,
                quantity: lots,
            });
            self.resting.retain(|order| order.open() > 0);
        }
        for trade in &trades {
            self.settle(owner, side, trade);
            self.settle(trade.owner, opposite(side), trade);
            self.last_price_e4 = Some(trade.price_e4);
        }
        if filled < quantity {
            self.places += 1;
            self.resting.push(Resting {
                order_id,
                owner,
                side,
                price_e4,
                quantity,
                filled,
                place: self.places,
            });
        }
        trades
    }

    fn settle(&mut self, owner: usize, side: Side, trade: &Traded) {
        let holding = self.holdings.entry(owner).or_default();
        let sign = if side == Side::Buy { 1 } else { -1 };
        holding.quantity += sign * trade.quantity;
        holding.cash_e4 -= sign * trade.quantity * trade.price_e4;
    }

    /// Cancels an order: what remained of it, or nothing if it does not rest.
    pub fn cancel(&mut self, order_id: u64) -> Option<i64> {
        let place = self.resting.iter().position(|order| order.order_id == order_id)?;
        Some(self.resting.remove(place).open())
    }

    /// Price levels of one side, best first.
    pub fn levels(&self, side: Side) -> Vec<PriceLevel> {
        let mut levels: Vec<PriceLevel> = Vec::new();
        for order in self.queue(side) {
            match levels.last_mut() {
                Some(level) if level.price_e4 == order.price_e4 => {
                    level.quantity += order.open();
                    level.order_count += 1;
                }
                _ => levels.push(PriceLevel {
                    price_e4: order.price_e4,
                    quantity: order.open(),
                    order_count: 1,
                }),
            }
        }
        levels
    }

    /// Best level of one side.
    pub fn best(&self, side: Side) -> Option<PriceLevel> {
        self.levels(side).first().copied()
    }

    /// What a user holds.
    pub fn holding(&self, owner: usize) -> Holding {
        self.holdings.get(&owner).copied().unwrap_or_default()
    }

    /// Lots in a user's open orders of one side.
    pub fn open_quantity(&self, owner: usize, side: Side) -> i64 {
        let of_owner = |order: &&Resting| order.owner == owner && order.side == side;
        self.resting.iter().filter(of_owner).map(Resting::open).sum()
    }

    /// Price of the last trade.
    pub fn last_price_e4(&self) -> Option<i64> {
        self.last_price_e4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_in_price_time_priority_at_the_resting_price() {
        let mut book = Book::new();
        assert_eq!(book.insert(1, 0, Side::Sell, 101, 5), []);
        assert_eq!(book.insert(2, 0, Side::Sell, 100, 5), []);
        assert_eq!(book.insert(3, 1, Side::Sell, 100, 5), []);
        assert!(!book.meets_own(1, Side::Buy, 100, 5));
        assert!(book.meets_own(1, Side::Buy, 100, 6));
        let trades = book.insert(4, 2, Side::Buy, 101, 12);
        let told: Vec<(u64, i64, i64)> = trades
            .iter()
            .map(|trade| (trade.resting, trade.price_e4, trade.quantity))
            .collect();
        assert_eq!(told, [(2, 100, 5), (3, 100, 5), (1, 101, 2)]);
        assert_eq!(book.levels(Side::Sell).len(), 1);
        assert_eq!(book.best(Side::Sell).map(|level| level.quantity), Some(3));
        assert_eq!(book.best(Side::Buy), None);
        assert_eq!(
            book.holding(2),
            Holding {
                quantity: 12,
                cash_e4: -1202
            }
        );
        assert_eq!(
            book.holding(1),
            Holding {
                quantity: -5,
                cash_e4: 500
            }
        );
        assert_eq!(book.cancel(1), Some(3));
        assert_eq!(book.cancel(1), None);
    }

    #[test]
    fn a_remainder_rests_behind_what_rests_at_its_price() {
        let mut book = Book::new();
        book.insert(1, 0, Side::Buy, 100, 5);
        book.insert(2, 1, Side::Buy, 100, 5);
        book.insert(3, 2, Side::Sell, 99, 3);
        let queue: Vec<(u64, i64)> = book
            .queue(Side::Buy)
            .iter()
            .map(|order| (order.order_id, order.open()))
            .collect();
        assert_eq!(queue, [(1, 2), (2, 5)]);
        assert_eq!(book.open_quantity(0, Side::Buy), 2);
    }
}
