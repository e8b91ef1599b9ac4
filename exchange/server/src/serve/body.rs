//! Bodies of requests and responses, with what the exchange watches over: the size of a message,
//! the deadline of a request, the end of the exchange, and what came of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use optivex_proto::v1::ErrorReason;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};
use tracing::Span;

use super::malformed;
use super::methods::Method;
use super::request::ConnectionRouter;
use crate::error::Error;
use crate::seldom::Seldom;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// Messages up to this size are taken as they come: nearly all requests are far smaller.
const SMALL_MESSAGE_BYTES: usize = 16 * 1024;
/// Larger messages that one connection may have under way, in messages of the largest size: on a thousand
/// streams, the beginnings of large messages would cost a gigabyte.
const LARGE_MESSAGES_MAX: usize = 4;

/// Bytes of the large messages that are under way on one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct LargeMessages(Arc<AtomicUsize>);

pin_project! {
    /// A request's body that refuses a message over a size as soon as it is announced.
    pub(super) struct RequestBody {
        #[pin]
        inner: Incoming,
        messages: MessageSizes,
    }
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, message_bytes_max: usize, large: LargeMessages) -> Self {
        Self {
            inner,
            messages: MessageSizes::new(message_bytes_max, large),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let Some(frame) = ready!(this.inner.poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            this.messages.see(data).map_err(Status::from)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Follows the messages of a gRPC body by their prefixes.
struct MessageSizes {
    max: usize,
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// Bytes of the current message that are still to come.
    rest: usize,
    large: LargeMessages,
    /// What the current message counts in `large`.
    counted: usize,
}

impl MessageSizes {
    fn new(max: usize, large: LargeMessages) -> Self {
        Self {
            max,
            prefix: [0; PREFIX_BYTES],
            prefix_len: 0,
            rest: 0,
            large,
            counted: 0,
        }
    }

    fn see(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(data.len());
                data.advance(skipped);
                self.rest -= skipped;
                if self.rest == 0 {
                    self.uncount();
                }
                continue;
            }
            self.prefix[self.prefix_len] = data.get_u8();
            self.prefix_len += 1;
            if self.prefix_len == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                if length > self.max {
                    return Err(Error::new(
                        ErrorReason::Capacity,
                        format!("the message has {length} bytes, and at most {} are taken", self.max),
                    )
                    .with("limit_name", "message_bytes")
                    .with("limit", self.max));
                }
                self.count(length)?;
                self.prefix_len = 0;
                self.rest = length;
            }
        }
        Ok(())
    }
}

impl MessageSizes {
    fn count(&mut self, length: usize) -> Result<(), Error> {
        if length <= SMALL_MESSAGE_BYTES {
            return Ok(());
        }
        let max = self.max.saturating_mul(LARGE_MESSAGES_MAX);
        self.counted = length;
        if self.large.0.fetch_add(length, Ordering::Relaxed) > max - length {
            return Err(Error::new(
                ErrorReason::Capacity,
                format!("large messages of more than {max} bytes are under way on this connection"),
            )
            .with("limit_name", "connection_message_bytes")
            .with("limit", max));
        }
        Ok(())
    }

    fn uncount(&mut self) {
        self.large
            .0
            .fetch_sub(std::mem::take(&mut self.counted), Ordering::Relaxed);
    }
}

impl Drop for MessageSizes {
    fn drop(&mut self) {
        self.uncount();
    }
}

/// Tells what came of a request when it is over, however it ends.
#[derive(Debug)]
pub(super) struct Outcome {
    method: Arc<Method>,
    begin: Instant,
    span: Span,
    /// Cancelled, until the end is seen: whoever drops it earlier was.
    code: Code,
}

impl Outcome {
    pub(super) fn new(method: Arc<Method>, span: Span) -> Self {
        if !method.unary {
            method.streams.increment(1);
        }
        Self {
            method,
            begin: Instant::now(),
            span,
            code: Code::Cancelled,
        }
    }

    /// Reads the status, if these are the headers or trailers that carry it.
    pub(super) fn see(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(&malformed::GRPC_STATUS) {
            self.code = Code::from_bytes(code.as_bytes());
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.method.count(self.code);
        let elapsed = self.begin.elapsed();
        if self.method.unary {
            self.method.latency.record(elapsed);
        } else {
            self.method.streams.decrement(1);
        }
        tracing::debug!(parent: &self.span, code = ?self.code, latency_us = elapsed.as_micros(), "done");
    }
}

pin_project! {
    /// A response's body that ends with a status at the request's deadline, and at the end of the
    /// exchange once it has nothing more to say.
    pub(super) struct ResponseBody {
        #[pin]
        inner: tonic::body::Body,
        deadline: Option<Pin<Box<Sleep>>>,
        connection: ConnectionRouter,
        // Only of a body that had to wait: those of single answers never do.
        stopping: Option<Pin<Box<Seldom<WaitForCancellationFutureOwned>>>>,
        outcome: Option<Outcome>,
        // Set with the last frame: nothing may follow a status.
        is_over: bool,
    }
}

impl ResponseBody {
    pub(super) fn new(
        inner: tonic::body::Body,
        deadline: Option<Pin<Box<Sleep>>>,
        connection: ConnectionRouter,
        outcome: Option<Outcome>,
    ) -> Self {
        Self {
            inner,
            deadline,
            connection,
            stopping: None,
            outcome,
            is_over: false,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        if *this.is_over {
            return Poll::Ready(None);
        }
        // Before the stream itself, which may never run dry.
        let is_late = this.deadline.as_mut().is_some_and(|at| at.as_mut().poll(cx).is_ready());
        if !is_late && let Poll::Ready(mut frame) = this.inner.as_mut().poll_frame(cx) {
            if let Some(Ok(frame)) = &mut frame
                && let Some(trailers) = frame.trailers_mut()
            {
                malformed::retell(trailers);
            }
            let told = match &frame {
                Some(Ok(frame)) => frame
                    .trailers_ref()
                    .map(|trailers| this.outcome.as_mut().map(|outcome| outcome.see(trailers))),
                Some(Err(status)) => Some(this.outcome.as_mut().map(|outcome| outcome.code = status.code())),
                None => Some(None),
            };
            if told.is_some() {
                *this.is_over = true;
                *this.outcome = None;
            }
            return Poll::Ready(frame);
        }
        let connection = this.connection;
        let end = this
            .stopping
            .get_or_insert_with(|| Box::pin(Seldom::new(connection.stopping())));
        let status = if is_late {
            deadline_exceeded()
        } else if end.as_mut().poll(cx).is_ready() {
            stopping()
        } else {
            return Poll::Pending;
        };
        *this.is_over = true;
        if let Some(mut outcome) = this.outcome.take() {
            outcome.code = status.code();
        }
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            return Poll::Ready(Some(Err(status)));
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The status of a request that took longer than its client waits.
pub(super) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the request's grpc-timeout is over")
}

/// The status of what is still open when the exchange stops.
pub(super) fn stopping() -> Status {
    Error::not_ready("the exchange is stopping").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX_BYTES + length, 7);
        bytes
    }

    #[test]
    fn a_message_is_judged_by_its_prefix_however_it_is_cut() {
        let good = [message(10), message(0), message(3)].concat();
        let bad = [message(10), message(0), message(11)[..PREFIX_BYTES].to_vec()].concat();
        for chunk in 1..=good.len() {
            let mut sizes = MessageSizes::new(10, LargeMessages::default());
            assert!(good.chunks(chunk).all(|data| sizes.see(data).is_ok()));
            let mut sizes = MessageSizes::new(10, LargeMessages::default());
            let refused: Vec<_> = bad.chunks(chunk).filter_map(|data| sizes.see(data).err()).collect();
            assert_eq!(refused.len(), 1);
            assert_eq!(refused[0].metadata["limit"], "10");
        }
    }

    #[test]
    fn large_messages_of_a_connection_are_bounded_together() {
        const MAX: usize = 100_000;
        let large = LargeMessages::default();
        let begin = |length| {
            let mut sizes = MessageSizes::new(MAX, large.clone());
            let seen = sizes.see(&message(length)[..PREFIX_BYTES + 1]);
            (sizes, seen.map_err(|error| error.metadata["limit_name"].clone()))
        };
        let refused = Err("connection_message_bytes".to_owned());
        let mut under_way: Vec<_> = (0..LARGE_MESSAGES_MAX).map(|_| begin(MAX)).collect();
        assert!(under_way.iter().all(|(_, seen)| seen.is_ok()));
        assert_eq!(begin(SMALL_MESSAGE_BYTES + 1).1, refused);
        assert_eq!(begin(SMALL_MESSAGE_BYTES).1, Ok(()), "orders are not concerned");
        // One that is whole, one whose request is gone.
        under_way[0].0.see(&vec![7; MAX - 1]).unwrap();
        assert_eq!(begin(MAX).1, Ok(()));
        under_way.pop();
        let (one, two, three) = (begin(MAX), begin(MAX), begin(MAX));
        assert_eq!((one.1, two.1, three.1), (Ok(()), Ok(()), refused));
        drop((under_way, one.0, two.0, three.0));
        assert_eq!(large.0.load(Ordering::Relaxed), 0);
    }
}
