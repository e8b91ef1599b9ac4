//! Wrong views of limited depth. A request for one is answered with the whole book, and cut here.

use std::collections::HashMap;

use optivex_proto::v1 as pb;
use optivex_proto::v1::subscribe_order_books_response::Event;

use super::Lens;
use super::books::{Held, events, sum};

fn planted() -> bool {
    fault!(LimitsSnapshotOnly)
        || fault!(EnteringForgotten)
        || fault!(LeavingForgotten)
        || fault!(OutsideSent)
        || fault!(OutsideCounted)
        || fault!(HeartbeatOverWholeBook)
}

fn is_limited(asked: &pb::SubscribeOrderBooksRequest) -> bool {
    asked.depth > 0 && asked.view() == pb::BookView::PriceDepth && asked.delivery() != pb::Delivery::Conflated
}

/// Asks for the whole book.
pub(super) fn request() -> Option<Lens> {
    planted().then(|| {
        Lens::each(|request: &mut pb::SubscribeOrderBooksRequest| {
            if is_limited(request) {
                request.depth = 0;
            }
        })
    })
}

/// One book of a view.
#[derive(Default)]
struct View {
    whole: Held,
    /// What the subscriber was sent.
    sent: Held,
    book_seq: u64,
}

/// Cuts the whole book.
pub(super) fn stream(asked: &pb::SubscribeOrderBooksRequest) -> Option<Lens> {
    if !planted() || !is_limited(asked) {
        return None;
    }
    let depth = asked.depth.unsigned_abs() as usize;
    let mut views: HashMap<String, View> = HashMap::new();
    Some(events(move |mut event, out| {
        match &mut event {
            Event::Snapshot(snapshot) => {
                let view = views.entry(snapshot.symbol.clone()).or_default();
                view.whole.begin(snapshot);
                snapshot.bids.truncate(depth);
                snapshot.asks.truncate(depth);
                snapshot.checksum = sum(&snapshot.bids, &snapshot.asks);
                view.sent.begin(snapshot);
                view.book_seq = snapshot.book_seq;
            }
            Event::Update(update) => {
                let view = views.entry(update.symbol.clone()).or_default();
                if !cut(view, update, depth) {
                    return;
                }
            }
            Event::Heartbeat(heartbeat) => {
                for state in &mut heartbeat.books {
                    let view = views.entry(state.symbol.clone()).or_default();
                    state.book_seq = view.book_seq;
                    state.checksum = match fault!(HeartbeatOverWholeBook) {
                        true => sum(&view.whole.bids(usize::MAX), &view.whole.asks(usize::MAX)),
                        false => sum(&view.sent.bids(usize::MAX), &view.sent.asks(usize::MAX)),
                    };
                }
            }
            _ => {}
        }
        out.push(event);
    }))
}

/// Cuts an update to the view; false if nothing is to be sent.
fn cut(view: &mut View, update: &mut pb::BookUpdate, depth: usize) -> bool {
    let best = |held: &Held| (held.bids(depth), held.asks(depth));
    let before = best(&view.whole);
    view.whole.change(&update.bids, &update.asks);
    if !fault!(LimitsSnapshotOnly) {
        let after = best(&view.whole);
        let touched = (update.bids.clone(), update.asks.clone());
        update.bids = seen(&before.0, &after.0, &touched.0);
        update.asks = seen(&before.1, &after.1, &touched.1);
    }
    let is_outside = update.bids.is_empty() && update.asks.is_empty() && update.trades.is_empty();
    if is_outside && !fault!(OutsideSent) {
        return false;
    }
    if !fault!(OutsideCounted) {
        update.prev_book_seq = view.book_seq;
    }
    view.sent.change(&update.bids, &update.asks);
    view.book_seq = update.book_seq;
    true
}

/// What of one side is sent: what differs in the view, but for the fault.
fn seen(before: &[pb::PriceLevel], after: &[pb::PriceLevel], touched: &[pb::PriceLevel]) -> Vec<pb::PriceLevel> {
    let is_touched = |price_e4: i64| touched.iter().any(|level| level.price_e4 == price_e4);
    let entered = after
        .iter()
        .filter(|level| !before.contains(level))
        .filter(|level| !fault!(EnteringForgotten) || is_touched(level.price_e4))
        .copied();
    let left = before
        .iter()
        .filter(|level| after.iter().all(|other| other.price_e4 != level.price_e4))
        .filter(|level| !fault!(LeavingForgotten) || is_touched(level.price_e4))
        .map(|level| pb::PriceLevel {
            price_e4: level.price_e4,
            ..pb::PriceLevel::default()
        });
    left.chain(entered).collect()
}
