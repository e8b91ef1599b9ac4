//! What each phase takes.

use optivex_proto::v1::{
    CancelAllOrdersRequest, CancelReason, ErrorReason, SetTradingPhaseRequest, Side, TradingPhase,
};

use crate::check::{Outcome, amend};
use crate::context::Context;
use crate::order::{buy, fok, ioc, market, sell};
use crate::verdict::Verdict;

/// Catches: orders that may not rest taken, or cancelled at once, in an auction.
pub(super) async fn auction(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.initial_phase = TradingPhase::Auction.into())
        .await?
        .symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let rests = alice.rest(sell(&acme, 100, 5)).await?;
    for order in [
        ioc(&acme, Side::Buy, 100, 1),
        fok(&acme, Side::Buy, 100, 1),
        market(&acme, Side::Buy, 1),
    ] {
        bob.try_insert(order)
            .await
            .refused(ErrorReason::PhaseForbids, &[("phase", "TRADING_PHASE_AUCTION")])?;
    }
    alice.book_shows(&acme, rests.event_seq, &[], &[(100, 5, 1)]).await?;
    alice.cancel_id(rests.order_id).await?;
    Ok(())
}

/// Catches: trading in a halt; orders lost or turned round by it; cancels refused.
pub(super) async fn halted(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let admin = context.admin().await?;
    let first = alice.rest(sell(&acme, 100, 2)).await?.order_id;
    let second = bob.rest(sell(&acme, 100, 2)).await?.order_id;
    let third = alice.rest(sell(&acme, 101, 2)).await?.order_id;
    bob.rest(buy(&acme, 90, 2)).await?;
    let halt = admin.phase(&acme, TradingPhase::Halted).await?;
    halt.has("trade_count", |reply| reply.trade_count, 0)?;
    let forbids = [("phase", "TRADING_PHASE_HALTED")];
    for order in [
        buy(&acme, 50, 1),
        buy(&acme, 100, 1),
        ioc(&acme, Side::Buy, 100, 1),
        market(&acme, Side::Buy, 1),
    ] {
        bob.try_insert(order)
            .await
            .refused(ErrorReason::PhaseForbids, &forbids)?;
    }
    alice
        .try_amend(amend(first, None, Some(1)))
        .await
        .refused(ErrorReason::PhaseForbids, &forbids)?;
    let book = bob
        .book_shows(&acme, halt.event_seq, &[(90, 2, 1)], &[(100, 4, 2), (101, 2, 1)])
        .await?;
    book.has("phase", |book| book.phase(), TradingPhase::Halted)?;
    alice
        .cancel_id(third)
        .await?
        .has("cancelled_quantity", |reply| reply.cancelled_quantity, 2)?;
    let all = bob
        .cancel_all(CancelAllOrdersRequest {
            symbol: acme.clone(),
            side: Side::Buy.into(),
        })
        .await?;
    all.has("cancelled_orders", |reply| reply.cancelled_orders, 1)?;
    admin.phase(&acme, TradingPhase::Continuous).await?;
    let carol = context.trader().await?;
    carol
        .insert(buy(&acme, 100, 3))
        .await?
        .came_to(Outcome::filled(&[(100, 2), (100, 1)]))?;
    alice.is_filled(first, 2).await?;
    bob.is_filled(second, 1).await
}

/// Catches: orders left in a closed book; another reason; a book opened again.
pub(super) async fn closed(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let admin = context.admin().await?;
    let ask = alice.rest(sell(&acme, 100, 5)).await?.order_id;
    bob.insert(buy(&acme, 100, 2))
        .await?
        .came_to(Outcome::filled(&[(100, 2)]))?;
    let bid = bob.rest(buy(&acme, 90, 2)).await?.order_id;
    let close = admin.phase(&acme, TradingPhase::Closed).await?;
    close.has("trade_count", |reply| reply.trade_count, 0)?;
    alice.is_cancelled(ask, CancelReason::Closed).await?;
    bob.is_cancelled(bid, CancelReason::Closed).await?;
    let book = bob.book_shows(&acme, close.event_seq, &[], &[]).await?;
    book.has("phase", |book| book.phase(), TradingPhase::Closed)?;
    let forbids = [("phase", "TRADING_PHASE_CLOSED")];
    for order in [buy(&acme, 90, 1), market(&acme, Side::Sell, 1)] {
        bob.try_insert(order)
            .await
            .refused(ErrorReason::PhaseForbids, &forbids)?;
    }
    alice
        .try_amend(amend(ask, None, Some(1)))
        .await
        .refused(ErrorReason::OrderDone, &[])?;
    for phase in [TradingPhase::Continuous, TradingPhase::Auction, TradingPhase::Halted] {
        let request = SetTradingPhaseRequest {
            symbol: acme.clone(),
            phase: phase.into(),
        };
        admin
            .try_set_phase(request)
            .await
            .refused(ErrorReason::PhaseForbids, &forbids)?;
    }
    Ok(())
}

/// Catches: a refusal; a book_seq without a change; an event without a place.
pub(super) async fn same(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let rests = alice.rest(buy(&acme, 100, 5)).await?;
    let mut event_seq = rests.event_seq;
    for (phase, book_seq) in [
        (TradingPhase::Continuous, 1),
        (TradingPhase::Auction, 2),
        (TradingPhase::Auction, 2),
        (TradingPhase::Halted, 3),
        (TradingPhase::Halted, 3),
    ] {
        let reply = admin.phase(&acme, phase).await?;
        reply
            .shows("an event after the one before", |reply| reply.event_seq > event_seq)?
            .has("trade_count", |reply| reply.trade_count, 0)?;
        event_seq = reply.event_seq;
        let book = alice.book_after(&acme, event_seq).await?;
        book.has("phase", |book| book.phase(), phase)?
            .has("book_seq", |book| book.book_seq, book_seq)?
            .has("bids", |book| book.bids.len(), 1)?;
    }
    Ok(())
}

/// Catches: CLOSED refused in a closed book; a book_seq without a change; orders cancelled twice.
pub(super) async fn closed_again(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let order = alice.rest(buy(&acme, 100, 5)).await?.order_id;
    let close = admin.phase(&acme, TradingPhase::Closed).await?;
    alice.is_cancelled(order, CancelReason::Closed).await?;
    let mut event_seq = close.event_seq;
    for _ in 0..2 {
        let again = admin.phase(&acme, TradingPhase::Closed).await?;
        again
            .shows("an event after the one before", |reply| reply.event_seq > event_seq)?
            .has("trade_count", |reply| reply.trade_count, 0)?;
        event_seq = again.event_seq;
    }
    // What changed the book last: the order, then the close.
    let book = alice.book_after(&acme, event_seq).await?;
    book.has("phase", |book| book.phase(), TradingPhase::Closed)?
        .has("book_seq", |book| book.book_seq, 2)?;
    let order = alice.order(order).await?;
    order.has("event_seq", |order| order.event_seq, close.event_seq)?.has(
        "cancel_reason",
        |order| order.cancel_reason(),
        CancelReason::Closed,
    )?;
    Ok(())
}

/// Catches: phases changed by traders; an unknown phase taken.
pub(super) async fn refusals(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let to = |symbol: &str, phase: i32| SetTradingPhaseRequest {
        symbol: symbol.to_owned(),
        phase,
    };
    alice
        .try_set_phase(to(&acme, TradingPhase::Halted.into()))
        .await
        .refused(ErrorReason::MissingRole, &[("role", "ROLE_ADMIN")])?;
    admin
        .try_set_phase(to(&context.unique(), TradingPhase::Halted.into()))
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    for phase in [0, 99] {
        admin
            .try_set_phase(to(&acme, phase))
            .await
            .refused(ErrorReason::InvalidField, &[("field", "phase")])?;
    }
    alice.rest(buy(&acme, 100, 1)).await?;
    Ok(())
}
