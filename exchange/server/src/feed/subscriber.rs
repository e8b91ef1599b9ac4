//! One subscription of books as the writer sees it: whom it tells that there is something to read.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use optivex_engine::types::InstrumentId;

use super::channel::{Channel, Link, View};

/// The part of a subscription that the writer tells when there is something to read.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) id: u64,
    mail: Mutex<Mail>,
}

#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Channels with news: at most each once, as `Link::dirty` guards.
    pub(super) dirty: Vec<usize>,
    pub(super) joined: Vec<Joined>,
    pub(super) waker: Option<Waker>,
}

/// A channel that a subscription has from now on.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) channel: Arc<Channel>,
    pub(super) link: Arc<Link>,
    pub(super) start: Start,
}

/// How a reader starts with a channel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// With what the view shows when it is read.
    Snapshot,
    /// With the item at a position, holding a book_seq.
    Resumed { cursor: u64, book_seq: u64 },
}

impl Subscriber {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            mail: Mutex::default(),
        }
    }

    pub(super) fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to read in a channel. Whether the reader had to be woken.
    pub(super) fn announce(&self, link: &Link) -> bool {
        if link.dirty.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut mail = self.mail();
        mail.dirty.push(link.index);
        wake(mail)
    }

    /// There is one channel more.
    pub(super) fn join(&self, joined: Joined) {
        let mut mail = self.mail();
        mail.joined.push(joined);
        wake(mail);
    }

    /// Something that all subscriptions wait for has changed.
    pub(super) fn wake(&self) {
        wake(self.mail());
    }
}

/// Wakes the reader after the lock is free; false if it is awake.
fn wake(mut mail: MutexGuard<'_, Mail>) -> bool {
    let waker = mail.waker.take();
    drop(mail);
    let Some(waker) = waker else { return false };
    waker.wake();
    true
}

/// A subscription as the writer knows it.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) view: View,
    pub(super) conflated: bool,
    /// Whether it wants instruments that are still to come.
    pub(super) all: bool,
    pub(super) books: Vec<InstrumentId>,
}
