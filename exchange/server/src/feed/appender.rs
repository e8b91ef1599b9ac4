//! The writer's bookkeeping over all channels: what was appended and is to be announced or marked, and
//! how much is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::FeedSettings;
use super::channel::{Channel, Item, Kind, State};
use super::frame::UpdateEncoder;

/// Items that are evicted at a time when all channels together keep too much.
const EVICTED_AT_A_TIME: usize = 256;

#[derive(Debug)]
pub(super) struct Appender {
    /// The heartbeat interval that runs, from 1.
    pub(super) epoch: u64,
    channel_changes_max: usize,
    channel_bytes_max: usize,
    kept_bytes_max: usize,
    /// Items appended in all, and when readers were told last.
    appended: u64,
    announced: u64,
    /// Channels that were appended to since the last announcement.
    to_announce: Vec<Arc<Channel>>,
    /// Channels with news that conflated readers were not told yet.
    conflated_news: Vec<Arc<Channel>>,
    /// Most changes of one channel that conflated readers were not told yet.
    conflated_behind: u64,
    /// Channels whose levels changed in this interval.
    to_mark: Vec<Arc<Channel>>,
    /// Those of the interval before: what was merged of them then has served.
    marked: Vec<Arc<Channel>>,
    /// Channels that keep something, by the age of the oldest item that they keep.
    ages: BTreeMap<u64, Arc<Channel>>,
    /// What all channels keep.
    kept_bytes: usize,
    encoder: UpdateEncoder,
}

impl Appender {
    pub(super) fn new(settings: &FeedSettings) -> Self {
        Self {
            epoch: 1,
            channel_changes_max: settings.channel_changes_max,
            channel_bytes_max: settings.channel_bytes_max,
            kept_bytes_max: settings.kept_bytes_max,
            appended: 0,
            announced: 0,
            to_announce: Vec::new(),
            conflated_news: Vec::new(),
            conflated_behind: 0,
            to_mark: Vec::new(),
            marked: Vec::new(),
            ages: BTreeMap::new(),
            kept_bytes: 0,
            encoder: UpdateEncoder::default(),
        }
    }

    /// What all channels keep, in bytes.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Appends to a channel, whose state the caller has locked.
    pub(super) fn append(&mut self, channel: &Arc<Channel>, state: &mut State, kind: Kind) {
        if matches!(kind, Kind::Update(_)) {
            self.mark_later(channel, state);
        }
        self.appended += 1;
        let item = Item {
            epoch: self.epoch,
            number: self.appended,
            book_seq: state.book_seq,
            message: state.encode(&channel.symbol, &kind, &mut self.encoder),
            kind,
        };
        let before = state.bytes();
        state.append(item);
        state.evict(self.channel_changes_max, self.channel_bytes_max);
        self.account(channel, state, before);
        if !state.to_announce {
            state.to_announce = true;
            self.to_announce.push(Arc::clone(channel));
        }
    }

    /// Has a channel marked at the end of this interval.
    pub(super) fn mark_later(&mut self, channel: &Arc<Channel>, state: &mut State) {
        if !state.to_mark {
            state.to_mark = true;
            self.to_mark.push(Arc::clone(channel));
        }
    }

    /// Whether something was appended that nobody was told of.
    pub(super) fn has_news(&self) -> bool {
        !self.to_announce.is_empty()
    }

    /// Whether a fair part of what is kept of some channel may be new to its readers.
    pub(super) fn are_far_behind(&self) -> bool {
        self.appended - self.announced > self.channel_changes_max as u64 / 4
    }

    /// Tells the readers of every change of what was appended; [`Appender::announce_conflated`] does for
    /// the others. How many had to be woken.
    pub(super) fn announce(&mut self) -> u32 {
        self.announced = self.appended;
        let mut woken = 0;
        for channel in self.to_announce.drain(..) {
            let mut guard = channel.lock();
            let state = &mut *guard;
            state.to_announce = false;
            if state.has_lossless_links() {
                for link in state.links.values().filter(|link| !link.conflated) {
                    woken += u32::from(link.subscriber.announce(link));
                }
            }
            if state.conflated_links == 0 {
                continue;
            }
            self.conflated_behind = self.conflated_behind.max(state.ring.head() - state.conflated_to);
            if !state.has_conflated_news {
                state.has_conflated_news = true;
                drop(guard);
                self.conflated_news.push(channel);
            }
        }
        woken
    }

    pub(super) fn has_conflated_news(&self) -> bool {
        !self.conflated_news.is_empty()
    }

    /// Whether half of what is kept for them is new to conflated readers of some channel.
    pub(super) fn conflated_are_far_behind(&self) -> bool {
        self.conflated_behind > self.channel_changes_max as u64 / 2
    }

    /// Tells conflated readers of everything that was announced.
    pub(super) fn announce_conflated(&mut self) {
        self.conflated_behind = 0;
        for channel in self.conflated_news.drain(..) {
            let mut state = channel.lock();
            state.has_conflated_news = false;
            state.conflated_to = state.ring.head();
            for link in state.links.values().filter(|link| link.conflated) {
                link.subscriber.announce(link);
            }
        }
    }

    /// Marks the channels that changed in this interval and that somebody follows.
    pub(super) fn mark(&mut self) {
        for channel in self.marked.drain(..) {
            channel.lock().merged = None;
        }
        for channel in std::mem::take(&mut self.to_mark) {
            let mut state = channel.lock();
            state.to_mark = false;
            if !state.links.is_empty() {
                let mark = Kind::Mark(state.checksum());
                self.append(&channel, &mut state, mark);
            }
            drop(state);
            self.marked.push(channel);
        }
        self.announce();
        // A heartbeat tells what a reader holds: everything of the interval.
        self.announce_conflated();
    }

    /// Evicts the oldest items of all channels until all that is kept is within its bound.
    pub(super) fn evict_oldest(&mut self) {
        while self.kept_bytes > self.kept_bytes_max {
            let Some((_, channel)) = self.ages.first_key_value() else {
                break;
            };
            let channel = Arc::clone(channel);
            let mut state = channel.lock();
            let before = state.bytes();
            state.tail = None;
            for _ in 0..EVICTED_AT_A_TIME {
                let Some((_, item)) = state.ring.pop() else { break };
                state.log.forget(item.message.end);
            }
            self.account(&channel, &mut state, before);
        }
    }

    /// Frees what only conflated readers needed.
    pub(super) fn drop_tail(&mut self, channel: &Arc<Channel>, state: &mut State) {
        let before = state.bytes();
        state.tail = None;
        self.account(channel, state, before);
    }

    /// A channel that goes away: nobody follows it.
    pub(super) fn forget(&mut self, state: &mut State) {
        self.kept_bytes -= state.bytes();
        if let Some(age) = state.age.take() {
            self.ages.remove(&age);
        }
    }

    /// Keeps the sums over all channels right after a change of what one keeps.
    fn account(&mut self, channel: &Arc<Channel>, state: &mut State, before: usize) {
        self.kept_bytes = self.kept_bytes + state.bytes() - before;
        let age = state.ring.oldest().map(|item| item.number);
        if age != state.age {
            if let Some(old) = state.age {
                self.ages.remove(&old);
            }
            if let Some(new) = age {
                self.ages.insert(new, Arc::clone(channel));
            }
            state.age = age;
        }
    }
}
