//! What is refused, why, and that it leaves no trace.

use optivex_proto::v1::{ErrorReason, InsertOrderRequest, Side};

use crate::client::Session;
use crate::context::Context;
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

const QUANTITY_MAX: i64 = 1_000_000_000;
const PRICE_MAX: i64 = 10_000_000_000_000;
const NOTIONAL_MAX: i64 = 100_000_000_000_000;

/// Nothing ever changed this book, and the user has no order in it.
async fn untouched(session: &Session, symbol: &str) -> Verdict {
    let book = session.whole_book(symbol).await?;
    book.has("book_seq: refused orders leave no trace", |book| book.book_seq, 0)?
        .has("bids", |book| book.bids.clone(), vec![])?
        .has("asks", |book| book.asks.clone(), vec![])?;
    let open = session.open_orders(symbol).await?;
    book.at().same("open orders of the user", open, vec![])
}

/// Catches unsigned quantities, unknown enum values that pass as defaults, lengths counted in
/// characters, and refusals after the fact.
pub(super) async fn invalid_fields(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let good = buy(&acme, 1_000, 5);
    let with = |change: fn(&mut InsertOrderRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let bad: [(&str, InsertOrderRequest); 15] = [
        ("side", with(|order| order.side = 0)),
        ("side", with(|order| order.side = 3)),
        ("side", with(|order| order.side = -1)),
        ("quantity", with(|order| order.quantity = 0)),
        ("quantity", with(|order| order.quantity = -1)),
        ("quantity", with(|order| order.quantity = i64::MIN)),
        (
            "quantity",
            with(|order| (order.quantity, order.price_e4) = (QUANTITY_MAX + 1, 1)),
        ),
        (
            "price_e4",
            with(|order| (order.quantity, order.price_e4) = (1, PRICE_MAX + 1)),
        ),
        (
            "price_e4",
            with(|order| (order.quantity, order.price_e4) = (1, -PRICE_MAX - 1)),
        ),
        ("price_e4", with(|order| order.price_e4 = i64::MIN)),
        ("type", with(|order| order.r#type = 3)),
        ("time_in_force", with(|order| order.time_in_force = 4)),
        ("self_trade_prevention", with(|order| order.self_trade_prevention = 4)),
        ("client_order_id", with(|order| order.client_order_id = "x".repeat(37))),
        ("client_order_id", with(|order| order.client_order_id = "é".repeat(19))),
    ];
    for (field, request) in bad {
        alice
            .try_insert(request)
            .await
            .refused(ErrorReason::InvalidField, &[("field", field)])?;
    }
    untouched(&alice, &acme).await
}

/// Catches bounds that are off by one to the strict side.
pub(super) async fn edges(context: Context) -> Verdict {
    let alice = context.trader().await?;
    let wide = {
        let id = format!("{:.<20}", context.unique());
        format!("{id}{}", "é".repeat((36 - id.len()) / 2))
    };
    let edges: [(Side, i64, i64, String); 6] = [
        (Side::Buy, 1, QUANTITY_MAX, String::new()),
        (Side::Sell, PRICE_MAX, 1, String::new()),
        (Side::Buy, -PRICE_MAX, 1, String::new()),
        (Side::Sell, 0, QUANTITY_MAX, String::new()),
        (Side::Buy, 1_000, 1, format!("{:x<36}", context.unique())),
        (Side::Buy, 1_000, 1, wide),
    ];
    for (side, price_e4, quantity, client_order_id) in edges {
        let acme = context.instrument().await?.symbol;
        let order = alice
            .rest(InsertOrderRequest {
                client_order_id: client_order_id.clone(),
                ..limit(&acme, side, price_e4, quantity)
            })
            .await?;
        let book = alice.book_at(&acme, order.event_seq).await?;
        book.shows("the order at its price with all its lots", |book| {
            book.bids
                .iter()
                .chain(&book.asks)
                .all(|level| level.price_e4 == price_e4 && level.quantity == quantity)
        })?;
        alice.order_at(order.order_id, order.event_seq).await?.has(
            "client_order_id",
            |order| order.client_order_id.clone(),
            client_order_id,
        )?;
    }
    Ok(())
}

/// Catches no check at all, a remainder with the wrong sign below zero, and a check of buys only.
pub(super) async fn tick(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.tick_size_e4 = 25)
        .await?
        .symbol;
    let alice = context.trader().await?;
    for side in [Side::Buy, Side::Sell] {
        for price_e4 in [1_001, 1_024, 26, 24, 1, -1, -24, -26, -1_001] {
            alice
                .try_insert(limit(&acme, side, price_e4, 5))
                .await
                .refused(ErrorReason::InvalidTick, &[("tick_size_e4", "25")])?;
        }
    }
    untouched(&alice, &acme).await?;
    for price_e4 in [-1_000, -25, 0, 25, 1_000] {
        alice.rest(buy(&acme, price_e4, 5)).await?;
    }
    Ok(())
}

/// Catches products that wrap, floating point, a multiplier or a sign that is forgotten, and an
/// off-by-one at the bound.
pub(super) async fn notional(context: Context) -> Verdict {
    let alice = context.trader().await?;
    for multiplier in [1_i64, 1_000, 1_000_000] {
        for side in [Side::Buy, Side::Sell] {
            let acme = context
                .instrument_with(|request| request.multiplier = multiplier)
                .await?
                .symbol;
            let lots = 4;
            let most = NOTIONAL_MAX / multiplier / lots;
            let over = [
                (most + 1, lots),
                (-most - 1, lots),
                (PRICE_MAX, QUANTITY_MAX),
                (-PRICE_MAX, QUANTITY_MAX),
                // A product that is small again where it wraps at 2^64.
                (1 << 43, 1 << 21),
                (PRICE_MAX, NOTIONAL_MAX / PRICE_MAX / multiplier + 1),
            ];
            for (price_e4, quantity) in over {
                let price_e4 = price_e4.clamp(-PRICE_MAX, PRICE_MAX);
                let product = i128::from(price_e4.abs()) * i128::from(quantity) * i128::from(multiplier);
                if product <= i128::from(NOTIONAL_MAX) {
                    continue;
                }
                alice
                    .try_insert(limit(&acme, side, price_e4, quantity))
                    .await
                    .refused(ErrorReason::NotionalTooLarge, &[])?;
            }
            untouched(&alice, &acme).await?;
            let edge = most.min(PRICE_MAX);
            let price_e4 = if side == Side::Buy { -edge } else { edge };
            alice.rest(limit(&acme, side, price_e4, lots)).await?;
        }
    }
    Ok(())
}

/// Catches instruments that an order creates, and a wrong reason or code.
pub(super) async fn unknown_instrument(context: Context) -> Verdict {
    let alice = context.trader().await?;
    alice
        .try_insert(buy(&context.unique(), 1_000, 5))
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    let acme = context.instrument().await?.symbol;
    alice
        .try_insert(buy(&acme.to_lowercase(), 1_000, 5))
        .await
        .either()
        .err()
        .map_or_else(
            || {
                Err(crate::verdict::Stop::failed(
                    "an order for a symbol in small letters was taken",
                    "a refusal",
                ))
            },
            |_| Ok(()),
        )?;
    untouched(&alice, &acme).await
}

/// Catches checks in another order than the contract's.
pub(super) async fn first_reason(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.tick_size_e4 = 10)
        .await?
        .symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let nobody = context.unique();
    // Role before the form of the request.
    viewer
        .try_insert(buy(&nobody, 5, 0))
        .await
        .refused(ErrorReason::MissingRole, &[("role", "ROLE_TRADER")])?;
    // Form before known objects.
    alice
        .try_insert(buy(&nobody, 1_000, 0))
        .await
        .refused(ErrorReason::InvalidField, &[("field", "quantity")])?;
    // Form before the tick.
    alice
        .try_insert(sell(&acme, 1_005, -3))
        .await
        .refused(ErrorReason::InvalidField, &[("field", "quantity")])?;
    // Known objects before tick and notional.
    alice
        .try_insert(buy(&nobody, PRICE_MAX - 5, QUANTITY_MAX))
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    // Tick before a client id's first answer.
    let id = context.unique();
    let with_id = |price_e4| InsertOrderRequest {
        client_order_id: id.clone(),
        ..buy(&acme, price_e4, 5)
    };
    untouched(&alice, &acme).await?;
    alice.rest(with_id(1_000)).await?;
    alice
        .try_insert(with_id(1_005))
        .await
        .refused(ErrorReason::InvalidTick, &[("tick_size_e4", "10")])?;
    Ok(())
}
