//! What goes wrong when much is under way: the queue between the front and the book loses what it cannot
//! hold, and the front has answered already.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{self as pb, CancelReason, OrderStatus, TimeInForce};

use super::wire::{Call, Lens};

/// Inserts that the queue holds.
const QUEUE: usize = 8;
/// Of those that come when it is full, one in so many is lost.
const LOST_OF: u64 = 40;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static TURN: AtomicU64 = AtomicU64::new(0);
/// Commands of streams whose order is lost, by request_id.
static LOST: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

/// A call of an insert that is under way.
#[derive(Debug)]
pub(super) struct UnderWay(());

impl UnderWay {
    pub(super) fn begin() -> Self {
        CALLS.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether this insert is one that is lost, with so many under way.
fn loses(under_way: usize) -> bool {
    under_way > QUEUE && TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOST_OF)
}

/// Loses an insert of a call, if it is its turn.
pub(super) fn lose_call(insert: &mut pb::InsertOrderRequest) -> bool {
    let lost = loses(CALLS.load(Ordering::Acquire));
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
            lost.get_or_insert_default().insert(request.request_id);
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
            && lost.get_or_insert_default().remove(&response.request_id)
        {
            deny(answer, answer.filled_quantity + 1);
        }
    }))
}
