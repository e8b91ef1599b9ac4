//! Unary calls whose request and answer are held in hand.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use optivex_proto::v1::ErrorReason;
use prost::Message;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service;

use super::status;
use super::wire::{Lens, PREFIX_BYTES, put};
use crate::error::Error;

/// The request's message; `None` if it breaks off.
pub(super) async fn read(body: Body) -> Option<Bytes> {
    let bytes = body.collect().await.ok()?.to_bytes();
    Some(bytes.slice(bytes.len().min(PREFIX_BYTES)..))
}

/// The way to the service.
pub(super) struct Forward {
    routes: Routes,
    parts: http::request::Parts,
}

impl Forward {
    pub(super) fn new(routes: Routes, request: Request<Body>) -> (Self, Body) {
        let (parts, body) = request.into_parts();
        (Self { routes, parts }, body)
    }

    /// Calls with the body as it is, and changes the messages of the answer.
    pub(super) async fn through(mut self, body: Body, lens: Lens) -> Result<Response<Body>, Infallible> {
        let answer = self.routes.call(Request::from_parts(self.parts, body)).await?;
        Ok(answer.map(|body| lens.through(body)))
    }

    /// Calls with one message.
    pub(super) async fn call(&mut self, message: &Bytes) -> Unary {
        let body = Body::new(Full::new(framed(message)));
        let Ok(answer) = self.routes.call(Request::from_parts(self.parts.clone(), body)).await;
        let (parts, body) = answer.into_parts();
        let (message, trailers) = match body.collect().await {
            Ok(body) => {
                let trailers = body.trailers().cloned();
                let bytes = body.to_bytes();
                (
                    (bytes.len() > PREFIX_BYTES).then(|| bytes.slice(PREFIX_BYTES..)),
                    trailers,
                )
            }
            Err(_) => (None, None),
        };
        Unary {
            headers: parts.headers,
            message,
            trailers,
        }
    }
}

/// The answer to a unary call.
#[derive(Clone, Debug)]
pub(super) struct Unary {
    headers: HeaderMap,
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Unary {
    /// The message, if it is no error.
    pub(super) fn message<M: Message + Default>(&self) -> Option<M> {
        M::decode(self.message.clone()?).ok()
    }

    /// Answers this instead.
    pub(super) fn tell<M: Message>(&mut self, message: &M) {
        self.message = Some(message.encode_to_vec().into());
    }

    /// Whether it is this error.
    pub(super) fn is(&self, reason: ErrorReason) -> bool {
        status::is(&self.headers, reason)
    }

    /// An error.
    pub(super) fn refusal(error: Error) -> Self {
        Self {
            headers: status::refuse(error).into_parts().0.headers,
            message: None,
            trailers: None,
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let data = self.message.map(|message| http_body::Frame::data(framed(&message)));
        let trailers = self.trailers.map(http_body::Frame::trailers);
        let frames = data.into_iter().chain(trailers).map(Ok::<_, tonic::Status>);
        let body = StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>()));
        let mut response = Response::new(Body::new(body));
        *response.headers_mut() = self.headers;
        response
    }
}

/// A request; the empty one if it is none.
pub(super) fn decode<M: Message + Default>(message: &Bytes) -> M {
    M::decode(message.clone()).unwrap_or_default()
}

fn framed(message: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    put(&mut framed, message);
    framed.freeze()
}
