//! From a change to many subscribers, beside a tonic server that sends ready bytes of the same size.
//!
//! `cargo bench -p optivex-server --bench fanout [-- CASE… --quick]`.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hdrhistogram::Histogram;
use optivex_bench::{Goal, Row};
use optivex_proto::v1;
use support::client::{Load, Pace, Shape};
use support::feed::{self, Counted};
use support::process::{ProcessorTime, Server, Venue, symbol};
use support::{Args, Failure, Result, runtime};
use tokio::task::JoinHandle;

const BENCH: &str = "fanout";
const CONNECTIONS: usize = 20;
/// Changes that a lossless subscriber may be behind: far fewer than the exchange keeps of one book, and of
/// many books together.
const AHEAD: u64 = 8_192;
const AHEAD_PER_BOOK: u64 = 256;

fn main() -> Result<()> {
    runtime()?.block_on(async {
        if feed::serve_if_asked().await? {
            return Ok(());
        }
        let args = Args::read();
        for (subscribers, books) in [(1_000, 1), (10_000, 1_000)] {
            let case = format!("{subscribers} lossless subscribers of {books} books");
            if args.wants(&case) {
                lossless(&args, &case, subscribers, books).await?;
            }
        }
        for (view, name, subscribers) in [
            (v1::BookView::TopOfBook, "TOP_OF_BOOK", 1_000),
            (v1::BookView::PriceDepth, "PRICE_DEPTH", 100),
        ] {
            let case = format!("{subscribers} conflated subscribers, {name}");
            if args.wants(&case) {
                conflated(&args, &case, view, subscribers).await?;
            }
        }
        if args.wants("stalled readers") {
            stalled(&args).await?;
        }
        Ok(())
    })
}

async fn venue(books: usize) -> Result<Server> {
    Server::exchange(&Venue {
        users: CONNECTIONS + 2,
        instruments: books,
        args: &["--max-subscriptions", "20000"],
    })
    .await
}

fn request(book: usize, view: v1::BookView, delivery: v1::Delivery) -> v1::SubscribeOrderBooksRequest {
    v1::SubscribeOrderBooksRequest {
        symbols: vec![symbol(book)],
        view: view.into(),
        delivery: delivery.into(),
        ..v1::SubscribeOrderBooksRequest::default()
    }
}

/// Subscribers that count.
struct Counters {
    counted: Vec<Arc<Counted>>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Counters {
    /// Each subscriber follows one book.
    async fn open(server: &Server, subscribers: usize, books: usize) -> Result<Self> {
        let mut counters = Self {
            counted: Vec::new(),
            tasks: Vec::new(),
        };
        for connection in 0..CONNECTIONS {
            let channel = server.connect().await?;
            let token = server.login(&channel, &format!("user{}", 2 + connection)).await?;
            for subscriber in (connection..subscribers).step_by(CONNECTIONS) {
                let request = request(subscriber % books, v1::BookView::PriceDepth, v1::Delivery::Lossless);
                let messages = feed::subscribe(&channel, &token, &request).await?;
                let counted = Arc::new(Counted::default());
                counters.counted.push(counted.clone());
                counters.tasks.push(tokio::spawn(feed::count(messages, counted)));
            }
        }
        Ok(counters)
    }

    fn updates(&self) -> u64 {
        self.counted
            .iter()
            .map(|counted| counted.updates.load(Ordering::Relaxed))
            .sum()
    }

    fn least(&self) -> u64 {
        let updates = self
            .counted
            .iter()
            .map(|counted| counted.updates.load(Ordering::Relaxed));
        updates.min().unwrap_or_default()
    }

    fn mean_bytes(&self) -> u64 {
        let bytes: u64 = self
            .counted
            .iter()
            .map(|counted| counted.bytes.load(Ordering::Relaxed))
            .sum();
        bytes / self.updates().max(1)
    }

    fn check(&self) -> Result<()> {
        if self.tasks.iter().any(JoinHandle::is_finished) {
            return Err("a subscription ended while it was measured".into());
        }
        Ok(())
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The begin of a measurement.
struct Measured {
    begun: Instant,
    updates: u64,
    processor: ProcessorTime,
}

/// What subscribers got.
struct Rate {
    per_second: f64,
    /// Of the server, for one message.
    processor_ns: f64,
}

impl Measured {
    fn begin(server: &Server, counters: &Counters) -> Result<Self> {
        Ok(Self {
            begun: Instant::now(),
            updates: counters.updates(),
            processor: server.processor_time()?,
        })
    }

    /// `what` is said beside what each thread took.
    fn end(&self, what: &str, server: &Server, counters: &Counters) -> Result<Rate> {
        let messages = (counters.updates() - self.updates) as f64;
        let per_second = messages / self.begun.elapsed().as_secs_f64();
        let processor = server.processor_time()?.since(&self.processor);
        eprintln!(
            "{what}: ns of each thread for a message:{}",
            processor.by_thread(messages)
        );
        Ok(Rate {
            per_second,
            processor_ns: processor.total().as_nanos() as f64 / messages,
        })
    }
}

/// Messages per second to subscribers that get every change, with the books changing as fast as the
/// slowest of them takes it; and what a subscriber costs in memory.
async fn lossless(args: &Args, case: &str, subscribers: usize, books: usize) -> Result<()> {
    let (mut own, mut base, mut idle_kib, mut busy_kib) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut own_ns, mut base_ns) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds() {
        let server = venue(books).await?;
        let before = server.resident_bytes()?;
        let counters = Counters::open(&server, subscribers, books).await?;
        let kib_of_one = || -> Result<f64> {
            Ok(server.resident_bytes()?.saturating_sub(before) as f64 / 1024.0 / subscribers as f64)
        };
        idle_kib.push(kib_of_one()?);
        let shape = Shape {
            connections: 1,
            streams: 2,
            instruments: books,
            in_flight: 0,
            resting: 0,
            trades: false,
            pace: Pace::Given,
        };
        let load = Load::start(&server, &shape).await?;
        let mut given = 0;
        let mut begun = None;
        let started = Instant::now();
        let rate = loop {
            // Each command changes one book.
            let may = counters.least() * books as u64 + AHEAD.max(AHEAD_PER_BOOK * books as u64);
            if may > given + 1 {
                let more = (may - given) / 2;
                load.give(more);
                given += 2 * more;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let elapsed = started.elapsed();
            match begun {
                None if elapsed >= args.warm_up() => begun = Some(Measured::begin(&server, &counters)?),
                Some(ref begun) if elapsed >= args.warm_up() + args.measured() => {
                    break begun.end(case, &server, &counters)?;
                }
                _ => {}
            }
        };
        counters.check()?;
        busy_kib.push(kib_of_one()?);
        own.push(rate.per_second);
        own_ns.push(rate.processor_ns);
        let bytes = counters.mean_bytes();
        load.finish().await?;
        drop((counters, server));

        let server = Server::baseline(&format!("bytes:{bytes}:{subscribers}"))?;
        let counters = Counters::open(&server, subscribers, books).await?;
        tokio::time::sleep(args.warm_up()).await;
        let begun = Measured::begin(&server, &counters)?;
        tokio::time::sleep(args.measured()).await;
        let rate = begun.end("baseline", &server, &counters)?;
        base.push(rate.per_second);
        base_ns.push(rate.processor_ns);
        counters.check()?;
    }
    Row {
        bench: BENCH,
        case,
        unit: "messages/s",
        rounds: &own,
        baseline: &base,
        goal: Goal::Ratio(0.8),
    }
    .print();
    Row {
        bench: BENCH,
        case: &format!("{case}: the server's processor time for a message"),
        unit: "ns",
        rounds: &own_ns,
        baseline: &base_ns,
        goal: Goal::None,
    }
    .print();
    if books > 1 {
        for (what, rounds, goal) in [
            ("memory of one", &idle_kib, Goal::AtMost(50.0)),
            ("memory of one, with all that grew under load", &busy_kib, Goal::None),
        ] {
            Row {
                bench: BENCH,
                case: &format!("{case}: {what}"),
                unit: "KiB",
                rounds,
                baseline: &[],
                goal,
            }
            .print();
        }
    }
    Ok(())
}

/// The event that a message shows, if it shows one. Reads no further than that: a client that decoded
/// every trade would be what is measured.
fn event_seq(message: &[u8]) -> Result<Option<u64>> {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
    let mut rest = message;
    let event_seq = match decode_key(&mut rest)? {
        (3, WireType::LengthDelimited) => 4,
        (4, WireType::LengthDelimited) => 3,
        _ => return Ok(None),
    };
    decode_varint(&mut rest)?;
    while !rest.is_empty() {
        let (field, wire_type) = decode_key(&mut rest)?;
        if field == event_seq {
            return Ok(Some(decode_varint(&mut rest)?));
        }
        skip_field(wire_type, field, &mut rest, DecodeContext::default())?;
    }
    Err("a message of a book has its event".into())
}

/// What conflated subscribers cost orders at full speed, and how far behind they are at most.
async fn conflated(args: &Args, case: &str, view: v1::BookView, subscribers: usize) -> Result<()> {
    let shape = Shape::closed(1);
    let (mut own, mut base, mut behind_ms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds() {
        let server = venue(1).await?;
        let load = Load::start(&server, &shape).await?;
        base.push(load.rate(args.warm_up(), args.measured()).await?);
        load.finish().await?;
        drop(server);

        let server = venue(1).await?;
        let load = Load::start(&server, &shape).await?;
        let most_us = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for connection in 0..CONNECTIONS {
            let channel = server.connect().await?;
            let token = server.login(&channel, &format!("user{}", 2 + connection)).await?;
            for _ in 0..subscribers / CONNECTIONS {
                let mut messages =
                    feed::subscribe(&channel, &token, &request(0, view, v1::Delivery::Conflated)).await?;
                let (events, most_us) = (load.events(), most_us.clone());
                tasks.push(tokio::spawn(async move {
                    let mut held = None;
                    while let Some(message) = messages.next().await {
                        let now = Instant::now();
                        let Some(seq) = event_seq(&message?)? else { continue };
                        // It was behind since the first event that it had not seen.
                        let since = held.and_then(|held: u64| events.of(held + 1));
                        if let Some(behind) = since.and_then(|since| now.checked_duration_since(since)) {
                            most_us.fetch_max(behind.as_micros() as u64, Ordering::Relaxed);
                        }
                        held = Some(seq);
                    }
                    Ok::<_, Failure>(())
                }));
            }
        }
        tokio::time::sleep(args.warm_up()).await;
        most_us.store(0, Ordering::Relaxed);
        own.push(load.rate(Duration::ZERO, args.measured()).await?);
        behind_ms.push(most_us.load(Ordering::Relaxed) as f64 / 1e3);
        if tasks.iter().any(JoinHandle::is_finished) {
            return Err("a subscription ended while it was measured".into());
        }
        load.finish().await?;
        tasks.iter().for_each(JoinHandle::abort);
    }
    Row {
        bench: BENCH,
        case: &format!("orders beside {case}"),
        unit: "commands/s",
        rounds: &own,
        baseline: &base,
        goal: Goal::Ratio(0.9),
    }
    .print();
    Row {
        bench: BENCH,
        case: &format!("{case}: furthest behind"),
        unit: "ms",
        rounds: &behind_ms,
        baseline: &[],
        goal: Goal::AtMost(100.0),
    }
    .print();
    Ok(())
}

/// From when an order was due to its update at each of 100 readers, with and without 100 that do not read.
async fn stalled(args: &Args) -> Result<()> {
    const READERS: usize = 100;
    const INTERVAL_NS: u64 = 1_000_000;
    let (mut own, mut base) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds() {
        for (stalled, p99s) in [(0, &mut base), (READERS, &mut own)] {
            let server = venue(1).await?;
            let mut silent = Vec::new();
            for connection in 0..5 {
                let channel = server.connect().await?;
                let token = server.login(&channel, &format!("user{}", 2 + connection)).await?;
                for _ in 0..stalled / 5 {
                    silent.push(
                        feed::subscribe(
                            &channel,
                            &token,
                            &request(0, v1::BookView::PriceDepth, v1::Delivery::Lossless),
                        )
                        .await?,
                    );
                }
            }
            let shape = Shape {
                connections: 1,
                streams: 1,
                instruments: 1,
                in_flight: 0,
                resting: 0,
                trades: true,
                pace: Pace::Open {
                    interval_ns: INTERVAL_NS,
                },
            };
            let mut tasks = Vec::new();
            let seen = Arc::new(std::sync::Mutex::new(Vec::<(u64, Instant)>::new()));
            for connection in 0..5 {
                let channel = server.connect().await?;
                let token = server.login(&channel, &format!("user{}", 10 + connection)).await?;
                for _ in 0..READERS / 5 {
                    let mut messages = feed::subscribe(
                        &channel,
                        &token,
                        &request(0, v1::BookView::PriceDepth, v1::Delivery::Lossless),
                    )
                    .await?;
                    let seen = seen.clone();
                    tasks.push(tokio::spawn(async move {
                        while let Some(message) = messages.next().await {
                            let now = Instant::now();
                            if let Some(seq) = event_seq(&message?)? {
                                seen.lock().map_err(|_| "a reader panicked")?.push((seq, now));
                            }
                        }
                        Ok::<_, Failure>(())
                    }));
                }
            }
            let load = Load::start(&server, &shape).await?;
            // Until the silent ones' windows are full.
            tokio::time::sleep(args.warm_up() * 2).await;
            seen.lock().map_err(|_| "a reader panicked")?.clear();
            tokio::time::sleep(args.measured()).await;
            let first_event = server.first_event(CONNECTIONS + 2, 1);
            let mut histogram = Histogram::<u64>::new(3)?;
            for (seq, at) in seen.lock().map_err(|_| "a reader panicked")?.iter() {
                let due = load
                    .due(seq - first_event, INTERVAL_NS)
                    .ok_or("the load has not begun")?;
                histogram.record(at.saturating_duration_since(due).as_micros() as u64)?;
            }
            p99s.push(histogram.value_at_quantile(0.99) as f64 / 1e3);
            if tasks.iter().any(JoinHandle::is_finished) {
                return Err("a subscription ended while it was measured".into());
            }
            load.finish().await?;
            tasks.iter().for_each(JoinHandle::abort);
            drop(silent);
        }
    }
    Row {
        bench: BENCH,
        case: "p99 of 100 readers beside 100 stalled readers",
        unit: "ms",
        rounds: &own,
        baseline: &base,
        goal: Goal::RatioAtMost(1.1),
    }
    .print();
    Ok(())
}
