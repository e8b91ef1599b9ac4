//! Random orders and cancels against the reference model.

use optivex_proto::v1::Side;

use crate::context::Context;
use crate::model::book::Holding;
use crate::model::book_flow::Flow;
use crate::verdict::Verdict;

/// Commands of the flow.
const COMMANDS: usize = 400;
/// After so many, everything is compared.
const COMPARED_EVERY: usize = 50;

/// Catches what no other case thinks of: any difference in fills, priority, remainders, levels,
/// orders and positions, with few or many orders at few prices.
pub(super) async fn flow(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    for command in 1..=COMMANDS {
        let step = flow.step().await?;
        // Who was filled, not only how many lots.
        for trade in &step.traded {
            let resting = flow.users[trade.owner].order_at(trade.resting, step.event_seq).await;
            let resting = resting.map_err(|stop| stop.because("it was next in price-time priority, and traded"))?;
            let open = flow.book.order(trade.resting).map_or(0, |order| order.open());
            resting.has(
                "quantity - filled_quantity of the order that was next in price-time priority",
                |order| order.quantity - order.filled_quantity,
                open,
            )?;
        }
        if command % COMPARED_EVERY == 0 {
            compare(&context, &flow).await?;
        }
    }
    Ok(())
}

async fn compare(context: &Context, flow: &Flow) -> Verdict {
    let (acme, event_seq) = (flow.symbol.as_str(), flow.event_seq());
    context.log().note(&format!(
        "compares everything at event {event_seq}; seed {}",
        context.seed()
    ));
    let shown = flow.users[0].book_at(acme, event_seq).await?;
    shown
        .has("bids", |shown| shown.bids.clone(), flow.book.levels(Side::Buy))?
        .has("asks", |shown| shown.asks.clone(), flow.book.levels(Side::Sell))?
        .has("book_seq", |shown| shown.book_seq, flow.book_seq())?;
    for (owner, user) in flow.users.iter().enumerate() {
        let mut expected: Vec<_> = flow
            .book
            .resting()
            .iter()
            .filter(|order| order.owner == owner)
            .map(|order| (order.order_id, order.side, order.price_e4, order.quantity, order.filled))
            .collect();
        expected.sort_unstable_by_key(|order| order.0);
        let listed: Vec<_> = user
            .open_orders(acme)
            .await?
            .iter()
            .map(|order| {
                (
                    order.order_id,
                    order.side(),
                    order.price_e4,
                    order.quantity,
                    order.filled_quantity,
                )
            })
            .collect();
        shown.at().same(
            &format!(
                "open orders of {} (order_id, side, price_e4, quantity, filled_quantity)",
                user.username()
            ),
            listed,
            expected,
        )?;
        let holding = flow.book.holding(owner);
        if holding == Holding::default() {
            // Whether a position of nothing is shown is the exchange's choice.
            continue;
        }
        let value = holding.quantity * flow.book.last_price_e4().unwrap_or(0);
        let position = user.position_at(acme, event_seq).await?;
        position
            .has("quantity", |position| position.quantity, holding.quantity)?
            .has("cash_e4", |position| position.cash_e4, holding.cash_e4)?
            .has("market_value_e4", |position| position.market_value_e4, value)?
            .has(
                "open_buy_quantity",
                |position| position.open_buy_quantity,
                flow.book.open_quantity(owner, Side::Buy),
            )?
            .has(
                "open_sell_quantity",
                |position| position.open_sell_quantity,
                flow.book.open_quantity(owner, Side::Sell),
            )?;
    }
    Ok(())
}
