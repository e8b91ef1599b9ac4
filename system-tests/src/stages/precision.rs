//! Stage 12: numbers are exact, up to every bound of the contract and not past it.

use futures_util::stream::{self, StreamExt};
use optivex_proto::v1::{CreateInstrumentRequest, ErrorReason, InsertOrderRequest, OrderStatus, PriceLevel, Side};

use crate::case::{Case, Stage};
use crate::client::Session;
use crate::context::Context;
use crate::market::Mirror;
use crate::order::{buy, limit, sell};
use crate::run;
use crate::verdict::{Stop, Verdict};

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "precision",
    title: "Precision and extremes",
    number: 12,
    core: false,
    builds_on: &["orders"],
    cases: &[
        Case::new(
            "four-decimals",
            "Prices have four decimals: those that differ by 0.0001 are different levels, and trade exactly.",
            "common.proto, *_e4; Trade.price_e4",
            run!(four_decimals),
        ),
        Case::new(
            "negative-prices",
            "Negative prices are allowed, and are ordered and paid as numbers below zero.",
            "execution.proto InsertOrderRequest.price_e4; Position.cash_e4",
            run!(negative_prices),
        ),
        Case::new(
            "zero-price",
            "Zero is a price like any other: it rests, trades, moves lots and no money.",
            "execution.proto InsertOrderRequest.price_e4; Position.cash_e4",
            run!(zero_price),
        ),
        Case::new(
            "price-bound",
            "A price is at most 10^13 either way; past it, INVALID_FIELD names price_e4.",
            "common.proto, bounds; ERROR_REASON_INVALID_FIELD",
            run!(price_bound),
        ),
        Case::new(
            "quantity-bound",
            "An order's quantity is 1 to 10^9; past either end, INVALID_FIELD names quantity.",
            "common.proto, bounds; InsertOrderRequest.quantity",
            run!(quantity_bound),
        ),
        Case::new(
            "notional-bound",
            "|price| × quantity × multiplier of an order is at most 10^14; past it, also where 64 bits overflow, NOTIONAL_TOO_LARGE.",
            "common.proto, bounds; ERROR_REASON_NOTIONAL_TOO_LARGE",
            run!(notional_bound),
        ),
        Case::new(
            "tick-edges",
            "Every price is a multiple of the tick size, also at zero and below; another is INVALID_TICK.",
            "common.proto Instrument.tick_size_e4; ERROR_REASON_INVALID_TICK",
            run!(tick_edges),
        ),
        Case::new(
            "instrument-bounds",
            "A multiplier is 1 to 10^6 and a tick size 1 to 10^13; past either end, INVALID_FIELD names the field.",
            "common.proto Instrument.multiplier, tick_size_e4",
            run!(instrument_bounds),
        ),
        Case::new(
            "sums-beyond-32-bits",
            "The sum of what rests at a price, and what is held, are exact beyond 32 bits.",
            "common.proto PriceLevel.quantity; Position.quantity",
            run!(sums_beyond_32_bits),
        ),
        Case::new(
            "cash-beyond-53-bits",
            "Cash is exact where a floating-point number is not.",
            "common.proto, integers only; Position.cash_e4",
            run!(cash_beyond_53_bits),
        ),
        Case::new(
            "values-stop-at-their-ends",
            "A market value that would leave int64 stops at its end, above and below, and is exact again afterwards.",
            "common.proto, bounds; Position.market_value_e4",
            run!(values_stop),
        ),
        Case::new(
            "positions-exact",
            "After many trades, positions, cash, market value and open quantities are exact, and cash sums to zero.",
            "execution.proto Position",
            run!(positions_exact),
        ),
        Case::new(
            "ten-thousand-levels",
            "A book of 10,000 levels is told whole, best first, and trades from its best level on.",
            "info.proto BookSnapshot.bids, asks; GetOrderBookRequest.depth",
            run!(ten_thousand_levels),
        )
        .within(600),
    ],
};

const PRICE_MAX: i64 = 10_000_000_000_000;
const QUANTITY_MAX: i64 = 1_000_000_000;
const NOTIONAL_MAX: i64 = 100_000_000_000_000;

fn level(price_e4: i64, quantity: i64, order_count: i32) -> PriceLevel {
    PriceLevel {
        price_e4,
        quantity,
        order_count,
    }
}

/// The book shows exactly these levels, and its checksum is theirs.
async fn book_is(
    session: &Session,
    symbol: &str,
    event_seq: u64,
    bids: Vec<PriceLevel>,
    asks: Vec<PriceLevel>,
) -> Verdict {
    let book = session.book_at(symbol, event_seq).await?;
    book.has("bids", |book| book.bids.clone(), bids)?
        .has("asks", |book| book.asks.clone(), asks)?;
    // The mirror checks order and checksum.
    Mirror::of(&book).map(drop)
}

/// Position and cash, where they show this event.
async fn holds(session: &Session, symbol: &str, event_seq: u64, quantity: i64, cash_e4: i64) -> Verdict {
    let position = session.position_at(symbol, event_seq).await?;
    position.has("quantity", |position| position.quantity, quantity)?.has(
        "cash_e4",
        |position| position.cash_e4,
        cash_e4,
    )?;
    Ok(())
}

/// Fills of an answer as (price, quantity).
fn fills(reply: &optivex_proto::v1::InsertOrderResponse) -> Vec<(i64, i64)> {
    reply.fills.iter().map(|fill| (fill.price_e4, fill.quantity)).collect()
}

/// Catches prices kept as floating-point numbers or cents, and levels merged or rounded.
async fn four_decimals(context: Context) -> Verdict {
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    // 101.2500 to 101.2502; and the largest prices that differ by 0.0001, which 32-bit floats merge.
    for base in [1_012_500, 1, 999_999_999_900, PRICE_MAX - 3, -1_012_500, -PRICE_MAX] {
        let symbol = context.instrument().await?.symbol;
        for (step, quantity) in [(2, 3), (0, 1), (1, 2)] {
            alice.rest(sell(&symbol, base + step, quantity)).await?;
        }
        let last = alice.rest(sell(&symbol, base + 1, 4)).await?.event_seq;
        let asks = vec![level(base, 1, 1), level(base + 1, 6, 2), level(base + 2, 3, 1)];
        book_is(&bob, &symbol, last, vec![], asks).await?;

        let taken = bob.insert(buy(&symbol, base + 1, 8)).await?;
        taken
            .has("fills", fills, vec![(base, 1), (base + 1, 2), (base + 1, 4)])?
            .has("open_quantity", |reply| reply.open_quantity, 1)?;
        let bids = vec![level(base + 1, 1, 1)];
        book_is(&alice, &symbol, taken.event_seq, bids, vec![level(base + 2, 3, 1)]).await?;

        let cash = base + 6 * (base + 1);
        holds(&bob, &symbol, taken.event_seq, 7, -cash).await?;
        holds(&alice, &symbol, taken.event_seq, -7, cash).await?;
        let last = taken.fills.last().map_or(0, |fill| fill.trade_id);
        let trades = bob.trades_through(&symbol, last).await?;
        let told: Vec<(i64, i64)> = trades.iter().map(|trade| (trade.price_e4, trade.quantity)).collect();
        taken.at().same("the trades of the tape", told, fills(&taken))?;
    }
    Ok(())
}

/// Catches unsigned arithmetic, order by absolute value, cash without its sign, a price of 0 or less
/// taken for "no price".
async fn negative_prices(context: Context) -> Verdict {
    let symbol = context.instrument_with(|request| request.multiplier = 10).await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for price in [-30, -10, -20] {
        alice.rest(buy(&symbol, price, 2)).await?;
    }
    let last = bob.rest(sell(&symbol, -5, 1)).await?.event_seq;
    let bids = vec![level(-10, 2, 1), level(-20, 2, 1), level(-30, 2, 1)];
    book_is(&bob, &symbol, last, bids, vec![level(-5, 1, 1)]).await?;

    let sold = bob.insert(sell(&symbol, -20, 3)).await?;
    sold.has("fills", fills, vec![(-10, 2), (-20, 1)])?
        .has("status", |reply| reply.status(), OrderStatus::Filled)?;
    // Who buys at a negative price is paid: (2 × 10 + 1 × 20) × 10.
    holds(&alice, &symbol, sold.event_seq, 3, 400).await?;
    holds(&bob, &symbol, sold.event_seq, -3, -400).await?;

    // A sweep through zero, upwards.
    for price in [0, 3, -3] {
        bob.rest(sell(&symbol, price, 1)).await?;
    }
    let bought = alice.insert(buy(&symbol, 3, 4)).await?;
    bought.has("fills", fills, vec![(-5, 1), (-3, 1), (0, 1), (3, 1)])?;
    holds(&alice, &symbol, bought.event_seq, 7, 450).await?;
    let position = alice.position_at(&symbol, bought.event_seq).await?;
    position.has("market_value_e4", |position| position.market_value_e4, 7 * 3 * 10)?;
    Ok(())
}

/// Catches 0 refused, taken for a market order, or for an empty side.
async fn zero_price(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let rests = alice.rest(buy(&symbol, 0, 5)).await?;
    book_is(&bob, &symbol, rests.event_seq, vec![level(0, 5, 1)], vec![]).await?;
    // A limit order at 0 is no market order: it does not trade above.
    bob.rest(sell(&symbol, 1, 4)).await?;
    let second = alice.rest(buy(&symbol, 0, 1)).await?;
    book_is(
        &bob,
        &symbol,
        second.event_seq,
        vec![level(0, 6, 2)],
        vec![level(1, 4, 1)],
    )
    .await?;

    let sold = bob.insert(sell(&symbol, 0, 6)).await?;
    sold.has("fills", fills, vec![(0, 5), (0, 1)])?;
    book_is(&alice, &symbol, sold.event_seq, vec![], vec![level(1, 4, 1)]).await?;
    holds(&alice, &symbol, sold.event_seq, 6, 0).await?;
    holds(&bob, &symbol, sold.event_seq, -6, 0).await
}

/// These are refused so, and leave no trace in the book.
async fn refuses(
    session: &Session,
    orders: Vec<InsertOrderRequest>,
    reason: ErrorReason,
    metadata: &[(&str, &str)],
) -> Verdict {
    for order in orders {
        session.try_insert(order).await.refused(reason, metadata)?;
    }
    Ok(())
}

/// Catches a bound that is off by one or missing on one side, `abs` that overflows at int64's lower
/// end, and prices cut to 32 or 53 bits.
async fn price_bound(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    // 10 lots: the notional at its bound, too.
    trader.rest(sell(&symbol, PRICE_MAX, 10)).await?;
    trader.rest(sell(&symbol, PRICE_MAX - 1, 10)).await?;
    trader.rest(buy(&symbol, 1 - PRICE_MAX, 10)).await?;
    let last = trader.rest(buy(&symbol, -PRICE_MAX, 10)).await?;
    for side in [Side::Buy, Side::Sell] {
        let orders = [PRICE_MAX + 1, -PRICE_MAX - 1, i64::MAX, i64::MIN, i64::MIN + 1]
            .map(|price_e4| limit(&symbol, side, price_e4, 1));
        refuses(
            &trader,
            orders.into(),
            ErrorReason::InvalidField,
            &[("field", "price_e4")],
        )
        .await?;
    }
    let bids = vec![level(1 - PRICE_MAX, 10, 1), level(-PRICE_MAX, 10, 1)];
    let asks = vec![level(PRICE_MAX - 1, 10, 1), level(PRICE_MAX, 10, 1)];
    book_is(&trader, &symbol, last.event_seq, bids, asks).await
}

/// Catches a bound that is off by one, quantities of 0 or less taken, quantities cut to 32 bits.
async fn quantity_bound(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    trader.rest(buy(&symbol, 1, QUANTITY_MAX)).await?;
    let last = trader.rest(buy(&symbol, 2, 1)).await?;
    for side in [Side::Buy, Side::Sell] {
        let past = [0, -1, QUANTITY_MAX + 1, (1 << 32) + 1, i64::MAX, i64::MIN];
        let orders = past.map(|quantity| limit(&symbol, side, 0, quantity));
        refuses(
            &trader,
            orders.into(),
            ErrorReason::InvalidField,
            &[("field", "quantity")],
        )
        .await?;
    }
    let bids = vec![level(2, 1, 1), level(1, QUANTITY_MAX, 1)];
    book_is(&trader, &symbol, last.event_seq, bids, vec![]).await
}

/// Catches a bound off by one or without the multiplier or the absolute value, and products that wrap
/// in 64 bits: to 0, to something small, to something negative.
async fn notional_bound(context: Context) -> Verdict {
    // (multiplier, price, quantity)
    let at_the_bound = [
        (1, 100_000_000, 1_000_000),
        (1, -100_000_000, 1_000_000),
        (1_000_000, 1, 100_000_000),
        (1_000_000, -100_000_000, 1),
        (100_000, 1, QUANTITY_MAX),
        (10, PRICE_MAX, 1),
    ];
    let past_it = [
        (1, 100_000_001, 1_000_000),
        (1, -100_000_001, 1_000_000),
        (1_000_000, 1, 100_000_001),
        (1_000_000, -100_000_001, 1),
        (100_001, 1, QUANTITY_MAX),
        (11, PRICE_MAX, 1),
        // Wraps to 2^64 = 0, to -2^63, and to 0 only with the multiplier.
        (1, 1 << 43, 1 << 21),
        (1, 1 << 43, 1 << 20),
        (1 << 10, 1 << 33, 1 << 21),
        // 2^64 + 44,040,192: small once it wraps.
        (1, 8_796_093_022_229, 2_097_152),
        (1, -(1 << 43), 1 << 21),
        (1_000_000, PRICE_MAX, QUANTITY_MAX),
        (1_000_000, -PRICE_MAX, QUANTITY_MAX),
    ];
    let trader = context.trader().await?;
    for (multiplier, price, quantity) in past_it {
        let symbol = context
            .instrument_with(|request| request.multiplier = multiplier)
            .await?
            .symbol;
        for side in [Side::Buy, Side::Sell] {
            let order = limit(&symbol, side, price, quantity);
            refuses(&trader, vec![order], ErrorReason::NotionalTooLarge, &[]).await?;
        }
        trader
            .whole_book(&symbol)
            .await?
            .shows("no trace of a refused order", |book| {
                book.bids.is_empty() && book.asks.is_empty()
            })?;
    }
    for (multiplier, price, quantity) in at_the_bound {
        let symbol = context
            .instrument_with(|request| request.multiplier = multiplier)
            .await?
            .symbol;
        for side in [Side::Buy, Side::Sell] {
            let rests = trader.rest(limit(&symbol, side, price, quantity)).await?;
            trader.cancel_id(rests.order_id).await?;
        }
    }
    Ok(())
}

/// Catches remainders that are wrong below zero, ticks checked in decimals, and a price that is
/// rounded instead of refused.
async fn tick_edges(context: Context) -> Verdict {
    let trader = context.trader().await?;
    // (tick, multiples, others)
    let cases: [(i64, &[i64], &[i64]); 4] = [
        (25, &[-50, -25, 0, 25, 50], &[-26, -24, -1, 1, 24, 26, 12]),
        (
            3,
            &[-9_999_999_999_999, 9_999_999_999_999, -3],
            &[-PRICE_MAX, PRICE_MAX, -1, -2, 2],
        ),
        (
            PRICE_MAX,
            &[-PRICE_MAX, 0, PRICE_MAX],
            &[1, -1, PRICE_MAX - 1, 1 - PRICE_MAX],
        ),
        (10_000, &[10_000, -10_000], &[9_999, 10_001, -9_999, 5_000]),
    ];
    for (tick, multiples, others) in cases {
        let symbol = context
            .instrument_with(|request| request.tick_size_e4 = tick)
            .await?
            .symbol;
        for side in [Side::Buy, Side::Sell] {
            let orders = others.iter().map(|price| limit(&symbol, side, *price, 1)).collect();
            let metadata = [("tick_size_e4", &*tick.to_string())];
            refuses(&trader, orders, ErrorReason::InvalidTick, &metadata).await?;
        }
        let mut last = 0;
        for price in multiples {
            last = trader.rest(buy(&symbol, *price, 1)).await?.event_seq;
        }
        let mut prices = multiples.to_vec();
        prices.sort_unstable_by(|one, other| other.cmp(one));
        let bids = prices.into_iter().map(|price| level(price, 1, 1)).collect();
        book_is(&trader, &symbol, last, bids, vec![]).await?;
    }
    Ok(())
}

/// Catches a missing or shifted bound of an instrument's numbers.
async fn instrument_bounds(context: Context) -> Verdict {
    let admin = context.admin().await?;
    let of = |multiplier, tick_size_e4| CreateInstrumentRequest {
        multiplier,
        tick_size_e4,
        ..context.instrument_request()
    };
    for (multiplier, tick) in [(1, 1), (1_000_000, 1), (1, PRICE_MAX), (1_000_000, PRICE_MAX)] {
        let created = admin.create_instrument(of(multiplier, tick)).await?;
        let told = |reply: &optivex_proto::v1::CreateInstrumentResponse| {
            reply
                .instrument
                .as_ref()
                .map(|instrument| (instrument.multiplier, instrument.tick_size_e4))
        };
        created.has("(multiplier, tick_size_e4)", told, Some((multiplier, tick)))?;
    }
    for multiplier in [0, -1, 1_000_001, i64::MAX, i64::MIN] {
        let answer = admin.try_create_instrument(of(multiplier, 1)).await;
        answer.refused(ErrorReason::InvalidField, &[("field", "multiplier")])?;
    }
    for tick in [0, -1, PRICE_MAX + 1, i64::MAX, i64::MIN] {
        let answer = admin.try_create_instrument(of(1, tick)).await;
        answer.refused(ErrorReason::InvalidField, &[("field", "tick_size_e4")])?;
    }
    Ok(())
}

/// Catches sums in 32 bits: of a level, of fills, of a position, of open lots.
async fn sums_beyond_32_bits(context: Context) -> Verdict {
    const ORDERS: i64 = 5;
    let symbol = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let mut last = 0;
    for _ in 0..ORDERS {
        last = alice.rest(buy(&symbol, 1, QUANTITY_MAX)).await?.event_seq;
    }
    let lots = ORDERS * QUANTITY_MAX;
    book_is(&bob, &symbol, last, vec![level(1, lots, ORDERS as i32)], vec![]).await?;
    let open = alice.position_at(&symbol, last).await?;
    open.has("open_buy_quantity", |position| position.open_buy_quantity, lots)?;
    for _ in 0..ORDERS {
        let sold = bob.insert(sell(&symbol, 1, QUANTITY_MAX)).await?;
        sold.has("filled_quantity", |reply| reply.filled_quantity, QUANTITY_MAX)?;
        last = sold.event_seq;
    }
    holds(&alice, &symbol, last, lots, -lots).await?;
    holds(&bob, &symbol, last, -lots, lots).await?;
    book_is(&bob, &symbol, last, vec![], vec![]).await
}

/// Catches cash in a floating-point number: odd sums above 2^53 have no such number.
async fn cash_beyond_53_bits(context: Context) -> Verdict {
    // 9,090,909,090,909 × 11 = 10^14 - 1; 101 of them are odd, and more than 2^53.
    const PRICE: i64 = 9_090_909_090_909;
    const TRADES: i64 = 101;
    let symbol = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let mut last = 0;
    for _ in 0..TRADES {
        alice.rest(sell(&symbol, PRICE, 11)).await?;
        last = bob.insert(buy(&symbol, PRICE, 11)).await?.event_seq;
    }
    let cash = TRADES * (NOTIONAL_MAX - 1);
    holds(&alice, &symbol, last, -11 * TRADES, cash).await?;
    holds(&bob, &symbol, last, 11 * TRADES, -cash).await?;
    let position = bob.position_at(&symbol, last).await?;
    position.has("market_value_e4", |position| position.market_value_e4, cash)?;
    Ok(())
}

/// Catches values that wrap around, or an exchange that dies of the overflow.
async fn values_stop(context: Context) -> Verdict {
    const MULTIPLIER: i64 = 100_000;
    let symbol = context
        .instrument_with(|request| request.multiplier = MULTIPLIER)
        .await?
        .symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    alice.rest(sell(&symbol, 1, QUANTITY_MAX)).await?;
    bob.insert(buy(&symbol, 1, QUANTITY_MAX)).await?;
    for price in [QUANTITY_MAX, -QUANTITY_MAX] {
        // One lot at a far price values all the others: 10^9 × 10^9 × 10^5.
        alice.rest(sell(&symbol, price, 1)).await?;
        let event_seq = bob.insert(buy(&symbol, price, 1)).await?.event_seq;
        let (long, short) = if price > 0 {
            (i64::MAX, i64::MIN)
        } else {
            (i64::MIN, i64::MAX)
        };
        for (session, value) in [(&bob, long), (&alice, short)] {
            let position = session.position_at(&symbol, event_seq).await?;
            position.has("market_value_e4", |position| position.market_value_e4, value)?;
        }
    }
    alice.rest(sell(&symbol, 2, 1)).await?;
    let event_seq = bob.insert(buy(&symbol, 2, 1)).await?.event_seq;
    let lots = QUANTITY_MAX + 3;
    // The far trades cancel out: what is left is 10^9 at 1 and one lot at 2.
    let cash = (QUANTITY_MAX + 2) * MULTIPLIER;
    holds(&alice, &symbol, event_seq, -lots, cash).await?;
    holds(&bob, &symbol, event_seq, lots, -cash).await?;
    let position = bob.position_at(&symbol, event_seq).await?;
    position.has(
        "market_value_e4",
        |position| position.market_value_e4,
        lots * 2 * MULTIPLIER,
    )?;
    Ok(())
}

/// Catches a lost fill, cash at the aggressor's price, a forgotten multiplier, open lots that are not
/// released, and cash that is made of nothing.
async fn positions_exact(context: Context) -> Verdict {
    const MULTIPLIER: i64 = 1_000;
    let symbol = context
        .instrument_with(|request| request.multiplier = MULTIPLIER)
        .await?
        .symbol;
    let traders = [
        context.trader().await?,
        context.trader().await?,
        context.trader().await?,
    ];
    let mut random = context.random();
    // By trader: lots, cash. Fills of the taker are at the maker's price, and the maker is known by it:
    // each trader rests at prices of its own.
    let mut held = [(0_i64, 0_i64); 3];
    let mut last = (0, 0);
    for _ in 0..60 {
        let taker = random.usize(0..3);
        let maker = (taker + random.usize(1..3)) % 3;
        let (side, against) = if random.bool() {
            (Side::Buy, Side::Sell)
        } else {
            (Side::Sell, Side::Buy)
        };
        let price = random.i64(-50_000..50_000);
        let rested = random.i64(1..=9);
        let taken = random.i64(1..=rested);
        let rests = traders[maker].rest(limit(&symbol, against, price, rested)).await?;
        // The taker is ready to pay more than it has to.
        let worse = if side == Side::Buy { price + 7 } else { price - 7 };
        let reply = traders[taker].insert(limit(&symbol, side, worse, taken)).await?;
        reply.has("fills", fills, vec![(price, taken)])?;
        let sign = if side == Side::Buy { 1 } else { -1 };
        let amount = price * taken * MULTIPLIER;
        for (who, sign) in [(taker, sign), (maker, -sign)] {
            held[who].0 += sign * taken;
            held[who].1 -= sign * amount;
        }
        last = (price, reply.event_seq);
        if rested > taken {
            let cancelled = traders[maker].cancel_id(rests.order_id).await?;
            cancelled.has("cancelled_quantity", |reply| reply.cancelled_quantity, rested - taken)?;
            last.1 = cancelled.event_seq;
        }
    }
    let mut sum = 0_i128;
    for (session, (lots, cash)) in traders.iter().zip(held) {
        let position = session.position_at(&symbol, last.1).await?;
        position
            .has("quantity", |position| position.quantity, lots)?
            .has("cash_e4", |position| position.cash_e4, cash)?
            .has(
                "market_value_e4",
                |position| position.market_value_e4,
                lots * last.0 * MULTIPLIER,
            )?
            .has("open_buy_quantity", |position| position.open_buy_quantity, 0)?
            .has("open_sell_quantity", |position| position.open_sell_quantity, 0)?;
        sum += i128::from(position.cash_e4);
    }
    if sum == 0 {
        return Ok(());
    }
    Err(Stop::failed(
        format!("cash of all together is {sum}"),
        "what one pays another receives",
    ))
}

/// Catches levels lost, doubled or out of order in a large book, a cut answer, a best level found by
/// place instead of price.
async fn ten_thousand_levels(context: Context) -> Verdict {
    const A_SIDE: i64 = 5_000;
    const TRADERS: usize = 4;
    let symbol = context.instrument().await?.symbol;
    let mut traders = Vec::new();
    for _ in 0..TRADERS {
        traders.push(context.trader().await?);
    }
    // Bids -2, -4, … and asks 2, 4, …, in random order; what rests at a price tells it.
    let quantity = |price: i64| 1 + price.abs() % 97;
    let mut prices: Vec<i64> = (1..=A_SIDE).flat_map(|step| [-2 * step, 2 * step]).collect();
    context.random().shuffle(&mut prices);
    let jobs = prices.into_iter().enumerate().map(|(number, price)| {
        let session = traders[number % TRADERS].clone();
        let side = if price < 0 { Side::Buy } else { Side::Sell };
        let order = limit(&symbol, side, price, quantity(price));
        async move { (price, session.try_insert(order).await.either()) }
    });
    let mut answers = stream::iter(jobs).buffer_unordered(64);
    let (mut bids, mut asks, mut last, mut refused) = (Vec::new(), Vec::new(), 0, 0);
    while let Some((price, answer)) = answers.next().await {
        match answer {
            Ok(reply) => {
                reply.has("open_quantity", |reply| reply.open_quantity, quantity(price))?;
                last = last.max(reply.event_seq);
                let side = if price < 0 { &mut bids } else { &mut asks };
                side.push(level(price, quantity(price), 1));
            }
            // An exchange may keep fewer: then those that it took are right all the same.
            Err(refusal) if refusal.names(ErrorReason::Capacity) => refused += 1,
            Err(refusal) => return Err(refusal.fail(refusal.to_string(), "the order to rest, or CAPACITY")),
        }
    }
    drop(answers);
    bids.sort_unstable_by_key(|level| -level.price_e4);
    asks.sort_unstable_by_key(|level| level.price_e4);
    let book = traders[0].book_at(&symbol, last).await?;
    let told = |levels: &[PriceLevel], expected: &[PriceLevel]| {
        let first = (0..levels.len().max(expected.len())).find(|&place| levels.get(place) != expected.get(place))?;
        Some((first, levels.get(first).copied(), expected.get(first).copied()))
    };
    book.has("the first wrong bid", |book| told(&book.bids, &bids), None)?
        .has("the first wrong ask", |book| told(&book.asks, &asks), None)?;
    Mirror::of(&book)?;

    // A sweep of 100 levels, best first.
    let (seller, taken) = (context.trader().await?, &bids[..bids.len().min(100)]);
    if let Some(worst) = taken.last() {
        let lots = taken.iter().map(|level| level.quantity).sum();
        let swept = seller.insert(sell(&symbol, worst.price_e4, lots)).await?;
        let expected = taken.iter().map(|level| (level.price_e4, level.quantity)).collect();
        swept.has("fills", fills, expected)?;
        let book = seller.book_at(&symbol, swept.event_seq).await?;
        book.has(
            "the first wrong bid",
            |book| told(&book.bids, &bids[taken.len()..]),
            None,
        )?
        .has("the first wrong ask", |book| told(&book.asks, &asks), None)?;
    }
    if refused > 0 {
        let kept = bids.len() + asks.len();
        return Err(Stop::skipped(format!(
            "the exchange keeps {kept} levels of 10,000 (CAPACITY): those are right"
        )));
    }
    Ok(())
}
