//! Report streams that guard orders, and what becomes of the orders when they end.

use optivex_proto::v1::{
    self, CancelReason, LogoutRequest, OrderStatus, SubscribeExecutionReportsRequest,
    SubscribeExecutionReportsResponse, subscribe_execution_reports_response::Event,
};

use crate::client::{Session, Stream};
use crate::context::Context;
use crate::order::buy;
use crate::proxy::Proxy;
use crate::verdict::Verdict;

type Reports = Stream<SubscribeExecutionReportsResponse>;

/// The reports from now on.
async fn follow(session: &Session, cancel_on_disconnect: bool) -> Verdict<Reports> {
    let mut reports = session.follow_reports(SubscribeExecutionReportsRequest {
        after_report_seq: None,
        cancel_on_disconnect,
    });
    reports.expecting("subscribed_report_seq").await?;
    Ok(reports)
}

/// The next order that ends is this one, because a stream broke.
async fn disconnected(reports: &mut Reports, trader: &Session, order_id: u64) -> Verdict {
    let (cancelled, event_seq) = reports
        .until("a CANCELLED report with reason DISCONNECT", |message| {
            match &message.event {
                Some(Event::Report(report)) if report.kind() == v1::ExecutionKind::Cancelled => {
                    message.has("cancel_reason", |_| report.cancel_reason(), CancelReason::Disconnect)?;
                    let order = report.order.clone().unwrap_or_default();
                    Ok(Some((order.order_id, report.event_seq)))
                }
                _ => Ok(None),
            }
        })
        .await?;
    reports.at().same("order_id of the report", cancelled, order_id)?;
    trader
        .order_at(order_id, event_seq)
        .await?
        .has("status", |order| order.status(), OrderStatus::Cancelled)?
        .has("cancel_reason", |order| order.cancel_reason(), CancelReason::Disconnect)?;
    Ok(())
}

async fn still_open(trader: &Session, what: &str, order_id: u64) -> Verdict {
    let order = trader.order(order_id).await?;
    let what = format!("status of the order that {what}");
    order.has(&what, |order| order.status(), OrderStatus::Open)?;
    Ok(())
}

/// An order guarded over a proxy, and what comes of it when the stream breaks like this.
async fn guarded(context: Context, what: &str, breaks: impl FnOnce(&Proxy, Reports) -> Option<Reports>) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let older = trader.rest(buy(&symbol, 99, 2)).await?;
    let proxy = Proxy::before(context.url()).await?;
    let far = Session::connect(proxy.url(), "guard", context.log(), context.patience())
        .await?
        .with_token(trader.token())?;
    let guard = follow(&far, true).await?;
    let mut reports = follow(&trader, false).await?;
    let order = trader.rest(buy(&symbol, 100, 3)).await?;
    context.log().note(what);
    let guard = breaks(&proxy, guard);
    disconnected(&mut reports, &trader, order.order_id).await?;
    drop(guard);
    still_open(&trader, "was there before the stream", older.order_id).await
}

pub(super) async fn half_open(context: Context) -> Verdict {
    let what = "the guard's connection falls silent and stays open";
    guarded(context, what, |proxy, guard| {
        proxy.fall_silent();
        Some(guard)
    })
    .await
}

pub(super) async fn cut(context: Context) -> Verdict {
    guarded(context, "the guard's connection is closed", |proxy, guard| {
        proxy.cut();
        Some(guard)
    })
    .await
}

/// Catches who looks at connections only.
pub(super) async fn reset(context: Context) -> Verdict {
    guarded(
        context,
        "the guard is reset by its client, and its connection stays",
        |_, guard| {
            drop(guard);
            None
        },
    )
    .await
}

/// Catches who takes every end of a stream for a break.
pub(super) async fn logged_out(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let (first, second) = (
        context.login(&trader.known_user()?).await?,
        context.login(&trader.known_user()?).await?,
    );
    let mut guard = follow(&first, true).await?;
    let kept = trader.rest(buy(&symbol, 99, 2)).await?;
    first.logout(LogoutRequest {}).await?;
    guard.refused(v1::ErrorReason::InvalidToken, &[]).await?;
    drop(guard);
    // A guard that began later breaks: when that shows, the first one's end would have shown, too.
    let mut reports = follow(&trader, false).await?;
    let guard = follow(&second, true).await?;
    let guarded = trader.rest(buy(&symbol, 100, 3)).await?;
    drop(guard);
    disconnected(&mut reports, &trader, guarded.order_id).await?;
    still_open(&trader, "a stream guarded until its session logged out", kept.order_id).await
}
