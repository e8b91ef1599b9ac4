//! An exchange that its slow, broken and hostile clients disturb.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame};
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{self as pb, ErrorReason};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::body::Body;

use super::wire::{Call, Lens};
use super::{access, status};
use crate::error::Error;

/// Subscribers at a time, where their number is bounded too low.
const SUBSCRIBERS_MAX: usize = 500;
/// Subscriptions that a user may ever have, where those that ended count.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// Messages that one reader may be ahead of another, where they wait for one another.
const AHEAD_MAX: u64 = 256;

#[derive(Default)]
struct Seen {
    /// Client ids of inserts that their clients gave up.
    abandoned: HashSet<String>,
    subscriptions: HashMap<String, usize>,
    /// Messages that each lossless reader took, by its books.
    taken: BTreeMap<u64, Reader>,
    readers: u64,
}

struct Reader {
    symbols: Vec<String>,
    taken: u64,
    waker: Option<Waker>,
}

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(Mutex::default);
static SUBSCRIBERS: AtomicUsize = AtomicUsize::new(0);

fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that was accepted, before the next one is.
pub(crate) async fn accepted(stream: &TcpStream) {
    let mut first = [0; 3];
    if fault!(AcceptWaits) {
        let _ = stream.peek(&mut first).await;
    }
    if fault!(GarbageEndsAccepting)
        && let Ok(Ok(1..)) = timeout(Duration::from_millis(200), stream.peek(&mut first)).await
        && first != *b"PRI"
    {
        std::future::pending::<()>().await;
    }
}

pub(super) fn before(call: &Call) -> Option<Response<Body>> {
    if call.rpc != "SubscribeOrderBooks" {
        return None;
    }
    let too_many = |limit: usize| {
        let error = Error::new(ErrorReason::Capacity, "no more subscriptions");
        status::refuse(error.with("limit_name", "subscriptions").with("limit", limit))
    };
    if fault!(SubscribersBounded) && SUBSCRIBERS.load(Ordering::Relaxed) >= SUBSCRIBERS_MAX {
        return Some(too_many(SUBSCRIBERS_MAX));
    }
    if fault!(SubscriptionsLeak) {
        let user = access::user_of(call.token.as_ref()).unwrap_or_default();
        let mut seen = seen();
        let count = seen.subscriptions.entry(user).or_default();
        *count += 1;
        return (*count > SUBSCRIPTIONS_MAX).then(|| too_many(SUBSCRIPTIONS_MAX));
    }
    None
}

pub(super) fn request(call: &Call) -> Option<Lens> {
    Some(match call.rpc.as_str() {
        "SubscribeExecutionReports" if fault!(DisconnectIgnored) => {
            Lens::each(|request: &mut pb::SubscribeExecutionReportsRequest| request.cancel_on_disconnect = false)
        }
        "InsertOrder" => Lens::each(|request: &mut pb::InsertOrderRequest| {
            let id = &mut request.client_order_id;
            if fault!(OversizedTruncated) {
                id.truncate(36);
            }
            if fault!(AbandonedForgotten) && seen().abandoned.contains(id) {
                id.push('\'');
            }
        }),
        _ => return None,
    })
}

/// Sees that a call is given up before it is answered.
pub(super) struct Watch(Option<Call>);

impl Watch {
    pub(super) fn new(call: &Call) -> Self {
        Self((fault!(AbandonedForgotten) && call.rpc == "InsertOrder").then(|| call.clone()))
    }

    pub(super) fn answered(&mut self) {
        self.0 = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let order = self.0.as_ref().and_then(Call::said::<pb::InsertOrderRequest>);
        if let Some(order) = order.filter(|order| !order.client_order_id.is_empty()) {
            seen().abandoned.insert(order.client_order_id);
        }
    }
}

pub(super) fn response(call: &Call) -> Option<Lens> {
    if call.rpc != "SubscribeOrderBooks" {
        return None;
    }
    let request = call.said::<pb::SubscribeOrderBooksRequest>().unwrap_or_default();
    let is_conflated = request.delivery() == pb::Delivery::Conflated;
    let place = Place::new();
    Some(Lens::each(move |answer: &mut pb::SubscribeOrderBooksResponse| {
        let _ = &place;
        if fault!(MergedKeepsOneLevel)
            && is_conflated
            && let Some(Event::Update(update)) = &mut answer.event
            && update.book_seq > update.prev_book_seq + 1
        {
            update.bids.truncate(1);
            update.asks.truncate(1);
        }
    }))
}

/// Counts a subscriber.
struct Place;

impl Place {
    fn new() -> Self {
        SUBSCRIBERS.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        SUBSCRIBERS.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn after(call: &Call, answer: Response<Body>) -> Response<Body> {
    if !fault!(BroadcastUnderLock) || call.rpc != "SubscribeOrderBooks" {
        return answer;
    }
    let request = call.said::<pb::SubscribeOrderBooksRequest>().unwrap_or_default();
    if request.delivery() == pb::Delivery::Conflated {
        return answer;
    }
    let id = {
        let mut seen = seen();
        seen.readers += 1;
        let (id, symbols) = (seen.readers, request.symbols);
        let of_these = seen.taken.values().filter(|other| other.symbols == symbols);
        let taken = of_these.map(|other| other.taken).max().unwrap_or_default();
        let reader = Reader {
            symbols,
            taken,
            waker: None,
        };
        seen.taken.insert(id, reader);
        id
    };
    answer.map(|body| Body::new(InStep { body, id }))
}

/// A body whose messages are taken only as fast as all other readers of the same books take theirs.
struct InStep {
    body: Body,
    id: u64,
}

impl Seen {
    /// Wakes who waits for others.
    fn wake(&mut self) {
        for reader in self.taken.values_mut() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }
}

impl HttpBody for InStep {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let id = self.id;
        {
            let mut seen = seen();
            let Some((symbols, taken)) = seen.taken.get(&id).map(|own| (own.symbols.clone(), own.taken)) else {
                return Poll::Ready(None);
            };
            let others = seen.taken.values().filter(|other| other.symbols == symbols);
            let slowest = others.map(|other| other.taken).min().unwrap_or(taken);
            if taken > slowest + AHEAD_MAX {
                if let Some(own) = seen.taken.get_mut(&id) {
                    own.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let mut seen = seen();
        if let Some(own) = seen.taken.get_mut(&id) {
            own.taken += 1;
        }
        seen.wake();
        Poll::Ready(frame)
    }
}

impl Drop for InStep {
    fn drop(&mut self) {
        let mut seen = seen();
        seen.taken.remove(&self.id);
        seen.wake();
    }
}
