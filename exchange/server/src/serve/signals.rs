//! What the operating system asks of the process.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are listened to.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// A reload was asked for while only a stop was waited for.
    owes_reload: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To stop: SIGTERM or SIGINT.
    Stop,
    /// To read the users file and the certificates again: SIGHUP.
    Reload,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn install() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            owes_reload: false,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Asked {
        if std::mem::take(&mut self.owes_reload) {
            return Asked::Reload;
        }
        self.receive().await
    }

    /// The next wish to stop. A wish to reload is not forgotten: [`Signals::next`] tells it then.
    pub(super) async fn stop(&mut self) {
        while self.receive().await == Asked::Reload {
            self.owes_reload = true;
        }
    }

    async fn receive(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_reload_that_comes_during_the_start_is_done_after_it() {
        let mut signals = Signals::install().unwrap();
        let mut witness = signal(SignalKind::hangup()).unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        witness.recv().await;
        {
            // What waits for a stop is dropped when the start is over.
            let mut stop = std::pin::pin!(signals.stop());
            assert_eq!(
                stop.as_mut().poll(&mut Context::from_waker(Waker::noop())),
                Poll::Pending
            );
        }
        assert_eq!(signals.next().await, Asked::Reload);
    }
}
