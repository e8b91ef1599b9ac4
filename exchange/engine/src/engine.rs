//! The state machine.

use crate::command::{Input, OrderRef};
use crate::event::Event;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::types::{
    Indicative, Instrument, InstrumentId, InstrumentRiskLimits, Level, Order, OrderId, Side, TradingPhase, UserId,
    UserRiskLimits,
};

/// The whole state of the exchange.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
}

/// How a command was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// As a new event, which the caller's [`Event`] now holds.
    Event,
    /// As the retry of an insert; nothing happened. The first answer is told by the reports of event
    /// `event_seq`, the first of which is the user's `report_seq`.
    OrderRepeated {
        /// The order of the first insert.
        order_id: OrderId,
        /// Event of the first insert.
        event_seq: u64,
        /// Its ACCEPTED report.
        report_seq: u64,
    },
    /// As the retry of a creation; nothing happened.
    InstrumentRepeated {
        /// The instrument as first answered.
        instrument: Box<Instrument>,
        /// Event of its creation.
        event_seq: u64,
    },
}

/// What a user holds of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Lots: long above zero, short below.
    pub quantity: i64,
    /// Money paid (below zero) and received (above), multiplier applied, in 1e-4; stops at the ends of i64.
    pub cash_e4: i64,
    /// Value at the last trade's price, multiplier applied, in 1e-4; stops at the ends of i64.
    pub market_value_e4: i64,
    /// Lots in open buy orders.
    pub open_buy_quantity: i64,
    /// Lots in open sell orders.
    pub open_sell_quantity: i64,
}

/// How much of one limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskUsage {
    /// Field name of the limit in the contract.
    pub limit_name: &'static str,
    /// Instrument; none for a limit over all.
    pub instrument: Option<InstrumentId>,
    /// What counts now; stops at the ends of i64.
    pub current: i64,
    /// The limit, if there is one.
    pub limit: Option<i64>,
}

/// What an engine knows of one of a user's orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderLookup {
    /// It is open.
    Open(Order),
    /// It is done: history has it.
    Done(OrderId),
    /// Not known here: history may have it, if it is done.
    Unknown,
}

#[allow(unused_variables, clippy::todo)]
impl Engine {
    /// An exchange without users, instruments and orders.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Applies one input. `Ok(Applied::Event)` leaves the event in `event`; otherwise `event` is left
    /// cleared and the state, digest included, is as before.
    pub fn apply(&mut self, input: &Input, event: &mut Event) -> Result<Applied, Refusal> {
        todo!()
    }

    /// The bounds that this state was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Last event, 0 before the first.
    pub fn event_seq(&self) -> u64 {
        todo!()
    }

    /// Time of the last event.
    pub fn time_unix_ns(&self) -> i64 {
        todo!()
    }

    /// Last order id given out, 0 before the first.
    pub fn last_order_id(&self) -> OrderId {
        todo!()
    }

    /// Last trade id given out, 0 before the first.
    pub fn last_trade_id(&self) -> u64 {
        todo!()
    }

    /// All users' names; the index is the [`UserId`].
    pub fn usernames(&self) -> impl ExactSizeIterator<Item = &str> {
        std::iter::empty()
    }

    /// All instruments; the index is the [`InstrumentId`].
    pub fn instruments(&self) -> impl ExactSizeIterator<Item = &Instrument> {
        std::iter::empty()
    }

    /// One instrument.
    pub fn instrument(&self, instrument: InstrumentId) -> Option<&Instrument> {
        todo!()
    }

    /// Phase of a book.
    pub fn phase(&self, instrument: InstrumentId) -> Option<TradingPhase> {
        todo!()
    }

    /// Last visible change of a book.
    pub fn book_seq(&self, instrument: InstrumentId) -> u64 {
        todo!()
    }

    /// Levels of one side, best first.
    pub fn levels(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = Level> {
        std::iter::empty()
    }

    /// Orders of one side in priority: best price first, then oldest.
    pub fn resting_orders(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = Order> {
        std::iter::empty()
    }

    /// What an uncross would do now; `None` outside an auction and when nothing would trade.
    pub fn indicative(&self, instrument: InstrumentId) -> Option<Indicative> {
        todo!()
    }

    /// Price of the last trade.
    pub fn last_trade_price_e4(&self, instrument: InstrumentId) -> Option<i64> {
        todo!()
    }

    /// A user's open orders with ids above `after`, by id.
    pub fn open_orders(
        &self,
        user: UserId,
        instrument: Option<InstrumentId>,
        after: OrderId,
    ) -> impl Iterator<Item = Order> {
        std::iter::empty()
    }

    /// One of a user's orders.
    pub fn order(&self, user: UserId, order: OrderRef) -> OrderLookup {
        todo!()
    }

    /// Last execution report of a user, 0 before the first.
    pub fn report_seq(&self, user: UserId) -> u64 {
        todo!()
    }

    /// Positions of a user that are not all zero, by instrument.
    pub fn positions(&self, user: UserId) -> Vec<Position> {
        todo!()
    }

    /// Why a user is suspended, if it is.
    pub fn suspension(&self, user: UserId) -> Option<&str> {
        todo!()
    }

    /// A user's limits over all instruments.
    pub fn user_risk_limits(&self, user: UserId) -> UserRiskLimits {
        todo!()
    }

    /// A user's limits by instrument, those without any left out.
    pub fn instrument_risk_limits(&self, user: UserId) -> Vec<(InstrumentId, InstrumentRiskLimits)> {
        todo!()
    }

    /// Every limit that is set and every outstanding sum that is not zero, at a moment not before the
    /// last event.
    pub fn risk_usage(&self, user: UserId, now_unix_ns: i64) -> Vec<RiskUsage> {
        todo!()
    }

    /// The whole state as bytes (protobuf, versioned).
    pub fn snapshot(&self) -> Vec<u8> {
        todo!()
    }

    /// The state that [`Engine::snapshot`] wrote.
    pub fn restore(snapshot: &[u8]) -> Result<Self, SnapshotError> {
        todo!()
    }

    /// SHA-256 over the canonical form of the state: equal after restore and after replay.
    pub fn digest(&self) -> [u8; 32] {
        todo!()
    }
}

/// A snapshot that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a snapshot of the exchange: {0}")]
pub struct SnapshotError(pub String);
