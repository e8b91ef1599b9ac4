//! Order books.

use optivex_engine::types::{Level, Side};
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{self, BookView, Delivery, ErrorReason, TradingPhase};
use optivex_server::feed::{FeedSettings, SubscriptionLimits, checksum};

use crate::venue::{Venue, level, subscribe, told};

const LOSSLESS: Delivery = Delivery::Lossless;
const DEPTH: BookView = BookView::PriceDepth;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_shows_an_order_as_soon_as_its_reply_is_there() {
    let venue = Venue::start().await;
    venue.list(&["ABC"]).await;
    let (mut alice, mut carol) = (venue.login("alice").await, venue.login("carol").await);
    for quantity in 1..100 {
        let reply = alice.buy("ABC", 100 * quantity, quantity).await;
        let book = carol.book("ABC", 0).await;
        assert!(book.event_seq >= reply.event_seq);
        assert_eq!(book.book_seq, quantity.unsigned_abs());
        assert_eq!(book.bids[0], level(100 * quantity, quantity, 1));
    }
    let book = carol.book("ABC", 2).await;
    assert_eq!(book.bids, [level(9_900, 99, 1), level(9_800, 98, 1)]);
    assert_eq!(book.asks, []);
    // As zlib has it.
    assert_eq!(book.checksum, crc32fast::hash(b"9900:99:1;9800:98:1;"));
    assert_eq!(book.phase(), TradingPhase::Continuous);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_then_every_change() {
    let venue = Venue::start().await;
    let mut root = venue.list(&["ABC", "XYZ"]).await;
    let (mut alice, mut bob) = (venue.login("alice").await, venue.login("bob").await);
    alice.buy("ABC", 10_000, 5).await;
    let mut books = bob
        .books(subscribe(&["XYZ", "NONE", "ABC", "ABC"], DEPTH, LOSSLESS))
        .await;
    let expected = [
        ("XYZ", ErrorReason::Unspecified),
        ("NONE", ErrorReason::UnknownInstrument),
        ("ABC", ErrorReason::Unspecified),
        ("ABC", ErrorReason::Unspecified),
    ];
    assert_eq!(
        books.statuses().await,
        expected.map(|(symbol, reason)| (symbol.to_owned(), reason))
    );
    assert_eq!(books.snapshot().await.symbol, "XYZ");
    let snapshot = books.snapshot().await;
    assert_eq!((snapshot.symbol.as_str(), snapshot.book_seq), ("ABC", 1));
    assert_eq!(snapshot.bids, [level(10_000, 5, 1)]);

    let sold = bob.sell("ABC", 9_000, 7).await;
    let update = books.update().await;
    assert_eq!(
        (update.prev_book_seq, update.book_seq, update.event_seq),
        (1, 2, sold.event_seq)
    );
    assert_eq!(update.bids, [level(10_000, 0, 0)]);
    assert_eq!(update.asks, [level(9_000, 2, 1)]);
    assert_eq!(update.phase(), TradingPhase::Unspecified);
    let [trade] = &update.trades[..] else {
        panic!("{update:?}")
    };
    assert_eq!((trade.trade_id, trade.price_e4, trade.quantity), (1, 10_000, 5));
    assert_eq!(
        (trade.aggressor_side(), trade.event_seq),
        (v1::Side::Sell, sold.event_seq)
    );
    assert_eq!(trade.symbol, "ABC");

    root.phase("ABC", TradingPhase::Auction).await;
    let update = books.update().await;
    assert_eq!((update.prev_book_seq, update.book_seq), (2, 3));
    assert_eq!(update.phase(), TradingPhase::Auction);
    assert!(update.bids.is_empty() && update.asks.is_empty() && update.trades.is_empty());

    let heartbeat = loop {
        match books.next().await.expect("an open stream") {
            Event::Heartbeat(heartbeat) if heartbeat.event_seq >= update.event_seq => break heartbeat,
            Event::Heartbeat(_) => {}
            event => panic!("{event:?}"),
        }
    };
    let abc = heartbeat
        .books
        .iter()
        .find(|book| book.symbol == "ABC")
        .expect("it was sent");
    assert_eq!(abc.book_seq, 3);
    let held = Level {
        price_e4: 9_000,
        quantity: 2,
        order_count: 1,
    };
    assert_eq!(abc.checksum, checksum([held].into_iter()));
    // Silent now: proof of life alone.
    assert!(matches!(books.next().await, Ok(Event::Heartbeat(heartbeat)) if heartbeat.books.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_symbols_means_those_to_come_too() {
    let venue = Venue::start().await;
    let mut root = venue.list(&["MMM", "AAA"]).await;
    let mut carol = venue.login("carol").await;
    let mut books = carol.books(subscribe(&[], DEPTH, LOSSLESS)).await;
    let ok = |symbol: &str| (symbol.to_owned(), ErrorReason::Unspecified);
    assert_eq!(books.statuses().await, [ok("AAA"), ok("MMM")]);
    assert_eq!(books.snapshot().await.symbol, "AAA");
    assert_eq!(books.snapshot().await.symbol, "MMM");
    let created = root.create("NEW").await;
    let snapshot = books.snapshot().await;
    assert_eq!((snapshot.symbol.as_str(), snapshot.book_seq), ("NEW", 0));
    assert!(snapshot.event_seq >= created.event_seq);
    let mut alice = venue.login("alice").await;
    alice.buy("NEW", 100, 1).await;
    let update = books.update().await;
    assert_eq!(
        (update.symbol.as_str(), update.prev_book_seq, update.book_seq),
        ("NEW", 0, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_of_book_at_once_and_at_each_change() {
    let venue = Venue::start().await;
    let mut root = venue.list(&["ABC"]).await;
    let (mut alice, mut bob) = (venue.login("alice").await, venue.login("bob").await);
    let mut books = bob.books(subscribe(&["ABC"], BookView::TopOfBook, LOSSLESS)).await;
    books.statuses().await;
    let top = books.top().await;
    assert_eq!((top.book_seq, top.bid, top.ask, top.indicative), (0, None, None, None));
    alice.buy("ABC", 10_000, 5).await;
    let top = books.top().await;
    assert_eq!((top.book_seq, top.bid, top.ask), (1, Some(level(10_000, 5, 1)), None));
    // Behind the best: nothing that it shows.
    alice.buy("ABC", 9_000, 5).await;
    root.phase("ABC", TradingPhase::Auction).await;
    let top = books.top().await;
    assert_eq!((top.book_seq, top.phase()), (3, TradingPhase::Auction));
    bob.sell("ABC", 9_000, 3).await;
    let top = books.top().await;
    assert_eq!((top.book_seq, top.ask), (4, Some(level(9_000, 3, 1))));
    let indicative = top.indicative.expect("a crossed book");
    assert_eq!(indicative.quantity, 3);
    root.phase("ABC", TradingPhase::Continuous).await;
    let top = books.top().await;
    assert_eq!(
        (top.bid, top.ask, top.indicative),
        (Some(level(10_000, 2, 1)), None, None)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_without_a_snapshot() {
    let venue = Venue::start().await;
    venue.list(&["ABC", "XYZ"]).await;
    let mut alice = venue.login("alice").await;
    for price_e4 in [100, 200, 300] {
        alice.buy("ABC", price_e4, 1).await;
    }
    let cursor = |symbol: &str, book_seq| v1::BookCursor {
        symbol: symbol.to_owned(),
        book_seq,
    };
    let mut request = subscribe(&["XYZ", "ABC"], DEPTH, LOSSLESS);
    request.resume_after = vec![cursor("ABC", 1), cursor("XYZ", 9)];
    let mut books = alice.books(request).await;
    let expected = [("XYZ", ErrorReason::CannotResume), ("ABC", ErrorReason::Unspecified)];
    assert_eq!(
        books.statuses().await,
        expected.map(|(symbol, reason)| (symbol.to_owned(), reason))
    );
    assert_eq!(books.snapshot().await.symbol, "XYZ");
    for book_seq in [2, 3] {
        let update = books.update().await;
        assert_eq!((update.prev_book_seq, update.book_seq), (book_seq - 1, book_seq));
        assert_eq!(update.bids.len(), 1);
    }
    alice.buy("ABC", 400, 1).await;
    assert_eq!(books.update().await.book_seq, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_and_why() {
    let limits = SubscriptionLimits {
        subscriptions_per_user_max: 1,
        subscribed_books_per_user_max: 2,
        ..SubscriptionLimits::default()
    };
    let settings = FeedSettings {
        subscriptions: limits,
        ..FeedSettings::default()
    };
    let venue = Venue::start_with(&settings).await;
    venue.list(&["ABC"]).await;
    let mut carol = venue.login("carol").await;
    let request = || subscribe(&["ABC"], DEPTH, LOSSLESS);
    let cursor = |symbol: &str| v1::BookCursor {
        symbol: symbol.to_owned(),
        book_seq: 0,
    };
    let cases: Vec<(&str, v1::SubscribeOrderBooksRequest)> = vec![
        ("view", v1::SubscribeOrderBooksRequest { view: 0, ..request() }),
        ("view", v1::SubscribeOrderBooksRequest { view: 7, ..request() }),
        (
            "delivery",
            v1::SubscribeOrderBooksRequest {
                delivery: -1,
                ..request()
            },
        ),
        ("depth", v1::SubscribeOrderBooksRequest { depth: -1, ..request() }),
        ("symbols", subscribe(&[""], DEPTH, LOSSLESS)),
        ("symbols", subscribe(&["SEVENTEEN-LETTERS"], DEPTH, LOSSLESS)),
        ("symbols", subscribe(&["ABC"; 20_001], DEPTH, LOSSLESS)),
        (
            "resume_after",
            v1::SubscribeOrderBooksRequest {
                resume_after: vec![cursor("ABC")],
                ..subscribe(&["ABC"], DEPTH, Delivery::Conflated)
            },
        ),
        (
            "resume_after",
            v1::SubscribeOrderBooksRequest {
                resume_after: vec![cursor("ABC")],
                ..subscribe(&["ABC"], BookView::TopOfBook, LOSSLESS)
            },
        ),
        (
            "resume_after",
            v1::SubscribeOrderBooksRequest {
                depth: 5,
                resume_after: vec![cursor("ABC")],
                ..request()
            },
        ),
        (
            "resume_after",
            v1::SubscribeOrderBooksRequest {
                resume_after: vec![cursor("XYZ")],
                ..request()
            },
        ),
        (
            "resume_after",
            v1::SubscribeOrderBooksRequest {
                resume_after: vec![cursor("XYZ")],
                ..subscribe(&[], DEPTH, LOSSLESS)
            },
        ),
        (
            "resume_after",
            v1::SubscribeOrderBooksRequest {
                resume_after: vec![cursor("ABC"), cursor("ABC")],
                ..request()
            },
        ),
    ];
    for (field, request) in cases {
        let status = carol.info.subscribe_order_books(request).await.expect_err(field);
        assert_eq!(
            told(&status),
            format!("InvalidArgument INVALID_FIELD {{\"field\": \"{field}\"}}")
        );
    }
    let status = carol
        .info
        .subscribe_order_books(subscribe(&["ABC"; 3], DEPTH, LOSSLESS))
        .await;
    assert_eq!(
        told(&status.expect_err("too many books")),
        r#"ResourceExhausted CAPACITY {"limit": "2", "limit_name": "subscribed_books_per_user_max"}"#
    );
    let open = carol.books(request()).await;
    let status = carol
        .info
        .subscribe_order_books(request())
        .await
        .expect_err("one too many");
    assert_eq!(
        told(&status),
        r#"ResourceExhausted CAPACITY {"limit": "1", "limit_name": "subscriptions_per_user_max"}"#
    );
    // Another user has places of its own, and a place is free again when its stream ends.
    venue.login("bob").await.books(request()).await.statuses().await;
    drop(open);
    while carol.info.subscribe_order_books(request()).await.is_err() {
        tokio::task::yield_now().await;
    }

    for (symbol, depth, expected) in [
        ("", 0, r#"InvalidArgument INVALID_FIELD {"field": "symbol"}"#),
        ("ABC", -1, r#"InvalidArgument INVALID_FIELD {"field": "depth"}"#),
        ("NONE", 0, r#"NotFound UNKNOWN_INSTRUMENT {"symbol": "NONE"}"#),
    ] {
        let symbol = symbol.to_owned();
        let request = v1::GetOrderBookRequest { symbol, depth };
        let status = carol.info.get_order_book(request).await.expect_err("a bad request");
        assert_eq!(told(&status), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_anything_without_a_token() {
    let venue = Venue::start().await;
    venue.list(&["ABC"]).await;
    let mut nobody = venue.anonymous().await.info;
    let book = v1::GetOrderBookRequest {
        symbol: "ABC".to_owned(),
        depth: 0,
    };
    let statuses = [
        nobody.get_order_book(book).await.err(),
        nobody
            .list_instruments(v1::ListInstrumentsRequest::default())
            .await
            .err(),
        nobody.list_trades(v1::ListTradesRequest::default()).await.err(),
        nobody
            .subscribe_instruments(v1::SubscribeInstrumentsRequest {})
            .await
            .err(),
        nobody
            .subscribe_trades(v1::SubscribeTradesRequest::default())
            .await
            .err(),
        nobody
            .subscribe_order_books(subscribe(&[], DEPTH, LOSSLESS))
            .await
            .err(),
    ];
    for status in statuses {
        assert_eq!(told(&status.expect("no token")), "Unauthenticated INVALID_TOKEN {}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_with_their_session_and_with_the_exchange() {
    let mut venue = Venue::start().await;
    venue.list(&["ABC"]).await;
    for (end, expected) in [
        ("logout", "Unauthenticated INVALID_TOKEN {}"),
        ("shutdown", "Unavailable NOT_READY {}"),
    ] {
        let mut carol = venue.login("carol").await;
        let mut books = carol.books(subscribe(&[], DEPTH, LOSSLESS)).await;
        let instruments = carol
            .info
            .subscribe_instruments(v1::SubscribeInstrumentsRequest {})
            .await;
        let mut instruments = instruments.expect("a subscription").into_inner();
        let trades = carol.info.subscribe_trades(v1::SubscribeTradesRequest::default()).await;
        let mut trades = trades.expect("a subscription").into_inner();
        if end == "logout" {
            carol.auth.logout(v1::LogoutRequest {}).await.expect("a session");
        } else {
            venue.shutdown().await;
        }
        let books = loop {
            if let Err(status) = books.next().await {
                break status;
            }
        };
        assert_eq!(told(&books), expected);
        let instruments = loop {
            if let Err(status) = instruments.message().await {
                break status;
            }
        };
        assert_eq!(told(&instruments), expected);
        let trades = loop {
            if let Err(status) = trades.message().await {
                break status;
            }
        };
        assert_eq!(told(&trades), expected);
    }
}

/// An exchange that lost its market data says so, instead of showing old books.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_writer_is_not_ready() {
    let mut venue = Venue::start().await;
    venue.list(&["ABC"]).await;
    let mut carol = venue.login("carol").await;
    let mut books = carol.books(subscribe(&[], DEPTH, LOSSLESS)).await;
    let instruments = carol
        .info
        .subscribe_instruments(v1::SubscribeInstrumentsRequest {})
        .await;
    let mut instruments = instruments.expect("a subscription").into_inner();
    venue.stop_feed();
    let status = loop {
        if let Err(status) = books.next().await {
            break status;
        }
    };
    assert_eq!(told(&status), "Unavailable NOT_READY {}");
    let status = loop {
        if let Err(status) = instruments.message().await {
            break status;
        }
    };
    assert_eq!(told(&status), "Unavailable NOT_READY {}");
    let book = v1::GetOrderBookRequest {
        symbol: "ABC".to_owned(),
        depth: 0,
    };
    let status = carol.info.get_order_book(book).await.expect_err("no writer");
    assert_eq!(told(&status), "Unavailable NOT_READY {}");
    // Orders go on.
    assert_eq!(venue.insert("alice", "ABC", Side::Buy, 100, 1).await, 6);
}
