//! Stage 11: what happens at the same time happens in one order, and every client sees that one.
//!
//! No case says who wins a race: each says what has to hold whoever wins.

mod flow;
mod instruments;
mod orders;
mod retry;

use optivex_proto::v1::{BookView, ErrorReason, SubscribeOrderBooksRequest, SubscribeOrderBooksResponse};

use tokio::task::JoinSet;

use crate::case::{Case, Stage};
use crate::client::{Answer, Reply, Session, Stream};
use crate::context::Context;
use crate::market::Mirror;
use crate::run;
use crate::verdict::{Stop, Verdict};

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "races",
    title: "Races",
    number: 11,
    core: false,
    builds_on: &["orders"],
    cases: &[
        Case::new(
            "create-trade-subscribe",
            "An instrument that any client can see can be traded and subscribed to at once, from other connections.",
            "common.proto Instrument",
            run!(instruments::seen_is_tradable),
        ),
        Case::new(
            "instruments-to-come",
            "A subscriber of all books gets a new instrument's snapshot before its first change, however soon it trades.",
            "info.proto SubscribeOrderBooksRequest.symbols",
            run!(instruments::books_to_come),
        ),
        Case::new(
            "one-symbol-at-once",
            "Of many that create one symbol at once, one does, and all others are told DUPLICATE_SYMBOL.",
            "common.proto Instrument.symbol; ERROR_REASON_DUPLICATE_SYMBOL",
            run!(instruments::one_symbol_once),
        ),
        Case::new(
            "one-creation-retried-at-once",
            "The same client_request_id and content, many times at once, create one instrument and answer the same.",
            "admin.proto CreateInstrumentRequest.client_request_id",
            run!(instruments::one_creation),
        ),
        Case::new(
            "insert-against-cancel",
            "A lot is traded or cancelled, never both and never neither, when inserts and a cancel meet.",
            "execution.proto CancelOrderResponse.cancelled_quantity; ERROR_REASON_ORDER_DONE",
            run!(orders::insert_against_cancel),
        ),
        Case::new(
            "cancel-against-cancel",
            "Of many cancels of one order at once, one does it; all others are told ORDER_DONE.",
            "common.proto ERROR_REASON_ORDER_DONE",
            run!(orders::cancel_against_cancel),
        ),
        Case::new(
            "amend-against-fill",
            "An amend and a fill of one order happen in the order of their event_seq, and each counts the other.",
            "execution.proto AmendOrderRequest.quantity",
            run!(orders::amend_against_fill),
        ),
        Case::new(
            "last-lot-of-a-limit",
            "When 64 clients of a user want the last lots of a limit, exactly those that fit get them.",
            "risk_limits.proto UserRiskLimits, InstrumentRiskLimits",
            run!(orders::last_lot),
        )
        .within(300),
        Case::new(
            "one-global-order",
            "Commands of many connections are events of one order: event_seq, order_id and trade_id rise together.",
            "common.proto event_seq; Trade.trade_id; InsertOrderResponse.order_id",
            run!(orders::one_order),
        ),
        Case::new(
            "books-under-flow",
            "Subscribers and snapshots that come while the book changes show the same book at the same book_seq.",
            "info.proto, the rule for a subscriber of PRICE_DEPTH; BookSnapshot.event_seq",
            run!(flow::books),
        ),
        Case::new(
            "tape-under-flow",
            "Who follows the tape while trades happen gets every trade once, from the point on that was asked for.",
            "info.proto SubscribeTradesRequest.after_trade_id; SubscribeTradesResponse.through_trade_id",
            run!(flow::tape),
        ),
        Case::new(
            "reports-under-flow",
            "Who follows the execution reports while orders trade gets every report once, without gaps.",
            "execution.proto SubscribeExecutionReportsRequest.after_report_seq; ExecutionReport.report_seq",
            run!(flow::reports),
        ),
        Case::new(
            "reply-before-market-data",
            "A book whose event_seq is at or after the reply's shows the order, and one update carries that event_seq.",
            "common.proto event_seq; BookUpdate.event_seq",
            run!(flow::reply_first),
        ),
        Case::new(
            "market-data-before-reply",
            "An order that market data or a report shows can be traded with, cancelled and retried at once.",
            "common.proto event_seq; info.proto BookUpdate",
            run!(flow::market_data_first),
        ),
        Case::new(
            "lost-answer",
            "The retry of an insert whose answer was lost answers as the first time and inserts nothing.",
            "execution.proto InsertOrderRequest.client_order_id",
            run!(retry::lost_answer),
        ),
        Case::new(
            "one-client-id-at-once",
            "The same client id at once is one order: the same content is answered the same, another is CLIENT_ID_REUSED.",
            "execution.proto InsertOrderRequest.client_order_id; ERROR_REASON_CLIENT_ID_REUSED",
            run!(retry::one_id_at_once),
        ),
    ],
};

/// Answers that were taken; all others were refused for this reason.
fn taken<T: Clone>(answers: Vec<Answer<T>>, reason: ErrorReason, metadata: &[(&str, &str)]) -> Verdict<Vec<Reply<T>>> {
    let mut taken = Vec::new();
    for answer in answers {
        match answer.clone().either() {
            Ok(reply) => taken.push(reply),
            Err(_) => drop(answer.refused(reason, metadata)?),
        }
    }
    Ok(taken)
}

/// Exactly one was taken.
fn only<T>(taken: Vec<Reply<T>>, what: &str) -> Verdict<Reply<T>> {
    let count = taken.len();
    let mut taken = taken.into_iter();
    match (taken.next(), taken.next()) {
        (Some(one), None) => Ok(one),
        (_, Some(second)) => Err(second.fail(format!("{count} of them succeeded"), format!("one {what}"))),
        (None, _) => Err(Stop::failed("all of them were refused", format!("one {what}"))),
    }
}

/// Further sessions of this user, each on a connection of its own.
async fn sessions(context: &Context, session: &Session, count: usize) -> Verdict<Vec<Session>> {
    let mut all = Vec::new();
    for number in 1..=count {
        // One login for all: an exchange may slow many logins down.
        let label = format!("{} #{number}", session.username());
        let further = Session::connect(context.url(), &label, context.log(), context.patience()).await?;
        all.push(further.with_token(session.token())?);
    }
    Ok(all)
}

/// Follows one book in full depth.
fn depth_of(session: &Session, symbol: &str) -> Stream<SubscribeOrderBooksResponse> {
    session.follow_books(SubscribeOrderBooksRequest {
        symbols: vec![symbol.to_owned()],
        view: BookView::PriceDepth.into(),
        ..SubscribeOrderBooksRequest::default()
    })
}

/// Reads until the mirror shows everything up to this event.
async fn catch_up(stream: &mut Stream<SubscribeOrderBooksResponse>, mirror: &mut Mirror, event_seq: u64) -> Verdict {
    while !mirror.known() || mirror.event_seq() < event_seq {
        let what = format!("market data up to event {event_seq}");
        let message = stream.expecting(&what).await?;
        mirror.apply(&message)?;
    }
    Ok(())
}

/// What all tasks came to; the first failure is the case's.
async fn run_tasks<T: 'static>(mut tasks: JoinSet<Verdict<T>>) -> Verdict<Vec<T>> {
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(verdict) => all.push(verdict?),
            Err(error) => return Err(Stop::trouble(format!("a task of the case broke: {error}"))),
        }
    }
    Ok(all)
}
