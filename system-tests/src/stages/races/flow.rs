//! Market data and reports, while commands go on.

use std::collections::BTreeMap;

use futures_util::future::join;
use optivex_proto::v1::subscribe_execution_reports_response::Event as ReportEvent;
use optivex_proto::v1::subscribe_order_books_response::Event as BookEvent;
use optivex_proto::v1::{
    ExecutionKind, InsertOrderRequest, PriceLevel, Side, SubscribeExecutionReportsRequest, SubscribeOrderBooksResponse,
    SubscribeTradesRequest,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{catch_up, depth_of, run_tasks, sessions};
use crate::client::{Session, Stream};
use crate::context::Context;
use crate::market::{Applied, Mirror};
use crate::order::{buy, ioc, sell};
use crate::verdict::{Stop, Verdict};

/// What a book was at a `book_seq`.
type Levels = (Vec<PriceLevel>, Vec<PriceLevel>);

fn levels(mirror: &Mirror) -> Levels {
    (mirror.bids(), mirror.asks())
}

/// Keeps a mirror until it shows the last event; the books that it was, by `book_seq`, and the event
/// of each change.
async fn follow(
    mut stream: Stream<SubscribeOrderBooksResponse>,
    mut mirror: Mirror,
    mut last: watch::Receiver<Option<u64>>,
) -> Verdict<(Mirror, BTreeMap<u64, Levels>, BTreeMap<u64, u64>)> {
    let (mut books, mut events) = (BTreeMap::new(), BTreeMap::new());
    if mirror.known() {
        books.insert(mirror.book_seq(), levels(&mirror));
    }
    loop {
        let message = stream.expecting("market data or a heartbeat").await?;
        mirror.apply(&message)?;
        if mirror.known() {
            books.insert(mirror.book_seq(), levels(&mirror));
        }
        if let Some(BookEvent::Update(update)) = &message.event {
            events.insert(update.book_seq, update.event_seq);
        }
        let target = *last.borrow_and_update();
        if target.is_some_and(|event_seq| mirror.known() && mirror.event_seq() >= event_seq) {
            return Ok((mirror, books, events));
        }
    }
}

/// Catches a snapshot that is an event too old or too new, changes lost or doubled between a snapshot
/// and the first update, a skipped `book_seq`, and books that are read while they change.
pub(super) async fn books(context: Context) -> Verdict {
    const LATE: usize = 8;
    let symbol = context.instrument().await?.symbol;
    let viewer = context.viewer().await?;
    let traders = [context.trader().await?, context.trader().await?];
    let followers = sessions(&context, &viewer, LATE).await?;
    let (done, last) = watch::channel(None);
    let mut first = JoinSet::new();
    // The first one is there before the first change: it knows every book that there was.
    let (mut stream, mut mirror) = (depth_of(&viewer, &symbol), Mirror::new(&symbol));
    catch_up(&mut stream, &mut mirror, 0).await?;
    first.spawn(follow(stream, mirror, last.clone()));
    let mut others = JoinSet::new();
    let mut snapshots = Vec::new();
    let mut random = context.random();
    let mut end = 0;
    for (round, follower) in followers.into_iter().enumerate() {
        for _ in 0..12 {
            let mut order = || {
                let (price, lots) = (random.i64(95..=105), random.i64(1..=9));
                if random.bool() {
                    buy(&symbol, price, lots)
                } else {
                    sell(&symbol, price, lots)
                }
            };
            let (one, two) = (order(), order());
            let book = async { (round % 2 == 0).then_some(viewer.whole_book(&symbol).await).transpose() };
            let trading = join(traders[0].insert(one), traders[1].insert(two));
            let ((one, two), book) = join(trading, book).await;
            end = end.max(one?.event_seq).max(two?.event_seq);
            snapshots.extend(book?);
        }
        others.spawn(follow(depth_of(&follower, &symbol), Mirror::new(&symbol), last.clone()));
    }
    let _ = done.send(Some(end));
    let Some((mirror, known, events)) = run_tasks(first).await?.pop() else {
        return Err(Stop::trouble("the first follower is gone"));
    };
    let shown = viewer.book_at(&symbol, end).await?;
    mirror.equals(&shown)?;
    for (mirror, books, _) in run_tasks(others).await? {
        mirror.equals(&shown)?;
        for (book_seq, levels) in books {
            let what = format!("(bids, asks) at book_seq {book_seq} of who came late");
            shown.at().same(&what, Some(&levels), known.get(&book_seq))?;
        }
    }
    for book in snapshots {
        let what = "(bids, asks), against the updates that led there";
        let told = (book.bids.clone(), book.asks.clone());
        let expected = match book.book_seq {
            0 => Some(Levels::default()),
            book_seq => known.get(&book_seq).cloned(),
        };
        book.has(what, |_| Some(told), expected)?;
        if let Some(event_seq) = events.get(&book.book_seq) {
            book.shows("an event_seq not before that of its last change", |book| {
                book.event_seq >= *event_seq
            })?;
        }
        if let Some(event_seq) = events.get(&(book.book_seq + 1)) {
            let expected = format!(
                "everything up to its event_seq: book_seq {} is of {event_seq}",
                book.book_seq + 1
            );
            book.shows(&expected, |book| book.event_seq < *event_seq)?;
        }
    }
    Ok(())
}

/// Trades as (trade_id, price_e4, quantity), from this subscription until this trade was sent.
async fn follow_tape(
    session: Session,
    request: SubscribeTradesRequest,
    mut last: watch::Receiver<Option<u64>>,
) -> Verdict<(u64, Vec<(u64, i64, i64)>)> {
    let mut stream = session.follow_trades(request);
    let first = stream.expecting("the first message, empty").await?;
    first.shows("no trades in the first message", |first| first.trades.is_empty())?;
    let (start, mut trades) = (first.through_trade_id, Vec::new());
    loop {
        let message = stream.expecting("trades or a sign of life").await?;
        trades.extend(
            message
                .trades
                .iter()
                .map(|trade| (trade.trade_id, trade.price_e4, trade.quantity)),
        );
        let target = *last.borrow_and_update();
        if target.is_some_and(|trade_id| message.through_trade_id >= trade_id) {
            return Ok((start, trades));
        }
    }
}

/// Catches trades lost or doubled where the past ends and what comes begins.
pub(super) async fn tape(context: Context) -> Verdict {
    const FOLLOWERS: usize = 8;
    let symbol = context.instrument().await?.symbol;
    let viewer = context.viewer().await?;
    let (maker, taker) = (context.trader().await?, context.trader().await?);
    let followers = sessions(&context, &viewer, FOLLOWERS).await?;
    let (done, last) = watch::channel(None);
    let mut tasks = JoinSet::new();
    let (mut trade_id, mut lots) = (0, 0);
    for (round, follower) in followers.into_iter().enumerate() {
        maker.rest(sell(&symbol, 100, 1_000)).await?;
        // From the beginning, from what was the last trade a moment ago, and from now on.
        let after_trade_id = [Some(0), Some(trade_id), None][round % 3];
        let request = SubscribeTradesRequest {
            symbols: vec![symbol.clone()],
            after_trade_id,
        };
        let last = last.clone();
        tasks.spawn(async move { Ok((after_trade_id, follow_tape(follower, request, last).await?)) });
        for _ in 0..15 {
            lots += 1;
            let reply = taker.insert(ioc(&symbol, Side::Buy, 100, lots)).await?;
            reply.has("filled_quantity", |reply| reply.filled_quantity, lots)?;
            trade_id = reply.fills.last().map_or(trade_id, |fill| fill.trade_id);
        }
    }
    let _ = done.send(Some(trade_id));
    let all = viewer.trades_through(&symbol, trade_id).await?;
    let all: Vec<_> = all
        .iter()
        .map(|trade| (trade.trade_id, trade.price_e4, trade.quantity))
        .collect();
    let at = viewer.whole_book(&symbol).await?;
    let sum: i64 = all.iter().map(|(_, _, quantity)| quantity).sum();
    at.at()
        .same("lots of all trades of the tape", sum, lots * (lots + 1) / 2)?;
    for (after, (start, told)) in run_tasks(tasks).await? {
        let from = after.unwrap_or(start);
        let expected: Vec<_> = all.iter().filter(|trade| trade.0 > from).copied().collect();
        let what = format!("trades (trade_id, price_e4, quantity) after {from}, subscribed with {after:?}");
        at.at().same(&what, told, expected)?;
    }
    Ok(())
}

/// Catches reports lost or doubled where the past ends, and a user's numbering with gaps.
pub(super) async fn reports(context: Context) -> Verdict {
    const FOLLOWERS: usize = 5;
    let symbol = context.instrument().await?.symbol;
    let (maker, taker) = (context.trader().await?, context.trader().await?);
    let mut stream = maker.follow_reports(SubscribeExecutionReportsRequest::default());
    let base = stream
        .until("the first message", |message| {
            Ok(match message.event {
                Some(ReportEvent::SubscribedReportSeq(report_seq)) => Some(report_seq),
                _ => None,
            })
        })
        .await?;
    let followers = sessions(&context, &maker, FOLLOWERS).await?;
    let (done, last) = watch::channel(None);
    let mut tasks = JoinSet::new();
    let mut end = 0;
    for follower in followers {
        let mut last = last.clone();
        tasks.spawn(async move {
            let mut stream = follower.follow_reports(SubscribeExecutionReportsRequest {
                after_report_seq: Some(base),
                ..SubscribeExecutionReportsRequest::default()
            });
            let (mut next, mut filled) = (base + 1, 0);
            loop {
                let message = stream.expecting("a report or a sign of life").await?;
                if let Some(ReportEvent::Report(report)) = &message.event {
                    message.at().same("report_seq", report.report_seq, next)?;
                    next += 1;
                    if report.kind() == ExecutionKind::Fill {
                        filled += report.fill.as_ref().map_or(0, |fill| fill.quantity);
                    }
                }
                let target = *last.borrow_and_update();
                if target.is_some_and(|report_seq| next > report_seq) {
                    return message.at().same("lots of all fills", filled, 60 * FOLLOWERS as i64);
                }
            }
        });
        for _ in 0..12 {
            maker.rest(sell(&symbol, 100, 5)).await?;
            let bought = taker.insert(buy(&symbol, 100, 5)).await?;
            bought.has("filled_quantity", |reply| reply.filled_quantity, 5)?;
            end = bought.event_seq;
        }
    }
    // An order is an ACCEPTED and a FILL.
    let count = 2 * 12 * FOLLOWERS as u64;
    let _ = done.send(Some(base + count));
    let mut seen = 0;
    while seen < end {
        let message = stream.expecting("the report of the last fill").await?;
        if let Some(ReportEvent::Report(report)) = &message.event {
            seen = report.event_seq;
            let came = format!("report_seq {}", report.report_seq);
            message
                .at()
                .holds(report.report_seq <= base + count, came, format!("{count} reports"))?;
        }
    }
    run_tasks(tasks).await.map(drop)
}

/// Catches a stale book under a new event_seq, an update under another event's, changes of one event
/// that come in two.
pub(super) async fn reply_first(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let (trader, viewer) = (context.trader().await?, context.viewer().await?);
    let mut stream = depth_of(&viewer, &symbol);
    let mut mirror = Mirror::new(&symbol);
    catch_up(&mut stream, &mut mirror, 0).await?;
    for price in 1..=40 {
        let event_seq = trader.rest(buy(&symbol, price, price)).await?.event_seq;
        let book = viewer.whole_book(&symbol).await?;
        let shows = book.bids.first().is_some_and(|level| level.price_e4 == price);
        let expected = format!("the order of event {event_seq}, or an event_seq before it");
        let came = format!("event_seq {} without the order", book.event_seq);
        book.at().holds(shows || book.event_seq < event_seq, came, expected)?;
        loop {
            let message = stream.expecting("the update of the insert's event").await?;
            let Applied::Update(_) = mirror.apply(&message)? else {
                continue;
            };
            let Some(BookEvent::Update(update)) = &message.event else {
                continue;
            };
            message
                .at()
                .same("event_seq of the update", update.event_seq, event_seq)?;
            let best = mirror.bids().first().map(|level| (level.price_e4, level.quantity));
            message.at().same(
                "best bid (price_e4, quantity) at that event",
                best,
                Some((price, price)),
            )?;
            break;
        }
    }
    Ok(())
}

/// Catches market data or reports that are told before the order can be found.
pub(super) async fn market_data_first(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let Some(second) = sessions(&context, &alice, 1).await?.pop() else {
        return Err(Stop::trouble("no second session"));
    };
    let mut stream = depth_of(&bob, &symbol);
    let mut mirror = Mirror::new(&symbol);
    catch_up(&mut stream, &mut mirror, 0).await?;
    let mut reports = second.follow_reports(SubscribeExecutionReportsRequest::default());
    reports.expecting("the first message").await?;
    for round in 0..40 {
        let order = InsertOrderRequest {
            client_order_id: context.unique(),
            ..sell(&symbol, 100, 3)
        };
        let reacting = async {
            if round % 4 < 2 {
                while mirror.asks().is_empty() {
                    let message = stream.expecting("the update that shows the order").await?;
                    mirror.apply(&message)?;
                }
            } else {
                let accepted = |report: &optivex_proto::v1::ExecutionReport| {
                    let id = report.order.as_ref().map(|order| order.client_order_id.as_str());
                    report.kind() == ExecutionKind::Accepted && id == Some(&order.client_order_id)
                };
                reports
                    .until("the report that the order was taken", |message| {
                        let Some(ReportEvent::Report(report)) = &message.event else {
                            return Ok(None);
                        };
                        Ok(accepted(report).then_some(()))
                    })
                    .await?;
            }
            match round % 2 {
                0 => {
                    let bought = bob.insert(ioc(&symbol, Side::Buy, 100, 3)).await?;
                    bought.has(
                        "filled_quantity, of an order that is shown",
                        |reply| reply.filled_quantity,
                        3,
                    )?;
                    Ok((bought.event_seq, None))
                }
                _ => {
                    let again = second.insert(order.clone()).await?;
                    let cancelled = second.try_cancel_client_id(&order.client_order_id).await.accepted()?;
                    cancelled.has("cancelled_quantity", |reply| reply.cancelled_quantity, 3)?;
                    Ok::<_, Stop>((cancelled.event_seq, Some(again)))
                }
            }
        };
        let (inserted, reacted) = join(alice.insert(order.clone()), reacting).await;
        let (inserted, (event_seq, again)) = (inserted?, reacted?);
        inserted.shows("an event before that of who reacted to it", |reply| {
            reply.event_seq < event_seq
        })?;
        if let Some(again) = again {
            again.has("the answer to the retry", Clone::clone, (*inserted).clone())?;
        }
        catch_up(&mut stream, &mut mirror, event_seq).await?;
        let left = format!("{:?}", mirror.asks());
        inserted
            .at()
            .holds(mirror.asks().is_empty(), left, "no ask left in the updates")?;
    }
    Ok(())
}
