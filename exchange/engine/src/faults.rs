//! Faults on purpose that only the engine's inside can have: see `optivex-faults`.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::book::rank;
use crate::client_ids::FirstInsert;
use crate::command::InsertOrder;
use crate::engine::{Engine, Execution, Market};
use crate::event::Event;
use crate::matching::limit_rank;
use crate::order::slot_of;
use crate::position::Account;
use crate::refusal::Refusal;
use crate::risk::Added;
use crate::types::{
    CancelReason, ClientOrderId, InstrumentId, Order, OrderId, OrderStatus, OrderType, SelfTradePrevention, Side,
    UserId,
};

/// Client ids of inserts that were refused.
static REFUSED: Mutex<BTreeSet<(UserId, ClientOrderId)>> = Mutex::new(BTreeSet::new());

/// A place in time that a cancel left.
struct Place {
    level: (InstrumentId, Side, i64),
    of: OrderId,
    taken_by: Option<OrderId>,
}

static PLACES: Mutex<Vec<Place>> = Mutex::new(Vec::new());

/// Lots of an order that is large.
const LARGE: i64 = 30;

/// Which order trades next with an incoming one, and at what price; `first` is the one whose turn it is.
pub(crate) fn next_to_trade(
    market: &Market<'_>,
    incoming: &Order,
    first: (u32, i64),
    event: &Event,
) -> Option<(u32, i64)> {
    let book = &market.listing.book;
    let side = incoming.side.opposite();
    let limit = limit_rank(incoming.side, incoming.order_type, incoming.price_e4);
    let reached = || {
        book.levels(side)
            .take_while(move |level| rank(side, level.price_e4) <= limit)
    };
    let best = || book.level(side, first.1).into_iter();
    let queue = || best().flat_map(|level| market.orders.queue(level));
    let order = |order: &Order| (slot_of(order.order_id), order.price_e4);
    if fault!(AggressorPrice) && incoming.order_type == OrderType::Limit {
        return Some((first.0, incoming.price_e4));
    }
    if fault!(LimitNeedsBetter) && rank(side, first.1) == limit {
        return None;
    }
    if fault!(OneLevelOnly) && event.trades.last().is_some_and(|trade| trade.price_e4 != first.1) {
        return None;
    }
    let other = if fault!(OldestFirst) {
        reached()
            .flat_map(|level| market.orders.queue(level))
            .min_by_key(|order| order.order_id)
            .map(order)
    } else if fault!(PricesWithoutSign) {
        let sign = if side == Side::Buy { -1 } else { 1 };
        reached()
            .min_by_key(|level| sign * level.price_e4.abs())
            .map(|level| (level.head, level.price_e4))
    } else if fault!(LastInFirstOut) {
        queue().last().map(order)
    } else if fault!(CancelledPlaceTaken) {
        let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |order: &&Order| {
            let taken = places.iter().find(|place| place.taken_by == Some(order.order_id));
            taken.map_or(order.order_id, |place| place.of)
        };
        queue().min_by_key(place).map(order)
    } else if fault!(AmendedPriceKeepsTime) {
        queue().min_by_key(|order| order.order_id).map(order)
    } else if fault!(SelfTradeSkipsNext) && matches!(last_status(event), Some(OrderStatus::Cancelled(_))) {
        queue().nth(1).map(order)
    } else if fault!(LargeOrdersFirst) {
        queue().find(|order| order.quantity > LARGE).map(order)
    } else {
        None
    };
    other.or(Some(first))
}

fn last_status(event: &Event) -> Option<OrderStatus> {
    event.reports.last().map(|report| report.order.status)
}

/// Whether an incoming order and a resting one are of the same user, as far as the exchange sees.
pub(crate) fn is_own(incoming: &Order, resting: &Order, is_own: bool) -> bool {
    // With this fault a client id begins with the session.
    let session = |order: &Order| order.client_order_id.split('#').next().map(ToOwned::to_owned);
    is_own && !fault!(SelfTrades) && !(fault!(SelfTradesOverSessions) && session(incoming) != session(resting))
}

/// An amended order before it trades.
pub(crate) fn amended(order: &mut Order) {
    if fault!(AmendForgetsSelfTradeChoice) {
        order.self_trade_prevention = SelfTradePrevention::CancelIncoming;
    }
}

/// Whether an amended order keeps its place.
pub(crate) fn keeps_place(order: &Order, price_e4: i64, quantity: i64, keeps_place: bool) -> bool {
    if fault!(AmendLessLosesPlace) && quantity < order.quantity {
        return false;
    }
    if fault!(AmendSameLosesPlace) && quantity == order.quantity {
        return false;
    }
    keeps_place || fault!(AmendMoreKeepsPlace) && price_e4 == order.price_e4
}

/// How far an incoming order reaches.
pub(crate) fn reach(side: Side, order_type: OrderType, price_e4: i64, limit_rank: i64) -> i64 {
    if fault!(MarketNotBelowZero) && order_type == OrderType::Market && side == Side::Sell {
        return 0;
    }
    if fault!(OneTickTooFar) && order_type == OrderType::Limit {
        return limit_rank + 1;
    }
    if fault!(ZeroPriceIsMarket) && price_e4 == 0 {
        return i64::MAX;
    }
    limit_rank
}

/// |price| × quantity × multiplier of an order, as it is checked.
pub(crate) fn notional(price_e4: i64, quantity: i64, multiplier: i64, amount_e4: i128) -> i128 {
    if fault!(NotionalWithoutMultiplier) {
        return amount_e4 / i128::from(multiplier);
    }
    if fault!(NotionalWraps) {
        return price_e4
            .wrapping_abs()
            .wrapping_mul(quantity)
            .wrapping_mul(multiplier)
            .into();
    }
    amount_e4
}

/// Money of one side of a trade, as it is booked.
pub(crate) fn paid(order: &Order, quantity: i64, multiplier: i64, amount_e4: i128) -> i128 {
    if fault!(PaidWithoutMultiplier) {
        return amount_e4 / i128::from(multiplier);
    }
    if fault!(PaidWithoutSign) {
        return amount_e4.abs();
    }
    if fault!(AggressorPaysItsLimit) && order.order_type == OrderType::Limit {
        return i128::from(order.price_e4) * i128::from(quantity) * i128::from(multiplier);
    }
    amount_e4
}

/// What an order's lots add to the amount that is outstanding.
pub(crate) fn outstanding(order: &Order, amount_e4: i128) -> i128 {
    if fault!(AmountOfBuys) && order.side == Side::Sell {
        return 0;
    }
    amount_e4
}

impl Engine {
    /// The account of the first user with limits in the instrument.
    pub(crate) fn limited_account(&self, instrument: InstrumentId) -> Option<&Account> {
        let is_limited = |account: &&Account| account.instrument == instrument && account.risk.is_some();
        self.accounts.iter().find(is_limited)
    }

    /// Before an insert's checks of its price.
    pub(crate) fn before_checks(&self, command: &InsertOrder) -> Result<(), Refusal> {
        let id = command.client_order_id;
        if fault!(LimitsBeforeTheBook) {
            let terms = &command.terms;
            let added = Added {
                side: terms.side,
                quantity: terms.quantity,
                amount_e4: self.listings[command.instrument.0 as usize].amount_e4(terms.price_e4, terms.quantity),
                order_quantity: 0,
            };
            let account = self.users[command.user.0 as usize].account(command.instrument);
            self.check_limits(command.user, command.instrument, account, &added, self.time_unix_ns)?;
        }
        if id.is_empty() {
            return Ok(());
        }
        let other = |first: &FirstInsert| (first.instrument, first.terms) != (command.instrument, command.terms);
        let own = &self.users[command.user.0 as usize].client_ids;
        let everybody = || self.users.iter().filter_map(|user| user.client_ids.get(&id));
        if fault!(ClientIdBeforeTick) && own.get(&id).is_some_and(other)
            || fault!(ClientIdsOfEverybody) && everybody().any(other)
        {
            return Err(Refusal::ClientIdReused);
        }
        if fault!(RefusedUsesIdUp) {
            let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
            if refused.contains(&(command.user, id)) {
                return Err(Refusal::ClientIdReused);
            }
            let listing = &self.listings[command.instrument.0 as usize];
            if listing.check_tick(command.terms.price_e4).is_err() {
                refused.insert((command.user, id));
            }
        }
        Ok(())
    }
}

impl Market<'_> {
    /// After one side of a trade was booked.
    pub(crate) fn after_settle(&mut self, order: &Order, account: u32, trade: &Execution) {
        let multiplier = self.listing.instrument.multiplier;
        let amount_e4 = i128::from(trade.price_e4) * i128::from(trade.quantity) * i128::from(multiplier);
        let wrong_by = paid(order, trade.quantity, multiplier, amount_e4) - amount_e4;
        let paid_wrong = if order.side == Side::Buy { wrong_by } else { -wrong_by };
        self.accounts[account as usize].trade(0, paid_wrong);
    }

    /// After a resting order's fill.
    pub(crate) fn after_fill(&mut self, slot: u32, order: &Order) {
        if fault!(PartialFillLosesPlace) && order.status == OrderStatus::Open {
            self.goes_behind(slot);
        }
    }

    /// An order leaves its place for the last one at its price, which changes nothing that is told.
    fn goes_behind(&mut self, slot: u32) {
        let notes = self.listing.book.note_count();
        self.leave_book(slot);
        self.enter_book(slot);
        self.listing.book.forget_notes(notes);
    }

    /// When an order comes to rest.
    pub(crate) fn comes_to_rest(order: &Order) {
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let level = level_of(order);
        let free = places
            .iter_mut()
            .find(|place| place.level == level && place.taken_by.is_none());
        if let Some(place) = free {
            place.taken_by = Some(order.order_id);
        }
    }

    /// Before a resting order is cancelled.
    pub(crate) fn before_cancel(&mut self, slot: u32, reason: CancelReason) {
        if fault!(SelfTradeNotReleased) && reason == CancelReason::SelfTrade {
            self.add_open(slot, self.orders.node(slot).open.into());
        }
        if fault!(CancelledPlaceTaken) {
            let order = self.orders.order(slot);
            let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
            places.push(Place {
                level: level_of(order),
                of: order.order_id,
                taken_by: None,
            });
        }
        if fault!(SwapRemove) {
            let Order {
                order_id,
                side,
                price_e4,
                ..
            } = *self.orders.order(slot);
            let book = &self.listing.book;
            let level = book.level(side, price_e4);
            let mut younger: Vec<u32> = level
                .into_iter()
                .flat_map(|level| self.orders.queue(level))
                .skip_while(|order| order.order_id != order_id)
                .skip(1)
                .map(|order| slot_of(order.order_id))
                .collect();
            // The youngest comes to stand where the cancelled one stood.
            younger.pop();
            for slot in younger {
                self.goes_behind(slot);
            }
        }
    }
}

fn level_of(order: &Order) -> (InstrumentId, Side, i64) {
    (order.instrument, order.side, order.price_e4)
}
