//! What the tests of history share: random events that fit each other, and a projection of them that
//! is too simple to be wrong.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod commands;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use optivex_engine::event::{OrderOutcome, Outcome, Report, ReportKind, Trade};
use optivex_engine::types::{
    CancelReason, ClientOrderId, Instrument, InstrumentId, Order, OrderId, OrderStatus, OrderType, SelfTradePrevention,
    Side, Symbol, TimeInForce, TradeId, TradingPhase, UserId,
};
use optivex_engine::{Event, wire};
use optivex_journal::Events;
use optivex_journal::history::History;
use optivex_proto::v1;

/// Copies what lies in a directory at this moment, as a process that is killed leaves it.
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy_directory(&entry.path(), &target);
        } else if let Err(error) = copy_file(&entry.path(), &target) {
            // Files come and go while an exchange writes.
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}

/// Files are preallocated far beyond what is in them: the empty end is not copied, only made.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let metadata = source.metadata()?;
    let target = File::create_new(to)?;
    let mut filled = Vec::new();
    source
        .take((metadata.blocks() * 512).min(metadata.len()))
        .read_to_end(&mut filled)?;
    (&target).write_all(&filled)?;
    target.set_len(metadata.len())
}

/// SplitMix64: small, seeded, the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Makes events that fit each other as an engine's do, without its rules.
pub struct Stream {
    random: Random,
    event_seq: u64,
    trade_id: u64,
    order_sequence: u64,
    report_seq: HashMap<UserId, u64>,
    instruments: u32,
    open: Vec<Order>,
}

const USERS: u64 = 5;

impl Stream {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            event_seq: 0,
            trade_id: 0,
            order_sequence: 0,
            report_seq: HashMap::new(),
            instruments: 0,
            open: Vec::new(),
        }
    }

    pub fn next(&mut self) -> Event {
        self.event_seq += 1;
        let mut event = Event {
            event_seq: self.event_seq,
            time_unix_ns: 1_700_000_000_000_000_000 + self.event_seq as i64,
            ..Event::default()
        };
        if self.instruments == 0 || (self.instruments < 4 && self.random.chance(2)) {
            self.create_instrument(&mut event);
        } else {
            match self.random.below(100) {
                0..55 => self.insert(&mut event),
                55..65 if !self.open.is_empty() => self.amend(&mut event),
                65..90 if !self.open.is_empty() => self.cancel(&mut event),
                90 => self.cancel_everything(&mut event),
                91..95 => event.outcome = Outcome::UserRegistered(UserId(0)),
                _ => self.insert(&mut event),
            }
        }
        event
    }

    pub fn batch(&mut self, events: usize) -> Events {
        Arc::new((0..events).map(|_| self.next()).collect())
    }

    fn create_instrument(&mut self, event: &mut Event) {
        let id = InstrumentId(self.instruments);
        self.instruments += 1;
        event.outcome = Outcome::InstrumentCreated(Box::new(Instrument {
            id,
            symbol: Symbol::from(&format!("SYM{}", id.0)).expect("short"),
            description: String::new(),
            currency: "USD".try_into().expect("short"),
            multiplier: 1,
            tick_size_e4: 1,
            phase: TradingPhase::Continuous,
            created_unix_ns: event.time_unix_ns,
        }));
    }

    fn report(&mut self, event: &mut Event, kind: ReportKind, order: Order) {
        let report_seq = self.report_seq.entry(order.user).or_default();
        *report_seq += 1;
        event.reports.push(Report {
            report_seq: *report_seq,
            kind,
            order,
        });
    }

    fn insert(&mut self, event: &mut Event) {
        self.order_sequence += 1;
        let client_order_id = if self.random.chance(70) {
            // Few, so that ids come again.
            ClientOrderId::from(&format!("c{}", self.random.below(300))).expect("short")
        } else {
            ClientOrderId::default()
        };
        let mut order = Order {
            order_id: OrderId(self.order_sequence << 24 | self.random.below(1 << 24)),
            user: UserId(self.random.below(USERS) as u32),
            client_order_id,
            instrument: InstrumentId(self.random.below(u64::from(self.instruments)) as u32),
            side: if self.random.chance(50) { Side::Buy } else { Side::Sell },
            price_e4: self.random.below(1_000_000) as i64 - 500_000,
            quantity: 1 + self.random.below(100) as i64,
            filled_quantity: 0,
            status: OrderStatus::Open,
            created_unix_ns: event.time_unix_ns,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancelled,
            post_only: self.random.chance(10),
            self_trade_prevention: SelfTradePrevention::CancelIncoming,
            event_seq: event.event_seq,
        };
        self.report(event, ReportKind::Accepted, order);
        while order.status == OrderStatus::Open && self.random.chance(40) {
            let matching = |other: &Order| other.instrument == order.instrument && other.side != order.side;
            let Some(index) = self.open.iter().position(matching) else {
                break;
            };
            let mut resting = self.open.swap_remove(index);
            let quantity = resting.open_quantity().min(order.open_quantity());
            self.trade_id += 1;
            let (buy, sell) = match order.side {
                Side::Buy => (order, resting),
                Side::Sell => (resting, order),
            };
            event.trades.push(Trade {
                trade_id: TradeId(self.trade_id),
                instrument: order.instrument,
                price_e4: resting.price_e4,
                quantity,
                aggressor_side: self.random.chance(90).then_some(order.side),
                buy_order: buy.order_id,
                buyer: buy.user,
                sell_order: sell.order_id,
                seller: sell.user,
            });
            for (order, aggressor) in [(&mut resting, false), (&mut order, true)] {
                order.filled_quantity += quantity;
                order.event_seq = event.event_seq;
                if order.filled_quantity == order.quantity {
                    order.status = OrderStatus::Filled;
                }
                let kind = ReportKind::Fill {
                    trade_id: TradeId(self.trade_id),
                    price_e4: resting_price(event),
                    quantity,
                    aggressor,
                };
                self.report(event, kind, *order);
            }
            if resting.status == OrderStatus::Open {
                self.open.push(resting);
            }
        }
        if order.status == OrderStatus::Open {
            if self.random.chance(20) {
                order.status = OrderStatus::Cancelled(CancelReason::TimeInForce);
                self.report(event, ReportKind::Cancelled, order);
            } else {
                self.open.push(order);
            }
        }
        event.outcome = Outcome::Inserted(outcome(&order));
    }

    fn amend(&mut self, event: &mut Event) {
        let index = self.random.below(self.open.len() as u64) as usize;
        self.open[index].quantity += 1;
        self.open[index].event_seq = event.event_seq;
        let order = self.open[index];
        self.report(event, ReportKind::Amended, order);
        event.outcome = Outcome::Amended(outcome(&order));
    }

    fn cancel(&mut self, event: &mut Event) {
        let index = self.random.below(self.open.len() as u64) as usize;
        let mut order = self.open.swap_remove(index);
        event.outcome = Outcome::Cancelled(order.order_id, order.open_quantity());
        order.status = OrderStatus::Cancelled(CancelReason::User);
        order.event_seq = event.event_seq;
        self.report(event, ReportKind::Cancelled, order);
    }

    fn cancel_everything(&mut self, event: &mut Event) {
        let open = std::mem::take(&mut self.open);
        event.outcome = Outcome::AllCancelled(open.len() as u64);
        for mut order in open {
            order.status = OrderStatus::Cancelled(CancelReason::Suspended);
            order.event_seq = event.event_seq;
            self.report(event, ReportKind::Cancelled, order);
        }
    }
}

fn resting_price(event: &Event) -> i64 {
    event.trades.last().map_or(0, |trade| trade.price_e4)
}

fn outcome(order: &Order) -> OrderOutcome {
    OrderOutcome {
        order_id: order.order_id,
        status: order.status,
        filled_quantity: order.filled_quantity,
        open_quantity: order.open_quantity(),
    }
}

/// History as vectors and maps.
#[derive(Default)]
pub struct Naive {
    pub watermark: u64,
    symbols: Vec<String>,
    pub reports: BTreeMap<UserId, Vec<v1::ExecutionReport>>,
    pub trades: Vec<(InstrumentId, v1::Trade)>,
    pub done: BTreeMap<OrderId, (UserId, v1::Order)>,
    pub by_client_id: BTreeMap<(UserId, String), v1::Order>,
}

impl Naive {
    pub fn add(&mut self, event: &Event) {
        self.watermark = event.event_seq;
        if let Outcome::InstrumentCreated(instrument) = &event.outcome {
            self.symbols.push(instrument.symbol.to_string());
        }
        for trade in &event.trades {
            let symbol = &self.symbols[trade.instrument.0 as usize];
            self.trades.push((trade.instrument, wire::trade(event, trade, symbol)));
        }
        for report in &event.reports {
            let order = &report.order;
            let symbol = &self.symbols[order.instrument.0 as usize];
            let message = wire::execution_report(event, report, symbol);
            self.reports.entry(order.user).or_default().push(message);
            if order.status != OrderStatus::Open {
                let message = wire::order(order, symbol);
                self.done.insert(order.order_id, (order.user, message.clone()));
                if !order.client_order_id.is_empty() {
                    self.by_client_id
                        .insert((order.user, order.client_order_id.to_string()), message);
                }
            }
        }
    }

    /// Asks everything in pages of random length, and beyond the ends.
    pub fn assert_same(&self, history: &History, random: &mut Random) {
        assert_eq!(*history.watermark().borrow(), self.watermark);
        for (user, reports) in &self.reports {
            assert_eq!(*history.report_watch(*user).borrow(), reports.len() as u64);
            let mut got = Vec::new();
            loop {
                let max = 1 + random.below(300) as usize;
                let page = history.reports(*user, got.len() as u64, max).expect("readable");
                assert!(page.len() <= max);
                if page.is_empty() {
                    break;
                }
                got.extend(page);
            }
            assert_eq!(&got, reports);
            assert_eq!(history.reports(*user, u64::MAX, 10).expect("readable"), []);
            assert_eq!(history.reports(*user, 0, 0).expect("readable"), []);
            for _ in 0..10 {
                let after = random.below(reports.len() as u64 + 1);
                let page = history.reports(*user, after, 3).expect("readable");
                let expected: Vec<_> = reports.iter().skip(after as usize).take(3).cloned().collect();
                assert_eq!(page, expected);
            }
        }
        assert_eq!(history.reports(UserId(1_000), 0, 10).expect("readable"), []);
        assert_eq!(*history.report_watch(UserId(1_000)).borrow(), 0);

        let last_trade_id = self.trades.last().map_or(0, |(_, trade)| trade.trade_id);
        assert_eq!(*history.trade_watch().borrow(), last_trade_id);
        let instruments = (0..=self.symbols.len() as u32).map(|id| Some(InstrumentId(id)));
        for instrument in std::iter::once(None).chain(instruments) {
            let expected: Vec<&v1::Trade> = self
                .trades
                .iter()
                .filter(|(id, _)| instrument.is_none_or(|instrument| instrument == *id))
                .map(|(_, trade)| trade)
                .collect();
            let mut got = Vec::new();
            loop {
                let after = got.last().map_or(0, |trade: &v1::Trade| trade.trade_id);
                let max = 1 + random.below(300) as usize;
                let page = history.trades(instrument, after, max).expect("readable");
                if page.is_empty() {
                    break;
                }
                got.extend(page);
            }
            assert_eq!(got.iter().collect::<Vec<_>>(), expected);
            for _ in 0..10 {
                let after = random.below(last_trade_id + 2);
                let page = history.trades(instrument, after, 2).expect("readable");
                let after_it = expected.iter().filter(|trade| trade.trade_id > after);
                assert_eq!(
                    page.iter().collect::<Vec<_>>(),
                    after_it.take(2).copied().collect::<Vec<_>>()
                );
            }
        }

        for (order, expected) in &self.done {
            assert_eq!(history.order(*order).expect("readable").as_ref(), Some(expected));
        }
        assert_eq!(history.order(OrderId(u64::MAX)).expect("readable"), None);
        for ((user, id), expected) in &self.by_client_id {
            let got = history.order_by_client_id(*user, id).expect("readable");
            assert_eq!(got.as_ref(), Some(expected));
        }
        assert_eq!(history.order_by_client_id(UserId(0), "none").expect("readable"), None);
    }
}
