//! A TCP proxy that can fall silent, as a cable does, or cut its connections, as a crash does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::verdict::{Stop, Verdict};

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Forward,
    Silent,
    Cut,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    mode: Arc<watch::Sender<Mode>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before the exchange at this URL.
    pub async fn before(url: &str) -> Verdict<Self> {
        let ours = |error: std::io::Error| Stop::trouble(format!("a proxy: {error}"));
        let target = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ours)?;
        let address: SocketAddr = listener.local_addr().map_err(ours)?;
        let mode = Arc::new(watch::Sender::new(Mode::Forward));
        let modes = Arc::clone(&mode);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else {
                    continue;
                };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pump(from_client, to_server, modes.subscribe()));
                tokio::spawn(pump(from_server, to_client, modes.subscribe()));
            }
        });
        Ok(Self {
            url: format!("http://{address}"),
            mode,
            task,
        })
    }

    /// Where clients connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on no byte passes, and no connection ends.
    pub fn fall_silent(&self) {
        self.mode.send_replace(Mode::Silent);
    }

    /// Every connection ends at once.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let now = *mode.borrow_and_update();
        let moved = async {
            match now {
                Mode::Cut => false,
                Mode::Silent => std::future::pending().await,
                Mode::Forward => match from.read(&mut bytes).await {
                    Ok(0) | Err(_) => false,
                    Ok(length) => to.write_all(&bytes[..length]).await.is_ok(),
                },
            }
        };
        tokio::select! {
            goes_on = moved => if !goes_on { return },
            changed = mode.changed() => if changed.is_err() { return },
        }
    }
}
