//! What a command adds.

use optivex_proto::v1::{CancelReason, InsertOrderRequest, InstrumentRiskLimits, Side};

use crate::check::{Outcome, Over, amend};
use crate::context::Context;
use crate::order::{buy, fok, ioc, market, sell};
use crate::verdict::Verdict;

/// Catches: orders that would trade judged by what remains, or not at all.
pub(super) async fn whole(context: Context) -> Verdict {
    counts_whole(
        &context,
        |acme| {
            vec![
                buy(acme, 100, 11),
                ioc(acme, Side::Buy, 100, 11),
                ioc(acme, Side::Buy, 99, 11),
            ]
        },
        |acme| vec![buy(acme, 100, 10), ioc(acme, Side::Buy, 100, 10)],
    )
    .await
}

/// Catches: FOK or market orders judged by what they would trade, or not at all.
pub(super) async fn whole_of_types(context: Context) -> Verdict {
    counts_whole(
        &context,
        |acme| vec![fok(acme, Side::Buy, 100, 11), market(acme, Side::Buy, 11)],
        |acme| vec![market(acme, Side::Buy, 10), fok(acme, Side::Buy, 100, 10)],
    )
    .await
}

type Orders = fn(&str) -> Vec<InsertOrderRequest>;

/// Where 10 lots are the limit: orders of 11 lots, and orders of 10 lots that trade.
async fn counts_whole(context: &Context, over: Orders, within: Orders) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let limits = InstrumentRiskLimits {
        max_outstanding_quantity: Some(10),
        ..InstrumentRiskLimits::default()
    };
    context.admin().await?.limit(&alice, &acme, limits).await?;
    bob.rest(sell(&acme, 100, 30)).await?;
    let expected = Over {
        name: "max_outstanding_quantity",
        symbol: &acme,
        limit: 10,
        current: Some(0),
        attempted: 11,
    };
    for order in over(&acme) {
        alice.try_insert(order).await.over(expected)?;
    }
    for order in within(&acme) {
        alice.insert(order).await?.came_to(Outcome::filled(&[(100, 10)]))?;
    }
    Ok(())
}

/// Catches: a market order without an amount, at price 0, or at the best price for all of its lots.
pub(super) async fn market_order(context: Context) -> Verdict {
    let acme = context.instrument_with(|request| request.multiplier = 2).await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    bob.rest(sell(&acme, 100, 2)).await?;
    bob.rest(sell(&acme, 150, 3)).await?;
    let admin = context.admin().await?;
    // (2 x 100 + 3 x 150) x 2, whatever of its lots finds nobody.
    for (limit, passes) in [(1_299, false), (1_300, true)] {
        let limits = InstrumentRiskLimits {
            max_outstanding_amount_e4: Some(limit),
            ..InstrumentRiskLimits::default()
        };
        admin.limit(&alice, &acme, limits).await?;
        let answer = alice.try_insert(market(&acme, Side::Buy, 9)).await;
        if passes {
            let expected = Outcome::cancelled(CancelReason::TimeInForce, &[(100, 2), (150, 3)]);
            answer.accepted()?.came_to(expected)?;
        } else {
            answer.over(Over {
                name: "max_outstanding_amount_e4",
                symbol: &acme,
                limit,
                current: Some(0),
                attempted: 1_300,
            })?;
        }
    }
    Ok(())
}

/// Catches: amends judged by their whole quantity, or not at all; a decrease refused at the limit; an
/// order changed by a refused amend.
pub(super) async fn amends(context: Context) -> Verdict {
    let acme = context.instrument_with(|request| request.multiplier = 2).await?.symbol;
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let limits = InstrumentRiskLimits {
        max_outstanding_quantity: Some(10),
        max_outstanding_amount_e4: Some(2_000),
        max_position: Some(10),
        ..InstrumentRiskLimits::default()
    };
    admin.limit(&alice, &acme, limits).await?;
    let over = |name, limit, current, attempted| Over {
        name,
        symbol: &acme,
        limit,
        current,
        attempted,
    };
    let order = alice.rest(buy(&acme, 100, 8)).await?;
    let id = order.order_id;
    // At once over lots and position: which of the two is told is left open.
    let refusal = alice.try_amend(amend(id, Some(50), Some(11))).await.refused(
        optivex_proto::v1::ErrorReason::RiskLimit,
        &[("limit", "10"), ("attempted", "3")],
    )?;
    refusal.shows("limit_name max_outstanding_quantity or max_position", |refusal| {
        let name = refusal.metadata.get("limit_name").map(String::as_str);
        matches!(name, Some("max_outstanding_quantity" | "max_position"))
    })?;
    alice.try_amend(amend(id, Some(126), None)).await.over(over(
        "max_outstanding_amount_e4",
        2_000,
        Some(1_600),
        416,
    ))?;
    alice.book_shows(&acme, order.event_seq, &[(100, 8, 1)], &[]).await?;
    alice
        .amend(amend(id, Some(125), None))
        .await?
        .came_to(Outcome::open(8, &[]))?;
    alice
        .try_amend(amend(id, None, Some(9)))
        .await
        .over(over("max_outstanding_amount_e4", 2_000, Some(2_000), 250))?;
    // At the limit the way down is free.
    alice
        .amend(amend(id, Some(100), None))
        .await?
        .came_to(Outcome::open(8, &[]))?;
    alice
        .amend(amend(id, None, Some(10)))
        .await?
        .came_to(Outcome::open(10, &[]))?;
    alice
        .amend(amend(id, None, Some(10)))
        .await?
        .came_to(Outcome::open(10, &[]))?;
    let last = alice.amend(amend(id, None, Some(9))).await?;
    last.came_to(Outcome::open(9, &[]))?;
    alice.rest(buy(&acme, 100, 1)).await?;
    Ok(())
}
