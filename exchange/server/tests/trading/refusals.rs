//! Every reason, through a socket: code, ErrorInfo, metadata, trailer, and the same by `OrderEntry`.

use std::fmt::Write;

use expect_test::{Expect, expect};
use optivex_engine::Limits;
use optivex_proto::v1::{self, OrderType, SelfTradePrevention, Side, TimeInForce, TradingPhase};
use optivex_server::sequencer::State;

use crate::call::{
    Call, amend_client_id, amend_id, cancel_all, cancel_client_id, cancel_id, instrument_limits, phase, suspend,
    user_limits, window,
};
use crate::venue::{Client, Venue, buy, instrument, sell};

/// Makes the calls one after the other and compares what they say.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_of_orders() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let alice = venue.login("alice").await;
    let before = venue.disk.durable();
    let market = |tif: TimeInForce| {
        insert(move |r| {
            r.price_e4 = 0;
            r.set_type(OrderType::Market);
            r.set_time_in_force(tif);
        })
    };
    check(
        &alice,
        [
            ("no symbol", insert(|r| r.symbol.clear())),
            ("long symbol", insert(|r| r.symbol = "A".repeat(17))),
            ("no side", insert(|r| r.side = 0)),
            ("unknown side", insert(|r| r.side = 7)),
            ("price too high", insert(|r| r.price_e4 = 10_000_000_000_100)),
            ("price too low", insert(|r| r.price_e4 = i64::MIN)),
            ("no quantity", insert(|r| r.quantity = 0)),
            ("negative quantity", insert(|r| r.quantity = -1)),
            ("quantity too large", insert(|r| r.quantity = 1_000_000_001)),
            ("unknown type", insert(|r| r.r#type = 9)),
            ("unknown time in force", insert(|r| r.time_in_force = -1)),
            ("market with price", insert(|r| r.set_type(OrderType::Market))),
            ("market that rests", market(TimeInForce::GoodTillCancelled)),
            (
                "post-only that cannot rest",
                insert(|r| {
                    r.post_only = true;
                    r.set_time_in_force(TimeInForce::ImmediateOrCancel);
                }),
            ),
            ("unknown self-trade prevention", insert(|r| r.self_trade_prevention = 4)),
            ("long client id", insert(|r| r.client_order_id = "x".repeat(37))),
            ("amend nothing", Call::Amend(v1::AmendOrderRequest::default())),
            ("amend order 0", amend_id(0, Some(100), None)),
            ("amend empty client id", amend_client_id("", Some(100), None)),
            (
                "amend long client id",
                amend_client_id(&"x".repeat(37), Some(100), None),
            ),
            ("amend without change", amend_id(1, None, None)),
            ("amend to negative quantity", amend_id(1, None, Some(-1))),
            ("amend to too much", amend_id(1, None, Some(1_000_000_001))),
            ("amend to price too high", amend_id(1, Some(10_000_000_000_001), None)),
            ("cancel nothing", Call::Cancel(v1::CancelOrderRequest::default())),
            ("cancel order 0", cancel_id(0)),
            ("cancel empty client id", cancel_client_id("")),
            ("cancel long client id", cancel_client_id(&"x".repeat(37))),
            ("cancel all of unknown side", cancel_all("", 3)),
            ("cancel all of long symbol", cancel_all("12345678901234567", 0)),
        ],
        expect![[r#"
            no symbol: InvalidArgument INVALID_FIELD {"field": "symbol"}
            long symbol: InvalidArgument INVALID_FIELD {"field": "symbol"}
            no side: InvalidArgument INVALID_FIELD {"field": "side"}
            unknown side: InvalidArgument INVALID_FIELD {"field": "side"}
            price too high: InvalidArgument INVALID_FIELD {"field": "price_e4"}
            price too low: InvalidArgument INVALID_FIELD {"field": "price_e4"}
            no quantity: InvalidArgument INVALID_FIELD {"field": "quantity"}
            negative quantity: InvalidArgument INVALID_FIELD {"field": "quantity"}
            quantity too large: InvalidArgument INVALID_FIELD {"field": "quantity"}
            unknown type: InvalidArgument INVALID_FIELD {"field": "type"}
            unknown time in force: InvalidArgument INVALID_FIELD {"field": "time_in_force"}
            market with price: InvalidArgument INVALID_FIELD {"field": "price_e4"}
            market that rests: InvalidArgument INVALID_FIELD {"field": "time_in_force"}
            post-only that cannot rest: InvalidArgument INVALID_FIELD {"field": "post_only"}
            unknown self-trade prevention: InvalidArgument INVALID_FIELD {"field": "self_trade_prevention"}
            long client id: InvalidArgument INVALID_FIELD {"field": "client_order_id"}
            amend nothing: InvalidArgument INVALID_FIELD {"field": "order"}
            amend order 0: InvalidArgument INVALID_FIELD {"field": "order_id"}
            amend empty client id: InvalidArgument INVALID_FIELD {"field": "client_order_id"}
            amend long client id: InvalidArgument INVALID_FIELD {"field": "client_order_id"}
            amend without change: InvalidArgument INVALID_FIELD {"field": "quantity"}
            amend to negative quantity: InvalidArgument INVALID_FIELD {"field": "quantity"}
            amend to too much: InvalidArgument INVALID_FIELD {"field": "quantity"}
            amend to price too high: InvalidArgument INVALID_FIELD {"field": "price_e4"}
            cancel nothing: InvalidArgument INVALID_FIELD {"field": "order"}
            cancel order 0: InvalidArgument INVALID_FIELD {"field": "order_id"}
            cancel empty client id: InvalidArgument INVALID_FIELD {"field": "client_order_id"}
            cancel long client id: InvalidArgument INVALID_FIELD {"field": "client_order_id"}
            cancel all of unknown side: InvalidArgument INVALID_FIELD {"field": "side"}
            cancel all of long symbol: InvalidArgument INVALID_FIELD {"field": "symbol"}
        "#]],
    )
    .await;
    assert_eq!(venue.disk.durable(), before, "a refused command changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_of_lists() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let alice = venue.login("alice").await;
    let list = |change: fn(&mut v1::ListOrdersRequest)| {
        let mut request = v1::ListOrdersRequest::default();
        change(&mut request);
        Call::ListOrders(request)
    };
    let reports = |after| {
        Call::Reports(v1::SubscribeExecutionReportsRequest {
            after_report_seq: Some(after),
            cancel_on_disconnect: true,
        })
    };
    check(
        &alice,
        [
            ("negative page", list(|r| r.page_size = -1)),
            ("garbage for a token", list(|r| r.page_token = "garbage".to_owned())),
            ("long client id", list(|r| r.client_order_id = "x".repeat(37))),
            ("long symbol", list(|r| r.symbol = "x".repeat(17))),
            ("unknown symbol", list(|r| r.symbol = "XYZ".to_owned())),
            ("unknown order", list(|r| r.order_id = 99)),
            ("from the beginning", reports(0)),
            ("from the future", reports(1)),
        ],
        expect![[r#"
            negative page: InvalidArgument INVALID_FIELD {"field": "page_size"}
            garbage for a token: InvalidArgument INVALID_FIELD {"field": "page_token"}
            long client id: InvalidArgument INVALID_FIELD {"field": "client_order_id"}
            long symbol: InvalidArgument INVALID_FIELD {"field": "symbol"}
            unknown symbol: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            unknown order: ok
            from the beginning: ok
            from the future: OutOfRange CANNOT_RESUME {}
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_of_administration() {
    let venue = Venue::start().await;
    let root = venue.list_abc().await;
    let before = venue.disk.durable();
    let user = |limits: v1::UserRiskLimits| user_limits("alice", limits);
    let in_abc = |limits: v1::InstrumentRiskLimits| instrument_limits("alice", "ABC", limits);
    let negative = Some(-1);
    check(
        &root,
        [
            ("no symbol", create(|r| r.symbol.clear())),
            ("long symbol", create(|r| r.symbol = "A".repeat(17))),
            ("odd symbol", create(|r| r.symbol = "abc".to_owned())),
            ("long description", create(|r| r.description = "x".repeat(257))),
            ("no currency", create(|r| r.currency.clear())),
            ("odd currency", create(|r| r.currency = "eur".to_owned())),
            ("long currency", create(|r| r.currency = "EURO".to_owned())),
            ("no multiplier", create(|r| r.multiplier = 0)),
            ("multiplier too large", create(|r| r.multiplier = 1_000_001)),
            ("no tick", create(|r| r.tick_size_e4 = 0)),
            ("tick too large", create(|r| r.tick_size_e4 = 10_000_000_000_001)),
            ("opens closed", create(|r| r.set_initial_phase(TradingPhase::Closed))),
            ("unknown phase", create(|r| r.initial_phase = 5)),
            ("long request id", create(|r| r.client_request_id = "x".repeat(65))),
            ("no phase", phase("ABC", TradingPhase::Unspecified)),
            (
                "phase of nothing",
                Call::SetPhase(v1::SetTradingPhaseRequest {
                    symbol: String::new(),
                    phase: 3,
                }),
            ),
            (
                "phase that is none",
                Call::SetPhase(v1::SetTradingPhaseRequest {
                    symbol: "ABC".to_owned(),
                    phase: 5,
                }),
            ),
            ("suspend nobody", suspend("", "")),
            ("suspend a long name", suspend(&"x".repeat(65), "")),
            ("suspend with a long comment", suspend("alice", &"x".repeat(257))),
            ("resume nobody", Call::Resume(v1::ResumeUserRequest::default())),
            (
                "no user limits",
                Call::SetUserLimits(v1::SetUserRiskLimitsRequest {
                    username: "alice".to_owned(),
                    limits: None,
                }),
            ),
            ("limits of nobody", user_limits("", v1::UserRiskLimits::default())),
            (
                "negative message rate",
                user(v1::UserRiskLimits {
                    message_rate_rolling_limit: window(-1, 1),
                    ..Default::default()
                }),
            ),
            (
                "window of nothing",
                user(v1::UserRiskLimits {
                    message_rate_rolling_limit: window(1, 0),
                    ..Default::default()
                }),
            ),
            (
                "window of more than a day",
                user(v1::UserRiskLimits {
                    message_rate_rolling_limit: window(1, 86_401),
                    ..Default::default()
                }),
            ),
            (
                "negative outstanding quantity",
                user(v1::UserRiskLimits {
                    max_outstanding_quantity: negative,
                    ..Default::default()
                }),
            ),
            (
                "negative outstanding amount",
                user(v1::UserRiskLimits {
                    max_outstanding_amount_e4: negative,
                    ..Default::default()
                }),
            ),
            (
                "no instrument limits",
                Call::SetInstrumentLimits(v1::SetInstrumentRiskLimitsRequest {
                    username: "alice".to_owned(),
                    symbol: "ABC".to_owned(),
                    limits: None,
                }),
            ),
            (
                "limits in nothing",
                instrument_limits("alice", "", v1::InstrumentRiskLimits::default()),
            ),
            (
                "window of quantity",
                in_abc(v1::InstrumentRiskLimits {
                    order_quantity_rolling_limit: window(1, 0),
                    ..Default::default()
                }),
            ),
            (
                "window of amount",
                in_abc(v1::InstrumentRiskLimits {
                    order_amount_rolling_limit: window(-1, 1),
                    ..Default::default()
                }),
            ),
            (
                "negative order quantity",
                in_abc(v1::InstrumentRiskLimits {
                    max_order_quantity: negative,
                    ..Default::default()
                }),
            ),
            (
                "negative position",
                in_abc(v1::InstrumentRiskLimits {
                    max_position: negative,
                    ..Default::default()
                }),
            ),
        ],
        expect![[r#"
            no symbol: InvalidArgument INVALID_FIELD {"field": "symbol"}
            long symbol: InvalidArgument INVALID_FIELD {"field": "symbol"}
            odd symbol: InvalidArgument INVALID_FIELD {"field": "symbol"}
            long description: InvalidArgument INVALID_FIELD {"field": "description"}
            no currency: InvalidArgument INVALID_FIELD {"field": "currency"}
            odd currency: InvalidArgument INVALID_FIELD {"field": "currency"}
            long currency: InvalidArgument INVALID_FIELD {"field": "currency"}
            no multiplier: InvalidArgument INVALID_FIELD {"field": "multiplier"}
            multiplier too large: InvalidArgument INVALID_FIELD {"field": "multiplier"}
            no tick: InvalidArgument INVALID_FIELD {"field": "tick_size_e4"}
            tick too large: InvalidArgument INVALID_FIELD {"field": "tick_size_e4"}
            opens closed: InvalidArgument INVALID_FIELD {"field": "initial_phase"}
            unknown phase: InvalidArgument INVALID_FIELD {"field": "initial_phase"}
            long request id: InvalidArgument INVALID_FIELD {"field": "client_request_id"}
            no phase: InvalidArgument INVALID_FIELD {"field": "phase"}
            phase of nothing: InvalidArgument INVALID_FIELD {"field": "symbol"}
            phase that is none: InvalidArgument INVALID_FIELD {"field": "phase"}
            suspend nobody: InvalidArgument INVALID_FIELD {"field": "username"}
            suspend a long name: InvalidArgument INVALID_FIELD {"field": "username"}
            suspend with a long comment: InvalidArgument INVALID_FIELD {"field": "comment"}
            resume nobody: InvalidArgument INVALID_FIELD {"field": "username"}
            no user limits: InvalidArgument INVALID_FIELD {"field": "limits"}
            limits of nobody: InvalidArgument INVALID_FIELD {"field": "username"}
            negative message rate: InvalidArgument INVALID_FIELD {"field": "limits.message_rate_rolling_limit"}
            window of nothing: InvalidArgument INVALID_FIELD {"field": "limits.message_rate_rolling_limit"}
            window of more than a day: InvalidArgument INVALID_FIELD {"field": "limits.message_rate_rolling_limit"}
            negative outstanding quantity: InvalidArgument INVALID_FIELD {"field": "limits.max_outstanding_quantity"}
            negative outstanding amount: InvalidArgument INVALID_FIELD {"field": "limits.max_outstanding_amount_e4"}
            no instrument limits: InvalidArgument INVALID_FIELD {"field": "limits"}
            limits in nothing: InvalidArgument INVALID_FIELD {"field": "symbol"}
            window of quantity: InvalidArgument INVALID_FIELD {"field": "limits.order_quantity_rolling_limit"}
            window of amount: InvalidArgument INVALID_FIELD {"field": "limits.order_amount_rolling_limit"}
            negative order quantity: InvalidArgument INVALID_FIELD {"field": "limits.max_order_quantity"}
            negative position: InvalidArgument INVALID_FIELD {"field": "limits.max_position"}
        "#]],
    )
    .await;
    assert_eq!(venue.disk.durable(), before, "a refused command changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_roles() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let mut said = String::new();
    for who in ["nobody", "carol", "root", "alice"] {
        let client = match who {
            "nobody" => venue.anonymous().await,
            name => venue.login(name).await,
        };
        for call in Call::all() {
            let name = call.name();
            match call.call(&mut client.clone()).await {
                Err(status) => {
                    let refused = crate::venue::told(&status);
                    if refused.contains("INVALID_TOKEN") || refused.contains("MISSING_ROLE") {
                        writeln!(said, "{who} {name}: {refused}").expect("a string takes everything");
                    }
                }
                // What alice and root may do comes to something else.
                Ok(()) => assert!(who == "alice" || who == "root", "{who} {name}"),
            }
        }
    }
    let alice = venue.login("alice").await;
    for call in [
        Call::GetUserLimits("bob"),
        Call::GetInstrumentLimits("bob"),
        Call::GetUsage("bob"),
    ] {
        writeln!(said, "alice of bob {}: {}", call.name(), call.said(&alice).await).expect("a string");
    }
    expect![[r#"
        nobody Insert: Unauthenticated INVALID_TOKEN {}
        nobody Amend: Unauthenticated INVALID_TOKEN {}
        nobody Cancel: Unauthenticated INVALID_TOKEN {}
        nobody CancelAll: Unauthenticated INVALID_TOKEN {}
        nobody ListOrders: Unauthenticated INVALID_TOKEN {}
        nobody ListPositions: Unauthenticated INVALID_TOKEN {}
        nobody Reports: Unauthenticated INVALID_TOKEN {}
        nobody OrderEntry: Unauthenticated INVALID_TOKEN {}
        nobody Create: Unauthenticated INVALID_TOKEN {}
        nobody SetPhase: Unauthenticated INVALID_TOKEN {}
        nobody Suspend: Unauthenticated INVALID_TOKEN {}
        nobody Resume: Unauthenticated INVALID_TOKEN {}
        nobody GetUserLimits: Unauthenticated INVALID_TOKEN {}
        nobody SetUserLimits: Unauthenticated INVALID_TOKEN {}
        nobody GetInstrumentLimits: Unauthenticated INVALID_TOKEN {}
        nobody SetInstrumentLimits: Unauthenticated INVALID_TOKEN {}
        nobody GetUsage: Unauthenticated INVALID_TOKEN {}
        carol Insert: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol Amend: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol Cancel: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol CancelAll: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol ListOrders: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol ListPositions: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol Reports: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol OrderEntry: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol Create: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        carol SetPhase: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        carol Suspend: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        carol Resume: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        carol GetUserLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol SetUserLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        carol GetInstrumentLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        carol SetInstrumentLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_ADMIN"}
        carol GetUsage: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root Insert: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root Amend: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root Cancel: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root CancelAll: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root ListOrders: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root ListPositions: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root Reports: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root OrderEntry: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root GetUserLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root GetInstrumentLimits: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
        root GetUsage: PermissionDenied MISSING_ROLE {"role": "ROLE_TRADER"}
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
    .assert_eq(&said);
    let root = venue.login("root").await;
    assert_eq!(Call::GetUsage("bob").said(&root).await, "ok");
    assert_eq!(
        Call::GetUsage("alice").said(&alice).await,
        "ok",
        "by name, one's own are one's own"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_objects() {
    let venue = Venue::start().await;
    let mut root = venue.list_abc().await;
    root.create("DEF").await;
    let mut alice = venue.login("alice").await;
    let mut bob = venue.login("bob").await;
    let of_bob = bob.insert(sell("ABC", 20_000, 1)).await.order_id;
    let mut request = buy("ABC", 9_000, 1);
    request.client_order_id = "done".to_owned();
    let done = alice.insert(request.clone()).await.order_id;
    assert_eq!(cancel_id(done).said(&alice).await, "ok");
    request.price_e4 = 9_100;
    let mut filled = buy("ABC", 20_000, 1);
    filled.client_order_id = "filled".to_owned();
    let filled = alice.insert(filled).await.order_id;
    let ids = [of_bob, done, filled].map(|id| id.to_string());
    assert_eq!(ids.len(), 3);
    check(
        &alice,
        [
            ("insert", insert(|r| r.symbol = "XYZ".to_owned())),
            (
                "insert, form first",
                insert(|r| {
                    r.symbol = "XYZ".to_owned();
                    r.quantity = 0;
                }),
            ),
            (
                "insert, then tick",
                insert(|r| {
                    r.symbol = "XYZ".to_owned();
                    r.price_e4 = 1;
                }),
            ),
            ("cancel all", cancel_all("XYZ", 0)),
            ("amend unknown", amend_id(12_345, Some(100), None)),
            ("amend unknown client id", amend_client_id("never", Some(100), None)),
            ("amend of bob", amend_id(of_bob, Some(100), None)),
            ("amend done", amend_id(done, Some(100), None)),
            ("amend done, before tick", amend_id(done, Some(1), None)),
            ("amend done by client id", amend_client_id("done", Some(100), None)),
            ("amend filled", amend_id(filled, None, Some(5))),
            ("cancel unknown", cancel_id(u64::MAX)),
            ("cancel unknown client id", cancel_client_id("never")),
            ("cancel of bob", cancel_id(of_bob)),
            ("cancel done", cancel_id(done)),
            ("cancel done by client id", cancel_client_id("done")),
            ("cancel filled by client id", cancel_client_id("filled")),
            ("client id reused", Call::Insert(request)),
        ],
        expect![[r#"
            insert: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            insert, form first: InvalidArgument INVALID_FIELD {"field": "quantity"}
            insert, then tick: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            cancel all: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            amend unknown: NotFound UNKNOWN_ORDER {}
            amend unknown client id: NotFound UNKNOWN_ORDER {}
            amend of bob: NotFound UNKNOWN_ORDER {}
            amend done: FailedPrecondition ORDER_DONE {}
            amend done, before tick: FailedPrecondition ORDER_DONE {}
            amend done by client id: FailedPrecondition ORDER_DONE {}
            amend filled: FailedPrecondition ORDER_DONE {}
            cancel unknown: NotFound UNKNOWN_ORDER {}
            cancel unknown client id: NotFound UNKNOWN_ORDER {}
            cancel of bob: NotFound UNKNOWN_ORDER {}
            cancel done: FailedPrecondition ORDER_DONE {}
            cancel done by client id: FailedPrecondition ORDER_DONE {}
            cancel filled by client id: FailedPrecondition ORDER_DONE {}
            client id reused: AlreadyExists CLIENT_ID_REUSED {}
        "#]],
    )
    .await;
    let mut again = instrument("GHI");
    again.client_request_id = "once".to_owned();
    let mut other = again.clone();
    other.multiplier = 11;
    check(
        &root,
        [
            ("phase of unknown", phase("XYZ", TradingPhase::Halted)),
            ("suspend unknown", suspend("mallory", "")),
            (
                "resume unknown",
                Call::Resume(v1::ResumeUserRequest {
                    username: "mallory".to_owned(),
                }),
            ),
            (
                "user limits of unknown",
                user_limits("mallory", v1::UserRiskLimits::default()),
            ),
            (
                "instrument limits of unknown",
                instrument_limits("mallory", "ABC", v1::InstrumentRiskLimits::default()),
            ),
            (
                "instrument limits in unknown",
                instrument_limits("alice", "XYZ", v1::InstrumentRiskLimits::default()),
            ),
            ("read of unknown", Call::GetUserLimits("mallory")),
            ("duplicate", Call::Create(instrument("ABC"))),
            ("once", Call::Create(again.clone())),
            ("once again", Call::Create(again)),
            ("once again with other content", Call::Create(other)),
        ],
        expect![[r#"
            phase of unknown: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            suspend unknown: NotFound UNKNOWN_USER {}
            resume unknown: NotFound UNKNOWN_USER {}
            user limits of unknown: NotFound UNKNOWN_USER {}
            instrument limits of unknown: NotFound UNKNOWN_USER {}
            instrument limits in unknown: NotFound UNKNOWN_INSTRUMENT {"symbol": "XYZ"}
            read of unknown: NotFound UNKNOWN_USER {}
            duplicate: AlreadyExists DUPLICATE_SYMBOL {}
            once: ok
            once again: ok
            once again with other content: AlreadyExists CLIENT_ID_REUSED {}
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_orders_ask_of_the_book() {
    let venue = Venue::start().await;
    let mut root = venue.list_abc().await;
    let alice = venue.login("alice").await;
    let mut bob = venue.login("bob").await;
    bob.insert(sell("ABC", 10_000, 5)).await;
    let own = alice.clone().insert(buy("ABC", 9_000, 5)).await.order_id;
    check(
        &alice,
        [
            ("off tick", insert(|r| r.price_e4 = 10_050)),
            ("amend off tick", amend_id(own, Some(9_001), None)),
            (
                "notional",
                insert(|r| {
                    r.price_e4 = 10_000_000_000_000;
                    r.quantity = 2;
                }),
            ),
            ("amend to notional", amend_id(own, Some(10_000_000_000_000), Some(2))),
            ("post-only that trades", insert(|r| r.post_only = true)),
            (
                "fill or kill too much",
                insert(|r| {
                    r.quantity = 6;
                    r.set_time_in_force(TimeInForce::FillOrKill);
                }),
            ),
            (
                "fill or kill of one's own",
                insert(|r| {
                    r.set_side(Side::Sell);
                    r.price_e4 = 9_000;
                    r.set_time_in_force(TimeInForce::FillOrKill);
                    r.set_self_trade_prevention(SelfTradePrevention::CancelIncoming);
                }),
            ),
        ],
        expect![[r#"
            off tick: InvalidArgument INVALID_TICK {"tick_size_e4": "100"}
            amend off tick: InvalidArgument INVALID_TICK {"tick_size_e4": "100"}
            notional: InvalidArgument NOTIONAL_TOO_LARGE {}
            amend to notional: InvalidArgument NOTIONAL_TOO_LARGE {}
            post-only that trades: FailedPrecondition WOULD_CROSS {}
            fill or kill too much: FailedPrecondition CANNOT_FILL {}
            fill or kill of one's own: FailedPrecondition CANNOT_FILL {}
        "#]],
    )
    .await;
    root.phase("ABC", TradingPhase::Auction).await;
    let ioc = || insert(|r| r.set_time_in_force(TimeInForce::ImmediateOrCancel));
    check(
        &alice,
        [("auction", ioc())],
        expect![[r#"
        auction: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_AUCTION"}
    "#]],
    )
    .await;
    root.phase("ABC", TradingPhase::Halted).await;
    check(
        &alice,
        [
            ("halted insert", insert(|_| ())),
            ("halted amend", amend_id(own, None, Some(4))),
        ],
        expect![[r#"
            halted insert: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_HALTED"}
            halted amend: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_HALTED"}
        "#]],
    )
    .await;
    root.phase("ABC", TradingPhase::Closed).await;
    check(
        &alice,
        [
            ("closed insert", insert(|_| ())),
            ("closed cancel all", cancel_all("ABC", 0)),
            ("closed by the book", cancel_id(own)),
        ],
        expect![[r#"
            closed insert: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_CLOSED"}
            closed cancel all: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_CLOSED"}
            closed by the book: FailedPrecondition ORDER_DONE {}
        "#]],
    )
    .await;
    check(
        &root,
        [("reopen", phase("ABC", TradingPhase::Continuous))],
        expect![[r#"
        reopen: FailedPrecondition PHASE_FORBIDS {"phase": "TRADING_PHASE_CLOSED"}
    "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits() {
    let venue = Venue::start().await;
    let root = venue.list_abc().await;
    let alice = venue.login("alice").await;
    let set = |limits: v1::InstrumentRiskLimits| instrument_limits("alice", "ABC", limits).said(&root);
    let set_user = |limits: v1::UserRiskLimits| user_limits("alice", limits).said(&root);

    assert_eq!(suspend("alice", "lunch").said(&root).await, "ok");
    check(
        &alice,
        [("suspended", insert(|_| ()))],
        expect![[r#"
        suspended: FailedPrecondition USER_SUSPENDED {"comment": "lunch"}
    "#]],
    )
    .await;
    let resume = Call::Resume(v1::ResumeUserRequest {
        username: "alice".to_owned(),
    });
    assert_eq!(resume.said(&root).await, "ok");
    assert_eq!(insert(|r| r.quantity = 3).said(&alice).await, "ok");

    let none = v1::InstrumentRiskLimits::default;
    set(v1::InstrumentRiskLimits {
        max_outstanding_quantity: Some(4),
        ..none()
    })
    .await;
    check(
        &alice,
        [("outstanding quantity", insert(|r| r.quantity = 2))],
        expect![[r#"
            outstanding quantity: FailedPrecondition RISK_LIMIT {"attempted": "2", "current": "3", "limit": "4", "limit_name": "max_outstanding_quantity", "symbol": "ABC"}
        "#]],
    )
    .await;
    set(v1::InstrumentRiskLimits {
        max_outstanding_amount_e4: Some(300_000),
        ..none()
    })
    .await;
    check(&alice, [("outstanding amount", insert(|_| ()))], expect![[r#"
        outstanding amount: FailedPrecondition RISK_LIMIT {"attempted": "100000", "current": "300000", "limit": "300000", "limit_name": "max_outstanding_amount_e4", "symbol": "ABC"}
    "#]]).await;
    set(v1::InstrumentRiskLimits {
        max_order_quantity: Some(2),
        ..none()
    })
    .await;
    check(&alice, [("order quantity", insert(|r| r.quantity = 3))], expect![[r#"
        order quantity: FailedPrecondition RISK_LIMIT {"attempted": "3", "current": "0", "limit": "2", "limit_name": "max_order_quantity", "symbol": "ABC"}
    "#]]).await;
    set(v1::InstrumentRiskLimits {
        max_position: Some(3),
        ..none()
    })
    .await;
    check(&alice, [("position", insert(|_| ()))], expect![[r#"
        position: FailedPrecondition RISK_LIMIT {"attempted": "1", "current": "3", "limit": "3", "limit_name": "max_position", "symbol": "ABC"}
    "#]]).await;
    set(v1::InstrumentRiskLimits {
        order_quantity_rolling_limit: window(1, 86_400),
        ..none()
    })
    .await;
    check(&alice, [("rolling quantity", insert(|r| r.quantity = 2))], expect![[r#"
        rolling quantity: ResourceExhausted RATE_LIMIT {"attempted": "2", "current": "0", "limit": "1", "limit_name": "order_quantity_rolling_limit", "symbol": "ABC"} + RetryInfo
    "#]]).await;
    set(v1::InstrumentRiskLimits {
        order_amount_rolling_limit: window(99_999, 86_400),
        ..none()
    })
    .await;
    check(&alice, [("rolling amount", insert(|_| ()))], expect![[r#"
        rolling amount: ResourceExhausted RATE_LIMIT {"attempted": "100000", "current": "0", "limit": "99999", "limit_name": "order_amount_rolling_limit", "symbol": "ABC"} + RetryInfo
    "#]]).await;
    set(none()).await;

    let none = v1::UserRiskLimits::default;
    set_user(v1::UserRiskLimits {
        max_outstanding_quantity: Some(3),
        ..none()
    })
    .await;
    check(&alice, [("user's outstanding quantity", insert(|_| ()))], expect![[r#"
        user's outstanding quantity: FailedPrecondition RISK_LIMIT {"attempted": "1", "current": "3", "limit": "3", "limit_name": "max_outstanding_quantity"}
    "#]]).await;
    set_user(v1::UserRiskLimits {
        max_outstanding_amount_e4: Some(0),
        ..none()
    })
    .await;
    check(&alice, [("user's outstanding amount", insert(|_| ()))], expect![[r#"
        user's outstanding amount: FailedPrecondition RISK_LIMIT {"attempted": "100000", "current": "300000", "limit": "0", "limit_name": "max_outstanding_amount_e4"}
    "#]]).await;
    set_user(v1::UserRiskLimits {
        message_rate_rolling_limit: window(1, 86_400),
        ..none()
    })
    .await;
    check(
        &alice,
        [
            ("first message", cancel_all("", 0)),
            ("second message", insert(|_| ())),
            ("a cancel is never refused", cancel_all("", 0)),
        ],
        expect![[r#"
            first message: ok
            second message: ResourceExhausted RATE_LIMIT {"attempted": "1", "current": "1", "limit": "1", "limit_name": "message_rate_rolling_limit"} + RetryInfo
            a cancel is never refused: ok
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capacity() {
    let venue = Venue::start_with(Limits {
        instruments_max: 1,
        open_orders_per_user_max: 2,
        price_levels_per_side_max: 1,
        ..Limits::default()
    })
    .await;
    let root = venue.list_abc().await;
    let alice = venue.login("alice").await;
    check(
        &root,
        [("instruments", create(|_| ()))],
        expect![[r#"
        instruments: ResourceExhausted CAPACITY {"limit": "1", "limit_name": "instruments_max"}
    "#]],
    )
    .await;
    check(
        &alice,
        [
            ("first level", insert(|_| ())),
            ("second level", insert(|r| r.price_e4 = 9_900)),
            ("second order", insert(|_| ())),
            ("third order", insert(|_| ())),
        ],
        expect![[r#"
            first level: ok
            second level: ResourceExhausted CAPACITY {"limit": "1", "limit_name": "price_levels_per_side_max"}
            second order: ok
            third order: ResourceExhausted CAPACITY {"limit": "2", "limit_name": "open_orders_per_user_max"}
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_and_a_failing_one() {
    let mut venue = Venue::start().await;
    venue.list_abc().await;
    let alice = venue.login("alice").await;
    let mut state = venue.exchange.state();
    venue.disk.set_full(true);
    state
        .wait_for(|state| matches!(state, State::NotReady(_)))
        .await
        .expect("an exchange");
    check(
        &alice,
        [
            ("full", insert(|_| ())),
            ("form is still checked", insert(|r| r.side = 0)),
            ("queries go on", Call::ListPositions),
        ],
        expect![[r#"
            full: Unavailable NOT_READY {}
            form is still checked: InvalidArgument INVALID_FIELD {"field": "side"}
            queries go on: ok
        "#]],
    )
    .await;
    venue.disk.set_full(false);
    state
        .wait_for(|state| *state == State::Ready)
        .await
        .expect("an exchange");

    venue.disk.set_failing(true);
    let mut request = buy("ABC", 10_000, 1);
    request.client_order_id = "mine".to_owned();
    let status = alice
        .clone()
        .execution
        .insert_order(request.clone())
        .await
        .expect_err("no disk");
    expect![[r#"Unavailable NOT_READY {"outcome": "unknown"}"#]].assert_eq(&crate::venue::told(&status));
    venue.disk.set_failing(false);
    state
        .wait_for(|state| *state == State::Ready)
        .await
        .expect("an exchange");
    let first = alice.clone().insert(request).await;
    assert_eq!(first.event_seq, venue.disk.durable(), "the retry finds what was kept");

    let shutdown = venue.take_running().shutdown(std::time::Duration::from_secs(30)).await;
    shutdown.expect("a clean end");
    for call in [insert(|_| ()), Call::ListPositions] {
        let status = call.call(&mut alice.clone()).await.expect_err("it has stopped");
        assert_eq!(crate::venue::told(&status), "Unavailable NOT_READY {}");
    }
}
