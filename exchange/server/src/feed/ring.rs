//! The newest items of an endless sequence, by position, within a number of bytes.

use std::collections::VecDeque;

/// Keeps items until they are evicted; positions go on from 0 and are never reused.
#[derive(Debug)]
pub(super) struct Ring<T> {
    start: u64,
    items: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            start: 0,
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Ring<T> {
    /// Position of the oldest item that is kept.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Position of the next item to come.
    pub(super) fn head(&self) -> u64 {
        self.start + self.items.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, item: T, bytes: usize) {
        self.items.push_back((item, bytes));
        self.bytes += bytes;
    }

    /// Evicts the oldest item.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        let (item, bytes) = self.items.pop_front()?;
        let position = self.start;
        self.start += 1;
        self.bytes -= bytes;
        Some((position, item))
    }

    pub(super) fn oldest(&self) -> Option<&T> {
        self.items.front().map(|(item, _)| item)
    }

    /// The first item that does not fit, and its position; those that fit come first.
    pub(super) fn first_not(&self, fits: impl Fn(&T) -> bool) -> Option<(u64, &T)> {
        let index = self.items.partition_point(|(item, _)| fits(item));
        let (item, _) = self.items.get(index)?;
        Some((self.start + index as u64, item))
    }

    /// The item at a position.
    pub(super) fn get(&self, position: u64) -> Option<&T> {
        let index = usize::try_from(position.checked_sub(self.start)?).ok()?;
        self.items.get(index).map(|(item, _)| item)
    }

    /// Items from one position to another, those that are kept.
    pub(super) fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &T> {
        let index = |position: u64| {
            let index = usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX);
            index.min(self.items.len())
        };
        let (from, to) = (index(from), index(to));
        self.items.range(from.min(to)..to).map(|(item, _)| item)
    }

    /// Items from a position on; `None` if some of them are not kept any more.
    pub(super) fn after(&self, cursor: u64) -> Option<impl Iterator<Item = &T>> {
        let skip = usize::try_from(cursor.checked_sub(self.start)?).ok()?;
        Some(self.items.range(skip.min(self.items.len())..).map(|(item, _)| item))
    }
}
