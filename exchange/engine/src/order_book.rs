//! One order book and nothing else: price-time priority over the exchange's own structures, without
//! users, limits, phases and events. For simulations, back-tests and measurements; the exchange itself
//! is [`Engine`](crate::Engine).

use crate::book::{Levels, rank};
use crate::limits::ORDER_SLOTS_MAX;
use crate::order::{NIL, Orders};
use crate::types::{Level, OrderId, QUANTITY_MAX, Side, UserId};

/// What can be asked of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookCommand {
    /// A limit order.
    Insert {
        /// Side.
        side: Side,
        /// What happens to a remainder.
        remainder: Remainder,
        /// Lots, 1 to [`QUANTITY_MAX`].
        quantity: u32,
        /// A multiple of the tick, at most [`PRICE_E4_MAX`](crate::types::PRICE_E4_MAX) either way.
        price_e4: i64,
    },
    /// Ends a resting order.
    Cancel {
        /// Which.
        order: OrderId,
    },
    /// Changes a resting order. It keeps its place if the price stays and the quantity does not grow.
    Amend {
        /// Which.
        order: OrderId,
        /// New price, as for an insert.
        price_e4: i64,
        /// New open lots, as for an insert.
        quantity: u32,
    },
}

/// What happens to what an incoming order does not trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remainder {
    /// It rests.
    Rests,
    /// It is cancelled.
    Cancelled,
}

/// What a book reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BookReportKind {
    /// An order is taken: its id, price and lots.
    Accepted,
    /// An order is changed: its new price and lots.
    Amended,
    /// A trade of the incoming order with a resting one, at the resting one's price.
    Traded,
    /// An order, or the remainder of one, is cancelled: its lots.
    Cancelled,
    /// Refused: price or quantity out of range, or an order that does not rest. Nothing changed.
    Refused,
}

/// One outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookReport {
    /// What.
    pub kind: BookReportKind,
    /// Side of `order`.
    pub side: Side,
    /// Lots.
    pub quantity: u32,
    /// Price, in 1e-4.
    pub price_e4: i64,
    /// Whom it is about; of a trade the incoming order.
    pub order: OrderId,
    /// Of a trade: the resting order; else 0.
    pub resting: OrderId,
    /// What is open of the resting order (of a trade), or of `order`, afterwards.
    pub open: u32,
}

/// A single order book.
#[derive(Debug)]
pub struct OrderBook {
    levels: Levels,
    orders: Orders<()>,
}

impl OrderBook {
    /// Without orders; the tick is at least 1.
    pub fn new(tick_size_e4: i64) -> Self {
        assert!(tick_size_e4 > 0, "a tick is above 0");
        Self {
            levels: Levels::new(tick_size_e4),
            orders: Orders::new(ORDER_SLOTS_MAX),
        }
    }

    /// Best price of a side with its totals.
    pub fn best(&self, side: Side) -> Option<Level> {
        Some(self.levels.best(side)?.total())
    }

    /// Totals at a price.
    pub fn level(&self, side: Side, price_e4: i64) -> Option<Level> {
        self.levels.ticks(price_e4)?;
        Some(self.levels.level(side, price_e4)?.total())
    }

    /// Levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> {
        self.levels.iter(side).map(|level| level.total())
    }

    /// How many orders rest.
    pub fn order_count(&self) -> usize {
        self.orders.len()
    }

    /// Carries out commands in turn and appends their reports.
    pub fn apply(&mut self, commands: &[BookCommand], reports: &mut Vec<BookReport>) {
        for command in commands {
            match *command {
                BookCommand::Insert {
                    side,
                    remainder,
                    quantity,
                    price_e4,
                } => self.insert(side, remainder, quantity, price_e4, reports),
                BookCommand::Cancel { order } => self.cancel(order, reports),
                BookCommand::Amend {
                    order,
                    price_e4,
                    quantity,
                } => self.amend(order, price_e4, quantity, reports),
            }
        }
    }

    #[inline(always)]
    fn insert(
        &mut self,
        side: Side,
        remainder: Remainder,
        quantity: u32,
        price_e4: i64,
        reports: &mut Vec<BookReport>,
    ) {
        let Some(ticks) = self.levels.ticks(price_e4) else {
            return refuse(OrderId(0), reports);
        };
        if !is_quantity(quantity) || self.orders.ids_exhausted() {
            return refuse(OrderId(0), reports);
        }
        let order = self.orders.next_id();
        reports.push(BookReport {
            kind: BookReportKind::Accepted,
            side,
            quantity,
            price_e4,
            order,
            resting: OrderId(0),
            open: quantity,
        });
        let open = self.take(side, order, quantity, price_e4, reports);
        if open > 0 && remainder == Remainder::Rests {
            let slot = self.orders.put(order, UserId(0), NIL, ());
            self.levels
                .append_at(self.orders.nodes(), slot, side, (price_e4, ticks), open);
            return;
        }
        self.orders.release(order);
        if open > 0 {
            reports.push(BookReport {
                kind: BookReportKind::Cancelled,
                side,
                quantity: open,
                price_e4,
                order,
                resting: OrderId(0),
                open: 0,
            });
        }
    }

    #[inline(always)]
    fn cancel(&mut self, order: OrderId, reports: &mut Vec<BookReport>) {
        let Some(slot) = self.orders.find(order) else {
            return refuse(order, reports);
        };
        let node = *self.orders.node(slot);
        let price_e4 = self.levels.of_mut(node.level).price_e4;
        self.levels.remove(self.orders.nodes(), slot);
        self.orders.release_slot(slot);
        reports.push(BookReport {
            kind: BookReportKind::Cancelled,
            side: node.level.side(),
            quantity: node.open,
            price_e4,
            order,
            resting: OrderId(0),
            open: 0,
        });
    }

    fn amend(&mut self, order: OrderId, price_e4: i64, quantity: u32, reports: &mut Vec<BookReport>) {
        let Some(slot) = self.orders.find(order) else {
            return refuse(order, reports);
        };
        let Some(ticks) = self.levels.ticks(price_e4).filter(|_| is_quantity(quantity)) else {
            return refuse(order, reports);
        };
        let node = *self.orders.node(slot);
        let side = node.level.side();
        reports.push(BookReport {
            kind: BookReportKind::Amended,
            side,
            quantity,
            price_e4,
            order,
            resting: OrderId(0),
            open: quantity,
        });
        if price_e4 == self.levels.of_mut(node.level).price_e4 && quantity <= node.open {
            self.levels.reduce(self.orders.nodes(), slot, node.open - quantity);
            return;
        }
        self.levels.remove(self.orders.nodes(), slot);
        match self.take(side, order, quantity, price_e4, reports) {
            0 => self.orders.release(order),
            open => {
                self.levels
                    .append_at(self.orders.nodes(), slot, side, (price_e4, ticks), open);
            }
        }
    }

    /// Matches an incoming order; tells what is left of it.
    #[inline(always)]
    fn take(
        &mut self,
        side: Side,
        order: OrderId,
        mut quantity: u32,
        price_e4: i64,
        reports: &mut Vec<BookReport>,
    ) -> u32 {
        let opposite = side.opposite();
        let limit = rank(opposite, price_e4);
        while quantity > 0 && self.levels.best_rank(opposite) <= limit {
            quantity = self.levels.take_best(&mut self.orders, opposite, quantity, |fill| {
                reports.push(BookReport {
                    kind: BookReportKind::Traded,
                    side,
                    quantity: fill.quantity,
                    price_e4: fill.price_e4,
                    order,
                    resting: fill.resting,
                    open: fill.open,
                });
            });
        }
        quantity
    }
}

fn is_quantity(quantity: u32) -> bool {
    (1..=QUANTITY_MAX).contains(&i64::from(quantity))
}

#[cold]
fn refuse(order: OrderId, reports: &mut Vec<BookReport>) {
    reports.push(BookReport {
        kind: BookReportKind::Refused,
        side: Side::Buy,
        quantity: 0,
        price_e4: 0,
        order,
        resting: OrderId(0),
        open: 0,
    });
}
