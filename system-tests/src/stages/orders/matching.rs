//! Price-time priority, at the resting price.

use optivex_proto::v1::{InsertOrderResponse, OrderStatus, PriceLevel, Side};

use crate::client::{Reply, Session};
use crate::context::Context;
use crate::model::book::opposite;
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

/// Price and quantity of each fill.
fn fills(reply: &InsertOrderResponse) -> Vec<(i64, i64)> {
    reply.fills.iter().map(|fill| (fill.price_e4, fill.quantity)).collect()
}

/// What an order of `session` has traded by that event, which changed it.
async fn filled(session: &Session, order_id: u64, by: &Reply<InsertOrderResponse>, lots: i64) -> Verdict {
    let order = session.order_at(order_id, by.event_seq).await;
    let order = order.map_err(|stop| stop.because("it was next in price-time priority, and traded"))?;
    order.has("filled_quantity", |order| order.filled_quantity, lots)?;
    Ok(())
}

/// An order that did not trade: nothing has changed it since its insert.
async fn untouched(session: &Session, inserted: &Reply<InsertOrderResponse>) -> Verdict {
    session
        .order_at(inserted.order_id, inserted.event_seq)
        .await?
        .has("filled_quantity", |order| order.filled_quantity, 0)?
        .has("status", |order| order.status(), OrderStatus::Open)?
        .has("event_seq", |order| order.event_seq, inserted.event_seq)?;
    Ok(())
}

/// Catches trades at the incoming order's price or between the two.
pub(super) async fn resting_price(context: Context) -> Verdict {
    for side in [Side::Sell, Side::Buy] {
        let acme = context.instrument().await?.symbol;
        let (alice, bob) = (context.trader().await?, context.trader().await?);
        let worse = if side == Side::Sell { 1_020 } else { 980 };
        let resting = alice.rest(limit(&acme, side, 1_000, 5)).await?;
        let trade = bob.insert(limit(&acme, opposite(side), worse, 5)).await?;
        trade
            .has("status", |reply| reply.status(), OrderStatus::Filled)?
            .has("filled_quantity", |reply| reply.filled_quantity, 5)?
            .has("open_quantity", |reply| reply.open_quantity, 0)?
            .has("price_e4 and quantity of the fills", fills, vec![(1_000, 5)])?;
        let order = alice.order_at(resting.order_id, trade.event_seq).await?;
        order.has("status", |order| order.status(), OrderStatus::Filled)?.has(
            "filled_quantity",
            |order| order.filled_quantity,
            5,
        )?;
        let book = bob.book_at(&acme, trade.event_seq).await?;
        book.has("bids", |book| book.bids.clone(), vec![])?
            .has("asks", |book| book.asks.clone(), vec![])?;
    }
    Ok(())
}

/// Catches < where ≤ is meant, and the reverse.
pub(super) async fn limit_edge(context: Context) -> Verdict {
    for (side, worse) in [(Side::Buy, 999), (Side::Sell, 1_001)] {
        let acme = context.instrument().await?.symbol;
        let (alice, bob) = (context.trader().await?, context.trader().await?);
        alice.rest(limit(&acme, opposite(side), 1_000, 5)).await?;
        bob.rest(limit(&acme, side, worse, 2)).await?;
        let trade = bob.insert(limit(&acme, side, 1_000, 2)).await?;
        trade.has("price_e4 and quantity of the fills", fills, vec![(1_000, 2)])?;
    }
    Ok(())
}

/// Catches books that are searched in order of time, or from the worst price.
pub(super) async fn price_priority(context: Context) -> Verdict {
    for (side, prices) in [(Side::Sell, [1_002, 1_000, 1_001]), (Side::Buy, [1_000, 1_002, 1_001])] {
        let acme = context.instrument().await?.symbol;
        let (alice, bob) = (context.trader().await?, context.trader().await?);
        let mut ids = Vec::new();
        for price_e4 in prices {
            ids.push(alice.rest(limit(&acme, side, price_e4, 5)).await?);
        }
        let reach = if side == Side::Sell { 1_002 } else { 1_000 };
        let trade = bob.insert(limit(&acme, opposite(side), reach, 7)).await?;
        let best = prices[1];
        trade.has("status", |reply| reply.status(), OrderStatus::Filled)?.has(
            "price_e4 and quantity of the fills",
            fills,
            vec![(best, 5), (1_001, 2)],
        )?;
        filled(&alice, ids[1].order_id, &trade, 5).await?;
        filled(&alice, ids[2].order_id, &trade, 2).await?;
        untouched(&alice, &ids[0]).await?;
    }
    Ok(())
}

/// Catches last in, first out, pro rata, and the larger order first.
pub(super) async fn time_priority(context: Context) -> Verdict {
    for side in [Side::Sell, Side::Buy] {
        let acme = context.instrument().await?.symbol;
        let (alice, bob, carol) = (
            context.trader().await?,
            context.trader().await?,
            context.trader().await?,
        );
        let first = alice.rest(limit(&acme, side, 1_000, 2)).await?;
        let second = bob.rest(limit(&acme, side, 1_000, 9)).await?;
        let third = alice.rest(limit(&acme, side, 1_000, 4)).await?;
        let taker = carol;
        let trade = taker.insert(limit(&acme, opposite(side), 1_000, 3)).await?;
        trade.has("status", |reply| reply.status(), OrderStatus::Filled)?.has(
            "price_e4 and quantity of the fills",
            fills,
            vec![(1_000, 2), (1_000, 1)],
        )?;
        filled(&alice, first.order_id, &trade, 2).await?;
        filled(&bob, second.order_id, &trade, 1).await?;
        untouched(&alice, &third).await?;
        let trade = taker.insert(limit(&acme, opposite(side), 1_000, 10)).await?;
        trade.has(
            "price_e4 and quantity of the fills",
            fills,
            vec![(1_000, 8), (1_000, 2)],
        )?;
        filled(&bob, second.order_id, &trade, 9).await?;
        filled(&alice, third.order_id, &trade, 2).await?;
    }
    Ok(())
}

/// Catches orders that go to the end of the queue when they trade in part.
pub(super) async fn partial_keeps_place(context: Context) -> Verdict {
    for side in [Side::Sell, Side::Buy] {
        let acme = context.instrument().await?.symbol;
        let (alice, bob, carol) = (
            context.trader().await?,
            context.trader().await?,
            context.trader().await?,
        );
        let first = alice.rest(limit(&acme, side, 1_000, 10)).await?;
        let second = bob.rest(limit(&acme, side, 1_000, 10)).await?;
        for lots in [4, 4] {
            let trade = carol.insert(limit(&acme, opposite(side), 1_000, lots)).await?;
            trade.has("price_e4 and quantity of the fills", fills, vec![(1_000, lots)])?;
        }
        untouched(&bob, &second).await?;
        let trade = carol.insert(limit(&acme, opposite(side), 1_000, 5)).await?;
        trade.has(
            "price_e4 and quantity of the fills",
            fills,
            vec![(1_000, 2), (1_000, 3)],
        )?;
        filled(&alice, first.order_id, &trade, 10).await?;
        filled(&bob, second.order_id, &trade, 3).await?;
    }
    Ok(())
}

/// Catches levels that keep dead orders, and totals that are not reset when a level empties.
pub(super) async fn level_again(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, carol) = (
        context.trader().await?,
        context.trader().await?,
        context.trader().await?,
    );
    for _ in 0..3 {
        let first = bob.rest(sell(&acme, 1_000, 3)).await?;
        let second = alice.rest(sell(&acme, 1_000, 4)).await?;
        let cancelled = bob.cancel_id(first.order_id).await?;
        let book = bob.book_at(&acme, cancelled.event_seq).await?;
        let rests = PriceLevel {
            price_e4: 1_000,
            quantity: 4,
            order_count: 1,
        };
        book.has("asks", |book| book.asks.clone(), vec![rests])?;
        let third = bob.rest(sell(&acme, 1_000, 5)).await?;
        let trade = carol.insert(buy(&acme, 1_000, 9)).await?;
        trade.has(
            "price_e4 and quantity of the fills",
            fills,
            vec![(1_000, 4), (1_000, 5)],
        )?;
        filled(&alice, second.order_id, &trade, 4).await?;
        filled(&bob, third.order_id, &trade, 5).await?;
        let book = bob.book_at(&acme, trade.event_seq).await?;
        book.has("asks", |book| book.asks.clone(), vec![])?
            .has("bids", |book| book.bids.clone(), vec![])?;
    }
    Ok(())
}

/// Catches matching that stops after a level, fills out of order, and remainders that are lost or
/// rest at another price.
pub(super) async fn sweep(context: Context) -> Verdict {
    for side in [Side::Buy, Side::Sell] {
        let acme = context.instrument().await?.symbol;
        let (alice, bob) = (context.trader().await?, context.trader().await?);
        let sign = if side == Side::Buy { 1 } else { -1 };
        let price = |step: i64| 1_000 + sign * step;
        for (step, lots) in [(1, 3), (0, 1), (2, 4), (0, 2), (4, 9)] {
            alice.rest(limit(&acme, opposite(side), price(step), lots)).await?;
        }
        let trade = bob.insert(limit(&acme, side, price(3), 15)).await?;
        trade
            .has("status", |reply| reply.status(), OrderStatus::Open)?
            .has("filled_quantity", |reply| reply.filled_quantity, 10)?
            .has("open_quantity", |reply| reply.open_quantity, 5)?
            .has(
                "price_e4 and quantity of the fills",
                fills,
                vec![(price(0), 1), (price(0), 2), (price(1), 3), (price(2), 4)],
            )?
            .shows("trade_ids that increase, fill by fill", |reply| {
                reply.fills.windows(2).all(|pair| pair[0].trade_id < pair[1].trade_id)
            })?;
        let book = bob.book_at(&acme, trade.event_seq).await?;
        let of = |wanted: Side, price_e4, quantity| {
            let level = PriceLevel {
                price_e4,
                quantity,
                order_count: 1,
            };
            book.has(
                if wanted == Side::Buy { "bids" } else { "asks" },
                |book| {
                    if wanted == Side::Buy {
                        book.bids.clone()
                    } else {
                        book.asks.clone()
                    }
                },
                vec![level],
            )
            .map(|_| ())
        };
        of(side, price(3), 5)?;
        of(opposite(side), price(4), 9)?;
        // What remained is liquidity as any other.
        let trade = alice.insert(limit(&acme, opposite(side), price(0), 5)).await?;
        trade.has("price_e4 and quantity of the fills", fills, vec![(price(3), 5)])?;
    }
    Ok(())
}

/// Catches unsigned prices and prices compared as text.
pub(super) async fn negative_prices(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for price_e4 in [-5, 10, -20, 0, 9] {
        alice.rest(sell(&acme, price_e4, 1)).await?;
    }
    let trade = bob.insert(buy(&acme, 9, 9)).await?;
    trade
        .has(
            "price_e4 and quantity of the fills",
            fills,
            vec![(-20, 1), (-5, 1), (0, 1), (9, 1)],
        )?
        .has("open_quantity", |reply| reply.open_quantity, 5)?;
    for price_e4 in [-7, -100] {
        bob.rest(buy(&acme, price_e4, 1)).await?;
    }
    let trade = alice.insert(sell(&acme, -50, 8)).await?;
    trade
        .has("price_e4 and quantity of the fills", fills, vec![(9, 5), (-7, 1)])?
        .has("open_quantity", |reply| reply.open_quantity, 2)?;
    let book = bob.book_at(&acme, trade.event_seq).await?;
    book.has(
        "prices of the bids",
        |book| book.bids.iter().map(|level| level.price_e4).collect(),
        vec![-100],
    )?
    .has(
        "prices of the asks",
        |book| book.asks.iter().map(|level| level.price_e4).collect(),
        vec![-50, 10],
    )?;
    Ok(())
}

/// Catches a lost decrement, on the order, on the level, or on the taker.
pub(super) async fn fills_add_up(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let resting = alice.rest(sell(&acme, 1_000, 100)).await?;
    let mut traded = 0;
    for lots in [1, 2, 3, 5, 8, 13, 21, 34] {
        let trade = bob.insert(buy(&acme, 1_000, lots)).await?;
        traded += lots;
        trade.has("filled_quantity", |reply| reply.filled_quantity, lots)?.has(
            "status",
            |reply| reply.status(),
            OrderStatus::Filled,
        )?;
        filled(&alice, resting.order_id, &trade, traded).await?;
        let book = bob.book_at(&acme, trade.event_seq).await?;
        let rests = PriceLevel {
            price_e4: 1_000,
            quantity: 100 - traded,
            order_count: 1,
        };
        book.has("asks", |book| book.asks.clone(), vec![rests])?;
    }
    let trade = bob.insert(buy(&acme, 1_000, 20)).await?;
    trade
        .has("filled_quantity", |reply| reply.filled_quantity, 13)?
        .has("open_quantity", |reply| reply.open_quantity, 7)?
        .has("status", |reply| reply.status(), OrderStatus::Open)?;
    let order = alice.order_at(resting.order_id, trade.event_seq).await?;
    order.has("status", |order| order.status(), OrderStatus::Filled)?.has(
        "filled_quantity",
        |order| order.filled_quantity,
        100,
    )?;
    Ok(())
}
