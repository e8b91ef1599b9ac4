//! The rows of history on disk.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `reports` | user, first `report_seq` | chunk of `optivex.v1.ExecutionReport` |
//! | `trades` | first `trade_id` | chunk of `optivex.v1.Trade` |
//! | `instrument_trades` | instrument, first `trade_id` | chunk of `optivex.v1.Trade` |
//! | `orders` | order id | user, `report_seq` of its last report |
//! | `client_order_ids` | user, client order id | `report_seq` of the last report of its newest order |
//! | `meta` | `F` | format version |
//! | `meta` | `W` | last event that is in, last trade id |
//! | `meta` | `U`, user | last `report_seq` |
//! | `meta` | `I`, instrument | symbol |
//!
//! Numbers are big-endian, so that keys sort as numbers do. A chunk is a sequence of length-delimited
//! protobuf messages; one write makes a chunk of all that it has for one user or instrument, so that the
//! price of a row is shared.

use std::panic;
use std::path::Path;

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};
use optivex_engine::types::{InstrumentId, OrderId, Symbol, UserId};
use optivex_proto::v1;
use prost::Message;

use super::{HistoryError, HistoryOptions};

const FORMAT_VERSION: u32 = 1;
const META_FORMAT: &[u8] = b"F";
const META_WATERMARK: &[u8] = b"W";
const META_USER: u8 = b'U';
const META_INSTRUMENT: u8 = b'I';

/// What the writer knows of what lies on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Last event that is in.
    pub(super) watermark: u64,
    /// Last trade id; 0 before the first.
    pub(super) last_trade_id: u64,
    /// Last report of each user, by [`UserId`]; users after the end have none.
    pub(super) last_report_seq: Vec<u64>,
    /// Symbol of each instrument, by [`InstrumentId`].
    pub(super) symbols: Vec<Symbol>,
}

impl Known {
    pub(super) fn report_seq(&self, user: UserId) -> u64 {
        self.last_report_seq.get(user.0 as usize).copied().unwrap_or(0)
    }

    pub(super) fn set_report_seq(&mut self, user: UserId, report_seq: u64) {
        let index = user.0 as usize;
        if self.last_report_seq.len() <= index {
            self.last_report_seq.resize(index + 1, 0);
        }
        self.last_report_seq[index] = report_seq;
    }
}

pub(super) struct Store {
    database: Database,
    reports: Keyspace,
    trades: Keyspace,
    instrument_trades: Keyspace,
    orders: Keyspace,
    client_order_ids: Keyspace,
    meta: Keyspace,
}

impl Store {
    /// The database panics on some kinds of damage instead of telling them, among them a write that a
    /// crash broke off; what it has in memory is dropped with it.
    pub(super) fn open(path: &Path, options: &HistoryOptions) -> Result<(Self, Known), HistoryError> {
        panic::catch_unwind(|| Self::try_open(path, options))
            .unwrap_or_else(|_| Err(HistoryError::damaged("the database's own")))
    }

    fn try_open(path: &Path, options: &HistoryOptions) -> Result<(Self, Known), HistoryError> {
        let database = Database::builder(path)
            .cache_size(options.cache_bytes)
            // Its journal is read only after a crash and dropped soon: a tenth of the writer's time.
            .journal_compression(CompressionType::None)
            .worker_threads(2)
            .max_journaling_size(options.memory_bytes.max(64 << 20) * 2)
            .open()?;
        let keyspace = |name: &str, share: u64| {
            let bytes = (options.memory_bytes / share).max(64 << 10);
            database.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(bytes))
        };
        let store = Self {
            reports: keyspace("reports", 4)?,
            trades: keyspace("trades", 8)?,
            instrument_trades: keyspace("instrument_trades", 8)?,
            orders: keyspace("orders", 8)?,
            client_order_ids: keyspace("client_order_ids", 8)?,
            meta: keyspace("meta", 16)?,
            database,
        };
        match store.meta.get(META_FORMAT)? {
            None => store.meta.insert(META_FORMAT, FORMAT_VERSION.to_be_bytes())?,
            Some(version) if *version == FORMAT_VERSION.to_be_bytes() => {}
            Some(version) => {
                let found = number(&version).map_or(0, |(number, _): (u32, _)| number);
                return Err(HistoryError::UnknownVersion { found });
            }
        }
        let known = store.known()?;
        Ok((store, known))
    }

    fn known(&self) -> Result<Known, HistoryError> {
        let mut known = Known::default();
        if let Some(row) = self.meta.get(META_WATERMARK)? {
            let (watermark, rest) = number(&row)?;
            let (last_trade_id, _): (u64, _) = number(rest)?;
            known.watermark = watermark;
            known.last_trade_id = last_trade_id;
        }
        for row in self.meta.prefix([META_USER]) {
            let (key, value) = row.into_inner()?;
            let (user, _): (u32, _) = number(&key[1..])?;
            let (report_seq, _): (u64, _) = number(&value)?;
            known.set_report_seq(UserId(user), report_seq);
        }
        for row in self.meta.prefix([META_INSTRUMENT]) {
            let (key, value) = row.into_inner()?;
            let (instrument, _): (u32, _) = number(&key[1..])?;
            let symbol = std::str::from_utf8(&value)
                .ok()
                .and_then(|text| Symbol::from(text).ok());
            match symbol {
                Some(symbol) if instrument as usize == known.symbols.len() => known.symbols.push(symbol),
                _ => return Err(HistoryError::damaged("instruments")),
            }
        }
        Ok(known)
    }

    /// Returns when everything that was committed is durable.
    pub(super) fn sync(&self) -> Result<(), HistoryError> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    pub(super) fn batch(&self) -> RowBatch<'_> {
        RowBatch {
            store: self,
            batch: self.database.batch(),
        }
    }

    pub(super) fn reports(
        &self,
        user: UserId,
        after_report_seq: u64,
        max: usize,
    ) -> Result<Vec<v1::ExecutionReport>, HistoryError> {
        self.chunks(
            &self.reports,
            &user.0.to_be_bytes(),
            after_report_seq,
            max,
            |report: &v1::ExecutionReport| report.report_seq,
        )
    }

    pub(super) fn trades(
        &self,
        instrument: Option<InstrumentId>,
        after_trade_id: u64,
        max: usize,
    ) -> Result<Vec<v1::Trade>, HistoryError> {
        let trade_id = |trade: &v1::Trade| trade.trade_id;
        match instrument {
            None => self.chunks(&self.trades, &[], after_trade_id, max, trade_id),
            Some(instrument) => {
                let prefix = instrument.0.to_be_bytes();
                self.chunks(&self.instrument_trades, &prefix, after_trade_id, max, trade_id)
            }
        }
    }

    pub(super) fn order(&self, order: OrderId) -> Result<Option<(UserId, v1::Order)>, HistoryError> {
        // One commit writes the pointer and what it points to, and becomes visible at once: the report
        // of a pointer that was read is there.
        let Some(row) = self.database.snapshot().get(&self.orders, order.0.to_be_bytes())? else {
            return Ok(None);
        };
        let (user, rest) = number(&row)?;
        let (report_seq, _) = number(rest)?;
        let user = UserId(user);
        Ok(Some((user, self.order_of_report(user, report_seq)?)))
    }

    pub(super) fn order_by_client_id(
        &self,
        user: UserId,
        client_order_id: &str,
    ) -> Result<Option<v1::Order>, HistoryError> {
        let key = client_key(user, client_order_id);
        let Some(row) = self.database.snapshot().get(&self.client_order_ids, key)? else {
            return Ok(None);
        };
        let (report_seq, _) = number(&row)?;
        Ok(Some(self.order_of_report(user, report_seq)?))
    }

    fn order_of_report(&self, user: UserId, report_seq: u64) -> Result<v1::Order, HistoryError> {
        let before = report_seq
            .checked_sub(1)
            .ok_or_else(|| HistoryError::damaged("orders"))?;
        self.reports(user, before, 1)?
            .pop()
            .filter(|report| report.report_seq == report_seq)
            .and_then(|report| report.order)
            .ok_or_else(|| HistoryError::damaged("orders"))
    }

    /// Messages after number `after` of the chunks with a prefix, at most `max`.
    fn chunks<M: Message + Default>(
        &self,
        keyspace: &Keyspace,
        prefix: &[u8],
        after: u64,
        max: usize,
        number_of: impl Fn(&M) -> u64,
    ) -> Result<Vec<M>, HistoryError> {
        let mut messages = Vec::new();
        let Some(from) = after.checked_add(1).filter(|_| max > 0) else {
            return Ok(messages);
        };
        let key = |number: u64| [prefix, &number.to_be_bytes()].concat();
        let view = self.database.snapshot();
        // The first message may lie within a chunk that starts before it.
        let first = view.range(keyspace, key(0)..=key(from)).next_back();
        let start = match first {
            Some(row) => row.key()?.to_vec(),
            None => key(from),
        };
        for row in view.range(keyspace, start..=key(u64::MAX)) {
            let value = row.value()?;
            let mut rest: &[u8] = &value;
            while !rest.is_empty() {
                let message =
                    M::decode_length_delimited(&mut rest).map_err(|_| HistoryError::damaged(keyspace.name()))?;
                if number_of(&message) > after {
                    messages.push(message);
                }
                if messages.len() == max {
                    return Ok(messages);
                }
            }
        }
        Ok(messages)
    }
}

/// Rows that are written all or not at all.
pub(super) struct RowBatch<'a> {
    store: &'a Store,
    batch: OwnedWriteBatch,
}

impl RowBatch<'_> {
    pub(super) fn reports(&mut self, user: UserId, first_report_seq: u64, chunk: Vec<u8>) {
        let key = [&user.0.to_be_bytes()[..], &first_report_seq.to_be_bytes()].concat();
        self.batch.insert(&self.store.reports, key, chunk);
    }

    pub(super) fn trades(&mut self, first_trade_id: u64, chunk: Vec<u8>) {
        self.batch
            .insert(&self.store.trades, first_trade_id.to_be_bytes(), chunk);
    }

    pub(super) fn instrument_trades(&mut self, instrument: InstrumentId, first_trade_id: u64, chunk: Vec<u8>) {
        let key = [&instrument.0.to_be_bytes()[..], &first_trade_id.to_be_bytes()].concat();
        self.batch.insert(&self.store.instrument_trades, key, chunk);
    }

    pub(super) fn done_order(&mut self, order: OrderId, user: UserId, client_order_id: &str, last_report_seq: u64) {
        let mut value = [0; 12];
        value[..4].copy_from_slice(&user.0.to_be_bytes());
        value[4..].copy_from_slice(&last_report_seq.to_be_bytes());
        self.batch.insert(&self.store.orders, order.0.to_be_bytes(), value);
        if !client_order_id.is_empty() {
            let key = client_key(user, client_order_id);
            self.batch
                .insert(&self.store.client_order_ids, key, last_report_seq.to_be_bytes());
        }
    }

    pub(super) fn user(&mut self, user: UserId, last_report_seq: u64) {
        let key = [&[META_USER][..], &user.0.to_be_bytes()].concat();
        self.batch.insert(&self.store.meta, key, last_report_seq.to_be_bytes());
    }

    pub(super) fn instrument(&mut self, instrument: InstrumentId, symbol: &str) {
        let key = [&[META_INSTRUMENT][..], &instrument.0.to_be_bytes()].concat();
        self.batch.insert(&self.store.meta, key, symbol.as_bytes());
    }

    /// Writes the rows, and that everything up to `watermark` is in.
    pub(super) fn commit(mut self, watermark: u64, last_trade_id: u64) -> Result<(), HistoryError> {
        let value = [watermark.to_be_bytes(), last_trade_id.to_be_bytes()].concat();
        self.batch.insert(&self.store.meta, META_WATERMARK, value);
        Ok(self.batch.commit()?)
    }
}

fn client_key(user: UserId, client_order_id: &str) -> Vec<u8> {
    [&user.0.to_be_bytes()[..], client_order_id.as_bytes()].concat()
}

trait FromBigEndian: Sized {
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])>;
}

impl FromBigEndian for u32 {
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (number, rest) = bytes.split_first_chunk()?;
        Some((Self::from_be_bytes(*number), rest))
    }
}

impl FromBigEndian for u64 {
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (number, rest) = bytes.split_first_chunk()?;
        Some((Self::from_be_bytes(*number), rest))
    }
}

fn number<N: FromBigEndian>(bytes: &[u8]) -> Result<(N, &[u8]), HistoryError> {
    N::split(bytes).ok_or_else(|| HistoryError::damaged("numbers"))
}
