//! Positions and profit.

use optivex_proto::v1::Position;

use crate::client::{Reply, Session};
use crate::context::Context;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

/// Lots, money and value of one instrument as of an event.
async fn holds(session: &Session, symbol: &str, event_seq: u64, expected: (i64, i64, i64)) -> Verdict<Reply<Position>> {
    let position = session.position_at(symbol, event_seq).await?;
    position
        .has("quantity", |position| position.quantity, expected.0)?
        .has("cash_e4", |position| position.cash_e4, expected.1)?
        .has("market_value_e4", |position| position.market_value_e4, expected.2)?;
    Ok(position)
}

/// Catches positions of the taker only, a forgotten multiplier, a wrong sign, and value at another
/// price than the last trade's.
pub(super) async fn both_sides(context: Context) -> Verdict {
    let acme = context.instrument_with(|request| request.multiplier = 50).await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    alice.rest(sell(&acme, 100, 4)).await?;
    alice.rest(sell(&acme, 110, 6)).await?;
    let trade = bob.insert(buy(&acme, 120, 9)).await?;
    // 4 × 100 + 5 × 110 = 950; 9 lots at 110 = 990.
    holds(&bob, &acme, trade.event_seq, (9, -950 * 50, 990 * 50)).await?;
    holds(&alice, &acme, trade.event_seq, (-9, 950 * 50, -990 * 50)).await?;
    // The last lot of the resting order: the last trade's price stays 110.
    let trade = bob.insert(buy(&acme, 115, 1)).await?;
    holds(&bob, &acme, trade.event_seq, (10, -1_060 * 50, 1_100 * 50)).await?;
    // A negative price: the buyer receives.
    alice.rest(sell(&acme, -20, 2)).await?;
    let trade = bob.insert(buy(&acme, 0, 2)).await?;
    holds(&bob, &acme, trade.event_seq, (12, -1_020 * 50, -240 * 50)).await?;
    holds(&alice, &acme, trade.event_seq, (-12, 1_020 * 50, 240 * 50)).await?;
    Ok(())
}

/// Catches open quantities that count one side, or are not released by fill and cancel.
pub(super) async fn open(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let open = async |event_seq: u64, buys: i64, sells: i64| -> Verdict {
        let position = alice.position_at(&acme, event_seq).await?;
        position
            .has("open_buy_quantity", |position| position.open_buy_quantity, buys)?
            .has("open_sell_quantity", |position| position.open_sell_quantity, sells)?;
        Ok(())
    };
    bob.rest(sell(&acme, 100, 2)).await?;
    // A remainder of 5 rests.
    let first = alice.insert(buy(&acme, 100, 7)).await?;
    open(first.event_seq, 5, 0).await?;
    let second = alice.rest(buy(&acme, 99, 3)).await?;
    open(second.event_seq, 8, 0).await?;
    let third = alice.rest(sell(&acme, 105, 11)).await?;
    open(third.event_seq, 8, 11).await?;
    let trade = bob.insert(sell(&acme, 100, 4)).await?;
    open(trade.event_seq, 4, 11).await?;
    let trade = bob.insert(buy(&acme, 105, 10)).await?;
    open(trade.event_seq, 4, 1).await?;
    let cancelled = alice.cancel_id(second.order_id).await?;
    open(cancelled.event_seq, 1, 1).await?;
    let cancelled = alice.cancel_id(third.order_id).await?;
    open(cancelled.event_seq, 1, 0).await?;
    let cancelled = alice.cancel_id(first.order_id).await?;
    open(cancelled.event_seq, 0, 0).await
}

/// Catches unsigned positions, and profit that goes with the position.
pub(super) async fn through_zero(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    bob.rest(sell(&acme, 100, 5)).await?;
    let trade = alice.insert(buy(&acme, 100, 5)).await?;
    holds(&alice, &acme, trade.event_seq, (5, -500, 500)).await?;
    bob.rest(buy(&acme, 108, 5)).await?;
    let trade = alice.insert(sell(&acme, 108, 5)).await?;
    holds(&alice, &acme, trade.event_seq, (0, 40, 0)).await?;
    holds(&bob, &acme, trade.event_seq, (0, -40, 0)).await?;
    bob.rest(buy(&acme, 90, 3)).await?;
    let trade = alice.insert(sell(&acme, 90, 3)).await?;
    holds(&alice, &acme, trade.event_seq, (-3, 310, -270)).await?;
    holds(&bob, &acme, trade.event_seq, (3, -310, 270)).await?;
    Ok(())
}
