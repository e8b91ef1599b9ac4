//! Where done orders are: a hash table whose buckets are lists in the log.
//!
//! Memory holds the newest entry of each bucket, 8 bytes a bucket whatever happened. An entry links to the
//! one before in its bucket, so a lookup reads as many entries as there are orders and client ids done
//! since, or in all, by the number of buckets: with the default 4,194,304 buckets one or two until
//! millions are done, 24 for a hundred million keys, newest first.

use std::hash::Hasher;

use optivex_engine::types::{OrderId, UserId};
use siphasher::sip::SipHasher13;

use super::format::{HistoryId, LogHeader, NOWHERE};

/// How keys are made. Clients choose their ids: the hash is keyed, so that nobody can fill a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    id: HistoryId,
}

impl Keys {
    pub(super) fn new(header: &LogHeader) -> Self {
        Self { id: header.id }
    }

    pub(super) fn order(self, order: OrderId) -> u64 {
        order.0
    }

    pub(super) fn client_order_id(self, user: UserId, client_order_id: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.id);
        hasher.write(&user.0.to_le_bytes());
        hasher.write(client_order_id.as_bytes());
        hasher.finish()
    }
}

/// Newest entry of each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    heads: Vec<u64>,
    shift: u32,
    /// Buckets that changed since the last commit, and their entries before.
    undo: Vec<(usize, u64)>,
}

impl Index {
    pub(super) fn new(header: &LogHeader) -> Self {
        Self::from_heads(vec![NOWHERE; 1 << header.bucket_bits])
    }

    /// As many heads as a power of two.
    pub(super) fn from_heads(heads: Vec<u64>) -> Self {
        Self {
            shift: 64 - heads.len().trailing_zeros(),
            heads,
            undo: Vec::new(),
        }
    }

    pub(super) fn heads(&self) -> &[u64] {
        &self.heads
    }

    fn bucket(&self, key: u64) -> usize {
        // Fibonacci hashing: order ids differ in their middle bits, client ids' keys are hashes already.
        let bucket = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bucket.checked_shr(self.shift).unwrap_or(0) as usize
    }

    /// The newest entry that may be of the key.
    pub(super) fn head(&self, key: u64) -> u64 {
        self.heads[self.bucket(key)]
    }

    /// Asks for the buckets of keys that come next: reading them one after the other waits for the memory
    /// each time, reading them together waits once.
    pub(super) fn prefetch(&self, keys: impl Iterator<Item = u64>) {
        std::hint::black_box(keys.fold(0, |all, key| all ^ self.head(key)));
    }

    /// Puts an entry first in its bucket; the one that was first.
    pub(super) fn replace(&mut self, key: u64, place: u64) -> u64 {
        let bucket = self.bucket(key);
        let before = std::mem::replace(&mut self.heads[bucket], place);
        self.undo.push((bucket, before));
        before
    }

    /// What was replaced is written.
    pub(super) fn keep(&mut self) {
        self.undo.clear();
    }

    /// What was replaced since [`Index::keep`] could not be written.
    pub(super) fn undo(&mut self) {
        while let Some((bucket, before)) = self.undo.pop() {
            self.heads[bucket] = before;
        }
    }
}
