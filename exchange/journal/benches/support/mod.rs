//! Commands of 100 users on 10 books, with client ids: what history and recovery are measured with.

use std::error::Error;

use arrayvec::ArrayString;
use optivex_engine::command::{CreateInstrument, InsertOrder, OrderRef, OrderTerms};
use optivex_engine::event::{Event, ReportKind};
use optivex_engine::types::{
    InstrumentId, OrderId, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce, TradingPhase, UserId,
};
use optivex_engine::{Applied, Command, Engine, Input};

pub(crate) const USERS: u64 = 100;
const INSTRUMENTS: u64 = 10;
/// Commands that make users and instruments.
pub(crate) const SETUP: u64 = USERS + INSTRUMENTS;

/// The exchange's own: what one thread allocates another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Commands one after the other. The users take turns; after the first orders, which come to rest, one command
/// in ten trades, and the others insert and cancel so that each user has as many open orders as before.
pub(crate) struct Flow {
    number: u64,
    /// Open orders that each user is meant to have.
    each: u64,
    /// That each has.
    open: [u64; USERS as usize],
}

impl Flow {
    /// With so many resting orders, or a few of each user's less while trades are made up for.
    pub(crate) fn new(resting: u64) -> Self {
        Self {
            number: 0,
            each: resting / USERS,
            open: [0; USERS as usize],
        }
    }

    /// Applies the next command; the engine has seen only this flow's.
    pub(crate) fn step(&mut self, engine: &mut Engine, event: &mut Event) -> Result<Input, Box<dyn Error>> {
        let input = Input {
            time_unix_ns: 1_700_000_000_000_000_000 + self.number as i64 * 1_000,
            command: self.command(engine)?,
        };
        match engine.apply(&input, event) {
            Ok(Applied::Event) => {}
            other => return Err(format!("{input:?}: {other:?}").into()),
        }
        self.number += 1;
        for report in &event.reports {
            let open = &mut self.open[report.order.user.0 as usize];
            match (report.kind, report.order.status) {
                (ReportKind::Accepted, _) => *open += 1,
                (_, OrderStatus::Open) => {}
                (_, OrderStatus::Filled | OrderStatus::Cancelled(_)) => *open -= 1,
            }
        }
        Ok(input)
    }

    fn command(&self, engine: &Engine) -> Result<Command, Box<dyn Error>> {
        let number = self.number;
        if number < USERS {
            return Ok(Command::RegisterUser {
                username: text(&format!("user{number}"))?,
            });
        }
        if number < SETUP {
            return instrument(number - USERS);
        }
        let user = UserId((number % USERS) as u32);
        let is_filled = number >= SETUP + self.each * USERS;
        if is_filled && number / USERS % 10 == 8 {
            return insert(user, number, true);
        }
        if self.open[user.0 as usize] < self.each {
            return insert(user, number, false);
        }
        let oldest = engine.open_orders(user, None, OrderId(0)).next();
        let oldest = oldest.ok_or("the flow counts orders that the engine does not have")?;
        Ok(Command::CancelOrder {
            user,
            order: OrderRef::Id(oldest.order_id),
        })
    }
}

/// Orders that rest in an engine's books.
#[allow(dead_code, reason = "not every benchmark looks")]
pub(crate) fn resting(engine: &Engine) -> u64 {
    let books = (0..INSTRUMENTS as u32).map(InstrumentId);
    books
        .flat_map(|book| [(book, Side::Buy), (book, Side::Sell)])
        .flat_map(|(book, side)| engine.levels(book, side))
        .map(|level| u64::from(level.order_count))
        .sum()
}

/// The client id of the order that a command inserts.
pub(crate) fn client_order_id(number: u64) -> String {
    format!("order-{number}")
}

fn instrument(number: u64) -> Result<Command, Box<dyn Error>> {
    Ok(Command::CreateInstrument(CreateInstrument {
        user: UserId(0),
        symbol: text(&format!("SYM{number}"))?,
        description: String::new(),
        currency: text("USD")?,
        multiplier: 1,
        tick_size_e4: 100,
        initial_phase: TradingPhase::Continuous,
        client_request_id: ArrayString::new(),
    }))
}

/// 1,000 levels a side around 100.0000; one that crosses trades with the best level.
fn insert(user: UserId, number: u64, crosses: bool) -> Result<Command, Box<dyn Error>> {
    let side = if user.0.is_multiple_of(2) {
        Side::Buy
    } else {
        Side::Sell
    };
    let depth = (1 + number.wrapping_mul(2_654_435_761) % 1_000) as i64;
    let away = if crosses { -depth } else { depth };
    Ok(Command::InsertOrder(InsertOrder {
        user,
        instrument: InstrumentId((number / 2 % INSTRUMENTS) as u32),
        terms: OrderTerms {
            side,
            price_e4: 1_000_000 + 100 * if side == Side::Buy { -away } else { away },
            quantity: 10,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancelled,
            post_only: false,
            self_trade_prevention: SelfTradePrevention::CancelResting,
        },
        client_order_id: text(&client_order_id(number))?,
    }))
}

fn text<const N: usize>(text: &str) -> Result<ArrayString<N>, Box<dyn Error>> {
    ArrayString::from(text).map_err(|error| error.simplify().into())
}
