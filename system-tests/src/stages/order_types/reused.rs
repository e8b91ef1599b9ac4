//! Client ids that come again with other terms.

use optivex_proto::v1::{
    ErrorReason, InsertOrderRequest, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce,
};

use crate::client::Session;
use crate::context::Context;
use crate::order::{buy, ioc, market, sell};
use crate::verdict::Verdict;

/// Each of the others is refused with the id of the first, and the first answers as before.
async fn only_itself(user: &Session, id: String, first: InsertOrderRequest, others: &[InsertOrderRequest]) -> Verdict {
    let named = |order: &InsertOrderRequest| InsertOrderRequest {
        client_order_id: id.clone(),
        ..order.clone()
    };
    let answer = user.insert(named(&first)).await?;
    for other in others {
        user.try_insert(named(other))
            .await
            .refused(ErrorReason::ClientIdReused, &[])?;
    }
    let again = user.insert(named(&first)).await?;
    again.has("the answer to the retry", Clone::clone, (*answer).clone())?;
    Ok(())
}

/// Catches: contents compared by symbol, side, price and quantity alone; defaults not filled in first.
pub(super) async fn terms(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let plain = buy(&acme, 100, 5);
    let with = |change: fn(&mut InsertOrderRequest)| {
        let mut order = plain.clone();
        change(&mut order);
        order
    };
    let others = [
        with(|order| order.time_in_force = TimeInForce::ImmediateOrCancel.into()),
        with(|order| order.time_in_force = TimeInForce::FillOrKill.into()),
        with(|order| order.post_only = true),
        with(|order| order.self_trade_prevention = SelfTradePrevention::CancelResting.into()),
        with(|order| order.self_trade_prevention = SelfTradePrevention::CancelBoth.into()),
    ];
    only_itself(&alice, context.unique(), plain.clone(), &others).await?;
    let post_only = with(|order| order.post_only = true);
    only_itself(&alice, context.unique(), post_only, std::slice::from_ref(&plain)).await?;
    // Of orders that are done as well, and the market order is no limit order at 0.
    bob.rest(sell(&acme, 101, 5)).await?;
    let others = [
        ioc(&acme, Side::Buy, 0, 1),
        InsertOrderRequest {
            time_in_force: TimeInForce::FillOrKill.into(),
            ..market(&acme, Side::Buy, 1)
        },
    ];
    only_itself(&alice, context.unique(), market(&acme, Side::Buy, 1), &others).await?;
    // The same terms in other words are the same.
    let id = context.unique();
    let short = InsertOrderRequest {
        client_order_id: id,
        ..market(&acme, Side::Buy, 1)
    };
    let long = InsertOrderRequest {
        r#type: OrderType::Market.into(),
        time_in_force: TimeInForce::ImmediateOrCancel.into(),
        self_trade_prevention: SelfTradePrevention::CancelIncoming.into(),
        ..short.clone()
    };
    let first = alice.insert(short).await?;
    first.has("status", |reply| reply.status(), OrderStatus::Filled)?;
    let again = alice.insert(long).await?;
    again.has("the answer to the retry", Clone::clone, (*first).clone())?;
    Ok(())
}
