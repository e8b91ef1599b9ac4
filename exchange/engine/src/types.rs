//! The vocabulary of the exchange: ids, bounded names, sides, phases, the ways an order can live.

use arrayvec::ArrayString;

/// Largest price either way, in 1e-4 (contract: common.proto, Bounds).
pub const PRICE_E4_MAX: i64 = 10_000_000_000_000;
/// Largest quantity of one order, in lots.
pub const QUANTITY_MAX: i64 = 1_000_000_000;
/// Largest contract multiplier.
pub const MULTIPLIER_MAX: i64 = 1_000_000;
/// Largest |price| × quantity × multiplier of one order, in 1e-4.
pub const NOTIONAL_E4_MAX: i128 = 100_000_000_000_000;
/// Longest rolling window of a risk limit.
pub const WINDOW_SECONDS_MAX: i32 = 86_400;
/// Longest client order id, in bytes.
pub const CLIENT_ORDER_ID_BYTES_MAX: usize = 36;
/// Longest client request id, in bytes.
pub const CLIENT_REQUEST_ID_BYTES_MAX: usize = 64;
/// Longest symbol, in bytes.
pub const SYMBOL_BYTES_MAX: usize = 16;
/// Longest user name, in bytes.
pub const USERNAME_BYTES_MAX: usize = 64;
/// Longest free text (an instrument's description, a suspension's comment), in bytes.
pub const TEXT_BYTES_MAX: usize = 256;

/// A client's own id of an order; empty for none.
pub type ClientOrderId = ArrayString<CLIENT_ORDER_ID_BYTES_MAX>;
/// A client's own id of an administrative request; empty for none.
pub type ClientRequestId = ArrayString<CLIENT_REQUEST_ID_BYTES_MAX>;
/// A user's name.
pub type Username = ArrayString<USERNAME_BYTES_MAX>;
/// An instrument's key: 1 to 16 characters of `A-Z`, `0-9`, `.`, `_` and `-`.
pub type Symbol = ArrayString<SYMBOL_BYTES_MAX>;

/// A user, in the order of registration, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u32);

/// An instrument, in the order of creation, from 0. The contract's `order_book_id` is one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentId(pub u32);

impl InstrumentId {
    /// The contract's `order_book_id`: never 0, never reused.
    pub fn order_book_id(self) -> u64 {
        u64::from(self.0) + 1
    }
}

/// An order: unique over all instruments and increasing, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

/// A trade: unique over all instruments and increasing, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TradeId(pub u64);

/// Side of an order or of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Bid.
    Buy,
    /// Ask.
    Sell,
}

impl Side {
    /// The side that this one trades against.
    pub fn opposite(self) -> Self {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }
}

/// How an order is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderType {
    /// At its price or better.
    Limit,
    /// At any price; never rests.
    Market,
}

/// How long an order lives (FIX tag 59).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeInForce {
    /// Rests until filled or cancelled.
    GoodTillCancelled,
    /// Trades what it can; the remainder is cancelled.
    ImmediateOrCancel,
    /// Trades whole or is refused.
    FillOrKill,
}

/// What happens when an order would trade with another of the same user. The incoming order's choice counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelfTradePrevention {
    /// The incoming order's remainder is cancelled.
    CancelIncoming,
    /// The resting order is cancelled, and matching goes on.
    CancelResting,
    /// Both are cancelled.
    CancelBoth,
}

/// What a book does with orders at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TradingPhase {
    /// Orders rest and may cross, nothing trades.
    Auction,
    /// Price-time priority matching.
    Continuous,
    /// Orders rest; only cancels are taken.
    Halted,
    /// Final.
    Closed,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Rests, whole or in part.
    Open,
    /// Traded whole.
    Filled,
    /// Ended with something untraded.
    Cancelled(CancelReason),
}

/// Why an order ended untraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// The user cancelled it.
    User,
    /// Remainder of an order that does not rest.
    TimeInForce,
    /// Self-trade prevention.
    SelfTrade,
    /// The report stream that guarded it broke.
    Disconnect,
    /// The user was suspended.
    Suspended,
    /// The book closed.
    Closed,
}

/// Something that can be traded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Place in the list of instruments.
    pub id: InstrumentId,
    /// Unique key.
    pub symbol: Symbol,
    /// Free text for people.
    pub description: String,
    /// ISO 4217 code.
    pub currency: ArrayString<3>,
    /// Currency units per lot and per 1.0000 of price.
    pub multiplier: i64,
    /// Smallest price step, in 1e-4.
    pub tick_size_e4: i64,
    /// Current phase.
    pub phase: TradingPhase,
    /// When it was created, nanoseconds since the Unix epoch.
    pub created_unix_ns: i64,
}

/// All that rests at one price on one side; quantity 0 in a change: the level is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Price, in 1e-4.
    pub price_e4: i64,
    /// Sum of what remains, in lots.
    pub quantity: i64,
    /// How many orders rest here.
    pub order_count: u32,
}

/// What would happen if a book uncrossed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indicative {
    /// Price, in 1e-4.
    pub price_e4: i64,
    /// Lots that would trade; at least 1.
    pub quantity: i64,
}

/// An order as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Exchange's id.
    pub order_id: OrderId,
    /// Owner.
    pub user: UserId,
    /// User's id; empty for none.
    pub client_order_id: ClientOrderId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Limit price, in 1e-4; 0 for a market order.
    pub price_e4: i64,
    /// Total lots.
    pub quantity: i64,
    /// Lots traded.
    pub filled_quantity: i64,
    /// Where it stands.
    pub status: OrderStatus,
    /// When it was inserted.
    pub created_unix_ns: i64,
    /// Pricing.
    pub order_type: OrderType,
    /// Life.
    pub time_in_force: TimeInForce,
    /// As inserted.
    pub post_only: bool,
    /// As inserted.
    pub self_trade_prevention: SelfTradePrevention,
    /// Last event that changed it.
    pub event_seq: u64,
}

impl Order {
    /// Lots that rest now.
    pub fn open_quantity(&self) -> i64 {
        match self.status {
            OrderStatus::Open => self.quantity - self.filled_quantity,
            OrderStatus::Filled | OrderStatus::Cancelled(_) => 0,
        }
    }
}

/// At most `limit` in any half-open window of this length, wherever it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollingWindowLimit {
    /// At least 0.
    pub limit: i64,
    /// 1 to [`WINDOW_SECONDS_MAX`].
    pub window_in_seconds: i32,
}

/// Limits of a user over all instruments; `None` does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserRiskLimits {
    /// Inserts, amends and cancels; a cancel-all is one.
    pub message_rate: Option<RollingWindowLimit>,
    /// Lots in open orders, both sides added.
    pub max_outstanding_quantity: Option<i64>,
    /// |price| × quantity × multiplier of open orders, both sides added, in 1e-4.
    pub max_outstanding_amount_e4: Option<i64>,
}

/// Limits of a user in one instrument; `None` does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstrumentRiskLimits {
    /// Lots inserted.
    pub order_quantity: Option<RollingWindowLimit>,
    /// |price| × quantity × multiplier inserted, in 1e-4.
    pub order_amount: Option<RollingWindowLimit>,
    /// Lots in open orders, both sides added.
    pub max_outstanding_quantity: Option<i64>,
    /// |price| × quantity × multiplier of open orders, both sides added, in 1e-4.
    pub max_outstanding_amount_e4: Option<i64>,
    /// Lots in one order.
    pub max_order_quantity: Option<i64>,
    /// Lots held, long or short, if every open order of one side traded.
    pub max_position: Option<i64>,
}
