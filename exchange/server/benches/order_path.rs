//! From a socket to durable and back, beside an echo of the same messages on the same tonic.
//!
//! `cargo bench -p optivex-server --bench order_path [-- CASE… --quick --exchange=PATH]`. The exchange is the real
//! binary with its journal and history on the disk that the build is on; the echo is this program as a
//! second process. Both get the same clients, connections and messages, in turn, round by round.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use optivex_bench::{Goal, Row, median};
use optivex_proto::v1;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use support::client::{Load, Pace, Shape};
use support::process::{ProcessorTime, Server, Venue, symbol};
use support::{Args, Failure, Result, directory, disk, echo, runtime};

const BENCH: &str = "order_path";
/// Users that any case needs.
const USERS: usize = 8;

fn main() -> Result<()> {
    runtime()?.block_on(async {
        if echo::serve_if_asked().await? {
            return Ok(());
        }
        let args = Args::read();
        for connections in [1, 4] {
            let case = format!("order entry, {connections} connections");
            if args.wants(&case) {
                order_entry(&args, &case, connections).await?;
            }
        }
        for connections in [1, 4] {
            let case = format!("unary insert, 64 in flight, {connections} connections");
            if args.wants(&case) {
                unary(&args, &case, connections).await?;
            }
        }
        if args.wants("unary insert, one in flight") {
            one_in_flight(&args).await?;
        }
        if args.wants("open loop") {
            open_loop(&args).await?;
        }
        Ok(())
    })
}

async fn venue() -> Result<Server> {
    Server::exchange(&Venue {
        users: USERS,
        instruments: 1,
        args: &[],
    })
    .await
}

/// Commands per second, as many in flight as the windows let.
async fn order_entry(args: &Args, case: &str, connections: usize) -> Result<()> {
    let (mut own, mut base) = (Vec::new(), Vec::new());
    let (mut own_times, mut base_times) = (Vec::new(), Vec::new());
    let shape = Shape::closed(connections);
    for _ in 0..args.rounds() {
        for (server, rates, times) in [
            (Server::baseline("echo")?, &mut base, &mut base_times),
            (venue().await?, &mut own, &mut own_times),
        ] {
            let load = Load::start(&server, &shape).await?;
            tokio::time::sleep(args.warm_up()).await;
            let meter = Meter::start(&server, load.answered())?;
            rates.push(load.rate(Duration::ZERO, args.measured()).await?);
            times.push(meter.stop(&server, load.answered(), case)?);
            load.finish().await?;
        }
    }
    Row {
        bench: BENCH,
        case,
        unit: "commands/s",
        rounds: &own,
        baseline: &base,
        goal: Goal::Ratio(0.75),
    }
    .print();
    processor_time(case, &own_times, &base_times);
    Ok(())
}

/// Processor time of a server between two moments.
struct Meter {
    at_first: ProcessorTime,
    answered: u64,
}

impl Meter {
    fn start(server: &Server, answered: u64) -> Result<Self> {
        Ok(Self {
            at_first: server.processor_time()?,
            answered,
        })
    }

    /// Nanoseconds for each answer; tells of which threads.
    fn stop(self, server: &Server, answered: u64, case: &str) -> Result<f64> {
        let spent = server.processor_time()?.since(&self.at_first);
        let commands = (answered - self.answered) as f64;
        eprintln!(
            "{case}: processor time of the server, ns a command:{}",
            spent.by_thread(commands)
        );
        Ok(spent.total().as_nanos() as f64 / commands)
    }
}

/// What of a case a busy machine changes least.
fn processor_time(case: &str, rounds: &[f64], baseline: &[f64]) {
    Row {
        bench: BENCH,
        case: &format!("{case}: processor time of the server"),
        unit: "ns",
        rounds,
        baseline,
        goal: Goal::None,
    }
    .print();
}

/// Calls per second with 64 in flight over all connections.
async fn unary(args: &Args, case: &str, connections: usize) -> Result<()> {
    const IN_FLIGHT: usize = 64;
    let (mut own, mut base) = (Vec::new(), Vec::new());
    let (mut own_times, mut base_times) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds() {
        for (server, rates, times) in [
            (Server::baseline("echo")?, &mut base, &mut base_times),
            (venue().await?, &mut own, &mut own_times),
        ] {
            let calls = Arc::new(AtomicU64::new(0));
            let stop = Arc::new(AtomicBool::new(false));
            let mut tasks = Vec::new();
            for connection in 0..connections {
                let channel = server.connect().await?;
                let users = [
                    server.login(&channel, "user0").await?,
                    server.login(&channel, "user1").await?,
                ];
                for caller in 0..IN_FLIGHT / connections {
                    let side = [v1::Side::Buy, v1::Side::Sell][caller % 2];
                    let token = users[caller % 2].clone();
                    let mut client = ExecutionServiceClient::new(channel.clone());
                    let (calls, stop) = (calls.clone(), stop.clone());
                    let name = connection;
                    tasks.push(tokio::spawn(async move {
                        while !stop.load(Ordering::Relaxed) {
                            client
                                .insert_order(token.with(insert(side)))
                                .await
                                .map_err(|status| format!("connection {name}: {status}"))?;
                            calls.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok::<_, Failure>(())
                    }));
                }
            }
            tokio::time::sleep(args.warm_up()).await;
            let (begun, before) = (Instant::now(), calls.load(Ordering::Relaxed));
            let meter = Meter::start(&server, before)?;
            tokio::time::sleep(args.measured()).await;
            let after = calls.load(Ordering::Relaxed);
            rates.push((after - before) as f64 / begun.elapsed().as_secs_f64());
            times.push(meter.stop(&server, after, case)?);
            stop.store(true, Ordering::Relaxed);
            for task in tasks {
                task.await??;
            }
        }
    }
    Row {
        bench: BENCH,
        case,
        unit: "calls/s",
        rounds: &own,
        baseline: &base,
        goal: Goal::Ratio(0.9),
    }
    .print();
    processor_time(case, &own_times, &base_times);
    Ok(())
}

/// Bids and offers at one price: each second one trades.
fn insert(side: v1::Side) -> v1::InsertOrderRequest {
    v1::InsertOrderRequest {
        symbol: symbol(0),
        side: side.into(),
        price_e4: 1_000_000,
        quantity: 10,
        r#type: v1::OrderType::Limit.into(),
        time_in_force: v1::TimeInForce::GoodTillCancelled.into(),
        ..v1::InsertOrderRequest::default()
    }
}

/// Median latency of a single caller, beside the echo's and what the disk takes for one durable append.
async fn one_in_flight(args: &Args) -> Result<()> {
    let calls = if args.quick { 500 } else { 3_000 };
    let (mut own, mut base, mut echoes, mut disks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds() {
        let disk_us = disk::append_p50_us(calls)?;
        let echo_us = call_p50_us(&Server::baseline("echo")?, calls).await?;
        own.push(call_p50_us(&venue().await?, calls).await?);
        base.push(echo_us + 1.25 * disk_us);
        echoes.push(echo_us);
        disks.push(disk_us);
    }
    let row = |case, rounds: &[f64], baseline: &[f64], goal| {
        Row {
            bench: BENCH,
            case,
            unit: "µs",
            rounds,
            baseline,
            goal,
        }
        .print();
    };
    row("echo, one in flight, p50", &echoes, &[], Goal::None);
    row("append + fdatasync of 4 KiB, p50", &disks, &[], Goal::None);
    row("unary insert, one in flight, p50", &own, &base, Goal::RatioAtMost(1.0));
    Ok(())
}

async fn call_p50_us(server: &Server, calls: usize) -> Result<f64> {
    let channel = server.connect().await?;
    let token = server.login(&channel, "user0").await?;
    let mut client = ExecutionServiceClient::new(channel);
    let mut times = Vec::with_capacity(calls);
    for call in 0..calls + calls / 10 {
        let begun = Instant::now();
        client.insert_order(token.with(insert(v1::Side::Buy))).await?;
        if call >= calls / 10 {
            times.push(begun.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times[calls / 2].as_secs_f64() * 1e6)
}

/// Latency at half of the capacity, counted from when a command was due.
async fn open_loop(args: &Args) -> Result<()> {
    let closed = Shape::closed(4);
    let (mut p50, mut p99, mut p999) = (Vec::new(), Vec::new(), Vec::new());
    let (mut echo_p50, mut echo_p99, mut echo_p999) = (Vec::new(), Vec::new(), Vec::new());
    let (mut own_times, mut base_times) = (Vec::new(), Vec::new());
    let mut capacities = Vec::new();
    let mut all = [Histogram::<u64>::new(3)?, Histogram::new(3)?];
    for _ in 0..args.rounds() {
        let server = venue().await?;
        let load = Load::start(&server, &closed).await?;
        let capacity = load.rate(args.warm_up(), args.measured()).await?;
        load.finish().await?;
        drop(server);
        capacities.push(capacity);
        let streams = (closed.connections * closed.streams) as f64;
        let shape = Shape {
            pace: Pace::Open {
                interval_ns: (streams * 1e9 / (capacity / 2.0)) as u64,
            },
            ..closed.clone()
        };
        for (server, histogram, times, p50, p99, p999) in [
            (
                Server::baseline("echo")?,
                0,
                &mut base_times,
                &mut echo_p50,
                &mut echo_p99,
                &mut echo_p999,
            ),
            (venue().await?, 1, &mut own_times, &mut p50, &mut p99, &mut p999),
        ] {
            let load = Load::start(&server, &shape).await?;
            tokio::time::sleep(args.warm_up()).await;
            load.reset_latency();
            let meter = Meter::start(&server, load.answered())?;
            tokio::time::sleep(args.measured()).await;
            let latency = load.latency()?;
            times.push(meter.stop(&server, load.answered(), "open loop")?);
            load.finish().await?;
            p50.push(milliseconds(latency.value_at_quantile(0.5)));
            p99.push(milliseconds(latency.value_at_quantile(0.99)));
            p999.push(milliseconds(latency.value_at_quantile(0.999)));
            all[histogram].add(&latency)?;
        }
    }
    write_histogram("echo", &all[0])?;
    write_histogram("exchange", &all[1])?;
    processor_time("open loop", &own_times, &base_times);
    eprintln!("open loop at half of {:.0} commands/s", median(&capacities));
    for (case, rounds, baseline, goal) in [
        ("open loop at half capacity, p50", &p50, &echo_p50, Goal::None),
        ("open loop at half capacity, p99", &p99, &echo_p99, Goal::AtMost(2.0)),
        (
            "open loop at half capacity, p99.9",
            &p999,
            &echo_p999,
            Goal::AtMost(5.0),
        ),
    ] {
        Row {
            bench: BENCH,
            case,
            unit: "ms",
            rounds,
            baseline,
            goal,
        }
        .print();
    }
    Ok(())
}

fn milliseconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3
}

/// Percentiles as text, for people and for HdrHistogram's plotter.
fn write_histogram(name: &str, histogram: &Histogram<u64>) -> Result<()> {
    use std::fmt::Write as _;
    let mut text = "Value(ms) Percentile TotalCount 1/(1-Percentile)\n".to_owned();
    for value in histogram.iter_quantiles(5) {
        let quantile = value.quantile_iterated_to();
        writeln!(
            text,
            "{:.6} {quantile:.9} {} {:.2}",
            milliseconds(value.value_iterated_to()),
            histogram.count_between(0, value.value_iterated_to()),
            1.0 / (1.0 - quantile)
        )?;
    }
    let path = directory("histograms")?.join(format!("open_loop_{name}.txt"));
    std::fs::write(&path, text)?;
    eprintln!("latency histogram: {}", path.display());
    Ok(())
}
