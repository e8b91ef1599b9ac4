//! Orders that do not rest: immediate-or-cancel, fill-or-kill, market.

use optivex_proto::v1::{
    CancelReason, ErrorReason, InsertOrderRequest, Order, OrderType, SelfTradePrevention, Side, TimeInForce,
};

use crate::check::Outcome;
use crate::context::Context;
use crate::order::{buy, fok, ioc, market, sell};
use crate::verdict::Verdict;

const TIF: CancelReason = CancelReason::TimeInForce;

/// Catches: a remainder that rests; trades beyond the price; no answer on an empty book.
pub(super) async fn immediate_or_cancel(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    bob.insert(ioc(&acme, Side::Buy, 100, 5))
        .await?
        .came_to(Outcome::cancelled(TIF, &[]))?;
    alice.rest(sell(&acme, 100, 2)).await?;
    alice.rest(sell(&acme, 101, 2)).await?;
    alice.rest(sell(&acme, 102, 2)).await?;
    let part = bob.insert(ioc(&acme, Side::Buy, 101, 9)).await?;
    part.came_to(Outcome::cancelled(TIF, &[(100, 2), (101, 2)]))?;
    alice.book_shows(&acme, part.event_seq, &[], &[(102, 2, 1)]).await?;
    bob.is_cancelled(part.order_id, TIF).await?;
    bob.insert(ioc(&acme, Side::Buy, 102, 2))
        .await?
        .came_to(Outcome::filled(&[(102, 2)]))?;
    // Had a remainder rested, this would trade.
    let rests = alice.rest(sell(&acme, 90, 1)).await?;
    alice.book_shows(&acme, rests.event_seq, &[], &[(90, 1, 1)]).await?;
    alice
        .try_amend(crate::check::amend(part.order_id, None, Some(20)))
        .await
        .refused(ErrorReason::UnknownOrder, &[])?;
    bob.try_amend(crate::check::amend(part.order_id, None, Some(20)))
        .await
        .refused(ErrorReason::OrderDone, &[])?;
    Ok(())
}
/// Catches: a part filled and the rest killed; liquidity beyond the price counted; off by one at the whole.
pub(super) async fn fill_or_kill(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    alice.rest(buy(&acme, 100, 2)).await?;
    alice.rest(buy(&acme, 99, 3)).await?;
    let last = alice.rest(buy(&acme, 98, 4)).await?;
    for order in [
        fok(&acme, Side::Sell, 99, 6),
        fok(&acme, Side::Sell, 101, 1),
        fok(&acme, Side::Sell, 1, 10),
    ] {
        bob.try_insert(order).await.refused(ErrorReason::CannotFill, &[])?;
    }
    alice
        .book_shows(&acme, last.event_seq, &[(100, 2, 1), (99, 3, 1), (98, 4, 1)], &[])
        .await?;
    let whole = bob.insert(fok(&acme, Side::Sell, 99, 5)).await?;
    whole.came_to(Outcome::filled(&[(100, 2), (99, 3)]))?;
    alice.book_shows(&acme, whole.event_seq, &[(98, 4, 1)], &[]).await?;
    bob.insert(fok(&acme, Side::Sell, 98, 4))
        .await?
        .came_to(Outcome::filled(&[(98, 4)]))?;
    bob.try_insert(fok(&acme, Side::Sell, 98, 1))
        .await
        .refused(ErrorReason::CannotFill, &[])?;
    Ok(())
}

/// Catches: own orders counted as liquidity; a FOK filled in part; own orders cancelled by a refused FOK.
pub(super) async fn fok_own_orders(context: Context) -> Verdict {
    use SelfTradePrevention::{CancelBoth, CancelIncoming, CancelResting};
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let with = |choice: SelfTradePrevention, order: InsertOrderRequest| InsertOrderRequest {
        self_trade_prevention: choice.into(),
        ..order
    };
    for choice in [CancelIncoming, CancelResting, CancelBoth] {
        let acme = context.instrument().await?.symbol;
        let before = alice.rest(sell(&acme, 100, 2)).await?.order_id;
        let own = bob.rest(sell(&acme, 100, 3)).await?.order_id;
        let behind = alice.rest(sell(&acme, 100, 2)).await?;
        // 4 of others, 7 in all.
        bob.try_insert(with(choice, fok(&acme, Side::Buy, 100, 5)))
            .await
            .refused(ErrorReason::CannotFill, &[])?;
        alice.book_shows(&acme, behind.event_seq, &[], &[(100, 7, 3)]).await?;
        // Filled before the own order is reached.
        bob.insert(with(choice, fok(&acme, Side::Buy, 100, 2)))
            .await?
            .came_to(Outcome::filled(&[(100, 2)]))?;
        alice.is_filled(before, 2).await?;
        let beyond = bob.try_insert(with(choice, fok(&acme, Side::Buy, 100, 2))).await;
        if choice == CancelResting {
            beyond.accepted()?.came_to(Outcome::filled(&[(100, 2)]))?;
            bob.is_cancelled(own, CancelReason::SelfTrade).await?;
        } else {
            beyond.refused(ErrorReason::CannotFill, &[])?;
            alice
                .insert(ioc(&acme, Side::Buy, 100, 5))
                .await?
                .shows("the own order rests on: 3 lots of it trade", |reply| {
                    reply.fills.first().is_some_and(|fill| fill.quantity == 3)
                })?;
        }
    }
    Ok(())
}

/// Catches: a market order that rests; worst price first; an error on an empty book; a price of 0 as a limit.
pub(super) async fn market_order(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for side in [Side::Buy, Side::Sell] {
        bob.insert(market(&acme, side, 5))
            .await?
            .came_to(Outcome::cancelled(TIF, &[]))?;
    }
    alice.rest(sell(&acme, 101, 2)).await?;
    alice.rest(sell(&acme, 5_000, 2)).await?;
    alice.rest(buy(&acme, 100, 2)).await?;
    alice.rest(buy(&acme, 1, 2)).await?;
    bob.insert(market(&acme, Side::Buy, 3))
        .await?
        .came_to(Outcome::filled(&[(101, 2), (5_000, 1)]))?;
    let all = bob.insert(market(&acme, Side::Buy, 3)).await?;
    all.came_to(Outcome::cancelled(TIF, &[(5_000, 1)]))?;
    bob.insert(market(&acme, Side::Sell, 3))
        .await?
        .came_to(Outcome::filled(&[(100, 2), (1, 1)]))?;
    let whole = InsertOrderRequest {
        time_in_force: TimeInForce::FillOrKill.into(),
        ..market(&acme, Side::Sell, 2)
    };
    bob.try_insert(whole.clone())
        .await
        .refused(ErrorReason::CannotFill, &[])?;
    let last = bob.insert(InsertOrderRequest { quantity: 1, ..whole }).await?;
    last.came_to(Outcome::filled(&[(1, 1)]))?;
    alice.book_shows(&acme, last.event_seq, &[], &[]).await?;
    Ok(())
}

/// Catches: unsigned prices; 0 as the worst price of a sell; the order of negative levels turned round.
pub(super) async fn market_negative(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for price in [-3, 0, -7] {
        alice.rest(buy(&acme, price, 1)).await?;
    }
    bob.insert(market(&acme, Side::Sell, 4))
        .await?
        .came_to(Outcome::cancelled(TIF, &[(0, 1), (-3, 1), (-7, 1)]))?;
    for price in [-3, 2, -7] {
        alice.rest(sell(&acme, price, 1)).await?;
    }
    bob.insert(market(&acme, Side::Buy, 4))
        .await?
        .came_to(Outcome::cancelled(TIF, &[(-7, 1), (-3, 1), (2, 1)]))?;
    Ok(())
}

/// Catches: a market order with a price, or one that asks to rest, taken.
pub(super) async fn market_form(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let rests = alice.rest(sell(&acme, 100, 5)).await?;
    let priced = InsertOrderRequest {
        price_e4: 100,
        ..market(&acme, Side::Buy, 5)
    };
    bob.try_insert(priced)
        .await
        .refused(ErrorReason::InvalidField, &[("field", "price_e4")])?;
    let resting = InsertOrderRequest {
        time_in_force: TimeInForce::GoodTillCancelled.into(),
        ..market(&acme, Side::Buy, 5)
    };
    bob.try_insert(resting).await.refused(ErrorReason::InvalidField, &[])?;
    alice.book_shows(&acme, rests.event_seq, &[], &[(100, 5, 1)]).await?;
    let immediate = InsertOrderRequest {
        time_in_force: TimeInForce::ImmediateOrCancel.into(),
        ..market(&acme, Side::Buy, 5)
    };
    bob.insert(immediate).await?.came_to(Outcome::filled(&[(100, 5)]))?;
    Ok(())
}

/// Catches: defaults left unset where an order is shown.
pub(super) async fn defaults(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let get = |order: &Order| (order.r#type(), order.time_in_force(), order.self_trade_prevention());
    let incoming = SelfTradePrevention::CancelIncoming;
    let limit = alice.rest(buy(&acme, 100, 5)).await?.order_id;
    let expected = (OrderType::Limit, TimeInForce::GoodTillCancelled, incoming);
    alice
        .order_shows(limit, "type, time_in_force and self_trade_prevention", get, expected)
        .await?;
    let at_market = alice.insert(market(&acme, Side::Buy, 5)).await?.order_id;
    let expected = (OrderType::Market, TimeInForce::ImmediateOrCancel, incoming);
    alice
        .order_shows(
            at_market,
            "type, time_in_force and self_trade_prevention",
            get,
            expected,
        )
        .await
}

/// Catches: a retry that trades again; defaults taken for another content; fills missing in the answer.
pub(super) async fn retry(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    alice.rest(sell(&acme, 100, 3)).await?;
    alice.rest(sell(&acme, 101, 3)).await?;
    let order = InsertOrderRequest {
        client_order_id: context.unique(),
        ..market(&acme, Side::Buy, 4)
    };
    let first = bob.insert(order.clone()).await?;
    first.came_to(Outcome::filled(&[(100, 3), (101, 1)]))?;
    let spelled_out = InsertOrderRequest {
        time_in_force: TimeInForce::ImmediateOrCancel.into(),
        self_trade_prevention: SelfTradePrevention::CancelIncoming.into(),
        ..order.clone()
    };
    for again in [order.clone(), spelled_out] {
        let again = bob.insert(again).await?;
        again.at().same("the answer to the retry", &*again, &*first)?;
    }
    let whole = InsertOrderRequest {
        time_in_force: TimeInForce::FillOrKill.into(),
        ..order.clone()
    };
    for other in [InsertOrderRequest { quantity: 2, ..order }, whole] {
        bob.try_insert(other).await.refused(ErrorReason::ClientIdReused, &[])?;
    }
    alice.book_shows(&acme, first.event_seq, &[], &[(101, 2, 1)]).await?;
    // What an order asks for beside price and quantity is content too.
    let rests = InsertOrderRequest {
        client_order_id: context.unique(),
        ..buy(&acme, 99, 5)
    };
    let last = bob.rest(rests.clone()).await?;
    for other in [
        InsertOrderRequest {
            time_in_force: TimeInForce::ImmediateOrCancel.into(),
            ..rests.clone()
        },
        InsertOrderRequest {
            post_only: true,
            ..rests.clone()
        },
        InsertOrderRequest {
            self_trade_prevention: SelfTradePrevention::CancelBoth.into(),
            ..rests.clone()
        },
    ] {
        bob.try_insert(other).await.refused(ErrorReason::ClientIdReused, &[])?;
    }
    alice
        .book_shows(&acme, last.event_seq, &[(99, 5, 1)], &[(101, 2, 1)])
        .await?;
    Ok(())
}
