//! `SubscribeOrderBooks`: its messages are encoded once for all readers, and go out as the bytes that they
//! are, without an encoder for each reader.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request};
use http_body::Frame;
use optivex_proto::v1::SubscribeOrderBooksResponse;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Response, Status};
use tower_service::Service;

use super::info::{End, Messages};
use crate::error::Error;
use crate::feed::{Next, Subscription};
use crate::seldom::Seldom;

/// Chunks that a busy stream sends before it looks whether it has to end.
const CHUNKS_AT_A_TIME: u32 = 64;
/// Bytes that are prepared before a client hears that it is subscribed.
const FIRST_BYTES_MAX: usize = 256 << 10;

/// The messages of one subscription, which are pulled: beside the first, nothing is prepared before the
/// connection has room for it.
pub(super) struct BookBody {
    first: VecDeque<Bytes>,
    open: Option<(Subscription, Seldom<End>)>,
    chunks: u32,
}

impl BookBody {
    /// Takes the snapshots now, as far as [`FIRST_BYTES_MAX`] goes: what happens once the client knows
    /// that it is subscribed comes as an update.
    pub(super) fn new(mut subscription: Subscription, end: End) -> Self {
        let (mut first, mut bytes) = (VecDeque::new(), 0);
        while bytes < FIRST_BYTES_MAX
            && let Next::Frame(frame) = subscription.read()
        {
            let messages = frame.into_bytes();
            bytes += messages.len();
            first.push_back(messages);
        }
        Self {
            first,
            open: Some((subscription, Seldom::new(end))),
            chunks: 0,
        }
    }

    /// A response without messages, whose body [`Books`] replaces by this one.
    pub(super) fn into_response(self) -> Response<Messages<SubscribeOrderBooksResponse>> {
        let mut response: Response<Messages<_>> = Response::new(Box::pin(stream::empty()));
        response
            .extensions_mut()
            .insert(Ready(Arc::new(Mutex::new(Some(self)))));
        response
    }

    /// The last frame: why there are no more.
    fn ended(&mut self, error: Error) -> Result<Frame<Bytes>, Status> {
        self.open = None;
        let mut trailers = HeaderMap::new();
        Status::from(error).add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

impl http_body::Body for BookBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some((subscription, end)) = &mut this.open else {
            return Poll::Ready(None);
        };
        if let Some(messages) = this.first.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(messages))));
        }
        this.chunks += 1;
        if this.chunks >= CHUNKS_AT_A_TIME {
            this.chunks = 0;
            if let Poll::Ready(error) = Pin::new(&mut *end).poll(cx) {
                return Poll::Ready(Some(this.ended(error)));
            }
        }
        let error = match subscription.poll_read(cx.waker()) {
            Next::Frame(frame) => return Poll::Ready(Some(Ok(Frame::data(frame.into_bytes())))),
            Next::Ended(error) => error,
            Next::Idle => match Pin::new(&mut *end).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(error) => error,
            },
        };
        Poll::Ready(Some(this.ended(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }
}

/// A body on its way from its rpc to [`Books`]; extensions of a response have to be `Clone` and `Sync`.
#[derive(Clone)]
struct Ready(Arc<Mutex<Option<BookBody>>>);

/// A service whose responses get the [`BookBody`] that they carry.
#[derive(Clone, Debug)]
pub struct Books<S>(S);

impl<S> Books<S> {
    pub(super) fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S: NamedService> NamedService for Books<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Books<S>
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            if let Some(Ready(body)) = response.extensions_mut().remove() {
                let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(body) = body {
                    *response.body_mut() = Body::new(body);
                }
            }
            Ok(response)
        })
    }
}
