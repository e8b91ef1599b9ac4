//! Faults that show only when things happen at the same time: a check and an act that are two steps, an
//! answer from a copy that is a moment old.
//!
//! The exchange decides everything in one thread, so the moments between are made here, around the call.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use optivex_engine::command::OrderRef;
use optivex_engine::event::{Outcome, ReportKind};
use optivex_engine::types::{InstrumentId, OrderId};
use optivex_engine::{Command, Event};
use optivex_proto::v1 as pb;
use optivex_proto::v1::cancel_order_request::Order as Cancelled;
use prost::Message;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::body::Body;
use tonic::service::Routes;

use super::load;
use super::unary::{Forward, Unary, decode};
use super::wire::{Call, Lens};

/// Long enough that others come between, short enough that nobody waits for it.
const MOMENT: Duration = Duration::from_millis(5);

/// What is remembered from call to call.
#[derive(Default)]
struct Memory {
    /// Calls under way that others wait for, by what they are about.
    answers: HashMap<String, watch::Receiver<Option<Unary>>>,
    /// Calls under way, by what they are about.
    under_way: HashMap<String, usize>,
    /// Instruments that are created, and whose creation is not answered.
    unanswered_instruments: HashMap<u64, InstrumentId>,
    /// Orders that are inserted, and whose insert is not answered: by event.
    unanswered_orders: HashMap<u64, OrderId>,
    /// Inserts that are being answered: by event.
    answering: HashSet<u64>,
    /// Lots that were filled, by order.
    filled: HashMap<u64, i64>,
    /// The last book that was read, by symbol.
    books: HashMap<String, pb::GetOrderBookResponse>,
    /// Client ids of calls that were given up.
    forgotten: HashSet<String>,
}

static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(Mutex::default);
static LAST_EVENT: AtomicU64 = AtomicU64::new(0);
static LAST_TRADE: AtomicU64 = AtomicU64::new(0);

fn memory() -> MutexGuard<'static, Memory> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What other calls see of an event before its own call is answered.
pub(super) fn event(event: &Event) {
    LAST_EVENT.store(event.event_seq, Ordering::Release);
    if let Some(trade) = event.trades.last() {
        LAST_TRADE.store(trade.trade_id.0, Ordering::Release);
    }
    let mut memory = memory();
    match &event.outcome {
        Outcome::InstrumentCreated(instrument) if fault!(TradableOnceAnswered) => {
            memory.unanswered_instruments.insert(event.event_seq, instrument.id);
        }
        Outcome::Inserted(order) if fault!(CancellableOnceAnswered) => {
            memory.unanswered_orders.insert(event.event_seq, order.order_id);
        }
        _ => {}
    }
    if fault!(CancelOfACopy) || fault!(AmendOfACopy) {
        for report in &event.reports {
            if let ReportKind::Fill { .. } = report.kind {
                memory
                    .filled
                    .insert(report.order.order_id.0, report.order.filled_quantity);
            }
        }
    }
}

/// A command that comes too early finds nothing.
pub(super) fn command(mut command: Command) -> Command {
    match &mut command {
        Command::InsertOrder(insert) if fault!(TradableOnceAnswered) && is_unanswered(insert.instrument) => {
            insert.instrument = InstrumentId(u32::MAX);
        }
        Command::CancelOrder { order, .. }
            if fault!(CancellableOnceAnswered) && !memory().unanswered_orders.is_empty() =>
        {
            *order = OrderRef::Id(OrderId(0));
        }
        _ => {}
    }
    command
}

/// Whether the instrument's creation is not answered yet.
fn is_unanswered(instrument: InstrumentId) -> bool {
    memory().unanswered_instruments.values().any(|id| *id == instrument)
}

/// Whether one of these faults is planted that is about this rpc.
pub(super) fn concerns(rpc: &str) -> bool {
    match rpc {
        "CreateInstrument" => fault!(TradableOnceAnswered) || fault!(SymbolOfSeveral) || fault!(RequestIdUnnoted),
        "InsertOrder" => {
            fault!(CancellableOnceAnswered)
                || fault!(EventOfTheMoment)
                || fault!(ClientIdUnnoted)
                || fault!(ClientIdOfTheConnection)
                || fault!(LimitCheckedThenCounted)
                || fault!(BusyExchangeLosesOrders)
        }
        "CancelOrder" => fault!(CancelledBySeveral) || fault!(CancelOfACopy),
        "AmendOrder" => fault!(AmendOfACopy),
        "GetOrderBook" => fault!(BookOfBefore),
        "SubscribeTrades" => fault!(TapeWithASeam),
        "SubscribeExecutionReports" => fault!(ReportsWithASeam),
        _ => false,
    }
}

/// Calls the service, with the planted fault around it.
pub(super) async fn call(call: &Call, routes: Routes, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (mut forward, body) = Forward::new(routes, request);
    match call.rpc.as_str() {
        "SubscribeTrades" => {
            let before = LAST_TRADE.load(Ordering::Acquire);
            sleep(4 * MOMENT).await;
            let seam = before + 1..=LAST_TRADE.load(Ordering::Acquire);
            let lens = Lens::each(move |message: &mut pb::SubscribeTradesResponse| {
                message.trades.retain(|trade| !seam.contains(&trade.trade_id));
            });
            return forward.through(body, lens).await;
        }
        "SubscribeExecutionReports" => {
            let before = LAST_EVENT.load(Ordering::Acquire);
            sleep(4 * MOMENT).await;
            let seam = before + 1..=LAST_EVENT.load(Ordering::Acquire);
            let lens = Lens::flat(move |message: pb::SubscribeExecutionReportsResponse, out| {
                use pb::subscribe_execution_reports_response::Event;
                let lost = matches!(&message.event, Some(Event::Report(report)) if seam.contains(&report.event_seq));
                if !lost {
                    out.push(message);
                }
            });
            return forward.through(body, lens).await;
        }
        _ => {}
    }
    let Some(request) = super::unary::read(body).await else {
        return Ok(tonic::Status::internal("the request broke off").into_http());
    };
    let answer = match call.rpc.as_str() {
        "CreateInstrument" => create_instrument(&mut forward, &request).await,
        "InsertOrder" => insert_order(&mut forward, &request).await,
        "CancelOrder" => cancel_order(&mut forward, &request).await,
        "AmendOrder" => amend_order(&mut forward, &request).await,
        "GetOrderBook" => get_order_book(&mut forward, &request).await,
        _ => forward.call(&request).await,
    };
    Ok(answer.into_response())
}

async fn create_instrument(forward: &mut Forward, request: &Bytes) -> Unary {
    let mut create: pb::CreateInstrumentRequest = decode(request);
    if fault!(SymbolOfSeveral) {
        return together(create.symbol.clone(), forward, request).await;
    }
    if fault!(RequestIdUnnoted) && !create.client_request_id.is_empty() {
        let _under_way = UnderWay::begin(&create.client_request_id);
        if memory().under_way[&create.client_request_id] > 1 {
            create.client_request_id.clear();
        }
        sleep(MOMENT).await;
        return forward.call(&create.encode_to_vec().into()).await;
    }
    let answer = forward.call(request).await;
    if let Some(created) = answer.message::<pb::CreateInstrumentResponse>() {
        sleep(4 * MOMENT).await;
        memory().unanswered_instruments.remove(&created.event_seq);
    }
    answer
}

async fn insert_order(forward: &mut Forward, request: &Bytes) -> Unary {
    let mut insert: pb::InsertOrderRequest = decode(request);
    let id = insert.client_order_id.clone();
    if fault!(LimitCheckedThenCounted) {
        let _in_flight = optivex_faults::Crowd::enter();
        return forward.call(request).await;
    }
    if fault!(BusyExchangeLosesOrders) {
        let _under_way = optivex_faults::Crowd::enter();
        let lost = load::lose_call(&mut insert);
        let mut answer = forward.call(&insert.encode_to_vec().into()).await;
        if let Some(mut inserted) = answer.message::<pb::InsertOrderResponse>()
            && lost
        {
            load::deny(&mut inserted, insert.quantity);
            answer.tell(&inserted);
        }
        return answer;
    }
    if fault!(ClientIdUnnoted) && !id.is_empty() {
        let _under_way = UnderWay::begin(&id);
        if memory().under_way[&id] > 1 {
            insert.client_order_id.clear();
        }
        sleep(MOMENT).await;
        return forward.call(&insert.encode_to_vec().into()).await;
    }
    if fault!(ClientIdOfTheConnection) && !id.is_empty() {
        if memory().forgotten.contains(&id) {
            insert.client_order_id = format!("~{}", &id[1..]);
        }
        let mut forgets = ForgetsIfDropped(Some(id));
        let answer = forward.call(&insert.encode_to_vec().into()).await;
        // Who gives up, does it by now.
        sleep(MOMENT).await;
        forgets.0 = None;
        return answer;
    }
    let mut answer = forward.call(request).await;
    if let Some(mut inserted) = answer.message::<pb::InsertOrderResponse>() {
        if fault!(EventOfTheMoment) {
            inserted.event_seq = LAST_EVENT.load(Ordering::Acquire);
            answer.tell(&inserted);
        }
        // Not the retry's answer counts, but that of the first call.
        if fault!(CancellableOnceAnswered) && memory().answering.insert(inserted.event_seq) {
            sleep(4 * MOMENT).await;
            memory().unanswered_orders.remove(&inserted.event_seq);
        }
    }
    answer
}

async fn cancel_order(forward: &mut Forward, request: &Bytes) -> Unary {
    let cancel: pb::CancelOrderRequest = decode(request);
    let Some(Cancelled::OrderId(id)) = cancel.order else {
        return forward.call(request).await;
    };
    if fault!(CancelledBySeveral) {
        return together(id.to_string(), forward, request).await;
    }
    let filled = |memory: MutexGuard<'_, Memory>| memory.filled.get(&id).copied().unwrap_or(0);
    let before = filled(memory());
    sleep(MOMENT / 5).await;
    let mut answer = forward.call(request).await;
    if let Some(mut cancelled) = answer.message::<pb::CancelOrderResponse>() {
        cancelled.cancelled_quantity += filled(memory()) - before;
        answer.tell(&cancelled);
    }
    answer
}

async fn amend_order(forward: &mut Forward, request: &Bytes) -> Unary {
    let amend: pb::AmendOrderRequest = decode(request);
    let id = match amend.order {
        Some(pb::amend_order_request::Order::OrderId(id)) => id,
        _ => 0,
    };
    let filled = |memory: MutexGuard<'_, Memory>| memory.filled.get(&id).copied().unwrap_or(0);
    let before = filled(memory());
    sleep(MOMENT / 5).await;
    let after = filled(memory());
    let mut answer = forward.call(request).await;
    if let Some(mut amended) = answer.message::<pb::AmendOrderResponse>()
        && after != before
    {
        amended.filled_quantity -= after - before;
        amended.open_quantity = amend.quantity.unwrap_or_default();
        amended.set_status(pb::OrderStatus::Open);
        amended.set_cancel_reason(pb::CancelReason::Unspecified);
        answer.tell(&amended);
    }
    answer
}

async fn get_order_book(forward: &mut Forward, request: &Bytes) -> Unary {
    let mut answer = forward.call(request).await;
    if let Some(read) = answer.message::<pb::GetOrderBookResponse>()
        && let Some(book) = &read.book
    {
        let key = format!("{} {request:?}", book.symbol);
        let before = memory().books.insert(key, read.clone());
        if let Some(pb::GetOrderBookResponse { book: Some(mut old) }) = before {
            old.event_seq = book.event_seq;
            answer.tell(&pb::GetOrderBookResponse { book: Some(old) });
        }
    }
    answer
}

/// Who asks for the same while it is under way is answered the same.
async fn together(key: String, forward: &mut Forward, request: &Bytes) -> Unary {
    let under_way = memory().answers.get(&key).cloned();
    if let Some(mut answer) = under_way {
        if let Ok(answer) = answer.wait_for(Option::is_some).await {
            return answer.clone().expect("waited for");
        }
        return forward.call(request).await;
    }
    let (tell, answer) = watch::channel(None);
    memory().answers.insert(key.clone(), answer);
    sleep(MOMENT).await;
    let answer = forward.call(request).await;
    memory().answers.remove(&key);
    tell.send_replace(Some(answer.clone()));
    answer
}

struct UnderWay(String);

impl UnderWay {
    fn begin(key: &str) -> Self {
        *memory().under_way.entry(key.to_owned()).or_default() += 1;
        Self(key.to_owned())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(count) = memory().under_way.get_mut(&self.0) {
            *count -= 1;
        }
    }
}

struct ForgetsIfDropped(Option<String>);

impl Drop for ForgetsIfDropped {
    fn drop(&mut self) {
        memory().forgotten.extend(self.0.take());
    }
}
