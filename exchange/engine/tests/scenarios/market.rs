//! A market to try things in: users A to D, instruments X (multiplier 1) and Y (multiplier 10), both
//! with a tick of 5, and commands as one writes them on a blackboard.

use std::fmt::Write;

use optivex_engine::command::{AmendOrder, CreateInstrument, InsertOrder, OrderRef, OrderTerms};
use optivex_engine::event::{Outcome, ReportKind};
use optivex_engine::limits::ORDER_SLOT_BITS;
use optivex_engine::types::*;
use optivex_engine::{Applied, Command, Engine, Event, Input, Limits, Refusal};

pub(crate) const A: UserId = UserId(0);
pub(crate) const B: UserId = UserId(1);
pub(crate) const C: UserId = UserId(2);
pub(crate) const D: UserId = UserId(3);
pub(crate) const X: InstrumentId = InstrumentId(0);
pub(crate) const Y: InstrumentId = InstrumentId(1);
pub(crate) const SECOND: i64 = 1_000_000_000;

/// An engine, its clock, and what happened last.
pub(crate) struct Market {
    pub(crate) engine: Engine,
    pub(crate) event: Event,
    pub(crate) now: i64,
    /// Every accepted input, for a replay.
    pub(crate) accepted: Vec<Input>,
}

impl Market {
    /// Continuous trading, default limits.
    pub(crate) fn open() -> Self {
        Self::with(TradingPhase::Continuous, Limits::default())
    }

    /// X and Y in a phase, with these limits.
    pub(crate) fn with(phase: TradingPhase, limits: Limits) -> Self {
        let mut market = Self {
            engine: Engine::new(limits),
            event: Event::default(),
            now: SECOND,
            accepted: Vec::new(),
        };
        for name in ["A", "B", "C", "D"] {
            let username = Username::from(name).unwrap();
            market.ok(Command::RegisterUser { username });
        }
        for (symbol, multiplier) in [("X", 1), ("Y", 10)] {
            market.ok(Command::CreateInstrument(CreateInstrument {
                user: A,
                symbol: Symbol::from(symbol).unwrap(),
                description: String::new(),
                currency: "EUR".try_into().unwrap(),
                multiplier,
                tick_size_e4: 5,
                initial_phase: phase,
                client_request_id: ClientRequestId::new(),
            }));
        }
        market
    }

    /// Applies a command now, and checks what holds of every command: a refused or repeated one leaves
    /// the digest alone and the event empty.
    pub(crate) fn apply(&mut self, command: impl Into<Command>) -> Result<Applied, Refusal> {
        let input = Input {
            time_unix_ns: self.now,
            command: command.into(),
        };
        let before = self.engine.digest();
        let applied = self.engine.apply(&input, &mut self.event);
        if applied == Ok(Applied::Event) {
            self.accepted.push(input);
        } else {
            assert_eq!(self.event, Event::default(), "nothing happened");
            assert_eq!(self.engine.digest(), before, "nothing changed");
        }
        applied
    }

    /// Applies a command that has to be accepted.
    #[track_caller]
    pub(crate) fn ok(&mut self, command: impl Into<Command>) -> &Event {
        let command = command.into();
        assert_eq!(self.apply(command.clone()), Ok(Applied::Event), "{command:?}");
        &self.event
    }

    /// Applies a command that has to be refused.
    #[track_caller]
    pub(crate) fn refused(&mut self, command: impl Into<Command>) -> Refusal {
        let command = command.into();
        self.apply(command.clone()).expect_err(&format!("{command:?}"))
    }

    /// Inserts an order that has to be accepted, and tells its id.
    #[track_caller]
    pub(crate) fn rest(&mut self, order: Insert) -> OrderId {
        self.ok(order);
        self.engine.last_order_id()
    }

    /// Moves both books to a phase.
    #[track_caller]
    pub(crate) fn phase(&mut self, phase: TradingPhase) {
        for instrument in [X, Y] {
            self.ok(Command::SetTradingPhase { instrument, phase });
        }
    }

    /// The last event, a line a report: `A buy 3@100 #1 fill 2@100 t1`.
    pub(crate) fn reports(&self) -> String {
        let mut text = String::new();
        for report in &self.event.reports {
            let order = &report.order;
            let side = if order.side == Side::Buy { "buy" } else { "sell" };
            let price = match order.order_type {
                OrderType::Limit => order.price_e4.to_string(),
                OrderType::Market => "market".to_owned(),
            };
            let name = name(order.user);
            let number = order.order_id.0 >> ORDER_SLOT_BITS;
            write!(text, "{name} #{number} {side} {}@{price}: ", order.quantity).unwrap();
            match report.kind {
                ReportKind::Accepted => writeln!(text, "accepted"),
                ReportKind::Amended => writeln!(text, "amended"),
                ReportKind::Fill {
                    price_e4,
                    quantity,
                    aggressor,
                    ..
                } => {
                    let role = if aggressor { "takes" } else { "trades" };
                    let whole = if order.status == OrderStatus::Filled {
                        ", whole"
                    } else {
                        ""
                    };
                    writeln!(text, "{role} {quantity}@{price_e4}{whole}")
                }
                ReportKind::Cancelled => writeln!(text, "{:?}, {} filled", order.status, order.filled_quantity),
            }
            .unwrap();
        }
        text
    }

    /// A book, best first: `B1 5@100 | A2 3@105` with owner and order number.
    pub(crate) fn book(&self, instrument: InstrumentId) -> String {
        let side = |side| {
            let orders = self.engine.resting_orders(instrument, side).map(|order| {
                let number = order.order_id.0 >> ORDER_SLOT_BITS;
                format!(
                    "{}{number} {}@{}",
                    name(order.user),
                    order.open_quantity(),
                    order.price_e4
                )
            });
            orders.collect::<Vec<_>>().join(", ")
        };
        format!("{} | {}", side(Side::Buy), side(Side::Sell))
    }

    /// The levels that the last event changed in its books: `+5x1@100 | -@105`.
    pub(crate) fn changes(&self) -> String {
        let change = |change| {
            let side = |side| {
                let levels = self.event.changed_levels(change, side).iter();
                let level = |level: &Level| format!("{}x{}@{}", level.quantity, level.order_count, level.price_e4);
                levels.map(level).collect::<Vec<_>>().join(", ")
            };
            format!("{} | {}", side(Side::Buy), side(Side::Sell))
        };
        self.event.books.iter().map(change).collect::<Vec<_>>().join("; ")
    }

    /// Where the order of the last insert or amend stands.
    #[track_caller]
    pub(crate) fn stands(&self) -> (OrderStatus, i64, i64) {
        match self.event.outcome {
            Outcome::Inserted(order) | Outcome::Amended(order) => {
                (order.status, order.filled_quantity, order.open_quantity)
            }
            _ => panic!("no order: {:?}", self.event.outcome),
        }
    }
}

impl Drop for Market {
    /// Whatever a scenario did: its state is what a replay and a restored snapshot give.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut replayed = Engine::new(*self.engine.limits());
        for input in &self.accepted {
            let applied = replayed.apply(input, &mut self.event);
            assert_eq!(applied, Ok(Applied::Event), "replay of {input:?}");
        }
        assert_eq!(replayed.digest(), self.engine.digest(), "replay");
        let restored = Engine::restore(&self.engine.snapshot()).expect("its own snapshot");
        assert_eq!(restored.digest(), self.engine.digest(), "restore");
    }
}

/// A user's name.
pub(crate) fn name(user: UserId) -> char {
    char::from(b'A' + user.0 as u8)
}

/// An insert to be refined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Insert(pub(crate) InsertOrder);

/// A limit order that rests, in X.
pub(crate) fn buy(user: UserId, quantity: i64, price_e4: i64) -> Insert {
    insert(user, Side::Buy, quantity, price_e4)
}

/// A limit order that rests, in X.
pub(crate) fn sell(user: UserId, quantity: i64, price_e4: i64) -> Insert {
    insert(user, Side::Sell, quantity, price_e4)
}

fn insert(user: UserId, side: Side, quantity: i64, price_e4: i64) -> Insert {
    Insert(InsertOrder {
        user,
        instrument: X,
        terms: OrderTerms {
            side,
            price_e4,
            quantity,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancelled,
            post_only: false,
            self_trade_prevention: SelfTradePrevention::CancelIncoming,
        },
        client_order_id: ClientOrderId::new(),
    })
}

impl Insert {
    pub(crate) fn of(mut self, instrument: InstrumentId) -> Self {
        self.0.instrument = instrument;
        self
    }
    pub(crate) fn ioc(mut self) -> Self {
        self.0.terms.time_in_force = TimeInForce::ImmediateOrCancel;
        self
    }
    pub(crate) fn fok(mut self) -> Self {
        self.0.terms.time_in_force = TimeInForce::FillOrKill;
        self
    }
    pub(crate) fn market(mut self) -> Self {
        self.0.terms.order_type = OrderType::Market;
        self.0.terms.price_e4 = 0;
        self.ioc()
    }
    pub(crate) fn post_only(mut self) -> Self {
        self.0.terms.post_only = true;
        self
    }
    pub(crate) fn stp(mut self, choice: SelfTradePrevention) -> Self {
        self.0.terms.self_trade_prevention = choice;
        self
    }
    pub(crate) fn id(mut self, id: &str) -> Self {
        self.0.client_order_id = ClientOrderId::from(id).unwrap();
        self
    }
}

impl From<Insert> for Command {
    fn from(insert: Insert) -> Self {
        Command::InsertOrder(insert.0)
    }
}

/// An amend of price or quantity.
pub(crate) fn amend(
    user: UserId,
    order: OrderId,
    quantity: impl Into<Option<i64>>,
    price_e4: impl Into<Option<i64>>,
) -> Command {
    Command::AmendOrder(AmendOrder {
        user,
        order: OrderRef::Id(order),
        price_e4: price_e4.into(),
        quantity: quantity.into(),
    })
}

/// A cancel.
pub(crate) fn cancel(user: UserId, order: OrderId) -> Command {
    Command::CancelOrder {
        user,
        order: OrderRef::Id(order),
    }
}
