//! `SubscribeExecutionReports`: everything that happens to the user's orders.
//!
//! The stream reads history as its client reads the stream, so a slow reader costs one page of
//! reports, whatever happens meanwhile.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use optivex_engine::types::{OrderId, UserId};
use optivex_proto::v1::subscribe_execution_reports_response::Event;
use optivex_proto::v1::{self, ErrorReason};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::streams::OpenStream;
use super::trading::Trading;
use super::{session_ended, stopping};
use crate::auth::{Session, SessionEnd};
use crate::error::Error;
use crate::sequencer::{Exchange, State};

/// A stream that was silent for so long says so.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Starts the stream of a session's user.
pub(super) async fn subscribe(
    trading: Arc<Trading>,
    session: Session,
    request: v1::SubscribeExecutionReportsRequest,
    place: OpenStream,
) -> Result<impl Stream<Item = Result<v1::SubscribeExecutionReportsResponse, Status>> + Send, Error> {
    let user = session.user;
    // One turn of the sequencer: the guard begins exactly where the reports to come begin.
    let (report_seq, last_order_id) = trading
        .exchange
        .query(move |engine, _| (engine.report_seq(user), engine.last_order_id()))
        .await?;
    let guard = request.cancel_on_disconnect.then(|| Guard {
        exchange: trading.exchange.clone(),
        session: session.clone(),
        after: last_order_id,
        is_armed: true,
    });
    let after = request.after_report_seq.unwrap_or(report_seq);
    if after > report_seq {
        if let Some(mut guard) = guard {
            guard.is_armed = false;
        }
        return Err(Error::new(
            ErrorReason::CannotResume,
            format!("the last report so far is {report_seq}"),
        ));
    }
    let reports = Reports {
        end: Box::pin(end(session, trading.exchange.state())),
        _guard: guard,
        _place: place,
        available: trading.past.report_watch(user),
        trading,
        user,
        subscribed: Some(report_seq),
        known: report_seq,
        sent: after,
        page: VecDeque::new(),
        heartbeat_at: Instant::now() + HEARTBEAT,
    };
    Ok(stream::unfold(Some(reports), |reports| async move {
        let mut reports = reports?;
        match reports.next().await {
            Ok(event) => {
                reports.heartbeat_at = Instant::now() + HEARTBEAT;
                let response = v1::SubscribeExecutionReportsResponse { event: Some(event) };
                Some((Ok(response), Some(reports)))
            }
            Err(error) => Some((Err(error.into()), None)),
        }
    }))
}

/// One subscription.
struct Reports {
    trading: Arc<Trading>,
    user: UserId,
    /// Last report that history can show.
    available: watch::Receiver<u64>,
    /// What ends the stream.
    end: Pin<Box<dyn Future<Output = End> + Send>>,
    /// Only to be dropped with the stream.
    _guard: Option<Guard>,
    _place: OpenStream,
    /// The first message, until it is sent.
    subscribed: Option<u64>,
    /// The last report that this stream has spoken of.
    known: u64,
    /// The last report that was sent.
    sent: u64,
    page: VecDeque<v1::ExecutionReport>,
    heartbeat_at: Instant,
}

enum End {
    Session,
    Stopping,
}

async fn end(session: Session, mut state: watch::Receiver<State>) -> End {
    tokio::select! {
        biased;
        _ = session.ended() => End::Session,
        _ = state.wait_for(|state| matches!(state, State::Stopping | State::Failed(_))) => End::Stopping,
    }
}

impl Reports {
    async fn next(&mut self) -> Result<Event, Error> {
        if let Some(report_seq) = self.subscribed.take() {
            return Ok(Event::SubscribedReportSeq(report_seq));
        }
        loop {
            if let Some(report) = self.page.pop_front() {
                self.sent = report.report_seq;
                self.known = self.known.max(self.sent);
                return Ok(Event::Report(report));
            }
            let available = *self.available.borrow_and_update();
            let news = async {
                if available > self.sent {
                    let page = self.trading.past.reports(self.user, self.sent).await?;
                    if page.is_empty() {
                        return Err(Error::not_ready("history lacks reports that it has announced"));
                    }
                    return Ok(page.into());
                }
                self.available
                    .changed()
                    .await
                    .map(|()| VecDeque::new())
                    // History has ended, and so will the exchange.
                    .map_err(|_| stopping())
            };
            tokio::select! {
                biased;
                end = &mut self.end => return Err(match end {
                    End::Session => session_ended(),
                    End::Stopping => stopping(),
                }),
                page = news => self.page = page?,
                () = tokio::time::sleep_until(self.heartbeat_at) => {
                    self.known = self.known.max(available);
                    return Ok(Event::HeartbeatReportSeq(self.known));
                }
            }
        }
    }
}

/// Cancels what was inserted since the stream began, unless the stream ended in an orderly way.
struct Guard {
    exchange: Exchange,
    session: Session,
    after: OrderId,
    is_armed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let is_orderly = (self.session.end() == Some(SessionEnd::Logout) && !fault!(LogoutIsDisconnect))
            || matches!(*self.exchange.state().borrow(), State::Stopping | State::Failed(_));
        if !self.is_armed || is_orderly {
            return;
        }
        let exchange = self.exchange.clone();
        let (user, after) = (self.session.user, self.after);
        tracing::info!(user = %self.session.username, "a guarded report stream broke");
        // Without a runtime the process is ending, and a restart keeps the orders.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { exchange.disconnect(user, after).await });
        }
    }
}
