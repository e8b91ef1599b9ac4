//! What a replay does with each message: which commands, which orders they must hit, and how far the
//! book afterwards must look as recorded. No I/O here.

use std::collections::{BTreeMap, HashMap, VecDeque};

use optivex_proto::v1::{Side, TradingPhase};

use super::lobster::{Change, Halt, Kind, Level, Message, Row};

/// An order of ours in the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// One of LOBSTER's, by its id.
    Recorded(u64),
    /// What rested at a price before the recording, or came there out of view: stands for orders whose
    /// ids are not known.
    Seed(u64),
}

/// A command for the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A limit order that rests.
    Insert {
        /// Name.
        key: Key,
        /// Side.
        side: Side,
        /// Price.
        price_e4: i64,
        /// Lots.
        quantity: i64,
    },
    /// Less of an order.
    Amend {
        /// Name.
        key: Key,
        /// New total, what was filled included.
        quantity: i64,
    },
    /// An end of an order.
    Cancel {
        /// Name.
        key: Key,
    },
    /// An order of another user that trades at once.
    Execute {
        /// Side of the incoming order.
        side: Side,
        /// Price.
        price_e4: i64,
        /// Lots.
        quantity: i64,
        /// What it must trade with, in this order.
        hits: Vec<Hit>,
    },
    /// Another phase.
    Phase(TradingPhase),
}

/// One trade that price-time priority wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Resting order.
    pub key: Key,
    /// Its price.
    pub price_e4: i64,
    /// Lots.
    pub quantity: i64,
}

/// What a message asks of the exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// In this order.
    pub actions: Vec<Action>,
    /// Whether the order that LOBSTER names is the one that priority lets trade.
    pub priority: Priority,
}

/// The order that traded, against the one that LOBSTER names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Nothing traded.
    #[default]
    NoTrade,
    /// The same.
    Same,
    /// LOBSTER names an order from before the recording, or the queue at that price was taken from a row.
    Unknown,
    /// Another.
    Other(String),
}

/// Levels of a book: lots by price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Worst first, as prices go.
    pub bids: BTreeMap<i64, i64>,
    /// Best first, as prices go.
    pub asks: BTreeMap<i64, i64>,
}

impl Levels {
    fn side(&self, side: Side) -> &BTreeMap<i64, i64> {
        match side {
            Side::Buy => &self.bids,
            _ => &self.asks,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Resting {
    key: Key,
    /// Lots as inserted or amended, what was filled included.
    total: i64,
    open: i64,
}

#[derive(Debug, Default)]
struct Queue {
    /// First to trade first.
    orders: VecDeque<Resting>,
    /// It was taken from a row: who stands where is a guess.
    guessed: bool,
}

impl Queue {
    fn quantity(&self) -> i64 {
        self.orders.iter().map(|order| order.open).sum()
    }
}

/// Our orders as the exchange must hold them.
#[derive(Debug, Default)]
pub struct Replica {
    bids: BTreeMap<i64, Queue>,
    asks: BTreeMap<i64, Queue>,
    /// Price and side of each of LOBSTER's orders.
    places: HashMap<u64, (Side, i64)>,
    seeds: u64,
}

impl Replica {
    /// The book before the first message: the first row less what the message did.
    pub fn seed(&mut self, row: &Row, first: &Message) -> Result<Vec<Action>, String> {
        let mut levels = [(Side::Buy, row.bids.clone()), (Side::Sell, row.asks.clone())];
        let undo = match first.kind {
            Kind::Insert(change) => Some((change, -change.size)),
            Kind::Reduce(change) | Kind::Delete(change) | Kind::Execute(change) => Some((change, change.size)),
            Kind::ExecuteHidden(_) | Kind::Halt(_) => None,
        };
        if let Some((change, quantity)) = undo {
            let (_, levels) = &mut levels[usize::from(change.side != Side::Buy)];
            match levels.iter_mut().find(|level| level.price_e4 == change.price_e4) {
                Some(level) => level.quantity += quantity,
                None => levels.push(Level {
                    price_e4: change.price_e4,
                    quantity,
                }),
            }
        }
        let mut actions = Vec::new();
        for (side, levels) in levels {
            for level in levels {
                match level.quantity {
                    0 => {}
                    1.. => actions.push(self.insert_seed(side, level.price_e4, level.quantity)),
                    _ => return Err("the first row does not show the order that the first message inserts".to_owned()),
                }
            }
        }
        Ok(actions)
    }

    /// What a message asks of the exchange; an error if our book has not the lots that it takes.
    pub fn step(&mut self, message: &Message) -> Result<Step, String> {
        let no_trade = |actions| {
            Ok(Step {
                actions,
                priority: Priority::NoTrade,
            })
        };
        match message.kind {
            Kind::Insert(change) => {
                if self.places.contains_key(&change.order_id) {
                    return Err(format!("order {} is inserted a second time", change.order_id));
                }
                self.places.insert(change.order_id, (change.side, change.price_e4));
                let key = Key::Recorded(change.order_id);
                no_trade(vec![self.insert(key, change.side, change.price_e4, change.size)])
            }
            Kind::Reduce(change) | Kind::Delete(change) => {
                let actions = self.take(change.side, change.price_e4, Some(change.order_id), change.size)?;
                no_trade(actions)
            }
            Kind::Execute(change) => self.execute(&change),
            Kind::ExecuteHidden(_) => no_trade(Vec::new()),
            Kind::Halt(halt) => no_trade(vec![Action::Phase(match halt {
                Halt::Stop => TradingPhase::Halted,
                Halt::Quote => TradingPhase::Auction,
                Halt::Resume => TradingPhase::Continuous,
            })]),
        }
    }

    /// Makes a level hold so many lots.
    pub fn adopt(&mut self, side: Side, price_e4: i64, quantity: i64) -> Result<Vec<Action>, String> {
        let ours = self.queues(side).get(&price_e4).map_or(0, Queue::quantity);
        let actions = match quantity - ours {
            0 => Vec::new(),
            more @ 1.. => vec![self.insert_seed(side, price_e4, more)],
            less => self.take(side, price_e4, None, -less)?,
        };
        if let Some(queue) = self.queues_mut(side).get_mut(&price_e4) {
            queue.guessed = true;
        }
        Ok(actions)
    }

    /// The whole book.
    pub fn levels(&self) -> Levels {
        let totals =
            |queues: &BTreeMap<i64, Queue>| queues.iter().map(|(price, queue)| (*price, queue.quantity())).collect();
        Levels {
            bids: totals(&self.bids),
            asks: totals(&self.asks),
        }
    }

    fn execute(&mut self, change: &Change) -> Result<Step, String> {
        let Change {
            order_id,
            size,
            price_e4,
            side,
        } = *change;
        let named = self.places.get(&order_id) == Some(&(side, price_e4));
        let there: i64 = match side {
            Side::Buy => self.bids.range(price_e4..).map(|(_, queue)| queue.quantity()).sum(),
            _ => self.asks.range(..=price_e4).map(|(_, queue)| queue.quantity()).sum(),
        };
        if there < size {
            return Err(format!("{size} lots trade at {price_e4}: our book has {there}"));
        }
        let mut hits = Vec::new();
        let mut guessed = false;
        let mut left = size;
        while left > 0 {
            let queues = self.queues_mut(side);
            let best = match side {
                Side::Buy => queues.last_entry().filter(|best| *best.key() >= price_e4),
                _ => queues.first_entry().filter(|best| *best.key() <= price_e4),
            };
            let Some(mut best) = best else {
                return Err(format!(
                    "{left} of {size} lots that trade at {price_e4} are not in our book"
                ));
            };
            let price_e4 = *best.key();
            let queue = best.get_mut();
            guessed |= queue.guessed;
            if let Some(order) = queue.orders.front_mut() {
                let quantity = order.open.min(left);
                let key = order.key;
                order.open -= quantity;
                left -= quantity;
                hits.push(Hit {
                    key,
                    price_e4,
                    quantity,
                });
                if order.open == 0 {
                    queue.orders.pop_front();
                    if queue.orders.is_empty() {
                        best.remove();
                    }
                    self.forget(key);
                }
            } else {
                best.remove();
            }
        }
        let key = Key::Recorded(order_id);
        let only = |fits: fn(Key, Key) -> bool| hits.iter().all(|hit| hit.price_e4 == price_e4 && fits(hit.key, key));
        let priority = if named && only(|hit, named| hit == named) {
            Priority::Same
        } else if guessed || (!named && only(|hit, _| matches!(hit, Key::Seed(_)))) {
            Priority::Unknown
        } else {
            Priority::Other(format!("order {order_id} traded, here {hits:?}"))
        };
        let aggressor = match side {
            Side::Buy => Side::Sell,
            _ => Side::Buy,
        };
        Ok(Step {
            actions: vec![Action::Execute {
                side: aggressor,
                price_e4,
                quantity: size,
                hits,
            }],
            priority,
        })
    }

    /// Takes lots from a level: from the named order, if it is there, then from what stands for unknown
    /// orders, then from the last in the queue.
    fn take(&mut self, side: Side, price_e4: i64, named: Option<u64>, size: i64) -> Result<Vec<Action>, String> {
        let Some(queue) = self.queues_mut(side).get_mut(&price_e4) else {
            return Err(format!("{size} lots at {price_e4} are not in our book"));
        };
        if queue.quantity() < size {
            let has = queue.quantity();
            return Err(format!("{size} lots at {price_e4} are not in our book: {has} are"));
        }
        let mut actions = Vec::new();
        let mut left = size;
        while left > 0 {
            let orders = &mut queue.orders;
            let victim = orders
                .iter()
                .position(|order| named.is_some_and(|id| order.key == Key::Recorded(id)))
                .or_else(|| orders.iter().rposition(|order| matches!(order.key, Key::Seed(_))))
                .or_else(|| orders.len().checked_sub(1));
            let Some(index) = victim else { break };
            let Some(order) = orders.get_mut(index) else { break };
            let quantity = order.open.min(left);
            order.open -= quantity;
            order.total -= quantity;
            left -= quantity;
            let Resting { key, total, open } = *order;
            if open > 0 {
                actions.push(Action::Amend { key, quantity: total });
            } else {
                actions.push(Action::Cancel { key });
                orders.remove(index);
            }
        }
        if queue.orders.is_empty() {
            self.queues_mut(side).remove(&price_e4);
        }
        for action in &actions {
            if let Action::Cancel { key } = action {
                self.forget(*key);
            }
        }
        Ok(actions)
    }

    fn insert_seed(&mut self, side: Side, price_e4: i64, quantity: i64) -> Action {
        self.seeds += 1;
        self.insert(Key::Seed(self.seeds), side, price_e4, quantity)
    }

    fn insert(&mut self, key: Key, side: Side, price_e4: i64, quantity: i64) -> Action {
        self.queues_mut(side)
            .entry(price_e4)
            .or_default()
            .orders
            .push_back(Resting {
                key,
                total: quantity,
                open: quantity,
            });
        Action::Insert {
            key,
            side,
            price_e4,
            quantity,
        }
    }

    fn forget(&mut self, key: Key) {
        if let Key::Recorded(id) = key {
            self.places.remove(&id);
        }
    }

    fn queues(&self, side: Side) -> &BTreeMap<i64, Queue> {
        match side {
            Side::Buy => &self.bids,
            _ => &self.asks,
        }
    }

    fn queues_mut(&mut self, side: Side) -> &mut BTreeMap<i64, Queue> {
        match side {
            Side::Buy => &mut self.bids,
            _ => &mut self.asks,
        }
    }
}

/// What the recording showed before a message: beyond it a level may have changed untold.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Worst price shown; `None` if the whole side was.
    bid: Option<i64>,
    ask: Option<i64>,
}

impl View {
    /// What a row shows. A seed made from a row shows the same.
    pub fn of(row: &Row) -> Self {
        let worst = |levels: &[Level]| {
            levels
                .last()
                .filter(|_| levels.len() >= row.depth)
                .map(|level| level.price_e4)
        };
        Self {
            bid: worst(&row.bids),
            ask: worst(&row.asks),
        }
    }

    fn shows(&self, side: Side, price_e4: i64) -> bool {
        match side {
            Side::Buy => self.bid.is_none_or(|worst| price_e4 >= worst),
            _ => self.ask.is_none_or(|worst| price_e4 <= worst),
        }
    }
}

/// One level that is not as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Side.
    pub side: Side,
    /// Price.
    pub price_e4: i64,
    /// Lots in the exchange's book.
    pub ours: i64,
    /// Lots recorded.
    pub recorded: i64,
    /// It came into view with this row and the message is not about it: to be taken from the row. Anything
    /// else is a difference.
    pub untold: bool,
}

/// Compares a book with the row after a message, as far as the row shows it: how many levels were
/// compared, and which are not the same.
pub fn compare(book: &Levels, row: &Row, before: &View, message: &Message) -> (u64, Vec<Found>) {
    let now = View::of(row);
    let mut compared = 0;
    let mut found = Vec::new();
    for side in [Side::Buy, Side::Sell] {
        let recorded: BTreeMap<i64, i64> = row
            .side(side)
            .iter()
            .map(|level| (level.price_e4, level.quantity))
            .collect();
        let ours = book.side(side);
        let extra = ours
            .keys()
            .filter(|price| now.shows(side, **price) && !recorded.contains_key(*price));
        for &price_e4 in recorded.keys().chain(extra) {
            compared += 1;
            let level = Found {
                side,
                price_e4,
                ours: ours.get(&price_e4).copied().unwrap_or(0),
                recorded: recorded.get(&price_e4).copied().unwrap_or(0),
                untold: !before.shows(side, price_e4)
                    && message
                        .kind
                        .change()
                        .is_none_or(|change| (change.side, change.price_e4) != (side, price_e4)),
            };
            if level.ours != level.recorded {
                found.push(level);
            }
        }
    }
    (compared, found)
}

#[cfg(test)]
mod tests;
