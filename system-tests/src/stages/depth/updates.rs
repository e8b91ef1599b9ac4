//! Changes of a book, one event at a time.

use optivex_proto::v1::{BookUpdate, CancelAllOrdersRequest, ErrorReason, PriceLevel, Side, TradingPhase};

use super::follower::{Follower, printed, request, statuses, subscribed};
use crate::client::Reply;
use crate::context::Context;
use crate::market::{Applied, Mirror};
use crate::model::book_flow::{Flow, Printed};
use crate::order::{buy, sell};
use crate::verdict::Verdict;

fn level(price_e4: i64, quantity: i64, order_count: i32) -> PriceLevel {
    PriceLevel {
        price_e4,
        quantity,
        order_count,
    }
}

/// One change: from `book_seq - 1` to `book_seq`, of that event, with these levels.
fn is(
    update: &Reply<BookUpdate>,
    book_seq: u64,
    event_seq: u64,
    bids: Vec<PriceLevel>,
    asks: Vec<PriceLevel>,
) -> Verdict {
    update
        .has("prev_book_seq", |update| update.prev_book_seq, book_seq - 1)?
        .has("book_seq", |update| update.book_seq, book_seq)?
        .has("event_seq", |update| update.event_seq, event_seq)?
        .has("changed bids", |update| update.bids.clone(), bids)?
        .has("changed asks", |update| update.asks.clone(), asks)?
        .shows("no phase: it did not change", |update| {
            update.phase() == TradingPhase::Unspecified
        })?;
    Ok(())
}

/// Catches changes instead of totals, order counts that are not kept, skipped or doubled book_seqs,
/// and updates of another event.
pub(super) async fn each(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    let mut book = Follower::open(&viewer, request(&[&acme])).await?;
    let first = alice.rest(buy(&acme, 1_000, 5)).await?;
    is(
        &book.update("the insert's update").await?,
        1,
        first.event_seq,
        vec![level(1_000, 5, 1)],
        vec![],
    )?;
    let second = alice.rest(buy(&acme, 1_000, 3)).await?;
    is(
        &book.update("the insert's update").await?,
        2,
        second.event_seq,
        vec![level(1_000, 8, 2)],
        vec![],
    )?;
    let third = alice.rest(sell(&acme, 1_005, 4)).await?;
    is(
        &book.update("the insert's update").await?,
        3,
        third.event_seq,
        vec![],
        vec![level(1_005, 4, 1)],
    )?;
    let trade = bob.insert(sell(&acme, 1_000, 6)).await?;
    let update = book.update("the trade's update").await?;
    is(&update, 4, trade.event_seq, vec![level(1_000, 2, 1)], vec![])?;
    let prints: Vec<Printed> = trade
        .fills
        .iter()
        .map(|fill| Printed {
            trade_id: fill.trade_id,
            price_e4: 1_000,
            quantity: fill.quantity,
            aggressor_side: Side::Sell,
            event_seq: trade.event_seq,
        })
        .collect();
    update
        .has("trades", |update| printed(&update.trades), prints)?
        .shows("trades of this symbol", |update| {
            update.trades.iter().all(|trade| trade.symbol == acme)
        })?;
    let cancelled = alice.cancel_id(second.order_id).await?;
    is(
        &book.update("the cancel's update").await?,
        5,
        cancelled.event_seq,
        vec![level(1_000, 0, 0)],
        vec![],
    )?;
    let again = alice.rest(buy(&acme, 1_000, 7)).await?;
    is(
        &book.update("the insert's update").await?,
        6,
        again.event_seq,
        vec![level(1_000, 7, 1)],
        vec![],
    )?;
    book.mirror.equals(&viewer.book_at(&acme, again.event_seq).await?)
}

/// Catches an update for each fill or level, and trades that are left out or out of order.
pub(super) async fn one_event(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    for price_e4 in [1_000, 1_001, 1_001, 1_002] {
        alice.rest(sell(&acme, price_e4, 5)).await?;
    }
    let mut book = Follower::open(&viewer, request(&[&acme])).await?;
    book.reach(4).await?;
    let trade = bob.insert(buy(&acme, 1_001, 18)).await?;
    let update = book
        .update("the update of an order that trades three times and rests")
        .await?;
    is(&update, 5, trade.event_seq, update.bids.clone(), update.asks.clone())?;
    let prints: Vec<Printed> = trade
        .fills
        .iter()
        .map(|fill| Printed {
            trade_id: fill.trade_id,
            price_e4: fill.price_e4,
            quantity: fill.quantity,
            aggressor_side: Side::Buy,
            event_seq: trade.event_seq,
        })
        .collect();
    update.has("trades", |update| printed(&update.trades), prints)?;
    let at = update.at();
    at.same("bids afterwards", book.mirror.bids(), vec![level(1_001, 3, 1)])?;
    at.same("asks afterwards", book.mirror.asks(), vec![level(1_002, 5, 1)])?;
    let filled: Vec<i64> = update.trades.iter().map(|trade| trade.price_e4).collect();
    at.same("prices of the trades", filled, vec![1_000, 1_001, 1_001])?;
    let cancelled = bob
        .cancel_all(CancelAllOrdersRequest {
            symbol: acme.clone(),
            side: Side::Unspecified.into(),
        })
        .await?;
    book.reach(6).await?;
    let last = alice
        .cancel_all(CancelAllOrdersRequest {
            symbol: acme.clone(),
            side: Side::Unspecified.into(),
        })
        .await?;
    book.reach(7).await?;
    book.at()
        .same("book_seq after two cancel-alls", book.mirror.book_seq(), 7)?;
    book.at().holds(
        cancelled.event_seq < last.event_seq,
        "event_seqs do not grow",
        "an event_seq above the one before",
    )?;
    book.mirror.equals(&viewer.book_at(&acme, last.event_seq).await?)
}

/// Catches levels left at quantity 0, and levels that stay with a count and no quantity.
pub(super) async fn removed(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    let mut book = Follower::open(&viewer, request(&[&acme])).await?;
    for round in 0..2 {
        let first = alice.rest(sell(&acme, 1_000, 5)).await?;
        alice.rest(sell(&acme, 1_001, 5)).await?;
        let gone = if round == 0 {
            bob.insert(buy(&acme, 1_000, 5)).await?.event_seq
        } else {
            alice.cancel_id(first.order_id).await?.event_seq
        };
        book.reach(4 * round + 3).await?;
        book.at()
            .same("asks of the mirror", book.mirror.asks(), vec![level(1_001, 5, 1)])?;
        let shown = viewer.book_at(&acme, gone).await?;
        shown.has("asks", |shown| shown.asks.clone(), vec![level(1_001, 5, 1)])?;
        let taken = bob.insert(buy(&acme, 1_001, 5)).await?;
        book.reach(4 * round + 4).await?;
        book.at().same("asks of the mirror", book.mirror.asks(), vec![])?;
        let shown = viewer.book_at(&acme, taken.event_seq).await?;
        shown
            .has("bids", |shown| shown.bids.clone(), vec![])?
            .has("asks", |shown| shown.asks.clone(), vec![])?;
    }
    Ok(())
}

/// Catches a book_seq for each command, and refused orders that leave a trace.
pub(super) async fn no_change(context: Context) -> Verdict {
    let acme = context
        .instrument_with(|request| request.tick_size_e4 = 10)
        .await?
        .symbol;
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    let mut book = Follower::open(&viewer, request(&[&acme])).await?;
    let order = alice.rest(buy(&acme, 1_000, 5)).await?;
    is(
        &book.update("the insert's update").await?,
        1,
        order.event_seq,
        vec![level(1_000, 5, 1)],
        vec![],
    )?;
    alice
        .try_insert(buy(&acme, 1_005, 5))
        .await
        .refused(ErrorReason::InvalidTick, &[])?;
    alice
        .try_insert(buy(&acme, 1_010, 0))
        .await
        .refused(ErrorReason::InvalidField, &[])?;
    bob.cancel_all(CancelAllOrdersRequest {
        symbol: acme.clone(),
        side: Side::Unspecified.into(),
    })
    .await?;
    let last = bob.rest(sell(&acme, 1_020, 3)).await?;
    let update = book.update("the next insert's update").await?;
    update.shows(
        &format!(
            "the update of event {}: what came before it changed no level",
            last.event_seq
        ),
        |update| update.event_seq == last.event_seq,
    )?;
    is(&update, 2, last.event_seq, vec![], vec![level(1_020, 3, 1)])
}

/// Catches one book_seq for all books.
pub(super) async fn two_symbols(context: Context) -> Verdict {
    let (acme, duff) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut stream = viewer.follow_books(request(&[&duff, &acme]));
    let answer = subscribed(&mut stream).await?;
    let fine = ErrorReason::Unspecified;
    answer.has("statuses", statuses, vec![(duff.clone(), fine), (acme.clone(), fine)])?;
    let (mut of_acme, mut of_duff) = (Mirror::new(&acme), Mirror::new(&duff));
    let mut last = (0, 0);
    for step in 0..4 {
        last.0 = alice.rest(buy(&acme, 1_000 + step, 1)).await?.event_seq;
        last.1 = alice.rest(sell(&duff, 1_000 + step, 1)).await?.event_seq;
    }
    while of_acme.book_seq() < 4 || of_duff.book_seq() < 4 {
        let message = stream.expecting("four updates of each book").await?;
        of_acme.apply(&message)?;
        of_duff.apply(&message)?;
    }
    of_acme.equals(&viewer.book_at(&acme, last.0).await?)?;
    of_duff.equals(&viewer.book_at(&duff, last.1).await?)
}

/// Catches subscriptions of the instruments that there are, and updates without a snapshot.
pub(super) async fn all_symbols(context: Context) -> Verdict {
    let viewer = context.viewer().await?;
    let mut stream = viewer.follow_books(request(&[]));
    subscribed(&mut stream).await?;
    let alice = context.trader().await?;
    let acme = context.instrument().await?.symbol;
    alice.rest(buy(&acme, 1_000, 5)).await?;
    let last = alice.rest(sell(&acme, 1_001, 5)).await?;
    let mut mirror = Mirror::new(&acme);
    stream
        .until("the changes of an instrument that came later", |message| {
            mirror.apply(message)?;
            Ok((mirror.book_seq() >= 2).then_some(()))
        })
        .await?;
    mirror.equals(&viewer.book_at(&acme, last.event_seq).await?)
}

/// Catches subscriptions that fail whole, or leave the unknown symbol out of the answer.
pub(super) async fn unknown_symbol(context: Context) -> Verdict {
    let (nobody, acme) = (context.unique(), context.instrument().await?.symbol);
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut stream = viewer.follow_books(request(&[&nobody, &acme]));
    let answer = subscribed(&mut stream).await?;
    answer.has(
        "statuses",
        statuses,
        vec![
            (nobody, ErrorReason::UnknownInstrument),
            (acme.clone(), ErrorReason::Unspecified),
        ],
    )?;
    let mut follower = Follower::on(stream, &acme, Mirror::new(&acme));
    alice.rest(buy(&acme, 1_000, 5)).await?;
    follower.reach(1).await
}

/// Catches heartbeats on silent streams only, checksums over other levels than the subscriber's, and
/// heartbeats ahead of what was sent.
pub(super) async fn heartbeats(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut book = Follower::open(&viewer, request(&[&acme])).await?;
    // Busy: something changes before every read.
    let (mut beats, mut changes) = (0, 0);
    let started = tokio::time::Instant::now();
    while beats < 2 {
        if book.mirror.book_seq() >= changes {
            let order = alice.rest(buy(&acme, 1_000, 1)).await?;
            changes += 1;
            if changes % 2 == 0 {
                alice.cancel_id(order.order_id).await?;
                changes += 1;
            }
        }
        let (applied, message) = book.read("heartbeats on a busy stream").await?;
        if matches!(applied, Applied::Heartbeat(_)) {
            beats += 1;
        }
        if started.elapsed() > viewer.patience() * 2 {
            return Err(message.fail(
                format!("{beats} heartbeats among {changes} changes"),
                "heartbeats once a second, on busy streams too",
            ));
        }
    }
    // Silent: what a heartbeat promises was sent before it.
    let last = alice.rest(sell(&acme, 2_000, 1)).await?;
    book.heartbeat(last.event_seq).await?;
    book.at().same(
        "book_seq held when a heartbeat said that everything was sent",
        book.mirror.book_seq(),
        changes + 1,
    )?;
    book.mirror.equals(&viewer.book_at(&acme, last.event_seq).await?)
}

/// Catches what no other case thinks of: any difference between stream, snapshots and trades.
pub(super) async fn random_flow(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    let viewer = context.viewer().await?;
    let acme = flow.symbol.clone();
    let mut early = Follower::open(&viewer, request(&[&acme])).await?;
    let mut late = None;
    let mut snapshots = Vec::new();
    for step in 0..300 {
        flow.step().await?;
        if step % 7 == 0 {
            snapshots.push(viewer.whole_book(&acme).await?);
        }
        if step == 150 {
            late = Some(Follower::open(&viewer, request(&[&acme])).await?);
        }
    }
    let last = flow.book_seq();
    early.reach(last).await?;
    for (book_seq, state) in flow.states.iter().enumerate() {
        early.held_is(book_seq as u64, state, 0)?;
    }
    early
        .at()
        .same("trades of the updates", printed(&early.trades), flow.trades())?;
    for snapshot in &snapshots {
        match early.held.get(&snapshot.book_seq) {
            Some(held) => held.equals(snapshot)?,
            None => return Err(snapshot.fail("a book_seq that the stream never had", "a snapshot of some change")),
        }
    }
    if let Some(mut late) = late {
        let from = late.mirror.book_seq();
        late.reach(last).await?;
        for (book_seq, state) in flow.states.iter().enumerate().skip(from as usize) {
            late.held_is(book_seq as u64, state, 0)?;
        }
    }
    // Nothing follows the last change.
    let marker = viewer.book_at(&acme, flow.event_seq()).await?;
    early.mirror.equals(&marker)?;
    early.heartbeat(flow.event_seq()).await?;
    early.at().same("book_seq at the end", early.mirror.book_seq(), last)?;
    let gaps = early.gaps;
    early
        .at()
        .same("gaps told to a subscriber that read everything", gaps, 0)?;
    Ok(())
}
