//! Every rpc answers what the contract says.

use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::subscribe_execution_reports_response::Event as ReportEvent;
use optivex_proto::v1::subscribe_instruments_response::Event as InstrumentEvent;
use optivex_proto::v1::subscribe_order_books_response::Event as BookEvent;
use optivex_proto::v1::{
    self, BookView, CancelReason, ExecutionKind, OrderStatus, OrderType, Role, SelfTradePrevention, Side, TimeInForce,
    TradingPhase,
};

use crate::call::window;
use crate::venue::{Client, Venue, buy, credentials, end, next, sell};

pub(crate) async fn every_rpc_does_what_it_says() {
    let venue = Venue::start([]);
    let mut admin = sessions(&venue).await;
    let listed = list_an_instrument(&mut admin).await;
    let (mut alice, mut bob) = (venue.login("alice").await, venue.login("bob").await);
    trade(&mut alice, &mut bob, listed).await;
    on_one_stream(&mut alice).await;
    phases(&mut admin, &mut alice, &mut bob).await;
    limits(&mut admin, &mut alice).await;
    suspension(&mut admin, &mut alice).await;
    logout(&venue).await;
    venue.exchange.stop();
}

async fn sessions(venue: &Venue) -> Client {
    let mut nobody = venue.anonymous().await;
    let login = nobody
        .auth
        .login(credentials("bob", "bob"))
        .await
        .expect("a known user");
    let login = login.into_inner();
    assert_eq!(login.roles, [i32::from(Role::Viewer), i32::from(Role::Trader)]);
    assert!(login.token.len() >= 43, "256 random bits");
    assert!(login.expires_unix_ns > 1_700_000_000_000_000_000);
    venue.login("admin").await
}

async fn list_an_instrument(admin: &mut Client) -> u64 {
    let request = v1::CreateInstrumentRequest {
        client_request_id: "abc".to_owned(),
        ..crate::venue::instrument("ABC")
    };
    let first = admin
        .admin
        .create_instrument(request.clone())
        .await
        .expect("a new one")
        .into_inner();
    let instrument = first.instrument.clone().expect("the instrument");
    let created = v1::Instrument {
        symbol: "ABC".to_owned(),
        description: "a test".to_owned(),
        currency: "EUR".to_owned(),
        multiplier: 10,
        tick_size_e4: 100,
        phase: TradingPhase::Continuous.into(),
        ..instrument
    };
    assert_eq!(instrument, created);
    assert!(instrument.order_book_id > 0 && instrument.created_unix_ns > 0);
    let again = admin
        .admin
        .create_instrument(request)
        .await
        .expect("the same")
        .into_inner();
    assert_eq!(again, first);

    let mut stream = admin
        .info
        .subscribe_instruments(v1::SubscribeInstrumentsRequest {})
        .await
        .expect("any role");
    let stream = stream.get_mut();
    assert_eq!(
        next(stream).await.event,
        Some(InstrumentEvent::Instrument(instrument.clone()))
    );
    let complete = InstrumentEvent::SnapshotCompleteEventSeq(first.event_seq);
    assert_eq!(next(stream).await.event, Some(complete));
    admin.create("DEF").await;
    let news = loop {
        match next(stream).await.event {
            Some(InstrumentEvent::Instrument(news)) => break news,
            Some(InstrumentEvent::HeartbeatEventSeq(_)) => {}
            other => panic!("no news: {other:?}"),
        }
    };
    assert_eq!(news.symbol, "DEF");

    let page = |page_size, page_token: &str| v1::ListInstrumentsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let one = admin
        .info
        .list_instruments(page(1, ""))
        .await
        .expect("any role")
        .into_inner();
    assert_eq!(one.instruments, [instrument]);
    let two = admin
        .info
        .list_instruments(page(1, &one.next_page_token))
        .await
        .expect("a page")
        .into_inner();
    assert_eq!(
        (two.instruments[0].symbol.as_str(), two.next_page_token.as_str()),
        ("DEF", "")
    );
    first.event_seq
}

async fn trade(alice: &mut Client, bob: &mut Client, listed: u64) {
    let subscribe = |view: BookView| v1::SubscribeOrderBooksRequest {
        symbols: vec!["ABC".to_owned(), "XYZ".to_owned()],
        view: view.into(),
        ..Default::default()
    };
    let books = bob.info.subscribe_order_books(subscribe(BookView::PriceDepth)).await;
    let mut books = books.expect("any role").into_inner();
    let Some(BookEvent::Subscribed(subscribed)) = next(&mut books).await.event else {
        panic!("Subscribed comes first");
    };
    let statuses: Vec<_> = subscribed
        .statuses
        .iter()
        .map(|s| (s.symbol.as_str(), s.reason()))
        .collect();
    assert_eq!(
        statuses,
        [
            ("ABC", v1::ErrorReason::Unspecified),
            ("XYZ", v1::ErrorReason::UnknownInstrument)
        ]
    );
    let Some(BookEvent::Snapshot(snapshot)) = next(&mut books).await.event else {
        panic!("then the snapshot");
    };
    assert_eq!(
        (snapshot.book_seq, snapshot.bids, snapshot.asks, snapshot.checksum),
        (0, vec![], vec![], 0)
    );
    assert!(snapshot.event_seq >= listed);

    let tape = bob.info.subscribe_trades(v1::SubscribeTradesRequest::default()).await;
    let mut tape = tape.expect("any role").into_inner();
    assert_eq!(next(&mut tape).await, v1::SubscribeTradesResponse::default());
    let mut reports = alice.reports(Some(0), false).await;
    assert_eq!(
        next(&mut reports).await.event,
        Some(ReportEvent::SubscribedReportSeq(0))
    );

    let rests = alice.insert(sell("ABC", 10_000, 10)).await;
    assert_eq!(
        (rests.status(), rests.open_quantity, rests.filled_quantity),
        (OrderStatus::Open, 10, 0)
    );
    let mut taking = buy("ABC", 10_100, 4);
    taking.client_order_id = "b1".to_owned();
    let took = bob.insert(taking.clone()).await;
    let fills = vec![v1::Fill {
        trade_id: took.fills[0].trade_id,
        price_e4: 10_000,
        quantity: 4,
    }];
    let expected = v1::InsertOrderResponse {
        order_id: took.order_id,
        status: OrderStatus::Filled.into(),
        filled_quantity: 4,
        open_quantity: 0,
        fills: fills.clone(),
        cancel_reason: 0,
        event_seq: rests.event_seq + 1,
        time_unix_ns: took.time_unix_ns,
    };
    assert_eq!(took, expected);
    assert!(took.order_id > rests.order_id && took.time_unix_ns >= rests.time_unix_ns);
    assert_eq!(
        bob.insert(taking).await,
        expected,
        "a retry is answered as the first time"
    );

    // The update of the insert, the update of the trade; heartbeats may come between.
    let mut updates = Vec::new();
    while updates.len() < 2 {
        if let Some(BookEvent::Update(update)) = next(&mut books).await.event {
            updates.push(update);
        }
    }
    let level = |quantity| v1::PriceLevel {
        price_e4: 10_000,
        quantity,
        order_count: 1,
    };
    let trade = v1::Trade {
        trade_id: fills[0].trade_id,
        symbol: "ABC".to_owned(),
        price_e4: 10_000,
        quantity: 4,
        aggressor_side: Side::Buy.into(),
        event_seq: took.event_seq,
        time_unix_ns: took.time_unix_ns,
    };
    let update = |event_seq, book_seq, quantity, trades| v1::BookUpdate {
        symbol: "ABC".to_owned(),
        prev_book_seq: book_seq - 1,
        book_seq,
        event_seq,
        asks: vec![level(quantity)],
        trades,
        ..Default::default()
    };
    assert_eq!(updates[0], update(rests.event_seq, 1, 10, vec![]));
    assert_eq!(updates[1], update(took.event_seq, 2, 6, vec![trade.clone()]));
    let on_tape = loop {
        let batch = next(&mut tape).await;
        if !batch.trades.is_empty() {
            break batch;
        }
    };
    assert_eq!(
        (on_tape.trades, on_tape.through_trade_id),
        (vec![trade.clone()], trade.trade_id)
    );
    let past = v1::ListTradesRequest {
        symbol: "ABC".to_owned(),
        ..Default::default()
    };
    let past = bob.info.list_trades(past).await.expect("any role").into_inner();
    assert_eq!((past.trades, past.has_more), (vec![trade], false));

    let amend = v1::AmendOrderRequest {
        order: Some(v1::amend_order_request::Order::OrderId(rests.order_id)),
        price_e4: None,
        quantity: Some(9),
    };
    let amended = alice
        .execution
        .amend_order(amend)
        .await
        .expect("an open order")
        .into_inner();
    let standing = (
        amended.order_id,
        amended.status(),
        amended.filled_quantity,
        amended.open_quantity,
    );
    assert_eq!(standing, (rests.order_id, OrderStatus::Open, 4, 5));
    let top = bob.info.subscribe_order_books(subscribe(BookView::TopOfBook)).await;
    let mut top = top.expect("any role").into_inner();
    next(&mut top).await;
    let expected = v1::TopOfBook {
        symbol: "ABC".to_owned(),
        book_seq: 3,
        event_seq: amended.event_seq,
        ask: Some(level(5)),
        phase: TradingPhase::Continuous.into(),
        ..Default::default()
    };
    assert_eq!(next(&mut top).await.event, Some(BookEvent::TopOfBook(expected)));

    let whole = v1::GetOrderBookRequest {
        symbol: "ABC".to_owned(),
        depth: 0,
    };
    let book = bob
        .info
        .get_order_book(whole)
        .await
        .expect("any role")
        .into_inner()
        .book
        .expect("a book");
    let checksum = crc32fast::hash(b"10000:5:1;");
    assert_eq!((book.book_seq, book.event_seq), (3, amended.event_seq));
    assert_eq!(
        (book.bids, book.asks, book.checksum),
        (vec![], vec![level(5)], checksum)
    );

    let listed = alice
        .execution
        .list_orders(v1::ListOrdersRequest::default())
        .await
        .expect("a trader")
        .into_inner();
    let order = v1::Order {
        order_id: rests.order_id,
        client_order_id: String::new(),
        symbol: "ABC".to_owned(),
        side: Side::Sell.into(),
        price_e4: 10_000,
        quantity: 9,
        filled_quantity: 4,
        status: OrderStatus::Open.into(),
        created_unix_ns: rests.time_unix_ns,
        r#type: OrderType::Limit.into(),
        time_in_force: TimeInForce::GoodTillCancelled.into(),
        post_only: false,
        self_trade_prevention: SelfTradePrevention::CancelIncoming.into(),
        cancel_reason: 0,
        event_seq: amended.event_seq,
    };
    assert_eq!(
        (listed.orders, listed.next_page_token.as_str()),
        (vec![order.clone()], "")
    );
    for (client, quantity, cash_e4, open_sell_quantity) in [(&mut *alice, -4, 400_000, 5), (&mut *bob, 4, -400_000, 0)]
    {
        let answer = client.execution.list_positions(v1::ListPositionsRequest {}).await;
        let positions = answer.expect("a trader").into_inner();
        let expected = v1::Position {
            symbol: "ABC".to_owned(),
            quantity,
            cash_e4,
            market_value_e4: -cash_e4,
            open_buy_quantity: 0,
            open_sell_quantity,
        };
        assert_eq!(
            (positions.positions, positions.event_seq),
            (vec![expected], amended.event_seq)
        );
    }

    let cancel = v1::CancelOrderRequest {
        order: Some(v1::cancel_order_request::Order::OrderId(rests.order_id)),
    };
    let cancelled = alice
        .execution
        .cancel_order(cancel)
        .await
        .expect("an open order")
        .into_inner();
    let expected = (rests.order_id, 5, amended.event_seq + 1);
    assert_eq!(
        (cancelled.order_id, cancelled.cancelled_quantity, cancelled.event_seq),
        expected
    );
    let mut history = Vec::new();
    while history.len() < 4 {
        if let Some(ReportEvent::Report(report)) = next(&mut reports).await.event {
            history.push(report);
        }
    }
    let kinds: Vec<_> = history
        .iter()
        .map(|report| (report.report_seq, report.kind()))
        .collect();
    assert_eq!(
        kinds,
        [
            (1, ExecutionKind::Accepted),
            (2, ExecutionKind::Fill),
            (3, ExecutionKind::Amended),
            (4, ExecutionKind::Cancelled)
        ]
    );
    assert_eq!((history[1].fill, history[1].aggressor), (Some(fills[0]), false));
    assert_eq!(history[2].order, Some(order));
    assert_eq!(history[3].cancel_reason(), CancelReason::User);
    assert_eq!(
        history[3].order.as_ref().map(v1::Order::status),
        Some(OrderStatus::Cancelled)
    );
    // Silence for a second is told.
    assert_eq!(next(&mut reports).await.event, Some(ReportEvent::HeartbeatReportSeq(4)));

    let orders = [
        alice.insert(buy("ABC", 9_000, 1)).await,
        alice.insert(sell("ABC", 9_900, 2)).await,
    ];
    let buys = v1::CancelAllOrdersRequest {
        symbol: "ABC".to_owned(),
        side: Side::Buy.into(),
    };
    for (request, id) in [(buys, orders[0].order_id), (Default::default(), orders[1].order_id)] {
        let answer = alice
            .execution
            .cancel_all_orders(request)
            .await
            .expect("a trader")
            .into_inner();
        assert_eq!((answer.order_ids, answer.cancelled_orders), (vec![id], 1));
    }
}

/// Thousands in flight, answered in the order sent.
async fn on_one_stream(alice: &mut Client) {
    const ROUNDS: u64 = 1_500;
    let cancel_id = |id: &str| Some(v1::cancel_order_request::Order::ClientOrderId(id.to_owned()));
    let amend_id = |id: &str| Some(v1::amend_order_request::Order::ClientOrderId(id.to_owned()));
    let commands = (0..ROUNDS).flat_map(move |round| {
        let id = format!("in-flight-{round}");
        let mut insert = buy("ABC", 9_000, 2);
        insert.client_order_id.clone_from(&id);
        let amend = v1::AmendOrderRequest {
            order: amend_id(&id),
            quantity: Some(1),
            ..Default::default()
        };
        let cancel = v1::CancelOrderRequest { order: cancel_id(&id) };
        [
            Command::Insert(insert),
            Command::Amend(amend),
            Command::Cancel(cancel.clone()),
            Command::Cancel(cancel),
            Command::CancelAll(Default::default()),
        ]
    });
    let requests: Vec<_> = (1..)
        .zip(commands)
        .map(|(request_id, command)| v1::OrderEntryRequest {
            request_id,
            command: Some(command),
        })
        .collect();
    let answers = alice.execution.order_entry(tokio_stream::iter(requests)).await;
    let mut answers = answers.expect("a trader").into_inner();
    let mut event_seq = 0;
    for round in 0..ROUNDS {
        for step in 1..=5 {
            let answer = next(&mut answers).await;
            assert_eq!(answer.request_id, round * 5 + step);
            let seq = match (step, answer.result.expect("a result")) {
                (1, Outcome::Insert(insert)) => insert.event_seq,
                (2, Outcome::Amend(amend)) => amend.event_seq,
                (3, Outcome::Cancel(cancel)) => {
                    assert_eq!(cancel.cancelled_quantity, 1);
                    cancel.event_seq
                }
                (4, Outcome::Error(error)) => {
                    assert_eq!(error.reason(), v1::ErrorReason::OrderDone);
                    continue;
                }
                (5, Outcome::CancelAll(all)) => all.event_seq,
                (step, other) => panic!("{step}: {other:?}"),
            };
            assert!(seq > event_seq, "one order of events");
            event_seq = seq;
        }
    }
    assert_eq!(end(&mut answers).await, "ok");
}

async fn phases(admin: &mut Client, alice: &mut Client, bob: &mut Client) {
    let auction = admin.phase("ABC", TradingPhase::Auction).await;
    assert_eq!((auction.trades, auction.trade_count), (vec![], 0));
    alice.insert(buy("ABC", 10_300, 3)).await;
    bob.insert(sell("ABC", 10_100, 5)).await;
    let uncross = admin.phase("ABC", TradingPhase::Continuous).await;
    assert_eq!((uncross.trades.len(), uncross.trade_count), (1, 1));
    let trade = &uncross.trades[0];
    // 3 lots and a surplus of 2 at any of them; nearest to the last trade, which was at 10,000.
    assert_eq!((trade.price_e4, trade.quantity), (10_100, 3));
    assert_eq!(
        (trade.aggressor_side(), trade.event_seq),
        (Side::Unspecified, uncross.event_seq)
    );
    let again = admin.phase("ABC", TradingPhase::Continuous).await;
    assert_eq!((again.event_seq, again.trade_count), (uncross.event_seq + 1, 0));
    bob.execution
        .cancel_all_orders(v1::CancelAllOrdersRequest::default())
        .await
        .expect("a trader");
}

async fn limits(admin: &mut Client, alice: &mut Client) {
    let limits = v1::UserRiskLimits {
        message_rate_rolling_limit: window(1_000_000, 60),
        max_outstanding_quantity: Some(100),
        max_outstanding_amount_e4: None,
    };
    let request = v1::SetUserRiskLimitsRequest {
        username: "alice".to_owned(),
        limits: Some(limits),
    };
    let set = admin
        .limits
        .set_user_risk_limits(request)
        .await
        .expect("an administrator")
        .into_inner();
    let in_abc = v1::InstrumentRiskLimits {
        max_position: Some(50),
        ..Default::default()
    };
    let request = v1::SetInstrumentRiskLimitsRequest {
        username: "alice".to_owned(),
        symbol: "ABC".to_owned(),
        limits: Some(in_abc),
    };
    let set_in_abc = admin
        .limits
        .set_instrument_risk_limits(request)
        .await
        .expect("an administrator");
    assert_eq!(set_in_abc.into_inner().event_seq, set.event_seq + 1);
    for (client, username) in [(&mut *alice, ""), (&mut *admin, "alice")] {
        let request = v1::GetUserRiskLimitsRequest {
            username: username.to_owned(),
        };
        let got = client
            .limits
            .get_user_risk_limits(request)
            .await
            .expect("may read")
            .into_inner();
        assert_eq!(got.limits, Some(limits));
        let request = v1::GetInstrumentRiskLimitsRequest {
            username: username.to_owned(),
        };
        let got = client
            .limits
            .get_instrument_risk_limits(request)
            .await
            .expect("may read")
            .into_inner();
        assert_eq!(got.limits_by_symbol, [("ABC".to_owned(), in_abc)].into());
    }
    alice.insert(buy("ABC", 9_000, 7)).await;
    let request = v1::GetRiskUsageRequest::default();
    let usage = alice
        .limits
        .get_risk_usage(request)
        .await
        .expect("a trader")
        .into_inner();
    let usages: Vec<_> = usage
        .usages
        .iter()
        .map(|usage| {
            (
                usage.symbol.as_str(),
                usage.limit_name.as_str(),
                usage.current,
                usage.limit,
            )
        })
        .collect();
    assert_eq!(
        usages,
        [
            ("", "max_outstanding_amount_e4", 630_000, None),
            ("", "max_outstanding_quantity", 7, Some(100)),
            ("", "message_rate_rolling_limit", 1, Some(1_000_000)),
            ("ABC", "max_outstanding_amount_e4", 630_000, None),
            ("ABC", "max_outstanding_quantity", 7, None),
            // Short 4, long 3 since the auction, 7 more to buy.
            ("ABC", "max_position", 6, Some(50)),
        ]
    );
    assert_eq!(usage.event_seq, set.event_seq + 2);
}

async fn suspension(admin: &mut Client, alice: &mut Client) {
    let request = v1::SuspendUserRequest {
        username: "alice".to_owned(),
        comment: "lunch".to_owned(),
    };
    let suspended = admin
        .admin
        .suspend_user(request)
        .await
        .expect("an administrator")
        .into_inner();
    assert_eq!(suspended.cancelled_orders, 1);
    assert!(alice.open_orders().await.is_empty());
    let request = v1::ResumeUserRequest {
        username: "alice".to_owned(),
    };
    let resumed = admin
        .admin
        .resume_user(request)
        .await
        .expect("an administrator")
        .into_inner();
    assert_eq!(resumed.event_seq, suspended.event_seq + 1);
    alice.insert(buy("ABC", 9_000, 1)).await;
}

async fn logout(venue: &Venue) {
    let mut alice = venue.login("alice").await;
    let mut other_session = venue.login("alice").await;
    let mut reports = alice.reports(None, true).await;
    next(&mut reports).await;
    alice.auth.logout(v1::LogoutRequest {}).await.expect("a session");
    assert_eq!(end(&mut reports).await, "Unauthenticated INVALID_TOKEN {}");
    other_session.open_orders().await;
}
