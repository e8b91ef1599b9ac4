//! Events as a commit of the log.

use optivex_engine::Event;
use optivex_engine::event::{Outcome, Report, Trade};
use optivex_engine::types::{InstrumentId, OrderStatus, Symbol, UserId};

use super::format::{
    BLOCK_BYTES, Block, COMMIT_BYTES, Commit, Digest, ENTRY_BYTES, Entry, PAYLOAD_FULL_BYTES, Seed, Stream,
};
use super::index::{Index, Keys};
use super::state::State;
use super::stream::Tail;
use super::{HistoryError, encode};

/// What a buffer keeps from one commit to the next.
const KEPT_BYTES: usize = 8 << 20;
const NONE: u32 = u32::MAX;
/// Events that are asked for at once.
const EVENTS_FETCHED: usize = 16;
/// Done orders whose buckets are asked for at once.
const PREFETCHED: usize = 32;

/// One message of one stream; a trade is two.
struct Item {
    number: u64,
    /// Within [`Projection::messages`].
    start: usize,
    length: usize,
    /// The next one of the stream.
    next: u32,
    /// Where it came to lie: its block, and its offset there.
    block: u64,
    offset: u32,
}

/// What a commit has of one stream.
struct Group {
    stream: Stream,
    first: u32,
    last: u32,
    /// Messages with those before; as in the log at first.
    count: u64,
    /// The end of the stream with what the commit has of it.
    tail: Tail,
}

/// A message that is the last of an order.
struct Done {
    item: u32,
    order_key: u64,
    client_key: Option<u64>,
}

impl Done {
    fn keys(&self) -> impl Iterator<Item = u64> + use<> {
        std::iter::once(self.order_key).chain(self.client_key)
    }
}

/// Gathers consecutive events; its buffers are used again.
pub(super) struct Projection {
    keys: Keys,
    /// Of all instruments, those that were created by gathered events last.
    symbols: Vec<Symbol>,
    committed_symbols: usize,
    watermark: u64,
    last_trade_id: u64,
    /// Messages as they came.
    messages: Vec<u8>,
    items: Vec<Item>,
    groups: Vec<Group>,
    done: Vec<Done>,
    groups_of: GroupsOf,
    /// The commit.
    bytes: Vec<u8>,
    digest: Digest,
    blocks: u32,
}

/// The group of each stream in the commit, or [`NONE`].
struct GroupsOf {
    users: Vec<u32>,
    instruments: Vec<u32>,
    trades: u32,
    symbols: u32,
}

impl GroupsOf {
    fn of(&mut self, stream: Stream) -> &mut u32 {
        let (groups, index) = match stream {
            Stream::Trades => return &mut self.trades,
            Stream::Symbols => return &mut self.symbols,
            Stream::Reports(user) => (&mut self.users, user.0 as usize),
            Stream::InstrumentTrades(instrument) => (&mut self.instruments, instrument.0 as usize),
        };
        if groups.len() <= index {
            groups.resize(index + 1, NONE);
        }
        &mut groups[index]
    }
}

impl Projection {
    /// For a log with these symbols.
    pub(super) fn new(keys: Keys, symbols: Vec<Symbol>) -> Self {
        Self {
            keys,
            committed_symbols: symbols.len(),
            symbols,
            watermark: 0,
            last_trade_id: 0,
            messages: Vec::new(),
            items: Vec::new(),
            groups: Vec::new(),
            done: Vec::new(),
            groups_of: GroupsOf {
                users: Vec::new(),
                instruments: Vec::new(),
                trades: NONE,
                symbols: NONE,
            },
            bytes: Vec::new(),
            digest: Digest::default(),
            blocks: 0,
        }
    }

    /// Begins a commit; what was gathered and not written is forgotten.
    pub(super) fn begin(&mut self, state: &State) {
        for group in self.groups.drain(..) {
            *self.groups_of.of(group.stream) = NONE;
        }
        self.symbols.truncate(self.committed_symbols);
        self.messages.clear();
        self.messages.shrink_to(KEPT_BYTES);
        self.items.clear();
        self.items.shrink_to(KEPT_BYTES / size_of::<Item>());
        self.done.clear();
        self.done.shrink_to(KEPT_BYTES / size_of::<Done>());
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.watermark = state.watermark;
        self.last_trade_id = state.last_trade_id;
    }

    /// Whether nothing was gathered.
    pub(super) fn is_empty(&self, state: &State) -> bool {
        self.watermark == state.watermark
    }

    /// Adds the next events; those that are in already are passed over.
    pub(super) fn add_all(&mut self, events: &[Event], state: &State) -> Result<(), HistoryError> {
        for events in events.chunks(EVENTS_FETCHED) {
            fetch(events);
            for event in events {
                self.add(event, state)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, event: &Event, state: &State) -> Result<(), HistoryError> {
        if event.event_seq <= self.watermark {
            return Ok(());
        }
        if event.event_seq != self.watermark + 1 {
            return Err(HistoryError::Inconsistent {
                event_seq: event.event_seq,
                why: format!("the last event here is {}", self.watermark),
            });
        }
        self.watermark = event.event_seq;
        if let Outcome::InstrumentCreated(instrument) = &event.outcome {
            if instrument.id.0 as usize != self.symbols.len() {
                return Err(inconsistent(event, "an instrument is missing"));
            }
            let start = self.messages.len();
            encode::symbol(&mut self.messages, &instrument.symbol);
            self.push(Stream::Symbols, self.symbols.len() as u64, start, state);
            self.symbols.push(instrument.symbol);
        }
        for trade in &event.trades {
            self.add_trade(event, trade, state)?;
        }
        for report in &event.reports {
            self.add_report(event, report, state)?;
        }
        Ok(())
    }

    fn add_trade(&mut self, event: &Event, trade: &Trade, state: &State) -> Result<(), HistoryError> {
        let trade_id = trade.trade_id.0;
        if trade_id <= self.last_trade_id {
            return Err(inconsistent(event, "a trade id does not grow"));
        }
        self.last_trade_id = trade_id;
        let start = self.messages.len();
        let symbol = symbol(event, &self.symbols, trade.instrument)?;
        encode::trade(&mut self.messages, event, trade, symbol);
        self.push(Stream::Trades, trade_id, start, state);
        self.push(Stream::InstrumentTrades(trade.instrument), trade_id, start, state);
        Ok(())
    }

    fn add_report(&mut self, event: &Event, report: &Report, state: &State) -> Result<(), HistoryError> {
        let order = &report.order;
        let start = self.messages.len();
        let symbol = symbol(event, &self.symbols, order.instrument)?;
        encode::report(&mut self.messages, event, report, symbol);
        let (item, count) = self.push(Stream::Reports(order.user), report.report_seq, start, state);
        if report.report_seq != count {
            return Err(inconsistent(event, "a report is missing"));
        }
        if order.status != OrderStatus::Open {
            let client_key = (!order.client_order_id.is_empty())
                .then(|| self.keys.client_order_id(order.user, &order.client_order_id));
            self.done.push(Done {
                item,
                order_key: self.keys.order(order.order_id),
                client_key,
            });
        }
        Ok(())
    }

    /// Adds the message that was written from `start` on: the item, and how many messages the stream has
    /// with it.
    fn push(&mut self, stream: Stream, number: u64, start: usize, state: &State) -> (u32, u64) {
        let item = u32::try_from(self.items.len()).expect("a commit of 4 billion messages has no memory");
        self.items.push(Item {
            number,
            start,
            length: self.messages.len() - start,
            next: NONE,
            block: 0,
            offset: 0,
        });
        let place = self.groups_of.of(stream);
        if *place == NONE {
            *place = self.groups.len() as u32;
            let tail = state.tail(stream).cloned().unwrap_or_default();
            self.groups.push(Group {
                stream,
                first: item,
                last: item,
                count: tail.count + 1,
                tail,
            });
            return (item, self.groups[*place as usize].count);
        }
        let group = &mut self.groups[*place as usize];
        self.items[group.last as usize].next = item;
        group.last = item;
        group.count += 1;
        (item, group.count)
    }

    /// Makes the commit's blocks: what of a stream came together lies together.
    pub(super) fn write_blocks(&mut self, end: u64, seed: Seed) {
        self.bytes.reserve(self.messages.len() * 5 / 4);
        self.bytes.resize(COMMIT_BYTES, 0);
        self.digest = Digest::default();
        self.blocks = 0;
        for group in &mut self.groups {
            let mut next = group.first;
            while next != NONE {
                let start = self.bytes.len();
                let place = end + start as u64;
                let number = self.items[next as usize].number;
                let mut block = Block::new(group.stream, number, group.tail.count, group.tail.links());
                self.bytes.resize(start + BLOCK_BYTES, 0);
                while let Some(item) = self.items.get_mut(next as usize) {
                    let offset = self.bytes.len() - start - BLOCK_BYTES;
                    if offset >= PAYLOAD_FULL_BYTES {
                        break;
                    }
                    item.block = place;
                    item.offset = offset as u32;
                    self.bytes
                        .extend_from_slice(&self.messages[item.start..item.start + item.length]);
                    block.count += 1;
                    next = item.next;
                }
                self.digest.add(block.encode(&mut self.bytes[start..], seed, place));
                self.blocks += 1;
                group.tail.push(place, block.count.into());
            }
        }
    }

    /// Makes the commit's entries and its header.
    pub(super) fn write_entries(&mut self, end: u64, previous: u32, seed: Seed, index: &mut Index) -> Written {
        self.bytes.reserve(self.done.len() * 2 * ENTRY_BYTES);
        let mut entries = 0;
        for some in self.done.chunks(PREFETCHED) {
            index.prefetch(some.iter().flat_map(Done::keys));
            for done in some {
                let item = &self.items[done.item as usize];
                for key in done.keys() {
                    let place = end + self.bytes.len() as u64;
                    let entry = Entry {
                        offset: item.offset,
                        key,
                        block: item.block,
                        previous: index.replace(key, place),
                    };
                    self.digest.add(entry.encode(&mut self.bytes, seed, place));
                    entries += 1;
                }
            }
        }
        let commit = Commit {
            length: self.bytes.len() as u64,
            watermark: self.watermark,
            last_trade_id: self.last_trade_id,
            blocks: self.blocks,
            entries,
        };
        let header = &mut self.bytes[..COMMIT_BYTES];
        let checksum = commit.encode(header, seed, previous, end, self.digest);
        Written { commit, checksum }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The commit is in the log: the state after it, and the last report of each user that has new ones.
    pub(super) fn committed(&mut self, written: &Written, state: &mut State) -> Vec<(UserId, u64)> {
        state.apply(&written.commit, written.checksum);
        self.committed_symbols = self.symbols.len();
        let mut users = Vec::new();
        for group in &mut self.groups {
            if let Stream::Reports(user) = group.stream {
                users.push((user, group.count));
            }
            *state.tail_mut(group.stream) = std::mem::take(&mut group.tail);
        }
        users
    }
}

/// Asks for what the events hold, which another processor wrote: reading it event by event waits for each,
/// reading it at once waits once. Nine tenths of [`Projection::add`] were this waiting.
fn fetch(events: &[Event]) {
    let reports = events.iter().flat_map(|event| &event.reports).fold(0, |all, report| {
        all ^ report.report_seq ^ report.order.order_id.0 ^ report.order.event_seq
    });
    let trades = events.iter().flat_map(|event| &event.trades);
    std::hint::black_box(trades.fold(reports, |all, trade| all ^ trade.trade_id.0));
}

/// What the log is to have at its end.
pub(super) struct Written {
    commit: Commit,
    checksum: u32,
}

fn symbol<'a>(event: &Event, symbols: &'a [Symbol], instrument: InstrumentId) -> Result<&'a Symbol, HistoryError> {
    symbols
        .get(instrument.0 as usize)
        .ok_or_else(|| inconsistent(event, "it names an unknown instrument"))
}

fn inconsistent(event: &Event, why: &str) -> HistoryError {
    HistoryError::Inconsistent {
        event_seq: event.event_seq,
        why: why.to_owned(),
    }
}
