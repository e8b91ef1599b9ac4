//! All pairs against one server: rounds of a closed loop, which finds what the server can take, and
//! of an open loop, which sends by the clock and not by the answers.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::lane::{Pair, Round, Until};
use crate::verdict::{Stop, Verdict};

/// Every pair that sends to one server.
pub(super) struct Desk {
    pub(super) pairs: Vec<Pair>,
    /// The server is the echo: what it does wrong is our trouble.
    pub(super) ours: bool,
}

impl Desk {
    pub(super) fn new(ours: bool) -> Self {
        Self {
            pairs: Vec::new(),
            ours,
        }
    }

    /// Keeps so many orders a pair in flight, until it is over.
    pub(super) async fn closed(&mut self, window: usize, until: Until) -> Verdict<Round> {
        self.all(|mut pair, _| async move {
            let round = pair.closed(window, until).await;
            (pair, round)
        })
        .await
    }

    /// Sends so many orders, so many a second. An answer that is late delays no order before a thousand are in
    /// flight, and an order that is sent late was due no later: latencies are without coordinated omission.
    pub(super) async fn open(&mut self, per_second: f64, orders: u64) -> Verdict<Round> {
        let (senders, receivers): (Vec<_>, Vec<_>) = self.pairs.iter().map(|_| unbounded_channel()).unzip();
        let mut receivers: Vec<_> = receivers.into_iter().map(Some).collect();
        // A thread: the runtime's timer is too coarse for it.
        let pace = tokio::task::spawn_blocking(move || pace(per_second, orders, &senders));
        let round = self
            .all(|mut pair, place| {
                let due = receivers.get_mut(place).and_then(Option::take);
                async move {
                    let round = match due {
                        Some(due) => pair.open(due).await,
                        None => Err(Stop::trouble("a pair without a clock")),
                    };
                    (pair, round)
                }
            })
            .await;
        // It ends by itself, also when a pair failed and reads no more.
        pace.await
            .map_err(|error| Stop::trouble(format!("the clock of the load: {error}")))?;
        round
    }

    /// Each pair in a task of its own; afterwards they stand as they stood before.
    async fn all<F>(&mut self, mut each: impl FnMut(Pair, usize) -> F) -> Verdict<Round>
    where
        F: Future<Output = (Pair, Verdict<Round>)> + Send + 'static,
    {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for (place, pair) in self.pairs.drain(..).enumerate() {
            let ended = each(pair, place);
            running.spawn(async move { (place, ended.await) });
        }
        let mut sum = Round::new()?;
        let mut pairs = BTreeMap::new();
        while let Some(ended) = running.join_next().await {
            let ended = ended.map_err(|error| Stop::trouble(format!("a pair of the load broke: {error}")))?;
            let (place, (pair, round)) = ended;
            sum.add(&self.blames(round)?)?;
            pairs.insert(place, pair);
        }
        self.pairs = pairs.into_values().collect();
        sum.took = begun.elapsed();
        Ok(sum)
    }

    /// Streams end with OK, and tell nothing more.
    pub(super) async fn finish(&mut self) -> Verdict {
        for place in 0..self.pairs.len() {
            let finished = self.pairs[place].finish().await;
            self.blames(finished)?;
        }
        Ok(())
    }

    fn blames<T>(&self, verdict: Verdict<T>) -> Verdict<T> {
        match verdict {
            Err(Stop::Failed(failure)) if self.ours => Err(Stop::trouble(format!("the echo of the tests: {failure}"))),
            verdict => verdict,
        }
    }
}

/// Tells the pairs in turn when an order is due.
fn pace(per_second: f64, orders: u64, pairs: &[UnboundedSender<Instant>]) {
    let start = Instant::now();
    for (number, pair) in (0..orders).zip(pairs.iter().cycle()) {
        let due = start + Duration::from_secs_f64(number as f64 / per_second);
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early);
        }
        if pair.send(due).is_err() {
            return;
        }
    }
}
