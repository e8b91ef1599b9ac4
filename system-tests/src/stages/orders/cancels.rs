//! Cancels, and cancel-all.

use optivex_proto::v1::cancel_order_request::Order as Which;
use optivex_proto::v1::{
    CancelAllOrdersRequest, CancelOrderRequest, CancelReason, ErrorReason, InsertOrderRequest, ListOrdersRequest,
    OrderStatus, PriceLevel, Side,
};

use crate::client::Session;
use crate::context::Context;
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

fn by_id(order_id: u64) -> CancelOrderRequest {
    CancelOrderRequest {
        order: Some(Which::OrderId(order_id)),
    }
}

fn by_client_id(client_order_id: &str) -> CancelOrderRequest {
    CancelOrderRequest {
        order: Some(Which::ClientOrderId(client_order_id.to_owned())),
    }
}

/// Catches cancels that are answered and not done, or done in the list and not in the book.
pub(super) async fn cancel(context: Context) -> Verdict {
    for side in [Side::Buy, Side::Sell] {
        let acme = context.instrument().await?.symbol;
        let (alice, bob) = (context.trader().await?, context.trader().await?);
        let order = alice.rest(limit(&acme, side, 1_000, 8)).await?;
        let cancelled = alice.cancel_id(order.order_id).await?;
        cancelled
            .has("order_id", |cancelled| cancelled.order_id, order.order_id)?
            .has("cancelled_quantity", |cancelled| cancelled.cancelled_quantity, 8)?;
        let shown = alice.order_at(order.order_id, cancelled.event_seq).await?;
        shown
            .has("status", |order| order.status(), OrderStatus::Cancelled)?
            .has("cancel_reason", |order| order.cancel_reason(), CancelReason::User)?
            .has("filled_quantity", |order| order.filled_quantity, 0)?;
        let book = bob.book_at(&acme, cancelled.event_seq).await?;
        book.has("bids", |book| book.bids.clone(), vec![])?
            .has("asks", |book| book.asks.clone(), vec![])?;
        bob.rest(limit(&acme, crate::model::book::opposite(side), 1_000, 8))
            .await?;
        let open = alice.open_orders(&acme).await?;
        shown.at().same("open orders of the user", open, vec![])?;
    }
    Ok(())
}

/// Catches the whole quantity told or taken from the level where only the remainder was left.
pub(super) async fn remainder(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let order = alice.rest(sell(&acme, 1_000, 10)).await?;
    alice.rest(sell(&acme, 1_000, 20)).await?;
    bob.insert(buy(&acme, 1_000, 4)).await?;
    let cancelled = alice.cancel_id(order.order_id).await?;
    cancelled.has("cancelled_quantity", |cancelled| cancelled.cancelled_quantity, 6)?;
    let shown = alice.order_at(order.order_id, cancelled.event_seq).await?;
    shown
        .has("status", |order| order.status(), OrderStatus::Cancelled)?
        .has("quantity", |order| order.quantity, 10)?
        .has("filled_quantity", |order| order.filled_quantity, 4)?;
    let rests = PriceLevel {
        price_e4: 1_000,
        quantity: 20,
        order_count: 1,
    };
    let book = bob.book_at(&acme, cancelled.event_seq).await?;
    book.has("asks", |book| book.asks.clone(), vec![rests])?;
    Ok(())
}

/// Catches swap-remove in a level's queue, and cancels that end another order than the one named.
pub(super) async fn in_queue(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let mut ids = Vec::new();
    for lots in 1..=6 {
        ids.push(alice.rest(buy(&acme, 1_000, lots)).await?.order_id);
    }
    // Lots of what stays, in their places: 1, 3, 4, 6.
    for order_id in [ids[1], ids[4]] {
        alice.cancel_id(order_id).await?;
    }
    let trade = bob.insert(sell(&acme, 1_000, 14)).await?;
    trade.has(
        "quantity of the fills",
        |reply| reply.fills.iter().map(|fill| fill.quantity).collect(),
        vec![1, 3, 4, 6],
    )?;
    Ok(())
}

/// Catches cancels that succeed twice, and done orders that are forgotten at once.
pub(super) async fn done(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let id = context.unique();
    let cancelled = alice
        .rest(InsertOrderRequest {
            client_order_id: id.clone(),
            ..sell(&acme, 1_000, 5)
        })
        .await?;
    alice.cancel_id(cancelled.order_id).await?;
    alice
        .try_cancel(by_id(cancelled.order_id))
        .await
        .refused(ErrorReason::OrderDone, &[])?;
    alice
        .try_cancel(by_client_id(&id))
        .await
        .refused(ErrorReason::OrderDone, &[])?;
    let filled = alice.rest(sell(&acme, 1_000, 5)).await?;
    let taker = bob.insert(buy(&acme, 1_000, 5)).await?;
    alice
        .try_cancel(by_id(filled.order_id))
        .await
        .refused(ErrorReason::OrderDone, &[])?;
    bob.try_cancel(by_id(taker.order_id))
        .await
        .refused(ErrorReason::OrderDone, &[])?;
    Ok(())
}

/// Catches cancels of nothing that succeed, and the wrong reason for them.
pub(super) async fn unknown(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let order = alice.rest(buy(&acme, 1_000, 5)).await?;
    for order_id in [u64::MAX, i64::MAX as u64] {
        alice
            .try_cancel(by_id(order_id))
            .await
            .refused(ErrorReason::UnknownOrder, &[])?;
    }
    alice
        .try_cancel(by_client_id(&context.unique()))
        .await
        .refused(ErrorReason::UnknownOrder, &[])?;
    alice
        .try_cancel(CancelOrderRequest { order: None })
        .await
        .refused(ErrorReason::InvalidField, &[])?;
    alice
        .order_at(order.order_id, order.event_seq)
        .await?
        .has("status", |order| order.status(), OrderStatus::Open)?;
    Ok(())
}

/// Catches orders that anybody can cancel or see, open or done.
pub(super) async fn others(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let order = alice
        .rest(InsertOrderRequest {
            client_order_id: context.unique(),
            ..buy(&acme, 1_000, 5)
        })
        .await?;
    let refused = async || -> Verdict {
        bob.try_cancel(by_id(order.order_id))
            .await
            .refused(ErrorReason::UnknownOrder, &[])?;
        bob.orders(ListOrdersRequest {
            order_id: order.order_id,
            ..ListOrdersRequest::default()
        })
        .await?
        .has("orders", |page| page.orders.clone(), vec![])?;
        Ok(())
    };
    refused().await?;
    alice
        .order_at(order.order_id, order.event_seq)
        .await?
        .has("status", |order| order.status(), OrderStatus::Open)?;
    alice.cancel_id(order.order_id).await?;
    refused().await
}

struct Spread {
    acme_bids: Vec<u64>,
    acme_asks: Vec<u64>,
    duff: Vec<u64>,
}

async fn spread(alice: &Session, acme: &str, duff: &str) -> Verdict<Spread> {
    let mut spread = Spread {
        acme_bids: Vec::new(),
        acme_asks: Vec::new(),
        duff: Vec::new(),
    };
    for step in 0..3 {
        spread
            .acme_bids
            .push(alice.rest(buy(acme, 1_000 - step, 2)).await?.order_id);
        spread
            .acme_asks
            .push(alice.rest(sell(acme, 1_001 + step, 2)).await?.order_id);
        spread.duff.push(alice.rest(buy(duff, 1_000 - step, 2)).await?.order_id);
    }
    Ok(spread)
}

/// Catches filters that are ignored or mixed up, counts that are wrong, and one event for each order.
pub(super) async fn all(context: Context) -> Verdict {
    let (acme, duff) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let alice = context.trader().await?;
    let before = spread(&alice, &acme, &duff).await?;
    let asked = async |symbol: &str, side: Side, expected: &[u64]| -> Verdict {
        let reply = alice
            .cancel_all(CancelAllOrdersRequest {
                symbol: symbol.to_owned(),
                side: side.into(),
            })
            .await?;
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        reply
            .has(
                "order_ids (sorted)",
                |reply| {
                    let mut told = reply.order_ids.clone();
                    told.sort_unstable();
                    told
                },
                expected.clone(),
            )?
            .has(
                "cancelled_orders",
                |reply| reply.cancelled_orders,
                expected.len() as i64,
            )?;
        for order_id in expected {
            let order = alice.order_at(order_id, reply.event_seq).await?;
            order
                .has("status", |order| order.status(), OrderStatus::Cancelled)?
                .has("cancel_reason", |order| order.cancel_reason(), CancelReason::User)?
                .has("event_seq: one event for all", |order| order.event_seq, reply.event_seq)?;
        }
        Ok(())
    };
    asked(&acme, Side::Sell, &before.acme_asks).await?;
    let again = alice.rest(sell(&acme, 1_001, 2)).await?.order_id;
    asked(
        &acme,
        Side::Unspecified,
        &[before.acme_bids.as_slice(), &[again]].concat(),
    )
    .await?;
    asked(&duff, Side::Sell, &[]).await?;
    let after = spread(&alice, &acme, &duff).await?;
    let bids = [after.acme_bids, before.duff, after.duff].concat();
    asked("", Side::Buy, &bids).await?;
    asked("", Side::Unspecified, &after.acme_asks).await?;
    let last = alice.rest(buy(&acme, 1_000, 1)).await?;
    let book = alice.book_at(&acme, last.event_seq).await?;
    book.shows("the last order alone", |book| {
        book.asks.is_empty() && book.bids.len() == 1 && book.bids[0].quantity == 1
    })?;
    Ok(())
}

/// Catches a cancel-all over all users.
pub(super) async fn all_of_one_user(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let order = alice.rest(buy(&acme, 1_000, 5)).await?;
    let mut event_seq = order.event_seq;
    for symbol in [acme.as_str(), ""] {
        let reply = bob
            .cancel_all(CancelAllOrdersRequest {
                symbol: symbol.to_owned(),
                side: Side::Unspecified.into(),
            })
            .await?;
        reply
            .has("order_ids", |reply| reply.order_ids.clone(), vec![])?
            .has("cancelled_orders", |reply| reply.cancelled_orders, 0)?
            .shows(&format!("an event_seq above the one before, {event_seq}"), |reply| {
                reply.event_seq > event_seq
            })?;
        event_seq = reply.event_seq;
    }
    bob.insert(sell(&acme, 1_000, 5))
        .await?
        .has("status", |reply| reply.status(), OrderStatus::Filled)?;
    alice
        .try_cancel_all(CancelAllOrdersRequest {
            symbol: context.unique(),
            side: Side::Unspecified.into(),
        })
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    Ok(())
}
