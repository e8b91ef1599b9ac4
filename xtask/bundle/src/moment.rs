//! Moments in files that people read: RFC 3339, in UTC, to the second.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digest::{NotThat, serde_as_text};

/// A moment, in whole seconds since 1970 in UTC: `2027-03-12T18:00:00Z`. Up to the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(u64);

/// 9999-12-31T23:59:59Z: the last one that RFC 3339 can tell.
const UNIX_S_MAX: u64 = 253_402_300_799;

impl Moment {
    /// By the seconds since 1970; the last one there is if that is later.
    pub fn from_unix_s(seconds: u64) -> Self {
        Self(seconds.min(UNIX_S_MAX))
    }

    /// Seconds since 1970.
    pub fn unix_s(self) -> u64 {
        self.0
    }

    /// The system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// How long after another; nothing if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Self::from_unix_s(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0)).fmt(f)
    }
}

impl FromStr for Moment {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        // The strict form only: another one would be read as UTC, whatever its writer meant.
        if !text.ends_with('Z') {
            return Err(NotThat("a moment in UTC such as 2027-03-12T18:00:00Z"));
        }
        humantime::parse_rfc3339(text)
            .map(Self::from)
            .map_err(|_| NotThat("a moment in UTC such as 2027-03-12T18:00:00Z"))
    }
}

serde_as_text!(Moment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_has_one_text() {
        let moment: Moment = "2027-03-12T18:00:00Z".parse().expect("a moment");
        assert_eq!(moment.unix_s(), 1_804_874_400);
        assert_eq!(moment.to_string(), "2027-03-12T18:00:00Z");
        assert_eq!(Moment::from_unix_s(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
        for wrong in [
            "",
            "2027-03-12",
            "2027-03-12T18:00:00",
            "2027-03-12T18:00:00+01:00",
            "2027-02-30T00:00:00Z",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn spans_end_at_nothing() {
        let (early, late) = (Moment::from_unix_s(10), Moment::from_unix_s(25));
        assert_eq!(late.since(early), Duration::from_secs(15));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
