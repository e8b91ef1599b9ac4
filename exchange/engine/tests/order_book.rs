//! The order book alone against the simplest model: every report, and every level after every command.

use optivex_engine::OrderBook;
use optivex_engine::order_book::{BookCommand, BookReport, BookReportKind, Remainder};
use optivex_engine::types::{Level, OrderId, PRICE_E4_MAX, Side};
use proptest::prelude::*;

const TICK: i64 = 12;

#[derive(Clone, Copy)]
struct Resting {
    id: OrderId,
    side: Side,
    price_e4: i64,
    open: u32,
}

/// Resting orders by age.
#[derive(Default)]
struct Model {
    orders: Vec<Resting>,
}

impl Model {
    /// Expected reports. Ids are the book's: `id` is that of an insert.
    fn apply(&mut self, command: &BookCommand, id: OrderId) -> Vec<BookReport> {
        match *command {
            BookCommand::Insert {
                side,
                remainder,
                quantity,
                price_e4,
            } => {
                if quantity == 0 || price_e4 % TICK != 0 || price_e4.abs() > PRICE_E4_MAX {
                    return vec![refused(OrderId(0))];
                }
                let mut order = Resting {
                    id,
                    side,
                    price_e4,
                    open: quantity,
                };
                let mut reports = vec![report(BookReportKind::Accepted, &order, quantity)];
                self.take(&mut order, &mut reports);
                if order.open > 0 && remainder == Remainder::Cancelled {
                    let left = std::mem::take(&mut order.open);
                    reports.push(report(BookReportKind::Cancelled, &order, left));
                }
                self.rest(order);
                reports
            }
            BookCommand::Cancel { order } => {
                let Some(at) = self.orders.iter().position(|resting| resting.id == order) else {
                    return vec![refused(order)];
                };
                let mut order = self.orders.remove(at);
                let left = std::mem::take(&mut order.open);
                vec![report(BookReportKind::Cancelled, &order, left)]
            }
            BookCommand::Amend {
                order,
                price_e4,
                quantity,
            } => {
                let at = self.orders.iter().position(|resting| resting.id == order);
                let in_range = quantity > 0 && price_e4 % TICK == 0 && price_e4.abs() <= PRICE_E4_MAX;
                let Some(at) = at.filter(|_| in_range) else {
                    return vec![refused(order)];
                };
                let before = self.orders[at];
                let mut order = Resting {
                    price_e4,
                    open: quantity,
                    ..before
                };
                let mut reports = vec![report(BookReportKind::Amended, &order, quantity)];
                if price_e4 == before.price_e4 && quantity <= before.open {
                    self.orders[at] = order;
                } else {
                    self.orders.remove(at);
                    self.take(&mut order, &mut reports);
                    self.rest(order);
                }
                reports
            }
        }
    }

    fn take(&mut self, order: &mut Resting, reports: &mut Vec<BookReport>) {
        while order.open > 0 {
            let reaches = |resting: &&mut Resting| match order.side {
                Side::Buy => resting.side == Side::Sell && resting.price_e4 <= order.price_e4,
                Side::Sell => resting.side == Side::Buy && resting.price_e4 >= order.price_e4,
            };
            // The first of the best: `min_by_key` takes the first of equals.
            let best = self
                .orders
                .iter_mut()
                .filter(reaches)
                .min_by_key(|resting| match order.side {
                    Side::Buy => resting.price_e4,
                    Side::Sell => -resting.price_e4,
                });
            let Some(resting) = best else { return };
            let quantity = order.open.min(resting.open);
            order.open -= quantity;
            resting.open -= quantity;
            reports.push(BookReport {
                kind: BookReportKind::Traded,
                side: order.side,
                quantity,
                price_e4: resting.price_e4,
                order: order.id,
                resting: resting.id,
                open: resting.open,
            });
            self.orders.retain(|resting| resting.open > 0);
        }
    }

    fn rest(&mut self, order: Resting) {
        if order.open > 0 {
            self.orders.push(order);
        }
    }

    fn levels(&self, side: Side) -> Vec<Level> {
        let mut levels: Vec<Level> = Vec::new();
        for order in self.orders.iter().filter(|order| order.side == side) {
            match levels.iter_mut().find(|level| level.price_e4 == order.price_e4) {
                Some(level) => {
                    level.quantity += i64::from(order.open);
                    level.order_count += 1;
                }
                None => levels.push(Level {
                    price_e4: order.price_e4,
                    quantity: order.open.into(),
                    order_count: 1,
                }),
            }
        }
        levels.sort_by_key(|level| {
            if side == Side::Buy {
                -level.price_e4
            } else {
                level.price_e4
            }
        });
        levels
    }
}

fn report(kind: BookReportKind, order: &Resting, quantity: u32) -> BookReport {
    BookReport {
        kind,
        side: order.side,
        quantity,
        price_e4: order.price_e4,
        order: order.id,
        resting: OrderId(0),
        open: order.open,
    }
}

fn refused(order: OrderId) -> BookReport {
    BookReport {
        kind: BookReportKind::Refused,
        side: Side::Buy,
        quantity: 0,
        price_e4: 0,
        order,
        resting: OrderId(0),
        open: 0,
    }
}

/// Prices near each other, at the ends of the range, and wrong ones.
fn prices() -> impl Strategy<Value = i64> {
    let end = PRICE_E4_MAX / TICK;
    prop_oneof![
        20 => (-6..6_i64).prop_map(|ticks| ticks * TICK),
        3 => (-2..2_i64).prop_map(|chunks| chunks * 1024 * TICK),
        2 => (-2..2_i64).prop_map(|regions| regions * 1024 * 1024 * TICK),
        1 => Just(end * TICK),
        1 => Just(-end * TICK),
        1 => Just((end + 1) * TICK),
        1 => any::<i64>().prop_map(|price| price.max(-i64::MAX)),
    ]
}

/// Kind, side, price, quantity, which of the orders so far.
fn steps() -> impl Strategy<Value = Vec<(u8, bool, i64, u32, prop::sample::Index)>> {
    prop::collection::vec(
        (
            0..10_u8,
            any::<bool>(),
            prices(),
            0..30_u32,
            any::<prop::sample::Index>(),
        ),
        1..200,
    )
}

proptest! {
    #[test]
    fn a_book_is_its_model(steps in steps()) {
        let mut book = OrderBook::new(TICK);
        let mut model = Model::default();
        // Zero: an id that was never given out.
        let mut ids = vec![OrderId(0)];
        for (kind, buy, price_e4, quantity, which) in steps {
            let order = *which.get(&ids);
            let command = match kind {
                0..=5 => BookCommand::Insert {
                    side: if buy { Side::Buy } else { Side::Sell },
                    remainder: if kind < 5 { Remainder::Rests } else { Remainder::Cancelled },
                    quantity,
                    price_e4,
                },
                6..=7 => BookCommand::Cancel { order },
                _ => BookCommand::Amend { order, price_e4, quantity },
            };
            let mut reports = Vec::new();
            book.apply(&[command], &mut reports);
            let id = reports[0].order;
            if reports[0].kind == BookReportKind::Accepted {
                prop_assert!(ids.last().is_some_and(|last| *last < id), "ids rise");
                ids.push(id);
            }
            prop_assert_eq!(reports, model.apply(&command, id));
            prop_assert_eq!(book.order_count(), model.orders.len());
            for side in [Side::Buy, Side::Sell] {
                let levels = model.levels(side);
                prop_assert_eq!(book.best(side), levels.first().copied());
                prop_assert_eq!(book.level(side, price_e4), levels.iter().find(|level| level.price_e4 == price_e4).copied());
                prop_assert_eq!(book.levels(side).collect::<Vec<_>>(), levels);
            }
        }
    }
}
