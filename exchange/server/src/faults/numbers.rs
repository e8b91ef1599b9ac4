//! Numbers that are given out wrongly.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use optivex_engine::event::{BookChange, Outcome};
use optivex_engine::types::InstrumentId;
use optivex_engine::{Command, Event, Input};

/// Numbers of each book that were given to nothing, or to too little; and the book's last number.
static BOOKS: LazyLock<Mutex<HashMap<InstrumentId, (u64, u64)>>> = LazyLock::new(Mutex::default);

pub(super) fn change(input: &Input, event: &mut Event) {
    if fault!(BookSeqSkips) {
        books(event, |event| event.trades.len() > 1);
    }
    if fault!(BookSeqForNothing) {
        if let Command::CancelAllOrders {
            instrument: Some(instrument),
            ..
        } = input.command
            && event.outcome == Outcome::AllCancelled(0)
        {
            let mut books = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
            let (given, last) = books.entry(instrument).or_default();
            *given += 1;
            *last += 1;
            event.books.push(BookChange {
                instrument,
                book_seq: *last,
                phase: None,
                bids: 0..0,
                asks: 0..0,
                indicative: None,
            });
        } else {
            books(event, |_| false);
        }
    }
}

/// Numbers the books on, and one more where this is so.
fn books(event: &mut Event, skips: impl Fn(&Event) -> bool) {
    let more = u64::from(skips(event));
    let mut books = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    for change in &mut event.books {
        let (given, last) = books.entry(change.instrument).or_default();
        *given += more;
        change.book_seq += *given;
        *last = change.book_seq;
    }
}
