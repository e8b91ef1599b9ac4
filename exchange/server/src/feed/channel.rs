//! One book in one view: what its subscribers see now, and the latest changes of it, shared by all of
//! them. The feed's writer appends; each reader has a cursor of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use optivex_engine::event::BookChange;
use optivex_engine::types::{Indicative, Level, Side, Symbol, TradeId, TradingPhase};
use optivex_proto::v1;
use optivex_proto::v1::subscribe_order_books_response::Event;

use super::frame::{Frame, UpdateEncoder, price_levels};
use super::ladder::{Ladder, checksum};
use super::log::Log;
use super::ring::Ring;
use super::subscriber::Subscriber;
use super::tail::Tail;

/// How much of a book a channel shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum View {
    /// Every level.
    Full,
    /// The best levels of each side, at least 1.
    Depth(usize),
    /// Best bid and ask, phase and indicative price.
    Top,
}

impl View {
    pub(super) fn depth(self) -> usize {
        match self {
            View::Full => usize::MAX,
            View::Depth(depth) => depth,
            View::Top => 1,
        }
    }
}

/// One book in one view.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) symbol: Symbol,
    pub(super) view: View,
    state: Mutex<State>,
}

/// What the lock of a channel guards.
#[derive(Debug)]
pub(super) struct State {
    /// What the view shows.
    pub(super) bids: Ladder,
    pub(super) asks: Ladder,
    pub(super) phase: TradingPhase,
    pub(super) indicative: Option<Indicative>,
    /// Last change of the book, whether the view shows it or not, and its event.
    pub(super) book_seq: u64,
    pub(super) event_seq: u64,
    /// Last change that is, or was, in `ring`; at first, the book's when the channel was made.
    pub(super) sent_book_seq: u64,
    pub(super) ring: Ring<Item>,
    /// The messages of `ring`'s items that were appended while somebody followed every change.
    pub(super) log: Log,
    /// What conflated readers still need of what was evicted from `ring`.
    pub(super) tail: Option<Tail>,
    /// By subscription.
    pub(super) links: BTreeMap<u64, Arc<Link>>,
    /// How many of them are conflated.
    pub(super) conflated_links: usize,
    /// Conflated readers read to here: all the same, so that what is merged for one serves them all.
    pub(super) conflated_to: u64,
    /// What was merged last, for a second or two.
    pub(super) merged: Option<Arc<Merged>>,
    /// Whether the writer has this channel on its list of those to announce to conflated readers.
    pub(super) has_conflated_news: bool,
    /// Whether something was appended after the last mark.
    pub(super) unmarked: bool,
    /// Whether the writer has this channel on its list of those to announce.
    pub(super) to_announce: bool,
    /// Whether the writer has this channel on its list of those to mark.
    pub(super) to_mark: bool,
    /// Under which age the writer keeps this channel for eviction.
    pub(super) age: Option<u64>,
}

/// Updates merged into one message: for every reader that stands at `from`, holds `held` and reads to `to`.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) held: u64,
    /// Of the last mark among the items.
    pub(super) checksum: Option<u32>,
    /// Until they are merged.
    updates: Mutex<Vec<Arc<Update>>>,
    message: OnceLock<MergedMessage>,
}

impl Merged {
    /// What readers are sent: merged by the first of them.
    pub(super) fn message(&self, merge: impl FnOnce(&[Arc<Update>]) -> MergedMessage) -> MergedMessage {
        let first = || {
            let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
            merge(&std::mem::take(&mut *updates))
        };
        self.message.get_or_init(first).clone()
    }
}

/// What a conflated reader is sent.
#[derive(Clone, Debug)]
pub(super) enum MergedMessage {
    /// Nothing: marks only.
    Nothing,
    /// An update, and the book_seq that its reader holds then.
    Update(Frame, u64),
    /// A gap instead: of more trades than are kept.
    TooManyTrades,
}

/// One subscription's interest in one channel.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) subscriber: Arc<Subscriber>,
    /// Whether the subscriber is told from time to time only.
    pub(super) conflated: bool,
    /// Number of this channel within the subscription.
    pub(super) index: usize,
    /// Whether the subscriber was told that there is something to read.
    pub(super) dirty: AtomicBool,
    /// Conflated readers: where it reads on; `u64::MAX` while it needs nothing old. Written and read
    /// under the channel's lock.
    pub(super) needs_from: AtomicU64,
}

/// Something appended to a channel.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The writer's heartbeat interval in which it was appended.
    pub(super) epoch: u64,
    /// Position among all items of all channels: their age.
    pub(super) number: u64,
    /// The book's last change then.
    pub(super) book_seq: u64,
    /// Where its message is in `State::log`; empty if it has none there.
    pub(super) message: Range<u64>,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// PRICE_DEPTH: one event's change.
    Update(Arc<Update>),
    /// TOP_OF_BOOK: what it shows from now on.
    Top(Arc<Top>),
    /// PRICE_DEPTH, at the end of an interval: checksum of what the view shows here.
    Mark(u32),
}

/// What one event changed in a view.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) prev_book_seq: u64,
    pub(super) book_seq: u64,
    pub(super) event_seq: u64,
    pub(super) bids: Box<[Level]>,
    pub(super) asks: Box<[Level]>,
    pub(super) trades: Arc<[Print]>,
    pub(super) phase: Option<TradingPhase>,
}

/// One trade, without its symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Print {
    pub(super) trade_id: TradeId,
    pub(super) price_e4: i64,
    pub(super) quantity: i64,
    pub(super) aggressor_side: Option<Side>,
    pub(super) event_seq: u64,
    pub(super) time_unix_ns: i64,
}

/// What TOP_OF_BOOK shows.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) book_seq: u64,
    pub(super) event_seq: u64,
    pub(super) bid: Option<Level>,
    pub(super) ask: Option<Level>,
    pub(super) phase: TradingPhase,
    pub(super) indicative: Option<Indicative>,
    /// Encoded by the first reader.
    pub(super) frame: OnceLock<Frame>,
}

/// A view as it stands.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) book_seq: u64,
    pub(super) event_seq: u64,
    pub(super) phase: TradingPhase,
    pub(super) bids: Vec<Level>,
    pub(super) asks: Vec<Level>,
}

impl Channel {
    pub(super) fn new(symbol: Symbol, view: View, phase: TradingPhase) -> Self {
        Self {
            symbol,
            view,
            state: Mutex::new(State {
                bids: Ladder::new(Side::Buy),
                asks: Ladder::new(Side::Sell),
                phase,
                indicative: None,
                book_seq: 0,
                event_seq: 0,
                sent_book_seq: 0,
                ring: Ring::default(),
                log: Log::default(),
                tail: None,
                links: BTreeMap::new(),
                conflated_links: 0,
                conflated_to: 0,
                merged: None,
                has_conflated_news: false,
                unmarked: false,
                to_announce: false,
                to_mark: false,
                age: None,
            }),
        }
    }

    /// A view of the book that `full` shows whole.
    pub(super) fn of(full: &Channel, view: View) -> Self {
        let channel = Self::new(full.symbol, view, TradingPhase::Continuous);
        let (whole, mut state) = (full.lock(), channel.lock());
        for level in whole.bids.first(view.depth()) {
            state.bids.set(&level);
        }
        for level in whole.asks.first(view.depth()) {
            state.asks.set(&level);
        }
        state.phase = whole.phase;
        state.indicative = whole.indicative;
        state.book_seq = whole.book_seq;
        state.event_seq = whole.event_seq;
        state.sent_book_seq = whole.book_seq;
        drop((whole, state));
        channel
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// At most `depth` levels a side as they stand; `applied` is an event that was applied to this
    /// channel already.
    pub(super) fn snapshot(&self, depth: usize, applied: u64) -> Snapshot {
        Snapshot {
            book_seq: self.book_seq,
            event_seq: self.event_seq.max(applied),
            phase: self.phase,
            bids: self.bids.first(depth).collect(),
            asks: self.asks.first(depth).collect(),
        }
    }

    /// What TOP_OF_BOOK shows now.
    pub(super) fn top(&self, applied: u64) -> Top {
        Top {
            book_seq: self.book_seq,
            event_seq: self.event_seq.max(applied),
            bid: self.bids.best(),
            ask: self.asks.best(),
            phase: self.phase,
            indicative: self.indicative,
            frame: OnceLock::new(),
        }
    }

    pub(super) fn checksum(&self) -> u32 {
        checksum(self.bids.iter().chain(self.asks.iter()))
    }

    /// Takes what a change of the book says beside its levels.
    pub(super) fn moved(&mut self, event: &optivex_engine::Event, change: &BookChange) {
        self.phase = change.phase.unwrap_or(self.phase);
        self.indicative = change.indicative;
        self.book_seq = change.book_seq;
        self.event_seq = event.event_seq;
    }

    /// Whether a reader that holds `book_seq` was sent everything that the view shows.
    pub(super) fn is_held_by(&self, book_seq: u64) -> bool {
        book_seq >= self.sent_book_seq
    }

    /// Where a reader of every change goes on that holds `book_seq`; `None` if that is not kept, or
    /// lies in the future.
    pub(super) fn position_after(&self, book_seq: u64) -> Option<u64> {
        if book_seq == self.book_seq {
            return Some(self.ring.head());
        }
        let (position, item) = self.ring.first_not(|item| item.book_seq <= book_seq)?;
        matches!(&item.kind, Kind::Update(update) if update.prev_book_seq == book_seq).then_some(position)
    }

    /// Whether somebody follows every change.
    pub(super) fn has_lossless_links(&self) -> bool {
        self.links.len() > self.conflated_links
    }

    /// Takes out a subscription's link, if it has one.
    pub(super) fn unlink(&mut self, subscription: u64) {
        if let Some(link) = self.links.remove(&subscription) {
            self.conflated_links -= usize::from(link.conflated);
        }
        if !self.has_lossless_links() {
            self.log.clear();
        }
    }

    /// Puts an item's message into the log, if somebody follows every change.
    pub(super) fn encode(&mut self, symbol: &str, kind: &Kind, encoder: &mut UpdateEncoder) -> Range<u64> {
        match kind {
            Kind::Update(update) if self.has_lossless_links() => {
                self.log.append(encoder.encode(symbol, update.prev_book_seq, update))
            }
            Kind::Top(top) if self.has_lossless_links() => self.log.append(top.frame(symbol).bytes()),
            Kind::Update(_) | Kind::Top(_) | Kind::Mark(_) => 0..0,
        }
    }

    pub(super) fn append(&mut self, item: Item) {
        let bytes = item.bytes();
        match &item.kind {
            Kind::Update(update) => {
                self.sent_book_seq = update.book_seq;
                self.unmarked = true;
            }
            Kind::Top(top) => self.sent_book_seq = top.book_seq,
            Kind::Mark(_) => self.unmarked = false,
        }
        self.ring.push(item, bytes);
    }

    /// Where a conflated reader at a position stops, and the interval of what is left there if that is a
    /// later one.
    pub(super) fn conflated_end(&self, cursor: u64, epoch_max: u64) -> (u64, Option<u64>) {
        let told = self.conflated_to.max(cursor);
        match self.ring.first_not(|item| item.epoch <= epoch_max) {
            Some((position, item)) if position < told => (position.max(cursor), Some(item.epoch)),
            _ => (told, None),
        }
    }

    /// The message that merges the items from one position to another for readers that hold `held`.
    pub(super) fn merged(&mut self, from: u64, to: u64, held: u64) -> Arc<Merged> {
        let is_it = |merged: &&Arc<Merged>| (merged.from, merged.to, merged.held) == (from, to, held);
        match self.merged.as_ref().filter(is_it) {
            Some(merged) => Arc::clone(merged),
            None => {
                let (mut updates, mut checksum) = (Vec::new(), None);
                for item in self.ring.between(from, to) {
                    match &item.kind {
                        Kind::Update(update) => updates.push(Arc::clone(update)),
                        Kind::Mark(mark) => checksum = Some(*mark),
                        Kind::Top(_) => {}
                    }
                }
                let merged = Arc::new(Merged {
                    from,
                    to,
                    held,
                    checksum,
                    updates: Mutex::new(updates),
                    message: OnceLock::new(),
                });
                self.merged = Some(Arc::clone(&merged));
                merged
            }
        }
    }

    /// Where the conflated reader that is furthest behind reads on.
    pub(super) fn needed_from(&self) -> u64 {
        self.links
            .values()
            .map(|link| link.needs_from.load(Ordering::Relaxed))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Bytes that this channel holds for readers that are behind.
    pub(super) fn bytes(&self) -> usize {
        self.ring.bytes() + self.tail.as_ref().map_or(0, Tail::bytes)
    }

    /// Evicts the oldest items until the ring is within its bounds with an eighth to spare, so that
    /// this is rare. What conflated readers still need is merged into the tail. The newest item stays.
    pub(super) fn evict(&mut self, items_max: usize, bytes_max: usize) {
        if self.ring.len() <= items_max && self.ring.bytes() <= bytes_max {
            return;
        }
        let (items_keep, bytes_keep) = (items_max - items_max / 8, bytes_max - bytes_max / 8);
        let needed_from = self.needed_from();
        while self.ring.len() > 1 && (self.ring.len() > items_keep || self.ring.bytes() > bytes_keep) {
            let Some((position, item)) = self.ring.pop() else { break };
            self.log.forget(item.message.end);
            if needed_from > position {
                self.tail = None;
                continue;
            }
            let tail = self.tail.get_or_insert_with(|| Tail::new(position));
            if let Kind::Update(update) = &item.kind {
                tail.absorb(position, update);
            }
            if tail.is_full() {
                self.tail = None;
            }
        }
    }
}

impl Item {
    /// About how much memory this keeps, its encoded form included.
    pub(super) fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Update(update) => 256 + 44 * (update.bids.len() + update.asks.len()) + 112 * update.trades.len(),
            Kind::Top(_) => 384,
            Kind::Mark(_) => 48,
        }
    }
}

impl Print {
    pub(super) fn message(&self, symbol: &str) -> v1::Trade {
        v1::Trade {
            trade_id: self.trade_id.0,
            symbol: symbol.to_owned(),
            price_e4: self.price_e4,
            quantity: self.quantity,
            aggressor_side: self.aggressor_side.map_or(v1::Side::Unspecified, v1::Side::from).into(),
            event_seq: self.event_seq,
            time_unix_ns: self.time_unix_ns,
        }
    }
}

impl Top {
    pub(super) fn shows_same(&self, other: &Top) -> bool {
        (self.bid, self.ask, self.phase, self.indicative) == (other.bid, other.ask, other.phase, other.indicative)
    }

    pub(super) fn frame(&self, symbol: &str) -> Frame {
        let encode = || {
            Frame::new(Event::TopOfBook(v1::TopOfBook {
                symbol: symbol.to_owned(),
                book_seq: self.book_seq,
                event_seq: self.event_seq,
                bid: self.bid.as_ref().map(Into::into),
                ask: self.ask.as_ref().map(Into::into),
                phase: v1::TradingPhase::from(self.phase).into(),
                indicative: self.indicative.as_ref().map(Into::into),
            }))
        };
        self.frame.get_or_init(encode).clone()
    }
}

impl Snapshot {
    pub(super) fn checksum(&self) -> u32 {
        checksum(self.bids.iter().chain(&self.asks).copied())
    }

    pub(super) fn message(&self, symbol: &str, checksum: u32) -> v1::BookSnapshot {
        v1::BookSnapshot {
            symbol: symbol.to_owned(),
            book_seq: self.book_seq,
            event_seq: self.event_seq,
            phase: v1::TradingPhase::from(self.phase).into(),
            bids: price_levels(&self.bids),
            asks: price_levels(&self.asks),
            checksum,
        }
    }
}

/// A phase in an update: unspecified if it did not change.
pub(super) fn wire_phase(phase: Option<TradingPhase>) -> i32 {
    phase
        .map_or(v1::TradingPhase::Unspecified, v1::TradingPhase::from)
        .into()
}
