//! Events whose readers are done with them, so that their memory serves again: an event is made on one
//! thread and was freed on another, which is what allocators like least.

use std::collections::VecDeque;
use std::sync::Arc;

use optivex_engine::Event;
use optivex_journal::Events;

/// Turns that are watched until their last reader is done; a reader that keeps one longer keeps it.
const LENT_MAX: usize = 512;
/// Events that are kept for use.
const FREE_MAX: usize = 8_192;
/// Trades, reports or levels that an event may have room for: what a giant needed is given back.
const ITEMS_MAX: usize = 16;

/// Events that may be used again.
#[derive(Default)]
pub(super) struct UsedEvents {
    free: Vec<Event>,
    /// Shared with readers, oldest first.
    lent: VecDeque<Events>,
}

impl UsedEvents {
    /// An event of any content, with room for what is usual.
    pub(super) fn take(&mut self) -> Event {
        self.free.pop().unwrap_or_default()
    }

    /// Takes an event back that nobody reads.
    pub(super) fn give(&mut self, event: Event) {
        let items = event
            .trades
            .capacity()
            .max(event.reports.capacity())
            .max(event.levels.capacity());
        if items <= ITEMS_MAX && self.free.len() < FREE_MAX {
            self.free.push(event);
        }
    }

    /// Watches a turn's events, and takes back those of turns that all readers are done with.
    pub(super) fn lend(&mut self, events: &Events) {
        if !events.is_empty() {
            self.lent.push_back(Arc::clone(events));
        }
        while let Some(oldest) = self.lent.pop_front() {
            match Arc::try_unwrap(oldest) {
                Ok(events) => events.into_iter().for_each(|event| self.give(event)),
                Err(oldest) if self.lent.len() < LENT_MAX => return self.lent.push_front(oldest),
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: u64) -> Events {
        Arc::new(
            (1..=count)
                .map(|event_seq| Event {
                    event_seq,
                    levels: Vec::with_capacity(4),
                    ..Event::default()
                })
                .collect(),
        )
    }

    #[test]
    fn what_nobody_reads_is_used_again() {
        let mut used = UsedEvents::default();
        let (first, second) = (events(3), events(2));
        used.lend(&first);
        used.lend(&second);
        drop(second);
        used.lend(&Events::default());
        assert_eq!((used.free.len(), used.lent.len()), (0, 2), "the oldest has a reader");
        drop(first);
        used.lend(&Events::default());
        assert_eq!((used.free.len(), used.lent.len()), (5, 0));
        assert!(used.take().levels.capacity() >= 4);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut used = UsedEvents::default();
        let kept: Vec<_> = (0..2 * LENT_MAX).map(|_| events(1)).collect();
        kept.iter().for_each(|events| used.lend(events));
        assert_eq!(used.lent.len(), LENT_MAX);
        used.give(Event {
            reports: Vec::with_capacity(ITEMS_MAX + 1),
            ..Event::default()
        });
        assert_eq!(used.free.len(), 0, "a giant");
        (0..2 * FREE_MAX).for_each(|_| used.give(Event::default()));
        assert_eq!(used.free.len(), FREE_MAX);
    }
}
