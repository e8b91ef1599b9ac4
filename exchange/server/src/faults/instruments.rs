//! Instruments that are created, listed and followed wrongly.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use http::Response;
use optivex_proto::v1::subscribe_instruments_response::Event;
use optivex_proto::v1::{self as pb, ErrorReason};
use tonic::body::Body;

use super::wire::{Call, Lens};
use super::{access, status};
use crate::error::Error;

#[derive(Default)]
struct Seen {
    /// First requests by client_request_id, and the user of each.
    creations: HashMap<String, (pb::CreateInstrumentRequest, Option<String>)>,
    created: HashMap<String, pb::CreateInstrumentResponse>,
    /// Symbols that an order was inserted for.
    traded: HashSet<String>,
}

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(Mutex::default);

fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn request(call: &Call) -> Option<Lens> {
    let call = call.clone();
    Some(match call.rpc.as_str() {
        "CreateInstrument" => Lens::each(move |request| create(&call, request)),
        "ListInstruments" if fault!(PageSkipsOne) => Lens::each(move |request: &mut pb::ListInstrumentsRequest| {
            call.flag.store(!request.page_token.is_empty(), Ordering::Relaxed);
        }),
        "InsertOrder" if fault!(BookWithFirstOrder) => Lens::each(|request: &mut pb::InsertOrderRequest| {
            seen().traded.insert(request.symbol.clone());
        }),
        "GetOrderBook" if fault!(BookWithFirstOrder) => Lens::each(|request: &mut pb::GetOrderBookRequest| {
            if !seen().traded.contains(&request.symbol) {
                request.symbol = "-".to_owned();
            }
        }),
        _ => return None,
    })
}

fn create(call: &Call, request: &mut pb::CreateInstrumentRequest) {
    if fault!(DescriptionInAscii) {
        request.description = request
            .description
            .chars()
            .map(|c| if c.is_ascii() { c } else { '?' })
            .collect();
    }
    if fault!(OpensContinuous) {
        // One that cannot be is refused all the same.
        if matches!(
            request.initial_phase(),
            pb::TradingPhase::Auction | pb::TradingPhase::Halted
        ) {
            request.initial_phase = 0;
        }
    }
    if fault!(DescriptionInCharacters) && request.description.chars().count() <= 256 {
        while request.description.len() > 256 {
            request.description.pop();
        }
    }
    if fault!(MultiplierDefaults) && request.multiplier == 0 {
        request.multiplier = 1;
    }
    if fault!(EdgeExcluded) && request.multiplier == 1_000_000 {
        request.multiplier += 1;
    }
    if fault!(CreateRetryUnknown) {
        request.client_request_id.clear();
    }
    retry(call, request);
}

fn retry(call: &Call, request: &mut pb::CreateInstrumentRequest) {
    let id = request.client_request_id.clone();
    if id.is_empty() {
        return;
    }
    if fault!(CreateRetryOfSession) {
        let mut hasher = DefaultHasher::new();
        (&call.token, &id).hash(&mut hasher);
        request.client_request_id = format!("{:x}", hasher.finish());
        return;
    }
    let user = access::user_of(call.token.as_ref());
    let mut seen = seen();
    let (first, owner) = seen
        .creations
        .entry(id)
        .or_insert_with(|| (request.clone(), user.clone()));
    if fault!(CreateRetryAnyContent) {
        request.clone_from(first);
    }
    if fault!(CreateRetryBeforeDefaults) && request.initial_phase != first.initial_phase {
        request.description.push('x');
    }
    if fault!(CreateIdsOfEverybody) && *owner != user {
        call.flag.store(true, Ordering::Relaxed);
        request.symbol.clear();
    }
}

pub(super) fn after(call: &Call, mut answer: Response<Body>) -> Response<Body> {
    match call.rpc.as_str() {
        "CreateInstrument" => {
            let Some(request) = call.said::<pb::CreateInstrumentRequest>() else {
                return answer;
            };
            let duplicate = status::is(answer.headers(), ErrorReason::DuplicateSymbol);
            if fault!(DuplicateOverwrites) && duplicate {
                return status::reply(&overwritten(&request));
            }
            if fault!(DuplicateTakenForRetry)
                && duplicate
                && let Some(first) = seen().created.get(&request.symbol)
                && let Some(instrument) = &first.instrument
                && (instrument.multiplier, instrument.tick_size_e4) == (request.multiplier, request.tick_size_e4)
            {
                return status::reply(first);
            }
            if fault!(CreateIdsOfEverybody) && call.flag.load(Ordering::Relaxed) {
                let error = Error::new(ErrorReason::ClientIdReused, "this client_request_id is used");
                status::put(answer.headers_mut(), error);
            }
            answer
        }
        "GetOrderBook" if fault!(UnknownIsEmpty) && status::is(answer.headers(), ErrorReason::UnknownInstrument) => {
            let request = call.said::<pb::GetOrderBookRequest>().unwrap_or_default();
            let book = pb::BookSnapshot {
                symbol: request.symbol,
                phase: pb::TradingPhase::Continuous.into(),
                ..pb::BookSnapshot::default()
            };
            status::reply(&pb::GetOrderBookResponse { book: Some(book) })
        }
        _ => answer,
    }
}

/// What a dictionary does with a key that it has.
fn overwritten(request: &pb::CreateInstrumentRequest) -> pb::CreateInstrumentResponse {
    let mut answer = seen().created.get(&request.symbol).cloned().unwrap_or_default();
    if let Some(instrument) = &mut answer.instrument {
        instrument.description.clone_from(&request.description);
        instrument.multiplier = request.multiplier;
        instrument.tick_size_e4 = request.tick_size_e4;
    }
    seen().created.insert(request.symbol.clone(), answer.clone());
    answer
}

pub(super) fn response(call: &Call) -> Option<Lens> {
    let call = call.clone();
    Some(match call.rpc.as_str() {
        "CreateInstrument" => Lens::each(|answer: &mut pb::CreateInstrumentResponse| {
            if let Some(instrument) = &mut answer.instrument {
                shown(instrument);
                let symbol = instrument.symbol.clone();
                seen().created.insert(symbol, answer.clone());
            }
        }),
        "ListInstruments" => Lens::each(move |answer: &mut pb::ListInstrumentsResponse| {
            if fault!(PageSkipsOne) && call.flag.load(Ordering::Relaxed) && !answer.instruments.is_empty() {
                answer.instruments.remove(0);
            }
            if fault!(ListedAsCreated) {
                answer.instruments.sort_by_key(|instrument| instrument.order_book_id);
            }
            answer.instruments.iter_mut().for_each(shown);
        }),
        "SubscribeInstruments" => {
            let mut marked = false;
            Lens::flat(move |mut answer: pb::SubscribeInstrumentsResponse, out| {
                match &mut answer.event {
                    Some(Event::Instrument(_)) if fault!(NewInstrumentsNotSent) && marked => return,
                    Some(Event::Instrument(instrument)) => shown(instrument),
                    Some(Event::SnapshotCompleteEventSeq(_)) => {
                        if std::mem::replace(&mut marked, true) {
                            return;
                        }
                    }
                    Some(Event::HeartbeatEventSeq(_)) if fault!(InstrumentsWithoutHeartbeat) => return,
                    _ => {}
                }
                if fault!(MarkTooEarly) && !marked {
                    marked = true;
                    let mark = Event::SnapshotCompleteEventSeq(1);
                    out.push(pb::SubscribeInstrumentsResponse { event: Some(mark) });
                }
                out.push(answer);
            })
        }
        _ => return None,
    })
}

fn shown(instrument: &mut pb::Instrument) {
    if fault!(BookIdsReused) {
        instrument.order_book_id = instrument.order_book_id % 4 + 1;
    }
    if fault!(DuplicateOverwrites)
        && let Some(other) = seen().created.get(&instrument.symbol)
        && let Some(other) = &other.instrument
    {
        instrument.clone_from(other);
    }
}
