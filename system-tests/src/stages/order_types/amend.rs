//! Amends.

use optivex_proto::v1::{
    AmendOrderRequest, CancelReason, ErrorReason, ExecutionKind, ExecutionReport, InsertOrderRequest,
    SubscribeExecutionReportsRequest, amend_order_request, subscribe_execution_reports_response::Event,
};

use crate::check::{Outcome, amend};
use crate::client::{Session, Stream};
use crate::context::Context;
use crate::order::{buy, ioc, sell};
use crate::verdict::Verdict;
use optivex_proto::v1::{Side, SubscribeExecutionReportsResponse};

/// Catches: priority lost by a decrease; the decrease not taken off the level or the order.
pub(super) async fn less_keeps_priority(context: Context) -> Verdict {
    for side in [Side::Buy, Side::Sell] {
        let acme = context.instrument().await?.symbol;
        let (alice, bob, carol) = (
            context.trader().await?,
            context.trader().await?,
            context.trader().await?,
        );
        let order = |side, quantity| crate::order::limit(&acme, side, 100, quantity);
        let other = if side == Side::Buy { Side::Sell } else { Side::Buy };
        let first = alice.rest(order(side, 5)).await?.order_id;
        let second = bob.rest(order(side, 5)).await?.order_id;
        let amended = alice.amend(amend(first, None, Some(3))).await?;
        amended
            .came_to(Outcome::open(3, &[]))?
            .has("order_id", |reply| reply.order_id, first)?;
        let trade = carol.insert(order(other, 3)).await?;
        trade.came_to(Outcome::filled(&[(100, 3)]))?;
        alice.is_filled(first, 3).await?;
        bob.is_filled(second, 0).await?;
        let level = [(100, 5, 1)];
        let (bids, asks): (&[_], &[_]) = if side == Side::Buy {
            (&level, &[])
        } else {
            (&[], &level)
        };
        carol.book_shows(&acme, trade.event_seq, bids, asks).await?;
    }
    Ok(())
}

/// Catches: an amend that always goes behind; one that is refused because nothing changes.
pub(super) async fn same_keeps_priority(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, carol) = (
        context.trader().await?,
        context.trader().await?,
        context.trader().await?,
    );
    let first = alice.rest(sell(&acme, 100, 5)).await?.order_id;
    let second = bob.rest(sell(&acme, 100, 5)).await?.order_id;
    alice
        .amend(amend(first, Some(100), Some(4)))
        .await?
        .came_to(Outcome::open(4, &[]))?;
    let again = alice.amend(amend(first, Some(100), Some(4))).await?;
    again.came_to(Outcome::open(4, &[]))?;
    alice
        .amend(amend(first, Some(100), None))
        .await?
        .came_to(Outcome::open(4, &[]))?;
    carol
        .insert(buy(&acme, 100, 4))
        .await?
        .came_to(Outcome::filled(&[(100, 4)]))?;
    alice.is_filled(first, 4).await?;
    bob.is_filled(second, 0).await
}

/// Catches: priority kept by an increase; an increase that the level or the book misses.
pub(super) async fn more_goes_behind(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, carol) = (
        context.trader().await?,
        context.trader().await?,
        context.trader().await?,
    );
    let first = alice.rest(buy(&acme, 100, 5)).await?.order_id;
    let second = bob.rest(buy(&acme, 100, 5)).await?.order_id;
    let amended = alice.amend(amend(first, None, Some(6))).await?;
    amended.came_to(Outcome::open(6, &[]))?;
    carol.book_shows(&acme, amended.event_seq, &[(100, 11, 2)], &[]).await?;
    carol
        .insert(sell(&acme, 100, 5))
        .await?
        .came_to(Outcome::filled(&[(100, 5)]))?;
    bob.is_filled(second, 5).await?;
    alice.is_filled(first, 0).await
}

/// Catches: time kept over a price change; an empty level left behind; a level's count not moved.
pub(super) async fn price_goes_behind(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, carol) = (
        context.trader().await?,
        context.trader().await?,
        context.trader().await?,
    );
    let first = alice.rest(sell(&acme, 102, 5)).await?.order_id;
    let second = bob.rest(sell(&acme, 101, 5)).await?.order_id;
    let amended = alice.amend(amend(first, Some(101), None)).await?;
    amended.came_to(Outcome::open(5, &[]))?;
    carol.book_shows(&acme, amended.event_seq, &[], &[(101, 10, 2)]).await?;
    let trade = carol.insert(buy(&acme, 101, 5)).await?;
    trade.came_to(Outcome::filled(&[(101, 5)]))?;
    bob.is_filled(second, 5).await?;
    alice.is_filled(first, 0).await?;
    // Nothing is left where it was: a buy at that price rests once the rest is bought.
    carol
        .insert(buy(&acme, 102, 6))
        .await?
        .came_to(Outcome::open(1, &[(101, 5)]))?;
    Ok(())
}

/// Catches: a crossed book after an amend; a trade at the incoming price; a remainder lost or at the old price.
pub(super) async fn trades(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let near = alice.rest(sell(&acme, 105, 2)).await?.order_id;
    let far = alice.rest(sell(&acme, 106, 2)).await?.order_id;
    let order = bob.rest(buy(&acme, 100, 3)).await?.order_id;
    let amended = bob.amend(amend(order, Some(107), Some(7))).await?;
    amended
        .came_to(Outcome::open(3, &[(105, 2), (106, 2)]))?
        .has("order_id", |reply| reply.order_id, order)?;
    alice.is_filled(near, 2).await?;
    alice.is_filled(far, 2).await?;
    bob.book_shows(&acme, amended.event_seq, &[(107, 3, 1)], &[]).await?;
    alice
        .insert(sell(&acme, 90, 3))
        .await?
        .came_to(Outcome::filled(&[(107, 3)]))?;
    bob.is_filled(order, 7).await
}

/// Catches: the new quantity taken for the open one; fills forgotten by an amend.
pub(super) async fn total_quantity(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let order = alice.rest(buy(&acme, 100, 10)).await?.order_id;
    bob.insert(sell(&acme, 100, 4))
        .await?
        .came_to(Outcome::filled(&[(100, 4)]))?;
    let less = alice.amend(amend(order, None, Some(6))).await?;
    less.came_to(Outcome::open(2, &[]).after(4))?;
    bob.book_shows(&acme, less.event_seq, &[(100, 2, 1)], &[]).await?;
    let moved = alice.amend(amend(order, Some(99), None)).await?;
    moved.came_to(Outcome::open(2, &[]).after(4))?;
    let more = alice.amend(amend(order, None, Some(9))).await?;
    more.came_to(Outcome::open(5, &[]).after(4))?;
    let get = |order: &optivex_proto::v1::Order| (order.price_e4, order.quantity, order.filled_quantity);
    alice
        .order_shows(order, "price_e4, quantity and filled_quantity", get, (99, 9, 4))
        .await?;
    bob.insert(ioc(&acme, Side::Sell, 99, 20))
        .await?
        .came_to(Outcome::cancelled(CancelReason::TimeInForce, &[(99, 5)]))?;
    alice.is_filled(order, 9).await
}

/// Catches: an order that lives on with 0 or less; another reason; an AMENDED report before the end.
pub(super) async fn ends(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let mut reports = follow(&alice).await?;
    for quantity in [4, 3, 0] {
        let order = alice.rest(buy(&acme, 100, 10)).await?.order_id;
        bob.insert(sell(&acme, 100, 4))
            .await?
            .came_to(Outcome::filled(&[(100, 4)]))?;
        let end = alice.amend(amend(order, None, Some(quantity))).await?;
        end.came_to(Outcome::cancelled(CancelReason::User, &[]).after(4))?;
        bob.book_shows(&acme, end.event_seq, &[], &[]).await?;
        for kind in [ExecutionKind::Accepted, ExecutionKind::Fill, ExecutionKind::Cancelled] {
            let report = next_of(&mut reports, order).await?;
            reports.at().same("kind of the next report", report.kind(), kind)?;
            if kind == ExecutionKind::Cancelled {
                reports
                    .at()
                    .same("cancel_reason", report.cancel_reason(), CancelReason::User)?;
                reports.at().same("event_seq", report.event_seq, end.event_seq)?;
            }
        }
        alice
            .try_amend(amend(order, None, Some(20)))
            .await
            .refused(ErrorReason::OrderDone, &[])?;
        bob.insert(ioc(&acme, Side::Sell, 90, 1))
            .await?
            .came_to(Outcome::cancelled(CancelReason::TimeInForce, &[]))?;
    }
    Ok(())
}

/// Catches: fills before AMENDED; no report at all; the old price or quantity in it.
pub(super) async fn reports(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    bob.rest(sell(&acme, 105, 2)).await?;
    let mut reports = follow(&alice).await?;
    let order = alice.rest(buy(&acme, 100, 3)).await?.order_id;
    let amended = alice.amend(amend(order, Some(105), Some(5))).await?;
    amended.came_to(Outcome::open(3, &[(105, 2)]))?;
    let accepted = next_of(&mut reports, order).await?;
    let at = reports.at().clone();
    at.same("kind of the first report", accepted.kind(), ExecutionKind::Accepted)?;
    let change = next_of(&mut reports, order).await?;
    at.same("kind of the second report", change.kind(), ExecutionKind::Amended)?;
    at.same("event_seq of the AMENDED report", change.event_seq, amended.event_seq)?;
    let shown = change.order.as_ref().map(|order| (order.price_e4, order.quantity));
    at.same("price_e4 and quantity of the AMENDED order", shown, Some((105, 5)))?;
    let fill = next_of(&mut reports, order).await?;
    at.same("kind of the third report", fill.kind(), ExecutionKind::Fill)?;
    at.same("aggressor of the fill", fill.aggressor, true)?;
    at.same("event_seq of the fill", fill.event_seq, amended.event_seq)?;
    let traded = fill.fill.map(|fill| (fill.price_e4, fill.quantity));
    at.same("price_e4 and quantity of the fill", traded, Some((105, 2)))
}

/// Catches: an amend half done before it is refused; an invented order; a missing check.
pub(super) async fn refusals(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.tick_size_e4 = 5)
        .await?
        .symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let order = alice.rest(buy(&acme, 100, 5)).await?;
    let id = order.order_id;
    let refused = async |request: AmendOrderRequest, reason: ErrorReason, metadata: &[(&str, &str)]| {
        alice.try_amend(request).await.refused(reason, metadata).map(|_| ())
    };
    refused(amend(id, None, None), ErrorReason::InvalidField, &[]).await?;
    refused(
        amend(id, None, Some(-1)),
        ErrorReason::InvalidField,
        &[("field", "quantity")],
    )
    .await?;
    refused(
        amend(id, None, Some(1_000_000_001)),
        ErrorReason::InvalidField,
        &[("field", "quantity")],
    )
    .await?;
    refused(
        amend(id, Some(10_000_000_000_005), None),
        ErrorReason::InvalidField,
        &[("field", "price_e4")],
    )
    .await?;
    refused(
        amend(id, Some(101), None),
        ErrorReason::InvalidTick,
        &[("tick_size_e4", "5")],
    )
    .await?;
    refused(
        amend(id, Some(10_000_000_000_000), Some(1_000)),
        ErrorReason::NotionalTooLarge,
        &[],
    )
    .await?;
    refused(amend(u64::MAX, Some(105), None), ErrorReason::UnknownOrder, &[]).await?;
    let without = AmendOrderRequest {
        order: None,
        price_e4: Some(105),
        quantity: None,
    };
    refused(without, ErrorReason::InvalidField, &[]).await?;
    bob.book_shows(&acme, order.event_seq, &[(100, 5, 1)], &[]).await?;
    bob.insert(sell(&acme, 100, 5))
        .await?
        .came_to(Outcome::filled(&[(100, 5)]))?;
    refused(amend(id, Some(105), None), ErrorReason::OrderDone, &[]).await?;
    let cancelled = alice.rest(buy(&acme, 100, 5)).await?.order_id;
    alice.cancel_id(cancelled).await?;
    refused(amend(cancelled, None, Some(1)), ErrorReason::OrderDone, &[]).await
}

/// Catches: client ids looked up over all users; another user's order amended.
pub(super) async fn client_id(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, carol) = (
        context.trader().await?,
        context.trader().await?,
        context.trader().await?,
    );
    let name = context.unique();
    let named = |price_e4| InsertOrderRequest {
        client_order_id: name.clone(),
        ..buy(&acme, price_e4, 5)
    };
    let by_name = |quantity| AmendOrderRequest {
        order: Some(amend_order_request::Order::ClientOrderId(name.clone())),
        price_e4: None,
        quantity: Some(quantity),
    };
    let of_alice = alice.rest(named(100)).await?.order_id;
    let of_bob = bob.rest(named(99)).await?.order_id;
    bob.amend(by_name(3))
        .await?
        .has("order_id", |reply| reply.order_id, of_bob)?;
    let last = alice.amend(by_name(4)).await?;
    last.has("order_id", |reply| reply.order_id, of_alice)?;
    carol
        .try_amend(by_name(2))
        .await
        .refused(ErrorReason::UnknownOrder, &[])?;
    carol
        .try_amend(amend(of_alice, None, Some(2)))
        .await
        .refused(ErrorReason::UnknownOrder, &[])?;
    carol
        .book_shows(&acme, last.event_seq, &[(100, 4, 1), (99, 3, 1)], &[])
        .await?;
    Ok(())
}

/// The user's reports from now on.
async fn follow(session: &Session) -> Verdict<Stream<SubscribeExecutionReportsResponse>> {
    let mut reports = session.follow_reports(SubscribeExecutionReportsRequest::default());
    reports
        .until("subscribed_report_seq, the first message", |message| {
            Ok(matches!(message.event, Some(Event::SubscribedReportSeq(_))).then_some(()))
        })
        .await?;
    Ok(reports)
}

/// The next report of one order.
async fn next_of(reports: &mut Stream<SubscribeExecutionReportsResponse>, order_id: u64) -> Verdict<ExecutionReport> {
    let what = format!("another report of order {order_id}");
    reports
        .until(&what, |message| match &message.event {
            Some(Event::Report(report)) if report.order.as_ref().is_some_and(|order| order.order_id == order_id) => {
                Ok(Some(report.clone()))
            }
            _ => Ok(None),
        })
        .await
}
