//! Execution reports.

use std::collections::BTreeMap;

use optivex_proto::v1::subscribe_execution_reports_response::Event;
use optivex_proto::v1::{
    CancelAllOrdersRequest, CancelReason, ErrorReason, ExecutionKind, ExecutionReport, Fill, InsertOrderRequest, Order,
    OrderStatus, Side, SubscribeExecutionReportsRequest, SubscribeExecutionReportsResponse,
};

use crate::client::{Reply, Session, Stream};
use crate::context::Context;
use crate::model::book_flow::Flow;
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

/// A user's reports in one instrument; the numbering is checked over all of them.
struct Reports {
    stream: Stream<SubscribeExecutionReportsResponse>,
    symbol: String,
    /// The last report_seq when the stream began.
    subscribed: u64,
    last: u64,
}

impl Reports {
    /// `after`: `None` for only what comes now.
    async fn open(session: &Session, symbol: &str, after: Option<u64>) -> Verdict<Self> {
        let mut stream = session.follow_reports(SubscribeExecutionReportsRequest {
            after_report_seq: after,
            cancel_on_disconnect: false,
        });
        let message = stream.expecting("the answer to the subscription").await?;
        let Some(Event::SubscribedReportSeq(subscribed)) = message.event else {
            return Err(message.fail(
                "another message comes first",
                "subscribed_report_seq, the first message",
            ));
        };
        Ok(Self {
            stream,
            symbol: symbol.to_owned(),
            subscribed,
            last: after.unwrap_or(subscribed),
        })
    }

    /// The next report of the instrument.
    async fn next(&mut self, what: &str) -> Verdict<Reply<ExecutionReport>> {
        let (last, symbol) = (&mut self.last, &self.symbol);
        self.stream
            .until(what, |message| match &message.event {
                Some(Event::Report(report)) => {
                    message
                        .at()
                        .same("report_seq, without gaps", report.report_seq, *last + 1)?;
                    *last = report.report_seq;
                    let Some(order) = &report.order else {
                        return Err(message.fail("a report without its order", "the order afterwards"));
                    };
                    let of_symbol = order.symbol == *symbol;
                    Ok(of_symbol.then(|| Reply::new(report.clone(), message.at().clone())))
                }
                Some(Event::HeartbeatReportSeq(seq)) => {
                    message.at().holds(
                        *seq >= *last,
                        format!("a heartbeat with report_seq {seq} after report {last}"),
                        "the last report_seq so far",
                    )?;
                    Ok(None)
                }
                _ => Err(message.fail("a message that is neither report nor heartbeat", what)),
            })
            .await
    }

    /// The next report is this; the order afterwards is returned.
    async fn is(
        &mut self,
        kind: ExecutionKind,
        order_id: u64,
        event_seq: u64,
    ) -> Verdict<(Reply<ExecutionReport>, Order)> {
        let what = format!("{} of order {order_id} in event {event_seq}", kind.as_str_name());
        let report = self.next(&what).await?;
        report
            .has(
                "order_id",
                |report| report.order.as_ref().map(|order| order.order_id),
                Some(order_id),
            )?
            .has("kind", |report| report.kind(), kind)?
            .has("event_seq", |report| report.event_seq, event_seq)?;
        let order = report.order.clone().unwrap_or_default();
        Ok((report, order))
    }

    /// A fill, and the order after it.
    async fn fill(
        &mut self,
        order_id: u64,
        event_seq: u64,
        aggressor: bool,
        fill: Fill,
        filled: i64,
        status: OrderStatus,
    ) -> Verdict {
        let (report, order) = self.is(ExecutionKind::Fill, order_id, event_seq).await?;
        report
            .has("fill", |report| report.fill, Some(fill))?
            .has("aggressor", |report| report.aggressor, aggressor)?;
        report
            .at()
            .same("filled_quantity of the order", order.filled_quantity, filled)?;
        report.at().same("status of the order", order.status(), status)
    }
}

/// Catches a fill before its acceptance, acceptances that show the order after its fills, and
/// report_seqs with gaps.
pub(super) async fn order(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    for price_e4 in [1_000, 1_001] {
        alice.rest(sell(&acme, price_e4, 5)).await?;
    }
    let mut reports = Reports::open(&bob, &acme, None).await?;
    let id = context.unique();
    let request = InsertOrderRequest {
        client_order_id: id.clone(),
        ..buy(&acme, 1_001, 12)
    };
    let reply = bob.insert(request).await?;
    let (report, accepted) = reports
        .is(ExecutionKind::Accepted, reply.order_id, reply.event_seq)
        .await?;
    let at = report.at();
    at.same("status of the accepted order", accepted.status(), OrderStatus::Open)?;
    at.same("filled_quantity of the accepted order", accepted.filled_quantity, 0)?;
    at.same("client_order_id", accepted.client_order_id.clone(), id)?;
    at.same("side", accepted.side(), Side::Buy)?;
    at.same("price_e4", accepted.price_e4, 1_001)?;
    at.same("quantity", accepted.quantity, 12)?;
    at.same("fill of an acceptance", report.fill, None)?;
    at.same("fills of the reply", reply.fills.len(), 2)?;
    for (fill, filled) in reply.fills.iter().zip([5, 10]) {
        reports
            .fill(reply.order_id, reply.event_seq, true, *fill, filled, OrderStatus::Open)
            .await?;
    }
    // Nothing else came of it.
    let next = bob.rest(buy(&acme, 900, 1)).await?;
    reports
        .is(ExecutionKind::Accepted, next.order_id, next.event_seq)
        .await?;
    Ok(())
}

/// Catches reports to the taker only, the taker's fill told to the maker, and a wrong aggressor.
pub(super) async fn both_sides(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let (mut of_alice, mut of_bob) = (
        Reports::open(&alice, &acme, None).await?,
        Reports::open(&bob, &acme, None).await?,
    );
    for (rests, comes) in [(Side::Sell, Side::Buy), (Side::Buy, Side::Sell)] {
        let resting = alice.rest(limit(&acme, rests, 1_000, 5)).await?;
        of_alice
            .is(ExecutionKind::Accepted, resting.order_id, resting.event_seq)
            .await?;
        let mut filled = 0;
        for lots in [2, 3] {
            let trade = bob.insert(limit(&acme, comes, 1_000, lots)).await?;
            filled += lots;
            trade.has("fills", |trade| trade.fills.len(), 1)?;
            let fill = trade.fills[0];
            let status = if filled == 5 {
                OrderStatus::Filled
            } else {
                OrderStatus::Open
            };
            of_alice
                .fill(resting.order_id, trade.event_seq, false, fill, filled, status)
                .await?;
            of_bob
                .is(ExecutionKind::Accepted, trade.order_id, trade.event_seq)
                .await?;
            of_bob
                .fill(trade.order_id, trade.event_seq, true, fill, lots, OrderStatus::Filled)
                .await?;
        }
    }
    Ok(())
}

/// Catches cancels that are not reported, or with another reason or state.
pub(super) async fn cancels(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let order = alice.rest(sell(&acme, 1_000, 5)).await?;
    bob.insert(buy(&acme, 1_000, 2)).await?;
    let second = alice.rest(sell(&acme, 1_001, 5)).await?;
    let third = alice.rest(sell(&acme, 1_002, 5)).await?;
    let mut reports = Reports::open(&alice, &acme, None).await?;
    let cancelled = alice.cancel_id(order.order_id).await?;
    let (first, shown) = loop {
        // The stream may begin a little in the past.
        let report = reports.next("the cancel").await?;
        if report.event_seq >= cancelled.event_seq {
            break (report.clone(), report.order.clone().unwrap_or_default());
        }
    };
    first
        .has("kind", |report| report.kind(), ExecutionKind::Cancelled)?
        .has("event_seq", |report| report.event_seq, cancelled.event_seq)?
        .has("cancel_reason", |report| report.cancel_reason(), CancelReason::User)?;
    let at = first.at();
    at.same("order_id", shown.order_id, order.order_id)?;
    at.same("status", shown.status(), OrderStatus::Cancelled)?;
    at.same("filled_quantity", shown.filled_quantity, 2)?;
    let all = alice
        .cancel_all(CancelAllOrdersRequest {
            symbol: acme.clone(),
            side: Side::Unspecified.into(),
        })
        .await?;
    let mut ended = Vec::new();
    for _ in 0..2 {
        let report = reports.next("a report of each cancelled order").await?;
        report
            .has("kind", |report| report.kind(), ExecutionKind::Cancelled)?
            .has("event_seq", |report| report.event_seq, all.event_seq)?
            .has("cancel_reason", |report| report.cancel_reason(), CancelReason::User)?;
        ended.extend(report.order.as_ref().map(|order| order.order_id));
    }
    ended.sort_unstable();
    reports
        .stream
        .at()
        .same("orders that ended", ended, vec![second.order_id, third.order_id])
}

/// Catches reports of what did not happen.
pub(super) async fn none(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.tick_size_e4 = 10)
        .await?
        .symbol;
    let alice = context.trader().await?;
    let mut reports = Reports::open(&alice, &acme, None).await?;
    let request = InsertOrderRequest {
        client_order_id: context.unique(),
        ..buy(&acme, 1_000, 5)
    };
    let first = alice.rest(request.clone()).await?;
    reports
        .is(ExecutionKind::Accepted, first.order_id, first.event_seq)
        .await?;
    alice.insert(request.clone()).await?;
    alice
        .try_insert(buy(&acme, 1_005, 5))
        .await
        .refused(ErrorReason::InvalidTick, &[])?;
    let other = InsertOrderRequest { quantity: 6, ..request };
    alice
        .try_insert(other)
        .await
        .refused(ErrorReason::ClientIdReused, &[])?;
    let last = alice.rest(buy(&acme, 1_010, 1)).await?;
    reports
        .is(ExecutionKind::Accepted, last.order_id, last.event_seq)
        .await?;
    Ok(())
}

/// Catches streams of everybody's orders, and streams of one session's.
pub(super) async fn own(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let Some(user) = alice.user().cloned() else {
        return Err(crate::verdict::Stop::trouble("a trader without a user"));
    };
    let elsewhere = context.login(&user).await?;
    let mut here = Reports::open(&alice, &acme, None).await?;
    let mut there = Reports::open(&elsewhere, &acme, None).await?;
    for round in 0..4 {
        bob.rest(buy(&acme, 900 + round, 1)).await?;
        let session = if round % 2 == 0 { &alice } else { &elsewhere };
        let order = session.rest(sell(&acme, 1_000 + round, 1)).await?;
        for reports in [&mut here, &mut there] {
            reports
                .is(ExecutionKind::Accepted, order.order_id, order.event_seq)
                .await?;
        }
    }
    Ok(())
}

/// Catches a history that is not kept, begins one too early or too late, or tells orders as they
/// stand now.
pub(super) async fn history(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 2).await?;
    let (alice, acme) = (flow.users[0].clone(), flow.symbol.clone());
    let mut live = Reports::open(&alice, &acme, None).await?;
    flow.steps(40).await?;
    let marker = flow.insert(0, Side::Buy, -5_000, 3).await?;
    let mut known: Vec<ExecutionReport> = Vec::new();
    while known.last().is_none_or(|report| report.event_seq < marker.event_seq) {
        known.push(live.next("the reports so far").await?.into_inner());
    }
    let (first, last) = (known[0].report_seq, live.last);
    for after in [first - 1, first, (first + last) / 2, last - 1, 0] {
        let mut past = Reports::open(&alice, &acme, Some(after)).await?;
        let subscribed = past.subscribed;
        past.stream.at().holds(
            subscribed >= last,
            format!("subscribed_report_seq is {subscribed}"),
            format!("the last report_seq so far, {last}"),
        )?;
        for expected in known.iter().filter(|report| report.report_seq > after) {
            let report = past
                .next("the reports after that point, the same as when they were new")
                .await?;
            report.has("the report", Clone::clone, expected.clone())?;
        }
    }
    // From the newest on: only what comes now.
    let mut newest = Reports::open(&alice, &acme, Some(last)).await?;
    let marker = flow.insert(0, Side::Buy, -5_001, 1).await?;
    let report = newest.next("what comes now").await?;
    report
        .has("event_seq", |report| report.event_seq, marker.event_seq)?
        .has("report_seq", |report| report.report_seq, last + 1)?;
    Ok(())
}

/// Catches streams that wait for a future that may never be.
pub(super) async fn future(context: Context) -> Verdict {
    let alice = context.trader().await?;
    for ahead in [1_000_000_000, u64::MAX / 2, u64::MAX] {
        let mut stream = alice.follow_reports(SubscribeExecutionReportsRequest {
            after_report_seq: Some(ahead),
            cancel_on_disconnect: false,
        });
        stream.refused(ErrorReason::CannotResume, &[]).await?;
    }
    Ok(())
}

/// Catches silent streams without a heartbeat, and heartbeats with another number.
pub(super) async fn heartbeat(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let alice = context.trader().await?;
    let mut reports = Reports::open(&alice, &acme, None).await?;
    for step in 0..2 {
        let order = alice.rest(buy(&acme, 1_000 + step, 1)).await?;
        reports
            .is(ExecutionKind::Accepted, order.order_id, order.event_seq)
            .await?;
        let last = reports.last;
        reports
            .stream
            .until("a heartbeat", |message| match message.event {
                Some(Event::HeartbeatReportSeq(seq)) => {
                    message.at().same("heartbeat_report_seq", seq, last)?;
                    Ok(Some(()))
                }
                _ => Err(message.fail("another message", "a heartbeat: nothing happened")),
            })
            .await?;
    }
    Ok(())
}

/// Catches what no other case thinks of: reports that are lost, doubled or of another state.
pub(super) async fn random_flow(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    let mut streams = Vec::new();
    for user in &flow.users {
        streams.push(Reports::open(user, &flow.symbol, None).await?);
    }
    flow.steps(200).await?;
    let mut fills: BTreeMap<u64, Vec<(&str, bool)>> = BTreeMap::new();
    for (owner, reports) in streams.iter_mut().enumerate() {
        // Far below everything: rests.
        let marker = flow.insert(owner, Side::Buy, -5_000, 1).await?;
        let mut orders: BTreeMap<u64, Order> = BTreeMap::new();
        let mut event_seq = 0;
        loop {
            let report = reports.next("the reports up to the last order").await?;
            report.shows(&format!("event_seq not below the one before, {event_seq}"), |report| {
                report.event_seq >= event_seq
            })?;
            event_seq = report.event_seq;
            let order = report.order.clone().unwrap_or_default();
            let before = orders.get(&order.order_id);
            let filled = before.map_or(0, |before| before.filled_quantity);
            let at = report.at();
            match report.kind() {
                ExecutionKind::Accepted => at.holds(before.is_none(), "a second acceptance", "ACCEPTED once, first")?,
                ExecutionKind::Fill => {
                    at.holds(
                        before.is_some(),
                        "a fill of an order not accepted yet",
                        "ACCEPTED before its fills",
                    )?;
                    let fill = report.fill.unwrap_or_default();
                    at.same("filled_quantity", order.filled_quantity, filled + fill.quantity)?;
                    fills
                        .entry(fill.trade_id)
                        .or_default()
                        .push((order.side().as_str_name(), report.aggressor));
                }
                ExecutionKind::Cancelled => at.same("filled_quantity", order.filled_quantity, filled)?,
                _ => return Err(report.fail(format!("kind {:?}", report.kind()), "ACCEPTED, FILL or CANCELLED")),
            }
            orders.insert(order.order_id, order);
            if event_seq >= marker.event_seq {
                break;
            }
        }
        for order in orders.values() {
            let rests = flow.book.order(order.order_id).map(|resting| resting.filled);
            let told = (order.status() == OrderStatus::Open).then_some(order.filled_quantity);
            reports
                .stream
                .at()
                .same(&format!("fills of the open order {}", order.order_id), told, rests)?;
        }
    }
    for trade in flow.trades() {
        let mut told = fills.remove(&trade.trade_id).unwrap_or_default();
        told.sort_unstable();
        streams[0].stream.at().same(
            &format!("side and aggressor in the two reports of trade {}", trade.trade_id),
            told,
            [Side::Buy, Side::Sell]
                .map(|side| (side.as_str_name(), trade.aggressor_side == side))
                .to_vec(),
        )?;
    }
    streams[0].stream.at().same("fills of no trade", fills, BTreeMap::new())
}
