//! Answers and refusals that the services did not give.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use optivex_proto::v1::ErrorReason;
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic_types::StatusExt;

use super::wire::put as put_message;
use crate::error::{Error, REASON_TRAILER};

/// The answer to a unary call.
pub(super) fn reply<M: Message>(message: &M) -> Response<Body> {
    let mut data = BytesMut::new();
    put_message(&mut data, &message.encode_to_vec());
    let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    let frames = [Frame::data(data.freeze()), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
    of_grpc(Body::new(StreamBody::new(stream::iter(frames))))
}

/// An answer with this body.
pub(super) fn of_grpc(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer that breaks off: the stream is reset.
pub(super) fn reset() -> Response<Body> {
    let broken = [Err::<Frame<Bytes>, _>(std::io::Error::other("a handler died"))];
    of_grpc(Body::new(StreamBody::new(stream::iter(broken))))
}

/// A refusal.
pub(super) fn refuse(error: Error) -> Response<Body> {
    Status::from(error).into_http()
}

/// The refusal that headers or trailers carry.
pub(super) fn told(headers: &HeaderMap) -> Option<Error> {
    let status = Status::from_header_map(headers)?;
    let info = status.get_details_error_info()?;
    let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))?;
    let retry: Option<Duration> = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Some(Error {
        reason,
        message: status.message().to_owned(),
        metadata: info.metadata,
        retry_after: retry,
    })
}

/// Whether this is the reason that they carry.
pub(super) fn is(headers: &HeaderMap, reason: ErrorReason) -> bool {
    told(headers).is_some_and(|error| error.reason == reason)
}

/// Puts another status there.
pub(super) fn put(headers: &mut HeaderMap, status: impl Into<Status>) {
    for name in [Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS] {
        headers.remove(name);
    }
    headers.remove(REASON_TRAILER);
    // It fits: it is made of text.
    let _ = status.into().add_header(headers);
}
