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

#[cfg(test)]
mod tests {
    use optivex_proto::v1::{BookState, Gap, Heartbeat};

    use super::*;
    use crate::record::Log;

    fn reply<T>(message: T) -> Reply<T> {
        let log = Log::default();
        let step = log.begin("test", "test");
        Reply::new(message, At::new(log, step))
    }

    fn one(price_e4: i64, quantity: i64, order_count: i32) -> PriceLevel {
        PriceLevel {
            price_e4,
            quantity,
            order_count,
        }
    }

    fn snapshot(book_seq: u64, bids: Vec<PriceLevel>, asks: Vec<PriceLevel>) -> Event {
        Event::Snapshot(BookSnapshot {
            symbol: "A".to_owned(),
            book_seq,
            event_seq: 5,
            phase: TradingPhase::Continuous.into(),
            checksum: checksum(&bids, &asks),
            bids,
            asks,
        })
    }

    fn update(prev_book_seq: u64, book_seq: u64, bids: Vec<PriceLevel>) -> Event {
        Event::Update(BookUpdate {
            symbol: "A".to_owned(),
            prev_book_seq,
            book_seq,
            event_seq: 6,
            bids,
            ..BookUpdate::default()
        })
    }

    fn heartbeat(book_seq: u64, checksum: u32) -> Event {
        Event::Heartbeat(Heartbeat {
            event_seq: 9,
            books: vec![BookState {
                symbol: "A".to_owned(),
                book_seq,
                checksum,
            }],
        })
    }

    /// What the mirror says to the last of these.
    fn last(events: Vec<Event>) -> Result<Applied, String> {
        let mut mirror = Mirror::new("A");
        let mut result = Ok(Applied::Nothing);
        for event in events {
            result = mirror.apply(&reply(SubscribeOrderBooksResponse { event: Some(event) }));
        }
        result.map_err(|stop| stop.to_string())
    }

    #[test]
    fn the_checksum_is_zlibs() {
        // zlib.crc32(b"100:5:1;99:2:1;101:7:2;")
        assert_eq!(
            checksum(&[one(100, 5, 1), one(99, 2, 1)], &[one(101, 7, 2)]),
            0x83ad_0aa7
        );
        assert_eq!(checksum(&[], &[]), 0);
    }

    #[test]
    fn the_rule() {
        let start = || snapshot(3, vec![one(100, 5, 1), one(99, 2, 1)], vec![one(101, 7, 2)]);
        let gap = || {
            Event::Gap(Gap {
                symbol: "A".to_owned(),
                after_book_seq: 3,
                through_book_seq: 8,
            })
        };
        let after = checksum(&[one(99, 2, 1)], &[one(101, 7, 2)]);
        let right = [
            (vec![start()], Applied::Snapshot),
            (
                vec![start(), update(3, 4, vec![one(100, 0, 0)])],
                Applied::Update(Vec::new()),
            ),
            (
                vec![start(), update(3, 7, vec![one(100, 0, 0)]), heartbeat(7, after)],
                Applied::Heartbeat(9),
            ),
            (vec![start(), gap()], Applied::Gap),
            (
                vec![start(), gap(), snapshot(8, Vec::new(), Vec::new())],
                Applied::Snapshot,
            ),
        ];
        for (events, applied) in right {
            assert_eq!(last(events.clone()), Ok(applied), "{events:?}");
        }
        let wrong = [
            (
                vec![update(0, 1, Vec::new())],
                "a snapshot of the book before its first update",
            ),
            (vec![start(), update(2, 4, Vec::new())], "prev_book_seq 3"),
            (vec![start(), update(4, 5, Vec::new())], "prev_book_seq 3"),
            (vec![start(), update(3, 3, Vec::new())], "book_seq after prev_book_seq"),
            (
                vec![start(), update(3, 4, vec![one(100, -1, 1)])],
                "a quantity and orders",
            ),
            (
                vec![start(), update(3, 4, vec![one(100, 0, 1)])],
                "a quantity and orders",
            ),
            (
                vec![start(), update(3, 4, vec![one(100, 4, 0)])],
                "a quantity and orders",
            ),
            (vec![start(), heartbeat(4, after)], "book_seq of the heartbeat 3"),
            (vec![start(), heartbeat(3, after)], "checksum of the heartbeat"),
            (
                vec![start(), gap(), update(3, 4, Vec::new())],
                "a snapshot of the book to follow a gap",
            ),
            (
                vec![start(), gap(), snapshot(7, Vec::new(), Vec::new())],
                "through_book_seq 8",
            ),
            (
                vec![snapshot(3, vec![one(99, 2, 1), one(100, 5, 1)], Vec::new())],
                "bids best first",
            ),
            (
                vec![snapshot(3, Vec::new(), vec![one(100, 2, 1), one(100, 5, 1)])],
                "asks best first",
            ),
            (vec![snapshot(3, vec![one(99, 0, 0)], Vec::new())], "no empty levels"),
        ];
        for (events, expected) in wrong {
            match last(events.clone()) {
                Err(told) if told.contains(expected) => {}
                other => panic!("{events:?}: {other:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_mirror_equals_a_snapshot_or_says_what_differs() {
        let book = |quantity: i64| {
            let Event::Snapshot(snapshot) = snapshot(3, vec![one(100, quantity, 1)], Vec::new()) else {
                unreachable!("made above")
            };
            reply(snapshot)
        };
        let mirror = Mirror::of(&book(5)).expect("well-formed");
        assert_eq!(mirror.equals(&book(5)), Ok(()));
        let told = mirror.equals(&book(6)).expect_err("differs").to_string();
        assert!(told.starts_with("bids is"), "{told}");
    }
}
