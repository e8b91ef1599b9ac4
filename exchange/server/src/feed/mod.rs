//! Market data: books as subscribers see them, and the streams that carry their changes.
//!
//! One thread is the single writer. It gets durable events from the journal's release and requests from
//! the services through one queue: whoever was told of an event finds it in every book that is asked
//! for afterwards. Each book has a channel for each view that somebody follows; a channel keeps its
//! latest changes within bounds, and readers pull from it at their own pace.

mod appender;
mod channel;
mod frame;
mod hub;
mod instruments;
mod ladder;
mod limits;
mod log;
mod progress;
pub(crate) mod request;
mod ring;
mod subscriber;
mod subscription;
mod tail;
pub mod tape;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use optivex_engine::Engine;
use optivex_engine::command::parse_symbol;
use optivex_engine::types::{InstrumentId, Symbol, UserId};
use optivex_journal::{EventSink, Events};
use optivex_proto::v1;
use tokio::sync::oneshot;

pub use frame::Frame;
pub use instruments::InstrumentsSubscription;
pub use ladder::checksum;
pub use limits::{Place, SubscriptionLimits};
pub use subscription::{Next, Subscription};

use crate::error::Error;
use hub::Hub;
use instruments::News;
use limits::Places;
use progress::Progress;
use request::BooksRequest;

/// How often every stream of books carries a heartbeat (contract: `Heartbeat`).
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long changes are merged for conflated readers before they hear of them: the price of a reader does
/// not grow with the changes then. A change after a pause is told at once.
const CONFLATE_EVERY: Duration = Duration::from_millis(50);
/// Turns that the writer takes before it tells who publishes that there is room again.
const TURNS_AT_A_TIME: usize = 16;
/// After readers were woken, the writer lets so much time pass for each of them before it wakes any again:
/// about what it takes to send something to one. When books change faster than that, several changes go out
/// at once; a change after a pause is told at once, however many follow it.
const REST_PER_READER: Duration = Duration::from_micros(2);
/// But at most so much.
const REST_MAX: Duration = Duration::from_millis(20);

/// What market data goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// Changes that are kept of one book in one view, at least 1: how far a lossless reader may be
    /// behind, and how far back a subscription may resume.
    pub channel_changes_max: usize,
    /// Bytes that are kept of one book in one view; the newest change is kept whatever its size.
    pub channel_bytes_max: usize,
    /// Bytes that are kept of all books; beyond, the oldest changes go first.
    pub kept_bytes_max: usize,
    /// Events that may wait for the writer; beyond, it holds up the exchange instead of filling the memory.
    /// Readers, however slow, are not what it waits for.
    pub waiting_events_max: u64,
    /// How many subscriptions there may be.
    pub subscriptions: SubscriptionLimits,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            channel_changes_max: 32_768,
            channel_bytes_max: 16 << 20,
            kept_bytes_max: 512 << 20,
            waiting_events_max: 1 << 18,
            subscriptions: SubscriptionLimits::default(),
        }
    }
}

/// A way to the market data; cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: mpsc::Sender<Turn>,
    progress: Arc<Progress>,
    news: Arc<News>,
    places: Places,
}

/// What the writer does next.
enum Turn {
    Events(Events),
    Run(Box<dyn FnOnce(&mut Hub) + Send>),
    Leave(u64),
    Stop,
}

/// The writer's thread; stops when [`FeedThread::stop`] is called.
#[derive(Debug)]
pub struct FeedThread {
    feed: Feed,
    thread: thread::JoinHandle<()>,
}

impl FeedThread {
    /// Ends the thread after everything that was published.
    pub fn stop(self) {
        // An error means that it ended already.
        let _ = self.feed.0.turns.send(Turn::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the market data thread panicked");
        }
    }
}

/// The journal's way to the market data: takes durable events, and never waits for a reader.
#[derive(Clone, Debug)]
pub struct FeedSink {
    feed: Feed,
    waiting_events_max: u64,
}

impl EventSink for FeedSink {
    fn publish(&mut self, events: &Events) {
        let progress = self.feed.progress();
        if let Some(last) = events.last() {
            progress.published.store(last.event_seq, Ordering::Relaxed);
        }
        // Nobody listens any more after the end of the thread, which the services tell as NOT_READY.
        let _ = self.feed.0.turns.send(Turn::Events(Arc::clone(events)));
        progress.wait_for_room(self.waiting_events_max);
    }
}

impl Feed {
    /// Starts the writer with the books of an engine. It must get every event after the engine's last;
    /// events that the engine holds already are skipped.
    pub fn start(settings: &FeedSettings, engine: &Engine) -> io::Result<(Feed, FeedSink, FeedThread)> {
        let (feed, mut hub, turns) = Self::new(settings);
        hub.seed(engine);
        let thread = thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || run(hub, &turns))?;
        let sink = FeedSink {
            feed: feed.clone(),
            waiting_events_max: settings.waiting_events_max,
        };
        let thread = FeedThread {
            feed: feed.clone(),
            thread,
        };
        Ok((feed, sink, thread))
    }

    fn new(settings: &FeedSettings) -> (Feed, Hub, mpsc::Receiver<Turn>) {
        let (sender, turns) = mpsc::channel();
        let progress = Arc::new(Progress::default());
        let news = Arc::new(News::new());
        let hub = Hub::new(settings, Arc::clone(&progress), Arc::clone(&news));
        let feed = Feed(Arc::new(Inner {
            turns: sender,
            progress,
            news,
            places: Places::new(settings.subscriptions),
        }));
        (feed, hub, turns)
    }

    fn progress(&self) -> &Progress {
        &self.0.progress
    }

    fn places(&self) -> &Places {
        &self.0.places
    }

    fn leave(&self, subscription: u64) {
        // After the end of the thread there is nothing to leave.
        let _ = self.0.turns.send(Turn::Leave(subscription));
    }

    /// Runs something in the writer's turn: after every event that was published before.
    async fn run<T: Send + 'static>(&self, read: impl FnOnce(&mut Hub) -> T + Send + 'static) -> Result<T, Error> {
        let (answer, wait) = oneshot::channel();
        let turn = Turn::Run(Box::new(move |hub| {
            // An error means that the client is gone.
            let _ = answer.send(read(hub));
        }));
        let ended = || Error::not_ready("market data has ended");
        self.0.turns.send(turn).map_err(|_| ended())?;
        wait.await.map_err(|_| ended())
    }

    /// Events up to this one are in the books.
    pub fn event_seq(&self) -> u64 {
        self.progress().applied.load(Ordering::Acquire)
    }

    /// Takes one of the user's places for a stream of the tape.
    pub fn take_place(&self, user: UserId, kind: &'static str) -> Result<Place, Error> {
        self.places().take(user, 0, kind)
    }

    /// Last trade of an event that was published; 0 if there was none.
    pub async fn last_trade_id(&self) -> Result<u64, Error> {
        self.run(|hub| hub.last_trade_id()).await
    }

    /// The instruments of symbols, or `UNKNOWN_INSTRUMENT`; and the last event that was published.
    pub async fn instrument_ids(&self, symbols: Vec<Symbol>) -> Result<(Vec<InstrumentId>, u64), Error> {
        self.run(move |hub| {
            let ids = symbols
                .iter()
                .map(|symbol| hub.instrument(symbol).ok_or_else(|| Error::unknown_instrument(symbol)));
            Ok((ids.collect::<Result<_, _>>()?, hub.event_seq()))
        })
        .await?
    }

    /// One book as it stands.
    pub async fn order_book(&self, request: &v1::GetOrderBookRequest) -> Result<v1::BookSnapshot, Error> {
        let symbol = parse_symbol("symbol", &request.symbol)?;
        let depth = request::depth(request.depth)?.unwrap_or(usize::MAX);
        let (channel, event_seq) = self
            .run(move |hub| {
                let channel = hub
                    .full_channel(&symbol)
                    .ok_or_else(|| Error::unknown_instrument(&symbol))?;
                Ok::<_, Error>((channel, hub.event_seq()))
            })
            .await??;
        let snapshot = channel.lock().snapshot(depth, event_seq);
        Ok(snapshot.message(&symbol, snapshot.checksum()))
    }

    /// At most `max` instruments by symbol, those after a symbol, and whether there are more.
    pub async fn instruments(&self, after: Option<Symbol>, max: usize) -> Result<(Vec<v1::Instrument>, bool), Error> {
        let (page, more) = self
            .run(move |hub| {
                let mut rest = hub.instruments_after(after);
                let page: Vec<_> = rest.by_ref().take(max).cloned().collect();
                (page, rest.next().is_some())
            })
            .await?;
        Ok((page.iter().map(|instrument| (**instrument).clone()).collect(), more))
    }

    /// Follows the list of instruments.
    pub async fn subscribe_instruments(&self, user: UserId) -> Result<InstrumentsSubscription, Error> {
        let place = self.places().take(user, 0, "instruments")?;
        let (news, progress) = (Arc::clone(&self.0.news), Arc::clone(&self.0.progress));
        self.run(move |hub| {
            let listed = hub.instruments_after(None).cloned().collect();
            let cursor = news.head();
            InstrumentsSubscription::new(news, progress, listed, hub.event_seq(), cursor, place)
        })
        .await
    }

    /// Follows books.
    pub async fn subscribe_books(
        &self,
        user: UserId,
        request: &v1::SubscribeOrderBooksRequest,
    ) -> Result<Subscription, Error> {
        let request = BooksRequest::parse(request)?;
        let feed = self.clone();
        self.run(move |hub| hub.subscribe(&feed, user, &request)).await?
    }
}

/// The writer's thread.
fn run(mut hub: Hub, turns: &mpsc::Receiver<Turn>) {
    let mut next_tick = Instant::now() + HEARTBEAT;
    let mut next_conflated = Instant::now();
    let mut next_news = Instant::now();
    loop {
        let now = Instant::now();
        if hub.has_news() && (now >= next_news || hub.readers_are_far_behind()) {
            let woken = hub.announce();
            next_news = now + (REST_PER_READER * woken).min(REST_MAX);
        }
        if hub.has_conflated_news() && (now >= next_conflated || hub.conflated_are_far_behind()) {
            hub.announce_conflated();
            next_conflated = now + CONFLATE_EVERY;
        }
        if now >= next_tick {
            hub.tick();
            // After a pause of the machine one heartbeat, not one for each second.
            next_tick = (next_tick + HEARTBEAT).max(now);
        }
        let mut until = next_tick;
        if hub.has_conflated_news() {
            until = until.min(next_conflated);
        }
        if hub.has_news() {
            until = until.min(next_news);
        }
        match turns.recv_timeout(until.saturating_duration_since(now)) {
            Ok(turn) => {
                let waiting = turns.try_iter().take(TURNS_AT_A_TIME - 1);
                let goes_on = std::iter::once(turn)
                    .chain(waiting)
                    .all(|turn| take_turn(&mut hub, turn));
                hub.make_room();
                if !goes_on {
                    hub.announce();
                    return;
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Whether to go on.
fn take_turn(hub: &mut Hub, turn: Turn) -> bool {
    match turn {
        Turn::Events(events) => hub.apply(&events),
        Turn::Run(run) => run(hub),
        Turn::Leave(subscription) => hub.leave(subscription),
        Turn::Stop => return false,
    }
    true
}
