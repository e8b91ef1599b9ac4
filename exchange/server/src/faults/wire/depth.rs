//! Wrong levels: snapshots, updates, merging and resuming.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use optivex_engine::Event as Done;
use optivex_engine::types::Side;
use optivex_proto::v1 as pb;
use optivex_proto::v1::subscribe_order_books_response::Event;

use super::books::{Held, events, listed, sum, symbol, symbol_of};
use super::{Call, Lens};

/// Faults of requests for a subscription.
pub(super) fn subscription() -> Option<Lens> {
    let moved: fn(u64) -> u64 = if fault!(ResumeSkipsOne) {
        |book_seq| book_seq + 1
    } else if fault!(ResumeRepeatsOne) {
        |book_seq| book_seq.saturating_sub(1)
    } else {
        return None;
    };
    Some(Lens::each(move |request: &mut pb::SubscribeOrderBooksRequest| {
        for cursor in &mut request.resume_after {
            // What lies in the future stays there.
            if cursor.book_seq < 1_000 {
                cursor.book_seq = moved(cursor.book_seq);
            }
        }
    }))
}

/// Faults of requests for a book.
pub(super) fn question() -> Option<Lens> {
    (fault!(ChecksumOverWholeBook) || fault!(DepthCutsTheBest))
        .then(|| Lens::each(|request: &mut pb::GetOrderBookRequest| request.depth = 0))
}

/// Faults of a book that was asked for.
pub(super) fn book(call: &Call) -> Option<Lens> {
    let depth = match call.asked::<pb::GetOrderBookRequest>().depth {
        0 => usize::MAX,
        depth => depth.unsigned_abs() as usize,
    };
    if fault!(LazyBook) {
        return Some(Lens::each(|answer: &mut pb::GetOrderBookResponse| {
            answer.book = answer.book.take().filter(|book| book.book_seq > 0);
        }));
    }
    if fault!(ChecksumOverWholeBook) {
        return Some(of_book(move |book| {
            book.bids.truncate(depth);
            book.asks.truncate(depth);
        }));
    }
    if fault!(DepthCutsTheBest) {
        return Some(of_book(move |book| {
            let excess = |levels: &[pb::PriceLevel]| levels.len().saturating_sub(depth);
            book.bids.drain(..excess(&book.bids));
            book.asks.drain(..excess(&book.asks));
            book.checksum = sum(&book.bids, &book.asks);
        }));
    }
    if fault!(SnapshotOneEventOld) {
        return Some(of_book(|book| {
            static LAST: LazyLock<Mutex<HashMap<String, pb::BookSnapshot>>> = LazyLock::new(Mutex::default);
            let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(before) = last.insert(book.symbol.clone(), book.clone()) {
                let event_seq = book.event_seq;
                *book = before;
                book.event_seq = event_seq;
            }
        }));
    }
    snapshots().map(of_book)
}

fn of_book(mut change: impl FnMut(&mut pb::BookSnapshot) + Send + 'static) -> Lens {
    Lens::each(move |answer: &mut pb::GetOrderBookResponse| {
        if let Some(book) = &mut answer.book {
            change(book);
        }
    })
}

/// Faults of whole books, however they are told.
fn snapshots() -> Option<fn(&mut pb::BookSnapshot)> {
    if fault!(LevelsLeftAtZero) {
        return Some(|book| {
            let emptied = EMPTIED.lock().unwrap_or_else(PoisonError::into_inner);
            for (side, price_e4) in emptied.get(&book.symbol).into_iter().flatten() {
                let level = pb::PriceLevel {
                    price_e4: *price_e4,
                    ..pb::PriceLevel::default()
                };
                match side {
                    Side::Buy => book.bids.push(level),
                    Side::Sell => book.asks.push(level),
                }
            }
            book.bids.sort_by_key(|bid| -bid.price_e4);
            book.asks.sort_by_key(|ask| ask.price_e4);
            book.checksum = sum(&book.bids, &book.asks);
        });
    }
    if fault!(ChecksumOfUnsigned) {
        return Some(|book| {
            let mut text = String::new();
            for level in book.bids.iter().chain(&book.asks) {
                let price = level.price_e4.cast_unsigned();
                let _ = write!(text, "{price}:{}:{};", level.quantity, level.order_count);
            }
            book.checksum = crc32fast::hash(text.as_bytes());
        });
    }
    if fault!(SnapshotBookSeqAhead) {
        return Some(|book| book.book_seq += u64::from(book.book_seq > 0));
    }
    None
}

/// Prices where a level was and is no more.
type Emptied = HashSet<(Side, i64)>;

static EMPTIED: LazyLock<Mutex<HashMap<String, Emptied>>> = LazyLock::new(Mutex::default);

/// Learns which levels empty, before anybody is told.
pub(super) fn learn(event: &Done) {
    for change in &event.books {
        let Some(symbol) = symbol_of(change.instrument) else {
            continue;
        };
        let mut emptied = EMPTIED.lock().unwrap_or_else(PoisonError::into_inner);
        let emptied = emptied.entry(symbol).or_default();
        for side in [Side::Buy, Side::Sell] {
            for level in event.changed_levels(change, side) {
                match level.quantity {
                    0 => emptied.insert((side, level.price_e4)),
                    _ => emptied.remove(&(side, level.price_e4)),
                };
            }
        }
    }
}

/// Faults of a subscription of this view.
pub(super) fn stream(asked: &pb::SubscribeOrderBooksRequest) -> Option<Lens> {
    if let Some(change) = snapshots() {
        return Some(events(move |mut event, out| {
            if let Event::Snapshot(snapshot) = &mut event {
                change(snapshot);
            }
            out.push(event);
        }));
    }
    if fault!(UpdatesTellDifferences) {
        return Some(differences());
    }
    if fault!(FirstTradeOnly) {
        return Some(updates(|update| update.trades.truncate(1)));
    }
    if fault!(TradedLevelsStay) {
        return Some(updates(|update| {
            if !update.trades.is_empty() {
                update.bids.retain(|bid| bid.quantity > 0);
                update.asks.retain(|ask| ask.quantity > 0);
            }
        }));
    }
    if fault!(LostAfterSnapshot) {
        let mut loses = false;
        return Some(events(move |event, out| match &event {
            Event::Update(_) if loses => loses = false,
            Event::Snapshot(snapshot) => {
                loses = snapshot.book_seq > 0;
                out.push(event);
            }
            _ => out.push(event),
        }));
    }
    if fault!(NewBookWithoutSnapshot) && asked.symbols.is_empty() {
        let known = listed();
        return Some(events(move |event, out| {
            let is_new = symbol(&event).is_some_and(|symbol| !known.contains(symbol));
            if !(is_new && matches!(event, Event::Snapshot(_))) {
                out.push(event);
            }
        }));
    }
    if fault!(HeartbeatsWhenSilent) {
        let mut is_silent = false;
        return Some(events(move |event, out| {
            let is_beat = matches!(event, Event::Heartbeat(_));
            if is_silent || !is_beat {
                out.push(event);
            }
            is_silent = is_beat;
        }));
    }
    if fault!(ResumesFromTheFuture) {
        return Some(resumes());
    }
    if asked.delivery() == pb::Delivery::Conflated {
        return conflated();
    }
    None
}

fn updates(mut change: impl FnMut(&mut pb::BookUpdate) + Send + 'static) -> Lens {
    events(move |mut event, out| {
        if let Event::Update(update) = &mut event {
            change(update);
        }
        out.push(event);
    })
}

/// Tells by how much a level changed, where it should tell what it is now.
fn differences() -> Lens {
    let mut books: HashMap<String, Held> = HashMap::new();
    events(move |mut event, out| {
        match &mut event {
            Event::Snapshot(snapshot) => books.entry(snapshot.symbol.clone()).or_default().begin(snapshot),
            Event::Update(update) => {
                let held = books.entry(update.symbol.clone()).or_default();
                let before = held.clone();
                held.change(&update.bids, &update.asks);
                for (side, levels) in [(Side::Buy, &mut update.bids), (Side::Sell, &mut update.asks)] {
                    for level in levels.iter_mut().filter(|level| level.quantity > 0) {
                        let was = before.at(side, level.price_e4);
                        level.quantity -= was.quantity;
                        level.order_count -= was.order_count;
                    }
                }
            }
            _ => {}
        }
        out.push(event);
    })
}

/// Takes a point in the future for one that was reached, and sends nothing until it is.
fn resumes() -> Lens {
    let mut silent = HashSet::new();
    events(move |mut event, out| {
        if let Event::Subscribed(subscribed) = &mut event {
            for status in &mut subscribed.statuses {
                if status.reason() == pb::ErrorReason::CannotResume {
                    status.set_reason(pb::ErrorReason::Unspecified);
                    silent.insert(status.symbol.clone());
                }
            }
        }
        if symbol(&event).is_none_or(|symbol| !silent.contains(symbol)) {
            out.push(event);
        }
    })
}

/// Merges what changes between two heartbeats, wrongly.
fn conflated() -> Option<Lens> {
    let merge: fn(&mut pb::BookUpdate, pb::BookUpdate) = if fault!(ConflatedLosesTrades) {
        |merged, next| {
            newest(&mut merged.bids, next.bids);
            newest(&mut merged.asks, next.asks);
            merged.trades = next.trades;
        }
    } else if fault!(ConflatedKeepsFirstTotals) {
        |merged, next| {
            oldest(&mut merged.bids, next.bids);
            oldest(&mut merged.asks, next.asks);
            merged.trades.extend(next.trades);
        }
    } else if fault!(ConflatedForgetsTheVoid) {
        |merged, next| {
            newest(&mut merged.bids, next.bids);
            newest(&mut merged.asks, next.asks);
            merged.trades.extend(next.trades);
        }
    } else {
        return None;
    };
    let (mut waiting, mut held): (Option<pb::BookUpdate>, Held) = (None, Held::default());
    Some(events(move |event, out| match event {
        Event::Update(update) => match &mut waiting {
            Some(merged) => {
                (merged.book_seq, merged.event_seq) = (update.book_seq, update.event_seq);
                merge(merged, update);
            }
            None => waiting = Some(update),
        },
        Event::Snapshot(snapshot) => {
            held.begin(&snapshot);
            out.push(Event::Snapshot(snapshot));
        }
        Event::Heartbeat(mut heartbeat) => {
            if let Some(merged) = waiting.take() {
                let before = held.clone();
                held.change(&merged.bids, &merged.asks);
                let nothing = held.bids(usize::MAX) == before.bids(usize::MAX)
                    && held.asks(usize::MAX) == before.asks(usize::MAX);
                if fault!(ConflatedForgetsTheVoid) && nothing {
                    heartbeat.books.clear();
                    waiting = Some(merged);
                } else {
                    out.push(Event::Update(merged));
                }
            }
            if fault!(ConflatedKeepsFirstTotals) {
                // It believes in what it merged.
                for state in &mut heartbeat.books {
                    state.checksum = sum(&held.bids(usize::MAX), &held.asks(usize::MAX));
                }
            }
            out.push(Event::Heartbeat(heartbeat));
        }
        _ => out.push(event),
    }))
}

fn newest(levels: &mut Vec<pb::PriceLevel>, next: Vec<pb::PriceLevel>) {
    levels.retain(|level| next.iter().all(|newer| newer.price_e4 != level.price_e4));
    levels.extend(next);
}

fn oldest(levels: &mut Vec<pb::PriceLevel>, next: Vec<pb::PriceLevel>) {
    for level in next {
        if levels.iter().all(|older| older.price_e4 != level.price_e4) {
            levels.push(level);
        }
    }
}
