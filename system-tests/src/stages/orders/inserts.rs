//! Orders that rest.

use optivex_proto::v1::{CancelReason, OrderStatus, PriceLevel, Side};

use crate::context::Context;
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

fn level(price_e4: i64, quantity: i64, order_count: i32) -> PriceLevel {
    PriceLevel {
        price_e4,
        quantity,
        order_count,
    }
}

/// Catches orders that are taken but not booked, booked on the wrong side, or added to a level wrongly.
pub(super) async fn rests(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    for (side, price_e4) in [(Side::Buy, 1_000), (Side::Sell, 1_100), (Side::Buy, 1_000)] {
        let reply = alice.insert(limit(&acme, side, price_e4, 7)).await?;
        reply
            .has("status", |reply| reply.status(), OrderStatus::Open)?
            .has("filled_quantity", |reply| reply.filled_quantity, 0)?
            .has("open_quantity", |reply| reply.open_quantity, 7)?
            .has("fills", |reply| reply.fills.clone(), vec![])?
            .has(
                "cancel_reason",
                |reply| reply.cancel_reason(),
                CancelReason::Unspecified,
            )?
            .shows("an order_id that is not 0", |reply| reply.order_id > 0)?
            .shows("an event_seq that is not 0: the first event is 1", |reply| {
                reply.event_seq > 0
            })?
            .shows("time_unix_ns, nanoseconds since the Unix epoch", |reply| {
                reply.time_unix_ns > 1_000_000_000_000_000_000
            })?;
        let book = alice.book_at(&acme, reply.event_seq).await?;
        book.shows("the order's price among its side's levels", |book| {
            let levels = if side == Side::Buy { &book.bids } else { &book.asks };
            levels.iter().any(|level| level.price_e4 == price_e4)
        })?;
    }
    let book = alice.whole_book(&acme).await?;
    book.has("bids", |book| book.bids.clone(), vec![level(1_000, 14, 2)])?
        .has("asks", |book| book.asks.clone(), vec![level(1_100, 7, 1)])?;
    Ok(())
}

/// Catches ids by instrument or by user, and events that are not counted or counted twice in one reply.
pub(super) async fn ids(context: Context) -> Verdict {
    let (acme, duff) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let (mut order_id, mut event_seq) = (0, 0);
    for round in 0..3 {
        for session in [&alice, &bob] {
            for symbol in [&acme, &duff] {
                let reply = session.rest(buy(symbol, 1_000 + round, 1)).await?;
                reply
                    .shows(&format!("an order_id above the one before, {order_id}"), |reply| {
                        reply.order_id > order_id
                    })?
                    .shows(&format!("an event_seq above the one before, {event_seq}"), |reply| {
                        reply.event_seq > event_seq
                    })?;
                order_id = reply.order_id;
                let cancelled = session.cancel_id(order_id).await?;
                cancelled
                    .has("order_id", |cancelled| cancelled.order_id, order_id)?
                    .shows("an event_seq above the insert's", |cancelled| {
                        cancelled.event_seq > reply.event_seq
                    })?;
                event_seq = cancelled.event_seq;
            }
        }
    }
    Ok(())
}

/// Catches a comparison of prices with the wrong sign, or with the same side of the book.
pub(super) async fn no_cross(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    alice.rest(buy(&acme, 1_000, 5)).await?;
    bob.rest(sell(&acme, 1_001, 5)).await?;
    bob.rest(buy(&acme, 1_000, 5)).await?;
    bob.rest(buy(&acme, 500, 5)).await?;
    alice.rest(sell(&acme, 1_001, 5)).await?;
    let last = alice.rest(sell(&acme, 2_000, 5)).await?;
    let book = alice.book_at(&acme, last.event_seq).await?;
    book.has(
        "bids",
        |book| book.bids.clone(),
        vec![level(1_000, 10, 2), level(500, 5, 1)],
    )?
    .has(
        "asks",
        |book| book.asks.clone(),
        vec![level(1_001, 10, 2), level(2_000, 5, 1)],
    )?;
    Ok(())
}

/// Catches exchanges that tie orders to a connection or a session.
pub(super) async fn connection_lost(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let Some(user) = alice.user().cloned() else {
        return Err(crate::verdict::Stop::trouble("a trader without a user"));
    };
    let first = alice.rest(sell(&acme, 1_000, 5)).await?;
    drop(alice);
    let again = context.login(&user).await?;
    again
        .order_at(first.order_id, first.event_seq)
        .await?
        .has("status", |order| order.status(), OrderStatus::Open)?;
    bob.insert(buy(&acme, 1_000, 3))
        .await?
        .has("filled_quantity", |reply| reply.filled_quantity, 3)?;
    again
        .cancel_id(first.order_id)
        .await?
        .has("cancelled_quantity", |cancelled| cancelled.cancelled_quantity, 2)?;
    Ok(())
}

/// Catches one book for all instruments, and orders looked up by price or id over all books.
pub(super) async fn books_apart(context: Context) -> Verdict {
    let (acme, duff) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let ask = alice.rest(sell(&acme, 1_000, 5)).await?;
    let bid = bob.rest(buy(&duff, 1_000, 5)).await?;
    let book = alice.book_at(&acme, ask.event_seq).await?;
    book.has("bids", |book| book.bids.clone(), vec![])?.has(
        "asks",
        |book| book.asks.clone(),
        vec![level(1_000, 5, 1)],
    )?;
    let book = alice.book_at(&duff, bid.event_seq).await?;
    book.has("bids", |book| book.bids.clone(), vec![level(1_000, 5, 1)])?
        .has("asks", |book| book.asks.clone(), vec![])?;
    Ok(())
}
