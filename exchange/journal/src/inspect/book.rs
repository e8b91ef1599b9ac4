//! `optivex book`: an order book as it stood at any event.

use std::io::{self, Write};
use std::path::PathBuf;

use optivex_engine::types::{Indicative, Instrument, Level, Order, Side};
use optivex_proto::v1;

use super::{InspectError, Journal, decimal};

/// Which book, and when.
#[derive(Clone, Debug)]
pub struct BookOptions {
    /// The data directory.
    pub data_directory: PathBuf,
    /// The instrument.
    pub symbol: String,
    /// After which event; none for the last.
    pub at_event_seq: Option<u64>,
}

/// A book as it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookAt {
    /// After this event.
    pub event_seq: u64,
    /// When that was, nanoseconds since the Unix epoch.
    pub time_unix_ns: i64,
    /// The instrument; its phase is that of the book.
    pub instrument: Instrument,
    /// Last visible change of the book.
    pub book_seq: u64,
    /// Price of the last trade, in 1e-4.
    pub last_trade_price_e4: Option<i64>,
    /// What an uncross would do.
    pub indicative: Option<Indicative>,
    /// Bid levels, best first.
    pub bids: Vec<Level>,
    /// Ask levels, best first.
    pub asks: Vec<Level>,
    /// Resting bids in priority.
    pub bid_orders: Vec<RestingOrder>,
    /// Resting asks in priority.
    pub ask_orders: Vec<RestingOrder>,
}

/// An order that rests, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestingOrder {
    /// The order.
    pub order: Order,
    /// Its owner's name.
    pub username: String,
}

/// The book of an instrument as it stood after an event.
pub fn book(options: &BookOptions) -> Result<BookAt, InspectError> {
    let journal = Journal::open(&options.data_directory)?;
    let replay = journal.state_at(options.at_event_seq)?;
    let engine = replay.engine();
    let instrument = engine
        .instruments()
        .find(|instrument| instrument.symbol.as_str() == options.symbol)
        .ok_or_else(|| InspectError::UnknownSymbol {
            symbol: options.symbol.clone(),
            event_seq: engine.event_seq(),
        })?;
    let id = instrument.id;
    let usernames: Vec<&str> = engine.usernames().collect();
    let orders = |side| -> Vec<RestingOrder> {
        engine
            .resting_orders(id, side)
            .map(|order| RestingOrder {
                username: usernames
                    .get(order.user.0 as usize)
                    .copied()
                    .unwrap_or_default()
                    .to_owned(),
                order,
            })
            .collect()
    };
    Ok(BookAt {
        event_seq: engine.event_seq(),
        time_unix_ns: engine.time_unix_ns(),
        instrument: instrument.clone(),
        book_seq: engine.book_seq(id),
        last_trade_price_e4: engine.last_trade_price_e4(id),
        indicative: engine.indicative(id),
        bids: engine.levels(id, Side::Buy).collect(),
        asks: engine.levels(id, Side::Sell).collect(),
        bid_orders: orders(Side::Buy),
        ask_orders: orders(Side::Sell),
    })
}

impl BookAt {
    /// Writes the book for people: asks from the worst to the best, then bids from the best to the worst,
    /// each level with its orders in priority below it.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} {}, event {}, time_unix_ns {}, book_seq {}",
            self.instrument.symbol,
            v1::TradingPhase::from(self.instrument.phase).as_str_name(),
            self.event_seq,
            self.time_unix_ns,
            self.book_seq
        )?;
        if let Some(price_e4) = self.last_trade_price_e4 {
            writeln!(out, "last trade at {}", decimal(price_e4))?;
        }
        if let Some(indicative) = self.indicative {
            let price = decimal(indicative.price_e4);
            writeln!(out, "an uncross would trade {} at {price}", indicative.quantity)?;
        }
        for level in self.asks.iter().rev() {
            let better = |resting: &RestingOrder| resting.order.price_e4 < level.price_e4;
            let first = self.ask_orders.partition_point(better);
            write_level(out, "ask", level, &self.ask_orders[first..])?;
        }
        for level in &self.bids {
            let better = |resting: &RestingOrder| resting.order.price_e4 > level.price_e4;
            let first = self.bid_orders.partition_point(better);
            write_level(out, "bid", level, &self.bid_orders[first..])?;
        }
        if self.asks.is_empty() && self.bids.is_empty() {
            writeln!(out, "empty")?;
        }
        Ok(())
    }
}

/// `orders` starts with those of the level.
fn write_level(out: &mut dyn Write, side: &str, level: &Level, orders: &[RestingOrder]) -> io::Result<()> {
    writeln!(
        out,
        "{side} {:>20} {:>14} lots in {} orders",
        decimal(level.price_e4),
        level.quantity,
        level.order_count
    )?;
    let of_level = orders
        .iter()
        .take_while(|resting| resting.order.price_e4 == level.price_e4);
    for RestingOrder { order, username } in of_level {
        write!(
            out,
            "{:>39} lots of order {} by {username}",
            order.open_quantity(),
            order.order_id.0
        )?;
        if !order.client_order_id.is_empty() {
            // A client chose it: nothing in it may pass for another line, or command a terminal.
            write!(out, " ({})", order.client_order_id.escape_debug())?;
        }
        writeln!(out)?;
    }
    Ok(())
}
