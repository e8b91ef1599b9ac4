//! Retries of client ids.

use optivex_proto::v1::{
    ErrorReason, InsertOrderRequest, InsertOrderResponse, OrderStatus, OrderType, SelfTradePrevention, Side,
    TimeInForce,
};

use crate::client::{Reply, Session};
use crate::context::Context;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

fn with_id(id: &str, order: InsertOrderRequest) -> InsertOrderRequest {
    InsertOrderRequest {
        client_order_id: id.to_owned(),
        ..order
    }
}

/// Sends it again; the answer is the first one's, field by field.
async fn again(session: &Session, request: &InsertOrderRequest, first: &Reply<InsertOrderResponse>) -> Verdict {
    let again = session.insert(request.clone()).await?;
    again.has("the answer", Clone::clone, (**first).clone())?;
    Ok(())
}

/// Catches retries that insert again, that are refused, or that answer with news; and defaults that
/// are not filled in before comparing.
pub(super) async fn same(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let id = context.unique();
    let request = with_id(&id, sell(&acme, 1_000, 5));
    let first = alice.rest(request.clone()).await?;
    again(&alice, &request, &first).await?;
    let spelt_out = InsertOrderRequest {
        r#type: OrderType::Limit.into(),
        time_in_force: TimeInForce::GoodTillCancelled.into(),
        self_trade_prevention: SelfTradePrevention::CancelIncoming.into(),
        ..request.clone()
    };
    again(&alice, &spelt_out, &first).await?;
    let Some(user) = alice.user().cloned() else {
        return Err(crate::verdict::Stop::trouble("a trader without a user"));
    };
    let elsewhere = context.login(&user).await?;
    again(&elsewhere, &request, &first).await?;
    // Something later, so that a second order would show by now.
    let marker = alice.rest(sell(&acme, 2_000, 1)).await?;
    let book = alice.book_at(&acme, marker.event_seq).await?;
    book.has(
        "price_e4, quantity and order_count of the asks",
        |book| {
            let told = |level: &optivex_proto::v1::PriceLevel| (level.price_e4, level.quantity, level.order_count);
            book.asks.iter().map(told).collect()
        },
        vec![(1_000, 5, 1), (2_000, 1, 1)],
    )?
    .has("book_seq: a retry changes nothing", |book| book.book_seq, 2)?;
    Ok(())
}

/// Catches client ids that are forgotten with the order, and answers made of its present state.
pub(super) async fn done(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let request = with_id(&context.unique(), sell(&acme, 1_000, 5));
    let first = alice.rest(request.clone()).await?;
    bob.insert(buy(&acme, 1_000, 2)).await?;
    again(&alice, &request, &first).await?;
    bob.insert(buy(&acme, 1_000, 3)).await?;
    again(&alice, &request, &first).await?;

    let request = with_id(&context.unique(), buy(&acme, 900, 5));
    let first = alice.rest(request.clone()).await?;
    let cancelled = alice.cancel_id(first.order_id).await?;
    again(&alice, &request, &first).await?;
    let book = alice.book_at(&acme, cancelled.event_seq).await?;
    book.shows("an empty book", |book| book.bids.is_empty() && book.asks.is_empty())?;
    alice.order_at(first.order_id, cancelled.event_seq).await?.has(
        "status",
        |order| order.status(),
        OrderStatus::Cancelled,
    )?;
    Ok(())
}

/// Catches retries that trade twice, and first answers kept without their fills.
pub(super) async fn traded(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for price_e4 in [1_000, 1_001, 1_002] {
        alice.rest(sell(&acme, price_e4, 10)).await?;
    }
    for lots in [4, 11] {
        let request = with_id(&context.unique(), buy(&acme, 1_001, lots));
        let first = bob.insert(request.clone()).await?;
        first.has("filled_quantity", |reply| reply.filled_quantity, lots)?;
        again(&bob, &request, &first).await?;
        again(&bob, &request, &first).await?;
    }
    // A remainder rests; later fills of it are not in the first answer.
    let request = with_id(&context.unique(), buy(&acme, 1_001, 8));
    let first = bob.insert(request.clone()).await?;
    first.has("filled_quantity", |reply| reply.filled_quantity, 5)?.has(
        "open_quantity",
        |reply| reply.open_quantity,
        3,
    )?;
    let trade = alice.insert(sell(&acme, 1_001, 1)).await?;
    again(&bob, &request, &first).await?;
    let position = bob.position_at(&acme, trade.event_seq).await?;
    position
        .has("quantity: 4 + 11 + 5 + 1", |position| position.quantity, 21)?
        .has("open_buy_quantity", |position| position.open_buy_quantity, 2)?;
    Ok(())
}

/// Catches ids that are compared without their content, or with a part of it.
pub(super) async fn reused(context: Context) -> Verdict {
    let (acme, duff) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let alice = context.trader().await?;
    let request = with_id(&context.unique(), buy(&acme, 1_000, 5));
    let first = alice.rest(request.clone()).await?;
    let others = [
        InsertOrderRequest {
            symbol: duff.clone(),
            ..request.clone()
        },
        InsertOrderRequest {
            side: Side::Sell.into(),
            ..request.clone()
        },
        InsertOrderRequest {
            price_e4: 1_001,
            ..request.clone()
        },
        InsertOrderRequest {
            quantity: 6,
            ..request.clone()
        },
    ];
    for other in others {
        alice
            .try_insert(other)
            .await
            .refused(ErrorReason::ClientIdReused, &[])?;
    }
    again(&alice, &request, &first).await?;
    let marker = alice.rest(buy(&acme, 900, 1)).await?;
    let book = alice.book_at(&acme, marker.event_seq).await?;
    book.has("book_seq: two changes", |book| book.book_seq, 2)?;
    alice
        .whole_book(&duff)
        .await?
        .has("book_seq", |book| book.book_seq, 0)?;
    Ok(())
}

/// Catches ids that are noted before the order is checked.
pub(super) async fn refused(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.tick_size_e4 = 10)
        .await?
        .symbol;
    let alice = context.trader().await?;
    let id = context.unique();
    let refusals = [
        (with_id(&id, buy(&acme, 1_005, 5)), ErrorReason::InvalidTick),
        (with_id(&id, buy(&acme, 1_000, 0)), ErrorReason::InvalidField),
        (
            with_id(&id, buy(&acme, 10_000_000_000_000, 1_000)),
            ErrorReason::NotionalTooLarge,
        ),
        (
            with_id(&id, buy(&context.unique(), 1_000, 5)),
            ErrorReason::UnknownInstrument,
        ),
    ];
    for (request, reason) in refusals {
        alice.try_insert(request).await.refused(reason, &[])?;
    }
    let request = with_id(&id, buy(&acme, 1_000, 5));
    let first = alice.rest(request.clone()).await?;
    again(&alice, &request, &first).await
}

/// Catches one table of client ids for all users.
pub(super) async fn of_user(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let id = context.unique();
    let of_alice = alice.rest(with_id(&id, buy(&acme, 1_000, 5))).await?;
    let of_bob = bob.rest(with_id(&id, sell(&acme, 1_100, 7))).await?;
    of_bob.shows("another order_id than the other user's", |reply| {
        reply.order_id != of_alice.order_id
    })?;
    let cancelled = bob
        .cancel(optivex_proto::v1::CancelOrderRequest {
            order: Some(optivex_proto::v1::cancel_order_request::Order::ClientOrderId(id)),
        })
        .await?;
    cancelled
        .has("order_id", |cancelled| cancelled.order_id, of_bob.order_id)?
        .has("cancelled_quantity", |cancelled| cancelled.cancelled_quantity, 7)?;
    alice.order_at(of_alice.order_id, of_alice.event_seq).await?.has(
        "status",
        |order| order.status(),
        OrderStatus::Open,
    )?;
    Ok(())
}
