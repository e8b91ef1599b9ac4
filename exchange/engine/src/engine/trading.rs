//! Insert, amend, cancel.

use crate::client_ids::{FirstInsert, IdPlace};
use crate::command::{AmendOrder, InsertOrder, InvalidField, OrderRef, OrderTerms};
use crate::engine::{Applied, Engine, Market, accepted, report};
use crate::event::{Event, OrderOutcome, Outcome, ReportKind};
use crate::instrument::Listing;
use crate::matching::{Taker, limit_rank};
use crate::order::{NIL, ORDER_SEQUENCE_MAX};
use crate::refusal::Refusal;
use crate::risk::Added;
use crate::types::{
    CancelReason, InstrumentId, Order, OrderId, OrderStatus, OrderType, Side, TimeInForce, TradingPhase, UserId,
};
use crate::user::User;

impl Engine {
    #[inline(never)]
    pub(super) fn insert_order(
        &mut self,
        command: &InsertOrder,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        let terms = &command.terms;
        terms.validate()?;
        let user = self.known_user(command.user)?;
        let listing = self.known_listing(command.instrument)?;
        #[cfg(feature = "faults")]
        self.before_checks(command)?;
        listing.check_tick(terms.price_e4)?;
        listing.check_notional(terms.price_e4, terms.quantity)?;
        let client_order_id = Some(&command.client_order_id).filter(|id| !id.is_empty());
        let hashed = client_order_id.map(|id| (id, user.client_ids.hash(id)));
        if let Some(first) = hashed.and_then(|(id, hash)| user.client_ids.find(id, hash)) {
            let answer = repeated(first, command)?;
            if fault!(RetriesCount) {
                self.count_message(command.user);
            }
            return Ok(answer);
        }
        user.check_not_suspended()?;
        let phase = listing.phase();
        let may_rest = terms.time_in_force == TimeInForce::GoodTillCancelled;
        match phase {
            TradingPhase::Continuous => {}
            TradingPhase::Auction if may_rest || fault!(AuctionTakesAll) => {}
            TradingPhase::Halted if may_rest && fault!(HaltTakesOrders) => {}
            TradingPhase::Auction | TradingPhase::Halted | TradingPhase::Closed => return Err(listing.phase_forbids()),
        }
        let continuous = phase == TradingPhase::Continuous || fault!(AuctionTrades);
        let crosses = continuous && {
            let limit_rank = limit_rank(terms.side, terms.order_type, terms.price_e4);
            listing.book.best_within(terms.side.opposite(), limit_rank).is_some()
        };
        if crosses && terms.post_only {
            return Err(Refusal::WouldCross);
        }
        if terms.time_in_force == TimeInForce::FillOrKill && !self.can_fill(&taker_of(command)) {
            return Err(Refusal::CannotFill);
        }
        let account = user.account(command.instrument);
        let added = match self.is_limited(user, account) {
            true => Some(self.judge(command, account, now)?),
            false => None,
        };
        if may_rest {
            self.check_room(user, listing, command, continuous)?;
        }
        if self.orders.ids_exhausted() {
            return Err(Refusal::Capacity {
                limit_name: "order_ids",
                limit: ORDER_SEQUENCE_MAX,
            });
        }

        self.begin(now, event);
        let account = account.unwrap_or_else(|| self.account_for(command.user, command.instrument));
        if let Some(added) = added {
            self.count_added(command.user, account, &added);
        }
        let order = Order {
            order_id: self.orders.next_id(),
            user: command.user,
            client_order_id: command.client_order_id,
            instrument: command.instrument,
            side: terms.side,
            price_e4: terms.price_e4,
            quantity: terms.quantity,
            filled_quantity: 0,
            status: OrderStatus::Open,
            created_unix_ns: now,
            order_type: terms.order_type,
            time_in_force: terms.time_in_force,
            post_only: terms.post_only,
            self_trade_prevention: terms.self_trade_prevention,
            event_seq: self.event_seq,
        };
        let user = &mut self.users[command.user.0 as usize];
        user.recent = Some((command.instrument, account));
        let report_seq = report(user, ReportKind::Accepted, order, event);
        let mut client_id = IdPlace::NONE;
        if let Some((id, hash)) = hashed {
            let first = FirstInsert {
                instrument: command.instrument,
                terms: *terms,
                order_id: order.order_id,
                event_seq: order.event_seq,
                report_seq,
            };
            client_id = user.client_ids.open(id, hash, first);
        }
        if crosses || !may_rest {
            return self.trade_new(order, account, client_id, continuous, event);
        }
        #[cfg(feature = "faults")]
        Market::comes_to_rest(&order);
        let mut market = self.market(command.instrument);
        let slot = market.link(&order, account, client_id);
        let level = market.enter_book_alone(slot, &order);
        market.publish_level(order.side, level, event);
        accepted(Outcome::Inserted(outcome_of(&order)), event)
    }

    /// Matches a new order; what is left of it rests if it may.
    #[inline(never)]
    fn trade_new(
        &mut self,
        mut order: Order,
        account: u32,
        client_id: IdPlace,
        continuous: bool,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        let mut market = self.market(order.instrument);
        market.trade_incoming(&mut order, account, continuous, event);
        let traded = event.levels.len();
        if order.status == OrderStatus::Open {
            #[cfg(feature = "faults")]
            Market::comes_to_rest(&order);
            let slot = market.link(&order, account, client_id);
            let level = market.enter_book_alone(slot, &order);
            event.levels.push(level);
        } else {
            let kept = market.client_ids_kept;
            market.user(order.user).client_ids.done(client_id, kept);
            market.orders.release(order.order_id);
        }
        market.publish(order.side, traded, event);
        accepted(Outcome::Inserted(outcome_of(&order)), event)
    }

    /// What an insert adds, where the limits allow it.
    #[inline(never)]
    fn judge(&self, command: &InsertOrder, account: Option<u32>, now: i64) -> Result<Added, Refusal> {
        let terms = &command.terms;
        let amount_e4 = match terms.order_type {
            OrderType::Limit => self
                .known_listing(command.instrument)?
                .amount_e4(terms.price_e4, terms.quantity),
            OrderType::Market if !fault!(MarketAmountFree) && self.amount_matters(command.user, command.instrument) => {
                self.prospect(&taker_of(command)).amount_e4
            }
            OrderType::Market => 0,
        };
        let added = Added {
            side: terms.side,
            quantity: fault!(CountsWhatRests, self.prospect(&taker_of(command)).left, terms.quantity),
            amount_e4,
            order_quantity: 0,
        };
        self.check_limits(command.user, command.instrument, account, &added, now)?;
        Ok(added)
    }

    /// Refuses an order that would rest where there is no room for it.
    #[inline(always)]
    fn check_room(
        &self,
        user: &User,
        listing: &Listing,
        command: &InsertOrder,
        continuous: bool,
    ) -> Result<(), Refusal> {
        let OrderTerms { side, price_e4, .. } = command.terms;
        let limits = &self.limits;
        let full = if user.open_orders >= limits.open_orders_per_user_max {
            ("open_orders_per_user_max", limits.open_orders_per_user_max)
        } else if self.orders.len() >= self.orders.slots_max() as usize {
            ("open_orders_max", self.orders.slots_max())
        } else if !level_fits(listing, side, price_e4, 0, limits.price_levels_per_side_max) {
            ("price_levels_per_side_max", limits.price_levels_per_side_max)
        } else {
            return Ok(());
        };
        self.refuse_for_room(command, continuous, full)
    }

    #[cold]
    fn refuse_for_room(
        &self,
        command: &InsertOrder,
        continuous: bool,
        full: (&'static str, u32),
    ) -> Result<(), Refusal> {
        if continuous && !self.would_rest(&taker_of(command)) {
            return Ok(());
        }
        Err(Refusal::Capacity {
            limit_name: full.0,
            limit: full.1.into(),
        })
    }

    fn would_rest(&self, taker: &Taker) -> bool {
        let prospect = self.prospect(taker);
        prospect.left > 0 && !prospect.stopped
    }

    #[inline(never)]
    pub(super) fn amend_order(
        &mut self,
        command: &AmendOrder,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        command.validate()?;
        let slot = self.own_order(command.user, &command.order)?;
        let user = self.known_user(command.user)?;
        let order = *self.orders.order(slot);
        let listing = self.known_listing(order.instrument)?;
        let price_e4 = command.price_e4.unwrap_or(order.price_e4);
        let quantity = command.quantity.unwrap_or(order.quantity);
        let ends = quantity <= order.filled_quantity;
        listing.check_tick(price_e4)?;
        if !ends {
            listing.check_notional(price_e4, quantity)?;
        }
        user.check_not_suspended()?;
        let phase = listing.phase();
        if !matches!(phase, TradingPhase::Auction | TradingPhase::Continuous) {
            return Err(listing.phase_forbids());
        }
        if ends {
            self.check_message_rate(command.user, now)?;
            self.begin(now, event);
            self.count_message(command.user);
            let mut market = self.market(order.instrument);
            let level = market.cancel_alone(slot, CancelReason::User, event);
            market.publish_level(order.side, level, event);
            let ended = OrderOutcome {
                order_id: order.order_id,
                status: OrderStatus::Cancelled(CancelReason::User),
                filled_quantity: order.filled_quantity,
                open_quantity: 0,
            };
            return accepted(Outcome::Amended(ended), event);
        }

        let keeps_place = price_e4 == order.price_e4 && quantity <= order.quantity;
        #[cfg(feature = "faults")]
        let keeps_place = crate::faults::keeps_place(&order, price_e4, quantity, keeps_place);
        let continuous = phase == TradingPhase::Continuous;
        let open_quantity = quantity - order.filled_quantity;
        let taker = Taker {
            user: order.user,
            instrument: order.instrument,
            side: order.side,
            order_type: order.order_type,
            price_e4,
            quantity: open_quantity,
            self_trade_prevention: order.self_trade_prevention,
        };
        let post_only = order.post_only && !fault!(AmendForgetsPostOnly);
        if !keeps_place && continuous && post_only && self.would_cross(&taker) {
            return Err(Refusal::WouldCross);
        }
        let added = Added {
            side: order.side,
            quantity: quantity - fault!(AmendCountsWhole, 0, order.quantity),
            amount_e4: listing.amount_e4(price_e4, open_quantity)
                - listing.amount_e4(order.price_e4, order.open_quantity()),
            order_quantity: order.quantity,
        };
        let account = self.orders.node(slot).account;
        self.check_limits(command.user, order.instrument, Some(account), &added, now)?;
        if !keeps_place && price_e4 != order.price_e4 {
            let alone = listing
                .book
                .level(order.side, order.price_e4)
                .is_some_and(|level| level.order_count == 1);
            let levels_max = self.limits.price_levels_per_side_max;
            if !level_fits(listing, order.side, price_e4, usize::from(alone), levels_max)
                && (!continuous || self.would_rest(&taker))
            {
                return Err(Refusal::Capacity {
                    limit_name: "price_levels_per_side_max",
                    limit: levels_max.into(),
                });
            }
        }

        self.begin(now, event);
        self.count_added(command.user, account, &added);
        let mut market = self.market(order.instrument);
        if keeps_place {
            market.shrink(slot, quantity);
            let order = *market.orders.order(slot);
            report(market.user(order.user), ReportKind::Amended, order, event);
            self.publish(order.instrument, None, event);
            return accepted(Outcome::Amended(outcome_of(&order)), event);
        }
        market.leave_book(slot);
        let mut order = Order {
            price_e4,
            quantity,
            event_seq: market.event_seq,
            ..order
        };
        report(market.user(order.user), ReportKind::Amended, order, event);
        #[cfg(feature = "faults")]
        crate::faults::amended(&mut order);
        market.trade_incoming(&mut order, account, continuous && !fault!(AmendNeverTrades), event);
        let traded = event.levels.len();
        *market.orders.order_mut(slot) = order;
        if order.status == OrderStatus::Open {
            market.enter_book(slot);
        } else {
            market.forget(slot);
        }
        market.listing.book.take_changes(&mut event.levels);
        market.publish(order.side, traded, event);
        accepted(Outcome::Amended(outcome_of(&order)), event)
    }

    #[inline(never)]
    pub(super) fn cancel_order(
        &mut self,
        user: UserId,
        order: &OrderRef,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        let slot = self.own_order(user, order)?;
        self.begin(now, event);
        if !fault!(CancelsUncounted) {
            self.count_message(user);
        }
        let Order {
            order_id,
            instrument,
            side,
            ..
        } = *self.orders.order(slot);
        let open_quantity = i64::from(self.orders.node(slot).open);
        let mut market = self.market(instrument);
        let level = market.cancel_alone(slot, CancelReason::User, event);
        market.publish_level(side, level, event);
        accepted(Outcome::Cancelled(order_id, open_quantity), event)
    }

    pub(super) fn cancel_all_orders(
        &mut self,
        user: UserId,
        instrument: Option<InstrumentId>,
        side: Option<Side>,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        self.known_user(user)?;
        if let Some(instrument) = instrument {
            let listing = self.known_listing(instrument)?;
            if listing.phase() == TradingPhase::Closed {
                return Err(listing.phase_forbids());
            }
        }
        self.begin(now, event);
        self.count_message(user);
        let fits = |order: &Order| {
            instrument.is_none_or(|instrument| order.instrument == instrument)
                && side.is_none_or(|side| order.side == side)
        };
        let none_fits = instrument.is_some_and(|instrument| self.open_lots(user, instrument, side) == 0);
        let first = if none_fits {
            NIL
        } else {
            self.users[user.0 as usize].first_order
        };
        let cancelled = self.cancel_where(first, CancelReason::User, fits, event);
        accepted(Outcome::AllCancelled(cancelled), event)
    }

    pub(super) fn cancel_on_disconnect(
        &mut self,
        user: UserId,
        after: OrderId,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        self.known_user(user)?;
        self.begin(now, event);
        // From the highest id down: those before the stream may be many.
        let mut first = NIL;
        let mut at = self.users[user.0 as usize].last_order;
        while at != NIL && self.orders.node(at).id > after {
            first = at;
            at = self.orders.details(at).user_prev;
        }
        let cancelled = self.cancel_where(first, CancelReason::Disconnect, |_| true, event);
        accepted(Outcome::AllCancelled(cancelled), event)
    }

    /// Slot of a user's open order.
    #[inline(always)]
    fn own_order(&self, user: UserId, order: &OrderRef) -> Result<u32, Refusal> {
        if matches!(order, OrderRef::Client(id) if id.is_empty()) {
            return Err(InvalidField::new("client_order_id", "1 to 36 bytes").into());
        }
        self.known_user(user)?;
        self.find_open(user, order).ok_or(Refusal::OrderNotOpen)
    }

    /// The same, for any user and reference.
    #[inline(always)]
    pub(super) fn find_open(&self, user: UserId, order: &OrderRef) -> Option<u32> {
        let id = match order {
            OrderRef::Id(id) => *id,
            OrderRef::Client(id) => self.users.get(user.0 as usize)?.client_ids.get(id)?.order_id,
        };
        let slot = self.orders.find(id)?;
        (self.orders.node(slot).user == user).then_some(slot)
    }
}

impl Market<'_> {
    /// Matches an incoming order where the phase says so, and ends what may not rest of it.
    #[inline(always)]
    fn trade_incoming(&mut self, order: &mut Order, account: u32, continuous: bool, event: &mut Event) {
        let stopped = continuous && self.match_incoming(order, account, event);
        if order.status != OrderStatus::Open {
            return;
        }
        let reason = if stopped {
            CancelReason::SelfTrade
        } else if order.time_in_force != TimeInForce::GoodTillCancelled {
            CancelReason::TimeInForce
        } else {
            return;
        };
        if fault!(RemainderOutstanding) {
            self.accounts[account as usize].open_quantity[0] += order.open_quantity();
        }
        order.status = OrderStatus::Cancelled(reason);
        let order = *order;
        report(self.user(order.user), ReportKind::Cancelled, order, event);
    }
}

/// A new order as matching sees it.
fn taker_of(command: &InsertOrder) -> Taker {
    let terms = &command.terms;
    Taker {
        user: command.user,
        instrument: command.instrument,
        side: terms.side,
        order_type: terms.order_type,
        price_e4: terms.price_e4,
        quantity: terms.quantity,
        self_trade_prevention: terms.self_trade_prevention,
    }
}

/// The answer to the retry of an insert.
#[cold]
fn repeated(first: &FirstInsert, command: &InsertOrder) -> Result<Applied, Refusal> {
    if (first.instrument, first.terms) != (command.instrument, command.terms) {
        return Err(Refusal::ClientIdReused);
    }
    Ok(Applied::OrderRepeated {
        order_id: first.order_id,
        event_seq: first.event_seq,
        report_seq: first.report_seq,
    })
}

/// Whether an order has a level to rest at, or there is room for one more after `leaving` went.
#[inline(always)]
fn level_fits(listing: &Listing, side: Side, price_e4: i64, leaving: usize, levels_max: u32) -> bool {
    listing.book.level_count(side) - leaving < levels_max as usize || listing.book.level(side, price_e4).is_some()
}

fn outcome_of(order: &Order) -> OrderOutcome {
    OrderOutcome {
        order_id: order.order_id,
        status: order.status,
        filled_quantity: order.filled_quantity,
        open_quantity: order.open_quantity(),
    }
}
