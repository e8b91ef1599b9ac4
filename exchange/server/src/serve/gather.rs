//! Writes gathered: HTTP/2 writes each larger frame by itself, and one system call for each of a thousand
//! small streams costs more than all their messages.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered before they are written in any case.
const GATHERED_BYTES_MAX: usize = 64 * 1024;
/// What an idle connection keeps for the next ones.
const KEPT_BYTES: usize = 4 * 1024;

/// A connection that keeps what is written, even when it is flushed, until there is enough of it or
/// [`Flusher::poll_flush`] is called: by whoever drives the connection, after each time.
pub(super) struct Gathered<S>(Arc<Mutex<Inner<S>>>);

/// Writes what was gathered.
pub(super) struct Flusher<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    gathered: BytesMut,
}

/// A connection and what writes it out.
pub(super) fn gathered<S>(stream: S) -> (Gathered<S>, Flusher<S>) {
    let inner = Arc::new(Mutex::new(Inner {
        stream,
        gathered: BytesMut::new(),
    }));
    (Gathered(Arc::clone(&inner)), Flusher(inner))
}

/// One task has both, so that nobody waits here.
fn lock<S>(inner: &Mutex<Inner<S>>) -> MutexGuard<'_, Inner<S>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    /// Hands everything to the stream, which may still keep it for itself.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        if self.gathered.capacity() > KEPT_BYTES {
            self.gathered = BytesMut::new();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Makes room for so many bytes, or for as many as there may be at all.
    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<usize>> {
        if self.gathered.len() + bytes > GATHERED_BYTES_MAX {
            ready!(self.poll_write_out(cx))?;
        }
        Poll::Ready(Ok(bytes.min(GATHERED_BYTES_MAX)))
    }
}

impl<S: AsyncWrite + Unpin> Flusher<S> {
    /// Writes what was gathered.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        let taken = ready!(inner.poll_room(cx, bufs.iter().map(|buf| buf.len()).sum()))?;
        let mut room = taken;
        for buf in bufs {
            let part = &buf[..buf.len().min(room)];
            inner.gathered.extend_from_slice(part);
            room -= part.len();
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever drives the connection does it when there is nothing more to write.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_flush(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_written_goes_out_together_and_in_order() {
        let (near, mut far) = duplex(1 << 20);
        let (mut connection, flusher) = gathered(near);
        for number in 0..100u8 {
            connection.write_all(&[number; 300]).await.expect("room");
            connection.flush().await.expect("an open connection");
        }
        assert!(
            futures_util::poll!(Box::pin(far.read_u8())).is_pending(),
            "nothing was written yet"
        );
        poll_fn(|cx| flusher.poll_flush(cx)).await.expect("an open connection");
        let mut read = vec![0; 30_000];
        far.read_exact(&mut read).await.expect("everything");
        assert!(read.chunks(300).zip(0..).all(|(chunk, number)| chunk == [number; 300]));
        // The rest goes out with the end.
        connection.write_all(b"last words").await.expect("room");
        connection.shutdown().await.expect("an open connection");
        drop((connection, flusher));
        let mut rest = String::new();
        far.read_to_string(&mut rest).await.expect("text");
        assert_eq!(rest, "last words");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_holds_up_the_writer() {
        let (near, mut far) = duplex(1_000);
        let (mut connection, flusher) = gathered(near);
        let message: Vec<u8> = (0..3 * GATHERED_BYTES_MAX).map(|index| (index % 251) as u8).collect();
        let mut written = 0;
        while let Poll::Ready(taken) = futures_util::poll!(Box::pin(connection.write(&message[written..]))) {
            written += taken.expect("an open connection");
        }
        assert!(written <= GATHERED_BYTES_MAX + 1_000, "{written} bytes are kept");
        let writer = async {
            connection
                .write_all(&message[written..])
                .await
                .expect("an open connection");
            poll_fn(|cx| flusher.poll_flush(cx)).await.expect("an open connection");
        };
        let mut read = vec![0; message.len()];
        let (_, all) = tokio::join!(writer, far.read_exact(&mut read));
        all.expect("everything");
        assert_eq!(read, message);
    }
}
