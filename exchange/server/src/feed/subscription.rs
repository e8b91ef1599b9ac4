//! One subscription of books as its reader sees it: where it stands with each of its channels, and what
//! it is sent next. It pulls: what a slow reader has not asked for yet is kept once for all readers, in
//! the channels, within their bounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use bytes::Bytes;
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{self, ErrorReason};

use super::Feed;
use super::channel::{Channel, Kind, Link, MergedMessage, Update, View};
use super::frame::{Frame, UpdateEncoder};
use super::limits::Place;
use super::log::{Outgoing, SEGMENT_BYTES};
use super::progress::Beat;
use super::subscriber::{Joined, Start, Subscriber};
use super::tail::Merge;
use crate::error::Error;

/// What a subscription sends next.
#[derive(Debug)]
pub enum Next {
    /// One or more messages.
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
    out: Outgoing,
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
        let mut subscription = Self {
            feed,
            subscriber,
            conflated,
            books: Vec::new(),
            ready: VecDeque::new(),
            later: Vec::new(),
            sent: Vec::new(),
            out: Outgoing::new(SEGMENT_BYTES),
            due: None,
            beat_epoch,
            end: None,
            meters: Meters {
                messages: metrics::counter!("optivex_feed_messages_total", "stream" => "order_books"),
                gaps: metrics::counter!("optivex_feed_gaps_total"),
                too_slow: metrics::counter!("optivex_feed_too_slow_total", "stream" => "order_books"),
            },
            _place: place,
        };
        subscription.tell(Event::Subscribed(subscribed));
        subscription
    }

    /// How many bytes of messages are sent at a time, or more if one message has more.
    #[cfg(test)]
    pub(super) fn set_chunk_bytes(&mut self, bytes: usize) {
        self.out.set_chunk_bytes(bytes);
    }

    /// The next messages, if there are any; else `waker` is called when there may be some.
    pub fn poll_read(&mut self, waker: &Waker) -> Next {
        loop {
            match self.read() {
                Next::Idle => {}
                next => return next,
            }
            let mut mail = self.subscriber.mail();
            let is_empty = mail.dirty.is_empty() && mail.joined.is_empty();
            if is_empty {
                mail.waker = Some(waker.clone());
            }
            drop(mail);
            // Both are there to be seen before anybody is woken for them: who has just come too early with
            // the waker sees them here.
            let progress = self.feed.progress();
            if is_empty && !progress.ended.load(Ordering::Acquire) && progress.after(self.beat_epoch).is_none() {
                return Next::Idle;
            }
        }
    }

    /// The next messages, if there are any.
    pub fn read(&mut self) -> Next {
        while !self.out.is_full() && self.end.is_none() && self.advance() {}
        match (self.out.pop(), &self.end) {
            (Some(messages), _) => Next::Frame(Frame::of(messages)),
            (None, Some(error)) => Next::Ended(error.clone()),
            (None, None) => Next::Idle,
        }
    }

    /// Goes one step further; false if there is nothing to do.
    fn advance(&mut self) -> bool {
        // Before the mail is read: what was announced in an interval that is over is seen below.
        if self.due.is_none() {
            self.due = self.feed.progress().after(self.beat_epoch);
            if self.due.is_some() {
                // Of a reader that slept through several intervals, what was left for the next may belong to
                // those that are over.
                self.ready.extend(self.later.drain(..));
            }
        }
        self.read_mail();
        if let Some(index) = self.ready.pop_front() {
            self.books[index].queued = false;
            if let Err(error) = self.pull(index) {
                self.meters.too_slow.increment(1);
                self.end = Some(error);
            }
            return true;
        }
        match self.due.take() {
            Some(beat) => self.heartbeat(beat),
            None if self.feed.progress().ended.load(Ordering::Acquire) => {
                self.end = Some(Error::not_ready("market data has ended"));
            }
            None => return false,
        }
        true
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
        let bytes_max = self.out.chunk_bytes() as u64;
        let (mut left, mut read, mut messages, mut bytes) = (None, 0, 0, 0);
        // What follows one another in the log goes out as one.
        let mut run = 0..0;
        for item in items {
            if item.epoch > epoch_max || bytes >= bytes_max {
                left = Some(item.epoch);
                break;
            }
            read += 1;
            if let Kind::Mark(checksum) = &item.kind {
                book.checksum = *checksum;
                continue;
            }
            messages += 1;
            // A reader whose snapshot is newer than the last change of its view holds the snapshot's book_seq.
            let is_next = match &item.kind {
                Kind::Update(update) => update.prev_book_seq == book.book_seq,
                Kind::Top(_) | Kind::Mark(_) => true,
            };
            if is_next && state.log.has(&item.message) {
                if run.end != item.message.start {
                    state
                        .log
                        .read(std::mem::replace(&mut run, item.message.clone()), &mut self.out);
                }
                run.end = item.message.end;
                bytes += item.message.end - item.message.start;
            } else {
                // A change that nobody followed when it was made.
                state.log.read(std::mem::take(&mut run), &mut self.out);
                let message = match &item.kind {
                    Kind::Update(update) => encode(&book.channel, book.book_seq, update),
                    Kind::Top(top) => top.frame(&book.channel.symbol),
                    Kind::Mark(_) => continue,
                };
                bytes += message.bytes().len() as u64;
                self.out.push(message.bytes());
            }
            book.book_seq = item.book_seq;
        }
        state.log.read(run, &mut self.out);
        drop(state);
        book.cursor = Some(cursor + read);
        self.meters.messages.increment(messages);
        if !book.sent && messages > 0 {
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

    /// Sends a message of a book.
    fn send(&mut self, index: usize, frame: &Frame) {
        self.meters.messages.increment(1);
        self.out.push(frame.bytes());
        let book = &mut self.books[index];
        if !book.sent {
            book.sent = true;
            self.sent.push(index);
        }
    }

    /// Sends a message of its own.
    fn tell(&mut self, event: Event) {
        self.meters.messages.increment(1);
        self.out.push(Frame::new(event).bytes());
    }

    fn pull_snapshot(&mut self, index: usize) {
        let snapshot = self.take_snapshot(index);
        self.send(index, &snapshot);
    }

    fn take_snapshot(&mut self, index: usize) -> Frame {
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
        Frame::new(Event::Snapshot(message))
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
        self.send(index, &frame);
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
            self.send(index, &frame);
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
                self.send(index, &frame);
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
                self.send(index, &frame);
            }
            MergedMessage::TooManyTrades => return self.pull_gap(index),
        }
        self.books[index].cursor = Some(head);
    }

    fn pull_gap(&mut self, index: usize) {
        self.meters.gaps.increment(1);
        let symbol = self.books[index].channel.symbol;
        let after_book_seq = self.books[index].book_seq;
        let snapshot = self.take_snapshot(index);
        self.tell(Event::Gap(v1::Gap {
            symbol: symbol.to_string(),
            after_book_seq,
            through_book_seq: self.books[index].book_seq,
        }));
        self.send(index, &snapshot);
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
        self.tell(Event::Heartbeat(message));
        self.beat_epoch = beat.epoch;
        self.ready.extend(self.later.drain(..));
    }
}

/// One update for a reader that holds `held`.
fn encode(channel: &Channel, held: u64, update: &Update) -> Frame {
    let mut encoder = UpdateEncoder::default();
    Frame::of(Bytes::copy_from_slice(encoder.encode(&channel.symbol, held, update)))
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
