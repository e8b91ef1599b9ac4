//! How many subscriptions there may be: of one user, and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use optivex_engine::types::UserId;
use optivex_proto::v1::ErrorReason;

use crate::error::Error;

/// Bounds on subscriptions; each is refused with `CAPACITY` and its name in `limit_name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionLimits {
    /// Streams of market data of one user: books, instruments and tape together.
    pub subscriptions_per_user_max: usize,
    /// Streams of market data in all.
    pub subscriptions_max: usize,
    /// Books followed by one user, each counted once a subscription.
    pub subscribed_books_per_user_max: usize,
    /// Books followed in all, each counted once a subscription.
    pub subscribed_books_max: usize,
    /// Different views of one book beside the whole of it; beyond, the symbol's status says `CAPACITY`.
    pub views_per_book_max: usize,
}

impl Default for SubscriptionLimits {
    fn default() -> Self {
        Self {
            subscriptions_per_user_max: 1_000,
            subscriptions_max: 20_000,
            subscribed_books_per_user_max: 400_000,
            subscribed_books_max: 4_000_000,
            views_per_book_max: 64,
        }
    }
}

/// Counts subscriptions.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: SubscriptionLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: Count,
    users: HashMap<UserId, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    subscriptions: usize,
    books: usize,
}

/// One subscription that counts until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    user: UserId,
    books: usize,
    gauge: metrics::Gauge,
}

impl Places {
    pub(super) fn new(limits: SubscriptionLimits) -> Self {
        Self(Arc::new(Inner {
            limits,
            taken: Mutex::default(),
        }))
    }

    /// Counts a subscription to so many books. `kind` is what the metrics call it.
    pub(super) fn take(&self, user: UserId, books: usize, kind: &'static str) -> Result<Place, Error> {
        let limits = &self.0.limits;
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (taken.all, taken.users.get(&user).copied().unwrap_or_default());
        for (name, count, limit) in [
            (
                "subscriptions_per_user_max",
                own.subscriptions + 1,
                limits.subscriptions_per_user_max,
            ),
            ("subscriptions_max", all.subscriptions + 1, limits.subscriptions_max),
            (
                "subscribed_books_per_user_max",
                own.books + books,
                limits.subscribed_books_per_user_max,
            ),
            ("subscribed_books_max", all.books + books, limits.subscribed_books_max),
        ] {
            if count > limit {
                return Err(Error::new(
                    ErrorReason::Capacity,
                    format!("no more subscriptions: {name} is {limit}"),
                )
                .with("limit_name", name)
                .with("limit", limit));
            }
        }
        let own = taken.users.entry(user).or_default();
        own.subscriptions += 1;
        own.books += books;
        taken.all.subscriptions += 1;
        taken.all.books += books;
        let gauge = metrics::gauge!("optivex_feed_subscribers", "stream" => kind);
        gauge.increment(1.0);
        Ok(Place {
            places: self.clone(),
            user,
            books,
            gauge,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
        let mut taken = self.places.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all.subscriptions -= 1;
        taken.all.books -= self.books;
        if let Some(own) = taken.users.get_mut(&self.user) {
            own.subscriptions -= 1;
            own.books -= self.books;
            if own.subscriptions == 0 {
                taken.users.remove(&self.user);
            }
        }
    }
}
