//! What comes from the client: bounded in length and in time.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use optivex_bundle::wire::Reason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Stop, no};

/// A line without its newline. One byte at a time: what follows the line is not ours to take.
pub(super) fn line(input: &mut dyn Read, limit: u64) -> Result<Vec<u8>, Stop> {
    let mut line = Vec::new();
    let mut byte = [0];
    while (line.len() as u64) < limit {
        match input.read(&mut byte) {
            Ok(0) => return Err(no(Reason::Malformed, "not a request: it does not end in a newline")),
            Ok(_) if byte[0] == b'\n' => return Ok(line),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(silence(&error)),
        }
    }
    Err(no(
        Reason::Malformed,
        format!("not a request: longer than {limit} bytes"),
    ))
}

/// A read that failed.
pub(super) fn silence(error: &io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::TimedOut => no(Reason::Silence, "nothing came for too long"),
        kind => no(Reason::Silence, format!("the connection broke: {kind}")),
    }
}

/// Standard input and output as they are watched over.
pub struct Watched<T> {
    inner: T,
    idle: Duration,
    pulse: Arc<Pulse>,
}

struct Pulse {
    start: Instant,
    /// Milliseconds after `start` at which a byte last went through.
    last: AtomicU64,
}

impl Pulse {
    fn beat(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn quiet(&self) -> Duration {
        self.start
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// Ends the process when nothing went through for long: a client that does not read keeps a write waiting for ever.
/// That is no loss: whatever was taken in is on disk or can be sent again.
pub struct Watchdog {
    pulse: Arc<Pulse>,
}

impl Watchdog {
    /// Sees to it that the process ends `deadline` after now, or after twice `idle` without a byte.
    pub fn start(idle: Duration, deadline: Duration) -> Self {
        let pulse = Arc::new(Pulse {
            start: Instant::now(),
            last: AtomicU64::new(0),
        });
        let watched = Arc::clone(&pulse);
        std::thread::spawn(move || {
            while watched.quiet() < 2 * idle && watched.start.elapsed() < deadline {
                std::thread::sleep(Duration::from_secs(1).min(idle));
            }
            std::process::exit(1);
        });
        Self { pulse }
    }

    /// Watches over one direction.
    pub fn watch<T>(&self, inner: T, idle: Duration) -> Watched<T> {
        Watched {
            inner,
            idle,
            pulse: Arc::clone(&self.pulse),
        }
    }
}

impl<T: Read + AsFd> Read for Watched<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout = Timespec::try_from(self.idle).map_err(|_| io::Error::other("an endless timeout"))?;
        let ready = poll(&mut [PollFd::new(&self.inner, PollFlags::IN)], Some(&timeout))?;
        if ready == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let count = self.inner.read(buffer)?;
        self.pulse.beat();
        Ok(count)
    }
}

impl<T: Write> Write for Watched<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.pulse.beat();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        type Case = (&'static [u8], Option<&'static [u8]>, &'static [u8]);
        let cases: [Case; 6] = [
            (b"abc\nrest", Some(b"abc"), b"rest"),
            (b"\n", Some(b""), b""),
            (b"1234567\n", Some(b"1234567"), b""),
            (b"12345678\n", None, b"\n"),
            (b"abc", None, b""),
            (b"", None, b""),
        ];
        for (bytes, wanted, rest) in cases {
            let mut input = bytes;
            let got = line(&mut input, 8).ok();
            assert_eq!(got.as_deref(), wanted, "{bytes:?}");
            assert_eq!(input, rest, "{bytes:?}");
        }
    }

    #[test]
    fn a_silent_client_is_not_waited_for() {
        let idle = Duration::from_millis(20);
        let (reader, _writer) = io::pipe().expect("a pipe");
        let pulse = Arc::new(Pulse {
            start: Instant::now(),
            last: AtomicU64::new(0),
        });
        let mut reader = Watched {
            inner: reader,
            idle,
            pulse,
        };
        let Err(Stop::No(Reason::Silence, told)) = line(&mut reader, 100) else {
            panic!("it is silent");
        };
        assert!(told.contains("too long"), "{told}");
    }
}
