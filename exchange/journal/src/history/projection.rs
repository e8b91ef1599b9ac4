//! Events as rows.

use std::collections::BTreeMap;

use optivex_engine::Event;
use optivex_engine::event::{Outcome, Report, Trade};
use optivex_engine::types::{InstrumentId, OrderStatus, Symbol, UserId};

use super::store::{Known, RowBatch};
use super::{HistoryError, encode};

/// A chunk gets no further message once it is this large: reading one message reads its chunk.
const CHUNK_BYTES: usize = 8 << 10;

/// Messages on their way into one row.
#[derive(Default)]
struct Chunk {
    first: u64,
    bytes: Vec<u8>,
}

impl Chunk {
    /// Adds a message; gives back the chunk before it if that one is full.
    fn push(&mut self, number: u64, write: impl FnOnce(&mut Vec<u8>)) -> Option<(u64, Vec<u8>)> {
        let full = (self.bytes.len() >= CHUNK_BYTES).then(|| self.take());
        if self.bytes.is_empty() {
            self.first = number;
        }
        write(&mut self.bytes);
        full
    }

    fn take(&mut self) -> (u64, Vec<u8>) {
        (self.first, std::mem::take(&mut self.bytes))
    }
}

/// Gathers the rows of consecutive events.
#[derive(Default)]
pub(super) struct Projection {
    reports: BTreeMap<UserId, Chunk>,
    trades: Chunk,
    instrument_trades: BTreeMap<InstrumentId, Chunk>,
}

impl Projection {
    /// Adds the next event; one that is in already is passed over.
    pub(super) fn add(
        &mut self,
        event: &Event,
        known: &mut Known,
        rows: &mut RowBatch<'_>,
    ) -> Result<(), HistoryError> {
        if event.event_seq <= known.watermark {
            return Ok(());
        }
        if event.event_seq != known.watermark + 1 {
            return Err(HistoryError::Inconsistent {
                event_seq: event.event_seq,
                why: format!("the last event here is {}", known.watermark),
            });
        }
        known.watermark = event.event_seq;
        if let Outcome::InstrumentCreated(instrument) = &event.outcome {
            if instrument.id.0 as usize != known.symbols.len() {
                return Err(inconsistent(event, "an instrument is missing"));
            }
            known.symbols.push(instrument.symbol);
            rows.instrument(instrument.id, &instrument.symbol);
        }
        for trade in &event.trades {
            self.add_trade(event, trade, known, rows)?;
        }
        for report in &event.reports {
            self.add_report(event, report, known, rows)?;
        }
        Ok(())
    }

    fn add_trade(
        &mut self,
        event: &Event,
        trade: &Trade,
        known: &mut Known,
        rows: &mut RowBatch<'_>,
    ) -> Result<(), HistoryError> {
        let trade_id = trade.trade_id.0;
        if trade_id <= known.last_trade_id {
            return Err(inconsistent(event, "a trade id does not grow"));
        }
        known.last_trade_id = trade_id;
        let symbol = symbol(event, known, trade.instrument)?;
        let write = |out: &mut Vec<u8>| encode::trade(out, event, trade, symbol);
        if let Some((first, chunk)) = self.trades.push(trade_id, write) {
            rows.trades(first, chunk);
        }
        let chunk = self.instrument_trades.entry(trade.instrument).or_default();
        if let Some((first, chunk)) = chunk.push(trade_id, write) {
            rows.instrument_trades(trade.instrument, first, chunk);
        }
        Ok(())
    }

    fn add_report(
        &mut self,
        event: &Event,
        report: &Report,
        known: &mut Known,
        rows: &mut RowBatch<'_>,
    ) -> Result<(), HistoryError> {
        let order = &report.order;
        if report.report_seq != known.report_seq(order.user) + 1 {
            return Err(inconsistent(event, "a report is missing"));
        }
        known.set_report_seq(order.user, report.report_seq);
        let symbol = symbol(event, known, order.instrument)?;
        let write = |out: &mut Vec<u8>| encode::report(out, event, report, symbol);
        let chunk = self.reports.entry(order.user).or_default();
        if let Some((first, chunk)) = chunk.push(report.report_seq, write) {
            rows.reports(order.user, first, chunk);
        }
        if order.status != OrderStatus::Open {
            rows.done_order(order.order_id, order.user, &order.client_order_id, report.report_seq);
        }
        Ok(())
    }

    /// Writes what was gathered. The users whose reports were among it.
    pub(super) fn finish(mut self, known: &Known, mut rows: RowBatch<'_>) -> Result<Vec<UserId>, HistoryError> {
        let users: Vec<UserId> = self.reports.keys().copied().collect();
        for (user, mut chunk) in self.reports {
            let (first, bytes) = chunk.take();
            rows.reports(user, first, bytes);
            rows.user(user, known.report_seq(user));
        }
        let (first, bytes) = self.trades.take();
        if !bytes.is_empty() {
            rows.trades(first, bytes);
        }
        for (instrument, mut chunk) in self.instrument_trades {
            let (first, bytes) = chunk.take();
            rows.instrument_trades(instrument, first, bytes);
        }
        rows.commit(known.watermark, known.last_trade_id)?;
        Ok(users)
    }
}

fn symbol<'a>(event: &Event, known: &'a Known, instrument: InstrumentId) -> Result<&'a Symbol, HistoryError> {
    known
        .symbols
        .get(instrument.0 as usize)
        .ok_or_else(|| inconsistent(event, "it names an unknown instrument"))
}

fn inconsistent(event: &Event, why: &str) -> HistoryError {
    HistoryError::Inconsistent {
        event_seq: event.event_seq,
        why: why.to_owned(),
    }
}
