//! What can happen to a resting order, with all that follows from it: book, sums, lists, reports.

use crate::book::index;
use crate::client_ids::IdPlace;
use crate::engine::Engine;
use crate::event::{Event, ReportKind, Trade};
use crate::order::{Details, NIL};
use crate::types::{CancelReason, InstrumentId, Order, OrderId, OrderStatus, Side, TradeId, UserId};

impl Engine {
    /// A new order comes to rest: its id is the owner's highest.
    pub(crate) fn rest(&mut self, order: Order, account: u32, client_id: IdPlace) {
        #[cfg(feature = "faults")]
        Self::comes_to_rest(&order);
        let slot = self.link(order, account, client_id);
        self.enter_book(slot);
    }

    /// An order with its owner's highest id takes its slot and its place in the owner's list.
    pub(crate) fn link(&mut self, order: Order, account: u32, client_id: IdPlace) -> u32 {
        let user = &mut self.users[order.user.0 as usize];
        let before = std::mem::replace(&mut user.last_order, NIL);
        let details = Details {
            order,
            client_id,
            user_prev: before,
            user_next: NIL,
        };
        let slot = self.orders.put(order.order_id, order.user, account, details);
        user.last_order = slot;
        user.open_orders += 1;
        match before {
            NIL => user.first_order = slot,
            _ => self.orders.details_mut(before).user_next = slot,
        }
        slot
    }

    /// An order joins its level, behind all others.
    pub(crate) fn enter_book(&mut self, slot: u32) {
        let order = self.orders.order(slot);
        let (side, price_e4, open) = (order.side, order.price_e4, order.open_quantity());
        self.listings[order.instrument.0 as usize]
            .book
            .append(self.orders.nodes(), slot, side, price_e4, open as u32);
        self.add_open(slot, open);
    }

    /// An order leaves its level, with what is open of it.
    pub(crate) fn leave_book(&mut self, slot: u32) {
        let instrument = self.orders.order(slot).instrument;
        let open = i64::from(self.orders.node(slot).open);
        self.add_open(slot, fault!(OutstandingNotReleased, 0, -open));
        self.listings[instrument.0 as usize]
            .book
            .remove(self.orders.nodes(), slot);
    }

    /// A resting order's total becomes less, and it keeps its place.
    pub(crate) fn shrink(&mut self, slot: u32, quantity: i64) {
        let order = self.orders.order(slot);
        let less = order.quantity - quantity;
        let instrument = order.instrument;
        if less != 0 {
            self.add_open(slot, -less);
            self.listings[instrument.0 as usize]
                .book
                .reduce(self.orders.nodes(), slot, less as u32);
        }
        let event_seq = self.event_seq;
        let order = self.orders.order_mut(slot);
        order.quantity = quantity;
        order.event_seq = event_seq;
    }

    /// A resting order trades.
    #[inline]
    pub(crate) fn fill_resting(&mut self, slot: u32, trade: &Execution, aggressor: bool, event: &mut Event) {
        self.add_open(slot, fault!(FillNotReleased, 0, -trade.quantity));
        let instrument = trade.instrument.0 as usize;
        let event_seq = self.event_seq;
        let account = self.orders.node(slot).account;
        let order = self.orders.order_mut(slot);
        fill(order, trade.quantity, event_seq);
        let (side, whole) = (order.side, order.status == OrderStatus::Filled);
        let book = &mut self.listings[instrument].book;
        if whole {
            book.remove(self.orders.nodes(), slot);
        } else {
            book.reduce(self.orders.nodes(), slot, trade.quantity as u32);
        }
        self.settle(side, account, trade);
        #[cfg(feature = "faults")]
        let order = self.after_settle(*self.orders.order(slot), account, trade);
        self.report_resting(fill_report(trade, aggressor), slot, event);
        if whole {
            self.forget(slot);
        }
        #[cfg(feature = "faults")]
        self.after_fill(slot, &order);
    }

    /// A resting order ends untraded.
    pub(crate) fn cancel_resting(&mut self, slot: u32, reason: CancelReason, event: &mut Event) {
        #[cfg(feature = "faults")]
        self.before_cancel(slot, reason);
        self.leave_book(slot);
        let event_seq = self.event_seq;
        let order = self.orders.order_mut(slot);
        order.status = OrderStatus::Cancelled(reason);
        order.event_seq = event_seq;
        self.report_resting(ReportKind::Cancelled, slot, event);
        self.forget(slot);
    }

    /// Cancels the open orders of a user's list that fit, by id from the one in slot `first` on ([`NIL`]
    /// for none), and publishes what that changes.
    pub(crate) fn cancel_where(
        &mut self,
        first: u32,
        reason: CancelReason,
        fits: impl Fn(&Order) -> bool,
        event: &mut Event,
    ) -> u64 {
        let mut cancelled = 0;
        let mut at = first;
        while at != NIL {
            let Details {
                order, user_next: next, ..
            } = self.orders.details(at);
            let next = *next;
            if fits(order) {
                let instrument = order.instrument;
                self.cancel_resting(at, reason, event);
                if self.touched.last() != Some(&instrument) {
                    self.touched.push(instrument);
                }
                cancelled += 1;
            }
            at = next;
        }
        self.publish_touched(event);
        cancelled
    }

    /// Money and lots of one side of a trade.
    #[inline]
    pub(crate) fn settle(&mut self, side: Side, account: u32, trade: &Execution) {
        let multiplier = self.listings[trade.instrument.0 as usize].instrument.multiplier;
        // Of a price between those of two orders, for no more than the lots of either: 64 bits hold it.
        #[cfg(not(feature = "faults"))]
        let amount_e4 = i128::from(trade.price_e4 * trade.quantity * multiplier);
        #[cfg(feature = "faults")]
        let amount_e4 = i128::from(trade.price_e4) * i128::from(trade.quantity) * i128::from(multiplier);
        self.accounts[account as usize].trade(side, trade.quantity, amount_e4);
    }

    /// A done order with an id of the user's is one of the last done.
    pub(crate) fn done(&mut self, user: UserId, client_id: IdPlace) {
        let kept_max = self.limits.client_order_ids_per_user_max;
        self.users[user.0 as usize].client_ids.done(client_id, kept_max);
    }

    /// A done order that has left its level leaves its owner's list and its slot.
    pub(crate) fn forget(&mut self, slot: u32) {
        let Details {
            ref order,
            client_id,
            user_prev: before,
            user_next: after,
        } = *self.orders.details(slot);
        let user = &mut self.users[order.user.0 as usize];
        user.client_ids
            .done(client_id, self.limits.client_order_ids_per_user_max);
        let id = order.order_id;
        user.open_orders -= 1;
        match before {
            NIL => user.first_order = after,
            _ => self.orders.details_mut(before).user_next = after,
        }
        match after {
            NIL => user.last_order = before,
            _ => self.orders.details_mut(after).user_prev = before,
        }
        self.orders.release(id);
    }

    /// The next trade of an event.
    #[inline]
    pub(crate) fn trade(
        &mut self,
        execution: (InstrumentId, i64, i64),
        bid: (OrderId, UserId),
        ask: (OrderId, UserId),
        aggressor_side: Option<Side>,
        event: &mut Event,
    ) -> Execution {
        let (instrument, price_e4, quantity) = execution;
        self.last_trade_id += 1;
        self.listings[instrument.0 as usize].last_trade_price_e4 = Some(price_e4);
        let trade_id = TradeId(self.last_trade_id);
        event.trades.push(Trade {
            trade_id,
            instrument,
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
            instrument,
            price_e4,
            quantity,
        }
    }

    pub(crate) fn add_open(&mut self, slot: u32, quantity: i64) {
        let order = self.orders.order(slot);
        let listing = &self.listings[order.instrument.0 as usize];
        // Of no more lots than the order's, whose amount was checked: 64 bits hold it.
        #[cfg(not(feature = "faults"))]
        let amount_e4 = i128::from(order.price_e4.abs() * listing.instrument.multiplier * quantity);
        #[cfg(feature = "faults")]
        let amount_e4 = crate::faults::outstanding(order, listing.amount_e4(order.price_e4, quantity));
        let account = &mut self.accounts[self.orders.node(slot).account as usize];
        account.open_quantity[index(order.side)] += quantity;
        account.open_amount_e4 += amount_e4;
        let user = &mut self.users[order.user.0 as usize];
        user.open_quantity += quantity;
        user.open_amount_e4 += amount_e4;
    }
}

/// What both sides of a trade are told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Execution {
    /// The trade.
    pub(crate) trade_id: TradeId,
    /// Where.
    pub(crate) instrument: InstrumentId,
    /// Its price.
    pub(crate) price_e4: i64,
    /// Its lots.
    pub(crate) quantity: i64,
}

/// An order's own numbers after a trade.
pub(crate) fn fill(order: &mut Order, quantity: i64, event_seq: u64) {
    order.filled_quantity += quantity;
    order.event_seq = event_seq;
    if order.filled_quantity == order.quantity {
        order.status = OrderStatus::Filled;
    }
}

/// The report of one side of a trade.
pub(crate) fn fill_report(trade: &Execution, aggressor: bool) -> ReportKind {
    ReportKind::Fill {
        trade_id: trade.trade_id,
        price_e4: trade.price_e4,
        quantity: trade.quantity,
        aggressor,
    }
}
