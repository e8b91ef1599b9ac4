//! Orders that do not just rest, and amends, taken wrongly.

use optivex_engine::command::{AmendOrder, InsertOrder, OrderRef};
use optivex_engine::event::{Outcome, ReportKind};
use optivex_engine::types::{OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce};
use optivex_engine::{Engine, Event, OrderLookup};

use super::orders::owner;

/// An insert as a wrong exchange takes it.
pub(super) fn insert(mut order: InsertOrder, engine: &Engine) -> InsertOrder {
    let (user, instrument) = (order.user, order.instrument);
    let terms = &mut order.terms;
    let others = || engine.resting_orders(instrument, terms.side.opposite());
    let (side, limit) = (terms.side, terms.price_e4);
    let reached = move |price_e4: i64| match side {
        Side::Buy => price_e4 <= limit,
        Side::Sell => price_e4 >= limit,
    };
    if fault!(ImmediateRests)
        && (terms.order_type, terms.time_in_force) == (OrderType::Limit, TimeInForce::ImmediateOrCancel)
    {
        terms.time_in_force = TimeInForce::GoodTillCancelled;
    }
    if terms.time_in_force == TimeInForce::FillOrKill {
        let lots = |fits: &dyn Fn(i64) -> bool| -> i64 {
            let fitting = others().filter(|order| fits(order.price_e4));
            fitting.map(|order| order.open_quantity()).sum()
        };
        if fault!(FillOrKillFillsPartly) && lots(&reached) > 0
            || fault!(FillOrKillLooksTooFar) && lots(&|_| true) >= terms.quantity
            || fault!(OwnOrdersFill) && lots(&reached) >= terms.quantity
        {
            terms.time_in_force = TimeInForce::ImmediateOrCancel;
        }
    }
    if fault!(MarketRests)
        && terms.order_type == OrderType::Market
        && let Some(worst) = others().last()
    {
        terms.order_type = OrderType::Limit;
        terms.price_e4 = worst.price_e4;
        terms.time_in_force = TimeInForce::GoodTillCancelled;
    }
    if terms.post_only
        && let Some(best) = others().next()
        && (fault!(PostOnlyTradesAtTouch) && best.price_e4 == terms.price_e4
            || fault!(PostOnlyMissesOwn) && best.user == user)
    {
        terms.post_only = false;
    }
    match terms.self_trade_prevention {
        SelfTradePrevention::CancelResting if fault!(CancelRestingEndsBoth) => {
            terms.self_trade_prevention = SelfTradePrevention::CancelBoth;
        }
        SelfTradePrevention::CancelBoth if fault!(CancelBothEndsOne) => {
            terms.self_trade_prevention = SelfTradePrevention::CancelIncoming;
        }
        _ => {}
    }
    order
}

/// An amend as a wrong exchange takes it.
pub(super) fn amend(mut amend: AmendOrder, engine: &Engine) -> AmendOrder {
    if fault!(AmendOfOthers)
        && let OrderRef::Id(id) = amend.order
    {
        amend.user = owner(engine, id).unwrap_or(amend.user);
    }
    let OrderLookup::Open(order) = engine.order(amend.user, amend.order) else {
        return amend;
    };
    if let Some(quantity) = &mut amend.quantity {
        if fault!(AmendAddsToFilled) {
            *quantity += order.filled_quantity;
        }
        if fault!(AmendBelowFilledRefused) && *quantity <= order.filled_quantity {
            *quantity = -1;
        }
    }
    if let Some(price_e4) = &mut amend.price_e4
        && fault!(AmendedPriceRounded)
    {
        let instrument = engine.instrument(order.instrument);
        *price_e4 -= *price_e4 % instrument.map_or(1, |instrument| instrument.tick_size_e4);
    }
    amend
}

/// An amend's event as a wrong exchange tells it.
pub(super) fn event(event: &mut Event) {
    let Outcome::Amended(outcome) = &event.outcome else {
        return;
    };
    let order_id = outcome.order_id;
    if fault!(EndReportedAsAmended)
        && let Some(end) = event.reports.first_mut()
        && matches!(end.order.status, OrderStatus::Cancelled(_))
    {
        end.kind = ReportKind::Amended;
    }
    if fault!(FillBeforeAmended)
        && let Some(change) = event.reports.first().copied()
        && let Some(fill) = event.reports[1..]
            .iter_mut()
            .find(|report| report.order.order_id == order_id)
    {
        let (kind, order) = (fill.kind, fill.order);
        (fill.kind, fill.order) = (change.kind, change.order);
        (event.reports[0].kind, event.reports[0].order) = (kind, order);
    }
    if fault!(AmendLeavesItsLevel) {
        for book in &mut event.books {
            for side in [&mut book.bids, &mut book.asks] {
                // A level that is gone goes untold if it is the last of its side.
                let last = side.end as usize;
                if side.start < side.end && event.levels[last - 1].quantity == 0 {
                    side.end -= 1;
                }
            }
        }
    }
}
