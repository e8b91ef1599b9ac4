//! The call auction and its uncross.

use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{
    BookView, SetTradingPhaseResponse, Side, SubscribeOrderBooksRequest, SubscribeOrderBooksResponse, TradingPhase,
};

use crate::client::{Reply, Session, Stream};
use crate::context::Context;
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

/// Side, price and lots of the orders of an auction.
type Orders<'a> = &'a [(Side, i64, i64)];

/// The last trade, the orders, and the price and lots that come of them.
type Auction<'a> = (Option<i64>, Orders<'a>, Option<(i64, i64)>);

/// The contract's rule by trying every price: price and lots, or nothing that would trade.
fn uncross(orders: Orders<'_>, tick: i64, last_trade: Option<i64>) -> Option<(i64, i64)> {
    let lowest = orders.iter().map(|order| order.1).min()?;
    let highest = orders.iter().map(|order| order.1).max()?;
    let at = |price: i64| {
        let sum = |side, fits: &dyn Fn(i64) -> bool| -> i64 {
            let of = orders.iter().filter(|order| order.0 == side && fits(order.1));
            of.map(|order| order.2).sum()
        };
        (
            sum(Side::Buy, &|limit| limit >= price),
            sum(Side::Sell, &|limit| limit <= price),
        )
    };
    let rank = |price: i64| {
        let (bought, sold) = at(price);
        let far = last_trade.map_or(0, |last| (price - last).abs());
        (-bought.min(sold), (bought - sold).abs(), far, price)
    };
    let prices = (0..=(highest - lowest) / tick).map(|step| lowest + step * tick);
    let best = prices.min_by_key(|price| rank(*price))?;
    let (bought, sold) = at(best);
    let lots = bought.min(sold);
    (lots > 0).then_some((best, lots))
}

/// A book in an auction, with a last trade if wanted, and one user of each side.
async fn open(context: &Context, tick: i64, last_trade: Option<i64>) -> Verdict<(String, Session, Session, Session)> {
    let symbol = context
        .instrument_with(|request| request.tick_size_e4 = tick)
        .await?
        .symbol;
    let (admin, alice, bob) = (context.admin().await?, context.trader().await?, context.trader().await?);
    if let Some(price) = last_trade {
        alice.rest(sell(&symbol, price, 1)).await?;
        bob.insert(buy(&symbol, price, 1))
            .await?
            .has("open_quantity", |reply| reply.open_quantity, 0)?;
    }
    admin.phase(&symbol, TradingPhase::Auction).await?;
    Ok((symbol, admin, alice, bob))
}

/// All trades at this price, this many lots, no aggressor.
fn traded(reply: &Reply<SetTradingPhaseResponse>, expected: Option<(i64, i64)>) -> Verdict {
    let mut prices: Vec<i64> = reply.trades.iter().map(|trade| trade.price_e4).collect();
    prices.dedup();
    let lots = reply.trades.iter().map(|trade| trade.quantity).sum();
    let came = match prices.as_slice() {
        [] => Some(None),
        [price] => Some(Some((*price, lots))),
        _ => None,
    };
    reply
        .has("price_e4 and lots of the uncross", |_| came, Some(expected))?
        .has("trade_count", |reply| reply.trade_count, reply.trades.len() as i64)?
        .shows("trades without an aggressor_side", |reply| {
            reply
                .trades
                .iter()
                .all(|trade| trade.aggressor_side() == Side::Unspecified)
        })?;
    Ok(())
}

/// Catches: matching in an auction.
pub(super) async fn rests(context: Context) -> Verdict {
    let (acme, admin, alice, bob) = open(&context, 1, None).await?;
    alice.rest(sell(&acme, 100, 5)).await?;
    let crossing = bob.rest(buy(&acme, 105, 5)).await?;
    bob.book_shows(&acme, crossing.event_seq, &[(105, 5, 1)], &[(100, 5, 1)])
        .await?;
    let amended = bob
        .amend(crate::check::amend(crossing.order_id, Some(110), None))
        .await?;
    amended.came_to(crate::check::Outcome::open(5, &[]))?;
    let book = bob
        .book_shows(&acme, amended.event_seq, &[(110, 5, 1)], &[(100, 5, 1)])
        .await?;
    book.has("phase", |book| book.phase(), TradingPhase::Auction)?;
    bob.is_filled(crossing.order_id, 0).await?;
    let done = admin.phase(&acme, TradingPhase::Continuous).await?;
    traded(&done, Some((100, 5)))
}

/// Catches: the best bid or ask, the middle, or the last order's price taken; the surplus left out; the
/// highest of equals; the last trade left out; only prices of orders tried.
pub(super) async fn price(context: Context) -> Verdict {
    use Side::{Buy, Sell};
    let cases: &[Auction<'_>] = &[
        (None, &[(Buy, 100, 5), (Sell, 105, 5)], None),
        // The most lots.
        (
            None,
            &[(Buy, 110, 5), (Buy, 105, 5), (Sell, 100, 4), (Sell, 105, 6)],
            Some((105, 10)),
        ),
        // The least left behind.
        (None, &[(Buy, 110, 10), (Buy, 105, 5), (Sell, 100, 10)], Some((110, 10))),
        (
            None,
            &[(Sell, 100, 10), (Sell, 105, 5), (Buy, 110, 10)],
            Some((100, 10)),
        ),
        // Equal: the lowest without a last trade, else the nearest to it, prices of no order too.
        (None, &[(Buy, 110, 5), (Sell, 100, 5)], Some((100, 5))),
        (Some(105), &[(Buy, 110, 5), (Sell, 100, 5)], Some((105, 5))),
        (Some(150), &[(Buy, 110, 5), (Sell, 100, 5)], Some((110, 5))),
        (Some(50), &[(Buy, 110, 5), (Sell, 100, 5)], Some((100, 5))),
        // More lots and less behind come before the last trade.
        (
            Some(150),
            &[(Sell, 100, 10), (Sell, 105, 5), (Buy, 110, 10)],
            Some((100, 10)),
        ),
        // Negative prices.
        (None, &[(Buy, -100, 5), (Sell, -110, 3)], Some((-110, 3))),
        (Some(-105), &[(Buy, 10, 5), (Sell, -110, 5)], Some((-105, 5))),
    ];
    for (last_trade, orders, expected) in cases {
        let (acme, admin, alice, bob) = open(&context, 5, *last_trade).await?;
        for (side, price, quantity) in *orders {
            let user = if *side == Buy { &bob } else { &alice };
            user.rest(limit(&acme, *side, *price, *quantity)).await?;
        }
        let done = admin.phase(&acme, TradingPhase::Continuous).await?;
        let told: Vec<String> = orders
            .iter()
            .map(|(side, price, quantity)| format!("{} {quantity} at {price}", side.as_str_name()))
            .collect();
        context
            .log()
            .note(&format!("tick 5, last trade {last_trade:?}: {}", told.join(", ")));
        traded(&done, *expected)?;
    }
    Ok(())
}

/// Catches: what the table above does not think of; a book that is crossed afterwards.
pub(super) async fn random(context: Context) -> Verdict {
    let mut random = context.random();
    for _ in 0..6 {
        let last = random.bool().then(|| random.i64(-4..5) * 5);
        let (acme, admin, alice, bob) = open(&context, 5, last).await?;
        let mut orders = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..random.usize(2..16) {
            let side = if random.bool() { Side::Buy } else { Side::Sell };
            let order = (side, random.i64(-4..5) * 5, random.i64(1..10));
            let user = if side == Side::Buy { &bob } else { &alice };
            ids.push(user.rest(limit(&acme, side, order.1, order.2)).await?.order_id);
            orders.push(order);
        }
        let expected = uncross(&orders, 5, last);
        let done = admin.phase(&acme, TradingPhase::Continuous).await?;
        traded(&done, expected)?;
        let (price, lots) = expected.unwrap_or_default();
        for side in [Side::Buy, Side::Sell] {
            let mut queue: Vec<usize> = (0..orders.len()).filter(|place| orders[*place].0 == side).collect();
            queue.sort_by_key(|place| {
                if side == Side::Buy {
                    -orders[*place].1
                } else {
                    orders[*place].1
                }
            });
            let user = if side == Side::Buy { &bob } else { &alice };
            let mut left = lots;
            for place in queue {
                let fits = if side == Side::Buy {
                    orders[place].1 >= price
                } else {
                    orders[place].1 <= price
                };
                let filled = if fits { left.min(orders[place].2) } else { 0 };
                left -= filled;
                user.is_filled(ids[place], filled).await?;
            }
        }
    }
    Ok(())
}

/// Catches: time left out at the last level; self-trade prevention in an uncross; trades at several prices.
pub(super) async fn priority(context: Context) -> Verdict {
    let (acme, admin, alice, bob) = open(&context, 1, None).await?;
    let first = alice.rest(buy(&acme, 100, 3)).await?.order_id;
    let second = bob.rest(buy(&acme, 100, 3)).await?.order_id;
    let best = bob.rest(buy(&acme, 102, 2)).await?.order_id;
    let ask = bob.rest(sell(&acme, 99, 4)).await?.order_id;
    let high = bob.rest(sell(&acme, 103, 4)).await?.order_id;
    let done = admin.phase(&acme, TradingPhase::Continuous).await?;
    // 4 lots trade at 99 and 100 alike, with 4 more wanted; from 101 on only 2.
    traded(&done, Some((99, 4)))?;
    bob.is_filled(best, 2).await?;
    alice.is_filled(first, 2).await?;
    bob.is_filled(second, 0).await?;
    bob.is_filled(ask, 4).await?;
    bob.is_filled(high, 0).await?;
    bob.book_shows(&acme, done.event_seq, &[(100, 4, 2)], &[(103, 4, 1)])
        .await?;
    // Continuous trading goes on in the same priority.
    let carol = context.trader().await?;
    carol
        .insert(sell(&acme, 100, 1))
        .await?
        .has("open_quantity", |reply| reply.open_quantity, 0)?;
    alice.is_filled(first, 3).await
}

/// Catches: an uncross only from AUCTION; a halt that trades or forgets.
pub(super) async fn after_halt(context: Context) -> Verdict {
    let (acme, admin, alice, bob) = open(&context, 1, None).await?;
    alice.rest(sell(&acme, 100, 5)).await?;
    bob.rest(buy(&acme, 105, 3)).await?;
    traded(&admin.phase(&acme, TradingPhase::Halted).await?, None)?;
    let done = admin.phase(&acme, TradingPhase::Continuous).await?;
    traded(&done, Some((100, 3)))?;
    let book = bob.book_shows(&acme, done.event_seq, &[], &[(100, 2, 1)]).await?;
    book.has("phase", |book| book.phase(), TradingPhase::Continuous)?;
    // A book that is not crossed trades nothing.
    traded(&admin.phase(&acme, TradingPhase::Auction).await?, None)?;
    traded(&admin.phase(&acme, TradingPhase::Continuous).await?, None)
}

/// Catches: an indicative that is stale, missing, of another rule, or told where nothing would trade.
pub(super) async fn indicative(context: Context) -> Verdict {
    let (acme, admin, alice, bob) = open(&context, 1, None).await?;
    let mut top = bob.follow_books(SubscribeOrderBooksRequest {
        symbols: vec![acme.clone()],
        view: BookView::TopOfBook.into(),
        ..SubscribeOrderBooksRequest::default()
    });
    let order = alice.rest(sell(&acme, 100, 5)).await?;
    shown(&mut top, order.event_seq, None).await?;
    let order = bob.rest(buy(&acme, 105, 3)).await?;
    shown(&mut top, order.event_seq, Some((100, 3))).await?;
    // Neither best bid nor best ask changes here, but what would trade does.
    let order = bob.rest(buy(&acme, 104, 4)).await?;
    shown(&mut top, order.event_seq, Some((100, 5))).await?;
    let cancelled = bob.cancel_id(order.order_id).await?;
    shown(&mut top, cancelled.event_seq, Some((100, 3))).await?;
    let done = admin.phase(&acme, TradingPhase::Continuous).await?;
    shown(&mut top, done.event_seq, None).await
}

/// The next top of book at this event tells this.
async fn shown(top: &mut Stream<SubscribeOrderBooksResponse>, event_seq: u64, expected: Option<(i64, i64)>) -> Verdict {
    let what =
        format!("a top of book of event {event_seq} with its indicative uncross {expected:?} (price_e4, quantity)");
    top.until(&what, |message| match &message.event {
        Some(Event::TopOfBook(shown)) if shown.event_seq >= event_seq => {
            let indicative = shown
                .indicative
                .map(|indicative| (indicative.price_e4, indicative.quantity));
            message.has("indicative (price_e4, quantity)", |_| indicative, expected)?;
            Ok(Some(()))
        }
        _ => Ok(None),
    })
    .await
}
