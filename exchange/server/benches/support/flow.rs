//! A trader's commands: orders that rest and are cancelled, orders that rest and are traded, and orders
//! that trade at once. What an exchange sees most.

use std::collections::VecDeque;

use optivex_proto::v1;
use optivex_proto::v1::order_entry_request::Command;

use super::process::symbol;

/// Middle of every book, in 1e-4.
const MID_E4: i64 = 1_000_000;
const TICK_E4: i64 = 100;
const QUANTITY: i64 = 10;
/// Orders that wait for their cancel.
const CANCELLABLE: usize = 500;

/// Commands of one user, who bids or offers and never trades with itself.
pub struct Flow {
    side: v1::Side,
    symbols: Vec<String>,
    next_symbol: usize,
    state: u64,
    step: u64,
    /// Orders away from the market, oldest first.
    resting: VecDeque<u64>,
    trades: bool,
}

/// Whether the answer's order is one that is to be cancelled later; told by the request's id.
const CANCEL_LATER: u64 = 1 << 40;

impl Flow {
    /// The flow of user `user`: even ones bid, odd ones offer. Without trades, each command changes one level
    /// of one book, of one book after the other.
    pub fn new(user: usize, instruments: std::ops::Range<usize>, trades: bool) -> Self {
        Self {
            side: if user.is_multiple_of(2) {
                v1::Side::Buy
            } else {
                v1::Side::Sell
            },
            next_symbol: user % instruments.len(),
            symbols: instruments.map(symbol).collect(),
            state: user as u64,
            step: 0,
            resting: VecDeque::new(),
            trades,
        }
    }

    /// The next command. Of ten, four insert away from the market, four cancel such an order, one
    /// inserts near the market, and one trades with another user's.
    pub fn next(&mut self, number: u64) -> v1::OrderEntryRequest {
        self.step += 1;
        let (command, mark) = match self.step % 10 {
            0 if self.trades => (self.insert(-10, v1::TimeInForce::ImmediateOrCancel), 0),
            5 => (self.near(), 0),
            step if step % 2 == 0 && self.resting.len() >= CANCELLABLE => (self.cancel(), 0),
            _ => (self.away(), CANCEL_LATER),
        };
        v1::OrderEntryRequest {
            request_id: number | mark,
            command: Some(command),
        }
    }

    /// Takes an answer in; the number of its command.
    pub fn answered(response: &v1::OrderEntryResponse, resting: &mut Vec<u64>) -> std::result::Result<u64, String> {
        use v1::order_entry_response::Result as Outcome;
        match &response.result {
            Some(Outcome::Insert(insert)) => {
                if response.request_id & CANCEL_LATER != 0 {
                    resting.push(insert.order_id);
                }
            }
            Some(Outcome::Cancel(_)) => {}
            other => return Err(format!("request {}: {other:?}", response.request_id)),
        }
        Ok(response.request_id & !CANCEL_LATER)
    }

    pub fn rests(&mut self, orders: &mut Vec<u64>) {
        self.resting.extend(orders.drain(..));
    }

    /// An order near the market, which others trade with.
    pub fn near(&mut self) -> Command {
        let away = 1 + self.random(3);
        self.insert(away, v1::TimeInForce::GoodTillCancelled)
    }

    /// An order that nobody reaches.
    pub fn away(&mut self) -> Command {
        let away = 20 + self.random(200);
        self.insert(away, v1::TimeInForce::GoodTillCancelled)
    }

    fn insert(&mut self, ticks_away: i64, time_in_force: v1::TimeInForce) -> Command {
        let away = ticks_away * TICK_E4;
        self.next_symbol = (self.next_symbol + 1) % self.symbols.len();
        Command::Insert(v1::InsertOrderRequest {
            symbol: self.symbols[self.next_symbol].clone(),
            side: self.side.into(),
            price_e4: if self.side == v1::Side::Buy {
                MID_E4 - away
            } else {
                MID_E4 + away
            },
            quantity: QUANTITY,
            r#type: v1::OrderType::Limit.into(),
            time_in_force: time_in_force.into(),
            ..v1::InsertOrderRequest::default()
        })
    }

    fn cancel(&mut self) -> Command {
        let order = self.resting.pop_front().unwrap_or_default();
        Command::Cancel(v1::CancelOrderRequest {
            order: Some(v1::cancel_order_request::Order::OrderId(order)),
        })
    }

    /// From 0 to below `end`.
    fn random(&mut self, end: i64) -> i64 {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.unsigned_abs()) as i64
    }
}
