//! Subscriptions of limited depth.

use optivex_proto::v1::{PriceLevel, SubscribeOrderBooksRequest};

use super::follower::{Follower, request};
use crate::context::Context;
use crate::model::book_flow::Flow;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

fn limited(symbol: &str, depth: i32) -> SubscribeOrderBooksRequest {
    SubscribeOrderBooksRequest {
        depth,
        ..request(&[symbol])
    }
}

fn prices(levels: &[PriceLevel]) -> Vec<(i64, i64)> {
    levels.iter().map(|level| (level.price_e4, level.quantity)).collect()
}

/// Catches a depth that limits the snapshot only, levels that never leave, and levels that enter
/// with a part of their lots or not at all.
pub(super) async fn view(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    for (price_e4, quantity) in [(1_000, 1), (1_001, 2), (1_002, 3), (1_002, 30)] {
        alice.rest(sell(&acme, price_e4, quantity)).await?;
    }
    let mut book = Follower::open(&viewer, limited(&acme, 2)).await?;
    // The view of this stream may lag; nothing in the view changed since the second order.
    book.reach(2).await?;
    let shows = |book: &Follower, what: &str, expected: Vec<(i64, i64)>| {
        book.at().same(
            &format!("asks (price, lots) {what}"),
            prices(&book.mirror.asks()),
            expected,
        )
    };
    shows(&book, "at first", vec![(1_000, 1), (1_001, 2)])?;
    let better = alice.rest(sell(&acme, 999, 5)).await?;
    book.reach(5).await?;
    shows(&book, "after a better level came", vec![(999, 5), (1_000, 1)])?;
    alice.cancel_id(better.order_id).await?;
    book.reach(6).await?;
    shows(&book, "after it went", vec![(1_000, 1), (1_001, 2)])?;
    bob.insert(buy(&acme, 1_000, 1)).await?;
    book.reach(7).await?;
    shows(
        &book,
        "after a trade took the best level",
        vec![(1_001, 2), (1_002, 33)],
    )?;
    bob.insert(buy(&acme, 1_001, 2)).await?;
    book.reach(8).await?;
    shows(&book, "after a trade took the next", vec![(1_002, 33)])?;
    // Both sides count for themselves.
    for (step, price_e4) in [(9, 900), (10, 901), (11, 902)] {
        bob.rest(buy(&acme, price_e4, 4)).await?;
        book.reach(step).await?;
    }
    book.at().same(
        "bids (price, lots)",
        prices(&book.mirror.bids()),
        vec![(902, 4), (901, 4)],
    )?;
    shows(&book, "after changes of the other side", vec![(1_002, 33)])
}

/// Catches changes outside the view that are sent, and updates that follow on what was not sent.
pub(super) async fn outside(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut book = Follower::open(&viewer, limited(&acme, 1)).await?;
    alice.rest(buy(&acme, 1_000, 1)).await?;
    book.reach(1).await?;
    let deep = alice.rest(buy(&acme, 900, 1)).await?;
    alice.rest(buy(&acme, 900, 2)).await?;
    alice.cancel_id(deep.order_id).await?;
    let inside = alice.rest(buy(&acme, 1_000, 4)).await?;
    let update = book.update("the change inside the view").await?;
    update
        .has(
            "prev_book_seq: the last change that was sent",
            |update| update.prev_book_seq,
            1,
        )?
        .has("book_seq", |update| update.book_seq, 5)?
        .has("event_seq", |update| update.event_seq, inside.event_seq)?
        .has("bids", |update| prices(&update.bids), vec![(1_000, 5)])?;
    Ok(())
}

/// Catches what no other case thinks of about views.
pub(super) async fn random_flow(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    let viewer = context.viewer().await?;
    let mut followers = Vec::new();
    for depth in [1, 2, 5] {
        followers.push((depth, Follower::open(&viewer, limited(&flow.symbol, depth)).await?));
    }
    flow.steps(250).await?;
    for (depth, mut follower) in followers {
        let depth = depth as usize;
        let cut = |levels: &[PriceLevel]| levels.iter().take(depth).copied().collect::<Vec<_>>();
        let views: Vec<_> = flow
            .states
            .iter()
            .map(|state| (cut(&state.bids), cut(&state.asks)))
            .collect();
        let Some(last) = (1..views.len()).rev().find(|place| views[*place] != views[*place - 1]) else {
            continue;
        };
        follower.reach(last as u64).await?;
        // With the checksum of what this view holds.
        follower.heartbeat(flow.event_seq()).await?;
        for place in 1..=last {
            if views[place] != views[place - 1] {
                follower.held_is(place as u64, &flow.states[place], depth)?;
            } else if flow.states[place].trades.is_empty() {
                follower.at().holds(
                    !follower.held.contains_key(&(place as u64)),
                    format!("an update to book_seq {place}, where nothing in the view changed"),
                    "a change outside the view is not sent",
                )?;
            }
        }
    }
    Ok(())
}
