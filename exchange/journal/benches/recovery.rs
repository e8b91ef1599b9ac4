//! How long recovery takes, beside the engine alone: `cargo bench -p optivex-journal --bench recovery`.
//!
//! A data directory with RESTING resting orders, further commands that insert, cancel and trade up to
//! COMMANDS in all, a snapshot, and a tail of TAIL more, as many as lie between two snapshots.
//! Arguments: `[--quick] [RESTING [COMMANDS [TAIL]]]`. Prints rows for `cargo xtask bench`: the time by the clock,
//! which the goals are about, and the processor time of all threads, which a busy machine changes less.

mod support;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use optivex_bench::{Goal, Row};
use optivex_engine::{Engine, Event, Input};
use optivex_journal::recover::{HISTORY_DIRECTORY, RecoverOptions, recover};
use optivex_journal::{Batch, EventSink, Journal, record};
use rustix::time::{ClockId, clock_gettime};
use support::{Flow, SETUP, USERS};

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
        "{events} events, {resting} resting orders and a tail of {tail}, written in {:.1} s",
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

/// Makes the data directory; its inputs, and the snapshot before the tail.
fn write(directory: &Path, resting: u64, commands: u64, tail: u64) -> Result<(Vec<Input>, Vec<u8>), Box<dyn Error>> {
    let mut exchange = recover(&RecoverOptions::new(directory))?;
    let mut flow = Flow::new(resting);
    let total = commands.max(SETUP + resting + tail);
    let mut inputs = Vec::with_capacity(total as usize);
    let mut snapshot = Vec::new();
    let mut batch = Batch::default();
    let mut events = Vec::new();
    for number in 1..=total {
        let mut event = Event::default();
        let input = flow.step(&mut exchange.engine, &mut event)?;
        batch.push_with(event.event_seq, |bytes| record::encode(&input, bytes));
        events.push(event);
        inputs.push(input);
        let is_at_snapshot = number == total - tail;
        if events.len() == BATCH || is_at_snapshot || number == total {
            exchange.journal.commit(std::slice::from_ref(&batch))?;
            batch.clear();
            exchange.history_writer.publish(&Arc::new(std::mem::take(&mut events)));
        }
        if is_at_snapshot {
            check_resting(&exchange.engine, resting);
            exchange.history.sync()?;
            snapshot = exchange.engine.snapshot();
            exchange.journal.store_snapshot(number, &snapshot)?;
        }
    }
    check_resting(&exchange.engine, resting);
    exchange.history_writer.close()?;
    Ok((inputs, snapshot))
}

/// As many as are meant to rest, but for what the last trades took.
fn check_resting(engine: &Engine, meant: u64) {
    let found = support::resting(engine);
    assert!(
        found <= meant && meant - found <= 10 * USERS,
        "{found} orders rest instead of {meant}"
    );
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
