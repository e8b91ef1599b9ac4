//! Every static limit at its edge.

use optivex_proto::v1::{InstrumentRiskLimits, OrderStatus, Side, UserRiskLimits};

use crate::check::{Over, amend};
use crate::context::Context;
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

const SIDES: [(Side, Side); 2] = [(Side::Buy, Side::Sell), (Side::Sell, Side::Buy)];

/// Prices that do not cross, whatever is sent.
fn apart(side: Side) -> i64 {
    if side == Side::Buy { 100 } else { 200 }
}

/// Catches: an off-by-one; outstanding counted for buys only, or by side; metadata that lies.
pub(super) async fn quantity(context: Context) -> Verdict {
    let admin = context.admin().await?;
    let alice = context.trader().await?;
    for (one, other) in SIDES {
        let acme = context.instrument().await?.symbol;
        let limits = InstrumentRiskLimits {
            max_outstanding_quantity: Some(10),
            ..InstrumentRiskLimits::default()
        };
        admin.limit(&alice, &acme, limits).await?;
        let over = |current, attempted| Over {
            name: "max_outstanding_quantity",
            symbol: &acme,
            limit: 10,
            current: Some(current),
            attempted,
        };
        let order = |side, quantity| limit(&acme, side, apart(side), quantity);
        alice.try_insert(order(one, 11)).await.over(over(0, 11))?;
        alice.rest(order(one, 6)).await?;
        alice.try_insert(order(other, 5)).await.over(over(6, 5))?;
        alice.try_insert(order(one, 5)).await.over(over(6, 5))?;
        alice.rest(order(other, 3)).await?;
        alice.try_insert(order(one, 2)).await.over(over(9, 2))?;
        alice.rest(order(one, 1)).await?;
        alice.try_insert(order(other, 1)).await.over(over(10, 1))?;
        alice.try_insert(order(one, 1)).await.over(over(10, 1))?;
    }
    Ok(())
}

/// Catches: an off-by-one; a forgotten multiplier; negative prices that give room; one side only.
pub(super) async fn amount(context: Context) -> Verdict {
    let admin = context.admin().await?;
    let alice = context.trader().await?;
    for (one, other) in SIDES {
        let acme = context.instrument_with(|request| request.multiplier = 7).await?.symbol;
        let limits = InstrumentRiskLimits {
            max_outstanding_amount_e4: Some(2_100),
            ..InstrumentRiskLimits::default()
        };
        admin.limit(&alice, &acme, limits).await?;
        let over = |current, attempted| Over {
            name: "max_outstanding_amount_e4",
            symbol: &acme,
            limit: 2_100,
            current: Some(current),
            attempted,
        };
        // Buys at -100, sells at 50: |price| x quantity x 7.
        let order = |side, quantity| limit(&acme, side, if side == Side::Buy { -100 } else { 50 }, quantity);
        let amount = |side, quantity| {
            if side == Side::Buy {
                700 * quantity
            } else {
                350 * quantity
            }
        };
        alice.try_insert(order(one, 7)).await.over(over(0, amount(one, 7)))?;
        alice.rest(order(one, 2)).await?;
        let held = amount(one, 2);
        let room = (2_100 - held) / amount(other, 1);
        alice
            .try_insert(order(other, room + 1))
            .await
            .over(over(held, amount(other, room + 1)))?;
        alice.rest(order(other, room)).await?;
        alice
            .try_insert(order(one, 1))
            .await
            .over(over(2_100, amount(one, 1)))?;
        // An amount of nothing fits always.
        alice
            .insert(limit(&acme, Side::Buy, 0, 1))
            .await?
            .has("status", |reply| reply.status(), OrderStatus::Open)?;
    }
    Ok(())
}

/// Catches: user limits judged by instrument, or by side; a multiplier of one instrument taken for all.
pub(super) async fn of_user(context: Context) -> Verdict {
    let admin = context.admin().await?;
    let acme = context.instrument().await?.symbol;
    let coal = context.instrument_with(|request| request.multiplier = 10).await?.symbol;
    let alice = context.trader().await?;
    let quantity = UserRiskLimits {
        max_outstanding_quantity: Some(10),
        ..UserRiskLimits::default()
    };
    admin.limit_user(&alice, quantity).await?;
    let over = |current, attempted| Over {
        name: "max_outstanding_quantity",
        symbol: "",
        limit: 10,
        current: Some(current),
        attempted,
    };
    let first = alice.rest(buy(&acme, 100, 6)).await?.order_id;
    alice.try_insert(sell(&coal, 100, 5)).await.over(over(6, 5))?;
    alice.rest(sell(&coal, 100, 4)).await?;
    alice.try_insert(buy(&coal, 50, 1)).await.over(over(10, 1))?;
    alice.try_insert(sell(&acme, 200, 1)).await.over(over(10, 1))?;
    alice.cancel_id(first).await?;
    // 4 x 100 x 10 rest in the second instrument.
    let amount = UserRiskLimits {
        max_outstanding_amount_e4: Some(5_000),
        ..UserRiskLimits::default()
    };
    admin.limit_user(&alice, amount).await?;
    let over = |current, attempted| Over {
        name: "max_outstanding_amount_e4",
        symbol: "",
        limit: 5_000,
        current: Some(current),
        attempted,
    };
    alice.try_insert(buy(&acme, 100, 11)).await.over(over(4_000, 1_100))?;
    alice.rest(buy(&acme, 100, 10)).await?;
    alice.try_insert(buy(&coal, 1, 1)).await.over(over(5_000, 10))?;
    Ok(())
}

fn five_an_order() -> InstrumentRiskLimits {
    InstrumentRiskLimits {
        max_order_quantity: Some(5),
        ..InstrumentRiskLimits::default()
    }
}

fn over_five(symbol: &str, current: Option<i64>, attempted: i64) -> Over<'_> {
    Over {
        name: "max_order_quantity",
        symbol,
        limit: 5,
        current,
        attempted,
    }
}

/// Catches: an off-by-one; the limit not judged for sells, or judged by all that is open.
pub(super) async fn order_quantity(context: Context) -> Verdict {
    let alice = context.trader().await?;
    for (side, _) in SIDES {
        let acme = context.instrument().await?.symbol;
        context.admin().await?.limit(&alice, &acme, five_an_order()).await?;
        let order = |quantity| limit(&acme, side, apart(side), quantity);
        alice.try_insert(order(6)).await.over(over_five(&acme, None, 6))?;
        alice.rest(order(4)).await?;
        alice.rest(order(5)).await?;
        alice.try_insert(order(6)).await.over(over_five(&acme, None, 6))?;
    }
    Ok(())
}

/// Catches: the limit not judged for amends, or judged by what is open.
pub(super) async fn order_quantity_amended(context: Context) -> Verdict {
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for (one, other) in SIDES {
        let acme = context.instrument().await?.symbol;
        context.admin().await?.limit(&alice, &acme, five_an_order()).await?;
        let order = |side, quantity| limit(&acme, side, apart(one), quantity);
        let first = alice.rest(order(one, 4)).await?.order_id;
        bob.insert(order(other, 2)).await?;
        // 4 with 2 traded: the order's lots count, not the open ones.
        alice
            .try_amend(amend(first, None, Some(6)))
            .await
            .over(over_five(&acme, Some(4), 2))?;
        alice
            .amend(amend(first, None, Some(5)))
            .await?
            .has("open_quantity", |reply| reply.open_quantity, 3)?;
    }
    Ok(())
}

/// Catches: an off-by-one; a short counted as negative room; open orders or the position left out;
/// sides added up; an order that only reduces refused.
pub(super) async fn position(context: Context) -> Verdict {
    let admin = context.admin().await?;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for (one, other) in SIDES {
        let acme = context.instrument().await?.symbol;
        let of = |max_position| InstrumentRiskLimits {
            max_position: Some(max_position),
            ..InstrumentRiskLimits::default()
        };
        admin.limit(&alice, &acme, of(5)).await?;
        let over = |limit, current, attempted| Over {
            name: "max_position",
            symbol: &acme,
            limit,
            current,
            attempted,
        };
        let at = |side, quantity| limit(&acme, side, apart(side), quantity);
        alice.try_insert(at(one, 6)).await.over(over(5, Some(0), 6))?;
        alice.rest(at(one, 3)).await?;
        // Sides are not added: each has its own room.
        let away = alice.rest(at(other, 5)).await?.order_id;
        alice.try_insert(at(other, 1)).await.over(over(5, Some(5), 1))?;
        alice.try_insert(at(one, 3)).await.over(over(5, Some(3), 3))?;
        alice.cancel_id(away).await?;
        // What traded still counts, now as held.
        bob.insert(limit(&acme, other, apart(one), 3)).await?;
        alice.try_insert(at(one, 3)).await.over(over(5, None, 3))?;
        let two = alice.rest(at(one, 2)).await?.order_id;
        alice.try_insert(at(one, 1)).await.over(over(5, None, 1))?;
        // From 3 to -5 are 8.
        alice.try_insert(at(other, 9)).await.over(over(5, None, 9))?;
        let back = alice.rest(at(other, 8)).await?.order_id;
        alice.try_insert(at(other, 1)).await.over(over(5, None, 1))?;
        alice.cancel_id(back).await?;
        alice.cancel_id(two).await?;
        // The limit goes below what is held: the way back is free.
        admin.limit(&alice, &acme, of(1)).await?;
        alice.try_insert(at(one, 1)).await.over(over(1, None, 1))?;
        alice.rest(at(other, 4)).await?;
        alice.try_insert(at(other, 1)).await.over(over(1, None, 1))?;
    }
    Ok(())
}
