//! Every reason with its code, its metadata and its trailer; commands through `OrderEntry` too.

use std::fmt::Write;

use expect_test::{Expect, expect};
use optivex_proto::v1::{self, OrderType, TimeInForce, TradingPhase};
use tonic::Status;

use crate::call::{
    Call, amend_client_id, amend_id, cancel_all, cancel_client_id, cancel_id, instrument_limits, phase, suspend,
    user_limits, window,
};
use crate::catalogue::CATALOGUE;
use crate::venue::{Client, Venue, buy, credentials, instrument, sell, told};

async fn check(client: &Client, calls: impl IntoIterator<Item = (&'static str, Call)>, expected: Expect) {
    let mut said = String::new();
    for (name, call) in calls {
        writeln!(said, "{name}: {}", call.said(client).await).expect("a string takes everything");
    }
    expected.assert_eq(&said);
}

fn insert(change: impl FnOnce(&mut v1::InsertOrderRequest)) -> Call {
    let mut request = buy("ABC", 10_000, 1);
    change(&mut request);
    Call::Insert(request)
}

fn create(change: impl FnOnce(&mut v1::CreateInstrumentRequest)) -> Call {
    let mut request = instrument("NEW");
    change(&mut request);
    Call::Create(request)
}

fn said<T>(answer: Result<T, Status>) -> String {
    answer.map_or_else(|status| told(&status), |_| "ok".to_owned())
}

pub(crate) async fn form() {
    let venue = Venue::start([]);
    let admin = venue.list_abc().await;
    let alice = venue.login("alice").await;
    check(
        &alice,
        [
            ("no symbol", insert(|r| r.symbol.clear())),
            ("small letters", insert(|r| r.symbol = "abc".to_owned())),
            ("no side", insert(|r| r.side = 0)),
            ("price of the other end", insert(|r| r.price_e4 = i64::MIN)),
            ("no quantity", insert(|r| r.quantity = 0)),
            ("quantity too large", insert(|r| r.quantity = 1_000_000_001)),
            ("unknown type", insert(|r| r.r#type = 9)),
            ("market with a price", insert(|r| r.set_type(OrderType::Market))),
            ("unknown time in force", insert(|r| r.time_in_force = 4)),
            (
                "post-only that may not rest",
                insert(|r| {
                    r.post_only = true;
                    r.set_time_in_force(TimeInForce::ImmediateOrCancel);
                }),
            ),
            (
                "unknown self-trade prevention",
                insert(|r| r.self_trade_prevention = -1),
            ),
            ("long client id", insert(|r| r.client_order_id = "é".repeat(19))),
            ("amend of nothing", Call::Amend(v1::AmendOrderRequest::default())),
            ("amend to nothing", amend_id(1, None, None)),
            ("amend to less than nothing", amend_id(1, None, Some(-1))),
            ("amend to any price", amend_id(1, Some(i64::MAX), None)),
            ("cancel of nothing", Call::Cancel(v1::CancelOrderRequest::default())),
            ("cancel of order 0", cancel_id(0)),
            ("cancel of a long client id", cancel_client_id(&"x".repeat(37))),
            ("cancel of an unknown side", cancel_all("", 3)),
        ],
        expect![[r#"
            no symbol: InvalidArgument INVALID_FIELD {"field": "symbol"}
            small letters: InvalidArgument INVALID_FIELD {"field": "symbol"}
            no side: InvalidArgument INVALID_FIELD {"field": "side"}
            price of the other end: InvalidArgument INVALID_FIELD {"field": "price_e4"}
            no quantity: InvalidArgument INVALID_FIELD {"field": "quantity"}
            quantity too large: InvalidArgument INVALID_FIELD {"field": "quantity"}
            unknown type: InvalidArgument INVALID_FIELD {"field": "type"}
            market with a price: InvalidArgument INVALID_FIELD {"field": "price_e4"}
            unknown time in force: InvalidArgument INVALID_FIELD {"field": "time_in_force"}
            post-only that may not rest: InvalidArgument INVALID_FIELD {"field": "post_only"}
            unknown self-trade prevention: InvalidArgument INVALID_FIELD {"field": "self_trade_prevention"}
            long client id: InvalidArgument INVALID_FIELD {"field": "client_order_id"}
            amend of nothing: InvalidArgument INVALID_FIELD {"field": "order"}
            amend to nothing: InvalidArgument INVALID_FIELD {"field": "quantity"}
            amend to less than nothing: InvalidArgument INVALID_FIELD {"field": "quantity"}
            amend to any price: InvalidArgument INVALID_FIELD {"field": "price_e4"}
            cancel of nothing: InvalidArgument INVALID_FIELD {"field": "order"}
            cancel of order 0: InvalidArgument INVALID_FIELD {"field": "order_id"}
            cancel of a long client id: InvalidArgument INVALID_FIELD {"field": "client_order_id"}
            cancel of an unknown side: InvalidArgument INVALID_FIELD {"field": "side"}
        "#]],
    )
    .await;
    let username = "x".repeat(65);
    check(
        &admin,
        [
            ("multiplier", create(|r| r.multiplier = 0)),
            ("tick", create(|r| r.tick_size_e4 = -1)),
            ("currency", create(|r| r.currency = "eur".to_owned())),
            ("opens closed", create(|r| r.set_initial_phase(TradingPhase::Closed))),
            ("no phase", phase("ABC", TradingPhase::Unspecified)),
            ("long name", suspend(&username, "")),
            ("long comment", suspend("alice", &"x".repeat(257))),
            (
                "negative limit",
                user_limits(
                    "alice",
                    v1::UserRiskLimits {
                        max_outstanding_quantity: Some(-1),
                        ..Default::default()
                    },
                ),
            ),
            (
                "window without length",
                instrument_limits(
                    "alice",
                    "ABC",
                    v1::InstrumentRiskLimits {
                        order_quantity_rolling_limit: window(1, 0),
                        ..Default::default()
                    },
                ),
            ),
        ],
        expect![[r#"
            multiplier: InvalidArgument INVALID_FIELD {"field": "multiplier"}
            tick: InvalidArgument INVALID_FIELD {"field": "tick_size_e4"}
            currency: InvalidArgument INVALID_FIELD {"field": "currency"}
            opens closed: InvalidArgument INVALID_FIELD {"field": "initial_phase"}
            no phase: InvalidArgument INVALID_FIELD {"field": "phase"}
            long name: InvalidArgument INVALID_FIELD {"field": "username"}
            long comment: InvalidArgument INVALID_FIELD {"field": "comment"}
            negative limit: InvalidArgument INVALID_FIELD {"field": "limits.max_outstanding_quantity"}
            window without length: InvalidArgument INVALID_FIELD {"field": "limits.order_quantity_rolling_limit"}
        "#]],
    )
    .await;
    // One that is no command is refused in its turn; the stream goes on.
    let empty = v1::OrderEntryRequest {
        request_id: 5,
        command: None,
    };
    let answers = alice
        .clone()
        .execution
        .order_entry(tokio_stream::iter([empty.clone(), empty]))
        .await;
    let mut answers = answers.expect("a trader").into_inner();
    for _ in 0..2 {
        let answer = crate::venue::next(&mut answers).await;
        assert_eq!(answer.request_id, 5);
        let Some(v1::order_entry_response::Result::Error(error)) = answer.result else {
            panic!("no command, no refusal");
        };
        let said = crate::venue::told_by_entry(&error);
        assert_eq!(said, "InvalidArgument INVALID_FIELD {\"field\": \"command\"}");
    }
}

pub(crate) async fn form_of_market_data() {
    let venue = Venue::start([]);
    let mut bob = venue.list_abc().await;
    let mut text = String::new();
    let mut note = |name: &str, answer: String| writeln!(text, "{name}: {answer}").expect("a string");
    let list = |page_size, page_token: &str| v1::ListInstrumentsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    note("negative page", said(bob.info.list_instruments(list(-1, "")).await));
    note(
        "no token of ours",
        said(bob.info.list_instruments(list(0, "no token")).await),
    );
    let book = |symbol: &str, depth| v1::GetOrderBookRequest {
        symbol: symbol.to_owned(),
        depth,
    };
    note("book of nothing", said(bob.info.get_order_book(book("", 0)).await));
    note("negative depth", said(bob.info.get_order_book(book("ABC", -1)).await));
    note("unknown book", said(bob.info.get_order_book(book("XYZ", 0)).await));
    let books = |change: fn(&mut v1::SubscribeOrderBooksRequest)| {
        let mut request = v1::SubscribeOrderBooksRequest {
            symbols: vec!["ABC".to_owned()],
            view: v1::BookView::PriceDepth.into(),
            ..Default::default()
        };
        change(&mut request);
        request
    };
    let cursor = |symbol: &str| v1::BookCursor {
        symbol: symbol.to_owned(),
        book_seq: 0,
    };
    note(
        "no view",
        said(bob.info.subscribe_order_books(books(|r| r.view = 0)).await),
    );
    note(
        "unknown delivery",
        said(bob.info.subscribe_order_books(books(|r| r.delivery = 3)).await),
    );
    note(
        "depth below",
        said(bob.info.subscribe_order_books(books(|r| r.depth = -1)).await),
    );
    let mut resume = books(|r| r.set_delivery(v1::Delivery::Conflated));
    resume.resume_after = vec![cursor("ABC")];
    note("resume conflated", said(bob.info.subscribe_order_books(resume).await));
    let mut resume = books(|_| ());
    resume.resume_after = vec![cursor("DEF")];
    note(
        "resume something else",
        said(bob.info.subscribe_order_books(resume).await),
    );
    let trades = |symbol: &str, page_size| v1::ListTradesRequest {
        symbol: symbol.to_owned(),
        after_trade_id: 0,
        page_size,
    };
    note(
        "trades, negative page",
        said(bob.info.list_trades(trades("", -1)).await),
    );
    note(
        "trades of an unknown",
        said(bob.info.list_trades(trades("XYZ", 0)).await),
    );
    let tape = |symbol: &str| v1::SubscribeTradesRequest {
        symbols: vec![symbol.to_owned()],
        after_trade_id: None,
    };
    note("tape of no symbol", said(bob.info.subscribe_trades(tape("?")).await));
    note("tape of an unknown", said(bob.info.subscribe_trades(tape("XYZ")).await));
    expect![[r#"
        negative page: InvalidArgument INVALID_FIELD {"field": "page_size"}
        no token of ours: InvalidArgument INVALID_FIELD {"field": "page_token"}
        book of nothing: InvalidArgument INVALID_FIELD {"field": "symbol"}
        negative depth: InvalidArgument INVALID_FIELD {"field": "depth"}
        unknown book: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
        no view: InvalidArgument INVALID_FIELD {"field": "view"}
        unknown delivery: InvalidArgument INVALID_FIELD {"field": "delivery"}
        depth below: InvalidArgument INVALID_FIELD {"field": "depth"}
        resume conflated: InvalidArgument INVALID_FIELD {"field": "resume_after"}
        resume something else: InvalidArgument INVALID_FIELD {"field": "resume_after"}
        trades, negative page: InvalidArgument INVALID_FIELD {"field": "page_size"}
        trades of an unknown: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
        tape of no symbol: InvalidArgument INVALID_FIELD {"field": "symbols"}
        tape of an unknown: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
    "#]]
    .assert_eq(&text);
}

/// Calls every rpc of the contract and says for each how it is refused, or `ok`.
async fn every_rpc(client: &Client) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for call in Call::all() {
        all.push((call.name(), said(call.call(&mut client.clone()).await)));
    }
    let mut info = client.info.clone();
    let list = v1::ListInstrumentsRequest::default();
    all.push(("ListInstruments".to_owned(), said(info.list_instruments(list).await)));
    let subscribe = v1::SubscribeInstrumentsRequest {};
    all.push((
        "SubscribeInstruments".to_owned(),
        said(info.subscribe_instruments(subscribe).await),
    ));
    let book = v1::GetOrderBookRequest {
        symbol: "ABC".to_owned(),
        depth: 0,
    };
    all.push(("GetOrderBook".to_owned(), said(info.get_order_book(book).await)));
    let books = v1::SubscribeOrderBooksRequest {
        view: v1::BookView::TopOfBook.into(),
        ..Default::default()
    };
    all.push((
        "SubscribeOrderBooks".to_owned(),
        said(info.subscribe_order_books(books).await),
    ));
    let trades = v1::ListTradesRequest::default();
    all.push(("ListTrades".to_owned(), said(info.list_trades(trades).await)));
    let tape = v1::SubscribeTradesRequest::default();
    all.push(("SubscribeTrades".to_owned(), said(info.subscribe_trades(tape).await)));
    let logout = v1::LogoutRequest {};
    all.push(("Logout".to_owned(), said(client.clone().auth.logout(logout).await)));
    // Login is the one that wants nothing.
    assert_eq!(all.len() + 1, CATALOGUE.rpcs.len());
    all
}

pub(crate) async fn tokens_and_roles() {
    let venue = Venue::start([]);
    venue.list_abc().await;
    let channel = venue.exchange.connect().await;
    let mut gone = venue.login("alice").await;
    gone.auth.logout(v1::LogoutRequest {}).await.expect("a session");
    let nobodies = [
        Client::new(&channel, None),
        Client::new(&channel, Some("Bearer")),
        Client::new(&channel, Some("Bearer ")),
        Client::new(&channel, Some("Bearer bm90aGluZw")),
        Client::new(&channel, Some("Basic YWxpY2U6YWxpY2U=")),
        gone,
    ];
    for nobody in nobodies {
        for (rpc, said) in every_rpc(&nobody).await {
            assert_eq!(said, "Unauthenticated INVALID_TOKEN {}", "{rpc}");
        }
    }
    let mut text = String::new();
    for name in ["viewer", "admin", "alice"] {
        for (rpc, said) in every_rpc(&venue.login(name).await).await {
            if said.contains("MISSING_ROLE") {
                writeln!(text, "{name} {rpc}: {said}").expect("a string takes everything");
            }
            assert!(!said.contains("INVALID_TOKEN"), "{name} {rpc}");
        }
    }
    let mut alice = venue.login("alice").await;
    for call in [
        Call::GetUserLimits("bob"),
        Call::GetInstrumentLimits("bob"),
        Call::GetUsage("bob"),
    ] {
        let name = call.name();
        writeln!(text, "alice of bob {name}: {}", call.said(&alice).await).expect("a string");
    }
    expect![[r#"
        viewer Insert: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer Amend: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer Cancel: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer CancelAll: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer ListOrders: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer ListPositions: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer Reports: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer OrderEntry: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer Create: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        viewer SetPhase: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        viewer Suspend: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        viewer Resume: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        viewer GetUserLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer SetUserLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        viewer GetInstrumentLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        viewer SetInstrumentLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        viewer GetUsage: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin Insert: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin Amend: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin Cancel: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin CancelAll: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin ListOrders: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin ListPositions: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin Reports: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin OrderEntry: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin GetUserLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin GetInstrumentLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        admin GetUsage: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        alice Create: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        alice SetPhase: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        alice Suspend: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        alice Resume: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        alice SetUserLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        alice SetInstrumentLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        alice of bob GetUserLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        alice of bob GetInstrumentLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        alice of bob GetUsage: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
    "#]]
    .assert_eq(&text);

    // Which of them is wrong is not told; one that is missing is.
    for (name, password, field) in [("", "x", "username"), ("alice", "", "password")] {
        let status = alice
            .auth
            .login(credentials(name, password))
            .await
            .expect_err("no guess");
        assert_eq!(
            told(&status),
            format!("InvalidArgument INVALID_FIELD {{\"field\": \"{field}\"}}")
        );
    }
    let mut words = std::collections::BTreeSet::new();
    for (name, password) in [("alice", "bob"), ("mallory", "mallory"), ("alice", "ALICE")] {
        let status = alice
            .auth
            .login(credentials(name, password))
            .await
            .expect_err("a guess");
        assert_eq!(told(&status), "Unauthenticated INVALID_CREDENTIALS {}", "{name}");
        words.insert(status.message().to_owned());
    }
    assert_eq!(words.len(), 1, "{words:?}");
}

pub(crate) async fn known_objects() {
    let venue = Venue::start([]);
    let admin = venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let of_bob = venue.login("bob").await.insert(sell("ABC", 20_000, 1)).await.order_id;
    let mut request = buy("ABC", 9_000, 1);
    request.client_order_id = "done".to_owned();
    let done = alice.insert(request.clone()).await.order_id;
    assert_eq!(cancel_id(done).said(&alice).await, "ok");
    request.quantity = 2;
    check(
        &alice,
        [
            ("insert", insert(|r| r.symbol = "XYZ".to_owned())),
            ("cancel all", cancel_all("XYZ", 0)),
            ("amend unknown", amend_id(12_345, Some(100), None)),
            ("amend of bob", amend_id(of_bob, Some(100), None)),
            ("cancel unknown", cancel_id(u64::MAX)),
            ("cancel unknown client id", cancel_client_id("never")),
            ("cancel of bob", cancel_id(of_bob)),
            ("amend done", amend_client_id("done", Some(100), None)),
            ("cancel done", cancel_id(done)),
            ("client id reused", Call::Insert(request)),
        ],
        expect![[r#"
            insert: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            cancel all: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            amend unknown: NotFound UNKNOWN_ORDER {}
            amend of bob: NotFound UNKNOWN_ORDER {}
            cancel unknown: NotFound UNKNOWN_ORDER {}
            cancel unknown client id: NotFound UNKNOWN_ORDER {}
            cancel of bob: NotFound UNKNOWN_ORDER {}
            amend done: FailedPrecondition ORDER_DONE {}
            cancel done: FailedPrecondition ORDER_DONE {}
            client id reused: AlreadyExists CLIENT_ID_REUSED {}
        "#]],
    )
    .await;
    let mut again = instrument("GHI");
    again.client_request_id = "once".to_owned();
    let mut other = again.clone();
    other.multiplier = 11;
    check(
        &admin,
        [
            ("phase of unknown", phase("XYZ", TradingPhase::Halted)),
            ("suspend unknown", suspend("mallory", "")),
            (
                "user limits of unknown",
                user_limits("mallory", v1::UserRiskLimits::default()),
            ),
            (
                "limits in unknown",
                instrument_limits("alice", "XYZ", v1::InstrumentRiskLimits::default()),
            ),
            ("usage of unknown", Call::GetUsage("mallory")),
            ("duplicate", Call::Create(instrument("ABC"))),
            ("once", Call::Create(again.clone())),
            ("once again", Call::Create(again)),
            ("once again with other content", Call::Create(other)),
        ],
        expect![[r#"
            phase of unknown: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            suspend unknown: NotFound UNKNOWN_USER {}
            user limits of unknown: NotFound UNKNOWN_USER {}
            limits in unknown: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            usage of unknown: NotFound UNKNOWN_USER {}
            duplicate: AlreadyExists DUPLICATE_SYMBOL {}
            once: ok
            once again: ok
            once again with other content: AlreadyExists CLIENT_ID_REUSED {}
        "#]],
    )
    .await;
}

pub(crate) async fn price_book_and_phase() {
    let venue = Venue::start([]);
    let mut admin = venue.list_abc().await;
    let alice = venue.login("alice").await;
    venue.login("bob").await.insert(sell("ABC", 10_000, 5)).await;
    let own = alice.clone().insert(buy("ABC", 9_000, 5)).await.order_id;
    check(
        &alice,
        [
            ("off tick", insert(|r| r.price_e4 = 10_050)),
            ("below zero, off tick", insert(|r| r.price_e4 = -10_050)),
            ("amend off tick", amend_id(own, Some(9_001), None)),
            (
                "notional",
                insert(|r| {
                    r.price_e4 = -10_000_000_000_000;
                    r.quantity = 2;
                }),
            ),
            ("amend to notional", amend_id(own, Some(10_000_000_000_000), Some(2))),
            ("post-only that trades", insert(|r| r.post_only = true)),
            (
                "fill or kill of too much",
                insert(|r| {
                    r.quantity = 6;
                    r.set_time_in_force(TimeInForce::FillOrKill);
                }),
            ),
        ],
        expect![[r#"
            off tick: InvalidArgument INVALID_TICK {"tick_size_e4": "100"}
            below zero, off tick: InvalidArgument INVALID_TICK {"tick_size_e4": "100"}
            amend off tick: InvalidArgument INVALID_TICK {"tick_size_e4": "100"}
            notional: InvalidArgument NOTIONAL_TOO_LARGE {}
            amend to notional: InvalidArgument NOTIONAL_TOO_LARGE {}
            post-only that trades: FailedPrecondition WOULD_CROSS {}
            fill or kill of too much: FailedPrecondition CANNOT_FILL {}
        "#]],
    )
    .await;
    let mut text = String::new();
    let ioc = || insert(|r| r.set_time_in_force(TimeInForce::ImmediateOrCancel));
    for (to, calls) in [
        (TradingPhase::Auction, vec![("immediate or cancel", ioc())]),
        (
            TradingPhase::Halted,
            vec![("insert", insert(|_| ())), ("amend", amend_id(own, None, Some(4)))],
        ),
        (
            TradingPhase::Closed,
            vec![
                ("insert", insert(|_| ())),
                ("cancel all", cancel_all("ABC", 0)),
                ("cancel of what the close cancelled", cancel_id(own)),
            ],
        ),
    ] {
        admin.phase("ABC", to).await;
        for (name, call) in calls {
            writeln!(text, "{to:?}, {name}: {}", call.said(&alice).await).expect("a string");
        }
    }
    let reopened = phase("ABC", TradingPhase::Continuous).said(&admin).await;
    writeln!(text, "reopen: {reopened}").expect("a string");
    expect![[r#"
        Auction, immediate or cancel: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_AUCTION"}
        Halted, insert: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_HALTED"}
        Halted, amend: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_HALTED"}
        Closed, insert: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_CLOSED"}
        Closed, cancel all: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_CLOSED"}
        Closed, cancel of what the close cancelled: FailedPrecondition ORDER_DONE {}
        reopen: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_CLOSED"}
    "#]]
    .assert_eq(&text);
}

pub(crate) async fn limits() {
    let venue = Venue::start([]);
    let admin = venue.list_abc().await;
    let alice = venue.login("alice").await;
    assert_eq!(suspend("alice", "back at two").said(&admin).await, "ok");
    let mut text = String::new();
    let suspended = insert(|_| ()).said(&alice).await;
    writeln!(text, "suspended: {suspended}").expect("a string");
    let resume = Call::Resume(v1::ResumeUserRequest {
        username: "alice".to_owned(),
    });
    assert_eq!(resume.said(&admin).await, "ok");
    let own = alice.clone().insert(buy("ABC", 10_000, 3)).await.order_id;

    let in_abc: [fn(&mut v1::InstrumentRiskLimits); 6] = [
        |l| l.order_quantity_rolling_limit = window(1, 86_400),
        |l| l.order_amount_rolling_limit = window(199_999, 86_400),
        |l| l.max_outstanding_quantity = Some(4),
        |l| l.max_outstanding_amount_e4 = Some(499_999),
        |l| l.max_order_quantity = Some(1),
        |l| l.max_position = Some(4),
    ];
    for change in in_abc {
        let mut limits = v1::InstrumentRiskLimits::default();
        change(&mut limits);
        assert_eq!(instrument_limits("alice", "ABC", limits).said(&admin).await, "ok");
        for call in [insert(|r| r.quantity = 2), amend_id(own, None, Some(5))] {
            writeln!(text, "{}: {}", call.name(), call.said(&alice).await).expect("a string");
        }
    }
    assert_eq!(
        instrument_limits("alice", "ABC", Default::default()).said(&admin).await,
        "ok"
    );
    let of_user: [fn(&mut v1::UserRiskLimits); 3] = [
        |l| l.max_outstanding_quantity = Some(4),
        |l| l.max_outstanding_amount_e4 = Some(499_999),
        |l| l.message_rate_rolling_limit = window(0, 86_400),
    ];
    for change in of_user {
        let mut limits = v1::UserRiskLimits::default();
        change(&mut limits);
        assert_eq!(user_limits("alice", limits).said(&admin).await, "ok");
        for call in [insert(|r| r.quantity = 2), amend_id(own, None, Some(5))] {
            writeln!(text, "user, {}: {}", call.name(), call.said(&alice).await).expect("a string");
        }
    }
    writeln!(text, "a cancel: {}", cancel_id(own).said(&alice).await).expect("a string");
    expect![[r#"
        suspended: FailedPrecondition USER_SUSPENDED {"comment": "back at two"}
        Insert: ResourceExhausted RATE_LIMIT {"attempted": "2", "current": "0", "limit": "1", "limit_name": "order_quantity_rolling_limit", "symbol": "ABC"} + RetryInfo
        Amend: ResourceExhausted RATE_LIMIT {"attempted": "2", "current": "0", "limit": "1", "limit_name": "order_quantity_rolling_limit", "symbol": "ABC"} + RetryInfo
        Insert: ResourceExhausted RATE_LIMIT {"attempted": "200000", "current": "0", "limit": "199999", "limit_name": "order_amount_rolling_limit", "symbol": "ABC"} + RetryInfo
        Amend: ResourceExhausted RATE_LIMIT {"attempted": "200000", "current": "0", "limit": "199999", "limit_name": "order_amount_rolling_limit", "symbol": "ABC"} + RetryInfo
        Insert: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "3", "limit": "4", "limit_name": "max_outstanding_quantity", "symbol": "ABC"}
        Amend: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "3", "limit": "4", "limit_name": "max_outstanding_quantity", "symbol": "ABC"}
        Insert: FailedPrecondition RISK_LIMIT {"attempted": "200000", "current": "300000", "limit": "499999", "limit_name": "max_outstanding_amount_e4", "symbol": "ABC"}
        Amend: FailedPrecondition RISK_LIMIT {"attempted": "200000", "current": "300000", "limit": "499999", "limit_name": "max_outstanding_amount_e4", "symbol": "ABC"}
        Insert: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "0", "limit": "1", "limit_name": "max_order_quantity", "symbol": "ABC"}
        Amend: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "3", "limit": "1", "limit_name": "max_order_quantity", "symbol": "ABC"}
        Insert: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "3", "limit": "4", "limit_name": "max_position", "symbol": "ABC"}
        Amend: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "3", "limit": "4", "limit_name": "max_position", "symbol": "ABC"}
        user, Insert: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "3", "limit": "4", "limit_name": "max_outstanding_quantity"}
        user, Amend: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "3", "limit": "4", "limit_name": "max_outstanding_quantity"}
        user, Insert: FailedPrecondition RISK_LIMIT {"attempted": "200000", "current": "300000", "limit": "499999", "limit_name": "max_outstanding_amount_e4"}
        user, Amend: FailedPrecondition RISK_LIMIT {"attempted": "200000", "current": "300000", "limit": "499999", "limit_name": "max_outstanding_amount_e4"}
        user, Insert: ResourceExhausted RATE_LIMIT {"attempted": "1", "current": "0", "limit": "0", "limit_name": "message_rate_rolling_limit"} + RetryInfo
        user, Amend: ResourceExhausted RATE_LIMIT {"attempted": "1", "current": "0", "limit": "0", "limit_name": "message_rate_rolling_limit"} + RetryInfo
        a cancel: ok
    "#]].assert_eq(&text);
}
