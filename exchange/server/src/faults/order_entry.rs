//! Streams of orders that go wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, Request, Response};
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{self as pb, ErrorReason, Role};
use tonic::body::Body;

use super::wire::{Call, Lens};
use super::{access, status};
use crate::error::Error;

/// Commands of a stream that its queue holds before it grows.
const QUEUE: u64 = 1_024;

static STREAMS: AtomicU64 = AtomicU64::new(1);
/// Answers of all streams by request_id, and whose they were.
static ANSWERS: LazyLock<Mutex<HashMap<u64, (u64, pb::OrderEntryResponse)>>> = LazyLock::new(Mutex::default);

pub(super) fn before(call: &Call, request: &mut Request<Body>) -> Option<Response<Body>> {
    if fault!(StreamRoleOfCommands) && call.rpc == "OrderEntry" && access::has(call, Role::Trader) == Some(false) {
        let answers = Lens::other(|request: pb::OrderEntryRequest, out| {
            let error = Error::new(ErrorReason::MissingRole, "wants ROLE_TRADER").with("role", "ROLE_TRADER");
            out.push(pb::OrderEntryResponse {
                request_id: request.request_id,
                result: Some(Outcome::Error(error.into())),
            });
        });
        return Some(status::of_grpc(answers.through(std::mem::take(request.body_mut()))));
    }
    None
}

pub(super) fn request(call: &Call) -> Option<Lens> {
    if call.rpc != "OrderEntry" {
        return None;
    }
    let call = call.clone();
    let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
    let mut number = 0;
    Some(Lens::flat(move |mut request: pb::OrderEntryRequest, out| {
        number += 1;
        if fault!(StreamQueueDrops) && number == QUEUE + 1 {
            return;
        }
        change(stream, &mut request);
        let inserts = match &request.command {
            Some(Command::Insert(order)) => order.client_order_id.clone(),
            _ => String::new(),
        };
        call.in_flight().push_back(inserts);
        out.push(request);
    }))
}

fn change(stream: u64, request: &mut pb::OrderEntryRequest) {
    if fault!(StreamKnowsNoAmend) && matches!(request.command, Some(Command::Amend(_))) {
        request.command = None;
    }
    if fault!(StreamForgetsSide)
        && let Some(Command::CancelAll(cancel)) = &mut request.command
    {
        cancel.side = 0;
    }
    let Some(id) = client_id(request) else {
        return;
    };
    if fault!(StreamClientIdsApart) {
        *id = format!("{stream}:{id}");
    }
}

/// The client id that a command names, if it does.
fn client_id(request: &mut pb::OrderEntryRequest) -> Option<&mut String> {
    use pb::{amend_order_request, cancel_order_request};
    let id = match request.command.as_mut()? {
        Command::Insert(order) => Some(&mut order.client_order_id),
        Command::Amend(amend) => match amend.order.as_mut()? {
            amend_order_request::Order::ClientOrderId(id) => Some(id),
            amend_order_request::Order::OrderId(_) => None,
        },
        Command::Cancel(cancel) => match cancel.order.as_mut()? {
            cancel_order_request::Order::ClientOrderId(id) => Some(id),
            cancel_order_request::Order::OrderId(_) => None,
        },
        Command::CancelAll(_) => None,
    };
    id.filter(|id| !id.is_empty())
}

pub(super) fn response(call: &Call) -> Option<Lens> {
    if call.rpc != "OrderEntry" {
        return None;
    }
    if fault!(HalfCloseIsError) {
        return Some(Lens::end(|trailers: &mut HeaderMap| {
            trailers.insert("grpc-status", HeaderValue::from_static("1"));
        }));
    }
    if fault!(StreamEndCancels) {
        let mut guard = Guard {
            call: call.clone(),
            is_armed: true,
        };
        return Some(Lens::end(move |_| guard.disarm()));
    }
    let call = call.clone();
    let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
    let mut waiting = None;
    let mut inserted = HashMap::new();
    Some(Lens::flat(move |mut answer: pb::OrderEntryResponse, out| {
        let more_to_come = {
            let mut in_flight = call.in_flight();
            in_flight.pop_front();
            !in_flight.is_empty()
        };
        if fault!(HalfCloseDrops) && call.is_over() {
            return;
        }
        if fault!(AnswersOfAllStreams) {
            let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
            let (of, first) = answers
                .entry(answer.request_id)
                .or_insert_with(|| (stream, answer.clone()));
            match *of == stream {
                true => first.clone_from(&answer),
                false => answer.clone_from(first),
            }
        }
        match &mut answer.result {
            Some(Outcome::Insert(insert)) if fault!(StreamCancelsACopy) => {
                inserted.insert(insert.order_id, insert.open_quantity);
            }
            Some(Outcome::Cancel(cancel)) => {
                cancel.cancelled_quantity = *inserted.get(&cancel.order_id).unwrap_or(&cancel.cancelled_quantity);
            }
            _ => {}
        }
        if let Some(Outcome::Error(error)) = &mut answer.result {
            if fault!(StreamCodeIsReason) {
                error.code = error.reason;
            }
            if fault!(StreamForgetsRetry) {
                error.retry_after_ns = 0;
            }
        }
        if fault!(RefusalsOvertake) {
            let is_refusal = matches!(answer.result, Some(Outcome::Error(_)));
            let before: Option<pb::OrderEntryResponse> = waiting.take();
            match before {
                Some(before) if is_refusal => out.extend([answer, before]),
                before => {
                    out.extend(before);
                    match more_to_come {
                        true => waiting = Some(answer),
                        false => out.push(answer),
                    }
                }
            }
            return;
        }
        out.push(answer);
    }))
}

/// Cancels the orders of a stream's user, unless the stream came to its end.
struct Guard {
    call: Call,
    is_armed: bool,
}

impl Guard {
    fn disarm(&mut self) {
        self.is_armed = false;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let (true, Some(token), Ok(runtime)) = (
            self.is_armed,
            self.call.token.clone(),
            tokio::runtime::Handle::try_current(),
        ) {
            let routes = self.call.routes.clone();
            runtime.spawn(async move { access::call_as(&routes, access::CANCEL_ALL, &token).await });
        }
    }
}
