//! What can happen to a resting order, with all that follows from it: book, sums, lists, reports.
//!
//! Reports are written as copies with other numbers rather than as copies of what was just changed: a
//! copy waits for narrow writes before it.

use crate::client_ids::IdPlace;
use crate::engine::market::report;
use crate::engine::{Engine, Execution, Market};
use crate::event::{Event, ReportKind};
use crate::order::{Details, NIL};
use crate::types::{CancelReason, Level, Order, OrderStatus};

impl Market<'_> {
    /// A new order with its owner's highest id takes its slot and its place in the owner's list.
    #[inline(always)]
    pub(crate) fn link(&mut self, order: &Order, account: u32, client_id: IdPlace) -> u32 {
        let user = self.user(order.user);
        let before = user.last_order;
        let details = || Details {
            order: *order,
            client_id,
            user_prev: before,
            user_next: NIL,
        };
        let slot = self.orders.put_with(order.order_id, order.user, account, details);
        let user = self.user(order.user);
        user.last_order = slot;
        user.open_orders += 1;
        match before {
            NIL => user.first_order = slot,
            _ => self.orders.details_mut(before).user_next = slot,
        }
        slot
    }

    /// An order joins its level, behind all others.
    #[inline(always)]
    pub(crate) fn enter_book(&mut self, slot: u32) {
        let order = self.orders.order(slot);
        let (side, price_e4, open) = (order.side, order.price_e4, order.open_quantity());
        let nodes = self.orders.nodes();
        self.listing.book.append(nodes, slot, side, price_e4, open as u32);
        self.add_open(slot, open);
    }

    /// The same where the level has no other change in the event; gives back its totals.
    #[inline(always)]
    pub(crate) fn enter_book_alone(&mut self, slot: u32, order: &Order) -> Level {
        let (side, price_e4, open) = (order.side, order.price_e4, order.open_quantity());
        let account = self.orders.node(slot).account;
        self.count_open(order, account, open);
        let nodes = self.orders.nodes();
        self.listing.book.append_alone(nodes, slot, side, price_e4, open as u32)
    }

    /// An order leaves its level, with what is open of it.
    pub(crate) fn leave_book(&mut self, slot: u32) {
        let open = i64::from(self.orders.node(slot).open);
        self.add_open(slot, fault!(OutstandingNotReleased, 0, -open));
        self.listing.book.remove(self.orders.nodes(), slot);
    }

    /// A resting order's total becomes less, and it keeps its place.
    pub(crate) fn shrink(&mut self, slot: u32, quantity: i64) {
        let less = self.orders.order(slot).quantity - quantity;
        if less != 0 {
            self.add_open(slot, -less);
            self.listing.book.reduce(self.orders.nodes(), slot, less as u32);
        }
        let order = self.orders.order_mut(slot);
        order.quantity = quantity;
        order.event_seq = self.event_seq;
    }

    /// A resting order trades with an incoming one; gives back its level's totals.
    #[inline(always)]
    pub(crate) fn fill_alone(&mut self, slot: u32, trade: &Execution, event: &mut Event) -> Level {
        let order = self.fill(slot, trade, event);
        let book = &mut self.listing.book;
        let level = if order.status == OrderStatus::Filled {
            let level = book.remove_alone(self.orders.nodes(), slot);
            self.forget(slot);
            level
        } else {
            book.reduce_alone(self.orders.nodes(), slot, trade.quantity as u32)
        };
        #[cfg(feature = "faults")]
        self.after_fill(slot, &order);
        level
    }

    /// A resting order trades in an uncross.
    pub(crate) fn fill_in_auction(&mut self, slot: u32, trade: &Execution, event: &mut Event) {
        let order = self.fill(slot, trade, event);
        let book = &mut self.listing.book;
        if order.status == OrderStatus::Filled {
            book.remove(self.orders.nodes(), slot);
            self.forget(slot);
        } else {
            book.reduce(self.orders.nodes(), slot, trade.quantity as u32);
        }
        #[cfg(feature = "faults")]
        self.after_fill(slot, &order);
    }

    /// Sums, report and own numbers of a resting order that trades; gives it back as it is then.
    #[inline(always)]
    fn fill(&mut self, slot: u32, trade: &Execution, event: &mut Event) -> Order {
        let account = self.orders.node(slot).account;
        let order = self.orders.order(slot);
        let filled_quantity = order.filled_quantity + trade.quantity;
        let is_whole = filled_quantity == order.quantity;
        let order = Order {
            filled_quantity,
            status: if is_whole {
                OrderStatus::Filled
            } else {
                OrderStatus::Open
            },
            event_seq: self.event_seq,
            ..*order
        };
        self.count_open(&order, account, fault!(FillNotReleased, 0, -trade.quantity));
        let (lots, paid_e4) = self.exchanged(order.side, trade);
        self.accounts[account as usize].trade(lots, paid_e4);
        #[cfg(feature = "faults")]
        self.after_settle(&order, account, trade);
        report(self.user(order.user), trade.report(false), order, event);
        if !is_whole {
            let resting = self.orders.order_mut(slot);
            (resting.filled_quantity, resting.event_seq) = (filled_quantity, order.event_seq);
        }
        order
    }

    /// A resting order ends untraded.
    pub(crate) fn cancel_resting(&mut self, slot: u32, reason: CancelReason, event: &mut Event) {
        self.end(slot, reason, event);
        self.listing.book.remove(self.orders.nodes(), slot);
        self.forget(slot);
    }

    /// The same where the level has no change in the event but such ones; gives back its totals.
    #[inline(always)]
    pub(crate) fn cancel_alone(&mut self, slot: u32, reason: CancelReason, event: &mut Event) -> Level {
        self.end(slot, reason, event);
        let level = self.listing.book.remove_alone(self.orders.nodes(), slot);
        self.forget(slot);
        level
    }

    /// Sums and report of an order that is cancelled.
    #[inline(always)]
    fn end(&mut self, slot: u32, reason: CancelReason, event: &mut Event) {
        #[cfg(feature = "faults")]
        self.before_cancel(slot, reason);
        let node = self.orders.node(slot);
        let (account, open) = (node.account, i64::from(node.open));
        let order = Order {
            status: OrderStatus::Cancelled(reason),
            event_seq: self.event_seq,
            ..*self.orders.order(slot)
        };
        self.count_open(&order, account, fault!(OutstandingNotReleased, 0, -open));
        report(self.user(order.user), ReportKind::Cancelled, order, event);
    }

    /// A done order that has left its level leaves its owner's list and its slot.
    #[inline(always)]
    pub(crate) fn forget(&mut self, slot: u32) {
        let Details {
            ref order,
            client_id,
            user_prev: before,
            user_next: after,
        } = *self.orders.details(slot);
        let user = &mut self.users[order.user.0 as usize];
        user.client_ids.done(client_id, self.client_ids_kept);
        user.open_orders -= 1;
        match before {
            NIL => user.first_order = after,
            _ => self.orders.details_mut(before).user_next = after,
        }
        match after {
            NIL => user.last_order = before,
            _ => self.orders.details_mut(after).user_prev = before,
        }
        self.orders.release_slot(slot);
    }

    /// Counts lots of a resting order as open, or as not open any more if they are below 0.
    pub(crate) fn add_open(&mut self, slot: u32, quantity: i64) {
        let order = *self.orders.order(slot);
        self.count_open(&order, self.orders.node(slot).account, quantity);
    }

    /// The same for an order at hand.
    #[inline(always)]
    fn count_open(&mut self, order: &Order, account: u32, quantity: i64) {
        let amount_e4 = self.open_amount_e4(order, quantity);
        self.accounts[account as usize].count_open(order.side, quantity, amount_e4);
        let user = self.user(order.user);
        user.open_quantity += quantity;
        user.open_amount_e4 += amount_e4;
    }
}

impl Engine {
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
                self.market(instrument).cancel_resting(at, reason, event);
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
}
