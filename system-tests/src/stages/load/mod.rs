//! Stage 16: load. What is judged is that everything is right under it; how fast it was is a score.

mod audit;
mod desk;
mod echo;
mod lane;
mod order;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::case::{Case, Stage};
use crate::client::Session;
use crate::context::Context;
use crate::run;
use crate::score::Measurement;
use crate::verdict::{Stop, Verdict};
use audit::Before;
use desk::Desk;
use echo::Echo;
use lane::{Pair, Round, Until, Way};

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "load",
    title: "Load",
    number: 16,
    core: false,
    builds_on: &["orders", "tape"],
    cases: &[
        Case::new(
            "calls",
            "Under a load of InsertOrder calls every order is answered once, and all that was acknowledged is there afterwards.",
            "execution.proto ExecutionService.InsertOrder; ListOrders; ListPositions; SubscribeExecutionReports",
            run!(calls),
        )
        .measures()
        .within(300),
        Case::new(
            "stream",
            "Under a load of commands on streams every order is answered once, and all that was acknowledged is there afterwards.",
            "execution.proto ExecutionService.OrderEntry; ListOrders; ListPositions; SubscribeExecutionReports",
            run!(stream),
        )
        .measures()
        .wants(&["order-entry"])
        .within(300),
    ],
};

/// Users who sell, and as many who buy.
const PAIRS: usize = 2;
/// Orders of a pair that a closed loop keeps in flight at most.
const CALLS_IN_FLIGHT: usize = 32;
const COMMANDS_IN_FLIGHT: usize = 256;
/// The exchange and the echo take turns in both, so that noise hits both.
const CLOSED_ROUNDS: u32 = 4;
const OPEN_ROUNDS: u32 = 8;
/// All closed rounds take a third of the open ones' time.
const CLOSED_PART: f64 = 1.0 / 3.0;
/// Of what the slower of the two can take, the open loop sends so much: a queue that does not grow.
const OPEN_PART: f64 = 0.5;

/// Catches: answers to other orders, lost or doubled orders and fills under concurrency, limits on
/// calls in flight that refuse instead of waiting.
async fn calls(context: Context) -> Verdict {
    load(context, Way::Calls, CALLS_IN_FLIGHT).await
}

/// Catches: the same, and answers out of order, commands dropped or doubled on a busy stream.
async fn stream(context: Context) -> Verdict {
    load(context, Way::Stream, COMMANDS_IN_FLIGHT).await
}

async fn load(context: Context, way: Way, in_flight_max: usize) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let echo = Echo::start()?;
    let (mut exchange, mut baseline) = (Desk::new(false), Desk::new(true));
    let mut before = Vec::new();
    for _ in 0..PAIRS {
        let users = [context.trader().await?, context.trader().await?];
        for user in &users {
            before.push(Before::of(user).await?);
        }
        exchange.pairs.push(Pair::new(users, &symbol, way));
        let strangers = [stranger(&context, &echo).await?, stranger(&context, &echo).await?];
        baseline.pairs.push(Pair::new(strangers, &symbol, way));
    }
    measure(&context, &mut exchange, &mut baseline, in_flight_max).await?;
    baseline.finish().await?;
    exchange.finish().await?;
    drop((baseline, echo));
    let lanes = exchange.pairs.into_iter().flat_map(|pair| pair.lanes);
    let users = lanes.zip(before).collect();
    audit::everything_is_there(&context, &symbol, users).await
}

async fn stranger(context: &Context, echo: &Echo) -> Verdict<Session> {
    Session::connect(&echo.url, "nobody, at the echo", context.log(), context.patience())
        .await
        .map_err(|error| Stop::trouble(format!("the echo of the tests: {error}")))?
        // As many headers as for the exchange.
        .with_token(Some("0123456789012345678901234567890123456789012"))
}

/// First what both can take, then how soon they answer at half of that.
async fn measure(context: &Context, exchange: &mut Desk, echo: &mut Desk, in_flight_max: usize) -> Verdict {
    let closed_round = context.load_time().mul_f64(CLOSED_PART) / CLOSED_ROUNDS;
    let open_round = context.load_time() / OPEN_ROUNDS;
    let window = warm_up(exchange, echo, in_flight_max, closed_round).await?;

    let mut closed = Both::new()?;
    for number in 0..CLOSED_ROUNDS {
        for is_exchange in turns(number) {
            let desk = if is_exchange { &mut *exchange } else { &mut *echo };
            let round = desk.closed(window, Until::Over(Instant::now() + closed_round)).await?;
            closed.add(is_exchange, &round)?;
        }
    }
    let capacity = (rate(&closed.exchange), rate(&closed.echo));
    let per_second = capacity.0.min(capacity.1) * OPEN_PART;

    let orders = (per_second * open_round.as_secs_f64()).ceil().max(1.0);
    let mut open = Both::new()?;
    for number in 0..OPEN_ROUNDS {
        for is_exchange in turns(number) {
            let desk = if is_exchange { &mut *exchange } else { &mut *echo };
            let round = desk.open(per_second, orders as u64).await?;
            open.add(is_exchange, &round)?;
        }
    }
    tell(context, window, capacity, &open);
    Ok(())
}

/// Bursts of 1, 2, 4, … orders a pair, until one takes as long as a round: the orders to keep in
/// flight, so that a slow exchange is not asked for more than it can answer in time.
async fn warm_up(exchange: &mut Desk, echo: &mut Desk, in_flight_max: usize, round: Duration) -> Verdict<usize> {
    let mut window = 1;
    loop {
        let burst = Until::Sent(window as u64);
        echo.closed(window, burst).await?;
        let first = exchange.closed(window, burst).await?.took;
        // The first of all opens streams and the like; any may meet a busy machine.
        if first > round && exchange.closed(window, burst).await?.took > round {
            return Ok((window / 2).max(1));
        }
        if window == in_flight_max {
            return Ok(window);
        }
        window = (window * 2).min(in_flight_max);
    }
}

/// Who goes first changes.
fn turns(number: u32) -> [bool; 2] {
    let exchange_first = number % 2 == 1;
    [exchange_first, !exchange_first]
}

/// Rounds of both, added up.
struct Both {
    exchange: Round,
    echo: Round,
}

impl Both {
    fn new() -> Verdict<Self> {
        Ok(Self {
            exchange: Round::new()?,
            echo: Round::new()?,
        })
    }

    fn add(&mut self, is_exchange: bool, round: &Round) -> Verdict {
        let sum = if is_exchange {
            &mut self.exchange
        } else {
            &mut self.echo
        };
        sum.took += round.took;
        sum.add(round)
    }
}

/// Orders a second.
fn rate(round: &Round) -> f64 {
    round.latencies.len() as f64 / round.took.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn tell(context: &Context, window: usize, capacity: (f64, f64), open: &Both) {
    let in_flight = (window * PAIRS) as f64;
    let measured = |name, unit, exchange, echo| context.measured(Measurement::new(name, unit, exchange, echo));
    measured("closed-loop-in-flight", "orders", in_flight, in_flight);
    measured("closed-loop", "orders/s", capacity.0, capacity.1);
    measured(
        "open-loop-orders",
        "orders",
        open.exchange.latencies.len() as f64,
        open.echo.latencies.len() as f64,
    );
    measured("open-loop", "orders/s", rate(&open.exchange), rate(&open.echo));
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let microseconds = |round: &Round| round.latencies.value_at_quantile(quantile) as f64 / 1e3;
        measured(name, "us", microseconds(&open.exchange), microseconds(&open.echo));
    }
}
