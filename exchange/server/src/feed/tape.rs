//! The tape: past trades and those to come, read from history as its reader reads the stream.

use std::collections::HashSet;
use std::time::Duration;

use optivex_engine::types::InstrumentId;
use optivex_journal::history::{History, HistoryError};
use optivex_proto::v1::{self, ErrorReason};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::Place;
use crate::error::Error;

/// Trades of one message.
const TRADES_AT_A_TIME: usize = 1_000;
/// After so long without trades comes an empty message (contract: `SubscribeTradesResponse`).
const SILENCE: Duration = Duration::from_secs(1);
/// How long an answer waits for history, which only a failing disk makes late.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whose trades.
#[derive(Clone, Debug)]
pub enum TapeFilter {
    /// All instruments'.
    All,
    /// One instrument's.
    One(InstrumentId),
    /// These instruments', by symbol.
    Some(HashSet<String>),
}

impl TapeFilter {
    /// What history is asked for; it tells instruments apart one at a time.
    fn instrument(&self) -> Option<InstrumentId> {
        match self {
            TapeFilter::One(instrument) => Some(*instrument),
            TapeFilter::All | TapeFilter::Some(_) => None,
        }
    }

    fn takes(&self, trade: &v1::Trade) -> bool {
        match self {
            TapeFilter::All | TapeFilter::One(_) => true,
            TapeFilter::Some(symbols) => symbols.contains(&trade.symbol),
        }
    }
}

/// Trades after a `trade_id` up to an event and maybe later, at most `max`.
pub async fn past_trades(
    history: &History,
    instrument: Option<InstrumentId>,
    after_trade_id: u64,
    max: usize,
    event_seq: u64,
) -> Result<Vec<v1::Trade>, Error> {
    timeout(PATIENCE, history.wait_for(event_seq))
        .await
        .map_err(|_| Error::not_ready("history lags behind; try again"))?;
    read(history, instrument, after_trade_id, max).await
}

async fn read(
    history: &History,
    instrument: Option<InstrumentId>,
    after_trade_id: u64,
    max: usize,
) -> Result<Vec<v1::Trade>, Error> {
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the tape cannot be read");
        Error::not_ready("history cannot be read")
    };
    let history = history.clone();
    let read = move || -> Result<_, HistoryError> { history.trades(instrument, after_trade_id, max) };
    match tokio::task::spawn_blocking(read).await {
        Ok(trades) => trades.map_err(|error| unreadable(&error)),
        Err(error) => Err(unreadable(&error)),
    }
}

/// The reader of one subscription of trades.
pub struct TapeSubscription {
    history: History,
    available: watch::Receiver<u64>,
    filter: TapeFilter,
    is_first: bool,
    through_trade_id: u64,
    silent_at: Instant,
    messages: metrics::Counter,
    _place: Place,
}

impl TapeSubscription {
    /// Starts after a trade; `last_trade_id` is the last one so far. `CANNOT_RESUME` in the future.
    pub fn new(
        history: History,
        filter: TapeFilter,
        after_trade_id: Option<u64>,
        last_trade_id: u64,
        place: Place,
    ) -> Result<Self, Error> {
        let through_trade_id = after_trade_id.unwrap_or(last_trade_id);
        if through_trade_id > last_trade_id {
            return Err(Error::new(
                ErrorReason::CannotResume,
                format!("the last trade so far is {last_trade_id}"),
            ));
        }
        Ok(Self {
            available: history.trade_watch(),
            history,
            filter,
            is_first: true,
            through_trade_id,
            silent_at: Instant::now() + SILENCE,
            messages: metrics::counter!("optivex_feed_messages_total", "stream" => "trades"),
            _place: place,
        })
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<v1::SubscribeTradesResponse, Error> {
        let trades = if std::mem::take(&mut self.is_first) {
            Vec::new()
        } else {
            self.next_trades().await?
        };
        self.messages.increment(1);
        self.silent_at = Instant::now() + SILENCE;
        Ok(v1::SubscribeTradesResponse {
            trades,
            through_trade_id: self.through_trade_id,
        })
    }

    /// The next trades; none after a second of silence.
    async fn next_trades(&mut self) -> Result<Vec<v1::Trade>, Error> {
        loop {
            let available = *self.available.borrow_and_update();
            if available > self.through_trade_id {
                let (instrument, after) = (self.filter.instrument(), self.through_trade_id);
                let mut trades = read(&self.history, instrument, after, TRADES_AT_A_TIME).await?;
                let last = trades.last().map_or(0, |trade| trade.trade_id);
                // A page that is not full has every trade that could be read when it was asked for.
                self.through_trade_id = if trades.len() < TRADES_AT_A_TIME {
                    available.max(last)
                } else {
                    last
                };
                trades.retain(|trade| self.filter.takes(trade));
                if !trades.is_empty() || Instant::now() >= self.silent_at {
                    return Ok(trades);
                }
                continue;
            }
            match timeout_at(self.silent_at, self.available.changed()).await {
                Ok(Ok(())) => {}
                // History has ended, and so will the exchange.
                Ok(Err(_)) => return Err(Error::not_ready("the exchange is stopping")),
                Err(_) => return Ok(Vec::new()),
            }
        }
    }
}
