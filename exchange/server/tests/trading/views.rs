//! What can be read: orders, positions, limits and their use; and what administration answers.

use std::collections::BTreeMap;

use expect_test::expect;
use optivex_proto::v1::{self, TradingPhase};

use crate::call::{Call, cancel_all, cancel_id, instrument_limits, phase, suspend, user_limits, window};
use crate::venue::{Client, Venue, buy, instrument, sell};

async fn list(client: &Client, request: v1::ListOrdersRequest) -> v1::ListOrdersResponse {
    let response = client.clone().execution.list_orders(request).await;
    response.expect("a page").into_inner()
}

fn ids(response: &v1::ListOrdersResponse) -> Vec<u64> {
    response.orders.iter().map(|order| order.order_id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_orders_by_page() {
    let venue = Venue::start().await;
    let mut root = venue.list_abc().await;
    root.create("DEF").await;
    let mut alice = venue.login("alice").await;
    let mut in_abc = Vec::new();
    let mut all = Vec::new();
    for number in 0..25 {
        let symbol = if number % 5 == 0 { "DEF" } else { "ABC" };
        let id = alice.insert(buy(symbol, 10_000, 1)).await.order_id;
        all.push(id);
        if symbol == "ABC" {
            in_abc.push(id);
        }
    }
    venue.login("bob").await.insert(buy("ABC", 9_900, 1)).await;
    assert_eq!(ids(&list(&alice, v1::ListOrdersRequest::default()).await), all);
    for (symbol, expected) in [("", &all), ("ABC", &in_abc)] {
        for page_size in [1, 4, 5, 20, 24, 25, 26, i32::MAX] {
            let mut found = Vec::new();
            let mut page_token = String::new();
            loop {
                let page = list(
                    &alice,
                    v1::ListOrdersRequest {
                        symbol: symbol.to_owned(),
                        page_size,
                        page_token,
                        ..Default::default()
                    },
                )
                .await;
                assert!(page.orders.len() <= usize::try_from(page_size).expect("positive"));
                assert!(!page.orders.is_empty(), "no page for nothing");
                found.extend(ids(&page));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(&found, expected, "{symbol:?} by {page_size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rare_instrument_among_many_orders() {
    let venue = Venue::start().await;
    let mut root = venue.list_abc().await;
    root.create("DEF").await;
    let mut alice = venue.login("alice").await;
    let first = alice.insert(buy("DEF", 10_000, 1)).await.order_id;
    // More than one turn of the sequencer looks at.
    let many = (0..9_000).map(|request_id| v1::OrderEntryRequest {
        request_id,
        command: Some(v1::order_entry_request::Command::Insert(buy("ABC", 10_000, 1))),
    });
    let answers = alice.execution.order_entry(tokio_stream::iter(many)).await;
    let mut answers = answers.expect("a trader").into_inner();
    while answers.message().await.expect("no error").is_some() {}
    let last = alice.insert(buy("DEF", 10_000, 1)).await.order_id;
    let request = v1::ListOrdersRequest {
        symbol: "DEF".to_owned(),
        ..Default::default()
    };
    assert_eq!(ids(&list(&alice, request).await), [first, last]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_by_id_open_or_not() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let bob = venue.login("bob").await;
    let mut insert = buy("ABC", 10_000, 3);
    insert.client_order_id = "mine".to_owned();
    insert.post_only = true;
    let inserted = alice.insert(insert).await;
    let by_id = |order_id| v1::ListOrdersRequest {
        order_id,
        ..Default::default()
    };
    let by_client_id = |id: &str| v1::ListOrdersRequest {
        client_order_id: id.to_owned(),
        ..Default::default()
    };
    let open = list(&alice, by_id(inserted.order_id)).await;
    assert_eq!(open, list(&alice, by_client_id("mine")).await);
    assert_eq!(
        open.orders,
        [v1::Order {
            order_id: inserted.order_id,
            client_order_id: "mine".to_owned(),
            symbol: "ABC".to_owned(),
            side: v1::Side::Buy.into(),
            price_e4: 10_000,
            quantity: 3,
            filled_quantity: 0,
            status: v1::OrderStatus::Open.into(),
            created_unix_ns: inserted.time_unix_ns,
            r#type: v1::OrderType::Limit.into(),
            time_in_force: v1::TimeInForce::GoodTillCancelled.into(),
            post_only: true,
            self_trade_prevention: v1::SelfTradePrevention::CancelIncoming.into(),
            cancel_reason: v1::CancelReason::Unspecified.into(),
            event_seq: inserted.event_seq,
        }]
    );
    bob.clone().insert(sell("ABC", 10_000, 1)).await;
    assert_eq!(cancel_id(inserted.order_id).said(&alice).await, "ok");
    let done = list(&alice, by_id(inserted.order_id)).await;
    assert_eq!(done, list(&alice, by_client_id("mine")).await);
    let order = &done.orders[0];
    assert_eq!(order.status(), v1::OrderStatus::Cancelled);
    assert_eq!(order.cancel_reason(), v1::CancelReason::User);
    assert_eq!((order.quantity, order.filled_quantity), (3, 1));
    assert_eq!(order.event_seq, venue.disk.durable());
    // Nobody else's, none unknown, and only what fits the rest of the request.
    let both = |symbol: &str, client_order_id: &str| v1::ListOrdersRequest {
        order_id: inserted.order_id,
        symbol: symbol.to_owned(),
        client_order_id: client_order_id.to_owned(),
        ..Default::default()
    };
    assert_eq!(list(&alice, both("ABC", "mine")).await, done);
    assert_eq!(ids(&list(&alice, both("ABC", "other")).await), [0_u64; 0]);
    assert_eq!(ids(&list(&alice, by_client_id("other")).await), [0_u64; 0]);
    assert_eq!(ids(&list(&bob, by_id(inserted.order_id)).await), [0_u64; 0]);
    assert_eq!(ids(&list(&bob, by_client_id("mine")).await), [0_u64; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_by_symbol() {
    let venue = Venue::start().await;
    let mut root = venue.login("root").await;
    for symbol in ["ZZZ", "ABC", "MMM"] {
        root.create(symbol).await;
    }
    let mut alice = venue.login("alice").await;
    let mut bob = venue.login("bob").await;
    for symbol in ["ZZZ", "ABC"] {
        alice.insert(buy(symbol, 10_000, 5)).await;
        bob.insert(sell(symbol, 10_000, 2)).await;
    }
    bob.insert(sell("ABC", 10_100, 1)).await;
    alice.insert(buy("ABC", 10_100, 1)).await;
    let response = alice.execution.list_positions(v1::ListPositionsRequest {}).await;
    let response = response.expect("positions").into_inner();
    assert_eq!(response.event_seq, venue.disk.durable());
    let position = |symbol: &str, quantity, cash_e4, market_value_e4, open_buy_quantity| v1::Position {
        symbol: symbol.to_owned(),
        quantity,
        cash_e4,
        market_value_e4,
        open_buy_quantity,
        open_sell_quantity: 0,
    };
    assert_eq!(
        response.positions,
        [
            position("ABC", 3, -301_000, 303_000, 3),
            position("ZZZ", 2, -200_000, 200_000, 3),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_their_use() {
    let venue = Venue::start().await;
    let root = venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let of_user = v1::UserRiskLimits {
        message_rate_rolling_limit: window(1_000, 86_400),
        max_outstanding_quantity: Some(100),
        max_outstanding_amount_e4: None,
    };
    let in_abc = v1::InstrumentRiskLimits {
        order_quantity_rolling_limit: window(500, 86_400),
        max_order_quantity: Some(50),
        max_position: Some(0),
        ..Default::default()
    };
    assert_eq!(user_limits("alice", of_user).said(&root).await, "ok");
    assert_eq!(instrument_limits("alice", "ABC", in_abc).said(&root).await, "ok");
    let request = v1::GetUserRiskLimitsRequest::default();
    let found = alice
        .limits
        .get_user_risk_limits(request)
        .await
        .expect("limits")
        .into_inner();
    assert_eq!(found.limits, Some(of_user));
    let request = v1::GetInstrumentRiskLimitsRequest {
        username: "alice".to_owned(),
    };
    let found = root
        .clone()
        .limits
        .get_instrument_risk_limits(request)
        .await
        .expect("limits")
        .into_inner();
    assert_eq!(
        found.limits_by_symbol.into_iter().collect::<Vec<_>>(),
        [("ABC".to_owned(), in_abc)]
    );

    assert_eq!(
        Call::Insert(buy("ABC", 10_000, 1)).said(&alice).await,
        expect_position()
    );
    let lifted = v1::InstrumentRiskLimits {
        max_position: None,
        ..in_abc
    };
    assert_eq!(instrument_limits("alice", "ABC", lifted).said(&root).await, "ok");
    alice.insert(buy("ABC", 10_000, 7)).await;
    let usage = alice.limits.get_risk_usage(v1::GetRiskUsageRequest::default()).await;
    let usage = usage.expect("usage").into_inner();
    assert_eq!(usage.event_seq, venue.disk.durable());
    let lines: Vec<String> = usage
        .usages
        .iter()
        .map(|usage| {
            format!(
                "{:3} {} {} {:?}",
                usage.symbol, usage.limit_name, usage.current, usage.limit
            )
        })
        .collect();
    expect![[r#"
            max_outstanding_amount_e4 700000 None
            max_outstanding_quantity 7 Some(100)
            message_rate_rolling_limit 1 Some(1000)
        ABC max_order_quantity 0 Some(50)
        ABC max_outstanding_amount_e4 700000 None
        ABC max_outstanding_quantity 7 None
        ABC order_quantity_rolling_limit 7 Some(500)"#]]
    .assert_eq(&lines.join("\n"));
    // Lifting all of them leaves what is outstanding.
    assert_eq!(
        user_limits("alice", v1::UserRiskLimits::default()).said(&root).await,
        "ok"
    );
    let request = v1::GetUserRiskLimitsRequest::default();
    let found = alice
        .limits
        .get_user_risk_limits(request)
        .await
        .expect("limits")
        .into_inner();
    assert_eq!(found.limits, Some(v1::UserRiskLimits::default()));
}

fn expect_position() -> &'static str {
    r#"FailedPrecondition RISK_LIMIT {"attempted": "1", "current": "0", "limit": "0", "limit_name": "max_position", "symbol": "ABC"}"#
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_says_what_it_did() {
    let venue = Venue::start().await;
    let mut root = venue.login("root").await;
    let mut request = instrument("ABC");
    request.client_request_id = "once".to_owned();
    request.set_initial_phase(TradingPhase::Auction);
    let created = root
        .admin
        .create_instrument(request.clone())
        .await
        .expect("new")
        .into_inner();
    let listed = created.instrument.clone().expect("an instrument");
    assert_eq!(
        (listed.symbol.as_str(), listed.order_book_id, listed.phase()),
        ("ABC", 1, TradingPhase::Auction)
    );
    assert_eq!(
        (listed.multiplier, listed.tick_size_e4, listed.currency.as_str()),
        (10, 100, "EUR")
    );
    assert_eq!(created.event_seq, venue.disk.durable());

    let mut alice = venue.login("alice").await;
    let mut bob = venue.login("bob").await;
    for _ in 0..1_100 {
        alice.insert(buy("ABC", 10_000, 1)).await;
        bob.insert(sell("ABC", 10_000, 1)).await;
    }
    let opened = root.phase("ABC", TradingPhase::Continuous).await;
    assert_eq!((opened.trade_count, opened.trades.len()), (1_100, 1_000));
    let trade_ids: Vec<u64> = opened.trades.iter().map(|trade| trade.trade_id).collect();
    assert_eq!(trade_ids, (1..=1_000).collect::<Vec<_>>());
    let first = &opened.trades[0];
    assert_eq!(
        (first.symbol.as_str(), first.price_e4, first.quantity),
        ("ABC", 10_000, 1)
    );
    assert_eq!(
        (first.aggressor_side(), first.event_seq),
        (v1::Side::Unspecified, opened.event_seq)
    );
    assert_eq!(
        root.phase("ABC", TradingPhase::Continuous).await.event_seq,
        opened.event_seq + 1
    );

    // The retry answers as the first time, whatever happened since.
    let again = root
        .admin
        .create_instrument(request)
        .await
        .expect("a retry")
        .into_inner();
    assert_eq!(again, created);
    assert_eq!(venue.disk.durable(), opened.event_seq + 1, "nothing happened");

    for _ in 0..3 {
        alice.insert(buy("ABC", 9_000, 1)).await;
    }
    let request = v1::SuspendUserRequest {
        username: "alice".to_owned(),
        comment: String::new(),
    };
    let suspended = root.admin.suspend_user(request).await.expect("a user").into_inner();
    assert_eq!(suspended.cancelled_orders, 3);
    assert_eq!(
        cancel_all("", 0).said(&alice).await,
        "ok",
        "a suspended user may cancel"
    );
    assert_eq!(suspend("alice", "again").said(&root).await, "ok");
    let request = v1::ResumeUserRequest {
        username: "alice".to_owned(),
    };
    let resumed = root.admin.resume_user(request).await.expect("a user").into_inner();
    assert_eq!(resumed.event_seq, venue.disk.durable());
    alice.insert(buy("ABC", 9_000, 1)).await;
    assert_eq!(phase("ABC", TradingPhase::Closed).said(&root).await, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_all_names_the_lowest_thousand() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let mut inserted = BTreeMap::new();
    for number in 0..1_005 {
        let mut insert = buy("ABC", 10_000 - 100 * (number % 50), 1);
        if number % 2 == 1 {
            insert = sell("ABC", 20_000 + 100 * (number % 50), 1);
        }
        let side = insert.side();
        inserted.insert(alice.insert(insert).await.order_id, side);
    }
    let request = v1::CancelAllOrdersRequest {
        symbol: "ABC".to_owned(),
        side: v1::Side::Sell.into(),
    };
    let sells = alice
        .execution
        .cancel_all_orders(request)
        .await
        .expect("an event")
        .into_inner();
    let of_side = |side| inserted.iter().filter(move |(_, its)| **its == side).map(|(id, _)| *id);
    assert_eq!(sells.order_ids, of_side(v1::Side::Sell).collect::<Vec<_>>());
    assert_eq!(sells.cancelled_orders, 502);
    for number in 0..502 {
        alice.insert(sell("ABC", 20_000 + 100 * number, 1)).await;
    }
    let all = v1::CancelAllOrdersRequest::default();
    let rest = alice
        .execution
        .cancel_all_orders(all.clone())
        .await
        .expect("an event")
        .into_inner();
    assert_eq!((rest.cancelled_orders, rest.order_ids.len()), (1_005, 1_000));
    assert!(rest.order_ids.is_sorted());
    assert_eq!(rest.order_ids[..503], of_side(v1::Side::Buy).collect::<Vec<_>>());
    let nothing = alice
        .execution
        .cancel_all_orders(all)
        .await
        .expect("an event")
        .into_inner();
    assert_eq!((nothing.cancelled_orders, nothing.event_seq), (0, rest.event_seq + 1));
}
