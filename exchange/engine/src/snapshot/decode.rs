//! Bytes to state. Nothing of what is read is believed: a state that comes out of here keeps every
//! invariant that the engine rests on.

use std::collections::BTreeSet;

use arrayvec::ArrayString;
use prost::Message;

use super::message::{self, Int128, tag};
use super::{ORDER_TYPES, PHASES, SELF_TRADE_PREVENTIONS, SIDES, TIMES_IN_FORCE, encode, value};
use crate::book::rank;
use crate::client_ids::{FirstInsert, IdPlace};
use crate::command::{CreateInstrument, OrderTerms, validate_instrument_limits, validate_user_limits};
use crate::engine::{Engine, SnapshotError};
use crate::instrument::Listing;
use crate::limits::{Limits, ORDER_SLOTS_MAX};
use crate::order::{Orders, sequence_of, slot_of};
use crate::position::AccountRisk;
use crate::risk::RollingWindow;
use crate::types::{
    InstrumentId, InstrumentRiskLimits, Order, OrderId, OrderStatus, OrderType, PRICE_E4_MAX, RollingWindowLimit, Side,
    TEXT_BYTES_MAX, TimeInForce, TradingPhase, UserId, UserRiskLimits,
};
use crate::user::User;

/// Counters stay below this, so that counting on never overflows.
const COUNTER_MAX: u64 = 1 << 62;
/// The same for sums of 128 bits.
const SUM_MAX: u128 = 1 << 120;

type Result<T> = std::result::Result<T, SnapshotError>;

fn wrong<T>(what: &str) -> Result<T> {
    Err(SnapshotError(what.to_owned()))
}

fn ensure(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { wrong(what) }
}

fn some<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| SnapshotError(format!("{what} is missing or out of range")))
}

fn text<const N: usize>(text: &str, what: &str) -> Result<ArrayString<N>> {
    some(ArrayString::from(text).ok(), what)
}

fn form(checked: std::result::Result<(), crate::command::InvalidField>) -> Result<()> {
    checked.map_err(|invalid| SnapshotError(invalid.to_string()))
}

fn counter(value: u64, what: &str) -> Result<u64> {
    ensure(value <= COUNTER_MAX, what)?;
    Ok(value)
}

fn sum(value: &Option<Int128>, what: &str) -> Result<i128> {
    let value = i128::from(some(value.as_ref(), what)?);
    ensure(value.unsigned_abs() <= SUM_MAX, what)?;
    Ok(value)
}

/// The state that these bytes, their seal checked, tell.
pub(super) fn decode(bytes: &[u8]) -> Result<Engine> {
    let mut records = Records::new(bytes);
    let counts = Counts::of(records.clone())?;
    let header = some(records.next_of(tag::HEADER)?, "header")?;
    let mut engine = engine_of(&parsed(header)?, counts.orders)?;
    while let Some(user) = records.next_of(tag::USER)? {
        engine.restore_user(&parsed(user)?)?;
    }
    while let Some(instrument) = records.next_of(tag::INSTRUMENT)? {
        engine.restore_instrument(&parsed(instrument)?)?;
    }
    engine.restore_orders(&mut records, counts.orders)?;
    engine.restore_accounts(&mut records)?;
    engine.restore_client_ids(&mut records, &counts.client_ids)?;
    ensure(records.rest.is_empty(), "records that are unknown or out of order")?;
    Ok(engine)
}

/// Records one after the other.
#[derive(Clone)]
struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The next record, if it is of this kind.
    fn next_of(&mut self, tag: u8) -> Result<Option<&'a [u8]>> {
        match self.rest.split_first() {
            Some((key, mut rest)) if *key == encode::key(tag) => {
                let length = prost::encoding::decode_varint(&mut rest).map_err(malformed)?;
                let length = usize::try_from(length).ok();
                let split = length.and_then(|length| rest.split_at_checked(length));
                let (record, rest) = some(split, "the end of a record")?;
                self.rest = rest;
                Ok(Some(record))
            }
            _ => Ok(None),
        }
    }
}

/// How many there are of what there may be many of, so that room is made once.
struct Counts {
    orders: usize,
    /// By user.
    client_ids: Vec<usize>,
}

impl Counts {
    fn of(mut records: Records<'_>) -> Result<Self> {
        let mut count = |tag| {
            let mut count = 0;
            while records.next_of(tag)?.is_some() {
                count += 1;
            }
            Ok::<usize, SnapshotError>(count)
        };
        count(tag::HEADER)?;
        let mut client_ids = vec![0; count(tag::USER)?];
        count(tag::INSTRUMENT)?;
        let orders = count(tag::ORDER)?;
        count(tag::ACCOUNT)?;
        while let Some(record) = records.next_of(tag::CLIENT_ID)? {
            if let Some(count) = client_ids.get_mut(owner(record)?) {
                *count += 1;
            }
        }
        Ok(Self { orders, client_ids })
    }
}

/// The user of a client id's record: its first field, which is left out if it is 0.
fn owner(record: &[u8]) -> Result<usize> {
    match record.split_first() {
        Some((&message::CLIENT_ID_USER_KEY, mut rest)) => {
            let user = prost::encoding::decode_varint(&mut rest).map_err(malformed)?;
            some(usize::try_from(user).ok(), "a client id's owner")
        }
        _ => Ok(0),
    }
}

fn malformed(error: prost::DecodeError) -> SnapshotError {
    SnapshotError(error.to_string())
}

fn parsed<M: Message + Default>(record: &[u8]) -> Result<M> {
    M::decode(record).map_err(malformed)
}

/// Reads a record into a message that is used again, with the room of its texts.
fn parse(message: &mut impl Message, record: &[u8]) -> Result<()> {
    message.clear();
    message.merge(record).map_err(malformed)
}

fn engine_of(header: &message::Header, open_orders: usize) -> Result<Engine> {
    ensure(
        header.version == message::VERSION,
        "a version that this program does not know",
    )?;
    let limits = some(header.limits.as_ref(), "limits")?;
    let mut engine = Engine::new(Limits {
        users_max: limits.users_max,
        instruments_max: limits.instruments_max,
        open_orders_max: limits.open_orders_max,
        open_orders_per_user_max: limits.open_orders_per_user_max,
        price_levels_per_side_max: limits.price_levels_per_side_max,
        client_order_ids_per_user_max: limits.client_order_ids_per_user_max,
        rolling_window_moments_max: limits.rolling_window_moments_max,
    });
    engine.event_seq = counter(header.event_seq, "event_seq")?;
    engine.time_unix_ns = header.time_unix_ns;
    engine.last_trade_id = counter(header.last_trade_id, "last_trade_id")?;
    let slots = open_orders + header.free_slots.len();
    ensure(
        slots <= limits.open_orders_max.min(ORDER_SLOTS_MAX) as usize,
        "more orders than the limits allow",
    )?;
    let distinct: BTreeSet<u32> = header.free_slots.iter().copied().collect();
    ensure(
        distinct.len() == header.free_slots.len() && distinct.last().is_none_or(|last| (*last as usize) < slots),
        "a vacant slot twice, or out of range",
    )?;
    engine.orders = Orders::restored(
        limits.open_orders_max,
        slots,
        header.free_slots.clone(),
        OrderId(header.last_order_id),
    );
    Ok(engine)
}

impl Engine {
    fn restore_user(&mut self, message: &message::User) -> Result<()> {
        let name = text(&message.name, "user name")?;
        let id = UserId(self.users.len() as u32);
        ensure(!name.is_empty() && id.0 < self.limits.users_max, "users")?;
        ensure(self.user_ids.insert(name, id).is_none(), "a user name twice")?;
        let mut user = User::new(name);
        if let Some(comment) = &message.suspension {
            ensure(comment.len() <= TEXT_BYTES_MAX, "suspension")?;
        }
        user.suspension = message.suspension.clone();
        user.report_seq = counter(message.report_seq, "report_seq")?;
        user.limits = UserRiskLimits {
            message_rate: message.message_rate.as_ref().map(window_limit),
            max_outstanding_quantity: message.max_outstanding_quantity,
            max_outstanding_amount_e4: message.max_outstanding_amount_e4,
        };
        form(validate_user_limits(&user.limits))?;
        user.messages = self.window(&message.messages, user.limits.message_rate)?;
        self.users.push(user);
        Ok(())
    }

    fn restore_instrument(&mut self, message: &message::Instrument) -> Result<()> {
        let id = InstrumentId(self.listings.len() as u32);
        ensure(id.0 < self.limits.instruments_max, "instruments")?;
        let created = CreateInstrument {
            user: UserId(message.creator),
            symbol: text(&message.symbol, "symbol")?,
            description: message.description.clone(),
            currency: text(&message.currency, "currency")?,
            multiplier: message.multiplier,
            tick_size_e4: message.tick_size_e4,
            initial_phase: some(value(&PHASES, message.initial_phase), "initial phase")?,
            client_request_id: text(&message.client_request_id, "client_request_id")?,
        };
        form(created.validate())?;
        ensure((created.user.0 as usize) < self.users.len(), "an instrument's creator")?;
        ensure(self.symbols.insert(created.symbol, id).is_none(), "a symbol twice")?;
        if !created.client_request_id.is_empty() {
            let request = (created.user, created.client_request_id);
            ensure(
                self.client_requests.insert(request, id).is_none(),
                "a client_request_id twice",
            )?;
        }
        ensure(
            message.created_event_seq <= self.event_seq,
            "an instrument of the future",
        )?;
        let mut listing = Listing::new(id, created, message.created_event_seq, message.created_unix_ns);
        listing.set_phase(some(value(&PHASES, message.phase), "phase")?);
        listing.book_seq = counter(message.book_seq, "book_seq")?;
        if let Some(price_e4) = message.last_trade_price_e4 {
            check_price(&listing, price_e4)?;
            listing.last_trade_price_e4 = Some(price_e4);
        }
        self.listings.push(listing);
        Ok(())
    }

    fn restore_orders(&mut self, records: &mut Records<'_>, count: usize) -> Result<()> {
        let mut orders = Vec::with_capacity(count);
        let mut message = message::Order::default();
        while let Some(record) = records.next_of(tag::ORDER)? {
            parse(&mut message, record)?;
            orders.push(self.order_of(&message)?);
        }
        // Owners' lists are by id, books by priority: as the messages are.
        let ids = orders.iter().map(|order| order.order_id);
        let mut by_id: Vec<(OrderId, usize)> = ids.zip(0..).collect();
        by_id.sort_unstable();
        for (id, at) in by_id {
            let order = &orders[at];
            ensure(
                self.orders.is_vacant(slot_of(id)),
                "an order's slot is taken or out of range",
            )?;
            let account = self.account_for(order.user, order.instrument);
            self.market(order.instrument).link(order, account, IdPlace::NONE);
        }
        ensure(self.orders.is_complete(), "a vacant slot with an order")?;
        let mut before = None;
        for order in &orders {
            let place = (
                order.instrument,
                order.side == Side::Sell,
                rank(order.side, order.price_e4),
            );
            ensure(before.is_none_or(|before| before <= place), "orders out of priority")?;
            before = Some(place);
            self.market(order.instrument).enter_book(slot_of(order.order_id));
        }
        for listing in &mut self.listings {
            listing.book.take_changes(&mut Vec::new());
            let levels = SIDES.map(|side| listing.book.level_count(side));
            let levels_max = self.limits.price_levels_per_side_max as usize;
            ensure(levels.iter().all(|levels| *levels <= levels_max), "price levels")?;
            match listing.phase() {
                TradingPhase::Continuous => ensure(!listing.book.is_crossed(), "a crossed book")?,
                TradingPhase::Closed => ensure(levels == [0, 0], "orders of a closed book")?,
                TradingPhase::Auction | TradingPhase::Halted => {}
            }
        }
        for user in &self.users {
            ensure(
                user.open_orders <= self.limits.open_orders_per_user_max,
                "open orders of a user",
            )?;
            ensure(
                user.suspension.is_none() || user.open_orders == 0,
                "orders of a suspended user",
            )?;
        }
        Ok(())
    }

    fn order_of(&self, message: &message::Order) -> Result<Order> {
        let order = Order {
            order_id: OrderId(message.order_id),
            user: UserId(message.user),
            client_order_id: text(&message.client_order_id, "client_order_id")?,
            instrument: InstrumentId(message.instrument),
            side: some(value(&SIDES, message.side), "side")?,
            price_e4: message.price_e4,
            quantity: message.quantity,
            filled_quantity: message.filled_quantity,
            status: OrderStatus::Open,
            created_unix_ns: message.created_unix_ns,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancelled,
            post_only: message.post_only,
            self_trade_prevention: some(
                value(&SELF_TRADE_PREVENTIONS, message.self_trade_prevention),
                "self_trade_prevention",
            )?,
            event_seq: message.event_seq,
        };
        ensure((message.user as usize) < self.users.len(), "an order's owner")?;
        let listing = some(self.listings.get(message.instrument as usize), "an order's instrument")?;
        form(
            OrderTerms {
                side: order.side,
                price_e4: order.price_e4,
                quantity: order.quantity,
                order_type: order.order_type,
                time_in_force: order.time_in_force,
                post_only: order.post_only,
                self_trade_prevention: order.self_trade_prevention,
            }
            .validate(),
        )?;
        check_price(listing, order.price_e4)?;
        ensure(
            listing.check_notional(order.price_e4, order.quantity).is_ok(),
            "an order's amount",
        )?;
        ensure((0..order.quantity).contains(&order.filled_quantity), "filled_quantity")?;
        self.check_past(order.order_id, order.event_seq)?;
        Ok(order)
    }

    fn restore_accounts(&mut self, records: &mut Records<'_>) -> Result<()> {
        let mut held = vec![(0_i128, 0_i128); self.listings.len()];
        while let Some(record) = records.next_of(tag::ACCOUNT)? {
            let message: message::Account = parsed(record)?;
            let (user, instrument) = (UserId(message.user), InstrumentId(message.instrument));
            ensure((message.user as usize) < self.users.len(), "an account's owner")?;
            let held = some(held.get_mut(message.instrument as usize), "an account's instrument")?;
            let quantity = sum(&message.quantity, "a position")?;
            let cash_e4 = sum(&message.cash_e4, "a position's cash")?;
            held.0 = some(held.0.checked_add(quantity), "a position")?;
            held.1 = some(held.1.checked_add(cash_e4), "a position's cash")?;
            let limits = InstrumentRiskLimits {
                order_quantity: message.order_quantity.as_ref().map(window_limit),
                order_amount: message.order_amount.as_ref().map(window_limit),
                max_outstanding_quantity: message.max_outstanding_quantity,
                max_outstanding_amount_e4: message.max_outstanding_amount_e4,
                max_order_quantity: message.max_order_quantity,
                max_position: message.max_position,
            };
            form(validate_instrument_limits(&limits))?;
            let risk = AccountRisk {
                limits,
                quantities: self.window(&message.quantities, limits.order_quantity)?,
                amounts: self.window(&message.amounts, limits.order_amount)?,
            };
            let account = self.account_for(user, instrument);
            let account = &mut self.accounts[account as usize];
            account.quantity = quantity;
            account.cash_e4 = cash_e4;
            let has_risk =
                limits != InstrumentRiskLimits::default() || risk.quantities.is_some() || risk.amounts.is_some();
            account.risk = has_risk.then(|| Box::new(risk));
        }
        ensure(held.iter().all(|held| *held == (0, 0)), "what some hold, others owe")
    }

    fn restore_client_ids(&mut self, records: &mut Records<'_>, counts: &[usize]) -> Result<()> {
        for (user, count) in self.users.iter_mut().zip(counts) {
            user.client_ids.make_room(*count);
        }
        let mut open = 0;
        let mut message = message::ClientId::default();
        while let Some(record) = records.next_of(tag::CLIENT_ID)? {
            parse(&mut message, record)?;
            let user = some(self.users.get(message.user as usize), "a client id's owner")?;
            let id = text(&message.client_order_id, "client_order_id")?;
            ensure(
                !id.is_empty() && user.client_ids.get(&id).is_none(),
                "a client id twice",
            )?;
            let insert = first_insert(&message)?;
            ensure(
                (message.instrument as usize) < self.listings.len(),
                "a client id's instrument",
            )?;
            self.check_past(insert.order_id, insert.event_seq)?;
            ensure(insert.report_seq <= user.report_seq, "a client id's report")?;
            let slot = self.orders.find(insert.order_id);
            let order = slot.map(|slot| self.orders.order(slot));
            if let Some(order) = order {
                let fits = order.user.0 == message.user
                    && order.client_order_id == id
                    && order.instrument == insert.instrument
                    && order.side == insert.terms.side;
                ensure(fits, "a client id's order")?;
                open += 1;
            }
            ensure(order.is_none() == message.done, "whether a client id's order is done")?;
            let ids = &mut self.users[message.user as usize].client_ids;
            ensure(
                !message.done || ids.done_count() < self.limits.client_order_ids_per_user_max as usize,
                "client ids",
            )?;
            let place = ids.open(&id, ids.hash(&id), insert);
            match slot {
                Some(slot) => self.orders.details_mut(slot).client_id = place,
                None => ids.done(place, self.limits.client_order_ids_per_user_max),
            }
        }
        let with_id = self
            .orders
            .iter()
            .filter(|open| !open.order.client_order_id.is_empty())
            .count();
        ensure(open == with_id, "an open order's client id")
    }

    fn window(
        &self,
        window: &Option<message::Window>,
        limit: Option<RollingWindowLimit>,
    ) -> Result<Option<RollingWindow>> {
        ensure(limit.is_none() || window.is_some(), "a limit that counts nothing")?;
        let Some(window) = window else { return Ok(None) };
        let mut moments = Vec::with_capacity(window.moments.len());
        for moment in &window.moments {
            ensure(moment.time_unix_ns <= self.time_unix_ns, "a moment of the future")?;
            moments.push((moment.time_unix_ns, sum(&moment.amount, "a window's amount")?));
        }
        let moments_max = self.limits.rolling_window_moments_max;
        let window = some(RollingWindow::restored(moments.into_iter(), moments_max), "a window")?;
        Ok(Some(window))
    }

    fn check_past(&self, order: OrderId, event_seq: u64) -> Result<()> {
        let sequence = sequence_of(order);
        ensure(
            sequence > 0 && sequence <= sequence_of(self.orders.last_id()) && (1..=self.event_seq).contains(&event_seq),
            "an order of the future",
        )
    }
}

fn first_insert(message: &message::ClientId) -> Result<FirstInsert> {
    let terms = OrderTerms {
        side: some(value(&SIDES, message.side), "side")?,
        price_e4: message.price_e4,
        quantity: message.quantity,
        order_type: some(value(&ORDER_TYPES, message.order_type), "order_type")?,
        time_in_force: some(value(&TIMES_IN_FORCE, message.time_in_force), "time_in_force")?,
        post_only: message.post_only,
        self_trade_prevention: some(
            value(&SELF_TRADE_PREVENTIONS, message.self_trade_prevention),
            "self_trade_prevention",
        )?,
    };
    form(terms.validate())?;
    Ok(FirstInsert {
        instrument: InstrumentId(message.instrument),
        terms,
        order_id: OrderId(message.order_id),
        event_seq: message.event_seq,
        report_seq: message.report_seq,
    })
}

fn check_price(listing: &Listing, price_e4: i64) -> Result<()> {
    ensure(
        (-PRICE_E4_MAX..=PRICE_E4_MAX).contains(&price_e4) && listing.check_tick(price_e4).is_ok(),
        "a price",
    )
}

fn window_limit(limit: &message::WindowLimit) -> RollingWindowLimit {
    RollingWindowLimit {
        limit: limit.limit,
        window_in_seconds: limit.window_in_seconds,
    }
}
