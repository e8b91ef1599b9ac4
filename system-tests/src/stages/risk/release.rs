//! What takes an order off the book gives its limits back: to the lot.

use optivex_proto::v1::{
    CancelAllOrdersRequest, CancelReason, InsertOrderRequest, InstrumentRiskLimits, SelfTradePrevention, Side,
};

use crate::check::{Outcome, Over, amend};
use crate::client::Session;
use crate::context::Context;
use crate::order::{buy, ioc, limit, market};
use crate::verdict::Verdict;

const LIMIT: i64 = 10;
const PRICE: i64 = 100;

/// A trader that may have 10 lots open, and 10 x 100 x 3 of amount.
async fn limited(context: &Context) -> Verdict<(String, Session)> {
    let symbol = context.instrument_with(|request| request.multiplier = 3).await?.symbol;
    let alice = context.trader().await?;
    let limits = InstrumentRiskLimits {
        max_outstanding_quantity: Some(LIMIT),
        max_outstanding_amount_e4: Some(LIMIT * PRICE * 3),
        ..InstrumentRiskLimits::default()
    };
    context.admin().await?.limit(&alice, &symbol, limits).await?;
    Ok((symbol, alice))
}

/// Exactly so many lots are open: the rest fits, and then nothing more. All of it is cancelled.
async fn open_is(alice: &Session, symbol: &str, open: i64) -> Verdict {
    // Buys at 0 have no amount: only lots are judged here.
    let away = |quantity| buy(symbol, 0, quantity);
    let over = |current, attempted| Over {
        name: "max_outstanding_quantity",
        symbol,
        limit: LIMIT,
        current: Some(current),
        attempted,
    };
    alice
        .try_insert(away(LIMIT - open + 1))
        .await
        .over(over(open, LIMIT - open + 1))?;
    if open < LIMIT {
        let rest = alice.rest(away(LIMIT - open)).await?.order_id;
        alice.cancel_id(rest).await?;
    }
    Ok(())
}

/// Catches: a cancel or cancel-all that releases nothing, too much, or twice; amounts kept.
pub(super) async fn by_cancel(context: Context) -> Verdict {
    for side in [Side::Buy, Side::Sell] {
        let (acme, alice) = limited(&context).await?;
        let order = |quantity| limit(&acme, side, PRICE, quantity);
        let first = alice.rest(order(4)).await?.order_id;
        let second = alice.rest(order(6)).await?.order_id;
        open_is(&alice, &acme, 10).await?;
        alice.cancel_id(first).await?;
        open_is(&alice, &acme, 6).await?;
        alice.cancel_id(second).await?;
        open_is(&alice, &acme, 0).await?;
        // The amount was released too: all of it fits again.
        alice.rest(order(10)).await?;
        alice.cancel_all(CancelAllOrdersRequest::default()).await?;
        alice.rest(order(3)).await?;
        alice.rest(order(7)).await?;
        open_is(&alice, &acme, 10).await?;
    }
    Ok(())
}

/// Catches: an amend that releases nothing, too much, or twice; amounts kept.
pub(super) async fn by_amend(context: Context) -> Verdict {
    for side in [Side::Buy, Side::Sell] {
        let (acme, alice) = limited(&context).await?;
        let order = |quantity| limit(&acme, side, PRICE, quantity);
        let first = alice.rest(order(6)).await?.order_id;
        alice.amend(amend(first, None, Some(5))).await?;
        open_is(&alice, &acme, 5).await?;
        // An amend to 0 ends the order.
        alice
            .amend(amend(first, None, Some(0)))
            .await?
            .came_to(Outcome::cancelled(CancelReason::User, &[]))?;
        open_is(&alice, &acme, 0).await?;
        // The amount was released too: all of it fits again.
        alice.rest(order(10)).await?;
        open_is(&alice, &acme, 10).await?;
    }
    Ok(())
}

/// Catches: a fill that releases nothing, of the resting or of the incoming side, or twice; a lost decrement.
pub(super) async fn by_fill(context: Context) -> Verdict {
    for (side, other) in [(Side::Buy, Side::Sell), (Side::Sell, Side::Buy)] {
        let (acme, alice) = limited(&context).await?;
        let bob = context.trader().await?;
        let order = |side, quantity| limit(&acme, side, PRICE, quantity);
        let resting = alice.rest(order(side, 10)).await?.order_id;
        for (lots, left) in [(3, 7), (1, 6)] {
            bob.insert(order(other, lots))
                .await?
                .came_to(Outcome::filled(&[(PRICE, lots)]))?;
            open_is(&alice, &acme, left).await?;
        }
        alice.cancel_id(resting).await?;
        open_is(&alice, &acme, 0).await?;
        alice.rest(order(side, 10)).await?;
        bob.insert(order(other, 10))
            .await?
            .came_to(Outcome::filled(&[(PRICE, 10)]))?;
        open_is(&alice, &acme, 0).await?;
        // Incoming, in part and whole.
        bob.rest(order(other, 4)).await?;
        alice
            .insert(order(side, 10))
            .await?
            .came_to(Outcome::open(6, &[(PRICE, 4)]))?;
        open_is(&alice, &acme, 6).await?;
        bob.insert(order(other, 6))
            .await?
            .came_to(Outcome::filled(&[(PRICE, 6)]))?;
        bob.rest(order(other, 10)).await?;
        alice
            .insert(order(side, 10))
            .await?
            .came_to(Outcome::filled(&[(PRICE, 10)]))?;
        // Lots and amounts: all of it fits again.
        alice.rest(order(side, 10)).await?;
        open_is(&alice, &acme, 10).await?;
    }
    Ok(())
}

/// Catches: the remainder of an IOC order outstanding for ever.
pub(super) async fn by_remainder(context: Context) -> Verdict {
    remainder(&context, |symbol, side| ioc(symbol, side, PRICE, 10)).await
}

/// Catches: the remainder of a market order outstanding for ever.
pub(super) async fn by_market_remainder(context: Context) -> Verdict {
    remainder(&context, |symbol, side| market(symbol, side, 10)).await
}

async fn remainder(context: &Context, order: fn(&str, Side) -> InsertOrderRequest) -> Verdict {
    let (acme, alice) = limited(context).await?;
    let bob = context.trader().await?;
    for side in [Side::Buy, Side::Sell] {
        let other = if side == Side::Buy { Side::Sell } else { Side::Buy };
        let gone = |fills| Outcome::cancelled(CancelReason::TimeInForce, fills);
        alice.insert(order(&acme, side)).await?.came_to(gone(&[]))?;
        bob.rest(limit(&acme, other, PRICE, 3)).await?;
        alice.insert(order(&acme, side)).await?.came_to(gone(&[(PRICE, 3)]))?;
        open_is(&alice, &acme, 0).await?;
        let all = alice.rest(limit(&acme, side, PRICE, 10)).await?.order_id;
        alice.cancel_id(all).await?;
    }
    Ok(())
}

/// Catches: orders cancelled by self-trade prevention outstanding for ever.
pub(super) async fn by_self_trade(context: Context) -> Verdict {
    let (acme, alice) = limited(&context).await?;
    let with = |choice: SelfTradePrevention, quantity| InsertOrderRequest {
        self_trade_prevention: choice.into(),
        ..limit(&acme, Side::Sell, PRICE, quantity)
    };
    let stopped = || Outcome::cancelled(CancelReason::SelfTrade, &[]);
    let own = alice.rest(buy(&acme, PRICE, 4)).await?.order_id;
    alice
        .insert(with(SelfTradePrevention::CancelIncoming, 6))
        .await?
        .came_to(stopped())?;
    open_is(&alice, &acme, 4).await?;
    let incoming = alice.insert(with(SelfTradePrevention::CancelResting, 5)).await?;
    incoming.came_to(Outcome::open(5, &[]))?;
    alice.is_cancelled(own, CancelReason::SelfTrade).await?;
    open_is(&alice, &acme, 5).await?;
    alice.cancel_id(incoming.order_id).await?;
    alice.rest(buy(&acme, PRICE, 4)).await?;
    alice
        .insert(with(SelfTradePrevention::CancelBoth, 6))
        .await?
        .came_to(stopped())?;
    open_is(&alice, &acme, 0).await?;
    alice.rest(buy(&acme, PRICE, 10)).await?;
    Ok(())
}
