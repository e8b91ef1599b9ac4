//! How long something is tried again that may work in a moment.

use std::time::{Duration, Instant};

use optivex_exit::{Exit, Failure};

use crate::connection::Trouble;

/// While nothing was ever heard of UAT: it may be down for good.
const STRANGERS: Duration = Duration::from_secs(10);

/// Once something was heard: lost connections come back.
const FRIENDS: Duration = Duration::from_secs(180);

/// From the first pause to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Counts from the last time that something was heard.
pub(crate) struct Patience {
    fixed: Option<Duration>,
    heard_ever: bool,
    since: Instant,
    pause: Duration,
}

impl Patience {
    /// With a time of one's own, or the usual.
    pub(crate) fn new(fixed: Option<Duration>) -> Self {
        Self {
            fixed,
            heard_ever: false,
            since: Instant::now(),
            pause: PAUSES.0,
        }
    }

    /// UAT said something.
    pub(crate) fn heard(&mut self) {
        self.heard_ever = true;
        self.since = Instant::now();
        self.pause = PAUSES.0;
    }

    /// Waits a while, each time longer, and says so; or gives up.
    pub(crate) fn after(&mut self, trouble: Trouble) -> anyhow::Result<()> {
        let why = match trouble {
            Trouble::Lasting(error) => return Err(error),
            Trouble::Passing(why) => why,
        };
        let all = self.fixed.unwrap_or(if self.heard_ever { FRIENDS } else { STRANGERS });
        let left = all.saturating_sub(self.since.elapsed());
        if left.is_zero() {
            return Err(Failure::new(
                Exit::Infrastructure,
                format!("{why} (given up after {} s)", all.as_secs()),
            )
            .into());
        }
        eprintln!("{why}; trying again");
        std::thread::sleep(self.pause.min(left));
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }
}
