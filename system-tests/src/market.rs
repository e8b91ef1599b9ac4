//! A mirror of one book, kept by the contract's rule for subscribers of PRICE_DEPTH.

use std::collections::BTreeMap;
use std::fmt::Write;

use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{BookSnapshot, BookUpdate, PriceLevel, SubscribeOrderBooksResponse, Trade, TradingPhase};

use crate::client::{At, Reply};
use crate::verdict::Verdict;

/// Quantity and number of orders by price.
type Levels = BTreeMap<i64, (i64, i32)>;

/// What a subscriber of one book holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    symbol: String,
    known: bool,
    gap: Option<u64>,
    bids: Levels,
    asks: Levels,
    book_seq: u64,
    event_seq: u64,
    phase: TradingPhase,
}

/// What a message did to a mirror.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// Nothing: another book's, or no news.
    Nothing,
    /// A whole book came.
    Snapshot,
    /// Changes came, with these trades.
    Update(Vec<Trade>),
    /// A gap was told: a snapshot follows.
    Gap,
    /// Everything up to this event was sent.
    Heartbeat(u64),
}

/// The text's CRC-32 (ISO-HDLC) over `price_e4:quantity:order_count;`, bids then asks, best first.
pub fn checksum<'a>(
    bids: impl IntoIterator<Item = &'a PriceLevel>,
    asks: impl IntoIterator<Item = &'a PriceLevel>,
) -> u32 {
    let mut text = String::new();
    for level in bids.into_iter().chain(asks) {
        let _ = write!(text, "{}:{}:{};", level.price_e4, level.quantity, level.order_count);
    }
    crc32fast::hash(text.as_bytes())
}

impl Mirror {
    /// An empty mirror that waits for its first snapshot.
    pub fn new(symbol: &str) -> Self {
        Self {
            symbol: symbol.to_owned(),
            ..Self::default()
        }
    }

    /// A mirror that holds this snapshot.
    pub fn of(snapshot: &Reply<BookSnapshot>) -> Verdict<Self> {
        let mut mirror = Self::new(&snapshot.symbol);
        mirror.snapshot(snapshot.at(), snapshot)?;
        Ok(mirror)
    }

    /// Whether a snapshot came.
    pub fn known(&self) -> bool {
        self.known
    }

    /// The `book_seq` that is held.
    pub fn book_seq(&self) -> u64 {
        self.book_seq
    }

    /// Newest event that is known to be in it.
    pub fn event_seq(&self) -> u64 {
        self.event_seq
    }

    /// The phase that is held.
    pub fn phase(&self) -> TradingPhase {
        self.phase
    }

    /// Bids, best first.
    pub fn bids(&self) -> Vec<PriceLevel> {
        self.bids.iter().rev().map(level).collect()
    }

    /// Asks, best first.
    pub fn asks(&self) -> Vec<PriceLevel> {
        self.asks.iter().map(level).collect()
    }

    /// Checksum over what is held.
    pub fn checksum(&self) -> u32 {
        checksum(&self.bids(), &self.asks())
    }

    /// Applies a message of `SubscribeOrderBooks` by the rule; what breaks it is a failure.
    pub fn apply(&mut self, message: &Reply<SubscribeOrderBooksResponse>) -> Verdict<Applied> {
        let at = message.at();
        match &message.event {
            Some(Event::Snapshot(snapshot)) if snapshot.symbol == self.symbol => {
                self.snapshot(at, snapshot)?;
                Ok(Applied::Snapshot)
            }
            Some(Event::Update(update)) if update.symbol == self.symbol => {
                self.update(at, update)?;
                Ok(Applied::Update(update.trades.clone()))
            }
            Some(Event::Gap(gap)) if gap.symbol == self.symbol => {
                at.same("after_book_seq of the gap", gap.after_book_seq, self.book_seq)?;
                self.gap = Some(gap.through_book_seq);
                Ok(Applied::Gap)
            }
            Some(Event::Heartbeat(heartbeat)) => {
                for state in heartbeat
                    .books
                    .iter()
                    .filter(|state| state.symbol == self.symbol && self.known)
                {
                    at.same("book_seq of the heartbeat", state.book_seq, self.book_seq)?;
                    at.same("checksum of the heartbeat", state.checksum, self.checksum())?;
                }
                self.event_seq = self.event_seq.max(heartbeat.event_seq);
                Ok(Applied::Heartbeat(heartbeat.event_seq))
            }
            _ => Ok(Applied::Nothing),
        }
    }

    fn snapshot(&mut self, at: &At, snapshot: &BookSnapshot) -> Verdict {
        best_first(at, "bids", &snapshot.bids, |better, worse| better > worse)?;
        best_first(at, "asks", &snapshot.asks, |better, worse| better < worse)?;
        at.same(
            "checksum of the snapshot",
            snapshot.checksum,
            checksum(&snapshot.bids, &snapshot.asks),
        )?;
        if let Some(through) = self.gap.take() {
            at.holds(
                snapshot.book_seq >= through,
                format!("book_seq is {}", snapshot.book_seq),
                format!("a snapshot at or after the gap's through_book_seq {through}"),
            )?;
        }
        let side = |levels: &[PriceLevel]| -> Levels {
            levels
                .iter()
                .map(|level| (level.price_e4, (level.quantity, level.order_count)))
                .collect()
        };
        self.known = true;
        self.bids = side(&snapshot.bids);
        self.asks = side(&snapshot.asks);
        self.book_seq = snapshot.book_seq;
        self.event_seq = self.event_seq.max(snapshot.event_seq);
        self.phase = snapshot.phase();
        Ok(())
    }

    fn update(&mut self, at: &At, update: &BookUpdate) -> Verdict {
        at.holds(
            self.known,
            "an update",
            "a snapshot of the book before its first update",
        )?;
        at.holds(
            self.gap.is_none(),
            "an update after the gap",
            "a snapshot of the book to follow a gap",
        )?;
        at.same("prev_book_seq", update.prev_book_seq, self.book_seq)?;
        at.holds(
            update.book_seq > update.prev_book_seq,
            format!("book_seq is {}", update.book_seq),
            "book_seq after prev_book_seq",
        )?;
        change(at, "bids", &mut self.bids, &update.bids)?;
        change(at, "asks", &mut self.asks, &update.asks)?;
        if update.phase() != TradingPhase::Unspecified {
            self.phase = update.phase();
        }
        self.book_seq = update.book_seq;
        self.event_seq = self.event_seq.max(update.event_seq);
        Ok(())
    }

    /// What is held equals this snapshot of the same `book_seq`.
    pub fn equals(&self, snapshot: &Reply<BookSnapshot>) -> Verdict {
        let at = snapshot.at();
        at.same("book_seq", snapshot.book_seq, self.book_seq)?;
        at.same("bids", &snapshot.bids, &self.bids())?;
        at.same("asks", &snapshot.asks, &self.asks())?;
        at.same("phase", snapshot.phase(), self.phase)?;
        at.same("checksum", snapshot.checksum, self.checksum())
    }
}

fn level((price_e4, (quantity, order_count)): (&i64, &(i64, i32))) -> PriceLevel {
    PriceLevel {
        price_e4: *price_e4,
        quantity: *quantity,
        order_count: *order_count,
    }
}

fn best_first(at: &At, side: &str, levels: &[PriceLevel], better: impl Fn(i64, i64) -> bool) -> Verdict {
    for pair in levels.windows(2) {
        at.holds(
            better(pair[0].price_e4, pair[1].price_e4),
            format!("{side} has {} before {}", pair[0].price_e4, pair[1].price_e4),
            format!("{side} best first, each price once"),
        )?;
    }
    levels.iter().try_for_each(|level| {
        at.holds(
            level.quantity > 0 && level.order_count > 0,
            format!("{side} has {level:?}"),
            "no empty levels in a snapshot",
        )
    })
}

fn change(at: &At, side: &str, held: &mut Levels, levels: &[PriceLevel]) -> Verdict {
    for level in levels {
        at.holds(
            level.quantity >= 0 && (level.quantity == 0) == (level.order_count == 0),
            format!("{side} has {level:?}"),
            "a quantity and orders, or quantity 0 and none",
        )?;
        if level.quantity == 0 {
            held.remove(&level.price_e4);
        } else {
            held.insert(level.price_e4, (level.quantity, level.order_count));
        }
    }
    Ok(())
}
