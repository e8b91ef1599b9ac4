//! Cost as the exchange grows: instruments, users, resting orders. Each size beside the smallest, in turn.
//!
//! `cargo bench -p optivex-server --bench growth [-- CASE… --quick]`.

mod support;

use optivex_bench::{Goal, Row};
use support::client::{Load, Shape};
use support::process::{Server, Venue};
use support::{Args, Result, echo, runtime};

const BENCH: &str = "growth";
/// Within 20% across the range.
const GOAL: Goal = Goal::Ratio(0.8);

/// One size of one thing.
struct Size {
    case: String,
    shape: Shape,
    /// Whether an echo is the baseline, as the number of streams changes too.
    beside_echo: bool,
}

fn sizes() -> Vec<Vec<Size>> {
    let size = |case: String, shape: Shape, beside_echo: bool| Size {
        case,
        shape,
        beside_echo,
    };
    let instruments = [1, 100, 10_000].map(|instruments| {
        let shape = Shape {
            instruments,
            ..Shape::closed(1)
        };
        size(format!("{instruments} instruments"), shape, false)
    });
    // The same number of commands in flight, spread over more and more streams.
    let users = [2_usize, 100, 10_000].map(|users| {
        let connections = users.div_ceil(500);
        let shape = Shape {
            connections,
            streams: users / connections,
            in_flight: (8_192 / users as u64).max(1),
            ..Shape::closed(1)
        };
        size(format!("{users} users"), shape, true)
    });
    let books = [10, 10_000, 1_000_000].map(|resting| {
        let shape = Shape {
            resting,
            ..Shape::closed(1)
        };
        size(format!("{resting} resting orders"), shape, false)
    });
    vec![instruments.into(), users.into(), books.into()]
}

fn main() -> Result<()> {
    runtime()?.block_on(async {
        if echo::serve_if_asked().await? {
            return Ok(());
        }
        let args = Args::read();
        for sizes in sizes() {
            if sizes.iter().any(|size| args.wants(&size.case)) {
                measure(&args, &sizes).await?;
            }
        }
        Ok(())
    })
}

async fn measure(args: &Args, sizes: &[Size]) -> Result<()> {
    let mut rates = vec![Vec::new(); sizes.len()];
    let mut base = vec![Vec::new(); sizes.len()];
    for _ in 0..args.rounds().min(3) {
        for (index, size) in sizes.iter().enumerate() {
            let server = Server::exchange(&Venue {
                users: size.shape.connections * size.shape.streams,
                instruments: size.shape.instruments,
                args: &[],
            })
            .await?;
            rates[index].push(rate(args, &server, size).await?);
            if size.beside_echo {
                base[index].push(rate(args, &Server::baseline("echo")?, size).await?);
            }
        }
    }
    let relative: Vec<Vec<f64>> = rates
        .iter()
        .zip(&base)
        .map(|(own, base)| match base.is_empty() {
            true => own.clone(),
            false => own.iter().zip(base).map(|(own, base)| own / base).collect(),
        })
        .collect();
    for (index, size) in sizes.iter().enumerate() {
        let (unit, rounds) = if size.beside_echo {
            ("of the echo's commands/s", &relative)
        } else {
            ("commands/s", &rates)
        };
        Row {
            bench: BENCH,
            case: &size.case,
            unit,
            rounds: &rounds[index],
            baseline: if index == 0 { &[] } else { &rounds[0] },
            goal: if index == 0 { Goal::None } else { GOAL },
        }
        .print();
    }
    Ok(())
}

async fn rate(args: &Args, server: &Server, size: &Size) -> Result<f64> {
    let load = Load::start(server, &size.shape).await?;
    load.reached(size.shape.resting).await?;
    let rate = load.rate(args.warm_up(), args.measured()).await?;
    load.finish().await?;
    Ok(rate)
}
