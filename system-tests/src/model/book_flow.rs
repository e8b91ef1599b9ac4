//! A random flow of orders and cancels on one instrument of its own, sent to the exchange and to the
//! reference book at once; the answers are compared, and what every event came to is kept.

use optivex_proto::v1::{OrderStatus, PriceLevel, Side};

use super::book::{Book, Traded};
use crate::client::Session;
use crate::context::Context;
use crate::order::limit;
use crate::verdict::Verdict;

/// What the book is after one event.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The event.
    pub event_seq: u64,
    /// Bids, best first.
    pub bids: Vec<PriceLevel>,
    /// Asks, best first.
    pub asks: Vec<PriceLevel>,
    /// Its trades.
    pub trades: Vec<Printed>,
}

/// A trade as everybody is to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printed {
    /// As the incoming order's reply told it.
    pub trade_id: u64,
    /// Resting price.
    pub price_e4: i64,
    /// Lots.
    pub quantity: i64,
    /// Side of the incoming order.
    pub aggressor_side: Side,
    /// Event.
    pub event_seq: u64,
}

/// What one step did.
#[derive(Clone, Debug)]
pub struct Step {
    /// The event.
    pub event_seq: u64,
    /// What the reference book traded.
    pub traded: Vec<Traded>,
}

/// A flow in progress.
#[derive(Debug)]
pub struct Flow {
    random: fastrand::Rng,
    middle: i64,
    /// The instrument.
    pub symbol: String,
    /// Who trades; the place is the reference book's owner.
    pub users: Vec<Session>,
    /// The reference.
    pub book: Book,
    /// The book after each change: the first is the empty book, so that the place is the `book_seq`.
    pub states: Vec<State>,
}

impl Flow {
    /// A flow on a new instrument with so many users.
    pub async fn new(context: &Context, users: usize) -> Verdict<Self> {
        let symbol = context.instrument().await?.symbol;
        let mut sessions = Vec::new();
        for _ in 0..users {
            sessions.push(context.trader().await?);
        }
        Ok(Self {
            random: context.random(),
            middle: 20,
            symbol,
            users: sessions,
            book: Book::new(),
            states: vec![State {
                event_seq: 0,
                bids: Vec::new(),
                asks: Vec::new(),
                trades: Vec::new(),
            }],
        })
    }

    /// `book_seq` of the newest change: every step of a flow changes its book.
    pub fn book_seq(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// The newest event.
    pub fn event_seq(&self) -> u64 {
        self.states.last().map_or(0, |state| state.event_seq)
    }

    /// All trades, oldest first.
    pub fn trades(&self) -> Vec<Printed> {
        self.states
            .iter()
            .flat_map(|state| state.trades.iter().copied())
            .collect()
    }

    /// So many steps.
    pub async fn steps(&mut self, count: usize) -> Verdict {
        for _ in 0..count {
            self.step().await?;
        }
        Ok(())
    }

    /// One random command; its answer equals the reference's.
    pub async fn step(&mut self) -> Verdict<Step> {
        let users = self.users.len();
        if self.random.u32(0..100) >= 25 || self.book.resting().is_empty() {
            self.middle = (self.middle + self.random.i64(-1..=1)).clamp(-30, 30);
            let first = self.random.usize(0..users);
            let side = if self.random.bool() { Side::Buy } else { Side::Sell };
            let price_e4 = self.middle + self.random.i64(-4..=4);
            let large = self.random.u32(0..10) == 0;
            let quantity = self.random.i64(1..=if large { 60 } else { 9 });
            // Self-trade prevention has a stage of its own: another user, or a cancel instead.
            let owner = (0..users)
                .map(|step| (first + step) % users)
                .find(|owner| !self.book.meets_own(*owner, side, price_e4, quantity));
            if let Some(owner) = owner {
                return self.insert(owner, side, price_e4, quantity).await;
            }
        }
        let victims = self.book.resting();
        let order_id = victims[self.random.usize(0..victims.len())].order_id;
        self.cancel(order_id).await
    }

    /// Inserts a limit order; its answer equals the reference's.
    pub async fn insert(&mut self, owner: usize, side: Side, price_e4: i64, quantity: i64) -> Verdict<Step> {
        let reply = self.users[owner]
            .insert(limit(&self.symbol, side, price_e4, quantity))
            .await?;
        let traded = self.book.insert(reply.order_id, owner, side, price_e4, quantity);
        let filled: i64 = traded.iter().map(|trade| trade.quantity).sum();
        let status = if filled == quantity {
            OrderStatus::Filled
        } else {
            OrderStatus::Open
        };
        reply
            .has(
                "price_e4 and quantity of the fills",
                |reply| {
                    reply
                        .fills
                        .iter()
                        .map(|fill| (fill.price_e4, fill.quantity))
                        .collect::<Vec<_>>()
                },
                traded.iter().map(|trade| (trade.price_e4, trade.quantity)).collect(),
            )?
            .has("filled_quantity", |reply| reply.filled_quantity, filled)?
            .has("open_quantity", |reply| reply.open_quantity, quantity - filled)?
            .has("status", |reply| reply.status(), status)?;
        let printed = |fill: &optivex_proto::v1::Fill| Printed {
            trade_id: fill.trade_id,
            price_e4: fill.price_e4,
            quantity: fill.quantity,
            aggressor_side: side,
            event_seq: reply.event_seq,
        };
        let trades = reply.fills.iter().map(printed).collect();
        Ok(self.keep(reply.event_seq, traded, trades))
    }

    /// Cancels what rests; the answer equals the reference's.
    pub async fn cancel(&mut self, order_id: u64) -> Verdict<Step> {
        let (owner, open) = self
            .book
            .order(order_id)
            .map_or((0, 0), |order| (order.owner, order.open()));
        let cancelled = self.users[owner].cancel_id(order_id).await?;
        cancelled.has("cancelled_quantity", |cancelled| cancelled.cancelled_quantity, open)?;
        self.book.cancel(order_id);
        Ok(self.keep(cancelled.event_seq, Vec::new(), Vec::new()))
    }

    fn keep(&mut self, event_seq: u64, traded: Vec<Traded>, trades: Vec<Printed>) -> Step {
        self.states.push(State {
            event_seq,
            bids: self.book.levels(Side::Buy),
            asks: self.book.levels(Side::Sell),
            trades,
        });
        Step { event_seq, traded }
    }
}
