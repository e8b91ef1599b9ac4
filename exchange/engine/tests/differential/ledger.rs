//! What a careful reader of the events alone knows: the second opinion that needs no model. Keeps
//! orders, books, positions and rolling windows from reports, changes and trades, and says where
//! they contradict themselves or a limit.

use std::collections::{BTreeMap, VecDeque};

use optivex_engine::Limits;
use optivex_engine::command::{Command, InsertOrder};
use optivex_engine::event::{BookChange, Event, Outcome, Report, ReportKind, Trade};
use optivex_engine::limits::ORDER_SLOTS_MAX;
use optivex_engine::types::{
    Instrument, InstrumentId, Level, Order, OrderId, OrderStatus, OrderType, RollingWindowLimit, Side, TradingPhase,
    UserId,
};

/// Ends the check with a message unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}
pub(super) use ensure;

/// What of the past the next commands may come back to.
const REMEMBERED: usize = 24;

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) time: i64,
    pub(crate) event_seq: u64,
    pub(crate) users: u32,
    pub(crate) instruments: Vec<Instrument>,
    /// 0 before the first.
    pub(crate) last_order_id: u64,
    pub(crate) last_trade_id: u64,
    /// Open orders.
    pub(crate) open: BTreeMap<OrderId, Order>,
    /// Lots and cash by user and instrument.
    pub(crate) holdings: BTreeMap<(UserId, InstrumentId), (i64, i128)>,
    /// Levels by book, kept from changes only.
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) recent_done: VecDeque<OrderId>,
    pub(crate) recent_inserts: VecDeque<InsertOrder>,
    pub(crate) recent_times: VecDeque<i64>,
    /// What order ids carry beside their count: a place that the last order to end left, else a new
    /// one; an order that came when all were taken has none.
    free_slots: Vec<u32>,
    slots: u32,
    slots_max: u32,
    report_seqs: BTreeMap<UserId, u64>,
    messages: BTreeMap<UserId, History>,
    lots: BTreeMap<(UserId, InstrumentId), History>,
    amounts: BTreeMap<(UserId, InstrumentId), History>,
}

#[derive(Default)]
pub(crate) struct Mirror {
    pub(crate) book_seq: u64,
    bids: BTreeMap<i64, Level>,
    asks: BTreeMap<i64, Level>,
}

impl Mirror {
    pub(crate) fn levels(&self, side: Side) -> Vec<Level> {
        match side {
            Side::Buy => self.bids.values().rev().copied().collect(),
            Side::Sell => self.asks.values().copied().collect(),
        }
    }
}

/// Raw history of one rolling limit.
#[derive(Default)]
struct History {
    counting: bool,
    limit: Option<RollingWindowLimit>,
    entries: VecDeque<(i64, i128)>,
}

impl History {
    fn set(&mut self, limit: Option<RollingWindowLimit>) {
        self.limit = limit;
        self.counting |= limit.is_some();
    }

    fn add(&mut self, time: i64, amount: i128) {
        if self.counting && amount > 0 {
            self.entries.push_back((time, amount));
        }
        let oldest = i128::from(time) - 86_400_000_000_000;
        while self
            .entries
            .front()
            .is_some_and(|(time, _)| i128::from(*time) <= oldest)
        {
            self.entries.pop_front();
        }
    }

    /// Any window of the length that breaks the limit holds one that ends with an entry; so it is
    /// enough to look at the one that ends with the newest whenever there is one. Cancels may exceed
    /// the limit, therefore only inserts and amends ask.
    fn check(&self, name: &str, time: i64) -> Result<(), String> {
        let Some(limit) = self.limit else { return Ok(()) };
        let edge = i128::from(time) - i128::from(limit.window_in_seconds) * 1_000_000_000;
        let inside = self.entries.iter().filter(|(time, _)| i128::from(*time) > edge);
        let sum: i128 = inside.map(|(_, amount)| amount).sum();
        ensure!(
            sum <= i128::from(limit.limit),
            "{name}: {sum} within {} s, the limit is {}",
            limit.window_in_seconds,
            limit.limit
        );
        Ok(())
    }
}

fn slot_of(order: OrderId) -> u32 {
    (order.0 & u64::from(ORDER_SLOTS_MAX)) as u32
}

impl Ledger {
    /// Of an exchange where nothing happened yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            slots_max: limits.open_orders_max,
            ..Self::default()
        }
    }

    /// Takes the event of an accepted command; says what is wrong with it.
    pub(crate) fn take(&mut self, command: &Command, event: &Event) -> Result<(), String> {
        self.event_seq += 1;
        ensure!(
            event.event_seq == self.event_seq,
            "event_seq {} for {}",
            event.event_seq,
            self.event_seq
        );
        ensure!(
            self.event_seq == 1 || event.time_unix_ns >= self.time,
            "time runs backwards"
        );
        self.time = event.time_unix_ns;
        let before = self.before(command);
        self.outcome(&event.outcome)?;
        for trade in &event.trades {
            self.trade(trade)?;
        }
        let fills = event
            .reports
            .iter()
            .filter(|report| matches!(report.kind, ReportKind::Fill { .. }));
        ensure!(fills.count() == 2 * event.trades.len(), "each trade has two fills");
        for report in &event.reports {
            self.report(report, event)?;
        }
        let mut listed = 0;
        for change in &event.books {
            listed += change.bids.len() + change.asks.len();
            self.change(change, event)?;
        }
        ensure!(listed == event.levels.len(), "levels that belong to no book");
        self.rolling(command, event, before)?;
        self.remember(command, event);
        Ok(())
    }

    fn outcome(&mut self, outcome: &Outcome) -> Result<(), String> {
        match outcome {
            Outcome::None => return Err("an event without outcome".to_owned()),
            Outcome::UserRegistered(user) => self.users = self.users.max(user.0 + 1),
            Outcome::InstrumentCreated(instrument) => {
                ensure!(
                    instrument.id.0 as usize == self.instruments.len(),
                    "instrument ids without gaps"
                );
                self.instruments.push((**instrument).clone());
                self.mirrors.push(Mirror::default());
            }
            Outcome::PhaseSet(instrument, phase) => self.instruments[instrument.0 as usize].phase = *phase,
            _ => {}
        }
        Ok(())
    }

    fn multiplier(&self, instrument: InstrumentId) -> i64 {
        self.instruments[instrument.0 as usize].multiplier
    }

    fn trade(&mut self, trade: &Trade) -> Result<(), String> {
        self.last_trade_id += 1;
        ensure!(
            trade.trade_id.0 == self.last_trade_id,
            "trade_id {} for {}",
            trade.trade_id.0,
            self.last_trade_id
        );
        ensure!(trade.quantity > 0, "a trade of nothing");
        ensure!(
            trade.aggressor_side.is_none() || trade.buyer != trade.seller,
            "a user traded with itself in continuous trading"
        );
        let money =
            i128::from(trade.price_e4) * i128::from(trade.quantity) * i128::from(self.multiplier(trade.instrument));
        for (user, lots, cash) in [
            (trade.buyer, trade.quantity, -money),
            (trade.seller, -trade.quantity, money),
        ] {
            let holding = self.holdings.entry((user, trade.instrument)).or_default();
            holding.0 += lots;
            holding.1 += cash;
        }
        Ok(())
    }

    fn report(&mut self, report: &Report, event: &Event) -> Result<(), String> {
        let order = report.order;
        let report_seq = self.report_seqs.entry(order.user).or_default();
        *report_seq += 1;
        ensure!(
            report.report_seq == *report_seq,
            "report_seq {} for {report_seq}",
            report.report_seq
        );
        ensure!(
            order.event_seq == event.event_seq,
            "a reported order changed in this event"
        );
        ensure!(
            (0..=order.quantity).contains(&order.filled_quantity),
            "filled {} of {}",
            order.filled_quantity,
            order.quantity
        );
        let old = self.open.get(&order.order_id).copied();
        match (report.kind, old) {
            (ReportKind::Accepted, None) => self.accepted(&order)?,
            (ReportKind::Accepted, Some(_)) => return Err("an order was accepted twice".to_owned()),
            (_, None) => return Err(format!("a report of an order that is not open: {order:?}")),
            (ReportKind::Amended, Some(old)) => {
                ensure!(order.status == OrderStatus::Open, "an amended order is open");
                let same = Order {
                    price_e4: order.price_e4,
                    quantity: order.quantity,
                    event_seq: order.event_seq,
                    ..old
                };
                ensure!(
                    order == same,
                    "an amend changed more than price and quantity: {old:?} to {order:?}"
                );
            }
            (
                ReportKind::Fill {
                    trade_id,
                    price_e4,
                    quantity,
                    ..
                },
                Some(old),
            ) => {
                let trade = event.trades.iter().find(|trade| trade.trade_id == trade_id);
                let Some(trade) = trade else {
                    return Err("a fill without a trade".to_owned());
                };
                let (id, owner) = match order.side {
                    Side::Buy => (trade.buy_order, trade.buyer),
                    Side::Sell => (trade.sell_order, trade.seller),
                };
                ensure!(
                    (id, owner, trade.price_e4, trade.quantity, trade.instrument)
                        == (order.order_id, order.user, price_e4, quantity, order.instrument),
                    "a fill is not its trade: {report:?} of {trade:?}"
                );
                let fair = order.order_type == OrderType::Market
                    || match order.side {
                        Side::Buy => price_e4 <= order.price_e4,
                        Side::Sell => price_e4 >= order.price_e4,
                    };
                ensure!(fair, "a fill worse than the limit: {report:?}");
                let filled_quantity = old.filled_quantity + quantity;
                let whole = filled_quantity == old.quantity;
                let same = Order {
                    filled_quantity,
                    status: if whole { OrderStatus::Filled } else { OrderStatus::Open },
                    event_seq: order.event_seq,
                    ..old
                };
                ensure!(order == same, "a fill of {quantity} made {old:?} to {order:?}");
            }
            (ReportKind::Cancelled, Some(old)) => {
                let same = Order {
                    status: order.status,
                    event_seq: order.event_seq,
                    ..old
                };
                ensure!(order == same, "a cancel made {old:?} to {order:?}");
                ensure!(
                    matches!(order.status, OrderStatus::Cancelled(_)),
                    "a cancelled order is cancelled"
                );
            }
        }
        if order.status == OrderStatus::Open {
            self.open.insert(order.order_id, order);
        } else {
            self.open.remove(&order.order_id);
            if slot_of(order.order_id) < self.slots_max {
                self.free_slots.push(slot_of(order.order_id));
            }
            self.recent_done.push_back(order.order_id);
        }
        Ok(())
    }

    fn accepted(&mut self, order: &Order) -> Result<(), String> {
        let (id, last) = (order.order_id, OrderId(self.last_order_id));
        ensure!(id > last, "order ids increase: {id:?} after {last:?}");
        ensure!(
            id.0 >> 24 == (last.0 >> 24) + 1,
            "orders are counted without gaps: {id:?} after {last:?}"
        );
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            let unused = self.slots;
            self.slots += u32::from(unused < self.slots_max);
            if unused < self.slots_max {
                unused
            } else {
                ORDER_SLOTS_MAX
            }
        });
        ensure!(slot_of(id) == slot, "the slot last freed is {slot}: {id:?}");
        ensure!(
            order.filled_quantity == 0 && order.status == OrderStatus::Open,
            "a new order is open"
        );
        self.last_order_id = id.0;
        Ok(())
    }

    fn change(&mut self, change: &BookChange, event: &Event) -> Result<(), String> {
        let mirror = &mut self.mirrors[change.instrument.0 as usize];
        mirror.book_seq += 1;
        ensure!(
            change.book_seq == mirror.book_seq,
            "book_seq {} for {}",
            change.book_seq,
            mirror.book_seq
        );
        let lists = [
            event.changed_levels(change, Side::Buy),
            event.changed_levels(change, Side::Sell),
        ];
        ensure!(
            change.phase.is_some() || lists.iter().any(|list| !list.is_empty()),
            "a change of nothing"
        );
        let best_first = lists[0].windows(2).all(|pair| pair[0].price_e4 > pair[1].price_e4)
            && lists[1].windows(2).all(|pair| pair[0].price_e4 < pair[1].price_e4);
        ensure!(best_first, "changed levels come best first: {lists:?}");
        for (levels, list) in [&mut mirror.bids, &mut mirror.asks].into_iter().zip(lists) {
            for level in list {
                ensure!(
                    (level.quantity > 0) == (level.order_count > 0),
                    "an odd level: {level:?}"
                );
                let old = if level.quantity == 0 {
                    levels.remove(&level.price_e4)
                } else {
                    levels.insert(level.price_e4, *level)
                };
                let changed = if level.quantity == 0 {
                    old.is_some()
                } else {
                    old != Some(*level)
                };
                ensure!(changed, "a level that did not change: {level:?}");
            }
        }
        let phase = self.instruments[change.instrument.0 as usize].phase;
        ensure!(
            change.phase.is_none_or(|told| told == phase),
            "the phase is {phase:?}: {change:?}"
        );
        self.crossing(change.instrument, change.indicative.is_some())
    }

    /// Only an auction, or a halt after one, may leave a book crossed; only there is an indicative
    /// price, and always.
    pub(crate) fn crossing(&self, instrument: InstrumentId, indicative: bool) -> Result<(), String> {
        let mirror = &self.mirrors[instrument.0 as usize];
        let phase = self.instruments[instrument.0 as usize].phase;
        let bid = mirror.bids.keys().next_back();
        let ask = mirror.asks.keys().next();
        let crossed = bid.zip(ask).is_some_and(|(bid, ask)| bid >= ask);
        ensure!(
            !crossed || phase != TradingPhase::Continuous,
            "the book is crossed: {bid:?} {ask:?}"
        );
        ensure!(
            indicative == (crossed && phase == TradingPhase::Auction),
            "indicative {indicative} in {phase:?} at {bid:?} {ask:?}"
        );
        ensure!(
            phase != TradingPhase::Closed || (bid.is_none() && ask.is_none()),
            "orders rest in a closed book"
        );
        Ok(())
    }

    /// The order that an amend is about to change.
    fn before(&self, command: &Command) -> Option<Order> {
        let Command::AmendOrder(amend) = command else {
            return None;
        };
        let mut open = self.open.values();
        open.find(|order| {
            order.user == amend.user
                && match amend.order {
                    optivex_engine::command::OrderRef::Id(id) => order.order_id == id,
                    optivex_engine::command::OrderRef::Client(id) => order.client_order_id == id,
                }
        })
        .copied()
    }

    fn amount(&self, instrument: InstrumentId, price: i64, lots: i64) -> i128 {
        i128::from(price).abs() * i128::from(lots) * i128::from(self.multiplier(instrument))
    }

    fn rolling(&mut self, command: &Command, event: &Event, before: Option<Order>) -> Result<(), String> {
        let time = self.time;
        let (user, instrument, lots, amount) = match command {
            Command::SetUserRiskLimits { user, limits } => {
                self.messages.entry(*user).or_default().set(limits.message_rate);
                return Ok(());
            }
            Command::SetInstrumentRiskLimits {
                user,
                instrument,
                limits,
            } => {
                let key = (*user, *instrument);
                self.lots.entry(key).or_default().set(limits.order_quantity);
                self.amounts.entry(key).or_default().set(limits.order_amount);
                return Ok(());
            }
            Command::CancelOrder { user, .. } | Command::CancelAllOrders { user, .. } => {
                self.messages.entry(*user).or_default().add(time, 1);
                return Ok(());
            }
            Command::InsertOrder(insert) => {
                let amount = match insert.terms.order_type {
                    OrderType::Limit => self.amount(insert.instrument, insert.terms.price_e4, insert.terms.quantity),
                    OrderType::Market => {
                        let trades = event.trades.iter();
                        trades
                            .map(|trade| self.amount(trade.instrument, trade.price_e4, trade.quantity))
                            .sum()
                    }
                };
                (
                    insert.user,
                    insert.instrument,
                    i128::from(insert.terms.quantity),
                    amount,
                )
            }
            Command::AmendOrder(_) => {
                let Some(old) = before else {
                    return Err("amended what is not open".to_owned());
                };
                let Some(first) = event.reports.first() else {
                    return Err("an amend without report".to_owned());
                };
                let new = first.order;
                let grows = new.open_quantity() - old.open_quantity();
                let amount = self.amount(old.instrument, new.price_e4, new.open_quantity())
                    - self.amount(old.instrument, old.price_e4, old.open_quantity());
                (old.user, old.instrument, i128::from(grows), amount)
            }
            _ => return Ok(()),
        };
        let messages = self.messages.entry(user).or_default();
        messages.add(time, 1);
        messages.check("message rate", time)?;
        for (histories, name, added) in [
            (&mut self.lots, "order quantity", lots),
            (&mut self.amounts, "order amount", amount),
        ] {
            let history = histories.entry((user, instrument)).or_default();
            history.add(time, added);
            if added > 0 {
                history.check(name, time)?;
            }
        }
        Ok(())
    }

    fn remember(&mut self, command: &Command, event: &Event) {
        if let Command::InsertOrder(insert) = command
            && !insert.client_order_id.is_empty()
        {
            self.recent_inserts.push_back(*insert);
        }
        self.recent_times.push_back(event.time_unix_ns);
        while self.recent_inserts.len() > REMEMBERED {
            self.recent_inserts.pop_front();
        }
        while self.recent_times.len() > REMEMBERED {
            self.recent_times.pop_front();
        }
        while self.recent_done.len() > REMEMBERED {
            self.recent_done.pop_front();
        }
    }

    /// Lots and amount of a user's open orders.
    pub(crate) fn outstanding(&self, user: UserId, instrument: Option<InstrumentId>) -> (i128, i128) {
        let mut sums = (0, 0);
        for order in self.open.values() {
            if order.user == user && instrument.is_none_or(|wanted| wanted == order.instrument) {
                sums.0 += i128::from(order.open_quantity());
                sums.1 += self.amount(order.instrument, order.price_e4, order.open_quantity());
            }
        }
        sums
    }
}
