//! What is known of the log: its end, and the end of every stream in it.

use super::format::{Commit, HEADER_BYTES, Stream};
use super::index::Index;
use super::stream::{Tail, Tree};
use crate::log::format::u64_at;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Where the next commit goes.
    pub(super) end: u64,
    /// The last commit's checksum; 0 before the first.
    pub(super) checksum: u32,
    /// Last event that is in.
    pub(super) watermark: u64,
    /// Last trade id; 0 before the first.
    pub(super) last_trade_id: u64,
    users: Vec<Tail>,
    instruments: Vec<Tail>,
    trades: Tail,
    symbols: Tail,
}

impl Default for State {
    fn default() -> Self {
        Self {
            end: HEADER_BYTES,
            checksum: 0,
            watermark: 0,
            last_trade_id: 0,
            users: Vec::new(),
            instruments: Vec::new(),
            trades: Tail::default(),
            symbols: Tail::default(),
        }
    }
}

impl State {
    /// None if nothing of it is there.
    pub(super) fn tail(&self, stream: Stream) -> Option<&Tail> {
        match stream {
            Stream::Reports(user) => self.users.get(user.0 as usize),
            Stream::InstrumentTrades(instrument) => self.instruments.get(instrument.0 as usize),
            Stream::Trades => Some(&self.trades),
            Stream::Symbols => Some(&self.symbols),
        }
    }

    pub(super) fn tail_mut(&mut self, stream: Stream) -> &mut Tail {
        let (tails, index) = match stream {
            Stream::Trades => return &mut self.trades,
            Stream::Symbols => return &mut self.symbols,
            Stream::Reports(user) => (&mut self.users, user.0 as usize),
            Stream::InstrumentTrades(instrument) => (&mut self.instruments, instrument.0 as usize),
        };
        if tails.len() <= index {
            tails.resize_with(index + 1, Tail::default);
        }
        &mut tails[index]
    }

    /// A commit is in.
    pub(super) fn apply(&mut self, commit: &Commit, checksum: u32) {
        self.end += commit.length;
        self.checksum = checksum;
        self.watermark = commit.watermark;
        self.last_trade_id = commit.last_trade_id;
    }

    /// Of each user; users after the end have none. Reports are numbered from 1 without gaps: the last number is
    /// how many there are.
    pub(super) fn last_report_seq(&self) -> Vec<u64> {
        self.users.iter().map(|tail| tail.count).collect()
    }

    /// Content of a checkpoint.
    pub(super) fn encode(&self, index: &Index) -> Vec<u8> {
        let mut out = Vec::with_capacity(index.heads().len() * 8 + (64 << 10));
        for number in [self.end, u64::from(self.checksum), self.watermark, self.last_trade_id] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for tails in [
            std::slice::from_ref(&self.symbols),
            std::slice::from_ref(&self.trades),
            &self.instruments,
            &self.users,
        ] {
            out.extend_from_slice(&(tails.len() as u64).to_le_bytes());
            for tail in tails {
                out.extend_from_slice(&tail.count.to_le_bytes());
                out.extend_from_slice(&(tail.trees().len() as u64).to_le_bytes());
                for tree in tail.trees() {
                    out.extend_from_slice(&tree.size.to_le_bytes());
                    out.extend_from_slice(&tree.root.to_le_bytes());
                }
            }
        }
        out.extend_from_slice(&(index.heads().len() as u64).to_le_bytes());
        for head in index.heads() {
            out.extend_from_slice(&head.to_le_bytes());
        }
        out
    }

    /// None if it is no checkpoint of a log with so many buckets.
    pub(super) fn decode(content: &[u8], buckets: usize) -> Option<(Self, Index)> {
        let mut rest = Rest(content);
        let mut state = Self {
            end: rest.number()?,
            checksum: u32::try_from(rest.number()?).ok()?,
            watermark: rest.number()?,
            last_trade_id: rest.number()?,
            ..Self::default()
        };
        let (mut symbols, mut trades) = (rest.tails()?, rest.tails()?);
        (state.symbols, state.trades) = (symbols.pop()?, trades.pop()?);
        state.instruments = rest.tails()?;
        state.users = rest.tails()?;
        if rest.number()? != buckets as u64 || rest.0.len() != buckets * 8 {
            return None;
        }
        let heads = rest.0.chunks_exact(8).map(|bytes| u64_at(bytes, 0)).collect();
        Some((state, Index::from_heads(heads)))
    }
}

/// What of a checkpoint is not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(8)?;
        self.0 = rest;
        Some(u64_at(number, 0))
    }

    /// How many of at least so many bytes each follow.
    fn count(&mut self, bytes: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len() / bytes).then_some(count)
    }

    fn tails(&mut self) -> Option<Vec<Tail>> {
        (0..self.count(16)?)
            .map(|_| {
                let messages = self.number()?;
                let trees = (0..self.count(16)?)
                    .map(|_| {
                        Some(Tree {
                            size: self.number()?,
                            root: self.number()?,
                        })
                    })
                    .collect::<Option<Vec<Tree>>>()?;
                Some(Tail::new(messages, trees))
            })
            .collect()
    }
}
