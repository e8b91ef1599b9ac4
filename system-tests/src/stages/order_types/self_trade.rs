//! Self-trade prevention.

use optivex_proto::v1::{CancelReason, InsertOrderRequest, SelfTradePrevention, Side};

use crate::check::{Outcome, amend};
use crate::client::Session;
use crate::context::Context;
use crate::order::{buy, ioc, sell};
use crate::verdict::Verdict;

const SELF: CancelReason = CancelReason::SelfTrade;

fn with(choice: SelfTradePrevention, order: InsertOrderRequest) -> InsertOrderRequest {
    InsertOrderRequest {
        self_trade_prevention: choice.into(),
        ..order
    }
}

/// Alice's 2, Bob's own 3, Alice's 4, all to sell at 100.
struct Queue {
    symbol: String,
    alice: Session,
    bob: Session,
    first: u64,
    own: u64,
    last: u64,
}

async fn queue(context: &Context, choice_of_own: SelfTradePrevention) -> Verdict<Queue> {
    let symbol = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let first = alice.rest(sell(&symbol, 100, 2)).await?.order_id;
    let own = bob.rest(with(choice_of_own, sell(&symbol, 100, 3))).await?.order_id;
    let last = alice.rest(sell(&symbol, 100, 4)).await?.order_id;
    Ok(Queue {
        symbol,
        alice,
        bob,
        first,
        own,
        last,
    })
}

/// Catches: a self-trade; the remainder resting against the own order; the resting one cancelled; trading on behind.
pub(super) async fn cancel_incoming(context: Context) -> Verdict {
    for choice in [SelfTradePrevention::Unspecified, SelfTradePrevention::CancelIncoming] {
        let queue = queue(&context, SelfTradePrevention::CancelResting).await?;
        let trade = queue.bob.insert(with(choice, buy(&queue.symbol, 101, 6))).await?;
        trade.came_to(Outcome::cancelled(SELF, &[(100, 2)]))?;
        queue.alice.is_filled(queue.first, 2).await?;
        queue
            .alice
            .book_shows(&queue.symbol, trade.event_seq, &[], &[(100, 7, 2)])
            .await?;
        queue.bob.is_cancelled(trade.order_id, SELF).await?;
        // Filled before it would meet the own order: nothing to prevent.
        queue.alice.rest(sell(&queue.symbol, 99, 1)).await?;
        let before = queue.bob.insert(with(choice, buy(&queue.symbol, 100, 1))).await?;
        before.came_to(Outcome::filled(&[(99, 1)]))?;
    }
    Ok(())
}

/// Catches: a self-trade; the incoming stopped; matching that ends at the own order; a wrong reason.
pub(super) async fn cancel_resting(context: Context) -> Verdict {
    let queue = queue(&context, SelfTradePrevention::CancelIncoming).await?;
    let choice = SelfTradePrevention::CancelResting;
    let trade = queue.bob.insert(with(choice, buy(&queue.symbol, 100, 5))).await?;
    trade.came_to(Outcome::filled(&[(100, 2), (100, 3)]))?;
    queue.bob.is_cancelled(queue.own, SELF).await?;
    queue.alice.is_filled(queue.last, 3).await?;
    queue
        .alice
        .book_shows(&queue.symbol, trade.event_seq, &[], &[(100, 1, 1)])
        .await?;
    // With nothing else there, the remainder rests.
    queue.bob.rest(sell(&queue.symbol, 99, 1)).await?;
    let rest = queue.bob.insert(with(choice, buy(&queue.symbol, 99, 3))).await?;
    rest.came_to(Outcome::open(3, &[]))?;
    queue
        .alice
        .book_shows(&queue.symbol, rest.event_seq, &[(99, 3, 1)], &[(100, 1, 1)])
        .await?;
    Ok(())
}

/// Catches: only one of them cancelled; trading on behind; a wrong reason for either.
pub(super) async fn cancel_both(context: Context) -> Verdict {
    let queue = queue(&context, SelfTradePrevention::CancelIncoming).await?;
    let choice = SelfTradePrevention::CancelBoth;
    let trade = queue.bob.insert(with(choice, buy(&queue.symbol, 100, 9))).await?;
    trade.came_to(Outcome::cancelled(SELF, &[(100, 2)]))?;
    queue.bob.is_cancelled(queue.own, SELF).await?;
    queue.alice.is_filled(queue.last, 0).await?;
    queue
        .alice
        .book_shows(&queue.symbol, trade.event_seq, &[], &[(100, 4, 1)])
        .await?;
    Ok(())
}

/// Catches: the resting order's choice taken.
pub(super) async fn incoming_choice(context: Context) -> Verdict {
    use SelfTradePrevention::{CancelBoth, CancelIncoming, CancelResting};
    let bob = context.trader().await?;
    for (resting, incoming) in [
        (CancelResting, CancelIncoming),
        (CancelBoth, CancelIncoming),
        (CancelIncoming, CancelResting),
        (CancelBoth, CancelResting),
        (CancelIncoming, CancelBoth),
        (CancelResting, CancelBoth),
    ] {
        let acme = context.instrument().await?.symbol;
        let own = bob.rest(with(resting, buy(&acme, 100, 5))).await?;
        let order = bob.insert(with(incoming, sell(&acme, 100, 5))).await?;
        let (outcome, bids): (_, &[_]) = match incoming {
            CancelIncoming => (Outcome::cancelled(SELF, &[]), &[(100, 5, 1)]),
            CancelResting => (Outcome::open(5, &[]), &[]),
            _ => (Outcome::cancelled(SELF, &[]), &[]),
        };
        let asks: &[_] = if incoming == CancelResting { &[(100, 5, 1)] } else { &[] };
        order.came_to(outcome)?;
        bob.book_shows(&acme, order.event_seq, bids, asks).await?;
        if incoming != CancelIncoming {
            bob.is_cancelled(own.order_id, SELF).await?;
        }
    }
    Ok(())
}

/// Catches: a self-trade by an amend; the insert's choice forgotten.
pub(super) async fn amended(context: Context) -> Verdict {
    use SelfTradePrevention::{CancelBoth, CancelIncoming, CancelResting};
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for choice in [CancelIncoming, CancelResting, CancelBoth] {
        let acme = context.instrument().await?.symbol;
        alice.rest(sell(&acme, 100, 1)).await?;
        let own = bob.rest(sell(&acme, 101, 2)).await?.order_id;
        let order = bob.rest(with(choice, buy(&acme, 90, 5))).await?.order_id;
        let amended = bob.amend(amend(order, Some(101), None)).await?;
        let (outcome, bids, asks): (_, &[_], &[_]) = match choice {
            CancelIncoming => (Outcome::cancelled(SELF, &[(100, 1)]), &[], &[(101, 2, 1)]),
            CancelResting => (Outcome::open(4, &[(100, 1)]), &[(101, 4, 1)], &[]),
            _ => (Outcome::cancelled(SELF, &[(100, 1)]), &[], &[]),
        };
        amended.came_to(outcome)?;
        alice.book_shows(&acme, amended.event_seq, bids, asks).await?;
        if choice != CancelIncoming {
            bob.is_cancelled(own, SELF).await?;
        }
    }
    Ok(())
}

/// Catches: self-trades prevented by session or connection; another user's order prevented.
pub(super) async fn sessions(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let Some(user) = bob.user() else {
        return Err(crate::verdict::Stop::trouble("a trader's session without a user"));
    };
    let elsewhere = context.login(user).await?;
    bob.rest(sell(&acme, 100, 5)).await?;
    elsewhere
        .insert(buy(&acme, 100, 5))
        .await?
        .came_to(Outcome::cancelled(SELF, &[]))?;
    alice
        .insert(ioc(&acme, Side::Buy, 100, 5))
        .await?
        .came_to(Outcome::filled(&[(100, 5)]))?;
    Ok(())
}
