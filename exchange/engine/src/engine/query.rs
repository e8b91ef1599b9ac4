//! What can be asked of the state.

use crate::book::BookLevel;
use crate::command::OrderRef;
use crate::engine::{Engine, OrderLookup, Position, RiskUsage};
use crate::instrument::Listing;
use crate::limits::Limits;
use crate::order::NIL;
use crate::position::{Account, clamp};
use crate::types::{
    Indicative, Instrument, InstrumentId, InstrumentRiskLimits, Level, Order, OrderId, Side, TradingPhase, UserId,
    UserRiskLimits,
};
use crate::user::User;

impl Engine {
    /// The bounds that this state was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Last event, 0 before the first.
    pub fn event_seq(&self) -> u64 {
        self.event_seq
    }

    /// Time of the last event.
    pub fn time_unix_ns(&self) -> i64 {
        self.time_unix_ns
    }

    /// Last order id given out, 0 before the first.
    pub fn last_order_id(&self) -> OrderId {
        self.orders.last_id()
    }

    /// Last trade id given out, 0 before the first.
    pub fn last_trade_id(&self) -> u64 {
        self.last_trade_id
    }

    /// All users' names; the index is the [`UserId`].
    pub fn usernames(&self) -> impl ExactSizeIterator<Item = &str> {
        self.users.iter().map(|user| user.name.as_str())
    }

    /// All instruments; the index is the [`InstrumentId`].
    pub fn instruments(&self) -> impl ExactSizeIterator<Item = &Instrument> {
        self.listings.iter().map(|listing| &listing.instrument)
    }

    /// One instrument.
    pub fn instrument(&self, instrument: InstrumentId) -> Option<&Instrument> {
        Some(&self.listing(instrument)?.instrument)
    }

    /// Phase of a book.
    pub fn phase(&self, instrument: InstrumentId) -> Option<TradingPhase> {
        Some(self.listing(instrument)?.phase())
    }

    /// Last visible change of a book.
    pub fn book_seq(&self, instrument: InstrumentId) -> u64 {
        self.listing(instrument).map_or(0, |listing| listing.book_seq)
    }

    /// Levels of one side, best first.
    pub fn levels(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = Level> {
        self.listing(instrument)
            .into_iter()
            .flat_map(move |listing| listing.book.levels(side))
            .map(BookLevel::total)
    }

    /// Orders of one side in priority: best price first, then oldest.
    pub fn resting_orders(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = Order> {
        self.listing(instrument)
            .into_iter()
            .flat_map(move |listing| listing.book.levels(side))
            .flat_map(|level| self.orders.queue(level))
            .copied()
    }

    /// What an uncross would do now; `None` outside an auction and when nothing would trade.
    pub fn indicative(&self, instrument: InstrumentId) -> Option<Indicative> {
        self.listing(instrument)?.indicative()
    }

    /// Price of the last trade.
    pub fn last_trade_price_e4(&self, instrument: InstrumentId) -> Option<i64> {
        self.listing(instrument)?.last_trade_price_e4
    }

    /// A user's open orders with ids above `after`, by id.
    pub fn open_orders(
        &self,
        user: UserId,
        instrument: Option<InstrumentId>,
        after: OrderId,
    ) -> impl Iterator<Item = Order> {
        let none_fits = instrument.is_some_and(|instrument| self.open_lots(user, instrument, None) == 0);
        // A page usually goes on after an order that is still open.
        let mut at = match self.find_open(user, &OrderRef::Id(after)) {
            _ if none_fits => NIL,
            Some(slot) => self.orders.details(slot).user_next,
            None => self.user(user).map_or(NIL, |user| user.first_order),
        };
        let list = std::iter::from_fn(move || {
            if at == NIL {
                return None;
            }
            let details = self.orders.details(at);
            at = details.user_next;
            Some(details.order)
        });
        list.filter(move |order| {
            order.order_id > after && instrument.is_none_or(|instrument| order.instrument == instrument)
        })
    }

    /// One of a user's orders.
    pub fn order(&self, user: UserId, order: OrderRef) -> OrderLookup {
        if let Some(slot) = self.find_open(user, &order) {
            return OrderLookup::Open(*self.orders.order(slot));
        }
        let known = match &order {
            OrderRef::Id(_) => None,
            OrderRef::Client(id) => self.user(user).and_then(|user| user.client_ids.get(id)),
        };
        known.map_or(OrderLookup::Unknown, |insert| OrderLookup::Done(insert.order_id))
    }

    /// Last execution report of a user, 0 before the first.
    pub fn report_seq(&self, user: UserId) -> u64 {
        self.user(user).map_or(0, |user| user.report_seq)
    }

    /// Positions of a user that are not all zero, by instrument.
    pub fn positions(&self, user: UserId) -> Vec<Position> {
        let position = |account: &Account| {
            let listing = self.listing(account.instrument)?;
            let last_price_e4 = i128::from(listing.last_trade_price_e4.unwrap_or(0));
            let lot_value_e4 = last_price_e4 * i128::from(listing.instrument.multiplier);
            let [open_buy_quantity, open_sell_quantity] = account.open_quantity;
            let empty =
                account.quantity == 0 && account.cash_e4 == 0 && open_buy_quantity == 0 && open_sell_quantity == 0;
            (!empty).then(|| Position {
                instrument: account.instrument,
                quantity: clamp(account.quantity),
                cash_e4: clamp(account.cash_e4),
                market_value_e4: clamp(account.quantity.saturating_mul(lot_value_e4)),
                open_buy_quantity,
                open_sell_quantity,
            })
        };
        self.accounts_of(user).filter_map(position).collect()
    }

    /// Why a user is suspended, if it is.
    pub fn suspension(&self, user: UserId) -> Option<&str> {
        self.user(user)?.suspension.as_deref()
    }

    /// A user's limits over all instruments.
    pub fn user_risk_limits(&self, user: UserId) -> UserRiskLimits {
        self.user(user).map_or_else(UserRiskLimits::default, |user| user.limits)
    }

    /// A user's limits by instrument, those without any left out.
    pub fn instrument_risk_limits(&self, user: UserId) -> Vec<(InstrumentId, InstrumentRiskLimits)> {
        self.accounts_of(user)
            .filter_map(|account| Some((account.instrument, account.risk.as_ref()?.limits)))
            .filter(|(_, limits)| *limits != InstrumentRiskLimits::default())
            .collect()
    }

    /// Every limit that is set and every outstanding sum that is not zero, at a moment not before the
    /// last event: those over all instruments first, then by symbol; within these by name.
    pub fn risk_usage(&self, user: UserId, now_unix_ns: i64) -> Vec<RiskUsage> {
        let Some(state) = self.user(user) else {
            return Vec::new();
        };
        let now = now_unix_ns.max(self.time_unix_ns);
        let mut usages = Usages {
            usages: Vec::new(),
            instrument: None,
        };
        let limits = &state.limits;
        usages.outstanding(
            "max_outstanding_amount_e4",
            state.open_amount_e4,
            limits.max_outstanding_amount_e4,
        );
        usages.outstanding(
            "max_outstanding_quantity",
            state.open_quantity.into(),
            limits.max_outstanding_quantity,
        );
        if let (Some(limit), Some(window)) = (limits.message_rate, &state.messages) {
            let current = window.sum(now, limit.window_in_seconds);
            usages.set("message_rate_rolling_limit", current, Some(limit.limit));
        }
        let mut accounts: Vec<(&str, &Account)> = self
            .accounts_of(user)
            .filter_map(|account| Some((self.instrument(account.instrument)?.symbol.as_str(), account)))
            .collect();
        accounts.sort_unstable_by_key(|(symbol, _)| *symbol);
        for (_, account) in accounts {
            usages.instrument = Some(account.instrument);
            usages.of_account(account, now);
        }
        usages.usages
    }

    fn listing(&self, instrument: InstrumentId) -> Option<&Listing> {
        self.listings.get(instrument.0 as usize)
    }

    fn user(&self, user: UserId) -> Option<&User> {
        self.users.get(user.0 as usize)
    }

    fn accounts_of(&self, user: UserId) -> impl Iterator<Item = &Account> {
        self.user(user)
            .into_iter()
            .flat_map(User::accounts)
            .map(|account| &self.accounts[account as usize])
    }
}

struct Usages {
    usages: Vec<RiskUsage>,
    instrument: Option<InstrumentId>,
}

impl Usages {
    fn of_account(&mut self, account: &Account, now: i64) {
        let none = InstrumentRiskLimits::default();
        let risk = account.risk.as_deref();
        let limits = risk.map_or(&none, |risk| &risk.limits);
        if limits.max_order_quantity.is_some() {
            self.set("max_order_quantity", 0, limits.max_order_quantity);
        }
        self.outstanding(
            "max_outstanding_amount_e4",
            account.open_amount_e4,
            limits.max_outstanding_amount_e4,
        );
        let open_quantity = account.open_quantity.iter().map(|quantity| i128::from(*quantity)).sum();
        self.outstanding(
            "max_outstanding_quantity",
            open_quantity,
            limits.max_outstanding_quantity,
        );
        if limits.max_position.is_some() {
            let current = account.exposure(Side::Buy).max(account.exposure(Side::Sell));
            self.set("max_position", current, limits.max_position);
        }
        if let (Some(limit), Some(window)) = (limits.order_amount, risk.and_then(|risk| risk.amounts.as_ref())) {
            let current = window.sum(now, limit.window_in_seconds);
            self.set("order_amount_rolling_limit", current, Some(limit.limit));
        }
        if let (Some(limit), Some(window)) = (limits.order_quantity, risk.and_then(|risk| risk.quantities.as_ref())) {
            let current = window.sum(now, limit.window_in_seconds);
            self.set("order_quantity_rolling_limit", current, Some(limit.limit));
        }
    }

    fn outstanding(&mut self, limit_name: &'static str, current: i128, limit: Option<i64>) {
        if current != 0 || limit.is_some() {
            self.set(limit_name, current, limit);
        }
    }

    fn set(&mut self, limit_name: &'static str, current: i128, limit: Option<i64>) {
        self.usages.push(RiskUsage {
            limit_name,
            instrument: self.instrument,
            current: clamp(current),
            limit,
        });
    }
}
