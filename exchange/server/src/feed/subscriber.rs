//! One subscription of books: where a reader stands with each of its channels, and what it is sent
//! next. It pulls: what a slow reader has not asked for yet is kept once for all readers, in the
//! channels, within their bounds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use optivex_engine::types::InstrumentId;
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{self, ErrorReason};

use super::Feed;
use super::channel::{Channel, Kind, Link, MergedMessage, Update, View};
use super::frame::Frame;
use super::limits::Place;
use super::tail::Merge;
use crate::error::Error;

/// Items that a lossless reader takes from a channel at a time, and about how many bytes: these it
/// keeps for itself until it has sent them.
const ITEMS_AT_A_TIME: usize = 256;
const BYTES_AT_A_TIME: usize = 64 << 10;

/// How far the writer is; read by all subscriptions.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Last event that was applied to every channel.
    pub(super) applied: AtomicU64,
    /// Last heartbeat interval that is over: everything of it is in the channels, marked and announced.
    pub(super) epoch: AtomicU64,
    /// Last event that was published to the writer.
    pub(super) published: AtomicU64,
    /// Whether there is no writer any more.
    pub(super) ended: AtomicBool,
    beat: Mutex<Beat>,
    /// Signals who publishes: less waits for the writer.
    room: Condvar,
    /// Of `room` only.
    waiting: Mutex<()>,
}

/// The end of one heartbeat interval.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beat {
    pub(super) epoch: u64,
    pub(super) event_seq: u64,
}

impl Progress {
    pub(super) fn end_interval(&self, beat: Beat) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = beat;
        self.epoch.store(beat.epoch, Ordering::Release);
    }

    /// Waits until at most so many events wait for the writer, or there is none any more.
    pub(super) fn wait_for_room(&self, events_max: u64) {
        let lags = || {
            let (published, applied) = (&self.published, &self.applied);
            let behind = published
                .load(Ordering::Relaxed)
                .saturating_sub(applied.load(Ordering::Acquire));
            behind > events_max && !self.ended.load(Ordering::Acquire)
        };
        if lags() {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.room.wait_while(waiting, |()| lags()));
        }
    }

    /// Wakes who waits in `wait_for_room`.
    pub(super) fn make_room(&self) {
        // The lock: whoever waits is either before its look or in its wait.
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.room.notify_all();
    }

    /// The last interval that is over, if that is a later one than `known`.
    fn after(&self, known: u64) -> Option<Beat> {
        if self.epoch.load(Ordering::Acquire) <= known {
            return None;
        }
        Some(*self.beat.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The part of a subscription that the writer tells when there is something to read.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) id: u64,
    mail: Mutex<Mail>,
}

#[derive(Debug, Default)]
struct Mail {
    /// Channels with news: at most each once, as `Link::dirty` guards.
    dirty: Vec<usize>,
    joined: Vec<Joined>,
    waker: Option<Waker>,
}

/// A channel that a subscription has from now on.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) channel: Arc<Channel>,
    pub(super) link: Arc<Link>,
    pub(super) start: Start,
}

/// How a reader starts with a channel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// With what the view shows when it is read.
    Snapshot,
    /// With the item at a position, holding a book_seq.
    Resumed { cursor: u64, book_seq: u64 },
}

impl Subscriber {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            mail: Mutex::default(),
        }
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to read in a channel.
    pub(super) fn announce(&self, link: &Link) {
        if !link.dirty.swap(true, Ordering::AcqRel) {
            let mut mail = self.mail();
            mail.dirty.push(link.index);
            wake(mail);
        }
    }

    /// There is one channel more.
    pub(super) fn join(&self, joined: Joined) {
        let mut mail = self.mail();
        mail.joined.push(joined);
        wake(mail);
    }

    /// Something that all subscriptions wait for has changed.
    pub(super) fn wake(&self) {
        wake(self.mail());
    }
}

/// Wakes the reader after the lock is free.
fn wake(mut mail: MutexGuard<'_, Mail>) {
    let waker = mail.waker.take();
    drop(mail);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What a subscription sends next.
#[derive(Debug)]
pub enum Next {
    /// A message.
    Frame(Frame),
    /// Nothing until it is woken.
    Idle,
    /// Nothing any more.
    Ended(Error),
}

/// The reader of one subscription of books.
#[derive(Debug)]
pub struct Subscription {
    feed: Feed,
    subscriber: Arc<Subscriber>,
    conflated: bool,
    books: Vec<Book>,
    /// Books to read, oldest news first.
    ready: VecDeque<usize>,
    /// Books to read after the next heartbeat: what is left there belongs to a later interval.
    later: Vec<usize>,
    /// Books of which something was sent since the last heartbeat.
    sent: Vec<usize>,
    /// Messages that go out next.
    out: VecDeque<Frame>,
    /// The heartbeat that is due as soon as everything of its interval was sent.
    due: Option<Beat>,
    /// Interval of the last heartbeat.
    beat_epoch: u64,
    /// Why nothing is sent any more.
    end: Option<Error>,
    meters: Meters,
    /// Counted against the bounds on subscriptions until it ends.
    _place: Place,
}

/// Where the reader stands with one book.
#[derive(Debug)]
struct Book {
    channel: Arc<Channel>,
    link: Arc<Link>,
    /// Position of the next item to read; none before the snapshot.
    cursor: Option<u64>,
    /// What the receiver holds.
    book_seq: u64,
    /// Of what it holds, at the end of each interval.
    checksum: u32,
    /// Whether it is in `Subscription::sent`.
    sent: bool,
    /// Whether it is in `Subscription::ready` or `later`.
    queued: bool,
}

#[derive(Debug)]
struct Meters {
    messages: metrics::Counter,
    gaps: metrics::Counter,
    too_slow: metrics::Counter,
}

impl Subscription {
    /// A subscription whose first message says how each symbol fared.
    pub(super) fn new(
        feed: Feed,
        subscriber: Arc<Subscriber>,
        conflated: bool,
        beat_epoch: u64,
        subscribed: v1::Subscribed,
        place: Place,
    ) -> Self {
        Self {
            feed,
            subscriber,
            conflated,
            books: Vec::new(),
            ready: VecDeque::new(),
            later: Vec::new(),
            sent: Vec::new(),
            out: VecDeque::from([Frame::new(Event::Subscribed(subscribed))]),
            due: None,
            beat_epoch,
            end: None,
            meters: Meters {
                messages: metrics::counter!("optivex_feed_messages_total", "stream" => "order_books"),
                gaps: metrics::counter!("optivex_feed_gaps_total"),
                too_slow: metrics::counter!("optivex_feed_too_slow_total", "stream" => "order_books"),
            },
            _place: place,
        }
    }

    /// The next message, if there is one; else `waker` is called when there may be one.
    pub fn poll_read(&mut self, waker: &Waker) -> Next {
        match self.read() {
            Next::Idle => {}
            next => return next,
        }
        self.subscriber.mail().waker = Some(waker.clone());
        // What came before the waker was there woke nobody.
        self.read()
    }

    /// The next message, if there is one.
    pub fn read(&mut self) -> Next {
        loop {
            if let Some(error) = &self.end {
                return Next::Ended(error.clone());
            }
            if let Some(frame) = self.out.pop_front() {
                self.meters.messages.increment(1);
                return Next::Frame(frame);
            }
            // Before the mail is read: what was announced in an interval that is over is seen below.
            if self.due.is_none() {
                self.due = self.feed.progress().after(self.beat_epoch);
            }
            self.read_mail();
            if let Some(index) = self.ready.pop_front() {
                self.books[index].queued = false;
                if let Err(error) = self.pull(index) {
                    self.meters.too_slow.increment(1);
                    self.end = Some(error);
                }
                continue;
            }
            match self.due.take() {
                Some(beat) => self.heartbeat(beat),
                None if self.feed.progress().ended.load(Ordering::Acquire) => {
                    return Next::Ended(Error::not_ready("market data has ended"));
                }
                None => return Next::Idle,
            }
        }
    }

    /// Interval up to which items may be sent: a heartbeat parts the intervals on every stream.
    fn epoch_max(&self) -> u64 {
        self.due.map_or(self.beat_epoch + 1, |beat| beat.epoch)
    }

    fn read_mail(&mut self) {
        let (joined, dirty) = {
            let mut mail = self.subscriber.mail();
            (std::mem::take(&mut mail.joined), std::mem::take(&mut mail.dirty))
        };
        for Joined { channel, link, start } in joined {
            let (cursor, book_seq) = match start {
                Start::Snapshot => (None, 0),
                Start::Resumed { cursor, book_seq } => (Some(cursor), book_seq),
            };
            self.ready.push_back(self.books.len());
            self.books.push(Book {
                channel,
                link,
                cursor,
                book_seq,
                checksum: 0,
                sent: false,
                queued: true,
            });
        }
        for index in dirty {
            // A channel is announced after it was joined; both are in the same mail, or in this order.
            let Some(book) = self.books.get_mut(index) else {
                continue;
            };
            // Before the channel is read: what is appended after that announces itself again.
            book.link.dirty.swap(false, Ordering::AcqRel);
            if !book.queued {
                book.queued = true;
                self.ready.push_back(index);
            }
        }
    }

    /// Reads on in one book.
    fn pull(&mut self, index: usize) -> Result<(), Error> {
        let book = &self.books[index];
        match (book.channel.view, book.cursor) {
            (View::Top, None) => self.pull_top_state(index),
            (View::Top, Some(cursor)) if self.conflated => self.pull_newest_top(index, cursor),
            (View::Full | View::Depth(_), None) => self.pull_snapshot(index),
            (View::Full | View::Depth(_), Some(cursor)) if self.conflated => self.pull_merged(index, cursor),
            (_, Some(cursor)) => return self.pull_items(index, cursor),
        }
        Ok(())
    }

    /// Lossless: the next items.
    fn pull_items(&mut self, index: usize, cursor: u64) -> Result<(), Error> {
        let epoch_max = self.epoch_max();
        let book = &mut self.books[index];
        let state = book.channel.lock();
        let Some(items) = state.ring.after(cursor) else {
            if state.is_held_by(book.book_seq) {
                // Only marks were evicted.
                book.cursor = Some(state.ring.head());
                book.checksum = state.checksum();
                return Ok(());
            }
            let error = Error::new(
                ErrorReason::TooSlow,
                format!(
                    "too far behind in {} after book_seq {}",
                    book.channel.symbol, book.book_seq
                ),
            );
            return Err(error
                .with("symbol", book.channel.symbol)
                .with("book_seq", book.book_seq));
        };
        let (mut left, mut bytes, mut read) = (None, 0, 0);
        let symbol = book.channel.symbol;
        for item in items {
            let enough = read == ITEMS_AT_A_TIME as u64 || bytes >= BYTES_AT_A_TIME;
            if item.epoch > epoch_max || enough {
                left = Some(item.epoch);
                break;
            }
            read += 1;
            bytes += item.bytes();
            // The first of all readers encodes; the others share its bytes.
            match &item.kind {
                Kind::Update(update) => {
                    self.out.push_back(update.frame(&symbol, book.book_seq));
                    book.book_seq = update.book_seq;
                }
                Kind::Top(top) => {
                    self.out.push_back(top.frame(&symbol));
                    book.book_seq = top.book_seq;
                }
                Kind::Mark(checksum) => book.checksum = *checksum,
            }
        }
        drop(state);
        book.cursor = Some(cursor + read);
        if !book.sent && !self.out.is_empty() {
            book.sent = true;
            self.sent.push(index);
        }
        self.queue_rest(index, left, epoch_max);
        Ok(())
    }

    /// Puts a book of which items are left, the first of this interval, back to be read.
    fn queue_rest(&mut self, index: usize, left: Option<u64>, epoch_max: u64) {
        let Some(epoch) = left else { return };
        self.books[index].queued = true;
        if epoch > epoch_max {
            self.later.push(index);
        } else {
            self.ready.push_back(index);
        }
    }

    fn send(&mut self, index: usize, frame: Frame) {
        self.out.push_back(frame);
        let book = &mut self.books[index];
        if !book.sent {
            book.sent = true;
            self.sent.push(index);
        }
    }

    fn pull_snapshot(&mut self, index: usize) {
        let applied = self.feed.progress().applied.load(Ordering::Acquire);
        let book = &mut self.books[index];
        let state = book.channel.lock();
        let snapshot = state.snapshot(usize::MAX, applied);
        let cursor = state.ring.head();
        if self.conflated {
            book.link.needs_from.store(cursor, Ordering::Relaxed);
        }
        drop(state);
        book.cursor = Some(cursor);
        book.book_seq = snapshot.book_seq;
        book.checksum = snapshot.checksum();
        let message = snapshot.message(&book.channel.symbol, book.checksum);
        self.send(index, Frame::new(Event::Snapshot(message)));
    }

    fn pull_top_state(&mut self, index: usize) {
        let applied = self.feed.progress().applied.load(Ordering::Acquire);
        let book = &mut self.books[index];
        let state = book.channel.lock();
        let top = state.top(applied);
        book.cursor = Some(state.ring.head());
        drop(state);
        book.book_seq = top.book_seq;
        let frame = top.frame(&book.channel.symbol);
        self.send(index, frame);
    }

    /// Conflated TOP_OF_BOOK: the newest of the changes.
    fn pull_newest_top(&mut self, index: usize, cursor: u64) {
        let epoch_max = self.epoch_max();
        let book = &mut self.books[index];
        let state = book.channel.lock();
        if cursor < state.ring.start() {
            drop(state);
            return self.pull_top_state(index);
        }
        let (to, left) = state.conflated_end(cursor, epoch_max);
        // Nothing but tops is appended to such a channel.
        let newest = match state.ring.get(to.wrapping_sub(1)).map(|item| &item.kind) {
            Some(Kind::Top(top)) if to > cursor => Some(Arc::clone(top)),
            _ => None,
        };
        drop(state);
        book.cursor = Some(to);
        if let Some(top) = newest {
            book.book_seq = top.book_seq;
            let frame = top.frame(&book.channel.symbol);
            self.send(index, frame);
        }
        self.queue_rest(index, left, epoch_max);
    }

    /// Conflated PRICE_DEPTH: all changes as one update.
    fn pull_merged(&mut self, index: usize, cursor: u64) {
        let epoch_max = self.epoch_max();
        let book = &mut self.books[index];
        let mut state = book.channel.lock();
        if cursor < state.ring.start() {
            drop(state);
            return self.pull_evicted(index, cursor);
        }
        let (to, left) = state.conflated_end(cursor, epoch_max);
        book.link.needs_from.store(to, Ordering::Relaxed);
        let merged = state.merged(cursor, to, book.book_seq);
        drop(state);
        book.checksum = merged.checksum.unwrap_or(book.checksum);
        let symbol = &book.channel.symbol;
        match merged.message(|updates| merge(Merge::new(), updates, symbol, book.book_seq)) {
            MergedMessage::Nothing => {}
            MergedMessage::Update(frame, book_seq) => {
                book.book_seq = book_seq;
                self.send(index, frame);
            }
            MergedMessage::TooManyTrades => return self.pull_gap(index),
        }
        self.books[index].cursor = Some(to);
        self.queue_rest(index, left, epoch_max);
    }

    /// Conflated PRICE_DEPTH, for a reader so far behind that what it needs was evicted.
    fn pull_evicted(&mut self, index: usize, cursor: u64) {
        let book = &mut self.books[index];
        let state = book.channel.lock();
        let head = state.ring.head();
        if state.is_held_by(book.book_seq) {
            // Only marks were evicted.
            book.cursor = Some(head);
            book.checksum = state.checksum();
            book.link.needs_from.store(head, Ordering::Relaxed);
            return;
        }
        let Some(merged) = state.tail.as_ref().and_then(|tail| tail.since(cursor)) else {
            drop(state);
            return self.pull_gap(index);
        };
        // Behind the ring the marks are gone: read on to the end, whose checksum can be taken.
        book.checksum = state.checksum();
        book.link.needs_from.store(head, Ordering::Relaxed);
        let items = state.ring.between(state.ring.start(), head);
        let updates: Vec<_> = items
            .filter_map(|item| match &item.kind {
                Kind::Update(update) => Some(Arc::clone(update)),
                Kind::Mark(_) | Kind::Top(_) => None,
            })
            .collect();
        drop(state);
        match merge(merged, &updates, &book.channel.symbol, book.book_seq) {
            MergedMessage::Nothing => {}
            MergedMessage::Update(frame, book_seq) => {
                book.book_seq = book_seq;
                self.send(index, frame);
            }
            MergedMessage::TooManyTrades => return self.pull_gap(index),
        }
        self.books[index].cursor = Some(head);
    }

    fn pull_gap(&mut self, index: usize) {
        self.meters.gaps.increment(1);
        let symbol = self.books[index].channel.symbol;
        let after_book_seq = self.books[index].book_seq;
        // Placed before the snapshot, which tells how far the gap goes.
        let place = self.out.len();
        self.pull_snapshot(index);
        let gap = v1::Gap {
            symbol: symbol.to_string(),
            after_book_seq,
            through_book_seq: self.books[index].book_seq,
        };
        self.out.insert(place, Frame::new(Event::Gap(gap)));
    }

    fn heartbeat(&mut self, beat: Beat) {
        let books = &mut self.books;
        let states = self.sent.drain(..).map(|index| {
            let book = &mut books[index];
            book.sent = false;
            v1::BookState {
                symbol: book.channel.symbol.to_string(),
                book_seq: book.book_seq,
                checksum: match book.channel.view {
                    View::Full | View::Depth(_) => book.checksum,
                    View::Top => 0,
                },
            }
        });
        let message = v1::Heartbeat {
            event_seq: beat.event_seq,
            books: states.collect(),
        };
        self.out.push_back(Frame::new(Event::Heartbeat(message)));
        self.beat_epoch = beat.epoch;
        self.ready.extend(self.later.drain(..));
    }
}

/// What a reader that holds `held` is sent for these updates.
fn merge(mut merge: Merge, updates: &[Arc<Update>], symbol: &str, held: u64) -> MergedMessage {
    for update in updates {
        merge.add(update);
    }
    if merge.has_too_many_trades() {
        return MergedMessage::TooManyTrades;
    }
    merge
        .frame(symbol, held)
        .map_or(MergedMessage::Nothing, |(frame, book_seq)| {
            MergedMessage::Update(frame, book_seq)
        })
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.leave(self.subscriber.id);
    }
}

/// A subscription as the writer knows it.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) view: View,
    pub(super) conflated: bool,
    /// Whether it wants instruments that are still to come.
    pub(super) all: bool,
    pub(super) books: Vec<InstrumentId>,
}
