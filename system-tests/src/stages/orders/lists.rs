//! Orders as the exchange shows them.

use optivex_proto::v1::{
    CancelReason, InsertOrderRequest, ListOrdersRequest, Order, OrderStatus, OrderType, SelfTradePrevention, Side,
    TimeInForce,
};

use crate::context::Context;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

fn ids(orders: &[Order]) -> Vec<u64> {
    orders.iter().map(|order| order.order_id).collect()
}

/// Catches pages that skip, repeat or never end, lists in hash order, and done orders among open ones.
pub(super) async fn pages(context: Context) -> Verdict {
    let (acme, duff) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let alice = context.trader().await?;
    let (mut of_acme, mut all) = (Vec::new(), Vec::new());
    for step in 0..7 {
        let order_id = alice.rest(buy(&acme, 1_000 - step, 1)).await?.order_id;
        of_acme.push(order_id);
        all.push(order_id);
        all.push(alice.rest(sell(&duff, 1_000 + step, 1)).await?.order_id);
    }
    let done = of_acme.remove(3);
    let cancelled = alice.cancel_id(done).await?;
    all.retain(|order_id| *order_id != done);
    alice.order_at(done, cancelled.event_seq).await?;
    for (symbol, expected) in [(acme.as_str(), &of_acme), ("", &all)] {
        for page_size in [0, 1, 2, 3, 6, 1_000] {
            let mut listed: Vec<u64> = Vec::new();
            let mut page_token = String::new();
            loop {
                let page = alice
                    .orders(ListOrdersRequest {
                        symbol: symbol.to_owned(),
                        page_size,
                        page_token: page_token.clone(),
                        ..ListOrdersRequest::default()
                    })
                    .await?;
                let most = if page_size == 0 { 1_000 } else { page_size as usize };
                page.shows(&format!("at most {most} orders"), |page| page.orders.len() <= most)?;
                listed.extend(ids(&page.orders));
                let at = page.at().clone();
                page_token = page.into_inner().next_page_token;
                at.holds(
                    listed.len() <= expected.len(),
                    format!("the pages together list {listed:?}"),
                    format!("the open orders, by order_id: {expected:?}"),
                )?;
                if page_token.is_empty() {
                    at.same("order_ids of all pages", &listed, expected)?;
                    break;
                }
            }
        }
    }
    alice
        .order(done)
        .await?
        .has("status", |order| order.status(), OrderStatus::Cancelled)?
        .has("symbol", |order| order.symbol.clone(), acme)?;
    Ok(())
}

/// Catches orders that are shown as they were sent, and fields that are lost.
pub(super) async fn defaults(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let id = context.unique();
    let request = InsertOrderRequest {
        client_order_id: id.clone(),
        ..sell(&acme, -1_000, 12)
    };
    let inserted = alice.rest(request).await?;
    let trade = bob.insert(buy(&acme, -1_000, 5)).await?;
    let order = alice.order_at(inserted.order_id, trade.event_seq).await?;
    order
        .has("order_id", |order| order.order_id, inserted.order_id)?
        .has("client_order_id", |order| order.client_order_id.clone(), id)?
        .has("symbol", |order| order.symbol.clone(), acme.clone())?
        .has("side", |order| order.side(), Side::Sell)?
        .has("price_e4", |order| order.price_e4, -1_000)?
        .has("quantity", |order| order.quantity, 12)?
        .has("filled_quantity", |order| order.filled_quantity, 5)?
        .has("status", |order| order.status(), OrderStatus::Open)?
        .has("type", |order| order.r#type(), OrderType::Limit)?
        .has(
            "time_in_force",
            |order| order.time_in_force(),
            TimeInForce::GoodTillCancelled,
        )?
        .has("post_only", |order| order.post_only, false)?
        .has(
            "self_trade_prevention",
            |order| order.self_trade_prevention(),
            SelfTradePrevention::CancelIncoming,
        )?
        .has(
            "cancel_reason",
            |order| order.cancel_reason(),
            CancelReason::Unspecified,
        )?
        .has(
            "event_seq: the trade changed it last",
            |order| order.event_seq,
            trade.event_seq,
        )?
        .shows("created_unix_ns, nanoseconds since the Unix epoch", |order| {
            order.created_unix_ns > 1_000_000_000_000_000_000
        })?;
    let listed = alice.open_orders(&acme).await?;
    order
        .at()
        .same("the list of open orders", listed, vec![order.clone().into_inner()])?;
    Ok(())
}

/// Catches client ids that are forgotten when the order ends, and a filter that is ignored.
pub(super) async fn by_client_id(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let (open, gone) = (context.unique(), context.unique());
    let mut inserted = Vec::new();
    for id in [&open, &gone] {
        let request = InsertOrderRequest {
            client_order_id: id.clone(),
            ..buy(&acme, 1_000, 5)
        };
        inserted.push(alice.rest(request).await?.order_id);
    }
    let cancelled = alice.cancel_id(inserted[1]).await?;
    alice.order_at(inserted[1], cancelled.event_seq).await?;
    for (id, expected) in [
        (&open, vec![inserted[0]]),
        (&gone, vec![inserted[1]]),
        (&context.unique(), vec![]),
    ] {
        let page = alice
            .orders(ListOrdersRequest {
                client_order_id: id.clone(),
                ..ListOrdersRequest::default()
            })
            .await?;
        page.has("order_ids", |page| ids(&page.orders), expected)?;
    }
    let page = alice
        .orders(ListOrdersRequest {
            order_id: u64::MAX,
            ..ListOrdersRequest::default()
        })
        .await?;
    page.has("orders", |page| page.orders.clone(), vec![])?;
    Ok(())
}
