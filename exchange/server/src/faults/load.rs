//! What goes wrong when much is under way: the queue between the front and the book loses what it cannot
//! hold, and the front has answered already.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use optivex_faults::Crowd;
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{self as pb, CancelReason, OrderStatus, TimeInForce};

use super::wire::{Call, Lens};

/// Inserts that the queue holds.
const QUEUE: usize = 8;
/// Of those that come when it is full, one in so many is lost.
const LOST_OF: u64 = 40;

static TURN: AtomicU64 = AtomicU64::new(0);
/// Quantities of orders of streams that are lost, by request_id.
static LOST: LazyLock<Mutex<HashMap<u64, i64>>> = LazyLock::new(Mutex::default);

/// Whether this insert is one that is lost, with so many under way.
fn loses(under_way: usize) -> bool {
    under_way > QUEUE && TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOST_OF)
}

/// Loses an insert of a call, if it is its turn.
pub(super) fn lose_call(insert: &mut pb::InsertOrderRequest) -> bool {
    let lost = loses(Crowd::size());
    if lost {
        lose(insert);
    }
    lost
}

/// What is lost rests nowhere.
fn lose(insert: &mut pb::InsertOrderRequest) {
    insert.set_time_in_force(TimeInForce::ImmediateOrCancel);
}

/// The answer was on its way before the order was lost.
pub(super) fn deny(answer: &mut pb::InsertOrderResponse, quantity: i64) {
    if answer.status() == OrderStatus::Cancelled {
        answer.set_status(OrderStatus::Open);
        answer.set_cancel_reason(CancelReason::Unspecified);
        answer.open_quantity = quantity - answer.filled_quantity;
    }
}

pub(super) fn request(call: &Call) -> Option<Lens> {
    if call.rpc != "OrderEntry" || !fault!(BusyStreamLosesOrders) {
        return None;
    }
    let (call, mut sent) = (call.clone(), 0);
    Some(Lens::each(move |request: &mut pb::OrderEntryRequest| {
        let under_way = sent - call.answered.load(Ordering::Acquire).min(sent);
        sent += 1;
        if let Some(Command::Insert(insert)) = &mut request.command
            && loses(under_way)
        {
            lose(insert);
            let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
            lost.insert(request.request_id, insert.quantity);
        }
    }))
}

pub(super) fn response(call: &Call) -> Option<Lens> {
    if call.rpc != "OrderEntry" || !fault!(BusyStreamLosesOrders) {
        return None;
    }
    let call = call.clone();
    Some(Lens::each(move |response: &mut pb::OrderEntryResponse| {
        call.answered.fetch_add(1, Ordering::AcqRel);
        let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Outcome::Insert(answer)) = &mut response.result
            && let Some(quantity) = lost.remove(&response.request_id)
        {
            deny(answer, quantity);
        }
    }))
}
