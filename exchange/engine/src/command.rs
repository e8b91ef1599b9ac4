//! What can be asked of the exchange. A command of this module is well formed: its constructors
//! refuse what the contract calls the form of a request, so the engine only judges it against state.

use arrayvec::ArrayString;

use crate::types::{
    ClientOrderId, ClientRequestId, InstrumentId, InstrumentRiskLimits, MULTIPLIER_MAX, OrderId, OrderType,
    PRICE_E4_MAX, QUANTITY_MAX, RollingWindowLimit, SelfTradePrevention, Side, Symbol, TEXT_BYTES_MAX, TimeInForce,
    TradingPhase, UserId, UserRiskLimits, Username, WINDOW_SECONDS_MAX,
};

/// A field that is missing, malformed or out of range (`INVALID_FIELD`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidField {
    /// Name of the field in the contract, with its parents: `limits.max_position`.
    pub field: &'static str,
    /// What is wrong with it, for people.
    pub why: &'static str,
}

impl InvalidField {
    /// A field and what is wrong with it.
    pub fn new(field: &'static str, why: &'static str) -> Self {
        Self { field, why }
    }
}

/// One command and the moment that the exchange took it: what the journal keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Nanoseconds since the Unix epoch; an engine treats a time before its last event's as that time.
    pub time_unix_ns: i64,
    /// What to do.
    pub command: Command,
}

/// Everything that can change the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes a user known; the users file is the source. A known name is an event that changes nothing.
    RegisterUser {
        /// Name.
        username: Username,
    },
    /// Lists an instrument and opens its book.
    CreateInstrument(CreateInstrument),
    /// Moves a book to another phase.
    SetTradingPhase {
        /// Book.
        instrument: InstrumentId,
        /// Phase to go to.
        phase: TradingPhase,
    },
    /// Cancels the user's open orders and refuses new ones.
    SuspendUser {
        /// Whom.
        user: UserId,
        /// Why; at most [`TEXT_BYTES_MAX`] bytes.
        comment: String,
    },
    /// Lets a user trade again.
    ResumeUser {
        /// Whom.
        user: UserId,
    },
    /// Replaces a user's limits over all instruments.
    SetUserRiskLimits {
        /// Whose.
        user: UserId,
        /// All of them; checked by [`validate_user_limits`].
        limits: UserRiskLimits,
    },
    /// Replaces a user's limits in one instrument.
    SetInstrumentRiskLimits {
        /// Whose.
        user: UserId,
        /// Where.
        instrument: InstrumentId,
        /// All of them; checked by [`validate_instrument_limits`].
        limits: InstrumentRiskLimits,
    },
    /// Inserts an order and matches it.
    InsertOrder(InsertOrder),
    /// Changes an open order.
    AmendOrder(AmendOrder),
    /// Cancels an open order.
    CancelOrder {
        /// Owner.
        user: UserId,
        /// Which.
        order: OrderRef,
    },
    /// Cancels all open orders of a user that fit.
    CancelAllOrders {
        /// Owner.
        user: UserId,
        /// Only in this instrument.
        instrument: Option<InstrumentId>,
        /// Only on this side.
        side: Option<Side>,
    },
    /// A guarded report stream broke: cancels the user's open orders with ids above `after`. The
    /// exchange's own command: no message, counted by no limit.
    CancelOnDisconnect {
        /// Owner.
        user: UserId,
        /// Last order id that was given out before the stream began.
        after: OrderId,
    },
}

/// A new instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateInstrument {
    /// The administrator, for the scope of `client_request_id`.
    pub user: UserId,
    /// Unique key.
    pub symbol: Symbol,
    /// Free text.
    pub description: String,
    /// ISO 4217 code.
    pub currency: ArrayString<3>,
    /// 1 to [`MULTIPLIER_MAX`].
    pub multiplier: i64,
    /// 1 to [`PRICE_E4_MAX`].
    pub tick_size_e4: i64,
    /// Not closed.
    pub initial_phase: TradingPhase,
    /// Makes a retry safe; empty for none.
    pub client_request_id: ClientRequestId,
}

impl CreateInstrument {
    /// Checks the form.
    pub fn validate(&self) -> Result<(), InvalidField> {
        parse_symbol("symbol", &self.symbol)?;
        if self.description.len() > TEXT_BYTES_MAX {
            return Err(InvalidField::new("description", "at most 256 bytes"));
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(InvalidField::new("currency", "an ISO 4217 code: three letters A-Z"));
        }
        if !(1..=MULTIPLIER_MAX).contains(&self.multiplier) {
            return Err(InvalidField::new("multiplier", "1 to 1,000,000"));
        }
        if !(1..=PRICE_E4_MAX).contains(&self.tick_size_e4) {
            return Err(InvalidField::new("tick_size_e4", "1 to 10^13"));
        }
        if self.initial_phase == TradingPhase::Closed {
            return Err(InvalidField::new("initial_phase", "an instrument cannot open closed"));
        }
        Ok(())
    }
}

/// Reads a symbol of a request; one that no instrument can have is malformed, not unknown.
pub fn parse_symbol(field: &'static str, text: &str) -> Result<Symbol, InvalidField> {
    let is_of_alphabet = |byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    Symbol::from(text)
        .ok()
        .filter(|symbol| !symbol.is_empty() && symbol.bytes().all(is_of_alphabet))
        .ok_or_else(|| InvalidField::new(field, "1 to 16 characters of A-Z, 0-9, '.', '_' and '-'"))
}

/// What an insert asks for, defaults filled in: also what a retry of its client id is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderTerms {
    /// Side.
    pub side: Side,
    /// Limit price, in 1e-4; 0 for a market order.
    pub price_e4: i64,
    /// Lots.
    pub quantity: i64,
    /// Pricing.
    pub order_type: OrderType,
    /// Life.
    pub time_in_force: TimeInForce,
    /// Refuse instead of trading.
    pub post_only: bool,
    /// Self-trade prevention.
    pub self_trade_prevention: SelfTradePrevention,
}

impl OrderTerms {
    /// Checks the form; field names as in `InsertOrderRequest`.
    pub fn validate(&self) -> Result<(), InvalidField> {
        check_price(self.price_e4)?;
        if !(1..=QUANTITY_MAX).contains(&self.quantity) {
            return Err(InvalidField::new("quantity", "1 to 10^9 lots"));
        }
        if self.order_type == OrderType::Market {
            if self.price_e4 != 0 {
                return Err(InvalidField::new("price_e4", "0 for a market order"));
            }
            if self.time_in_force == TimeInForce::GoodTillCancelled {
                return Err(InvalidField::new("time_in_force", "a market order never rests"));
            }
        }
        if self.post_only && self.time_in_force != TimeInForce::GoodTillCancelled {
            return Err(InvalidField::new("post_only", "only for orders that may rest"));
        }
        Ok(())
    }
}

fn check_price(price_e4: i64) -> Result<(), InvalidField> {
    if !(-PRICE_E4_MAX..=PRICE_E4_MAX).contains(&price_e4) {
        return Err(InvalidField::new("price_e4", "at most 10^13 either way"));
    }
    Ok(())
}

/// A new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertOrder {
    /// Owner.
    pub user: UserId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// What it asks for.
    pub terms: OrderTerms,
    /// Makes a retry safe; empty for none.
    pub client_order_id: ClientOrderId,
}

/// One of a user's orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderRef {
    /// By the exchange's id.
    Id(OrderId),
    /// By the user's id; not empty.
    Client(ClientOrderId),
}

/// A change to an open order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmendOrder {
    /// Owner.
    pub user: UserId,
    /// Which.
    pub order: OrderRef,
    /// New price, in 1e-4.
    pub price_e4: Option<i64>,
    /// New total quantity, filled lots included.
    pub quantity: Option<i64>,
}

impl AmendOrder {
    /// Checks the form.
    pub fn validate(&self) -> Result<(), InvalidField> {
        if self.price_e4.is_none() && self.quantity.is_none() {
            return Err(InvalidField::new("quantity", "at least one of price_e4 and quantity"));
        }
        if let Some(price_e4) = self.price_e4 {
            check_price(price_e4)?;
        }
        if let Some(quantity) = self.quantity
            && !(0..=QUANTITY_MAX).contains(&quantity)
        {
            return Err(InvalidField::new("quantity", "0 to 10^9 lots"));
        }
        Ok(())
    }
}

/// Checks the form of a user's limits.
pub fn validate_user_limits(limits: &UserRiskLimits) -> Result<(), InvalidField> {
    check_window("limits.message_rate_rolling_limit", limits.message_rate)?;
    check_limit("limits.max_outstanding_quantity", limits.max_outstanding_quantity)?;
    check_limit("limits.max_outstanding_amount_e4", limits.max_outstanding_amount_e4)
}

/// Checks the form of a user's limits in one instrument.
pub fn validate_instrument_limits(limits: &InstrumentRiskLimits) -> Result<(), InvalidField> {
    check_window("limits.order_quantity_rolling_limit", limits.order_quantity)?;
    check_window("limits.order_amount_rolling_limit", limits.order_amount)?;
    check_limit("limits.max_outstanding_quantity", limits.max_outstanding_quantity)?;
    check_limit("limits.max_outstanding_amount_e4", limits.max_outstanding_amount_e4)?;
    check_limit("limits.max_order_quantity", limits.max_order_quantity)?;
    check_limit("limits.max_position", limits.max_position)
}

fn check_limit(field: &'static str, limit: Option<i64>) -> Result<(), InvalidField> {
    match limit {
        Some(limit) if limit < 0 => Err(InvalidField::new(field, "a limit is at least 0")),
        _ => Ok(()),
    }
}

fn check_window(field: &'static str, window: Option<RollingWindowLimit>) -> Result<(), InvalidField> {
    let Some(window) = window else { return Ok(()) };
    check_limit(field, Some(window.limit))?;
    if !(1..=WINDOW_SECONDS_MAX).contains(&window.window_in_seconds) {
        return Err(InvalidField::new(field, "window_in_seconds is 1 to 86,400"));
    }
    Ok(())
}
