//! The list of instruments, and its news.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use optivex_proto::v1::subscribe_instruments_response::Event;
use optivex_proto::v1::{self, ErrorReason};
use tokio::sync::watch;
use tokio::time::timeout;

use super::limits::Place;
use super::progress::Progress;
use super::ring::Ring;
use crate::error::Error;

/// New instruments and phase changes that are kept for readers that are behind.
pub(super) const NEWS_MAX: usize = 16_384;
/// After so long without a message comes a heartbeat (contract: `heartbeat_event_seq`).
const SILENCE: Duration = Duration::from_secs(1);

/// New instruments and phase changes.
#[derive(Debug)]
pub(super) struct News {
    ring: Mutex<Ring<Arc<v1::Instrument>>>,
    head: watch::Sender<u64>,
}

impl News {
    pub(super) fn new() -> Self {
        Self {
            ring: Mutex::default(),
            head: watch::Sender::new(0),
        }
    }

    pub(super) fn publish(&self, instrument: &Arc<v1::Instrument>) {
        let mut ring = self.ring();
        ring.push(Arc::clone(instrument), 0);
        while ring.len() > NEWS_MAX {
            ring.pop();
        }
        self.head.send_replace(ring.head());
    }

    /// Has readers look whether they have to end.
    pub(super) fn wake(&self) {
        self.head.send_modify(|_| {});
    }

    pub(super) fn head(&self) -> u64 {
        self.ring().head()
    }

    fn ring(&self) -> MutexGuard<'_, Ring<Arc<v1::Instrument>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader of one subscription of instruments.
#[derive(Debug)]
pub struct InstrumentsSubscription {
    news: Arc<News>,
    progress: Arc<Progress>,
    head: watch::Receiver<u64>,
    listed: std::vec::IntoIter<Arc<v1::Instrument>>,
    /// Event that `listed` shows, until it was told.
    complete: Option<u64>,
    cursor: u64,
    messages: metrics::Counter,
    _place: Place,
}

impl InstrumentsSubscription {
    /// Starts with the instruments as they are at `event_seq`, and goes on with the news from `cursor`.
    pub(super) fn new(
        news: Arc<News>,
        progress: Arc<Progress>,
        listed: Vec<Arc<v1::Instrument>>,
        event_seq: u64,
        cursor: u64,
        place: Place,
    ) -> Self {
        Self {
            head: news.head.subscribe(),
            news,
            progress,
            listed: listed.into_iter(),
            complete: Some(event_seq),
            cursor,
            messages: metrics::counter!("optivex_feed_messages_total", "stream" => "instruments"),
            _place: place,
        }
    }

    /// The next message; `TOO_SLOW` when news were missed. Nothing is lost when this is dropped before
    /// it is done.
    pub async fn next(&mut self) -> Result<v1::SubscribeInstrumentsResponse, Error> {
        let event = self.next_event().await?;
        self.messages.increment(1);
        Ok(v1::SubscribeInstrumentsResponse { event: Some(event) })
    }

    async fn next_event(&mut self) -> Result<Event, Error> {
        if let Some(instrument) = self.listed.next() {
            return Ok(Event::Instrument((*instrument).clone()));
        }
        if let Some(event_seq) = self.complete.take() {
            return Ok(Event::SnapshotCompleteEventSeq(event_seq));
        }
        let mut silent = false;
        loop {
            self.head.borrow_and_update();
            // Before the news are read: those of every event up to here are there.
            let applied = self.progress.applied.load(Ordering::Acquire);
            if let Some(instrument) = self.read()? {
                return Ok(Event::Instrument((*instrument).clone()));
            }
            if self.progress.ended.load(Ordering::Acquire) {
                return Err(Error::not_ready("market data has ended"));
            }
            if silent {
                return Ok(Event::HeartbeatEventSeq(applied));
            }
            match timeout(SILENCE, self.head.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Error::not_ready("market data has ended")),
                Err(_) => silent = true,
            }
        }
    }

    fn read(&mut self) -> Result<Option<Arc<v1::Instrument>>, Error> {
        let ring = self.news.ring();
        let Some(mut items) = ring.after(self.cursor) else {
            metrics::counter!("optivex_feed_too_slow_total", "stream" => "instruments").increment(1);
            return Err(Error::new(
                ErrorReason::TooSlow,
                "too far behind the list of instruments",
            ));
        };
        let next = items.next().cloned();
        self.cursor += u64::from(next.is_some());
        Ok(next)
    }
}
