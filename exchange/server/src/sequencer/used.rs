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
/// Trades, reports or levels of a usual event: what a giant needed is given back.
const ITEMS_MAX: usize = 32;

/// Whether an event that was just made may be kept for use.
pub(super) fn is_usual(event: &Event) -> bool {
    event.trades.len().max(event.reports.len()).max(event.levels.len()) <= ITEMS_MAX
}

/// Events that may be used again: where they lie, a turn at a time, because moving them costs more than
/// making them does.
#[derive(Default)]
pub(super) struct UsedEvents {
    /// Of turns that nobody reads any more.
    turns: Vec<Vec<Event>>,
    /// What turns had too many.
    single: Vec<Event>,
    /// Events in both.
    free: usize,
    /// Shared with readers, oldest first.
    lent: VecDeque<Events>,
}

impl UsedEvents {
    /// Events of any content, for a turn of about so many: as many or fewer.
    pub(super) fn take(&mut self, commands: usize) -> Vec<Event> {
        let mut events = self.turns.pop().unwrap_or_default();
        self.free -= events.len();
        self.give_rest(&mut events, commands);
        events
    }

    /// One more, of any content.
    pub(super) fn take_one(&mut self) -> Event {
        let Some(event) = self.single.pop() else {
            return Event::default();
        };
        self.free -= 1;
        event
    }

    /// Takes a turn's events back, which nobody reads.
    fn give(&mut self, mut events: Vec<Event>) {
        events.truncate(FREE_MAX - self.free);
        self.free += events.len();
        if !events.is_empty() {
            self.turns.push(events);
        }
    }

    /// Takes back what follows the first `used` of a turn's events.
    pub(super) fn give_rest(&mut self, events: &mut Vec<Event>, used: usize) {
        if events.len() > used {
            let rest = events.drain(used..).take(FREE_MAX - self.free);
            self.free += rest.len();
            self.single.extend(rest);
        }
    }

    /// Watches a turn's events, and takes back those of turns that all readers are done with.
    pub(super) fn lend(&mut self, events: &Events) {
        if !events.is_empty() {
            self.lent.push_back(Arc::clone(events));
        }
        while let Some(oldest) = self.lent.pop_front() {
            match Arc::try_unwrap(oldest) {
                Ok(events) => self.give(events),
                Err(oldest) if self.lent.len() < LENT_MAX => return self.lent.push_front(oldest),
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(count: u64) -> Vec<Event> {
        (1..=count)
            .map(|event_seq| Event {
                event_seq,
                levels: Vec::with_capacity(4),
                ..Event::default()
            })
            .collect()
    }

    #[test]
    fn what_nobody_reads_is_used_again() {
        let mut used = UsedEvents::default();
        let (first, second) = (Arc::new(some(3)), Arc::new(some(2)));
        used.lend(&first);
        used.lend(&second);
        drop(second);
        used.lend(&Events::default());
        assert_eq!((used.free, used.lent.len()), (0, 2), "the oldest has a reader");
        drop(first);
        used.lend(&Events::default());
        assert_eq!((used.free, used.lent.len()), (5, 0));
        let events = used.take(1);
        assert_eq!((events.len(), used.free), (1, 4), "the other one is for others");
        assert!(used.take_one().levels.capacity() >= 4);
        assert_eq!((used.take(64).len(), used.take(64).len(), used.free), (3, 0, 0));
        assert_eq!(used.take_one().levels.capacity(), 0, "a new one");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut used = UsedEvents::default();
        let kept: Vec<_> = (0..2 * LENT_MAX).map(|_| Arc::new(some(1))).collect();
        kept.iter().for_each(|events| used.lend(events));
        assert_eq!(used.lent.len(), LENT_MAX);
        used.give(some(FREE_MAX as u64 - 1));
        used.give_rest(&mut some(3), 1);
        used.give(some(1));
        assert_eq!(used.free, FREE_MAX);
        assert_eq!(
            (used.turns.len(), used.turns[0].len(), used.single.len()),
            (1, FREE_MAX - 1, 1)
        );
        let level = optivex_engine::types::Level {
            price_e4: 1,
            quantity: 1,
            order_count: 1,
        };
        let mut event = Event::default();
        assert!(is_usual(&event));
        event.levels = vec![level; ITEMS_MAX + 1];
        assert!(!is_usual(&event), "a giant");
    }
}
