//! One book, and all that a change of its orders touches.

use crate::engine::Engine;
use crate::event::{BookChange, Event, Report, ReportKind, Trade};
use crate::instrument::Listing;
use crate::order::Orders;
use crate::position::Account;
use crate::types::{InstrumentId, Level, Order, OrderId, Side, TradeId, TradingPhase, UserId};
use crate::user::User;

/// Parts of the engine, each borrowed by itself, so that what is found once in a command stays at hand.
pub(crate) struct Market<'a> {
    /// The book.
    pub(crate) listing: &'a mut Listing,
    /// All users.
    pub(crate) users: &'a mut [User],
    /// All accounts.
    pub(crate) accounts: &'a mut [Account],
    /// Open orders, those of other books among them.
    pub(crate) orders: &'a mut Orders,
    /// The last trade of all books.
    pub(crate) last_trade_id: &'a mut u64,
    /// The event.
    pub(crate) event_seq: u64,
    /// Client ids of done orders that are kept for each user.
    pub(crate) client_ids_kept: u32,
}

/// What both sides of a trade are told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Execution {
    /// The trade.
    pub(crate) trade_id: TradeId,
    /// Its price.
    pub(crate) price_e4: i64,
    /// Its lots.
    pub(crate) quantity: i64,
}

impl Execution {
    /// The report of one side.
    #[inline(always)]
    pub(crate) fn report(&self, aggressor: bool) -> ReportKind {
        ReportKind::Fill {
            trade_id: self.trade_id,
            price_e4: self.price_e4,
            quantity: self.quantity,
            aggressor,
        }
    }
}

impl Engine {
    /// The book of an instrument that exists.
    #[inline(always)]
    pub(crate) fn market(&mut self, instrument: InstrumentId) -> Market<'_> {
        Market {
            listing: &mut self.listings[instrument.0 as usize],
            users: &mut self.users,
            accounts: &mut self.accounts,
            orders: &mut self.orders,
            last_trade_id: &mut self.last_trade_id,
            event_seq: self.event_seq,
            client_ids_kept: self.limits.client_order_ids_per_user_max,
        }
    }
}

impl Market<'_> {
    /// An order's owner.
    #[inline(always)]
    pub(crate) fn user(&mut self, user: UserId) -> &mut User {
        &mut self.users[user.0 as usize]
    }

    /// The next trade of an event.
    #[inline(always)]
    pub(crate) fn trade(
        &mut self,
        (price_e4, quantity): (i64, i64),
        bid: (OrderId, UserId),
        ask: (OrderId, UserId),
        aggressor_side: Option<Side>,
        event: &mut Event,
    ) -> Execution {
        *self.last_trade_id += 1;
        let trade_id = TradeId(*self.last_trade_id);
        self.listing.last_trade_price_e4 = Some(price_e4);
        event.trades.push(Trade {
            trade_id,
            instrument: self.listing.instrument.id,
            price_e4,
            quantity,
            aggressor_side,
            buy_order: bid.0,
            buyer: bid.1,
            sell_order: ask.0,
            seller: ask.1,
        });
        Execution {
            trade_id,
            price_e4,
            quantity,
        }
    }

    /// Lots that one side of a trade gets, and what it pays for them, in 1e-4: below zero for a seller.
    #[inline(always)]
    pub(crate) fn exchanged(&self, side: Side, trade: &Execution) -> (i64, i128) {
        let multiplier = self.listing.instrument.multiplier;
        let lots = match side {
            Side::Buy => trade.quantity,
            Side::Sell => -trade.quantity,
        };
        // At a price between those of two orders, for no more than the lots of either: 64 bits hold it.
        #[cfg(not(feature = "faults"))]
        let paid_e4 = i128::from(trade.price_e4 * lots * multiplier);
        #[cfg(feature = "faults")]
        let paid_e4 = i128::from(trade.price_e4) * i128::from(lots) * i128::from(multiplier);
        (lots, paid_e4)
    }

    /// What so many lots of a resting order add to the amount of open orders.
    #[inline(always)]
    pub(crate) fn open_amount_e4(&self, order: &Order, quantity: i64) -> i128 {
        // Of no more lots than the order's, whose amount was checked: 64 bits hold it.
        #[cfg(not(feature = "faults"))]
        let amount_e4 = i128::from(order.price_e4.abs() * self.listing.instrument.multiplier * quantity);
        #[cfg(feature = "faults")]
        let amount_e4 = crate::faults::outstanding(order, self.listing.amount_e4(order.price_e4, quantity));
        amount_e4
    }

    /// Tells the only level that a command changed.
    #[inline(always)]
    pub(crate) fn publish_level(&mut self, side: Side, level: Level, event: &mut Event) {
        event.levels.push(level);
        self.publish_levels(u32::from(side == Side::Buy), 1, event);
    }

    /// Tells the levels that a command over one order changed: `traded` of the other side, then those of
    /// the order's own side, each best first.
    #[inline(always)]
    pub(crate) fn publish(&mut self, side: Side, traded: usize, event: &mut Event) {
        let changed = event.levels.len();
        if changed == 0 {
            return;
        }
        let bids = match side {
            Side::Buy => {
                if traded > 0 && traded < changed {
                    event.levels.rotate_left(traded);
                }
                changed - traded
            }
            Side::Sell => traded,
        };
        self.publish_levels(bids as u32, changed as u32, event);
    }

    /// Tells all levels of an event, of which so many are bids.
    #[inline(always)]
    fn publish_levels(&mut self, bids: u32, changed: u32, event: &mut Event) {
        self.listing.book_seq += 1;
        event.books.push(BookChange {
            instrument: self.listing.instrument.id,
            book_seq: self.listing.book_seq,
            phase: None,
            bids: 0..bids,
            asks: bids..changed,
            indicative: match self.listing.phase() {
                TradingPhase::Auction => self.listing.indicative(),
                TradingPhase::Continuous | TradingPhase::Halted | TradingPhase::Closed => None,
            },
        });
    }
}

/// Tells a level's new totals, after those of better levels.
#[inline(always)]
pub(crate) fn tell(level: Level, event: &mut Event) {
    match event.levels.last_mut() {
        Some(last) if last.price_e4 == level.price_e4 => *last = level,
        _ => event.levels.push(level),
    }
}

/// Reports to an order's owner what happened to it; returns the report's number.
#[inline(always)]
pub(crate) fn report(owner: &mut User, kind: ReportKind, order: Order, event: &mut Event) -> u64 {
    owner.report_seq += 1;
    let report_seq = owner.report_seq;
    event.reports.push(Report {
        report_seq,
        kind,
        order,
    });
    report_seq
}
