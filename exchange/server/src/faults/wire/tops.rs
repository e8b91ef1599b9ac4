//! Wrong best bids and asks.

use std::collections::HashMap;

use optivex_proto::v1 as pb;
use optivex_proto::v1::subscribe_order_books_response::Event;

use super::Lens;
use super::books::events;

/// Faults of requests.
pub(super) fn subscription() -> Option<Lens> {
    fault!(ViewHasADefault).then(|| {
        Lens::each(|request: &mut pb::SubscribeOrderBooksRequest| {
            if request.view() == pb::BookView::Unspecified {
                request.set_view(pb::BookView::TopOfBook);
            }
        })
    })
}

/// Faults of a subscription of this view.
pub(super) fn stream(asked: &pb::SubscribeOrderBooksRequest) -> Option<Lens> {
    if fault!(TopBeginsEmpty) {
        return Some(each(|top, before| {
            if before.is_none() {
                (top.bid, top.ask) = (None, None);
            }
            true
        }));
    }
    if fault!(EmptySideAtZero) {
        return Some(each(|top, _| {
            top.bid.get_or_insert_default();
            top.ask.get_or_insert_default();
            true
        }));
    }
    if fault!(PriceZeroIsNoPrice) {
        return Some(each(|top, _| {
            top.bid = top.bid.filter(|bid| bid.price_e4 != 0);
            top.ask = top.ask.filter(|ask| ask.price_e4 != 0);
            true
        }));
    }
    if fault!(TopAtNewPricesOnly) {
        return Some(each(|top, before| {
            before.is_none_or(|before| prices(top) != prices(before))
        }));
    }
    if fault!(StaleTop) {
        return Some(each(|top, before| {
            if let Some(before) = before {
                let best = |level: &Option<pb::PriceLevel>, none: i64| level.map_or(none, |level| level.price_e4);
                if best(&top.bid, i64::MIN) < best(&before.bid, i64::MIN) {
                    top.bid = before.bid;
                }
                if best(&top.ask, i64::MAX) > best(&before.ask, i64::MAX) {
                    top.ask = before.ask;
                }
            }
            true
        }));
    }
    if fault!(OneSideOfTop) {
        return Some(each(|top, before| {
            if let Some(before) = before
                && top.bid != before.bid
                && top.ask != before.ask
            {
                top.ask = before.ask;
            }
            true
        }));
    }
    if fault!(ConflatedKeepsFirst) && asked.delivery() == pb::Delivery::Conflated {
        return Some(keep_first());
    }
    None
}

/// While changes come, the first is kept; after a second of silence there is a new first.
fn keep_first() -> Lens {
    let (mut told, mut dropped) = (false, false);
    events(move |event, out| match event {
        Event::TopOfBook(_) if told => dropped = true,
        Event::TopOfBook(_) => {
            told = true;
            out.push(event);
        }
        Event::Heartbeat(_) => {
            told &= dropped;
            dropped = false;
            out.push(event);
        }
        _ => out.push(event),
    })
}

fn prices(top: &pb::TopOfBook) -> (Option<i64>, Option<i64>) {
    let price = |level: pb::PriceLevel| level.price_e4;
    (top.bid.map(price), top.ask.map(price))
}

/// Changes each message, knowing the one before of its book as it was told; false drops it.
fn each(mut change: impl FnMut(&mut pb::TopOfBook, Option<&pb::TopOfBook>) -> bool + Send + 'static) -> Lens {
    let mut told: HashMap<String, pb::TopOfBook> = HashMap::new();
    events(move |mut event, out| {
        if let Event::TopOfBook(top) = &mut event {
            if !change(top, told.get(&top.symbol)) {
                return;
            }
            told.insert(top.symbol.clone(), top.clone());
        }
        out.push(event);
    })
}
