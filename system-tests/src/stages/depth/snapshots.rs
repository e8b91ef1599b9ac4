//! Whole books.

use optivex_proto::v1::{ErrorReason, GetOrderBookRequest, PriceLevel, TradingPhase};

use super::follower::{Follower, request};
use crate::context::Context;
use crate::market::checksum;
use crate::model::book_flow::Flow;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

/// Catches levels out of order, a level for each order, totals that are wrong, and checksums over
/// another text.
pub(super) async fn first(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    for (price_e4, quantity) in [(-5, 1), (-3, 2), (-4, 3), (-3, 4), (-5, 5)] {
        alice.rest(buy(&acme, price_e4, quantity)).await?;
    }
    let mut last = 0;
    for (price_e4, quantity) in [(5, 6), (3, 7), (4, 8), (5, 9)] {
        last = alice.rest(sell(&acme, price_e4, quantity)).await?.event_seq;
    }
    let level = |(price_e4, quantity, order_count)| PriceLevel {
        price_e4,
        quantity,
        order_count,
    };
    let bids = [(-3, 6, 2), (-4, 3, 1), (-5, 6, 2)].map(level).to_vec();
    let asks = [(3, 7, 1), (4, 8, 1), (5, 15, 2)].map(level).to_vec();
    let book = viewer.book_at(&acme, last).await?;
    book.has("bids", |book| book.bids.clone(), bids.clone())?
        .has("asks", |book| book.asks.clone(), asks.clone())?
        .has("book_seq", |book| book.book_seq, 9)?
        .has("phase", |book| book.phase(), TradingPhase::Continuous)?
        .has("symbol", |book| book.symbol.clone(), acme.clone())?
        .has("checksum", |book| book.checksum, checksum(&bids, &asks))?;
    let mut follower = Follower::open(&viewer, request(&[&acme])).await?;
    // The view of this stream may lag behind others.
    follower.reach(9).await?;
    follower.mirror.equals(&book)
}

/// Catches books that begin at 1, and a checksum of nothing that is not 0.
pub(super) async fn empty(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let viewer = context.viewer().await?;
    let book = viewer.whole_book(&acme).await?;
    book.has("book_seq", |book| book.book_seq, 0)?
        .has("bids", |book| book.bids.clone(), vec![])?
        .has("asks", |book| book.asks.clone(), vec![])?
        .has("checksum", |book| book.checksum, 0)?
        .has("phase", |book| book.phase(), TradingPhase::Continuous)?;
    Follower::open(&viewer, request(&[&acme])).await?.mirror.equals(&book)
}

/// Catches a depth that is ignored, cuts the wrong end, or counts both sides together; and checksums
/// over levels that are not in the message.
pub(super) async fn get_depth(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut last = 0;
    for step in 0..5 {
        alice.rest(buy(&acme, 995 + step, 1 + step)).await?;
        last = alice.rest(sell(&acme, 1_010 - step, 10 + step)).await?.event_seq;
    }
    let whole = viewer.book_at(&acme, last).await?;
    for depth in [1, 2, 4, 5, 6, 1_000] {
        let reply = viewer
            .book(GetOrderBookRequest {
                symbol: acme.clone(),
                depth,
            })
            .await?;
        let Some(book) = reply.book.clone() else {
            return Err(reply.fail("book is absent", "the book"));
        };
        let most = depth as usize;
        let best = |levels: &[PriceLevel]| levels.iter().take(most).copied().collect::<Vec<_>>();
        reply.at().same("bids", &book.bids, &best(&whole.bids))?;
        reply.at().same("asks", &book.asks, &best(&whole.asks))?;
        reply.at().same(
            "checksum over the levels of this message",
            book.checksum,
            checksum(&book.bids, &book.asks),
        )?;
    }
    Ok(())
}

/// Catches empty books for any name.
pub(super) async fn get_unknown(context: Context) -> Verdict {
    let viewer = context.viewer().await?;
    let request = GetOrderBookRequest {
        symbol: context.unique(),
        depth: 0,
    };
    viewer
        .try_book(request)
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    Ok(())
}

/// Catches a snapshot one event too old, and one that is older than the replies it follows says.
pub(super) async fn up_to_event(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 2).await?;
    let viewer = context.viewer().await?;
    for _ in 0..60 {
        flow.step().await?;
        let mut snapshots = vec![viewer.whole_book(&flow.symbol).await?];
        if flow.book_seq() % 10 == 0 {
            let mut stream = viewer.follow_books(request(&[&flow.symbol]));
            super::follower::subscribed(&mut stream).await?;
            let snapshot = stream
                .until("a snapshot of the book", |message| {
                    Ok(match &message.event {
                        Some(optivex_proto::v1::subscribe_order_books_response::Event::Snapshot(snapshot)) => {
                            Some(crate::client::Reply::new(snapshot.clone(), message.at().clone()))
                        }
                        _ => None,
                    })
                })
                .await?;
            snapshots.push(snapshot);
        }
        for snapshot in snapshots {
            let seen = flow
                .states
                .iter()
                .rposition(|state| state.event_seq <= snapshot.event_seq);
            let least = seen.unwrap_or(0) as u64;
            snapshot.shows(
                &format!(
                    "book_seq {least} or later: that change is of an event up to {}",
                    snapshot.event_seq
                ),
                |snapshot| snapshot.book_seq >= least,
            )?;
            let state = flow.states.get(snapshot.book_seq as usize).cloned();
            snapshot.has(
                "bids and asks at this book_seq",
                |snapshot| Some((snapshot.bids.clone(), snapshot.asks.clone())),
                state.map(|state| (state.bids, state.asks)),
            )?;
        }
    }
    Ok(())
}
