//! How long recovery takes, beside the engine alone: `cargo bench -p optivex-journal --bench recovery`.
//!
//! A data directory with RESTING resting orders, further commands that insert, cancel and trade up to
//! COMMANDS in all, a snapshot, and a tail of TAIL more, as many as lie between two snapshots.
//! Arguments: `[--quick] [RESTING [COMMANDS [TAIL]]]`. Prints rows for `cargo xtask bench`: the time by the clock,
//! which the goals are about, and the processor time of all threads, which a busy machine changes less.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayString;
use optivex_bench::{Goal, Row};
use optivex_engine::command::{CreateInstrument, InsertOrder, OrderRef, OrderTerms};
use optivex_engine::types::{
    InstrumentId, OrderId, OrderType, SelfTradePrevention, Side, TimeInForce, TradingPhase, UserId,
};
use optivex_engine::{Applied, Command, Engine, Event, Input};
use optivex_journal::recover::{HISTORY_DIRECTORY, RecoverOptions, recover};
use optivex_journal::{Batch, EventSink, Journal, record};
use rustix::time::{ClockId, clock_gettime};

const USERS: u64 = 100;
const INSTRUMENTS: u64 = 10;
const BATCH: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let is_quick =
        given.iter().any(|argument| argument == "--quick") || !given.iter().any(|argument| argument == "--bench");
    let mut numbers = given.iter().filter(|argument| !argument.starts_with("--"));
    let mut number = |default: u64| {
        let default = if is_quick { default / 20 } else { default };
        numbers.next().map_or(Ok(default), |text| text.parse())
    };
    let (resting, commands, tail) = (number(1_000_000)?, number(10_000_000)?, number(250_000)?);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let directory = directory.path();

    let started = Instant::now();
    let (inputs, snapshot) = write(directory, resting, commands, tail)?;
    let events = inputs.len() as u64;
    eprintln!(
        "{events} events, at least {resting} resting orders and a tail of {tail}, written in {:.1} s",
        seconds(started)
    );
    eprintln!(
        "snapshot {:.1} MB, journal {:.1} MB, history {:.1} MB",
        megabytes(&directory.join("snapshots"))?,
        megabytes(&directory.join("journal"))?,
        megabytes(&directory.join(HISTORY_DIRECTORY))?,
    );

    let started = Cost::now();
    let mut engine = Engine::restore(&snapshot)?;
    replay(&mut engine, &inputs[inputs.len() - tail as usize..]);
    let alone = started.elapsed();
    let of_size = |what: &str| {
        format!(
            "{what}, {} M commands, {} M resting",
            events as f64 / 1e6,
            resting as f64 / 1e6
        )
    };
    let case = of_size("snapshot and tail");
    report(&case, directory, &alone, engine.digest(), Goal::AtMost(5.0))?;

    let started = Cost::now();
    let mut engine = Engine::new(*engine.limits());
    replay(&mut engine, &inputs);
    let alone = started.elapsed();
    let digest = engine.digest();
    fs::remove_dir_all(directory.join("snapshots"))?;
    // At no less than half the engine's speed.
    let goal = Goal::RatioAtMost(2.0);
    report(&of_size("journal, history kept"), directory, &alone, digest, goal)?;
    fs::remove_dir_all(directory.join(HISTORY_DIRECTORY))?;
    report(
        &of_size("journal alone, history rebuilt"),
        directory,
        &alone,
        digest,
        goal,
    )
}

fn replay(engine: &mut Engine, inputs: &[Input]) {
    let mut event = Event::default();
    for input in inputs {
        engine.apply(input, &mut event).expect("it was accepted before");
    }
}

/// Seconds by the clock, and of the processor in all threads.
struct Cost {
    clock: f64,
    processor: f64,
}

impl Cost {
    /// Since some beginning.
    fn now() -> Self {
        let seconds = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
        };
        Self {
            clock: seconds(ClockId::Monotonic),
            processor: seconds(ClockId::ProcessCPUTime),
        }
    }

    fn elapsed(&self) -> Self {
        let now = Self::now();
        Self {
            clock: now.clock - self.clock,
            processor: now.processor - self.processor,
        }
    }
}

/// Prints the rows of one recovery, beside the engine alone on the same inputs.
fn report(case: &str, directory: &Path, alone: &Cost, digest: [u8; 32], goal: Goal) -> Result<(), Box<dyn Error>> {
    let started = Cost::now();
    let recovered = recover(&RecoverOptions::new(directory))?;
    let time = recovered.report.duration.as_secs_f64();
    let processor = started.elapsed().processor;
    assert_eq!(recovered.engine.digest(), digest);
    let started = Instant::now();
    recovered.history.sync()?;
    eprintln!(
        "{case}: {} records, history {:.1} s behind",
        recovered.report.replayed,
        seconds(started)
    );
    let row = |case: &str, own, baseline, goal| {
        Row {
            bench: "recovery",
            case,
            unit: "s",
            rounds: &[own],
            baseline: &[baseline],
            goal,
        }
        .print();
    };
    row(case, time, alone.clock, goal);
    let case = format!("{case}: processor time");
    row(&case, processor, alone.processor, Goal::None);
    Ok(recovered.history_writer.close()?)
}

fn write(directory: &Path, resting: u64, commands: u64, tail: u64) -> Result<(Vec<Input>, Vec<u8>), Box<dyn Error>> {
    let mut exchange = recover(&RecoverOptions::new(directory))?;
    let mut inputs = Vec::new();
    let mut snapshot = Vec::new();
    let mut batch = Batch::default();
    let mut events = Vec::new();
    let setup = USERS + INSTRUMENTS;
    let total = commands.max(setup + resting + tail);
    for number in 0..total {
        let command = if number < USERS {
            Command::RegisterUser {
                username: text(&format!("user{number}"))?,
            }
        } else if number < setup {
            instrument(number - USERS)?
        } else if number < setup + resting {
            insert(number - setup, false)?
        } else {
            later_command(&exchange.engine, number - setup)?
        };
        let input = Input {
            time_unix_ns: 1_700_000_000_000_000_000 + number as i64,
            command,
        };
        let mut event = Event::default();
        match exchange.engine.apply(&input, &mut event) {
            Ok(Applied::Event) => {}
            other => return Err(format!("{input:?}: {other:?}").into()),
        }
        batch.push_with(event.event_seq, |bytes| record::encode(&input, bytes));
        events.push(event);
        inputs.push(input);
        let is_at_snapshot = number + 1 == total - tail;
        if events.len() == BATCH || is_at_snapshot || number + 1 == total {
            exchange.journal.commit(std::slice::from_ref(&batch))?;
            batch.clear();
            exchange.history_writer.publish(&Arc::new(std::mem::take(&mut events)));
        }
        if is_at_snapshot {
            exchange.history.sync()?;
            snapshot = exchange.engine.snapshot();
            exchange.journal.store_snapshot(number + 1, &snapshot)?;
        }
    }
    exchange.history_writer.close()?;
    Ok((inputs, snapshot))
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
fn insert(number: u64, crosses: bool) -> Result<Command, Box<dyn Error>> {
    let side = if number.is_multiple_of(2) {
        Side::Buy
    } else {
        Side::Sell
    };
    let depth = (1 + number.wrapping_mul(2_654_435_761) % 1_000) as i64;
    let away = if crosses { -depth } else { depth };
    Ok(Command::InsertOrder(InsertOrder {
        user: UserId((number % USERS) as u32),
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
        client_order_id: text(&format!("order-{number}"))?,
    }))
}

/// Of ten, four cancel the user's oldest order, one trades, and five rest: the books stay about as large.
fn later_command(engine: &Engine, number: u64) -> Result<Command, Box<dyn Error>> {
    let user = UserId((number % USERS) as u32);
    match number / USERS % 10 {
        0 | 2 | 4 | 6 if let Some(order) = engine.open_orders(user, None, OrderId(0)).next() => {
            Ok(Command::CancelOrder {
                user,
                order: OrderRef::Id(order.order_id),
            })
        }
        8 => insert(number, true),
        _ => insert(number, false),
    }
}

fn text<const N: usize>(text: &str) -> Result<ArrayString<N>, Box<dyn Error>> {
    ArrayString::from(text).map_err(|error| error.simplify().into())
}

fn seconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

fn megabytes(directory: &Path) -> Result<f64, Box<dyn Error>> {
    let mut bytes = 0.0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            megabytes(&entry.path())? * 1e6
        } else {
            entry.metadata()?.len() as f64
        };
    }
    Ok(bytes / 1e6)
}
