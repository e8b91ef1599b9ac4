//! What an accepted command did. One command is one event, whatever it caused.

use std::ops::Range;

use crate::types::{
    Indicative, Instrument, InstrumentId, Level, Order, OrderId, OrderStatus, Side, TradeId, TradingPhase, UserId,
};

/// One event: everything that one accepted command did. Reused between commands by [`Event::clear`],
/// so that a steady state allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Position in the exchange's single order, from 1.
    pub event_seq: u64,
    /// When, nanoseconds since the Unix epoch.
    pub time_unix_ns: i64,
    /// What the reply says.
    pub outcome: Outcome,
    /// Trades, in the order they happened; all of one instrument.
    pub trades: Vec<Trade>,
    /// What happened to orders, in the order it happened.
    pub reports: Vec<Report>,
    /// Books of which something visible changed, each at most once.
    pub books: Vec<BookChange>,
    /// Changed levels of `books`, best first.
    pub levels: Vec<Level>,
}

impl Event {
    /// Empties the event, and keeps what it has allocated, unless that is what only a giant needed.
    #[inline]
    pub fn clear(&mut self) {
        // Whether any is at least a power of two is told by all of them together.
        let items = self.trades.len() | self.reports.len() | self.books.len() | self.levels.len();
        self.event_seq = 0;
        self.time_unix_ns = 0;
        self.outcome = Outcome::None;
        self.trades.clear();
        self.reports.clear();
        self.books.clear();
        self.levels.clear();
        if items >= ITEMS_KEPT_MAX {
            self.give_back();
        }
    }

    /// Gives back what only a giant needed. Room doubles as it is needed: that of fewer items is little more.
    #[cold]
    fn give_back(&mut self) {
        self.trades.shrink_to(ITEMS_KEPT_MAX);
        self.reports.shrink_to(ITEMS_KEPT_MAX);
        self.books.shrink_to(ITEMS_KEPT_MAX);
        self.levels.shrink_to(ITEMS_KEPT_MAX);
    }

    /// New totals of one side's changed levels, best first.
    pub fn changed_levels(&self, change: &BookChange, side: Side) -> &[Level] {
        let range = match side {
            Side::Buy => &change.bids,
            Side::Sell => &change.asks,
        };
        &self.levels[range.start as usize..range.end as usize]
    }
}

/// Items of each kind that a cleared event keeps room for.
const ITEMS_KEPT_MAX: usize = 1 << 16;

/// What the reply to a command says beside its trades and reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// No command yet.
    #[default]
    None,
    /// A user is known from now on, or was already.
    UserRegistered(UserId),
    /// A new instrument, and its empty book.
    InstrumentCreated(Box<Instrument>),
    /// A book's phase, changed or not.
    PhaseSet(InstrumentId, TradingPhase),
    /// How many orders a suspension cancelled.
    UserSuspended(UserId, u64),
    /// A user may trade.
    UserResumed(UserId),
    /// New limits of a user.
    UserRiskLimitsSet(UserId),
    /// New limits of a user in an instrument.
    InstrumentRiskLimitsSet(UserId, InstrumentId),
    /// Where a new order stands after matching; its trades are the event's.
    Inserted(OrderOutcome),
    /// Where an amended order stands after matching; its trades are the event's.
    Amended(OrderOutcome),
    /// An order that was cancelled, and the lots that will never trade.
    Cancelled(OrderId, i64),
    /// How many orders were cancelled: of a cancel-all, or of a broken stream. The reports name them.
    AllCancelled(u64),
}

/// Where an order stands after an insert or amend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderOutcome {
    /// The order.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: OrderStatus,
    /// Sum of its fills, over its life.
    pub filled_quantity: i64,
    /// What rests now.
    pub open_quantity: i64,
}

/// One execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Id.
    pub trade_id: TradeId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// The resting order's price, or the auction's.
    pub price_e4: i64,
    /// Lots.
    pub quantity: i64,
    /// Side of the incoming order; none in an uncross.
    pub aggressor_side: Option<Side>,
    /// Bid.
    pub buy_order: OrderId,
    /// Owner of the bid.
    pub buyer: UserId,
    /// Ask.
    pub sell_order: OrderId,
    /// Owner of the ask.
    pub seller: UserId,
}

/// One thing that happened to one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Position in the owner's history, from 1 without gaps.
    pub report_seq: u64,
    /// What happened.
    pub kind: ReportKind,
    /// The order afterwards; its owner is the report's.
    pub order: Order,
}

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// Taken.
    Accepted,
    /// One trade.
    Fill {
        /// The trade.
        trade_id: TradeId,
        /// Its price.
        price_e4: i64,
        /// Its lots.
        quantity: i64,
        /// Whether this order was the incoming one.
        aggressor: bool,
    },
    /// Changed.
    Amended,
    /// Ended untraded; the order's status says why.
    Cancelled,
}

/// One visible change of one book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookChange {
    /// Book.
    pub instrument: InstrumentId,
    /// Position of this change in the book's history, from 1 without gaps.
    pub book_seq: u64,
    /// The new phase, if it changed.
    pub phase: Option<TradingPhase>,
    /// Changed bids, as a range of [`Event::levels`].
    pub bids: Range<u32>,
    /// Changed asks, as a range of [`Event::levels`].
    pub asks: Range<u32>,
    /// What an uncross would do now; only in an auction.
    pub indicative: Option<Indicative>,
}
