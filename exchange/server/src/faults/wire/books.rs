//! Wrong books: what the faults of both views have in common.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use optivex_engine::event::Outcome;
use optivex_engine::types::{InstrumentId, Level, Side};
use optivex_proto::v1 as pb;
use optivex_proto::v1::subscribe_order_books_response::Event;

use super::{Call, Lens, depth, limited, tops};
use crate::feed::checksum;

/// Faults of requests.
pub(super) fn request(call: &Call) -> Option<Lens> {
    match call.rpc.as_str() {
        "SubscribeOrderBooks" => limited::request()
            .or_else(depth::subscription)
            .or_else(tops::subscription),
        "GetOrderBook" => depth::question(),
        _ => None,
    }
}

/// Faults of answers.
pub(super) fn response(call: &Call) -> Option<Lens> {
    match call.rpc.as_str() {
        "SubscribeOrderBooks" => {
            let asked: pb::SubscribeOrderBooksRequest = call.asked();
            let of_view = match asked.view() {
                pb::BookView::TopOfBook => tops::stream(&asked),
                _ => limited::stream(&asked).or_else(|| depth::stream(&asked)),
            };
            of_view.or_else(|| either(&asked))
        }
        "GetOrderBook" => depth::book(call),
        _ => None,
    }
}

/// A change of the events of a subscription.
pub(super) fn events(mut change: impl FnMut(Event, &mut Vec<Event>) + Send + 'static) -> Lens {
    Lens::flat(
        move |message: pb::SubscribeOrderBooksResponse, out: &mut Vec<pb::SubscribeOrderBooksResponse>| {
            let mut events = Vec::new();
            if let Some(event) = message.event {
                change(event, &mut events);
            }
            out.extend(
                events
                    .into_iter()
                    .map(|event| pb::SubscribeOrderBooksResponse { event: Some(event) }),
            );
        },
    )
}

/// Faults of both views.
fn either(asked: &pb::SubscribeOrderBooksRequest) -> Option<Lens> {
    if fault!(RefusedSymbolsLast) {
        return Some(events(|mut event, out| {
            if let Event::Subscribed(subscribed) = &mut event {
                subscribed
                    .statuses
                    .sort_by_key(|status| status.reason() != pb::ErrorReason::Unspecified);
            }
            out.push(event);
        }));
    }
    if fault!(AllMeansAllSoFar) && asked.symbols.is_empty() {
        let known = listed();
        return Some(events(move |event, out| {
            if symbol(&event).is_none_or(|symbol| known.contains(symbol)) {
                out.push(event);
            }
        }));
    }
    if fault!(OneSequenceForAll) {
        return Some(one_sequence());
    }
    if fault!(OneHeartbeat) {
        let mut beaten = false;
        return Some(events(move |event, out| {
            let beat = matches!(event, Event::Heartbeat(_));
            if !(beat && beaten) {
                out.push(event);
            }
            beaten |= beat;
        }));
    }
    if fault!(HeartbeatFirst) {
        let mut waiting = Vec::new();
        return Some(events(move |event, out| match event {
            Event::TopOfBook(_) | Event::Update(_) => waiting.push(event),
            Event::Heartbeat(_) => {
                out.push(event);
                out.append(&mut waiting);
            }
            _ => out.push(event),
        }));
    }
    None
}

/// Numbers all books of a stream together.
fn one_sequence() -> Lens {
    let (mut last, mut held) = (HashMap::<String, u64>::new(), HashMap::<String, u64>::new());
    events(move |mut event, out| {
        let mut number = |symbol: &str, book_seq: &mut u64| -> u64 {
            let before: u64 = last.values().sum();
            last.insert(symbol.to_owned(), *book_seq);
            *book_seq = last.values().sum();
            held.insert(symbol.to_owned(), *book_seq);
            before
        };
        match &mut event {
            Event::Snapshot(snapshot) => {
                number(&snapshot.symbol, &mut snapshot.book_seq);
            }
            Event::TopOfBook(top) => {
                number(&top.symbol, &mut top.book_seq);
            }
            Event::Update(update) => update.prev_book_seq = number(&update.symbol, &mut update.book_seq),
            Event::Heartbeat(heartbeat) => {
                for state in &mut heartbeat.books {
                    state.book_seq = held.get(&state.symbol).copied().unwrap_or(state.book_seq);
                }
            }
            _ => {}
        }
        out.push(event);
    })
}

/// The book that an event is of.
pub(super) fn symbol(event: &Event) -> Option<&str> {
    match event {
        Event::Snapshot(snapshot) => Some(&snapshot.symbol),
        Event::Update(update) => Some(&update.symbol),
        Event::TopOfBook(top) => Some(&top.symbol),
        Event::Gap(gap) => Some(&gap.symbol),
        Event::Subscribed(_) | Event::Heartbeat(_) => None,
    }
}

/// Symbols of the instruments of this process so far, by id.
static LISTED: LazyLock<Mutex<HashMap<InstrumentId, String>>> = LazyLock::new(Mutex::default);

/// Symbols of the instruments of this process so far.
pub(super) fn listed() -> HashSet<String> {
    let listed = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    listed.values().cloned().collect()
}

/// Symbol of an instrument of this process.
pub(super) fn symbol_of(instrument: InstrumentId) -> Option<String> {
    let listed = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    listed.get(&instrument).cloned()
}

/// Learns of instruments before anybody is told.
pub(super) fn learn(outcome: &Outcome) {
    if let Outcome::InstrumentCreated(instrument) = outcome {
        let mut listed = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
        listed.insert(instrument.id, instrument.symbol.to_string());
    }
}

/// What a subscriber of one book holds.
#[derive(Clone, Default)]
pub(super) struct Held {
    bids: BTreeMap<i64, pb::PriceLevel>,
    asks: BTreeMap<i64, pb::PriceLevel>,
}

impl Held {
    /// Takes a whole book.
    pub(super) fn begin(&mut self, snapshot: &pb::BookSnapshot) {
        *self = Self::default();
        self.change(&snapshot.bids, &snapshot.asks);
    }

    /// Takes new totals.
    pub(super) fn change(&mut self, bids: &[pb::PriceLevel], asks: &[pb::PriceLevel]) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for level in levels {
                match level.quantity {
                    0 => side.remove(&level.price_e4),
                    _ => side.insert(level.price_e4, *level),
                };
            }
        }
    }

    /// The level at a price.
    pub(super) fn at(&self, side: Side, price_e4: i64) -> pb::PriceLevel {
        let levels = match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        };
        let none = pb::PriceLevel {
            price_e4,
            ..pb::PriceLevel::default()
        };
        levels.get(&price_e4).copied().unwrap_or(none)
    }

    /// Bids, best first, at most so many.
    pub(super) fn bids(&self, depth: usize) -> Vec<pb::PriceLevel> {
        self.bids.values().rev().take(depth).copied().collect()
    }

    /// Asks, best first, at most so many.
    pub(super) fn asks(&self, depth: usize) -> Vec<pb::PriceLevel> {
        self.asks.values().take(depth).copied().collect()
    }
}

/// The contract's checksum.
pub(super) fn sum(bids: &[pb::PriceLevel], asks: &[pb::PriceLevel]) -> u32 {
    checksum(bids.iter().chain(asks).map(|level| Level {
        price_e4: level.price_e4,
        quantity: level.quantity,
        order_count: level.order_count.unsigned_abs(),
    }))
}
