//! Windows that slide. Time passes here only as the exchange says: by RetryInfo, which is waited for
//! exactly, and by `time_unix_ns`, by which it is judged.

use std::time::Duration;

use optivex_proto::v1::{
    ErrorReason, InsertOrderRequest, InsertOrderResponse, InstrumentRiskLimits, RollingWindowLimit, UserRiskLimits,
};
use tokio::time::{Instant, sleep};

use crate::client::{Reply, Session};
use crate::context::Context;
use crate::order::buy;
use crate::verdict::Verdict;

/// Messages in any window of so many seconds.
const MESSAGES: usize = 3;
const SECONDS: i32 = 2;
/// Clocks differ by so much at most; every wrong window is further off.
const CLOCKS: Duration = Duration::from_millis(200);

fn window(limit: i64, window_in_seconds: i32) -> Option<RollingWindowLimit> {
    Some(RollingWindowLimit {
        limit,
        window_in_seconds,
    })
}

/// Inserts; where a window refuses, waits exactly as RetryInfo says, and then it passes.
async fn when_told(user: &Session, order: InsertOrderRequest) -> Verdict<Reply<InsertOrderResponse>> {
    let length = Duration::from_secs(SECONDS as u64);
    let mut waited = None;
    let until = Instant::now() + user.patience() + length;
    loop {
        let refusal = match user.try_insert(order.clone()).await.either() {
            Ok(reply) => return Ok(reply),
            Err(refusal) => refusal,
        };
        refusal
            .is(ErrorReason::RateLimit, &[])
            .map_err(|came| refusal.fail(came, "RATE_LIMIT, or the order to be taken"))?;
        let told = refusal.retry_after.unwrap_or_default();
        refusal.at().holds(
            !told.is_zero() && told <= length + CLOCKS,
            format!("RetryInfo is {:?}", refusal.retry_after),
            format!("google.rpc.RetryInfo in the details, with a delay within the window of {SECONDS} s"),
        )?;
        if let Some(waited) = waited {
            refusal.at().holds(
                told <= CLOCKS && Instant::now() < until,
                format!("after the {waited:?} of RetryInfo the same order is refused again, for {told:?} more"),
                "the order to be taken after the delay of RetryInfo: nothing else happened meanwhile",
            )?;
        }
        sleep(told).await;
        waited = Some(told);
    }
}

/// One message early in the window, two late (another limit says when), then as many as are let through.
///
/// Catches: fixed windows of any start, a window that resets, a token bucket, refused orders that
/// count as messages, a RetryInfo that is missing or too short.
pub(super) async fn messages(context: Context) -> Verdict {
    let (acme, bolt) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    // Messages of this user's past may count too: then it only takes longer.
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let paced = InstrumentRiskLimits {
        order_quantity_rolling_limit: window(1, 1),
        ..InstrumentRiskLimits::default()
    };
    admin.limit(&alice, &acme, paced).await?;
    let limits = UserRiskLimits {
        message_rate_rolling_limit: window(MESSAGES as i64, SECONDS),
        ..UserRiskLimits::default()
    };
    admin.limit_user(&alice, limits).await?;
    let mut times = Vec::new();
    for _ in 0..2 {
        let order = when_told(&alice, buy(&acme, 100, 1)).await?;
        times.push(order.time_unix_ns);
    }
    // Two windows' worth and one more: at least two windows go by.
    while times.len() <= 2 * MESSAGES {
        let order = when_told(&alice, buy(&bolt, 100, 1)).await?;
        times.push(order.time_unix_ns);
        let Some(first) = times.len().checked_sub(MESSAGES + 1) else {
            continue;
        };
        let apart = order.time_unix_ns - times[first];
        order.at().holds(
            apart >= i64::from(SECONDS) * 1_000_000_000 - CLOCKS.as_nanos() as i64,
            format!(
                "{} messages within {} ms (time_unix_ns)",
                MESSAGES + 1,
                apart / 1_000_000
            ),
            format!("at most {MESSAGES} messages in any {SECONDS} s, whatever moment they start at"),
        )?;
    }
    Ok(())
}
