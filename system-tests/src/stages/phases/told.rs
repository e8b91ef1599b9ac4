//! What streams tell of phases and uncrosses.

use optivex_proto::v1::subscribe_execution_reports_response::Event as ReportEvent;
use optivex_proto::v1::subscribe_instruments_response::Event as InstrumentEvent;
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{
    BookView, ExecutionKind, ExecutionReport, SubscribeExecutionReportsRequest, SubscribeExecutionReportsResponse,
    SubscribeInstrumentsResponse, SubscribeOrderBooksRequest, SubscribeOrderBooksResponse, TradingPhase,
};

use crate::client::{Session, Stream};
use crate::context::Context;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

type Books = Stream<SubscribeOrderBooksResponse>;

async fn follow(session: &Session, symbol: &str, view: BookView) -> Verdict<Books> {
    let mut stream = session.follow_books(SubscribeOrderBooksRequest {
        symbols: vec![symbol.to_owned()],
        view: view.into(),
        ..SubscribeOrderBooksRequest::default()
    });
    // From here on, every change comes.
    stream
        .until("the book as it stands", |message| {
            let first = matches!(message.event, Some(Event::Snapshot(_) | Event::TopOfBook(_)));
            Ok(first.then_some(()))
        })
        .await?;
    Ok(stream)
}

/// The update of this event tells this phase; unspecified if it did not change.
async fn updated(stream: &mut Books, event_seq: u64, phase: TradingPhase) -> Verdict {
    let what = format!("an update of event {event_seq} with phase {}", phase.as_str_name());
    stream
        .until(&what, |message| match &message.event {
            Some(Event::Update(update)) => {
                message
                    .has("event_seq", |_| update.event_seq, event_seq)?
                    .has("phase", |_| update.phase(), phase)?;
                Ok(Some(()))
            }
            Some(Event::Heartbeat(heartbeat)) => {
                message.shows(&what, |_| heartbeat.event_seq < event_seq)?;
                Ok(None)
            }
            _ => Err(message.fail("another message", &what)),
        })
        .await
}

/// The top of book of this event tells this phase.
async fn topped(stream: &mut Books, event_seq: u64, phase: TradingPhase) -> Verdict {
    let what = format!("a top of book of event {event_seq} with phase {}", phase.as_str_name());
    stream
        .until(&what, |message| match &message.event {
            // It may show a later event that changed nothing.
            Some(Event::TopOfBook(top)) if top.event_seq >= event_seq => {
                message.has("phase", |_| top.phase(), phase)?;
                Ok(Some(()))
            }
            Some(Event::TopOfBook(_)) => Ok(None),
            Some(Event::Heartbeat(heartbeat)) => {
                message.shows(&what, |_| heartbeat.event_seq < event_seq)?;
                Ok(None)
            }
            _ => Err(message.fail("another message", &what)),
        })
        .await
}

/// The next news of the instrument is this phase.
async fn listed(stream: &mut Stream<SubscribeInstrumentsResponse>, symbol: &str, phase: TradingPhase) -> Verdict {
    let what = format!("the instrument {symbol} with phase {}", phase.as_str_name());
    stream
        .until(&what, |message| match &message.event {
            Some(InstrumentEvent::Instrument(instrument)) if instrument.symbol == symbol => {
                message.has("phase", |_| instrument.phase(), phase)?;
                Ok(Some(()))
            }
            _ => Ok(None),
        })
        .await
}

/// Catches: phases that only queries tell; an update with a phase that did not change, or without the
/// one that did; news where nothing changed.
pub(super) async fn followers(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (admin, alice, viewer) = (context.admin().await?, context.trader().await?, context.viewer().await?);
    let mut instruments = viewer.follow_instruments();
    listed(&mut instruments, &acme, TradingPhase::Continuous).await?;
    instruments
        .until("snapshot_complete_event_seq", |message| {
            let complete = matches!(message.event, Some(InstrumentEvent::SnapshotCompleteEventSeq(_)));
            Ok(complete.then_some(()))
        })
        .await?;
    let mut depth = follow(&viewer, &acme, BookView::PriceDepth).await?;
    let mut top = follow(&viewer, &acme, BookView::TopOfBook).await?;
    for phase in [
        TradingPhase::Auction,
        TradingPhase::Halted,
        TradingPhase::Auction,
        TradingPhase::Continuous,
        TradingPhase::Closed,
    ] {
        // The current phase again is no change: the next thing that anybody hears is the next change.
        let changed = admin.phase(&acme, phase).await?.event_seq;
        admin.phase(&acme, phase).await?;
        updated(&mut depth, changed, phase).await?;
        topped(&mut top, changed, phase).await?;
        listed(&mut instruments, &acme, phase).await?;
        if matches!(phase, TradingPhase::Auction | TradingPhase::Continuous) {
            let order = alice.rest(buy(&acme, 100, 1)).await?.event_seq;
            updated(&mut depth, order, TradingPhase::Unspecified).await?;
            topped(&mut top, order, phase).await?;
        }
    }
    Ok(())
}

/// The first report of this instrument from this event on.
async fn report_at(
    stream: &mut Stream<SubscribeExecutionReportsResponse>,
    symbol: &str,
    event_seq: u64,
) -> Verdict<ExecutionReport> {
    let what = format!("a report of the uncross, event {event_seq}");
    stream
        .until(&what, |message| match &message.event {
            Some(ReportEvent::Report(report)) => {
                let of_symbol = report.order.as_ref().is_some_and(|order| order.symbol == symbol);
                Ok((of_symbol && report.event_seq >= event_seq).then(|| report.clone()))
            }
            _ => Ok(None),
        })
        .await
}

/// Catches: the later order, or the buyer, told as the incoming one; each order at its own price.
pub(super) async fn uncross(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (admin, alice, bob) = (context.admin().await?, context.trader().await?, context.trader().await?);
    // From 100 to 105 alike 3 lots will trade, with 2 more wanted: nearest to the last trade.
    bob.rest(sell(&acme, 103, 1)).await?;
    alice.insert(buy(&acme, 103, 1)).await?;
    admin.phase(&acme, TradingPhase::Auction).await?;
    let mut streams = Vec::new();
    for user in [&alice, &bob] {
        let mut stream = user.follow_reports(SubscribeExecutionReportsRequest::default());
        stream.expecting("subscribed_report_seq").await?;
        streams.push(stream);
    }
    let buy_order = alice.rest(buy(&acme, 105, 5)).await?.order_id;
    let sell_order = bob.rest(sell(&acme, 100, 3)).await?.order_id;
    let done = admin.phase(&acme, TradingPhase::Continuous).await?;
    let Some(trade) = done.trades.first() else {
        return Err(done.fail("no trades", "the crossed book to uncross"));
    };
    for (stream, order_id) in streams.iter_mut().zip([buy_order, sell_order]) {
        let report = report_at(stream, &acme, done.event_seq).await?;
        let fill = report.fill.unwrap_or_default();
        let at = stream.at();
        at.same("event_seq", report.event_seq, done.event_seq)?;
        at.same("kind", report.kind(), ExecutionKind::Fill)?;
        let of = report.order.as_ref().map(|order| order.order_id);
        at.same("order_id", of, Some(order_id))?;
        at.same("aggressor, in an uncross", report.aggressor, false)?;
        at.same(
            "(trade_id, price_e4, quantity) of the fill",
            (fill.trade_id, fill.price_e4, fill.quantity),
            (trade.trade_id, 103, 3),
        )?;
    }
    Ok(())
}
