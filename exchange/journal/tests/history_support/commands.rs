//! Random commands for a real engine, and a data directory that they are journaled in.

use std::path::Path;

use arrayvec::ArrayString;
use optivex_engine::command::{AmendOrder, CreateInstrument, InsertOrder, OrderRef, OrderTerms};
use optivex_engine::types::{
    ClientOrderId, InstrumentId, OrderId, OrderType, RollingWindowLimit, SelfTradePrevention, Side, Symbol,
    TimeInForce, TradingPhase, UserId, UserRiskLimits, Username,
};
use optivex_engine::{Applied, Command, Engine, Event, Input};
use optivex_journal::recover::{RecoverOptions, Recovered, recover};
use optivex_journal::{Batch, EventSink, Journal, Options, record};

use super::Random;

pub const USERS: u32 = 4;
pub const INSTRUMENTS: u32 = 3;

/// Makes commands that a real exchange would see; many are refused.
pub struct Commands {
    pub random: Random,
    time_unix_ns: i64,
    setup: u32,
}

impl Commands {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            time_unix_ns: 1_700_000_000_000_000_000,
            setup: 0,
        }
    }

    /// The next command for this state.
    pub fn next(&mut self, engine: &Engine) -> Input {
        self.time_unix_ns += self.random.below(3_000_000_000) as i64;
        Input {
            time_unix_ns: self.time_unix_ns,
            command: self.command(engine),
        }
    }

    fn command(&mut self, engine: &Engine) -> Command {
        self.setup += 1;
        if self.setup <= USERS {
            let username = Username::from(&format!("user{}", self.setup)).expect("short");
            return Command::RegisterUser { username };
        }
        if self.setup <= USERS + INSTRUMENTS {
            return Command::CreateInstrument(CreateInstrument {
                user: UserId(0),
                symbol: Symbol::from(&format!("SYM{}", self.setup - USERS)).expect("short"),
                description: "Test, with a \"quote\"".to_owned(),
                currency: ArrayString::from("EUR").expect("short"),
                multiplier: 1,
                tick_size_e4: 5,
                initial_phase: TradingPhase::Continuous,
                client_request_id: ArrayString::new(),
            });
        }
        let user = UserId(self.random.below(u64::from(USERS)) as u32);
        let instrument = InstrumentId(self.random.below(u64::from(INSTRUMENTS)) as u32);
        match self.random.below(200) {
            0..120 => self.insert(user, instrument),
            120..140 => {
                let order = self.order_ref(engine, user);
                let price_e4 = self.random.chance(60).then(|| self.price());
                Command::AmendOrder(AmendOrder {
                    user,
                    order,
                    price_e4,
                    quantity: (price_e4.is_none() || self.random.chance(50)).then(|| self.random.below(30) as i64),
                })
            }
            140..180 => Command::CancelOrder {
                user,
                order: self.order_ref(engine, user),
            },
            180..184 => Command::CancelAllOrders {
                user,
                instrument: self.random.chance(50).then_some(instrument),
                side: None,
            },
            184..190 => Command::SetTradingPhase {
                instrument,
                phase: match self.random.below(6) {
                    0 => TradingPhase::Auction,
                    1 => TradingPhase::Halted,
                    _ => TradingPhase::Continuous,
                },
            },
            190 => Command::SuspendUser {
                user,
                comment: "test".to_owned(),
            },
            191..195 => Command::ResumeUser { user },
            195 => Command::SetUserRiskLimits {
                user,
                limits: UserRiskLimits {
                    message_rate: Some(RollingWindowLimit {
                        limit: 50,
                        window_in_seconds: 60,
                    }),
                    ..UserRiskLimits::default()
                },
            },
            196 => Command::SetUserRiskLimits {
                user,
                limits: UserRiskLimits::default(),
            },
            _ => Command::CancelOnDisconnect {
                user,
                after: OrderId(engine.last_order_id().0.saturating_sub(3 << 24)),
            },
        }
    }

    fn price(&mut self) -> i64 {
        1_000_000 + 5 * (self.random.below(20) as i64 - 10)
    }

    fn insert(&mut self, user: UserId, instrument: InstrumentId) -> Command {
        let (order_type, time_in_force) = match self.random.below(10) {
            0 => (OrderType::Market, TimeInForce::ImmediateOrCancel),
            1 => (OrderType::Limit, TimeInForce::ImmediateOrCancel),
            2 => (OrderType::Limit, TimeInForce::FillOrKill),
            _ => (OrderType::Limit, TimeInForce::GoodTillCancelled),
        };
        let may_rest = time_in_force == TimeInForce::GoodTillCancelled;
        Command::InsertOrder(InsertOrder {
            user,
            instrument,
            terms: OrderTerms {
                side: if self.random.chance(50) { Side::Buy } else { Side::Sell },
                price_e4: if order_type == OrderType::Market {
                    0
                } else {
                    self.price()
                },
                quantity: 1 + self.random.below(20) as i64,
                order_type,
                time_in_force,
                post_only: may_rest && self.random.chance(10),
                self_trade_prevention: match self.random.below(3) {
                    0 => SelfTradePrevention::CancelIncoming,
                    1 => SelfTradePrevention::CancelResting,
                    _ => SelfTradePrevention::CancelBoth,
                },
            },
            client_order_id: if self.random.chance(50) {
                ClientOrderId::from(&format!("c{}", self.random.next() % 100_000)).expect("short")
            } else {
                ClientOrderId::default()
            },
        })
    }

    fn order_ref(&mut self, engine: &Engine, user: UserId) -> OrderRef {
        let skip = self.random.below(20) as usize;
        let order = engine.open_orders(user, None, OrderId(0)).nth(skip);
        OrderRef::Id(order.map_or(OrderId(1), |order| order.order_id))
    }
}

/// Small segments, so that tests cross them.
pub fn options(directory: &Path) -> RecoverOptions {
    RecoverOptions {
        journal: Options {
            segment_bytes: 32 << 10,
            ..Options::default()
        },
        ..RecoverOptions::new(directory)
    }
}

/// An exchange without a network: what the sequencer and its journal thread do, one after the other.
pub struct Exchange {
    pub recovered: Recovered,
}

impl Exchange {
    pub fn start(directory: &Path) -> Self {
        Self {
            recovered: recover(&options(directory)).expect("recovers"),
        }
    }

    /// Applies commands until `count` of them were accepted; each commit has some. The events.
    pub fn run(&mut self, commands: &mut Commands, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            let mut batch = Batch::default();
            let mut group = Vec::new();
            let size = (1 + commands.random.below(50) as usize).min(count - events.len());
            while group.len() < size {
                let input = commands.next(&self.recovered.engine);
                let mut event = Event::default();
                if let Ok(Applied::Event) = self.recovered.engine.apply(&input, &mut event) {
                    batch.push_with(event.event_seq, |bytes| record::encode(&input, bytes));
                    group.push(event);
                }
            }
            self.recovered.journal.commit(&[batch]).expect("durable");
            self.recovered
                .history_writer
                .publish(&std::sync::Arc::new(group.clone()));
            events.extend(group);
        }
        events
    }

    /// Applies one command, which must be accepted.
    pub fn accept(&mut self, input: &Input) -> Event {
        let mut event = Event::default();
        let applied = self.recovered.engine.apply(input, &mut event);
        assert_eq!(applied, Ok(Applied::Event), "{input:?}");
        let mut batch = Batch::default();
        batch.push_with(event.event_seq, |bytes| record::encode(input, bytes));
        self.recovered.journal.commit(&[batch]).expect("durable");
        self.recovered
            .history_writer
            .publish(&std::sync::Arc::new(vec![event.clone()]));
        event
    }

    /// As the exchange does it: history first, so that recovery finds it as far as the snapshot.
    pub fn snapshot(&mut self) -> u64 {
        self.recovered.history.sync().expect("durable");
        let event_seq = self.recovered.engine.event_seq();
        let bytes = self.recovered.engine.snapshot();
        self.recovered.snapshots.store(event_seq, &bytes).expect("durable");
        event_seq
    }

    pub fn digest(&self) -> [u8; 32] {
        self.recovered.engine.digest()
    }
}
