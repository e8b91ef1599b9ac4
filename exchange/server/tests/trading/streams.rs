//! `OrderEntry` and execution reports.

use std::time::Duration;

use expect_test::expect;
use optivex_proto::v1;
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::subscribe_execution_reports_response::Event;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::call::{Call, cancel_all};
use crate::venue::{Client, Venue, buy, sell, told, told_by_entry};

/// Long enough for a machine that does ten other things; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of orders: what goes in, and what comes out.
async fn order_entry(client: &Client) -> (mpsc::Sender<v1::OrderEntryRequest>, Streaming<v1::OrderEntryResponse>) {
    let (sender, receiver) = mpsc::channel(16);
    let answers = client
        .clone()
        .execution
        .order_entry(ReceiverStream::new(receiver))
        .await;
    (sender, answers.expect("a trader").into_inner())
}

fn request(request_id: u64, command: Command) -> v1::OrderEntryRequest {
    v1::OrderEntryRequest {
        request_id,
        command: Some(command),
    }
}

fn cancel(order_id: u64) -> Command {
    Command::Cancel(v1::CancelOrderRequest {
        order: Some(v1::cancel_order_request::Order::OrderId(order_id)),
    })
}

async fn subscribe(
    client: &Client,
    after_report_seq: Option<u64>,
    cancel_on_disconnect: bool,
) -> Streaming<v1::SubscribeExecutionReportsResponse> {
    let request = v1::SubscribeExecutionReportsRequest {
        after_report_seq,
        cancel_on_disconnect,
    };
    let stream = client.clone().execution.subscribe_execution_reports(request).await;
    stream.expect("a point that is kept").into_inner()
}

async fn next(stream: &mut Streaming<v1::SubscribeExecutionReportsResponse>) -> Event {
    let message = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("a message in time");
    message
        .expect("no error")
        .expect("not the end")
        .event
        .expect("an event")
}

/// The next report; heartbeats are passed over.
async fn next_report(stream: &mut Streaming<v1::SubscribeExecutionReportsResponse>) -> v1::ExecutionReport {
    loop {
        match next(stream).await {
            Event::Report(report) => return report,
            Event::HeartbeatReportSeq(_) => {}
            Event::SubscribedReportSeq(_) => panic!("subscribed twice"),
        }
    }
}

/// Waits for the end of a stream with an error, and says which.
async fn end<T>(stream: &mut Streaming<T>) -> String {
    let end = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended with OK"),
                Err(status) => return told(&status),
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("an end in time")
}

async fn open_orders(client: &Client) -> Vec<u64> {
    let request = v1::ListOrdersRequest::default();
    let response = client
        .clone()
        .execution
        .list_orders(request)
        .await
        .expect("a page")
        .into_inner();
    response.orders.iter().map(|order| order.order_id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_in_flight_answered_in_order() {
    const COUNT: u64 = 20_000;
    let venue = Venue::start().await;
    venue.list_abc().await;
    let alice = venue.login("alice").await;
    let (sender, mut answers) = order_entry(&alice).await;
    let writer = tokio::spawn(async move {
        for id in 0..COUNT {
            // Accepted, malformed and refused ones take different ways, and keep their places.
            let command = match id % 4 {
                0 => Command::Insert(buy("ABC", 10_000, 1)),
                1 => Command::Insert(buy("ABC", 10_000, 0)),
                2 => cancel(999_999_999),
                _ => Command::CancelAll(v1::CancelAllOrdersRequest::default()),
            };
            sender.send(request(id, command)).await.expect("an open stream");
        }
    });
    let mut last_event_seq = 0;
    for id in 0..COUNT {
        let answer = answers.message().await.expect("no error").expect("not the end");
        assert_eq!(answer.request_id, id);
        let event_seq = match (id % 4, answer.result.expect("a result")) {
            (0, Outcome::Insert(insert)) => insert.event_seq,
            (1, Outcome::Error(error)) => {
                assert_eq!(error.reason(), v1::ErrorReason::InvalidField);
                continue;
            }
            (2, Outcome::Error(error)) => {
                assert_eq!(error.reason(), v1::ErrorReason::UnknownOrder);
                continue;
            }
            (3, Outcome::CancelAll(cancelled)) => {
                assert_eq!(cancelled.cancelled_orders, 1);
                cancelled.event_seq
            }
            other => panic!("{other:?}"),
        };
        assert!(event_seq > last_event_seq);
        assert!(event_seq <= venue.disk.durable());
        last_event_seq = event_seq;
    }
    writer.await.expect("no panic");
    assert!(
        answers.message().await.expect("OK").is_none(),
        "half-closed, answered, ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_up_nobody() {
    const WINDOW: u64 = 8_192;
    /// More than the window and all buffers on the way hold, at over 100 bytes for each request and
    /// answer.
    const COUNT: u64 = WINDOW + 80_000;
    let venue = Venue::start().await;
    venue.list_abc().await;
    let alice = venue.login("alice").await;
    let bob = venue.login("bob").await;
    let (sender, mut answers) = order_entry(&alice).await;
    let before = venue.disk.durable();
    let writer = tokio::spawn(async move {
        for id in 0..COUNT {
            let mut all = v1::CancelAllOrdersRequest::default();
            if id >= WINDOW {
                all.symbol = "X".repeat(100);
            }
            sender
                .send(request(id, Command::CancelAll(all)))
                .await
                .expect("an open stream");
        }
    });
    let (told, full) = tokio::sync::oneshot::channel();
    let disk = venue.disk.clone();
    // Not a thread of the runtime: a failed test must not wait for it.
    std::thread::spawn(move || {
        disk.wait_for_durable(before + WINDOW);
        told.send(())
    });
    tokio::time::timeout(PATIENCE, full)
        .await
        .expect("thousands in flight")
        .expect("told");
    // Others trade on, and so does the same connection.
    let mut bob = bob;
    let others = async {
        for _ in 0..200 {
            bob.insert(buy("ABC", 10_000, 1)).await;
            alice.clone().insert(buy("ABC", 10_000, 1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, others)
        .await
        .expect("answers for others");
    assert!(!writer.is_finished(), "the client was told to wait");
    for id in 0..COUNT {
        let answer = answers.message().await.expect("no error").expect("not the end");
        assert_eq!(answer.request_id, id);
    }
    assert!(answers.message().await.expect("OK").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_entry_says_what_is_wrong() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let alice = venue.login("alice").await;
    let (sender, mut answers) = order_entry(&alice).await;
    let nothing = v1::OrderEntryRequest {
        request_id: 5,
        command: None,
    };
    sender.send(nothing).await.expect("an open stream");
    let mut insert = buy("ABC", 10_000, 5);
    insert.client_order_id = "mine".to_owned();
    sender
        .send(request(6, Command::Insert(insert.clone())))
        .await
        .expect("an open stream");
    sender
        .send(request(7, Command::Insert(insert)))
        .await
        .expect("an open stream");
    let first = answers.message().await.expect("no error").expect("an answer");
    let Some(Outcome::Error(error)) = &first.result else {
        panic!("{first:?}")
    };
    assert_eq!(
        told_by_entry(error),
        r#"InvalidArgument INVALID_FIELD {"field": "command"}"#
    );
    let second = answers.message().await.expect("no error").expect("an answer");
    let third = answers.message().await.expect("no error").expect("an answer");
    assert_eq!(second.result, third.result, "a retry answers as the first time");
    let Some(Outcome::Insert(inserted)) = second.result else {
        panic!("{second:?}")
    };
    // Done, then asked for again, in one breath: history answers in its place.
    for (id, command) in [
        (8, cancel(inserted.order_id)),
        (9, cancel(inserted.order_id)),
        (10, Command::Insert(buy("ABC", 10_000, 1))),
    ] {
        sender.send(request(id, command)).await.expect("an open stream");
    }
    let mut said = Vec::new();
    for _ in 8..=10 {
        let answer = answers.message().await.expect("no error").expect("an answer");
        said.push(match answer.result.expect("a result") {
            Outcome::Error(error) => format!("{}: {}", answer.request_id, told_by_entry(&error)),
            _ => format!("{}: ok", answer.request_id),
        });
    }
    assert_eq!(said, ["8: ok", "9: FailedPrecondition ORDER_DONE {}", "10: ok"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retried_insert_answers_as_the_first_time() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let mut bob = venue.login("bob").await;
    for price_e4 in [10_000, 10_100, 10_300] {
        bob.insert(sell("ABC", price_e4, 2)).await;
    }
    // Her own order in the way, so that the reports of the event are of two orders.
    alice.insert(sell("ABC", 10_200, 1)).await;
    let cases = [
        ("rests", 9_000, 1, v1::TimeInForce::GoodTillCancelled),
        ("fills and rests", 10_100, 5, v1::TimeInForce::GoodTillCancelled),
        ("resting is cancelled", 10_200, 1, v1::TimeInForce::GoodTillCancelled),
        ("remainder dies", 10_300, 9, v1::TimeInForce::ImmediateOrCancel),
        ("finds nothing", 9_000, 9, v1::TimeInForce::ImmediateOrCancel),
    ];
    let mut answers = Vec::new();
    for (id, price_e4, quantity, tif) in cases {
        let mut insert = buy("ABC", price_e4, quantity);
        insert.client_order_id = id.to_owned();
        insert.set_time_in_force(tif);
        insert.set_self_trade_prevention(v1::SelfTradePrevention::CancelResting);
        answers.push((insert.clone(), alice.insert(insert).await));
    }
    // What happened to the orders since does not change the first answers.
    assert_eq!(cancel_all("", 0).said(&alice).await, "ok");
    let before = venue.disk.durable();
    for (mut insert, first) in answers {
        assert_eq!(alice.insert(insert.clone()).await, first, "{}", insert.client_order_id);
        // Defaults are filled in before comparing.
        if insert.time_in_force() == v1::TimeInForce::GoodTillCancelled {
            insert.time_in_force = 0;
        }
        insert.set_type(v1::OrderType::Limit);
        assert_eq!(alice.insert(insert).await, first);
    }
    assert_eq!(venue.disk.durable(), before, "nothing was inserted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_from_any_point_on() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let mut bob = venue.login("bob").await;
    let mut live = subscribe(&alice, None, false).await;
    assert_eq!(next(&mut live).await, Event::SubscribedReportSeq(0));

    let mut resting = buy("ABC", 10_000, 10);
    resting.client_order_id = "mine".to_owned();
    let resting = alice.insert(resting).await;
    let incoming = bob.insert(sell("ABC", 10_000, 4)).await;
    let amended = crate::call::amend_id(resting.order_id, None, Some(8))
        .said(&alice)
        .await;
    assert_eq!(amended, "ok");
    assert_eq!(cancel_all("", 0).said(&alice).await, "ok");

    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(next_report(&mut live).await);
    }
    let said: Vec<String> = seen
        .iter()
        .map(|report| {
            let order = report.order.as_ref().expect("an order");
            format!(
                "{} {} {} filled {} of {} {} {} {:?}",
                report.report_seq,
                report.kind().as_str_name(),
                order.client_order_id,
                order.filled_quantity,
                order.quantity,
                order.status().as_str_name(),
                report.cancel_reason().as_str_name(),
                report.fill.map(|fill| (fill.trade_id, fill.quantity)),
            )
        })
        .collect();
    expect![[r#"
        1 EXECUTION_KIND_ACCEPTED mine filled 0 of 10 ORDER_STATUS_OPEN CANCEL_REASON_UNSPECIFIED None
        2 EXECUTION_KIND_FILL mine filled 4 of 10 ORDER_STATUS_OPEN CANCEL_REASON_UNSPECIFIED Some((1, 4))
        3 EXECUTION_KIND_AMENDED mine filled 4 of 8 ORDER_STATUS_OPEN CANCEL_REASON_UNSPECIFIED None
        4 EXECUTION_KIND_CANCELLED mine filled 4 of 8 ORDER_STATUS_CANCELLED CANCEL_REASON_USER None"#]]
    .assert_eq(&said.join("\n"));
    assert_eq!(seen[0].event_seq, resting.event_seq);
    assert_eq!(seen[1].event_seq, incoming.event_seq);
    // Idle: it says so, and up to where.
    assert_eq!(next(&mut live).await, Event::HeartbeatReportSeq(4));

    for after in 0..=4 {
        let mut again = subscribe(&alice, Some(after), false).await;
        assert_eq!(next(&mut again).await, Event::SubscribedReportSeq(4));
        for expected in &seen[usize::try_from(after).expect("small")..] {
            assert_eq!(next_report(&mut again).await, *expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_news_meet_without_a_gap() {
    const COUNT: u64 = 3_000;
    let venue = Venue::start().await;
    venue.list_abc().await;
    let alice = venue.login("alice").await;
    let (sender, mut answers) = order_entry(&alice).await;
    let writer = tokio::spawn(async move {
        for id in 0..COUNT / 2 {
            let insert = Command::Insert(buy("ABC", 10_000, 1));
            sender.send(request(id, insert)).await.expect("an open stream");
            let cancel = Command::CancelAll(v1::CancelAllOrdersRequest::default());
            sender.send(request(id, cancel)).await.expect("an open stream");
        }
        while answers.message().await.expect("no error").is_some() {
            // Read to the end of what was sent.
            if answers.message().await.expect("no error").is_none() {
                break;
            }
        }
    });
    // Subscribed in the middle of it, over and over.
    for _ in 0..20 {
        let mut reports = subscribe(&alice, Some(0), false).await;
        assert!(matches!(next(&mut reports).await, Event::SubscribedReportSeq(_)));
        for report_seq in 1..=300 {
            assert_eq!(next_report(&mut reports).await.report_seq, report_seq);
        }
    }
    let mut reports = subscribe(&alice, Some(0), false).await;
    assert!(matches!(next(&mut reports).await, Event::SubscribedReportSeq(_)));
    for report_seq in 1..=COUNT {
        assert_eq!(next_report(&mut reports).await.report_seq, report_seq);
    }
    writer.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_cancels_what_it_guarded() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let before = alice.insert(buy("ABC", 9_000, 1)).await.order_id;
    let unguarded = subscribe(&alice, None, false).await;
    let mut guarded = subscribe(&venue.login("alice").await, None, true).await;
    assert!(matches!(next(&mut guarded).await, Event::SubscribedReportSeq(1)));
    alice.insert(buy("ABC", 9_100, 1)).await;
    // Over any session.
    let other = venue.login("alice").await.insert(buy("ABC", 9_200, 1)).await;
    let mut watcher = subscribe(&venue.login("alice").await, None, false).await;
    assert!(matches!(next(&mut watcher).await, Event::SubscribedReportSeq(3)));

    drop(unguarded);
    drop(guarded);
    for _ in 0..2 {
        let report = next_report(&mut watcher).await;
        assert_eq!(report.cancel_reason(), v1::CancelReason::Disconnect);
    }
    assert_eq!(open_orders(&alice).await, [before]);
    let request = v1::ListOrdersRequest {
        order_id: other.order_id,
        ..Default::default()
    };
    let listed = alice
        .execution
        .list_orders(request)
        .await
        .expect("a page")
        .into_inner()
        .orders;
    assert_eq!(listed[0].cancel_reason(), v1::CancelReason::Disconnect);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_ends_streams_and_keeps_orders() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let mut reports = subscribe(&alice, None, true).await;
    assert!(matches!(next(&mut reports).await, Event::SubscribedReportSeq(0)));
    let (_sender, mut entry) = order_entry(&alice).await;
    let order = alice.insert(buy("ABC", 9_000, 1)).await.order_id;
    alice.auth.logout(v1::LogoutRequest {}).await.expect("a session");
    assert_eq!(end(&mut reports).await, "Unauthenticated INVALID_TOKEN {}");
    assert_eq!(end(&mut entry).await, "Unauthenticated INVALID_TOKEN {}");
    let refused = Call::ListPositions.said(&alice).await;
    assert_eq!(refused, "Unauthenticated INVALID_TOKEN {}");
    drop(reports);
    let again = venue.login("alice").await;
    assert_eq!(open_orders(&again).await, [order]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_streams_and_keeps_orders() {
    let mut venue = Venue::start().await;
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let mut reports = subscribe(&alice, None, true).await;
    assert!(matches!(next(&mut reports).await, Event::SubscribedReportSeq(0)));
    let (sender, mut entry) = order_entry(&alice).await;
    alice.insert(buy("ABC", 9_000, 1)).await;
    venue.disk.hold();
    let attempts = venue.disk.attempts();
    let insert = Command::Insert(buy("ABC", 9_100, 1));
    sender.send(request(1, insert)).await.expect("an open stream");
    venue.disk.wait_for_attempts(attempts + 1);
    let shutdown = tokio::spawn(venue.take_running().shutdown(PATIENCE));
    assert_eq!(end(&mut reports).await, "Unavailable NOT_READY {}");
    drop(reports);
    venue.disk.release();
    let answer = entry
        .message()
        .await
        .expect("no error")
        .expect("what was in flight is answered");
    assert!(matches!(answer.result, Some(Outcome::Insert(_))), "{answer:?}");
    assert_eq!(end(&mut entry).await, "Unavailable NOT_READY {}");
    shutdown.await.expect("no panic").expect("a clean end");
    let commands: Vec<_> = venue.disk.inputs().into_iter().map(|input| input.command).collect();
    let is_disconnect =
        |command: &optivex_engine::Command| matches!(command, optivex_engine::Command::CancelOnDisconnect { .. });
    assert!(!commands.iter().any(is_disconnect));
}
