//! Messages on their way from and to a client, changed as they pass.
//!
//! [`call`] is the seam. A fault of requests goes into [`request`], one of answers into [`response`]; both
//! see the path of the rpc, and change messages of a type with [`Lens::each`].

mod books;
mod depth;
mod limited;
mod reports;
mod tape;
mod tops;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame};
use optivex_proto::v1 as pb;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::service::Routes;
use tower_service::Service;

/// One call, seen from outside.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Last part of the rpc's path: `InsertOrder`.
    pub(super) rpc: String,
    /// The token of the call, if it has one.
    pub(super) token: Option<String>,
    /// Its first request, as the client sent it.
    first: Arc<OnceLock<Bytes>>,
}

impl Call {
    /// What was asked for; known when the answer is on its way.
    pub(super) fn asked<M: Message + Default>(&self) -> M {
        self.first
            .get()
            .and_then(|first| M::decode(first.clone()).ok())
            .unwrap_or_default()
    }
}

/// Calls the services, and lets what passes be changed.
pub(crate) async fn call<B>(mut routes: Routes, request: Request<B>) -> Result<Response<Body>, Infallible>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    let token = request.headers().get("authorization");
    let call = Call {
        rpc: request.uri().path().rsplit('/').next().unwrap_or_default().to_owned(),
        token: token.and_then(|token| token.to_str().ok()).map(ToOwned::to_owned),
        first: Arc::default(),
    };
    if !matches!(call.rpc.as_str(), "Check" | "Watch") {
        super::recovery::over();
    }
    let (parts, body) = request.into_parts();
    let body = request_lens(&call).noting(call.first.clone()).through(Body::new(body));
    let answer = routes.call(Request::from_parts(parts, body)).await?;
    let (mut parts, body) = instead(&call, answer).into_parts();
    let lens = response_lens(&call, &mut parts.headers);
    Ok(Response::from_parts(parts, lens.through(body)))
}

/// Another answer than that of the services.
fn instead(call: &Call, answer: Response<Body>) -> Response<Body> {
    let status = answer.headers().get(tonic::Status::GRPC_STATUS);
    let is_unknown = status.is_some_and(|status| status == "5");
    match call.rpc.as_str() {
        "GetOrderBook" if fault!(UnknownBookIsEmpty) && is_unknown => message(&pb::GetOrderBookResponse {
            book: Some(pb::BookSnapshot {
                symbol: call.asked::<pb::GetOrderBookRequest>().symbol,
                ..pb::BookSnapshot::default()
            }),
        }),
        "ListTrades" if fault!(UnknownTradesAreNone) && is_unknown => message(&pb::ListTradesResponse::default()),
        _ => answer,
    }
}

/// An answer of one message.
fn message(message: &impl Message) -> Response<Body> {
    let mut data = BytesMut::new();
    put(&mut data, &message.encode_to_vec());
    let trailers = HeaderMap::from_iter([(tonic::Status::GRPC_STATUS, HeaderValue::from(0))]);
    let body = Changed {
        body: Body::empty(),
        change: Box::new(|bytes, out| out.push(bytes)),
        unread: BytesMut::new(),
        ready: VecDeque::from([Frame::data(data.freeze()), Frame::trailers(trailers)]),
    };
    let mut answer = Response::new(Body::new(body));
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

/// Learns of an event before anybody is told.
pub(super) fn learn(event: &optivex_engine::Event) {
    books::learn(&event.outcome);
    depth::learn(event);
    tape::learn(event);
    reports::learn(event);
}

/// Faults of requests.
fn request_lens(call: &Call) -> Lens {
    let lens = books::request(call)
        .or_else(|| tape::request(call))
        .or_else(|| reports::request(call));
    lens.unwrap_or(Lens::clear())
}

/// Faults of answers; an error without a message tells its status in the headers.
fn response_lens(call: &Call, _headers: &mut HeaderMap) -> Lens {
    let lens = books::response(call)
        .or_else(|| tape::response(call))
        .or_else(|| reports::response(call));
    lens.unwrap_or(Lens::clear())
}

type Change = Box<dyn FnMut(Bytes, &mut Vec<Bytes>) + Send>;

/// What changes the messages of a body as they pass.
pub(super) struct Lens(Option<Change>);

impl Lens {
    /// Changes nothing.
    pub(super) fn clear() -> Self {
        Self(None)
    }

    /// Changes each message.
    pub(super) fn each<M: Message + Default>(mut change: impl FnMut(&mut M) + Send + 'static) -> Self {
        Self::flat(move |mut message: M, out| {
            change(&mut message);
            out.push(message);
        })
    }

    /// Makes none, one or more of each message.
    pub(super) fn flat<M: Message + Default>(mut change: impl FnMut(M, &mut Vec<M>) + Send + 'static) -> Self {
        Self(Some(Box::new(move |bytes, out| match M::decode(bytes.clone()) {
            Ok(message) => {
                let mut messages = Vec::new();
                change(message, &mut messages);
                out.extend(messages.iter().map(|message| Bytes::from(message.encode_to_vec())));
            }
            // The services judge it.
            Err(_) => out.push(bytes),
        })))
    }

    /// Notes the first message, as it comes.
    fn noting(self, first: Arc<OnceLock<Bytes>>) -> Self {
        let mut change = self.0;
        Self(Some(Box::new(move |bytes, out| {
            let _ = first.set(bytes.clone());
            match &mut change {
                Some(change) => change(bytes, out),
                None => out.push(bytes),
            }
        })))
    }

    fn through(self, body: Body) -> Body {
        match self.0 {
            None => body,
            Some(change) => Body::new(Changed {
                body,
                change,
                unread: BytesMut::new(),
                ready: VecDeque::new(),
            }),
        }
    }
}

/// A body whose messages are changed; what is not a message passes.
struct Changed {
    body: Body,
    change: Change,
    unread: BytesMut,
    ready: VecDeque<Frame<Bytes>>,
}

fn put(out: &mut BytesMut, message: &[u8]) {
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put(message);
}

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

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
            let mut messages = Vec::new();
            (self.change)(message, &mut messages);
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
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.take(data),
                    Err(frame) => {
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
