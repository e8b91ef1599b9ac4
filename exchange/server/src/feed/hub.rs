//! The single writer of market data: applies durable events to every channel, and takes subscriptions
//! in its turn, so that an instrument, its book and a reader's place in it are one step.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use optivex_engine::event::{BookChange, Outcome};
use optivex_engine::types::{Instrument, InstrumentId, Side, Symbol, TradingPhase, UserId};
use optivex_engine::{Engine, Event};
use optivex_proto::v1::subscribed::Status;
use optivex_proto::v1::{self, ErrorReason};

use super::appender::Appender;
use super::channel::{Channel, Kind, Link, Print, State, Update, View};
use super::instruments::News;
use super::progress::{Beat, Progress};
use super::request::{BooksRequest, Symbols};
use super::subscriber::{Follower, Joined, Start, Subscriber};
use super::subscription::Subscription;
use super::{Feed, FeedSettings};
use crate::error::Error;

/// The state of the writer. It does no I/O and has no clock: [`Hub::tick`] is called once a second.
#[derive(Debug)]
pub(super) struct Hub {
    progress: Arc<Progress>,
    /// By [`InstrumentId`].
    books: Vec<Book>,
    by_symbol: BTreeMap<Symbol, InstrumentId>,
    news: Arc<News>,
    followers: HashMap<u64, Follower>,
    next_subscription: u64,
    event_seq: u64,
    last_trade_id: u64,
    views_per_book_max: usize,
    appender: Appender,
}

#[derive(Debug)]
struct Book {
    instrument: Instrument,
    /// `instrument` as a message.
    message: Arc<v1::Instrument>,
    full: Arc<Channel>,
    /// Other views that somebody follows.
    views: BTreeMap<View, Arc<Channel>>,
}

impl Hub {
    pub(super) fn new(settings: &FeedSettings, progress: Arc<Progress>, news: Arc<News>) -> Self {
        Self {
            progress,
            books: Vec::new(),
            by_symbol: BTreeMap::new(),
            news,
            followers: HashMap::new(),
            next_subscription: 0,
            event_seq: 0,
            last_trade_id: 0,
            views_per_book_max: settings.subscriptions.views_per_book_max,
            appender: Appender::new(settings),
        }
    }

    /// Takes over the books as an engine has them; before any event and any subscription.
    pub(super) fn seed(&mut self, engine: &Engine) {
        for instrument in engine.instruments() {
            self.list(instrument.clone());
            let Some(book) = self.books.last_mut() else { continue };
            let id = instrument.id;
            if let Some(phase) = engine.phase(id) {
                book.set_phase(phase);
            }
            let mut state = book.full.lock();
            state.phase = book.instrument.phase;
            state.indicative = engine.indicative(id);
            state.book_seq = engine.book_seq(id);
            state.sent_book_seq = state.book_seq;
            state.event_seq = engine.event_seq();
            for level in engine.levels(id, Side::Buy) {
                state.bids.set(&level);
            }
            for level in engine.levels(id, Side::Sell) {
                state.asks.set(&level);
            }
        }
        self.event_seq = engine.event_seq();
        self.last_trade_id = engine.last_trade_id();
        self.progress.applied.store(self.event_seq, Ordering::Release);
    }

    pub(super) fn event_seq(&self) -> u64 {
        self.event_seq
    }

    pub(super) fn last_trade_id(&self) -> u64 {
        self.last_trade_id
    }

    pub(super) fn instrument(&self, symbol: &Symbol) -> Option<InstrumentId> {
        self.by_symbol.get(symbol).copied()
    }

    /// The channel that shows the whole book of a symbol.
    pub(super) fn full_channel(&self, symbol: &Symbol) -> Option<Arc<Channel>> {
        self.instrument(symbol)
            .and_then(|id| self.book(id))
            .map(|book| Arc::clone(&book.full))
    }

    /// What all channels keep, in bytes.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        let channels = self
            .books
            .iter()
            .flat_map(|book| book.views.values().chain([&book.full]));
        let kept = channels.map(|channel| channel.lock().bytes()).sum();
        assert_eq!(kept, self.appender.kept_bytes());
        kept
    }

    /// How many channels there are.
    #[cfg(test)]
    pub(super) fn channels(&self) -> usize {
        self.books.iter().map(|book| book.views.len() + 1).sum()
    }

    /// Instruments by symbol, those after a symbol.
    pub(super) fn instruments_after(&self, symbol: Option<Symbol>) -> impl Iterator<Item = &Arc<v1::Instrument>> {
        let start = symbol.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_symbol
            .range((start, Bound::Unbounded))
            .filter_map(|(_, &id)| self.book(id))
            .map(|book| &book.message)
    }

    fn book(&self, id: InstrumentId) -> Option<&Book> {
        self.books.get(id.0 as usize)
    }

    /// Applies the next events; [`Hub::announce`] tells readers of them. Those that the seed held already are
    /// skipped.
    pub(super) fn apply(&mut self, events: &[Event]) {
        for event in events {
            if event.event_seq <= self.event_seq {
                continue;
            }
            if event.event_seq != self.event_seq + 1 {
                // Cannot happen: sinks get every event. The books stay as right as they can be.
                tracing::error!(
                    after = self.event_seq,
                    event = event.event_seq,
                    "market data missed events"
                );
            }
            self.apply_event(event);
            self.event_seq = event.event_seq;
            self.progress.applied.store(self.event_seq, Ordering::Release);
        }
        self.appender.evict_oldest();
    }

    /// Tells who publishes of what was applied.
    pub(super) fn make_room(&self) {
        self.progress.make_room();
    }

    /// Whether readers of every change have not been told of something yet.
    pub(super) fn has_news(&self) -> bool {
        self.appender.has_news()
    }

    /// Whether a fair part of what is kept for them may be new to them.
    pub(super) fn readers_are_far_behind(&self) -> bool {
        self.appender.are_far_behind()
    }

    /// Tells readers of every change of what was applied. How many had to be woken.
    pub(super) fn announce(&mut self) -> u32 {
        self.appender.announce()
    }

    /// Whether conflated readers have not been told of something yet.
    pub(super) fn has_conflated_news(&self) -> bool {
        self.appender.has_conflated_news()
    }

    /// Whether what conflated readers were not told of may soon be evicted.
    pub(super) fn conflated_are_far_behind(&self) -> bool {
        self.appender.conflated_are_far_behind()
    }

    /// Tells conflated readers of what was announced to the others since the last time.
    pub(super) fn announce_conflated(&mut self) {
        self.appender.announce_conflated();
    }

    fn apply_event(&mut self, event: &Event) {
        if let Outcome::InstrumentCreated(instrument) = &event.outcome {
            self.list(instrument.as_ref().clone());
            if let Some(book) = self.books.last() {
                // Before anybody sees it: whoever is welcomed may read on before this event is all applied.
                book.full.lock().event_seq = event.event_seq;
            }
            self.welcome(instrument.id);
            if let Some(book) = self.books.last() {
                self.news.publish(&book.message);
            }
        }
        if let Some(trade) = event.trades.last() {
            self.last_trade_id = trade.trade_id.0;
        }
        for change in &event.books {
            self.apply_change(event, change);
        }
    }

    fn list(&mut self, instrument: Instrument) {
        // An instrument's id is its place in the order of creation.
        debug_assert_eq!(instrument.id.0 as usize, self.books.len());
        self.by_symbol.insert(instrument.symbol, instrument.id);
        self.books.push(Book {
            message: Arc::new(v1::Instrument::from(&instrument)),
            full: Arc::new(Channel::new(instrument.symbol, View::Full, instrument.phase)),
            views: BTreeMap::new(),
            instrument,
        });
    }

    /// Shows a new instrument to those who follow all.
    fn welcome(&mut self, id: InstrumentId) {
        let Some(book) = self.books.get_mut(id.0 as usize) else {
            return;
        };
        for follower in self.followers.values_mut().filter(|follower| follower.all) {
            let channel = book.channel(follower.view);
            follower.link(id, &channel, &mut channel.lock(), Start::Snapshot);
        }
    }

    fn apply_change(&mut self, event: &Event, change: &BookChange) {
        let Some(book) = self.books.get_mut(change.instrument.0 as usize) else {
            tracing::error!(instrument = change.instrument.0, "a change of an unknown book");
            return;
        };
        if let Some(phase) = change.phase {
            book.set_phase(phase);
            self.news.publish(&book.message);
        }
        let trades: Arc<[Print]> = event
            .trades
            .iter()
            .filter(|trade| trade.instrument == change.instrument)
            .map(|trade| Print {
                trade_id: trade.trade_id,
                price_e4: trade.price_e4,
                quantity: trade.quantity,
                aggressor_side: trade.aggressor_side,
                event_seq: event.event_seq,
                time_unix_ns: event.time_unix_ns,
            })
            .collect();
        let (bids, asks) = (
            event.changed_levels(change, Side::Buy),
            event.changed_levels(change, Side::Sell),
        );
        let update = |state: &State, bids, asks| {
            Kind::Update(Arc::new(Update {
                prev_book_seq: state.sent_book_seq,
                book_seq: change.book_seq,
                event_seq: event.event_seq,
                bids,
                asks,
                trades: Arc::clone(&trades),
                phase: change.phase,
            }))
        };

        let mut whole = book.full.lock();
        if change.book_seq != whole.book_seq + 1 {
            tracing::error!(symbol = %book.instrument.symbol, after = whole.book_seq, change = change.book_seq, "a book missed changes");
        }
        for level in bids {
            whole.bids.set(level);
        }
        for level in asks {
            whole.asks.set(level);
        }
        whole.moved(event, change);
        let kind = update(&whole, bids.into(), asks.into());
        self.appender.append(&book.full, &mut whole, kind);

        for (&view, channel) in &book.views {
            let mut guard = channel.lock();
            let state = &mut *guard;
            let before = state.top(0);
            let bids = state.bids.follow(&whole.bids, view.depth(), bids);
            let asks = state.asks.follow(&whole.asks, view.depth(), asks);
            state.moved(event, change);
            let kind = match view {
                View::Top => {
                    let top = state.top(event.event_seq);
                    (!top.shows_same(&before)).then(|| Kind::Top(Arc::new(top)))
                }
                View::Full | View::Depth(_) => {
                    let seen = !bids.is_empty() || !asks.is_empty() || !trades.is_empty() || change.phase.is_some();
                    seen.then(|| update(state, bids.into(), asks.into()))
                }
            };
            if let Some(kind) = kind {
                self.appender.append(channel, state, kind);
            }
        }
    }

    /// Ends a heartbeat interval: marks what every reader of what changed in it holds.
    pub(super) fn tick(&mut self) {
        self.appender.mark();
        self.progress.end_interval(Beat {
            epoch: self.appender.epoch,
            event_seq: self.event_seq,
        });
        self.appender.epoch += 1;
        for follower in self.followers.values() {
            follower.subscriber.wake();
        }
        self.appender.evict_oldest();
        let published = self.progress.published.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss)] // A gauge.
        metrics::gauge!("optivex_feed_lag_events").set(published.saturating_sub(self.event_seq) as f64);
    }

    /// Begins a subscription of books.
    pub(super) fn subscribe(
        &mut self,
        feed: &Feed,
        user: UserId,
        request: &BooksRequest,
    ) -> Result<Subscription, Error> {
        let (symbols, all): (Vec<Symbol>, bool) = match &request.symbols {
            Symbols::These(symbols) => (symbols.clone(), false),
            Symbols::All => (self.by_symbol.keys().copied().collect(), true),
        };
        if let Some(stranger) = request
            .resume_after
            .keys()
            .find(|symbol| all && !self.by_symbol.contains_key(*symbol))
        {
            let why = format!("{stranger} is not among the symbols");
            return Err(Error::invalid_field("resume_after", &why));
        }
        let place = feed.places().take(user, symbols.len(), "order_books")?;
        self.next_subscription += 1;
        let mut follower = Follower {
            subscriber: Arc::new(Subscriber::new(self.next_subscription)),
            view: request.view,
            conflated: request.conflated,
            all,
            books: Vec::with_capacity(symbols.len()),
        };
        let mut seen = HashSet::with_capacity(symbols.len());
        let statuses = symbols
            .iter()
            .map(|symbol| {
                let resume_after = request.resume_after.get(symbol).copied();
                let reason = match self.by_symbol.get(symbol).copied() {
                    None => ErrorReason::UnknownInstrument,
                    // Asked for twice, followed once.
                    Some(id) if !seen.insert(id) => ErrorReason::Unspecified,
                    Some(id) => self.follow(&mut follower, id, resume_after),
                };
                Status {
                    symbol: symbol.to_string(),
                    reason: reason.into(),
                }
            })
            .collect();
        let subscription = Subscription::new(
            feed.clone(),
            Arc::clone(&follower.subscriber),
            request.conflated,
            self.appender.epoch - 1,
            v1::Subscribed { statuses },
            place,
        );
        self.followers.insert(follower.subscriber.id, follower);
        Ok(subscription)
    }

    fn follow(&mut self, follower: &mut Follower, id: InstrumentId, resume_after: Option<u64>) -> ErrorReason {
        let Some(book) = self.books.get_mut(id.0 as usize) else {
            return ErrorReason::UnknownInstrument;
        };
        // Each view holds levels of its own.
        let is_new = follower.view != View::Full && !book.views.contains_key(&follower.view);
        if is_new && book.views.len() >= self.views_per_book_max {
            return ErrorReason::Capacity;
        }
        let channel = book.channel(follower.view);
        let mut state = channel.lock();
        let (start, reason) = match resume_after {
            None => (Start::Snapshot, ErrorReason::Unspecified),
            Some(book_seq) => match state.position_after(book_seq) {
                Some(cursor) => (Start::Resumed { cursor, book_seq }, ErrorReason::Unspecified),
                None => (Start::Snapshot, ErrorReason::CannotResume),
            },
        };
        if state.unmarked {
            // Nobody followed it when the interval of its last change ended.
            self.appender.mark_later(&channel, &mut state);
        }
        follower.link(id, &channel, &mut state, start);
        reason
    }

    /// Ends a subscription of books.
    pub(super) fn leave(&mut self, subscription: u64) {
        let Some(follower) = self.followers.remove(&subscription) else {
            return;
        };
        for id in &follower.books {
            let Some(book) = self.books.get_mut(id.0 as usize) else {
                continue;
            };
            let channel = book.channel(follower.view);
            let mut state = channel.lock();
            state.unlink(subscription);
            if state.links.is_empty() && follower.view != View::Full {
                self.appender.forget(&mut state);
                book.views.remove(&follower.view);
            } else if state.needed_from() == u64::MAX {
                self.appender.drop_tail(&channel, &mut state);
            }
        }
    }
}

/// Readers are told when there is no writer any more, whatever ended it.
impl Drop for Hub {
    fn drop(&mut self) {
        self.progress.ended.store(true, Ordering::Release);
        self.progress.make_room();
        for follower in self.followers.values() {
            follower.subscriber.wake();
        }
        self.news.wake();
    }
}

impl Book {
    fn set_phase(&mut self, phase: TradingPhase) {
        self.instrument.phase = phase;
        self.message = Arc::new(v1::Instrument::from(&self.instrument));
    }

    /// The channel of a view, made with its first subscriber.
    fn channel(&mut self, view: View) -> Arc<Channel> {
        match view {
            View::Full => Arc::clone(&self.full),
            View::Depth(_) | View::Top => {
                let channel = self
                    .views
                    .entry(view)
                    .or_insert_with(|| Arc::new(Channel::of(&self.full, view)));
                Arc::clone(channel)
            }
        }
    }
}

impl Follower {
    fn link(&mut self, id: InstrumentId, channel: &Arc<Channel>, state: &mut State, start: Start) {
        let link = Arc::new(Link {
            conflated: self.conflated,
            subscriber: Arc::clone(&self.subscriber),
            index: self.books.len(),
            dirty: AtomicBool::new(false),
            needs_from: AtomicU64::new(u64::MAX),
        });
        self.books.push(id);
        state.conflated_links += usize::from(self.conflated);
        state.links.insert(self.subscriber.id, Arc::clone(&link));
        self.subscriber.join(Joined {
            channel: Arc::clone(channel),
            link,
            start,
        });
    }
}
