//! The writer and its readers on threads of their own: no wake-up is lost, and heartbeats part the
//! intervals exactly, whoever is faster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use optivex_engine::types::{InstrumentId, Level, Side, TradingPhase};
use optivex_engine::{Engine, Limits};
use optivex_journal::EventSink;
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{self, BookView, Delivery};

use super::super::log::SEGMENT_BYTES;
use super::super::{Feed, FeedSettings, Next, Subscription, Turn, checksum};
use super::receiver::books;
use super::venue::Venue;

const BOOKS: u32 = 4;
const ROUNDS: u32 = 1_500;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[derive(Default)]
struct Book {
    book_seq: u64,
    bids: BTreeMap<i64, v1::PriceLevel>,
    asks: BTreeMap<i64, v1::PriceLevel>,
}

impl Book {
    fn set(&mut self, bids: Vec<v1::PriceLevel>, asks: Vec<v1::PriceLevel>) {
        for (levels, changes) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for level in changes {
                if level.quantity == 0 {
                    levels.remove(&level.price_e4);
                } else {
                    levels.insert(level.price_e4, level);
                }
            }
        }
    }

    fn checksum(&self) -> u32 {
        let levels = self.bids.values().rev().chain(self.asks.values());
        checksum(levels.map(|level| Level {
            price_e4: level.price_e4,
            quantity: level.quantity,
            order_count: level.order_count.unsigned_abs(),
        }))
    }
}

/// Reads until a heartbeat says that everything up to the last event was sent.
fn read(mut subscription: Subscription, last_event_seq: &AtomicU64, rest_every: usize) -> BTreeMap<String, (u64, u32)> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut held: BTreeMap<String, Book> = BTreeMap::new();
    let mut messages = 0;
    loop {
        let frame = match subscription.poll_read(&waker) {
            Next::Frame(frame) => frame,
            Next::Idle => {
                thread::park();
                continue;
            }
            Next::Ended(error) => panic!("{error:?}"),
        };
        messages += 1;
        if messages % rest_every == 0 {
            thread::yield_now();
        }
        for event in frame.decode() {
            match event {
                Event::Subscribed(_) | Event::Gap(_) | Event::TopOfBook(_) => {}
                Event::Snapshot(snapshot) => {
                    let mut book = Book {
                        book_seq: snapshot.book_seq,
                        ..Book::default()
                    };
                    book.set(snapshot.bids, snapshot.asks);
                    held.insert(snapshot.symbol, book);
                }
                Event::Update(update) => {
                    let book = held.get_mut(&update.symbol).expect("a snapshot before an update");
                    assert_eq!(update.prev_book_seq, book.book_seq);
                    book.book_seq = update.book_seq;
                    book.set(update.bids, update.asks);
                }
                Event::Heartbeat(heartbeat) => {
                    for state in &heartbeat.books {
                        let book = &held[&state.symbol];
                        assert_eq!((state.book_seq, state.checksum), (book.book_seq, book.checksum()));
                    }
                    if heartbeat.event_seq == last_event_seq.load(Ordering::Acquire) {
                        let end = held
                            .iter()
                            .map(|(symbol, book)| (symbol.clone(), (book.book_seq, book.checksum())));
                        return end.collect();
                    }
                }
            }
        }
    }
}

#[test]
fn readers_keep_up_with_a_writer_on_another_thread() {
    let mut venue = Venue::new(&FeedSettings::default());
    for book in 0..BOOKS {
        venue.list(&format!("B{book}"), TradingPhase::Continuous);
    }
    let last_event_seq = AtomicU64::new(0);
    let kinds = [
        (0, Delivery::Lossless),
        (0, Delivery::Conflated),
        (3, Delivery::Lossless),
        (3, Delivery::Conflated),
    ];
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for reader in 0..8 {
            let (depth, delivery) = kinds[reader % kinds.len()];
            let subscription = venue.subscribe(&books(BookView::PriceDepth, depth, delivery));
            let (mut subscription, last_event_seq) = (subscription.expect("a good request"), &last_event_seq);
            subscription.set_chunk_bytes([1, 100, SEGMENT_BYTES][reader % 3]);
            let thread = scope.spawn(move || read(subscription, last_event_seq, 1 + reader * 7));
            readers.push((depth, thread));
        }
        for round in 0..ROUNDS {
            for step in 0..20 {
                let mixed = i64::from((round * 31 + step * 17) % 23);
                let book = InstrumentId(step % BOOKS);
                venue.insert(step % 3, book, Side::Buy, mixed, 1 + mixed % 3);
                venue.insert((step + 1) % 3, book, Side::Sell, mixed + i64::from(round % 5), 2);
            }
            if round % 7 == 0 {
                venue.cancel_all(round % 3, InstrumentId(round % BOOKS));
            }
            if round % 3 == 0 {
                venue.tick();
            }
            venue.publish();
        }
        last_event_seq.store(venue.engine.event_seq(), Ordering::Release);
        venue.tick();
        for (depth, reader) in readers {
            let held = reader.join().expect("a reader that ends well");
            assert_eq!(held.len(), BOOKS as usize);
            for (symbol, (book_seq, sum)) in held {
                let history = &venue.truth[&symbol];
                let newest = history.last().expect("every book was born");
                let shown = if depth == 0 { usize::MAX } else { depth as usize };
                let levels = newest.bids.iter().take(shown).chain(newest.asks.iter().take(shown));
                assert_eq!(sum, checksum(levels.copied()), "{symbol}");
                if depth == 0 {
                    assert_eq!(book_seq + 1, history.len() as u64);
                }
            }
        }
    });
}

/// Who publishes more than may wait is held up until the writer has taken it, or is gone.
#[test]
fn the_events_that_wait_for_the_writer_are_bounded() {
    let settings = FeedSettings {
        waiting_events_max: 3,
        ..FeedSettings::default()
    };
    let engine = Engine::new(Limits::default());
    let (feed, mut sink, writer) = Feed::start(&settings, &engine).expect("a thread");
    let event = move |event_seq| optivex_engine::Event {
        event_seq,
        ..optivex_engine::Event::default()
    };
    let published = move |events: std::ops::RangeInclusive<u64>| Arc::new(events.map(event).collect::<Vec<_>>());
    let (unblock, blocked) = mpsc::channel::<()>();
    let block = move |_: &mut _| {
        let _ = blocked.recv();
    };
    feed.0.turns.send(Turn::Run(Box::new(block))).expect("a writer");
    sink.publish(&published(1..=3));
    let publisher = thread::spawn(move || {
        sink.publish(&published(4..=4));
        sink
    });
    while feed.progress().published.load(Ordering::Relaxed) < 4 {
        thread::yield_now();
    }
    assert_eq!(feed.event_seq(), 0, "the writer is blocked");
    drop(unblock);
    let mut sink = publisher.join().expect("no panic");
    assert!(feed.event_seq() >= 1, "it waited for the writer");
    writer.stop();
    sink.publish(&published(5..=100));
}
