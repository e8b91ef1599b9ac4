//! Whom limits touch, when they are judged, and what is told of them.

use std::collections::BTreeMap;

use optivex_proto::v1::{
    ErrorReason, GetInstrumentRiskLimitsRequest, GetRiskUsageRequest, GetRiskUsageResponse, GetUserRiskLimitsRequest,
    InsertOrderRequest, InstrumentRiskLimits, ListTradesRequest, RollingWindowLimit, Side, TradingPhase,
    UserRiskLimits,
};

use crate::check::{Looks, Outcome, Over, amend};
use crate::client::{Reply, Session};
use crate::context::Context;
use crate::order::{buy, fok, sell};
use crate::verdict::Verdict;

fn nothing() -> InstrumentRiskLimits {
    InstrumentRiskLimits {
        max_outstanding_quantity: Some(0),
        ..InstrumentRiskLimits::default()
    }
}

/// Catches: limits or sums kept by instrument alone, or by user alone.
pub(super) async fn others(context: Context) -> Verdict {
    let admin = context.admin().await?;
    let (acme, coal) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let ten = InstrumentRiskLimits {
        max_outstanding_quantity: Some(10),
        max_order_quantity: Some(10),
        max_position: Some(10),
        order_quantity_rolling_limit: Some(RollingWindowLimit {
            limit: 10,
            window_in_seconds: 3_600,
        }),
        ..InstrumentRiskLimits::default()
    };
    admin.limit(&alice, &acme, ten).await?;
    bob.rest(buy(&acme, 100, 1_000)).await?;
    bob.rest(sell(&acme, 200, 1_000)).await?;
    alice.rest(buy(&acme, 101, 10)).await?;
    bob.rest(buy(&acme, 100, 1_000)).await?;
    alice.rest(buy(&coal, 100, 1_000)).await?;
    let zero = UserRiskLimits {
        max_outstanding_quantity: Some(0),
        ..UserRiskLimits::default()
    };
    admin.limit_user(&alice, zero).await?;
    bob.rest(buy(&acme, 99, 5)).await?;
    alice
        .try_insert(buy(&coal, 99, 1))
        .await
        .refused(ErrorReason::RiskLimit, &[("limit", "0")])?;
    // Bob's trades with Alice's resting order are not hers to judge.
    bob.insert(sell(&acme, 101, 10))
        .await?
        .came_to(Outcome::filled(&[(101, 10)]))?;
    Ok(())
}

/// Catches: an order judged after it reached the book; a client id used up; a tape that shows it.
pub(super) async fn no_trace(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let admin = context.admin().await?;
    let rests = bob.rest(sell(&acme, 100, 5)).await?;
    admin.limit(&alice, &acme, nothing()).await?;
    let named = InsertOrderRequest {
        client_order_id: context.unique(),
        ..buy(&acme, 100, 5)
    };
    alice
        .try_insert(named.clone())
        .await
        .refused(ErrorReason::RiskLimit, &[])?;
    let book = bob.book_shows(&acme, rests.event_seq, &[], &[(100, 5, 1)]).await?;
    book.has("book_seq", |book| book.book_seq, 1)?;
    let trades = bob
        .trades(ListTradesRequest {
            symbol: acme.clone(),
            ..ListTradesRequest::default()
        })
        .await?;
    trades.has("trades", |page| page.trades.len(), 0)?;
    admin.limit(&alice, &acme, InstrumentRiskLimits::default()).await?;
    let other_content = InsertOrderRequest { quantity: 2, ..named };
    alice
        .insert(other_content)
        .await?
        .came_to(Outcome::filled(&[(100, 2)]))?;
    Ok(())
}

/// Catches: limits merged instead of replaced; 0 taken for no limit; a limit that counts too late.
pub(super) async fn replaced(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let username = alice.username().to_owned();
    admin.limit(&alice, &acme, nothing()).await?;
    alice.try_insert(buy(&acme, 100, 1)).await.over(Over {
        name: "max_outstanding_quantity",
        symbol: &acme,
        limit: 0,
        current: Some(0),
        attempted: 1,
    })?;
    let position = InstrumentRiskLimits {
        max_position: Some(1_000),
        ..InstrumentRiskLimits::default()
    };
    admin.limit(&alice, &acme, position).await?;
    alice.rest(buy(&acme, 100, 7)).await?;
    for who in [String::new(), username.clone()] {
        let told = alice
            .instrument_limits(GetInstrumentRiskLimitsRequest { username: who })
            .await?;
        told.has(
            "limits of the instrument",
            |told| told.limits_by_symbol.get(&acme).copied(),
            Some(position),
        )?;
    }
    let seven = UserRiskLimits {
        max_outstanding_quantity: Some(7),
        max_outstanding_amount_e4: Some(i64::MAX),
        message_rate_rolling_limit: None,
    };
    admin.limit_user(&alice, seven).await?;
    let told = alice.user_limits(GetUserRiskLimitsRequest::default()).await?;
    told.has("limits", |told| told.limits, Some(seven))?;
    // Set below or at what is outstanding: counts at once.
    alice.try_insert(buy(&acme, 100, 1)).await.over(Over {
        name: "max_outstanding_quantity",
        symbol: "",
        limit: 7,
        current: Some(7),
        attempted: 1,
    })?;
    admin.limit_user(&alice, UserRiskLimits::default()).await?;
    alice.rest(buy(&acme, 100, 1)).await?;
    let told = admin.user_limits(GetUserRiskLimitsRequest { username }).await?;
    told.has(
        "limits",
        |told| told.limits.unwrap_or_default(),
        UserRiskLimits::default(),
    )?;
    Ok(())
}

/// Catches: instrument limits judged first; limits judged before tick or client id.
pub(super) async fn judgement(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.tick_size_e4 = 5)
        .await?
        .symbol;
    let alice = context.trader().await?;
    let admin = context.admin().await?;
    let named = InsertOrderRequest {
        client_order_id: context.unique(),
        ..buy(&acme, 100, 5)
    };
    let first = alice.rest(named.clone()).await?;
    admin.limit(&alice, &acme, nothing()).await?;
    alice.try_insert(buy(&acme, 100, 1)).await.over(Over {
        name: "max_outstanding_quantity",
        symbol: &acme,
        limit: 0,
        current: Some(5),
        attempted: 1,
    })?;
    let zero = UserRiskLimits {
        max_outstanding_amount_e4: Some(0),
        ..UserRiskLimits::default()
    };
    admin.limit_user(&alice, zero).await?;
    alice.try_insert(buy(&acme, 100, 1)).await.over(Over {
        name: "max_outstanding_amount_e4",
        symbol: "",
        limit: 0,
        current: Some(500),
        attempted: 100,
    })?;
    alice
        .try_insert(buy(&acme, 101, 1))
        .await
        .refused(ErrorReason::InvalidTick, &[])?;
    alice
        .try_insert(buy("NOBODY", 100, 1))
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    let again = alice.insert(named.clone()).await?;
    again.at().same("the answer to the retry", &*again, &*first)?;
    alice
        .try_insert(InsertOrderRequest { quantity: 9, ..named })
        .await
        .refused(ErrorReason::ClientIdReused, &[])?;
    Ok(())
}

/// Catches: limits judged before phase, crossing, or what is known of the order.
pub(super) async fn judgement_of_types(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let admin = context.admin().await?;
    bob.rest(sell(&acme, 200, 5)).await?;
    let done = alice.rest(buy(&acme, 100, 5)).await?.order_id;
    alice.cancel_id(done).await?;
    admin.limit(&alice, &acme, nothing()).await?;
    alice
        .try_amend(amend(done, None, Some(9)))
        .await
        .refused(ErrorReason::OrderDone, &[])?;
    let crossing = InsertOrderRequest {
        post_only: true,
        ..buy(&acme, 200, 1)
    };
    alice.try_insert(crossing).await.refused(ErrorReason::WouldCross, &[])?;
    alice
        .try_insert(fok(&acme, Side::Buy, 200, 6))
        .await
        .refused(ErrorReason::CannotFill, &[])?;
    admin.phase(&acme, TradingPhase::Halted).await?;
    alice
        .try_insert(buy(&acme, 100, 1))
        .await
        .refused(ErrorReason::PhaseForbids, &[])?;
    Ok(())
}

/// Name and symbol; what counts, and the limit.
type Usages = BTreeMap<(String, String), (i64, Option<i64>)>;

/// The usage at this event or later. Limits of others and sums of earlier cases are left out.
async fn usage_at(alice: &Session, symbols: &[&str], event_seq: u64) -> Verdict<(Reply<GetRiskUsageResponse>, Usages)> {
    let mut looks = Looks::new(alice);
    loop {
        let reply = alice.usage(GetRiskUsageRequest::default()).await?;
        if reply.event_seq >= event_seq || !looks.again().await {
            let usages = reply
                .usages
                .iter()
                .filter(|usage| symbols.contains(&usage.symbol.as_str()))
                .map(|usage| {
                    (
                        (usage.limit_name.clone(), usage.symbol.clone()),
                        (usage.current, usage.limit),
                    )
                })
                .collect();
            return Ok((reply, usages));
        }
    }
}

/// Catches: usage of buys only; sums that are lost without a limit; a used window told as free.
pub(super) async fn usage(context: Context) -> Verdict {
    let acme = context.instrument_with(|request| request.multiplier = 2).await?.symbol;
    let coal = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let admin = context.admin().await?;
    let limits = InstrumentRiskLimits {
        max_outstanding_quantity: Some(100),
        max_position: Some(50),
        order_quantity_rolling_limit: Some(RollingWindowLimit {
            limit: 1_000,
            window_in_seconds: 86_400,
        }),
        ..InstrumentRiskLimits::default()
    };
    admin.limit(&alice, &acme, limits).await?;
    let all = UserRiskLimits {
        max_outstanding_quantity: Some(500),
        ..UserRiskLimits::default()
    };
    admin.limit_user(&alice, all).await?;
    let traded = alice.rest(buy(&acme, 100, 10)).await?.order_id;
    alice.rest(sell(&acme, 200, 7)).await?;
    bob.insert(sell(&acme, 100, 4))
        .await?
        .came_to(Outcome::filled(&[(100, 4)]))?;
    let last = alice.rest(buy(&coal, 3, 5)).await?;
    let (reply, usages) = usage_at(&alice, &[&acme, &coal, ""], last.event_seq).await?;
    for (name, symbol, current, limit) in [
        ("max_outstanding_quantity", acme.as_str(), 13, Some(100)),
        ("max_outstanding_amount_e4", &acme, 6 * 200 + 7 * 400, None),
        ("max_position", &acme, 10, Some(50)),
        ("order_quantity_rolling_limit", &acme, 17, Some(1_000)),
        ("max_outstanding_quantity", &coal, 5, None),
        ("max_outstanding_amount_e4", &coal, 15, None),
        ("max_outstanding_quantity", "", 18, Some(500)),
        ("max_outstanding_amount_e4", "", 6 * 200 + 7 * 400 + 15, None),
    ] {
        let told = usages.get(&(name.to_owned(), symbol.to_owned()));
        let place = if symbol.is_empty() { "all instruments" } else { symbol };
        reply.at().same(
            &format!("current and limit of {name} of {place}"),
            told,
            Some(&(current, limit)),
        )?;
    }
    alice.cancel_id(traded).await?;
    let end = alice
        .cancel_all(optivex_proto::v1::CancelAllOrdersRequest::default())
        .await?;
    let (reply, usages) = usage_at(&alice, &[&acme, &coal, ""], end.event_seq).await?;
    for symbol in [acme.as_str(), &coal, ""] {
        for name in ["max_outstanding_quantity", "max_outstanding_amount_e4"] {
            let told = usages
                .get(&(name.to_owned(), symbol.to_owned()))
                .map_or(0, |(current, _)| *current);
            reply.at().same(&format!("current of {name} of {symbol:?}"), told, 0)?;
        }
    }
    let set = usages.get(&("max_outstanding_quantity".to_owned(), acme.clone()));
    reply.at().same(
        "a limit that is set, with nothing outstanding",
        set,
        Some(&(0, Some(100))),
    )
}
