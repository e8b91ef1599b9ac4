//! Connections: accepted, bounded in number, encrypted if asked for, and served by hyper.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gather::gathered;
use super::request::{ConnectionRouter, Router};
use super::tls::Certificates;
use crate::config::Settings;
use crate::seldom::Seldom;

/// Bytes that wait to be sent on one stream before its handler is asked for no more: what a slow
/// reader costs, beside what the kernel holds.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that a client may send on one stream, and on all of a connection, before they are read.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// h2 ends a connection on which too many small DATA frames came and were not read: each frame below
/// 256 bytes counts by what it lacks to that, and half of the connection's window is allowed. A client
/// that sends each command as it comes is no flood, however busy this machine was meanwhile: one stream,
/// full of the smallest commands, is allowed.
const _: () = {
    const SMALL_FRAME_BYTES: u32 = 256;
    /// A cancel by a short id, with gRPC's five bytes.
    const SMALLEST_COMMAND_BYTES: u32 = 9;
    let frames = STREAM_WINDOW_BYTES / SMALLEST_COMMAND_BYTES;
    assert!(frames * (SMALL_FRAME_BYTES - SMALLEST_COMMAND_BYTES) <= CONNECTION_WINDOW_BYTES / 2);
};
/// Connections that the kernel keeps until they are accepted: a whole class may come at once, and who
/// finds no place waits a second. The system may allow less.
const BACKLOG: u32 = 4096;
/// First bytes of every HTTP/2 client.
const PREFACE_BYTES: usize = 24;

/// The bounds of connections.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    connections_max: usize,
    concurrent_streams_max: u32,
    header_list_bytes_max: u32,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
}

impl From<&Settings> for Limits {
    fn from(settings: &Settings) -> Self {
        Self {
            connections_max: settings.max_connections,
            concurrent_streams_max: settings.max_concurrent_streams,
            header_list_bytes_max: settings.max_header_list_size,
            keepalive_interval: settings.keepalive_interval,
            keepalive_timeout: settings.keepalive_timeout,
        }
    }
}

/// Accepts connections.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    limits: Limits,
    certificates: Option<Arc<Certificates>>,
    router: Arc<Router>,
    /// Cancelled when connections are to finish what they have and close.
    finish: CancellationToken,
    connections: TaskTracker,
}

impl Listener {
    pub(super) async fn bind(
        address: SocketAddr,
        limits: Limits,
        certificates: Option<Arc<Certificates>>,
        router: Arc<Router>,
    ) -> anyhow::Result<Self> {
        let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self {
            listener,
            limits,
            certificates,
            router,
            finish: CancellationToken::new(),
            connections: TaskTracker::new(),
        })
    }

    /// The address, with the port that was given out if none was asked for.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Lets connections finish and close; [`Listener::serve`] accepts no more.
    pub(super) fn finisher(&self) -> Finisher {
        Finisher {
            finish: self.finish.clone(),
            connections: self.connections.clone(),
        }
    }

    /// Accepts until told to finish.
    pub(super) async fn serve(self) {
        let permits = Arc::new(Semaphore::new(self.limits.connections_max));
        let open = metrics::gauge!("optivex_connections");
        let too_many = metrics::counter!("optivex_connections_refused_total", "reason" => "too_many");
        let mut telling = true;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.finish.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of one connection that broke already, or of a lack of file descriptors: both pass.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            #[cfg(feature = "faults")]
            crate::faults::clients::accepted(&stream).await;
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                too_many.increment(1);
                if std::mem::take(&mut telling) {
                    tracing::warn!(
                        max = self.limits.connections_max,
                        "too many connections: new ones are closed"
                    );
                }
                continue;
            };
            telling = true;
            let connection = Connection {
                limits: self.limits.clone(),
                router: self.router.connection(peer, stream.local_addr().ok()),
                finish: self.finish.clone(),
                _permit: permit,
            };
            let certificates = self.certificates.clone();
            let open = open.clone();
            self.connections.spawn(async move {
                open.increment(1);
                if let Err(error) = connection.accept(stream, certificates).await {
                    tracing::debug!(%peer, "connection: {error:#}");
                }
                open.decrement(1);
            });
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart finds the port still warm.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Ends connections.
#[derive(Clone, Debug)]
pub(super) struct Finisher {
    finish: CancellationToken,
    connections: TaskTracker,
}

impl Finisher {
    /// Asks all connections to finish what they have, and waits until they are closed.
    pub(super) async fn finish(&self) {
        self.finish.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}

struct Connection {
    limits: Limits,
    router: ConnectionRouter,
    finish: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn accept(self, stream: TcpStream, certificates: Option<Arc<Certificates>>) -> anyhow::Result<()> {
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        match certificates {
            None => self.serve(stream).await,
            Some(certificates) => {
                let handshake = certificates.acceptor().accept(stream);
                let stream = timeout(self.limits.keepalive_timeout, handshake)
                    .await
                    .context("the TLS handshake took too long")?
                    .context("TLS handshake")?;
                self.serve(stream).await
            }
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> anyhow::Result<()> {
        let Self {
            limits, router, finish, ..
        } = self;
        let service = service_fn(move |request| {
            let router = router.clone();
            async move { Ok::<_, Infallible>(router.answer(request).await) }
        });
        let (stream, flusher) = gathered(Greeted::new(stream, limits.keepalive_timeout));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            .max_concurrent_streams(limits.concurrent_streams_max)
            .max_header_list_size(limits.header_list_bytes_max)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let finish = Seldom::new(finish.cancelled());
        tokio::pin!(connection, finish);
        let mut is_finishing = false;
        poll_fn(|cx| {
            if !is_finishing && finish.as_mut().poll(cx).is_ready() {
                is_finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            let served = connection.as_mut().poll(cx);
            // What was written this time, and nobody flushes but this.
            match (served, flusher.poll_flush(cx)) {
                (Poll::Ready(served), _) => Poll::Ready(served.context("HTTP/2")),
                (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error).context("HTTP/2")),
                (Poll::Pending, _) => Poll::Pending,
            }
        })
        .await
    }
}

pin_project! {
    /// A connection whose client must say its first words in time: HTTP/2's own keepalive begins
    /// only after them.
    struct Greeted<S> {
        #[pin]
        inner: S,
        // None once the words are said.
        deadline: Option<Pin<Box<Sleep>>>,
        read: usize,
    }
}

impl<S> Greeted<S> {
    fn new(inner: S, within: Duration) -> Self {
        Self {
            inner,
            deadline: Some(Box::pin(sleep(within))),
            read: 0,
        }
    }
}

impl<S: AsyncRead> AsyncRead for Greeted<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buf.filled().len();
        let polled = this.inner.poll_read(cx, buf);
        if let Some(deadline) = this.deadline {
            *this.read += buf.filled().len() - before;
            if *this.read >= PREFACE_BYTES {
                *this.deadline = None;
            } else if polled.is_pending() && deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        polled
    }
}

impl<S: AsyncWrite> AsyncWrite for Greeted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}
