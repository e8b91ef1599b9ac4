//! Reads that wait until they show an event: views may lag behind replies, and say how far they are.

use std::time::Duration;

use optivex_proto::v1::{
    BookSnapshot, ListOrdersRequest, ListOrdersResponse, ListPositionsResponse, ListTradesRequest, Order, Position,
    Trade,
};
use tokio::time::{Instant, sleep};

use super::{Reply, Session};
use crate::record::Log;
use crate::verdict::Verdict;

/// Between two reads of something that is not there yet, at first and at most.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Reads until it shows, for as long as the patience lasts. The first and the last read stand in the
/// record, so that a hint is not full of repeats.
macro_rules! settled {
    ($self:ident, |$session:ident| $read:expr, |$came:ident| $shows:expr, $expected:expr) => {{
        let quiet = $self.quiet();
        let deadline = Instant::now() + $self.patience;
        let (mut pause, mut recorded) = (PAUSE, true);
        loop {
            let last = Instant::now() > deadline;
            let $session = if recorded || last { $self } else { &quiet };
            let $came = $read.await?;
            if $shows && recorded {
                break Ok($came);
            } else if $shows {
                recorded = true;
            } else if last {
                break Err($came.fail(
                    format!("it does not show that within {} s", $self.patience.as_secs()),
                    $expected,
                ));
            } else {
                recorded = false;
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }};
}

/// The one order that a page is to have.
fn alone(page: Reply<ListOrdersResponse>, order_id: u64) -> Verdict<Reply<Order>> {
    let at = page.at().clone();
    match <[Order; 1]>::try_from(page.into_inner().orders) {
        Ok([order]) => Ok(Reply::new(order, at)),
        Err(orders) => Err(at.fail(
            format!("{} orders", orders.len()),
            format!("the order {order_id} alone"),
        )),
    }
}

impl Session {
    /// The same session without a record.
    pub fn quiet(&self) -> Self {
        Self {
            log: Log::default(),
            ..self.clone()
        }
    }

    /// The whole book, as soon as everything up to this event is in it. The event must have changed
    /// this book.
    pub async fn book_at(&self, symbol: &str, event_seq: u64) -> Verdict<Reply<BookSnapshot>> {
        settled!(
            self,
            |session| session.whole_book(symbol),
            |book| book.event_seq >= event_seq,
            format!("the book with event_seq {event_seq} or later")
        )
    }

    /// One order of the user, open or not, by the exchange's id, as soon as it shows.
    pub async fn order(&self, order_id: u64) -> Verdict<Reply<Order>> {
        let request = ListOrdersRequest {
            order_id,
            ..ListOrdersRequest::default()
        };
        let page = settled!(
            self,
            |session| session.orders(request.clone()),
            |page| !page.orders.is_empty(),
            format!("the order {order_id} alone")
        )?;
        alone(page, order_id)
    }

    /// One order, as soon as it shows this event, which must have changed it.
    pub async fn order_at(&self, order_id: u64, event_seq: u64) -> Verdict<Reply<Order>> {
        let request = ListOrdersRequest {
            order_id,
            ..ListOrdersRequest::default()
        };
        let page = settled!(
            self,
            |session| session.orders(request.clone()),
            |page| page.orders.iter().any(|order| order.event_seq >= event_seq),
            format!("the order {order_id} with event_seq {event_seq}, the last event that changed it")
        )?;
        alone(page, order_id)
    }

    /// All positions, as soon as they show this event.
    pub async fn positions_at(&self, event_seq: u64) -> Verdict<Reply<ListPositionsResponse>> {
        settled!(
            self,
            |session| session.positions(optivex_proto::v1::ListPositionsRequest {}),
            |positions| positions.event_seq >= event_seq,
            format!("positions with event_seq {event_seq} or later")
        )
    }

    /// What the user holds of an instrument, as soon as this event is in it; zeros where none is told.
    pub async fn position_at(&self, symbol: &str, event_seq: u64) -> Verdict<Reply<Position>> {
        let all = self.positions_at(event_seq).await?;
        let at = all.at().clone();
        let mut of_symbol = all.positions.iter().filter(|position| position.symbol == symbol);
        match (of_symbol.next(), of_symbol.next()) {
            (Some(position), None) => Ok(Reply::new(position.clone(), at)),
            (None, _) => {
                let nothing = Position {
                    symbol: symbol.to_owned(),
                    ..Position::default()
                };
                Ok(Reply::new(nothing, at))
            }
            (Some(_), Some(_)) => Err(at.fail(
                format!("there are several positions in {symbol}"),
                "one position an instrument",
            )),
        }
    }

    /// All trades of an instrument, oldest first, page by page, as soon as this one is among them.
    pub async fn tape_through(&self, symbol: &str, trade_id: u64, page_size: i32) -> Verdict<Vec<Reply<Trade>>> {
        let mut all: Vec<Reply<Trade>> = Vec::new();
        loop {
            let after_trade_id = all.last().map_or(0, |trade| trade.trade_id);
            let request = ListTradesRequest {
                symbol: symbol.to_owned(),
                after_trade_id,
                page_size,
            };
            let page = settled!(
                self,
                |session| session.trades(request.clone()),
                |page| !page.trades.is_empty(),
                format!("the trades of {symbol} after {after_trade_id}, up to {trade_id}")
            )?;
            let most = if page_size == 0 { 1_000 } else { page_size as usize };
            page.at().holds(
                page.trades.len() <= most,
                format!("{} trades", page.trades.len()),
                format!("at most {most} trades a page"),
            )?;
            for trade in &page.trades {
                page.at().holds(
                    trade.trade_id > all.last().map_or(after_trade_id, |last| last.trade_id),
                    format!("trade {} comes where it must not", trade.trade_id),
                    format!("only trades after trade_id {after_trade_id}, oldest first, each once"),
                )?;
                all.push(Reply::new(trade.clone(), page.at().clone()));
            }
            let last = all.last().map_or(0, |trade| trade.trade_id);
            if last >= trade_id {
                return Ok(all);
            }
        }
    }
}
