//! Slow readers, and readers that come back.

use optivex_proto::v1::{
    BookCursor, Delivery, ErrorReason, Side, SubscribeOrderBooksRequest, SubscribeOrderBooksResponse,
};

use super::follower::{Follower, printed, request, statuses, subscribed};
use crate::client::{Reply, Session, Stream};
use crate::context::Context;
use crate::market::Mirror;
use crate::model::book_flow::Flow;
use crate::order::buy;
use crate::verdict::Verdict;

fn conflated_request(symbol: &str, depth: i32) -> SubscribeOrderBooksRequest {
    SubscribeOrderBooksRequest {
        depth,
        delivery: Delivery::Conflated.into(),
        ..request(&[symbol])
    }
}

/// Catches merged updates with old totals, levels that come back from the dead, trades that are lost
/// in merging, and a prev_book_seq that does not follow.
pub(super) async fn conflated(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    let viewer = context.viewer().await?;
    let mut whole = Follower::open(&viewer, conflated_request(&flow.symbol, 0)).await?;
    let mut limited = Follower::open(&viewer, conflated_request(&flow.symbol, 2)).await?;
    for _ in 0..3 {
        // Nobody reads meanwhile.
        flow.steps(100).await?;
        whole.reach(flow.book_seq()).await?;
        for book_seq in whole.held.keys() {
            if let Some(state) = flow.states.get(*book_seq as usize) {
                whole.held_is(*book_seq, state, 0)?;
            }
        }
    }
    whole
        .at()
        .same("book_seq at the end", whole.mirror.book_seq(), flow.book_seq())?;
    let known = flow.trades();
    let came = printed(&whole.trades);
    if whole.gaps == 0 {
        whole.at().same("trades of the updates", came, known)?;
    } else {
        let in_order = came.iter().all(|trade| known.contains(trade))
            && came.windows(2).all(|pair| pair[0].trade_id < pair[1].trade_id);
        whole.at().holds(
            in_order,
            format!("trades {came:?}"),
            "some of the trades, oldest first, each once",
        )?;
    }
    // The last change that this view shows; `reach` fails if it does not come.
    let best = |place: usize| {
        let state = &flow.states[place];
        let cut = |levels: &[optivex_proto::v1::PriceLevel]| levels.iter().take(2).copied().collect::<Vec<_>>();
        (cut(&state.bids), cut(&state.asks))
    };
    let last = (1..flow.states.len())
        .rev()
        .find(|place| best(*place) != best(*place - 1))
        .unwrap_or(0);
    limited.reach(last as u64).await?;
    for (book_seq, _) in limited.held.clone() {
        if let Some(state) = flow.states.get(book_seq as usize) {
            limited.held_is(book_seq, state, 2)?;
        }
    }
    Ok(())
}

/// Catches merging that drops a change whose levels are as they were.
pub(super) async fn cancelled_out(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut book = Follower::open(&viewer, conflated_request(&acme, 0)).await?;
    let mut last = 0;
    for round in 1..=20 {
        let order = alice.rest(buy(&acme, 1_000, 5)).await?;
        last = alice.cancel_id(order.order_id).await?.event_seq;
        if round % 5 == 0 {
            book.reach(2 * round).await?;
            book.at().same("book_seq", book.mirror.book_seq(), 2 * round)?;
        }
    }
    book.mirror.equals(&viewer.book_at(&acme, last).await?)
}

/// A subscription that goes on after this `book_seq`, and the reason in its status.
async fn resumed(
    session: &Session,
    symbol: &str,
    book_seq: u64,
) -> Verdict<(
    Stream<SubscribeOrderBooksResponse>,
    ErrorReason,
    Reply<optivex_proto::v1::Subscribed>,
)> {
    let mut stream = session.follow_books(SubscribeOrderBooksRequest {
        resume_after: vec![BookCursor {
            symbol: symbol.to_owned(),
            book_seq,
        }],
        ..request(&[symbol])
    });
    let answer = subscribed(&mut stream).await?;
    let told = statuses(&answer);
    let reason = told.first().map_or(ErrorReason::Unspecified, |(_, reason)| *reason);
    answer.has(
        "symbols of the statuses",
        |answer| answer.statuses.iter().map(|status| status.symbol.clone()).collect(),
        vec![symbol.to_owned()],
    )?;
    Ok((stream, reason, answer))
}

/// Catches changes that are lost or doubled at the point of resumption, and a snapshot that nobody
/// was told of.
pub(super) async fn resume(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 2).await?;
    let viewer = context.viewer().await?;
    let acme = flow.symbol.clone();
    let mut book = Follower::open(&viewer, request(&[&acme])).await?;
    flow.steps(30).await?;
    book.reach(flow.book_seq()).await?;
    flow.steps(10).await?;
    // From a point in the past, from the newest, and from the beginning.
    for from in [20, flow.book_seq() - 1, flow.book_seq(), 1] {
        let (stream, reason, answer) = resumed(&viewer, &acme, from).await?;
        let held = book.held.get(&from).cloned().unwrap_or_else(|| book.mirror.clone());
        let mut again = match reason {
            ErrorReason::Unspecified if held.book_seq() == from => Follower::on(stream, &acme, held),
            // This subscriber never held that point: read on from it as an observer would.
            ErrorReason::Unspecified => {
                book.reach(from).await?;
                Follower::on(stream, &acme, book.mirror.clone())
            }
            ErrorReason::CannotResume => Follower::on(stream, &acme, Mirror::new(&acme)),
            reason => return Err(answer.fail(format!("reason {reason:?}"), "no reason, or CANNOT_RESUME")),
        };
        if reason == ErrorReason::CannotResume {
            while !again.mirror.known() {
                again.read("a snapshot, as CANNOT_RESUME says").await?;
            }
        }
        let begun = again.mirror.book_seq();
        flow.insert(0, Side::Buy, -1_000, 1).await?;
        if reason == ErrorReason::Unspecified {
            again
                .update("the first update after the point to resume from, and no snapshot")
                .await?;
        }
        again.reach(flow.book_seq()).await?;
        for book_seq in begun..=flow.book_seq() {
            again.held_is(book_seq, &flow.states[book_seq as usize], 0)?;
        }
    }
    Ok(())
}

/// Catches subscriptions that wait for a future that may never be, or resume from it.
pub(super) async fn resume_future(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let order = alice.rest(buy(&acme, 1_000, 5)).await?;
    alice.book_at(&acme, order.event_seq).await?;
    for from in [2, 1_000_000, u64::MAX] {
        let (stream, reason, answer) = resumed(&viewer, &acme, from).await?;
        answer
            .at()
            .same("reason of the status", reason, ErrorReason::CannotResume)?;
        let mut book = Follower::on(stream, &acme, Mirror::new(&acme));
        while !book.mirror.known() {
            book.read("a snapshot, as CANNOT_RESUME says").await?;
        }
        book.reach(1).await?;
        book.mirror.equals(&viewer.whole_book(&acme).await?)?;
    }
    Ok(())
}
