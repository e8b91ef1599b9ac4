//! Orders from insert to end.

use optivex_proto::v1;

use crate::venue::{Venue, buy, sell};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn insert_trade_amend_cancel() {
    let venue = Venue::start().await;
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let mut bob = venue.login("bob").await;

    let resting = alice.insert(buy("ABC", 10_000, 10)).await;
    assert_eq!(resting.status(), v1::OrderStatus::Open);
    assert_eq!(resting.open_quantity, 10);

    let incoming = bob.insert(sell("ABC", 10_000, 4)).await;
    assert_eq!(incoming.status(), v1::OrderStatus::Filled);
    assert_eq!(incoming.event_seq, resting.event_seq + 1);
    assert_eq!(
        incoming.fills,
        [v1::Fill {
            trade_id: 1,
            price_e4: 10_000,
            quantity: 4,
        }]
    );

    let amend = v1::AmendOrderRequest {
        order: Some(v1::amend_order_request::Order::OrderId(resting.order_id)),
        price_e4: None,
        quantity: Some(7),
    };
    let amended = alice
        .execution
        .amend_order(amend)
        .await
        .expect("an open order")
        .into_inner();
    assert_eq!((amended.filled_quantity, amended.open_quantity), (4, 3));

    let cancel = v1::CancelOrderRequest {
        order: Some(v1::cancel_order_request::Order::OrderId(resting.order_id)),
    };
    let cancelled = alice
        .execution
        .cancel_order(cancel)
        .await
        .expect("an open order")
        .into_inner();
    assert_eq!(cancelled.cancelled_quantity, 3);
    assert_eq!(venue.disk.durable(), cancelled.event_seq);
}
