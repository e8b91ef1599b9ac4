//! What an event costs history: `cargo bench -p optivex-journal --bench history [-- --quick] [EVENTS]`.
//!
//! A real engine's events (100 users, 10 books, inserts, cancels and trades; every order has a client id)
//! are published batch by batch. The cost is the processor time of all threads but the one that makes the
//! events: however many threads history has, they take it from the rest of the exchange. The baseline is the
//! processor time of appending the same number of bytes as history has at the end to a plain file.
//! Prints rows for `cargo xtask bench`.

mod support;

use std::collections::VecDeque;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use optivex_bench::{Goal, Row};
use optivex_engine::types::UserId;
use optivex_engine::{Engine, Event, Limits};
use optivex_journal::history::{self, History, HistoryOptions};
use optivex_journal::{EventSink, Events};
use rustix::time::{ClockId, clock_gettime};
use support::{Flow, USERS, client_order_id};

/// Orders that rest at any time.
const RESTING: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let is_quick =
        given.iter().any(|argument| argument == "--quick") || !given.iter().any(|argument| argument == "--bench");
    let events = match given.iter().find(|argument| !argument.starts_with("--")) {
        Some(number) => number.parse()?,
        None if is_quick => 50_000,
        None => 2_000_000,
    };
    let rounds = if is_quick { 1 } else { 3 };
    for (batch, case) in [(64, "batches of 64"), (2, "batches of 2")] {
        let events = if batch == 2 { events / 4 } else { events };
        let mut measured = Vec::new();
        for _ in 0..rounds {
            measured.push(measure(case, batch, events)?);
        }
        print(case, &measured);
    }
    Ok(())
}

/// What one round found.
struct Round {
    /// Processor time of an event, nanoseconds.
    event_ns: f64,
    /// Processor time of appending as many bytes to a plain file, per event, nanoseconds.
    plain_ns: f64,
    /// An order by its client id, microseconds.
    by_client_id_us: f64,
    /// A page of 256 reports, from anywhere, microseconds.
    page_us: f64,
    /// The last two reports of a user, microseconds.
    newest_us: f64,
}

fn print(case: &str, measured: &[Round]) {
    let of = |value: fn(&Round) -> f64| measured.iter().map(value).collect::<Vec<_>>();
    let row = |what: &str, unit, rounds: &[f64], baseline: &[f64]| {
        Row {
            bench: "history",
            case: &format!("{case}, {what}"),
            unit,
            rounds,
            baseline,
            goal: Goal::None,
        }
        .print();
    };
    let (event, plain) = (of(|round| round.event_ns), of(|round| round.plain_ns));
    row("processor time of an event", "ns", &event, &plain);
    row(
        "an order by its client id",
        "µs",
        &of(|round| round.by_client_id_us),
        &[],
    );
    row("256 reports from anywhere", "µs", &of(|round| round.page_us), &[]);
    row("the last 2 reports", "µs", &of(|round| round.newest_us), &[]);
}

fn measure(case: &str, batch: usize, count: u64) -> Result<Round, Box<dyn Error>> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = directory.path().join("history");
    let (mut writer, history) = history::open(&path, &HistoryOptions::default())?;
    let mut engine = Engine::new(Limits::default());
    let mut flow = Flow::new(RESTING);
    let mut events = Vec::new();
    // Given back here, as the exchange does it: what an event holds is freed where it was made.
    let mut published: VecDeque<Events> = VecDeque::new();
    let mut reports = 0;
    let started = Instant::now();
    let before = others_seconds();
    for number in 0..count {
        let mut event = Event::default();
        flow.step(&mut engine, &mut event)?;
        reports += event.reports.len();
        events.push(event);
        if events.len() == batch || number + 1 == count {
            let batch = Arc::new(std::mem::take(&mut events));
            writer.publish(&batch);
            published.push_back(batch);
            while published.front().is_some_and(|batch| Arc::strong_count(batch) == 1) {
                published.pop_front();
            }
        }
    }
    history.sync()?;
    let cost = others_seconds() - before;
    drop(published);
    let elapsed = started.elapsed().as_secs_f64();
    let (by_client_id, page, newest) = read(case, &history, count)?;
    writer.close()?;
    drop(history);
    let bytes = size(&path)?;
    let started = Instant::now();
    let reopened = history::open(&path, &HistoryOptions::default())?;
    eprintln!("{case}: opened again in {:.2} s", started.elapsed().as_secs_f64());
    drop(reopened);
    let plain = plain_append(directory.path(), bytes)?;
    let per_event = |seconds: f64| seconds * 1e9 / count as f64;
    eprintln!(
        "{case}: {count} events, {reports} reports, {:.0} bytes an event on disk, {elapsed:.1} s in all",
        bytes as f64 / count as f64
    );
    Ok(Round {
        event_ns: per_event(cost),
        plain_ns: per_event(plain),
        by_client_id_us: by_client_id * 1e6,
        page_us: page * 1e6,
        newest_us: newest * 1e6,
    })
}

/// What readers wait for, in seconds: an order by its client id, a page of reports, the last two. The system has
/// the files in memory, and all threads are idle.
fn read(case: &str, history: &History, count: u64) -> Result<(f64, f64, f64), Box<dyn Error>> {
    let mut found = 0;
    let lookups = 20_000;
    let mut number = 1;
    let mut next = || {
        number = (number * 48_271) % 2_147_483_647;
        number
    };
    let started = Instant::now();
    for _ in 0..lookups {
        let number = next() % count;
        let id = client_order_id(number);
        let order = history.order_by_client_id(UserId((number % USERS) as u32), &id)?;
        found += u32::from(order.is_some());
    }
    let by_client_id = started.elapsed().as_secs_f64() / f64::from(lookups);
    let pages = 2_000;
    let started = Instant::now();
    for _ in 0..pages {
        let user = UserId((next() % USERS) as u32);
        let last = *history.report_watch(user).borrow();
        history.reports(user, next() % last.max(1), 256)?;
    }
    let page = started.elapsed().as_secs_f64() / f64::from(pages);
    let started = Instant::now();
    for _ in 0..pages {
        let user = UserId((next() % USERS) as u32);
        let last = *history.report_watch(user).borrow();
        history.reports(user, last.saturating_sub(2), 256)?;
    }
    let newest = started.elapsed().as_secs_f64() / f64::from(pages);
    eprintln!("{case}: {found} of {lookups} client ids were of done orders");
    Ok((by_client_id, page, newest))
}

/// Processor time of all threads but this one.
fn others_seconds() -> f64 {
    let seconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    seconds(ClockId::ProcessCPUTime) - seconds(ClockId::ThreadCPUTime)
}

/// Processor time of appending so many bytes, 16 KiB at a time.
fn plain_append(directory: &Path, bytes: u64) -> Result<f64, Box<dyn Error>> {
    let mut file = File::create_new(directory.join("plain"))?;
    let block = [7; 16 << 10];
    let time = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let before = time();
    for _ in 0..bytes.div_ceil(block.len() as u64) {
        file.write_all(&block)?;
    }
    file.sync_data()?;
    Ok(time() - before)
}

fn size(path: &Path) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            size(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}
