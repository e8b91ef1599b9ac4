//! How long recovery takes, beside the engine alone: `cargo bench -p optivex-journal --bench recovery`.
//!
//! A data directory with RESTING resting orders, a snapshot, and a tail of TAIL further commands that
//! insert, cancel and trade. Arguments: `[RESTING [TAIL [DIRECTORY]]]`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayString;
use optivex_engine::command::{CreateInstrument, InsertOrder, OrderRef, OrderTerms};
use optivex_engine::types::{
    InstrumentId, OrderId, OrderType, SelfTradePrevention, Side, TimeInForce, TradingPhase, UserId,
};
use optivex_engine::{Applied, Command, Engine, Event, Input};
use optivex_journal::recover::{HISTORY_DIRECTORY, RecoverOptions, recover};
use optivex_journal::{Batch, EventSink, Journal, record};

const USERS: u64 = 100;
const INSTRUMENTS: u64 = 10;
const BATCH: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let resting: u64 = numbers.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let tail: u64 = numbers.next().map_or(Ok(100_000), |text| text.parse())?;
    let parent = numbers.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(parent)?;
    let directory = directory.path();

    let started = Instant::now();
    let (inputs, snapshot) = write(directory, resting, tail)?;
    let events = inputs.len() as u64;
    println!(
        "{events} events, {resting} resting orders and a tail of {tail}, written in {:.1} s",
        seconds(started)
    );
    println!(
        "snapshot {:.1} MB, journal {:.1} MB, history {:.1} MB\n",
        megabytes(&directory.join("snapshots"))?,
        megabytes(&directory.join("journal"))?,
        megabytes(&directory.join(HISTORY_DIRECTORY))?,
    );
    println!("| what | recovery, s | engine alone, s | ratio |");
    println!("|---|---|---|---|");

    let started = Instant::now();
    let mut engine = Engine::restore(&snapshot)?;
    replay(&mut engine, &inputs[inputs.len() - tail as usize..]);
    report("snapshot and tail", directory, seconds(started), engine.digest())?;

    let started = Instant::now();
    let mut engine = Engine::new(*engine.limits());
    replay(&mut engine, &inputs);
    let alone = seconds(started);
    let digest = engine.digest();
    fs::remove_dir_all(directory.join("snapshots"))?;
    report("journal alone, history kept", directory, alone, digest)?;
    fs::remove_dir_all(directory.join(HISTORY_DIRECTORY))?;
    report("journal alone, history rebuilt", directory, alone, digest)
}

fn replay(engine: &mut Engine, inputs: &[Input]) {
    let mut event = Event::default();
    for input in inputs {
        engine.apply(input, &mut event).expect("it was accepted before");
    }
}

fn report(what: &str, directory: &Path, alone: f64, digest: [u8; 32]) -> Result<(), Box<dyn Error>> {
    let recovered = recover(&RecoverOptions::new(directory))?;
    let time = recovered.report.duration.as_secs_f64();
    assert_eq!(recovered.engine.digest(), digest);
    let started = Instant::now();
    recovered.history.sync()?;
    println!(
        "| {what} ({} records, history {:.1} s behind) | {time:.2} | {alone:.2} | {:.2} |",
        recovered.report.replayed,
        seconds(started),
        time / alone
    );
    Ok(recovered.history_writer.close()?)
}

fn write(directory: &Path, resting: u64, tail: u64) -> Result<(Vec<Input>, Vec<u8>), Box<dyn Error>> {
    let mut exchange = recover(&RecoverOptions::new(directory))?;
    let mut inputs = Vec::new();
    let mut snapshot = Vec::new();
    let mut batch = Batch::default();
    let mut events = Vec::new();
    let setup = USERS + INSTRUMENTS;
    let total = setup + resting + tail;
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
            tail_command(&exchange.engine, number - setup)?
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
        let is_at_snapshot = number + 1 == setup + resting;
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

/// Two of ten cancel the user's oldest order, one trades, the others rest.
fn tail_command(engine: &Engine, number: u64) -> Result<Command, Box<dyn Error>> {
    let user = UserId((number % USERS) as u32);
    match number / 7 % 10 {
        0 | 1 if let Some(order) = engine.open_orders(user, None, OrderId(0)).next() => Ok(Command::CancelOrder {
            user,
            order: OrderRef::Id(order.order_id),
        }),
        2 => insert(number, true),
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
