//! Subscribers of books, and their baseline: a tonic server that sends ready bytes.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt, stream};
use optivex_proto::v1;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::Result;
use super::client::Token;

/// Messages as the bytes that they are.
#[derive(Clone, Copy, Default)]
pub struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> std::result::Result<Option<Bytes>, Status> {
        let bytes = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(bytes)))
    }
}

/// Opens a subscription of books.
pub async fn subscribe(
    channel: &Channel,
    token: &Token,
    request: &v1::SubscribeOrderBooksRequest,
) -> Result<Streaming<Bytes>> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/optivex.v1.InfoService/SubscribeOrderBooks");
    let request = token.with(Bytes::from(request.encode_to_vec()));
    Ok(grpc.server_streaming(request, path, BytesCodec).await?.into_inner())
}

/// Whether a message is an update of a book: all but a few are.
pub fn is_update(message: &[u8]) -> bool {
    // Field 3, length-delimited.
    message.first() == Some(&0x1a)
}

/// A subscriber that counts what it gets.
#[derive(Default)]
pub struct Counted {
    pub updates: AtomicU64,
    pub bytes: AtomicU64,
}

/// Reads to the end.
pub async fn count(mut messages: Streaming<Bytes>, counted: Arc<Counted>) -> Result<()> {
    let (mut updates, mut bytes) = (0, 0);
    while let Some(message) = messages.next().await {
        let message = message?;
        if is_update(&message) {
            updates += 1;
            bytes += message.len() as u64;
            counted.updates.store(updates, Ordering::Relaxed);
            counted.bytes.store(bytes, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Serves until the process is killed, if this process was started as `--serve=bytes:SIZE:SUBSCRIBERS`: an
/// endless stream of messages of that size to each subscriber, as soon as all of them are there.
pub async fn serve_if_asked() -> Result<bool> {
    let Some(given) = std::env::args().find_map(|arg| Some(arg.strip_prefix("--serve=bytes:")?.to_owned())) else {
        return Ok(false);
    };
    let (size, subscribers) = given.split_once(':').ok_or("--serve=bytes:SIZE:SUBSCRIBERS")?;
    let mut message = vec![0x5a; size.parse()?];
    message[0] = 0x1a;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("bytes are served at http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let incoming = TcpListenerStream::new(listener).inspect(|stream| {
        if let Ok(stream) = stream {
            let _ = stream.set_nodelay(true);
        }
    });
    tonic::transport::Server::builder()
        .add_service(ReadyBytes {
            message: message.into(),
            missing: watch::Sender::new(subscribers.parse()?),
        })
        .serve_with_incoming(incoming)
        .await?;
    Ok(true)
}

/// Sends the same ready bytes again and again.
#[derive(Clone)]
struct ReadyBytes {
    message: Bytes,
    /// Subscribers that are still to come.
    missing: watch::Sender<usize>,
}

impl NamedService for ReadyBytes {
    const NAME: &'static str = "optivex.v1.InfoService";
}

type Endless = Pin<Box<dyn Stream<Item = std::result::Result<Bytes, Status>> + Send>>;

impl ServerStreamingService<Bytes> for ReadyBytes {
    type Response = Bytes;
    type ResponseStream = Endless;
    type Future = Ready<std::result::Result<Response<Endless>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        self.missing.send_modify(|missing| *missing = missing.saturating_sub(1));
        let (message, mut missing) = (self.message.clone(), self.missing.subscribe());
        let messages = stream::once(async move {
            // The sender lives as long as the server.
            let _ = missing.wait_for(|missing| *missing == 0).await;
            stream::repeat(message).map(Ok)
        });
        ready(Ok(Response::new(Box::pin(messages.flatten()))))
    }
}

impl tower_service::Service<http::Request<Body>> for ReadyBytes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(Grpc::new(BytesCodec).server_streaming(service, request).await) })
    }
}
