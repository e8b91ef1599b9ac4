//! Changes merged for conflated readers: those of many updates as one.

use std::collections::{BTreeMap, VecDeque};

use optivex_engine::types::{Level, Side, TradingPhase};
use optivex_proto::v1;

use super::channel::{Print, Update, wire_phase};
use super::frame::{Frame, price_levels};

/// Trades of one book that are kept for a conflated reader (contract: `DELIVERY_CONFLATED`).
pub(super) const CONFLATED_TRADES_MAX: usize = 10_000;
/// Changed levels of one book that are kept for conflated readers once the updates are evicted.
const TAIL_LEVELS_MAX: usize = 16_384;

/// Updates that were evicted, merged, each level and trade with the position of its last change: a
/// reader takes what changed at or after its own position.
#[derive(Debug)]
pub(super) struct Tail {
    /// Oldest position that was merged.
    start: u64,
    bids: BTreeMap<i64, (u64, Level)>,
    asks: BTreeMap<i64, (u64, Level)>,
    trades: VecDeque<(u64, Print)>,
    /// Last position of which a trade was dropped.
    lost_trades: Option<u64>,
    phase: Option<(u64, TradingPhase)>,
    last: Option<(u64, u64)>,
}

impl Tail {
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            trades: VecDeque::new(),
            lost_trades: None,
            phase: None,
            last: None,
        }
    }

    /// Merges the update that was evicted from a position; positions follow one another.
    pub(super) fn absorb(&mut self, position: u64, update: &Update) {
        self.bids
            .extend(update.bids.iter().map(|level| (level.price_e4, (position, *level))));
        self.asks
            .extend(update.asks.iter().map(|level| (level.price_e4, (position, *level))));
        self.trades.extend(update.trades.iter().map(|print| (position, *print)));
        while self.trades.len() > CONFLATED_TRADES_MAX {
            self.lost_trades = self.trades.pop_front().map(|(position, _)| position);
        }
        if let Some(phase) = update.phase {
            self.phase = Some((position, phase));
        }
        self.last = Some((update.book_seq, update.event_seq));
    }

    pub(super) fn is_full(&self) -> bool {
        self.bids.len() + self.asks.len() > TAIL_LEVELS_MAX
    }

    pub(super) fn bytes(&self) -> usize {
        64 * (self.bids.len() + self.asks.len()) + 64 * self.trades.len()
    }

    /// What changed at or after a position; `None` if not all of it is known.
    pub(super) fn since(&self, cursor: u64) -> Option<Merge> {
        if cursor < self.start || self.lost_trades.is_some_and(|lost| lost >= cursor) {
            return None;
        }
        let mut merge = Merge::new();
        for (levels, merged) in [(&self.bids, &mut merge.bids), (&self.asks, &mut merge.asks)] {
            merged.extend(
                levels
                    .iter()
                    .filter(|(_, (position, _))| *position >= cursor)
                    .map(|(price_e4, (_, level))| (*price_e4, *level)),
            );
        }
        merge.trades.extend(
            self.trades
                .iter()
                .filter(|(position, _)| *position >= cursor)
                .map(|(_, print)| *print),
        );
        merge.phase = self
            .phase
            .filter(|(position, _)| *position >= cursor)
            .map(|(_, phase)| phase);
        merge.last = self.last;
        Some(merge)
    }
}

/// Several updates as one.
#[derive(Debug)]
pub(super) struct Merge {
    bids: BTreeMap<i64, Level>,
    asks: BTreeMap<i64, Level>,
    trades: Vec<Print>,
    phase: Option<TradingPhase>,
    /// book_seq and event_seq of the last one.
    last: Option<(u64, u64)>,
}

impl Merge {
    pub(super) fn new() -> Self {
        Self {
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            trades: Vec::new(),
            phase: None,
            last: None,
        }
    }

    pub(super) fn add(&mut self, update: &Update) {
        self.bids
            .extend(update.bids.iter().map(|level| (level.price_e4, *level)));
        self.asks
            .extend(update.asks.iter().map(|level| (level.price_e4, *level)));
        // One more than allowed is enough to know that there are too many.
        let room = (CONFLATED_TRADES_MAX + 1).saturating_sub(self.trades.len());
        self.trades.extend(update.trades.iter().take(room));
        self.phase = update.phase.or(self.phase);
        self.last = Some((update.book_seq, update.event_seq));
    }

    /// Whether a Gap takes the place of this.
    pub(super) fn has_too_many_trades(&self) -> bool {
        self.trades.len() > CONFLATED_TRADES_MAX
    }

    /// The update for a reader that holds `held`, and the book_seq that it holds then; `None` if
    /// nothing was merged.
    pub(super) fn frame(self, symbol: &str, held: u64) -> Option<(Frame, u64)> {
        let (book_seq, event_seq) = self.last?;
        let best_first = |levels: BTreeMap<i64, Level>, side| match side {
            Side::Buy => price_levels(levels.values().rev()),
            Side::Sell => price_levels(levels.values()),
        };
        let update = v1::BookUpdate {
            symbol: symbol.to_owned(),
            prev_book_seq: held,
            book_seq,
            event_seq,
            bids: best_first(self.bids, Side::Buy),
            asks: best_first(self.asks, Side::Sell),
            trades: self.trades.iter().map(|print| print.message(symbol)).collect(),
            phase: wire_phase(self.phase),
        };
        let event = v1::subscribe_order_books_response::Event::Update(update);
        Some((Frame::new(event), book_seq))
    }
}
