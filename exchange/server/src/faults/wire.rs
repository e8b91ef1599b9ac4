//! Messages on their way from and to a client, changed as they pass.
//!
//! [`call`] is the seam. A fault of requests goes into [`request_lenses`], one of answers into
//! [`response_lenses`]; both see the path of the rpc, and change messages of a type with [`Lens::each`]. What
//! changes a call as a whole is asked before it ([`before`]) and after it ([`after`]).

mod books;
mod depth;
mod limited;
mod orders;
mod reports;
mod tape;
mod tops;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame};
use optivex_proto::v1::{self as pb, ErrorReason};
use prost::Message;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tower_service::Service;

use super::{access, clients, instruments, load, order_entry, races, recovery, status, venue};

/// One call, seen from outside. Clones share what they note.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Last part of the rpc's path: `InsertOrder`.
    pub(super) rpc: String,
    /// The token of the call, if it has one.
    pub(super) token: Option<String>,
    /// The other end of the connection.
    pub(super) peer: Option<SocketAddr>,
    /// Something that the fault of the request tells that of the answer.
    pub(super) flag: Arc<AtomicBool>,
    /// Messages that were answered, where a fault counts them.
    pub(super) answered: Arc<AtomicUsize>,
    /// What serves it.
    pub(super) routes: Routes,
    first: Arc<OnceLock<Bytes>>,
    is_over: Arc<AtomicBool>,
    in_flight: Arc<Mutex<VecDeque<String>>>,
}

impl Call {
    fn new<B>(request: &Request<B>, routes: &Routes) -> Self {
        let token = request.headers().get("authorization");
        let token = token.and_then(|token| token.to_str().ok()?.strip_prefix("Bearer "));
        Self {
            rpc: request.uri().path().rsplit('/').next().unwrap_or_default().to_owned(),
            token: token.map(ToOwned::to_owned),
            peer: request
                .extensions()
                .get::<TcpConnectInfo>()
                .and_then(TcpConnectInfo::remote_addr),
            flag: Arc::default(),
            answered: Arc::default(),
            routes: routes.clone(),
            first: Arc::default(),
            is_over: Arc::default(),
            in_flight: Arc::default(),
        }
    }

    /// The request as it came, or its first message.
    pub(super) fn said<M: Message + Default>(&self) -> Option<M> {
        M::decode(self.first.get()?.clone()).ok()
    }

    /// The same, as it would be if nothing came.
    pub(super) fn asked<M: Message + Default>(&self) -> M {
        self.said().unwrap_or_default()
    }

    /// Whether the client has said all that it has to say.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Of a stream of commands: those that are not answered, each with the client id that it inserts.
    pub(super) fn in_flight(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls the services, and lets what passes be changed.
pub(crate) async fn call<B>(mut routes: Routes, request: Request<B>) -> Result<Response<Body>, Infallible>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    let call = Call::new(&request, &routes);
    let mut request = request.map(Body::new);
    if !matches!(call.rpc.as_str(), "Check" | "Watch") {
        recovery::over();
    }
    if races::concerns(&call.rpc) {
        return races::call(&call, routes, request).await;
    }
    if venue::concerns(&call.rpc) {
        return venue::call(&call, routes, request).await;
    }
    if let Some(answer) = before(&call, &mut request).await {
        return Ok(answer);
    }
    let mut watch = clients::Watch::new(&call);
    let lenses = request_lenses(&call);
    let request = request.map(|body| {
        let noted = Lens::clear().noting(&call).through(body);
        lenses.into_iter().fold(noted, |body, lens| lens.through(body))
    });
    let answer = routes.call(request).await?;
    watch.answered();
    let lenses = response_lenses(&call);
    Ok(after(&call, answer).map(|body| lenses.into_iter().fold(body, |body, lens| lens.through(body))))
}

/// The status of an rpc that is not there.
pub(crate) fn unknown(headers: &HeaderMap) -> Option<tonic::Status> {
    access::unknown(headers)
}

/// Faults of whole calls: what is answered instead.
async fn before(call: &Call, request: &mut Request<Body>) -> Option<Response<Body>> {
    if let Some(answer) = access::before(call, request).await {
        return Some(answer);
    }
    order_entry::before(call, request).or_else(|| clients::before(call))
}

/// Faults of answers as a whole.
fn after(call: &Call, answer: Response<Body>) -> Response<Body> {
    instead(
        call,
        clients::after(call, instruments::after(call, access::after(call, answer))),
    )
}

/// Another answer than that of the services.
fn instead(call: &Call, answer: Response<Body>) -> Response<Body> {
    let is_unknown = status::is(answer.headers(), ErrorReason::UnknownInstrument);
    match call.rpc.as_str() {
        "GetOrderBook" if fault!(UnknownBookIsEmpty) && is_unknown => status::reply(&pb::GetOrderBookResponse {
            book: Some(pb::BookSnapshot {
                symbol: call.asked::<pb::GetOrderBookRequest>().symbol,
                ..pb::BookSnapshot::default()
            }),
        }),
        "ListTrades" if fault!(UnknownTradesAreNone) && is_unknown => status::reply(&pb::ListTradesResponse::default()),
        _ => answer,
    }
}

/// Learns of an event before anybody is told.
pub(super) fn learn(event: &optivex_engine::Event) {
    books::learn(&event.outcome);
    depth::learn(event);
    tape::learn(event);
    reports::learn(event);
}

/// Faults of requests.
fn request_lenses(call: &Call) -> Vec<Lens> {
    [
        access::request(call),
        instruments::request(call),
        load::request(call),
        venue::request(call),
        orders::request(call),
        books::request(call),
        tape::request(call),
        reports::request(call),
        order_entry::request(call),
        clients::request(call),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Faults of answers; an error without a message tells its status in the headers.
fn response_lenses(call: &Call) -> Vec<Lens> {
    [
        access::response(call),
        instruments::response(call),
        load::response(call),
        venue::response(call),
        orders::response(call),
        books::response(call),
        tape::response(call),
        reports::response(call),
        order_entry::response(call),
        clients::response(call),
    ]
    .into_iter()
    .flatten()
    .collect()
}

type Change = Box<dyn FnMut(Bytes, &mut Vec<Bytes>) + Send>;
type End = Box<dyn FnMut(&mut HeaderMap) + Send>;

/// What changes the messages of a body as they pass.
#[derive(Default)]
pub(super) struct Lens {
    change: Option<Change>,
    end: Option<End>,
    noted: Option<Call>,
}

impl Lens {
    /// Changes nothing.
    pub(super) fn clear() -> Self {
        Self::default()
    }

    /// Changes each message.
    pub(super) fn each<M: Message + Default>(mut change: impl FnMut(&mut M) + Send + 'static) -> Self {
        Self::flat(move |mut message: M, out| {
            change(&mut message);
            out.push(message);
        })
    }

    /// Makes none, one or more of each message.
    pub(super) fn flat<M: Message + Default>(change: impl FnMut(M, &mut Vec<M>) + Send + 'static) -> Self {
        Self::other(change)
    }

    /// Makes other messages of each message.
    pub(super) fn other<M: Message + Default, N: Message>(
        mut change: impl FnMut(M, &mut Vec<N>) + Send + 'static,
    ) -> Self {
        let change = move |bytes: Bytes, out: &mut Vec<Bytes>| match M::decode(bytes.clone()) {
            Ok(message) => {
                let mut messages = Vec::new();
                change(message, &mut messages);
                out.extend(messages.iter().map(|message| Bytes::from(message.encode_to_vec())));
            }
            // The services judge it.
            Err(_) => out.push(bytes),
        };
        Self {
            change: Some(Box::new(change)),
            ..Self::default()
        }
    }

    /// Changes the trailers of a stream.
    pub(super) fn end(change: impl FnMut(&mut HeaderMap) + Send + 'static) -> Self {
        Self {
            end: Some(Box::new(change)),
            ..Self::default()
        }
    }

    fn noting(mut self, call: &Call) -> Self {
        self.noted = Some(call.clone());
        self
    }

    /// The body as it is seen through this.
    pub(super) fn through(self, body: Body) -> Body {
        if self.change.is_none() && self.end.is_none() && self.noted.is_none() {
            return body;
        }
        Body::new(Changed {
            body,
            lens: self,
            unread: BytesMut::new(),
            ready: VecDeque::new(),
        })
    }
}

/// A body whose messages are changed; what is not a message passes.
struct Changed {
    body: Body,
    lens: Lens,
    unread: BytesMut,
    ready: VecDeque<Frame<Bytes>>,
}

/// Puts a message there as it is on the wire.
pub(super) fn put(out: &mut BytesMut, message: &[u8]) {
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put(message);
}

/// Bytes before each message: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

impl Changed {
    fn take(&mut self, data: Bytes) {
        self.unread.extend_from_slice(&data);
        let mut out = BytesMut::new();
        while self.unread.len() >= PREFIX_BYTES {
            let length = (&self.unread[1..PREFIX_BYTES]).get_u32() as usize;
            if self.unread.len() < PREFIX_BYTES + length {
                break;
            }
            let mut message = self.unread.split_to(PREFIX_BYTES + length).freeze();
            message.advance(PREFIX_BYTES);
            if let Some(call) = &self.lens.noted {
                let _ = call.first.set(message.clone());
            }
            let mut messages = Vec::new();
            match &mut self.lens.change {
                Some(change) => change(message, &mut messages),
                None => messages.push(message),
            }
            for message in messages {
                put(&mut out, &message);
            }
        }
        if !out.is_empty() {
            self.ready.push_back(Frame::data(out.freeze()));
        }
    }
}

impl HttpBody for Changed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => {
                    if let Some(call) = &this.lens.noted {
                        call.is_over.store(true, Ordering::Relaxed);
                    }
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.take(data),
                    Err(mut frame) => {
                        if let (Some(end), Some(trailers)) = (&mut this.lens.end, frame.trailers_mut()) {
                            end(trailers);
                        }
                        // Half a message at the end: for whoever reads it to judge.
                        if !this.unread.is_empty() {
                            let rest = this.unread.split().freeze();
                            this.ready.push_back(Frame::data(rest));
                        }
                        this.ready.push_back(frame);
                    }
                },
            }
        }
    }
}
