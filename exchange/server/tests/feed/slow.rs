//! Readers that do not read, and many readers.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use optivex_engine::types::{Level, Side};
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{self, BookView, Delivery};
use optivex_server::feed::{FeedSettings, checksum};

use crate::venue::{Books, Venue, subscribe, told};

const DEPTH: BookView = BookView::PriceDepth;

/// A book as its subscriber puts it together, by the one rule of the contract.
#[derive(Debug, Default)]
struct Book {
    book_seq: u64,
    bids: BTreeMap<i64, v1::PriceLevel>,
    asks: BTreeMap<i64, v1::PriceLevel>,
    trades: Vec<u64>,
    gaps: usize,
    updates: usize,
}

impl Book {
    fn take(&mut self, event: Event) {
        match event {
            Event::Snapshot(snapshot) => {
                self.book_seq = snapshot.book_seq;
                self.bids = snapshot.bids.into_iter().map(|level| (level.price_e4, level)).collect();
                self.asks = snapshot.asks.into_iter().map(|level| (level.price_e4, level)).collect();
                assert_eq!(self.checksum(), snapshot.checksum);
            }
            Event::Update(update) => {
                assert_eq!(update.prev_book_seq, self.book_seq);
                self.book_seq = update.book_seq;
                self.updates += 1;
                for (levels, changes) in [(&mut self.bids, update.bids), (&mut self.asks, update.asks)] {
                    for level in changes {
                        if level.quantity == 0 {
                            levels.remove(&level.price_e4);
                        } else {
                            levels.insert(level.price_e4, level);
                        }
                    }
                }
                self.trades.extend(update.trades.iter().map(|trade| trade.trade_id));
            }
            Event::Heartbeat(heartbeat) => {
                for book in heartbeat.books {
                    assert_eq!((book.book_seq, book.checksum), (self.book_seq, self.checksum()));
                }
            }
            Event::Gap(gap) => {
                assert_eq!(gap.after_book_seq, self.book_seq);
                self.gaps += 1;
            }
            Event::Subscribed(_) | Event::TopOfBook(_) => {}
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

    async fn read_to(&mut self, books: &mut Books, book_seq: u64) {
        while self.book_seq < book_seq {
            self.take(books.next().await.expect("an open stream"));
        }
    }
}

/// Changes the book so often that what no reader takes fills every buffer on the way, and the ring.
async fn flood(venue: &Venue, symbol: &str, rounds: usize) {
    for _ in 0..rounds {
        let inserts = (1..=60).map(|price| venue.insert("alice", symbol, Side::Buy, price * 100, 1));
        join_all(inserts).await;
        // One trade with each level, in one event.
        venue.insert("bob", symbol, Side::Sell, 100, 60).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_loses_and_nobody_else_does() {
    let settings = FeedSettings {
        channel_changes_max: 256,
        ..FeedSettings::default()
    };
    let venue = Venue::start_with(&settings).await;
    venue.list(&["ABC"]).await;
    let mut bob = venue.login("bob").await;
    let mut stalled = bob.books(subscribe(&["ABC"], DEPTH, Delivery::Lossless)).await;
    let mut dozing = bob.books(subscribe(&["ABC"], DEPTH, Delivery::Conflated)).await;
    stalled.statuses().await;
    dozing.statuses().await;

    // One that reads, on another connection: it sees every change.
    let mut carol = venue.login("carol").await;
    let mut awake = carol.books(subscribe(&["ABC"], DEPTH, Delivery::Conflated)).await;
    let reading = tokio::spawn(async move {
        let mut book = Book::default();
        book.read_to(&mut awake, 60 * 61).await;
        book
    });
    flood(&venue, "ABC", 60).await;
    let awake = reading.await.expect("no panic");
    assert_eq!(awake.gaps, 0);
    assert_eq!(awake.trades, (1..=3_600).collect::<Vec<_>>());

    // Orders and books on the very connection that has streams that nobody reads.
    bob.buy("ABC", 100, 7).await;
    let newest = bob.book("ABC", 0).await;
    assert_eq!(newest.book_seq, 60 * 61 + 1);

    let status = loop {
        if let Err(status) = stalled.next().await {
            break status;
        }
    };
    assert!(told(&status).starts_with("ResourceExhausted TOO_SLOW "), "{status:?}");
    // Conflated: 3,600 trades are far from too many; the changes came merged, none was lost.
    let mut book = Book::default();
    book.read_to(&mut dozing, newest.book_seq).await;
    assert_eq!((book.gaps, book.checksum()), (0, newest.checksum));
    assert_eq!(book.trades, (1..=3_600).collect::<Vec<_>>());
    assert!(book.updates < 60 * 61, "nothing was merged");

    // More than it keeps: a gap, a snapshot, and on it goes.
    flood(&venue, "ABC", 400).await;
    let newest = carol.book("ABC", 0).await;
    book.read_to(&mut dozing, newest.book_seq).await;
    assert_eq!((book.gaps, book.checksum()), (1, newest.checksum));
    bob.buy("ABC", 200, 1).await;
    book.read_to(&mut dozing, newest.book_seq + 1).await;
    assert_eq!(book.checksum(), carol.book("ABC", 0).await.checksum);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_see_the_same() {
    let venue = Venue::start().await;
    venue.list(&["ABC"]).await;
    let mut readers = Vec::new();
    let mut carol = venue.login("carol").await;
    for number in 0..100 {
        let delivery = if number % 2 == 0 {
            Delivery::Lossless
        } else {
            Delivery::Conflated
        };
        let mut books = carol.books(subscribe(&[], DEPTH, delivery)).await;
        readers.push(tokio::spawn(async move {
            let mut book = Book::default();
            book.read_to(&mut books, 400).await;
            (delivery, book)
        }));
    }
    for _ in 0..100 {
        venue.insert("alice", "ABC", Side::Buy, 100, 1).await;
        venue.insert("alice", "ABC", Side::Sell, 200, 2).await;
        venue.insert("bob", "ABC", Side::Sell, 100, 1).await;
        venue.cancel_all("alice").await;
    }
    for reader in readers {
        let (delivery, book) = reader.await.expect("no panic");
        assert_eq!((book.book_seq, book.gaps), (400, 0));
        assert_eq!(book.trades, (1..=100).collect::<Vec<_>>());
        assert!(book.bids.is_empty() && book.asks.is_empty());
        if delivery == Delivery::Lossless {
            // Fewer only by what its snapshot held already.
            assert!(book.updates <= 400);
        }
    }
}
