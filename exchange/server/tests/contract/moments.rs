//! What is refused only at certain moments: while the exchange starts or stops, when a reader is too
//! slow, when there is no room, when somebody guesses, when a point to resume from is gone.

use std::fs::File;
use std::net::TcpListener;

use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::subscribe_order_books_response::Event as BookEvent;
use optivex_proto::v1::{self, BookView, ErrorReason};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::call::{Call, cancel_all};
use crate::process::{Exchange, Place};
use crate::venue::{Client, Venue, buy, connect, credentials, end, health, instrument, next, sell, told};

const SERVICES: [&str; 6] = [
    "",
    "optivex.v1.AdminService",
    "optivex.v1.AuthService",
    "optivex.v1.ExecutionService",
    "optivex.v1.InfoService",
    "optivex.v1.RiskLimitsService",
];

async fn all_serve(channel: &tonic::transport::Channel, expected: ServingStatus) {
    for service in SERVICES {
        assert_eq!(health(channel, service).await, expected, "{service}");
    }
}

/// Before recovery is done, health is told and everything else is not ready.
pub(crate) async fn starting() {
    let place = Place::new();
    let exchange = place.start([]);
    Client::login_over(&exchange.connect().await, "admin")
        .await
        .create("ABC")
        .await;
    exchange.stop();
    // Recovery reads all snapshots; this one keeps it waiting until somebody writes.
    let snapshot = place.path("data/snapshots/00000000000000000000.snapshot");
    mknodat(CWD, &snapshot, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("can make a FIFO");
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its address");
    let listen = free.to_string();
    let args = [
        "serve",
        "--listen",
        &listen,
        "--users",
        "users.yaml",
        "--data-dir",
        "data",
    ];
    let mut command = place.optivex(args);
    let starting = tokio::task::spawn_blocking(move || Exchange::start(&mut command));

    let channel = connect(free).await;
    all_serve(&channel, ServingStatus::NotServing).await;
    let login = Client::new(&channel, None)
        .auth
        .login(credentials("alice", "alice"))
        .await;
    assert_eq!(told(&login.expect_err("not ready")), "Unavailable NOT_READY {}");
    let client = Client::new(&channel, Some("Bearer of-before"));
    for call in Call::all() {
        let status = call.call(&mut client.clone()).await.expect_err("not ready");
        assert_eq!(told(&status), "Unavailable NOT_READY {}");
    }
    // Opening waits for the reader; closing gives it an end, which makes no snapshot. In between the
    // name goes, so that nobody waits for it again.
    let open = move || {
        let writer = File::options().write(true).open(&snapshot)?;
        std::fs::remove_file(&snapshot)?;
        drop(writer);
        std::io::Result::Ok(())
    };
    let opened = tokio::task::spawn_blocking(open).await.expect("no panic");
    opened.expect("can write a FIFO");
    let exchange = starting.await.expect("it starts");
    all_serve(&channel, ServingStatus::Serving).await;
    let mut admin = Client::login_over(&channel, "admin").await;
    let status = admin
        .admin
        .create_instrument(instrument("ABC"))
        .await
        .expect_err("it was recovered");
    assert_eq!(told(&status), "AlreadyExists DUPLICATE_SYMBOL {}");
    exchange.stop();
}

/// Streams end with a status, new calls are refused, and what was in flight is answered.
pub(crate) async fn stopping() {
    // One connection that does not end keeps the exchange from ending.
    let venue = Venue::start(["--shutdown-grace", "1h"]);
    venue.list_abc().await;
    let channel = venue.exchange.connect().await;
    let mut alice = Client::login_over(&channel, "alice").await;
    let mut bob = Client::login_over(&channel, "bob").await;
    let order = alice.insert(buy("ABC", 10_000, 1)).await.order_id;
    let mut reports = alice.reports(None, true).await;
    next(&mut reports).await;
    alice.insert(buy("ABC", 10_000, 1)).await;
    let (_sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::<v1::OrderEntryRequest>::new(requests);
    let mut entry = alice
        .execution
        .order_entry(requests)
        .await
        .expect("a trader")
        .into_inner();
    let mut books = subscribe(&mut bob, "ABC", None).await;
    let mut tape = bob
        .info
        .subscribe_trades(v1::SubscribeTradesRequest::default())
        .await
        .expect("any role")
        .into_inner();
    let instruments = bob.info.subscribe_instruments(v1::SubscribeInstrumentsRequest {}).await;
    let mut instruments = instruments.expect("any role").into_inner();

    venue.exchange.signal(Signal::TERM);
    let not_ready = "Unavailable NOT_READY {}";
    assert_eq!(end(&mut reports).await, not_ready);
    assert_eq!(end(&mut entry).await, not_ready);
    assert_eq!(end(&mut books).await, not_ready);
    assert_eq!(end(&mut tape).await, not_ready);
    assert_eq!(end(&mut instruments).await, not_ready);
    let Venue { place, exchange } = venue;
    drop((alice, bob, channel, reports, entry, books, tape, instruments));
    exchange.ended();
    // The guarded stream did not break: the orders are there.
    let exchange = place.start([]);
    let venue = Venue { place, exchange };
    let open = venue.login("alice").await.open_orders().await;
    assert_eq!((open.len(), open[0]), (2, order));
}

async fn subscribe(
    client: &mut Client,
    symbol: &str,
    after: Option<u64>,
) -> tonic::Streaming<v1::SubscribeOrderBooksResponse> {
    let request = v1::SubscribeOrderBooksRequest {
        symbols: vec![symbol.to_owned()],
        view: BookView::PriceDepth.into(),
        resume_after: after
            .map(|book_seq| v1::BookCursor {
                symbol: symbol.to_owned(),
                book_seq,
            })
            .into_iter()
            .collect(),
        ..Default::default()
    };
    client
        .info
        .subscribe_order_books(request)
        .await
        .expect("any role")
        .into_inner()
}

/// Changes a book so often that whoever does not read is left behind: one more lot at one price, by the
/// thousands.
async fn flood(client: &mut Client, symbol: &'static str, changes: u64) {
    let requests = (1..=changes).map(move |request_id| v1::OrderEntryRequest {
        request_id,
        command: Some(Command::Insert(buy(symbol, 10_000, 1))),
    });
    let answers = client.execution.order_entry(tokio_stream::iter(requests)).await;
    let mut answers = answers.expect("a trader").into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.message().await.expect("no error") {
        assert!(matches!(
            answer.result,
            Some(v1::order_entry_response::Result::Insert(_))
        ));
        answered += 1;
    }
    assert_eq!(answered, changes);
}

/// More than the exchange keeps for readers who are late.
const CHANGES: u64 = 40_000;

pub(crate) async fn a_stalled_reader() {
    let venue = Venue::start([]);
    venue.list_abc().await;
    // By itself the client takes megabytes that nobody asked for.
    let narrow = venue.exchange.endpoint().initial_stream_window_size(64 << 10);
    let channel = narrow.connect().await.expect("it listens");
    let mut bob = Client::login_over(&channel, "bob").await;
    let mut stalled = subscribe(&mut bob, "ABC", None).await;
    next(&mut stalled).await;
    let mut alice = venue.login("alice").await;
    flood(&mut alice, "ABC", CHANGES).await;
    // Neither another stream on the very connection nor a call notices.
    let mut late = subscribe(&mut bob, "ABC", Some(1)).await;
    let Some(BookEvent::Subscribed(subscribed)) = next(&mut late).await.event else {
        panic!("Subscribed comes first");
    };
    assert_eq!(
        subscribed.statuses[0].reason(),
        ErrorReason::CannotResume,
        "no longer kept"
    );
    let Some(BookEvent::Snapshot(snapshot)) = next(&mut late).await.event else {
        panic!("then the snapshot");
    };
    assert_eq!((snapshot.book_seq, snapshot.bids[0].quantity), (CHANGES, 40_000));

    let mut book_seq = 0;
    let status = loop {
        match stalled.message().await {
            Ok(message) => match message.expect("no end without a status").event {
                Some(BookEvent::Update(update)) => {
                    assert_eq!(update.prev_book_seq, book_seq);
                    book_seq = update.book_seq;
                    assert!(book_seq < CHANGES, "it was not late");
                }
                Some(BookEvent::Snapshot(_) | BookEvent::Heartbeat(_)) => {}
                other => panic!("{other:?}"),
            },
            Err(status) => break status,
        }
    };
    assert_eq!(
        told(&status),
        format!("ResourceExhausted TOO_SLOW {{\"book_seq\": \"{book_seq}\", \"symbol\": \"ABC\"}}")
    );
    // It can go on where it was lost, with a snapshot.
    let mut again = subscribe(&mut bob, "ABC", Some(book_seq)).await;
    next(&mut again).await;
    assert!(matches!(next(&mut again).await.event, Some(BookEvent::Snapshot(_))));
}

pub(crate) async fn capacity() {
    let venue = Venue::start(["--max-subscriptions", "3", "--max-message-size", "2KiB"]);
    venue.list_abc().await;
    let mut bob = venue.login("bob").await;
    let mut viewer = venue.login("viewer").await;
    let books = subscribe(&mut bob, "ABC", None).await;
    let tape = || v1::SubscribeTradesRequest::default();
    let _tape = viewer.info.subscribe_trades(tape()).await.expect("the second");
    let _instruments = viewer
        .info
        .subscribe_instruments(v1::SubscribeInstrumentsRequest {})
        .await
        .expect("the third");
    let full = "ResourceExhausted CAPACITY {\"limit\": \"3\", \"limit_name\": \"subscriptions_max\"}";
    let status = viewer.info.subscribe_trades(tape()).await.expect_err("the fourth");
    assert_eq!(told(&status), full);
    let status = bob
        .info
        .subscribe_instruments(v1::SubscribeInstrumentsRequest {})
        .await
        .expect_err("the fourth");
    assert_eq!(told(&status), full);
    let request = v1::SubscribeOrderBooksRequest {
        view: BookView::TopOfBook.into(),
        ..Default::default()
    };
    let status = viewer
        .info
        .subscribe_order_books(request)
        .await
        .expect_err("the fourth");
    assert_eq!(told(&status), full);
    // One that ends makes room.
    drop(books);
    while let Err(status) = bob.info.subscribe_trades(tape()).await {
        assert_eq!(told(&status), full);
    }

    let status = bob
        .auth
        .login(credentials("bob", &"x".repeat(3_000)))
        .await
        .expect_err("too large");
    assert_eq!(
        told(&status),
        "ResourceExhausted CAPACITY {\"limit\": \"2048\", \"limit_name\": \"message_bytes\"}"
    );
}

pub(crate) async fn guessing_passwords() {
    let venue = Venue::start([]);
    let mut nobody = venue.anonymous().await;
    let mut said = Vec::new();
    // With argon2 a guess takes a while, during which something is forgotten: so once more than needed.
    while said.last().is_none_or(|said: &String| !said.contains("THROTTLED")) {
        assert!(said.len() < 100, "nobody is throttled: {said:?}");
        let status = nobody
            .auth
            .login(credentials("mallory", "guess"))
            .await
            .expect_err("a guess");
        said.push(told(&status));
    }
    assert!(said.len() > 5, "a typing error is no attack: {said:?}");
    assert_eq!(
        said.pop().as_deref(),
        Some("ResourceExhausted THROTTLED {} + RetryInfo")
    );
    assert!(said.iter().all(|said| said == "Unauthenticated INVALID_CREDENTIALS {}"));
    // Others are not concerned.
    venue.login("alice").await;
}

pub(crate) async fn resuming() {
    let venue = Venue::start([]);
    venue.list_abc().await;
    let (mut alice, mut bob) = (venue.login("alice").await, venue.login("bob").await);
    for _ in 0..3 {
        alice.insert(buy("ABC", 10_000, 1)).await;
        bob.insert(sell("ABC", 10_000, 1)).await;
    }
    let future = "OutOfRange CANNOT_RESUME {}";
    let reports = v1::SubscribeExecutionReportsRequest {
        after_report_seq: Some(7),
        cancel_on_disconnect: true,
    };
    let kept = alice.insert(buy("ABC", 9_000, 1)).await.order_id;
    let status = alice
        .execution
        .subscribe_execution_reports(v1::SubscribeExecutionReportsRequest {
            after_report_seq: Some(8),
            ..reports
        });
    assert_eq!(told(&status.await.expect_err("the future")), future);
    assert_eq!(alice.open_orders().await, [kept], "what never began guards nothing");
    let tape = |after| v1::SubscribeTradesRequest {
        symbols: vec!["ABC".to_owned()],
        after_trade_id: Some(after),
    };
    let all = bob
        .info
        .list_trades(v1::ListTradesRequest::default())
        .await
        .expect("any role")
        .into_inner()
        .trades;
    let last = all[2].trade_id;
    let status = bob.info.subscribe_trades(tape(last + 1)).await.expect_err("the future");
    assert_eq!(told(&status), future);

    // Over a kill and a new connection, each stream goes on where it was.
    let venue = venue.restart_after_kill();
    let (mut alice, mut bob) = (venue.login("alice").await, venue.login("bob").await);
    let mut stream = alice.reports(Some(2), false).await;
    next(&mut stream).await;
    let mut report_seqs = Vec::new();
    while report_seqs.len() < 5 {
        if let Some(v1::subscribe_execution_reports_response::Event::Report(report)) = next(&mut stream).await.event {
            report_seqs.push(report.report_seq);
        }
    }
    assert_eq!(report_seqs, [3, 4, 5, 6, 7]);
    let mut stream = bob
        .info
        .subscribe_trades(tape(all[0].trade_id))
        .await
        .expect("any role")
        .into_inner();
    let mut trades = Vec::new();
    while trades.len() < 2 {
        trades.extend(next(&mut stream).await.trades);
    }
    assert_eq!(trades, all[1..]);
    // Book changes are kept in memory: after a restart a book starts with a snapshot, and says so,
    // unless the point is the present.
    for (after, reason) in [
        (7, ErrorReason::Unspecified),
        (6, ErrorReason::CannotResume),
        (8, ErrorReason::CannotResume),
    ] {
        let mut books = subscribe(&mut bob, "ABC", Some(after)).await;
        let Some(BookEvent::Subscribed(subscribed)) = next(&mut books).await.event else {
            panic!("Subscribed comes first");
        };
        assert_eq!(subscribed.statuses[0].reason(), reason, "after {after}");
    }
    // What comes now comes as an update.
    let mut books = subscribe(&mut bob, "ABC", Some(7)).await;
    next(&mut books).await;
    alice.insert(buy("ABC", 9_100, 1)).await;
    let update = loop {
        match next(&mut books).await.event {
            Some(BookEvent::Update(update)) => break update,
            Some(BookEvent::Heartbeat(_)) => {}
            other => panic!("no update: {other:?}"),
        }
    };
    assert_eq!((update.prev_book_seq, update.book_seq), (7, 8));
}

/// An insert whose answer was lost is sent again, to the process that comes after.
pub(crate) async fn a_retry_after_a_kill() {
    let venue = Venue::start([]);
    venue.list_abc().await;
    venue.login("bob").await.insert(sell("ABC", 10_000, 3)).await;
    let mut alice = venue.login("alice").await;
    let with_id = |id: &str, quantity| v1::InsertOrderRequest {
        client_order_id: id.to_owned(),
        ..buy("ABC", 10_000, quantity)
    };
    let partly = alice.insert(with_id("partly", 5)).await;
    assert_eq!((partly.fills.len(), partly.open_quantity), (1, 2));
    let done = alice.insert(with_id("done", 1)).await;
    assert_eq!(crate::call::cancel_client_id("done").said(&alice).await, "ok");

    let venue = venue.restart_after_kill();
    let mut alice = venue.login("alice").await;
    let before = alice.open_orders().await;
    assert_eq!(alice.insert(with_id("partly", 5)).await, partly);
    assert_eq!(alice.insert(with_id("done", 1)).await, done);
    let reused = Call::Insert(with_id("done", 2)).said(&alice).await;
    assert_eq!(reused, "AlreadyExists CLIENT_ID_REUSED {}");
    assert_eq!(alice.open_orders().await, before, "nothing was inserted");
    assert_eq!(cancel_all("", 0).said(&alice).await, "ok");
    assert_eq!(
        alice.insert(with_id("partly", 5)).await,
        partly,
        "the first answer, whatever happened since"
    );
}
