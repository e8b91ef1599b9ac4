//! A client of a subscription of books that checks every promise of the contract, message by message,
//! against what the books really showed.

use std::collections::{BTreeMap, BTreeSet};

use optivex_engine::types::{Level, TradingPhase};
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{self, BookView, Delivery, ErrorReason};

use super::super::{Next, Subscription, checksum};
use super::venue::{BookTruth, Venue};

pub(super) struct Receiver {
    pub(super) subscription: Option<Subscription>,
    pub(super) request: v1::SubscribeOrderBooksRequest,
    pub(super) books: BTreeMap<String, Held>,
    pub(super) statuses: Vec<(String, ErrorReason)>,
    /// A gap whose snapshot must be the very next message.
    gap: Option<v1::Gap>,
    sent_since_heartbeat: BTreeSet<String>,
    pub(super) heartbeats: usize,
    pub(super) gaps: usize,
    pub(super) updates: usize,
    last_beat: u64,
}

/// What the receiver holds of one book.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) book_seq: u64,
    phase: v1::TradingPhase,
    bids: Vec<v1::PriceLevel>,
    asks: Vec<v1::PriceLevel>,
    /// Trades that came after the snapshot.
    pub(super) trades: Vec<(u64, i64, i64)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Idle,
    Busy,
    TooSlow,
}

pub(super) fn books(view: BookView, depth: i32, delivery: Delivery) -> v1::SubscribeOrderBooksRequest {
    v1::SubscribeOrderBooksRequest {
        symbols: Vec::new(),
        view: view.into(),
        depth,
        delivery: delivery.into(),
        resume_after: Vec::new(),
    }
}

impl Receiver {
    pub(super) fn new(venue: &mut Venue, request: v1::SubscribeOrderBooksRequest) -> Self {
        Self::resume(venue, request, BTreeMap::new())
    }

    /// Goes on with what another subscription left.
    pub(super) fn resume(
        venue: &mut Venue,
        mut request: v1::SubscribeOrderBooksRequest,
        books: BTreeMap<String, Held>,
    ) -> Self {
        request.resume_after = books
            .iter()
            .map(|(symbol, held)| v1::BookCursor {
                symbol: symbol.clone(),
                book_seq: held.book_seq,
            })
            .collect();
        let subscription = venue.subscribe(&request).expect("a good request");
        Self {
            subscription: Some(subscription),
            request,
            books,
            statuses: Vec::new(),
            gap: None,
            sent_since_heartbeat: BTreeSet::new(),
            heartbeats: 0,
            gaps: 0,
            updates: 0,
            last_beat: 0,
        }
    }

    fn depth(&self) -> usize {
        match usize::try_from(self.request.depth).expect("a good request") {
            0 => usize::MAX,
            depth => depth,
        }
    }

    fn lossless(&self) -> bool {
        self.request.delivery() != Delivery::Conflated
    }

    /// Reads everything there is.
    pub(super) fn drain(&mut self, venue: &Venue) -> End {
        self.poll(venue, usize::MAX)
    }

    /// Reads so many times: at most so many messages, if the subscription sends them one by one.
    pub(super) fn poll(&mut self, venue: &Venue, max: usize) -> End {
        for _ in 0..max {
            let Some(subscription) = &mut self.subscription else {
                return End::TooSlow;
            };
            match subscription.read() {
                Next::Frame(frame) => {
                    for event in frame.decode() {
                        self.take(venue, event);
                    }
                }
                Next::Idle => {
                    assert!(self.gap.is_none(), "a gap without a snapshot");
                    return End::Idle;
                }
                Next::Ended(error) => {
                    assert_eq!(error.reason, ErrorReason::TooSlow);
                    assert!(self.lossless(), "a conflated reader is never too slow");
                    self.subscription = None;
                    return End::TooSlow;
                }
            }
        }
        End::Busy
    }

    fn take(&mut self, venue: &Venue, event: Event) {
        if let Some(gap) = &self.gap {
            let Event::Snapshot(snapshot) = &event else {
                panic!("{event:?} after {gap:?}")
            };
            assert_eq!(
                (&snapshot.symbol, snapshot.book_seq),
                (&gap.symbol, gap.through_book_seq)
            );
        }
        match event {
            Event::Subscribed(subscribed) => self.take_statuses(&subscribed),
            Event::Snapshot(snapshot) => self.take_snapshot(venue, &snapshot),
            Event::Update(update) => self.take_update(venue, &update),
            Event::TopOfBook(top) => self.take_top(venue, &top),
            Event::Heartbeat(heartbeat) => self.take_heartbeat(venue, &heartbeat),
            Event::Gap(gap) => {
                assert!(!self.lossless());
                assert_eq!(gap.after_book_seq, self.books[&gap.symbol].book_seq);
                assert!(gap.through_book_seq > gap.after_book_seq);
                self.gaps += 1;
                self.gap = Some(gap);
            }
        }
    }

    fn take_statuses(&mut self, subscribed: &v1::Subscribed) {
        assert!(self.statuses.is_empty(), "the first message comes once");
        for status in &subscribed.statuses {
            if status.reason() == ErrorReason::CannotResume {
                // Whatever was held is worthless: a snapshot comes.
                self.books.remove(&status.symbol);
            }
            self.statuses.push((status.symbol.clone(), status.reason()));
        }
    }

    fn take_snapshot(&mut self, venue: &Venue, snapshot: &v1::BookSnapshot) {
        assert_eq!(self.request.view(), BookView::PriceDepth);
        let symbol = &snapshot.symbol;
        let held = self.books.get(symbol);
        assert!(
            self.gap.take().is_some() || held.is_none(),
            "a second snapshot of {symbol}"
        );
        let truth = &venue.truth[symbol][snapshot.book_seq as usize];
        assert!(snapshot.event_seq >= truth.event_seq);
        assert_eq!(snapshot.checksum, sum(&snapshot.bids, &snapshot.asks));
        let held = Held {
            book_seq: snapshot.book_seq,
            phase: snapshot.phase(),
            bids: snapshot.bids.clone(),
            asks: snapshot.asks.clone(),
            trades: Vec::new(),
        };
        held.check(truth, self.depth());
        self.books.insert(symbol.clone(), held);
        self.sent_since_heartbeat.insert(symbol.clone());
    }

    fn take_update(&mut self, venue: &Venue, update: &v1::BookUpdate) {
        assert_eq!(self.request.view(), BookView::PriceDepth);
        self.updates += 1;
        let depth = self.depth();
        let (lossless, full) = (self.lossless(), depth == usize::MAX);
        let held = self.books.get_mut(&update.symbol).expect("a snapshot before an update");
        assert_eq!(update.prev_book_seq, held.book_seq, "the chain of {}", update.symbol);
        assert!(update.book_seq > update.prev_book_seq);
        if lossless && full {
            assert_eq!(update.book_seq, held.book_seq + 1);
        }
        let history = &venue.truth[&update.symbol];
        let passed = &history[held.book_seq as usize + 1..=update.book_seq as usize];
        assert_eq!(update.event_seq, passed.last().expect("at least one").event_seq);
        set_levels(&mut held.bids, &update.bids, lossless, true);
        set_levels(&mut held.asks, &update.asks, lossless, false);
        let changed = passed
            .iter()
            .any(|state| v1::TradingPhase::from(state.phase) != held.phase);
        if update.phase() == v1::TradingPhase::Unspecified {
            assert!(!changed, "a phase change was not told");
        } else {
            held.phase = update.phase();
        }
        held.book_seq = update.book_seq;
        held.trades.extend(
            update
                .trades
                .iter()
                .map(|trade| (trade.trade_id, trade.price_e4, trade.quantity)),
        );
        let trades: Vec<_> = passed.iter().flat_map(|state| state.trades.clone()).collect();
        let told: Vec<_> = update
            .trades
            .iter()
            .map(|trade| (trade.trade_id, trade.price_e4, trade.quantity))
            .collect();
        assert_eq!(told, trades, "all trades, in order");
        held.check(passed.last().expect("at least one"), depth);
        self.sent_since_heartbeat.insert(update.symbol.clone());
    }

    fn take_top(&mut self, venue: &Venue, top: &v1::TopOfBook) {
        assert_eq!(self.request.view(), BookView::TopOfBook);
        let history = &venue.truth[&top.symbol];
        let truth = &history[top.book_seq as usize];
        let shown = (
            top.bid,
            top.ask,
            top.phase(),
            top.indicative
                .map(|indicative| (indicative.price_e4, indicative.quantity)),
        );
        assert_eq!(shown, shows(truth));
        assert!(top.event_seq >= truth.event_seq);
        if let Some(held) = self.books.get(&top.symbol) {
            assert!(top.book_seq > held.book_seq);
            if self.lossless() {
                assert_eq!(top.event_seq, truth.event_seq);
                // Exactly the next change of what it shows.
                let between = &history[held.book_seq as usize..top.book_seq as usize];
                assert!(
                    between.iter().all(|state| shows(state) == shows(&between[0])),
                    "a change was left out"
                );
                assert_ne!(shows(&between[0]), shows(truth), "nothing that it shows changed");
            }
        }
        let held = Held {
            book_seq: top.book_seq,
            phase: top.phase(),
            bids: top.bid.into_iter().collect(),
            asks: top.ask.into_iter().collect(),
            trades: Vec::new(),
        };
        self.books.insert(top.symbol.clone(), held);
        self.sent_since_heartbeat.insert(top.symbol.clone());
    }

    fn take_heartbeat(&mut self, venue: &Venue, heartbeat: &v1::Heartbeat) {
        assert!(!self.statuses.is_empty() || self.request.symbols.is_empty());
        self.heartbeats += 1;
        assert!(heartbeat.event_seq >= self.last_beat);
        self.last_beat = heartbeat.event_seq;
        let named: BTreeSet<_> = heartbeat.books.iter().map(|book| book.symbol.clone()).collect();
        assert_eq!(named.len(), heartbeat.books.len());
        assert_eq!(named, std::mem::take(&mut self.sent_since_heartbeat));
        for book in &heartbeat.books {
            let held = &self.books[&book.symbol];
            assert_eq!(book.book_seq, held.book_seq, "{}", book.symbol);
            if self.request.view() == BookView::PriceDepth {
                assert_eq!(book.checksum, sum(&held.bids, &held.asks), "{}", book.symbol);
            }
        }
        // Everything up to this event was sent, of every book that is followed.
        for (symbol, history) in &venue.truth {
            if !self.follows(symbol) {
                continue;
            }
            let Some(seq) = history.iter().rposition(|state| state.event_seq <= heartbeat.event_seq) else {
                continue;
            };
            let held = self
                .books
                .get(symbol)
                .unwrap_or_else(|| panic!("no snapshot of {symbol}"));
            if held.book_seq < seq as u64 {
                assert!(
                    self.request.view() != BookView::PriceDepth || self.depth() != usize::MAX,
                    "{symbol} is behind its heartbeat"
                );
                // Changes outside the view are not sent.
                self.check_shown(symbol, &history[seq]);
            }
        }
    }

    fn check_shown(&self, symbol: &str, truth: &BookTruth) {
        let held = &self.books[symbol];
        match self.request.view() {
            BookView::TopOfBook => held.check(truth, 1),
            _ => held.check(truth, self.depth()),
        }
    }

    fn follows(&self, symbol: &str) -> bool {
        self.request.symbols.is_empty() || self.request.symbols.iter().any(|asked| asked == symbol)
    }

    /// After a drain: the newest state of every book.
    pub(super) fn check_newest(&self, venue: &Venue) {
        for (symbol, history) in venue.truth.iter().filter(|(symbol, _)| self.follows(symbol)) {
            let newest = history.last().expect("every book was born");
            self.check_shown(symbol, newest);
            if self.request.view() == BookView::PriceDepth && self.depth() == usize::MAX {
                assert_eq!(self.books[symbol].book_seq + 1, history.len() as u64);
            }
        }
    }
}

impl Held {
    fn check(&self, truth: &BookTruth, depth: usize) {
        assert_eq!(self.bids, first(&truth.bids, depth));
        assert_eq!(self.asks, first(&truth.asks, depth));
        assert_eq!(self.phase, v1::TradingPhase::from(truth.phase));
    }
}

type Shown = (
    Option<v1::PriceLevel>,
    Option<v1::PriceLevel>,
    v1::TradingPhase,
    Option<(i64, i64)>,
);

fn shows(truth: &BookTruth) -> Shown {
    (
        truth.bids.first().map(Into::into),
        truth.asks.first().map(Into::into),
        truth.phase.into(),
        truth
            .indicative
            .filter(|_| truth.phase == TradingPhase::Auction)
            .map(|indicative| (indicative.price_e4, indicative.quantity)),
    )
}

fn first(levels: &[Level], depth: usize) -> Vec<v1::PriceLevel> {
    levels.iter().take(depth).map(Into::into).collect()
}

/// Applies changed levels, which come best first; lossless ones really change something.
fn set_levels(held: &mut Vec<v1::PriceLevel>, changes: &[v1::PriceLevel], lossless: bool, falling: bool) {
    let worse = |a: i64, b: i64| if falling { a < b } else { a > b };
    assert!(
        changes.windows(2).all(|pair| worse(pair[1].price_e4, pair[0].price_e4)),
        "best first"
    );
    for change in changes {
        let at = held.iter().position(|level| level.price_e4 == change.price_e4);
        match (at, change.quantity) {
            (Some(at), 0) => {
                held.remove(at);
            }
            (Some(at), _) => {
                assert!(!lossless || held[at] != *change);
                held[at] = *change;
            }
            (None, 0) => assert!(!lossless, "a level that is not there was removed"),
            (None, _) => {
                let at = held.iter().position(|level| worse(level.price_e4, change.price_e4));
                held.insert(at.unwrap_or(held.len()), *change);
            }
        }
    }
}

fn sum(bids: &[v1::PriceLevel], asks: &[v1::PriceLevel]) -> u32 {
    checksum(bids.iter().chain(asks).map(|level| Level {
        price_e4: level.price_e4,
        quantity: level.quantity,
        order_count: u32::try_from(level.order_count).expect("a count"),
    }))
}
