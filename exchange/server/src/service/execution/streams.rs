//! How many streams of orders and reports one user may have open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use optivex_engine::types::UserId;
use optivex_proto::v1::ErrorReason;

use crate::error::Error;

/// `OrderEntry` and `SubscribeExecutionReports` streams of one user together. Each may keep a window of
/// answers or a page of reports for a client that does not read.
pub(super) const STREAMS_PER_USER_MAX: usize = 256;

/// Counts the streams that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Mutex<HashMap<UserId, usize>>>);

/// One stream, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct OpenStream {
    streams: Streams,
    user: UserId,
}

impl Streams {
    /// Counts one more, or `CAPACITY`.
    pub(super) fn open(&self, user: UserId) -> Result<OpenStream, Error> {
        let mut counts = self.counts();
        let count = counts.entry(user).or_default();
        if *count >= STREAMS_PER_USER_MAX {
            return Err(Error::new(
                ErrorReason::Capacity,
                "no more streams of orders and reports: close some",
            )
            .with("limit_name", "execution_streams_per_user_max")
            .with("limit", STREAMS_PER_USER_MAX));
        }
        *count += 1;
        Ok(OpenStream {
            streams: self.clone(),
            user,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut counts = self.streams.counts();
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_and_gets_places_back() {
        let streams = Streams::default();
        let mut open: Vec<_> = (0..STREAMS_PER_USER_MAX)
            .map(|_| streams.open(UserId(7)).unwrap())
            .collect();
        let refused = streams.open(UserId(7)).unwrap_err();
        assert_eq!(refused.reason_name(), "CAPACITY");
        assert_eq!(refused.metadata["limit_name"], "execution_streams_per_user_max");
        drop(streams.open(UserId(8)).unwrap());
        open.pop();
        open.push(streams.open(UserId(7)).unwrap());
        drop(open);
        assert!(streams.counts().is_empty(), "nothing is kept of who is gone");
    }
}
