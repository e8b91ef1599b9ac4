//! What was acknowledged is there again, whatever ended the process; and a process that was not let run for a
//! while goes on.

#[allow(unreachable_pub)] // A module of tests.
mod process;

use std::collections::BTreeMap;

use futures_util::stream;
use optivex_proto::v1::cancel_order_request;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Entry;
use optivex_proto::v1::{
    CancelOrderRequest, InsertOrderRequest, ListOrdersRequest, Order, OrderEntryRequest, OrderStatus, Side,
};
use process::{Exchange, Place, Token, login};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Commands on their way at a time.
const IN_FLIGHT: usize = 256;
/// Answers before the process is ended.
const ANSWERS: usize = 3_000;

fn demo(place: &Place) -> Exchange {
    let args = ["serve", "--demo", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    // Snapshots while it runs, too.
    Exchange::start(place.optivex(args).args(["--snapshot-every", "1000"]))
}

fn insert(number: usize) -> OrderEntryRequest {
    OrderEntryRequest {
        request_id: number as u64,
        command: Some(Command::Insert(InsertOrderRequest {
            symbol: "DEMO".to_owned(),
            side: Side::Buy.into(),
            price_e4: 100 * (1 + number as i64 % 50),
            quantity: 1,
            client_order_id: format!("n{number}"),
            ..InsertOrderRequest::default()
        })),
    }
}

fn cancel(request_id: u64) -> OrderEntryRequest {
    OrderEntryRequest {
        request_id,
        command: Some(Command::Cancel(CancelOrderRequest {
            order: Some(cancel_order_request::Order::OrderId(1)),
        })),
    }
}

async fn open_orders(channel: &Channel, token: &Token) -> Vec<Order> {
    let mut client = ExecutionServiceClient::new(channel.clone());
    let mut orders = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListOrdersRequest {
            page_token,
            ..ListOrdersRequest::default()
        };
        let page = client.list_orders(token.with(request)).await.unwrap().into_inner();
        orders.extend(page.orders);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return orders;
        }
    }
}

async fn ends_under_load(signal: Signal) {
    let place = Place::new();
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut sent = 0;
    for round in 1..=2 {
        let exchange = demo(&place);
        let channel = exchange.connect().await;
        let alice = login(&channel, "alice").await;
        let (commands, requests) = mpsc::channel(IN_FLIGHT);
        let mut answers = ExecutionServiceClient::new(channel)
            .order_entry(alice.with(ReceiverStream::new(requests)))
            .await
            .unwrap()
            .into_inner();
        let first = sent;
        for _ in 0..IN_FLIGHT {
            commands.send(insert(sent)).await.unwrap();
            sent += 1;
        }
        let mut answered = 0;
        // In the order of the commands, until the stream breaks off or says why it ends.
        while let Ok(Some(answer)) = answers.message().await {
            assert_eq!(answer.request_id, (first + answered) as u64);
            match answer.result {
                Some(Entry::Insert(inserted)) => {
                    assert_eq!(inserted.status(), OrderStatus::Open);
                    acknowledged.insert(format!("n{}", answer.request_id), inserted.order_id);
                }
                Some(Entry::Error(error)) => assert_eq!(error.reason().as_str_name(), "ERROR_REASON_NOT_READY"),
                other => panic!("{other:?}"),
            }
            answered += 1;
            if answered == ANSWERS {
                exchange.signal(signal);
            }
            // A broken stream shows on the way back, too.
            if commands.send(insert(sent)).await.is_ok() {
                sent += 1;
            }
        }
        assert!(answered >= ANSWERS, "{answered}");
        let (status, log) = exchange.ended();
        assert_eq!(status.code(), (signal == Signal::TERM).then_some(0), "{log}");

        let again = demo(&place);
        let channel = again.connect().await;
        let alice = login(&channel, "alice").await;
        let mut kept: BTreeMap<String, u64> = BTreeMap::new();
        for order in open_orders(&channel, &alice).await {
            let twice = kept.insert(order.client_order_id, order.order_id);
            assert_eq!(twice, None, "an order stands twice");
        }
        for (id, order_id) in &acknowledged {
            assert_eq!(
                kept.get(id),
                Some(order_id),
                "acknowledged order {id} after round {round}"
            );
        }
        // Also what was taken and not yet acknowledged stays from now on.
        acknowledged = kept;
        drop(channel);
        again.stop();
    }
    let output = place.optivex(["journal", "verify", "data"]).output().unwrap();
    assert!(output.status.success(), "{}", process::stderr(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sigterm_under_load_loses_nothing() {
    ends_under_load(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sigkill_under_load_loses_nothing() {
    ends_under_load(Signal::KILL).await;
}

/// Commands that came one by one while the machine was busy lie in the socket all at once. However small they
/// are, that is no flood.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_burst_of_single_commands_is_answered() {
    // At 13 bytes or fewer, they fit into the window of a stream.
    const COMMANDS: u64 = 4_000;
    let place = Place::new();
    let exchange = demo(&place);
    let channel = exchange.connect().await;
    let alice = login(&channel, "alice").await;
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let (all, sent) = tokio::sync::oneshot::channel::<()>();
    // A pause after each: a DATA frame of its own.
    let requests = stream::unfold((0, Some(gone), Some(all)), |(request_id, gone, all)| async move {
        match gone {
            Some(gone) => gone.await.unwrap(),
            None => tokio::task::yield_now().await,
        }
        if request_id == COMMANDS {
            all.map(|all| all.send(()));
            return None;
        }
        Some((cancel(request_id), (request_id + 1, None, all)))
    });
    let mut answers = ExecutionServiceClient::new(channel)
        .order_entry(alice.with(requests))
        .await
        .unwrap()
        .into_inner();
    exchange.signal(Signal::STOP);
    go.send(()).unwrap();
    sent.await.unwrap();
    exchange.signal(Signal::CONT);
    for request_id in 0..COMMANDS {
        let answer = answers.message().await.unwrap().expect("not the end");
        assert_eq!(answer.request_id, request_id);
    }
    assert!(
        answers.message().await.unwrap().is_none(),
        "half-closed, answered, ended"
    );
    exchange.stop();
}
