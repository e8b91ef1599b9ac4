//! Post-only orders.

use optivex_proto::v1::{ErrorReason, InsertOrderRequest, SelfTradePrevention, Side};

use crate::check::{Outcome, amend};
use crate::context::Context;
use crate::order::{buy, fok, ioc, market, sell};
use crate::verdict::Verdict;

fn post(order: InsertOrderRequest) -> InsertOrderRequest {
    InsertOrderRequest {
        post_only: true,
        ..order
    }
}

/// Catches: a post-only order that trades; one refused a tick away; an equal price taken as no cross.
pub(super) async fn rests_or_refused(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    bob.rest(post(buy(&acme, 90, 1))).await?;
    alice.rest(sell(&acme, 100, 5)).await?;
    for price in [100, 101] {
        bob.try_insert(post(buy(&acme, price, 1)))
            .await
            .refused(ErrorReason::WouldCross, &[])?;
    }
    bob.rest(post(buy(&acme, 99, 2))).await?;
    for price in [99, 98] {
        alice
            .try_insert(post(sell(&acme, price, 1)))
            .await
            .refused(ErrorReason::WouldCross, &[])?;
    }
    let last = alice.rest(post(sell(&acme, 100, 1))).await?;
    alice
        .book_shows(&acme, last.event_seq, &[(99, 2, 1), (90, 1, 1)], &[(100, 6, 2)])
        .await?;
    // Resting, it trades like any other.
    alice
        .insert(sell(&acme, 99, 2))
        .await?
        .came_to(Outcome::filled(&[(99, 2)]))?;
    Ok(())
}

/// Catches: self-trade prevention applied before post-only; own orders not seen.
pub(super) async fn own_orders(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let own = alice.rest(sell(&acme, 100, 5)).await?;
    for choice in [
        SelfTradePrevention::CancelIncoming,
        SelfTradePrevention::CancelResting,
        SelfTradePrevention::CancelBoth,
    ] {
        let order = InsertOrderRequest {
            self_trade_prevention: choice.into(),
            ..post(buy(&acme, 100, 5))
        };
        alice.try_insert(order).await.refused(ErrorReason::WouldCross, &[])?;
    }
    alice.book_shows(&acme, own.event_seq, &[], &[(100, 5, 1)]).await?;
    Ok(())
}

/// Catches: post-only forgotten by an amend; an order taken off the book before its amend is refused.
pub(super) async fn amended(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    alice.rest(sell(&acme, 100, 5)).await?;
    let order = bob.rest(post(buy(&acme, 98, 2))).await?;
    let behind = alice.rest(buy(&acme, 98, 2)).await?;
    bob.try_amend(amend(order.order_id, Some(100), Some(1)))
        .await
        .refused(ErrorReason::WouldCross, &[])?;
    alice
        .book_shows(&acme, behind.event_seq, &[(98, 4, 2)], &[(100, 5, 1)])
        .await?;
    let carol = context.trader().await?;
    carol
        .insert(sell(&acme, 98, 1))
        .await?
        .came_to(Outcome::filled(&[(98, 1)]))?;
    bob.is_filled(order.order_id, 1).await?;
    bob.amend(amend(order.order_id, Some(99), None))
        .await?
        .came_to(Outcome::open(1, &[]).after(1))?;
    Ok(())
}

/// Catches: post_only taken and ignored for orders that never rest.
pub(super) async fn form(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    for order in [
        ioc(&acme, Side::Buy, 100, 1),
        fok(&acme, Side::Buy, 100, 1),
        market(&acme, Side::Buy, 1),
    ] {
        alice
            .try_insert(post(order))
            .await
            .refused(ErrorReason::InvalidField, &[])?;
    }
    Ok(())
}
