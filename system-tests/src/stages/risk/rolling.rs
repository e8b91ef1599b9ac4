//! Rolling windows. Where time itself is judged, it is the exchange's own (`time_unix_ns`).

use std::time::Duration;

use optivex_proto::v1::{
    CancelAllOrdersRequest, CancelOrderRequest, CancelReason, ErrorReason, InsertOrderRequest, InstrumentRiskLimits,
    RollingWindowLimit, Side, UserRiskLimits, cancel_order_request,
};
use tokio::time::Instant;

use crate::check::{Outcome, Over, amend};
use crate::client::{Refusal, Reply};
use crate::context::Context;
use crate::order::{buy, fok, ioc, limit, sell};
use crate::verdict::Verdict;

/// Longer than any case.
const HOUR: i32 = 3_600;

fn window(limit: i64, window_in_seconds: i32) -> Option<RollingWindowLimit> {
    Some(RollingWindowLimit {
        limit,
        window_in_seconds,
    })
}

fn messages_per_hour(limit: i64) -> UserRiskLimits {
    UserRiskLimits {
        message_rate_rolling_limit: window(limit, HOUR),
        ..UserRiskLimits::default()
    }
}

fn rate(limit: i64, current: i64) -> Over<'static> {
    Over {
        name: "message_rate_rolling_limit",
        symbol: "",
        limit,
        current: Some(current),
        attempted: 1,
    }
}

/// It says when to try again: after now, and not after the window.
fn tells_when(refusal: &Reply<Refusal>) -> Verdict {
    let told = refusal.retry_after;
    refusal.at().holds(
        told.is_some_and(|delay| !delay.is_zero() && delay <= Duration::from_secs(HOUR as u64)),
        format!("RetryInfo is {told:?}"),
        format!("google.rpc.RetryInfo in the details, with a delay within the window of {HOUR} s"),
    )
}

/// Catches: an off-by-one; cancels refused or not counted; a cancel-all counted by its orders; no RetryInfo.
pub(super) async fn messages(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.fresh_trader().await?;
    let admin = context.admin().await?;
    // What came before the first limit does not count.
    let old = alice.rest(buy(&acme, 90, 1)).await?.order_id;
    alice.cancel_id(old).await?;
    admin.limit_user(&alice, messages_per_hour(4)).await?;
    let first = alice.rest(buy(&acme, 100, 1)).await?.order_id;
    for _ in 0..3 {
        alice.rest(buy(&acme, 100, 1)).await?;
    }
    let refusal = alice.try_insert(buy(&acme, 100, 1)).await.over_rate(rate(4, 4))?;
    tells_when(&refusal)?;
    alice.cancel_id(first).await?;
    alice.try_insert(buy(&acme, 100, 1)).await.over_rate(rate(4, 5))?;
    let all = alice.cancel_all(CancelAllOrdersRequest::default()).await?;
    all.has("cancelled_orders", |reply| reply.cancelled_orders, 3)?;
    alice.try_insert(buy(&acme, 100, 1)).await.over_rate(rate(4, 6))?;
    admin.limit_user(&alice, messages_per_hour(7)).await?;
    alice.rest(buy(&acme, 100, 1)).await?;
    alice.try_insert(buy(&acme, 100, 1)).await.over_rate(rate(7, 7))?;
    Ok(())
}

/// Catches: amends not counted or never refused; refused ones counted, of orders that fill whole or not at
/// all too.
pub(super) async fn messages_of_types(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.fresh_trader().await?;
    context.admin().await?.limit_user(&alice, messages_per_hour(3)).await?;
    let first = alice.rest(buy(&acme, 100, 3)).await?.order_id;
    alice
        .try_insert(fok(&acme, Side::Buy, 100, 1))
        .await
        .refused(ErrorReason::CannotFill, &[])?;
    alice
        .try_amend(amend(u64::MAX, None, Some(1)))
        .await
        .refused(ErrorReason::UnknownOrder, &[])?;
    alice.amend(amend(first, None, Some(2))).await?;
    // What changes nothing is a message all the same.
    alice.amend(amend(first, None, Some(2))).await?;
    alice
        .try_amend(amend(first, None, Some(1)))
        .await
        .over_rate(rate(3, 3))?;
    alice.try_insert(buy(&acme, 100, 1)).await.over_rate(rate(3, 3))?;
    Ok(())
}

/// Catches: refused commands and retries counted.
pub(super) async fn refused_do_not_count(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.tick_size_e4 = 5)
        .await?
        .symbol;
    let alice = context.fresh_trader().await?;
    let admin = context.admin().await?;
    admin.limit_user(&alice, messages_per_hour(3)).await?;
    let named = InsertOrderRequest {
        client_order_id: context.unique(),
        ..buy(&acme, 100, 1)
    };
    let first = alice.rest(named.clone()).await?;
    alice
        .try_insert(buy(&acme, 101, 1))
        .await
        .refused(ErrorReason::InvalidTick, &[])?;
    alice
        .try_cancel(CancelOrderRequest {
            order: Some(cancel_order_request::Order::OrderId(u64::MAX)),
        })
        .await
        .refused(ErrorReason::UnknownOrder, &[])?;
    alice.insert(named.clone()).await?;
    alice.rest(buy(&acme, 100, 1)).await?;
    alice.rest(buy(&acme, 100, 1)).await?;
    for _ in 0..3 {
        alice.try_insert(buy(&acme, 100, 1)).await.over_rate(rate(3, 3))?;
    }
    let again = alice.insert(named).await?;
    again.at().same("the answer to the retry", &*again, &*first)?;
    alice.cancel_id(first.order_id).await?;
    alice.try_insert(buy(&acme, 100, 1)).await.over_rate(rate(3, 4))?;
    Ok(())
}

/// Catches: an off-by-one; lots given back by cancels, fills or remainders; one side only.
pub(super) async fn quantity(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let limits = InstrumentRiskLimits {
        order_quantity_rolling_limit: window(20, HOUR),
        ..InstrumentRiskLimits::default()
    };
    context.admin().await?.limit(&alice, &acme, limits).await?;
    let over = |current, attempted| Over {
        name: "order_quantity_rolling_limit",
        symbol: &acme,
        limit: 20,
        current: Some(current),
        attempted,
    };
    alice.try_insert(buy(&acme, 100, 21)).await.over_rate(over(0, 21))?;
    let cancelled = alice.rest(buy(&acme, 100, 4)).await?.order_id;
    alice.cancel_id(cancelled).await?;
    alice
        .insert(ioc(&acme, Side::Sell, 100, 3))
        .await?
        .came_to(Outcome::cancelled(CancelReason::TimeInForce, &[]))?;
    let traded = alice.rest(sell(&acme, 100, 5)).await?.order_id;
    bob.insert(buy(&acme, 100, 5))
        .await?
        .came_to(Outcome::filled(&[(100, 5)]))?;
    alice.is_filled(traded, 5).await?;
    let refusal = alice.try_insert(buy(&acme, 100, 9)).await.over_rate(over(12, 9))?;
    tells_when(&refusal)?;
    alice.rest(buy(&acme, 100, 7)).await?;
    alice.try_insert(sell(&acme, 101, 2)).await.over_rate(over(19, 2))?;
    alice.rest(sell(&acme, 101, 1)).await?;
    alice.try_insert(buy(&acme, 90, 1)).await.over_rate(over(20, 1))?;
    Ok(())
}

/// Catches: amends not counted, counted by their whole quantity, or giving back; an amend to less refused.
pub(super) async fn quantity_amended(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let limits = InstrumentRiskLimits {
        order_quantity_rolling_limit: window(8, HOUR),
        ..InstrumentRiskLimits::default()
    };
    context.admin().await?.limit(&alice, &acme, limits).await?;
    let over = |current, attempted| Over {
        name: "order_quantity_rolling_limit",
        symbol: &acme,
        limit: 8,
        current: Some(current),
        attempted,
    };
    let last = alice.rest(buy(&acme, 100, 6)).await?.order_id;
    alice
        .try_amend(amend(last, None, Some(9)))
        .await
        .over_rate(over(6, 3))?;
    alice
        .amend(amend(last, None, Some(7)))
        .await?
        .came_to(Outcome::open(7, &[]))?;
    alice
        .amend(amend(last, Some(99), Some(5)))
        .await?
        .came_to(Outcome::open(5, &[]))?;
    alice.try_insert(sell(&acme, 100, 2)).await.over_rate(over(7, 2))?;
    alice.rest(sell(&acme, 100, 1)).await?;
    alice.try_insert(buy(&acme, 90, 1)).await.over_rate(over(8, 1))?;
    alice
        .amend(amend(last, None, Some(4)))
        .await?
        .came_to(Outcome::open(4, &[]))?;
    Ok(())
}

/// Catches: an off-by-one; a forgotten multiplier; negative prices that give room; amounts given back.
pub(super) async fn amount(context: Context) -> Verdict {
    for side in [Side::Buy, Side::Sell] {
        let acme = context.instrument_with(|request| request.multiplier = 5).await?.symbol;
        let alice = context.trader().await?;
        let limits = InstrumentRiskLimits {
            order_amount_rolling_limit: window(5_000, HOUR),
            ..InstrumentRiskLimits::default()
        };
        context.admin().await?.limit(&alice, &acme, limits).await?;
        let over = |current, attempted| Over {
            name: "order_amount_rolling_limit",
            symbol: &acme,
            limit: 5_000,
            current: Some(current),
            attempted,
        };
        let order = |price, quantity| limit(&acme, side, price, quantity);
        let first = alice.rest(order(-100, 6)).await?.order_id;
        alice.cancel_id(first).await?;
        let refusal = alice.try_insert(order(100, 5)).await.over_rate(over(3_000, 2_500))?;
        tells_when(&refusal)?;
        alice.rest(order(120, 3)).await?;
        alice.try_insert(order(41, 1)).await.over_rate(over(4_800, 205))?;
        alice.rest(order(40, 1)).await?;
        alice.try_insert(order(1, 1)).await.over_rate(over(5_000, 5))?;
    }
    Ok(())
}

/// Catches: amends not counted, counted by their whole amount, or without the multiplier.
pub(super) async fn amount_amended(context: Context) -> Verdict {
    for side in [Side::Buy, Side::Sell] {
        let acme = context.instrument_with(|request| request.multiplier = 5).await?.symbol;
        let alice = context.trader().await?;
        let limits = InstrumentRiskLimits {
            order_amount_rolling_limit: window(2_000, HOUR),
            ..InstrumentRiskLimits::default()
        };
        context.admin().await?.limit(&alice, &acme, limits).await?;
        let over = |current, attempted| Over {
            name: "order_amount_rolling_limit",
            symbol: &acme,
            limit: 2_000,
            current: Some(current),
            attempted,
        };
        let order = |price, quantity| limit(&acme, side, price, quantity);
        let first = alice.rest(order(100, 3)).await?.order_id;
        alice
            .try_amend(amend(first, Some(150), None))
            .await
            .over_rate(over(1_500, 750))?;
        alice
            .amend(amend(first, Some(120), None))
            .await?
            .came_to(Outcome::open(3, &[]))?;
        alice.try_insert(order(41, 1)).await.over_rate(over(1_800, 205))?;
        alice.rest(order(40, 1)).await?;
        alice.try_insert(order(1, 1)).await.over_rate(over(2_000, 5))?;
    }
    Ok(())
}

/// Catches: a window that forgets when its limit is replaced or lifted; orders before the first limit counted.
pub(super) async fn keeps_counting(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let of = |limit, seconds| InstrumentRiskLimits {
        order_quantity_rolling_limit: window(limit, seconds),
        ..InstrumentRiskLimits::default()
    };
    let over = |limit, current, attempted| Over {
        name: "order_quantity_rolling_limit",
        symbol: &acme,
        limit,
        current: Some(current),
        attempted,
    };
    alice.rest(buy(&acme, 100, 50)).await?;
    admin.limit(&alice, &acme, of(10, HOUR)).await?;
    alice.rest(buy(&acme, 100, 6)).await?;
    alice.try_insert(buy(&acme, 100, 5)).await.over_rate(over(10, 6, 5))?;
    admin.limit(&alice, &acme, InstrumentRiskLimits::default()).await?;
    alice.rest(buy(&acme, 100, 3)).await?;
    admin.limit(&alice, &acme, of(10, HOUR)).await?;
    alice.try_insert(buy(&acme, 100, 2)).await.over_rate(over(10, 9, 2))?;
    alice.rest(buy(&acme, 100, 1)).await?;
    admin.limit(&alice, &acme, of(12, 86_400)).await?;
    alice.try_insert(buy(&acme, 100, 3)).await.over_rate(over(12, 10, 3))?;
    alice.rest(buy(&acme, 100, 2)).await?;
    alice.try_insert(buy(&acme, 100, 1)).await.over_rate(over(12, 12, 1))?;
    Ok(())
}

const LIMIT: usize = 4;
const SECONDS: i32 = 3;

/// One lot early, three late in the window, then as many as are let through. Judged by the exchange's
/// own times, so that a slow answer is nobody's fault.
///
/// Catches: fixed windows of any start, a window that resets, a token bucket (each lets five through
/// in less than the window); refused orders that count; a window that never ends.
pub(super) async fn slides(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let limits = InstrumentRiskLimits {
        order_quantity_rolling_limit: window(LIMIT as i64, SECONDS),
        ..InstrumentRiskLimits::default()
    };
    context.admin().await?.limit(&alice, &acme, limits).await?;
    let length = Duration::from_secs(SECONDS as u64);
    let begun = Instant::now();
    let mut times = vec![alice.insert(buy(&acme, 100, 1)).await?.time_unix_ns];
    tokio::time::sleep_until(begun + length.mul_f64(0.75)).await;
    let mut until = Instant::now() + alice.patience() + length;
    // Two windows' worth and one more: at least two windows go by.
    while times.len() <= 2 * LIMIT {
        match alice.try_insert(buy(&acme, 100, 1)).await.either() {
            Ok(reply) => {
                times.push(reply.time_unix_ns);
                until = Instant::now() + alice.patience() + length;
                let Some(first) = times.len().checked_sub(LIMIT + 1) else {
                    continue;
                };
                let apart = times[times.len() - 1] - times[first];
                // A tenth for clocks that differ: every wrong window is further off.
                let least = length.as_nanos() as i64 / 10 * 9;
                reply.at().holds(
                    apart >= least,
                    format!("{} lots within {} ms (time_unix_ns)", LIMIT + 1, apart / 1_000_000),
                    format!("at most {LIMIT} lots in any {SECONDS} s, whatever moment they start at"),
                )?;
            }
            Err(refusal) => {
                refusal
                    .is(
                        ErrorReason::RateLimit,
                        &[("limit_name", "order_quantity_rolling_limit"), ("symbol", &acme)],
                    )
                    .map_err(|came| refusal.fail(came, "RATE_LIMIT by order_quantity_rolling_limit"))?;
                refusal.at().holds(
                    Instant::now() < until,
                    format!("no order was taken for {} s", (alice.patience() + length).as_secs()),
                    format!(
                        "orders to be taken again when those before are {SECONDS} s old; refused ones do not count"
                    ),
                )?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    Ok(())
}
