//! Interleaved rounds: every contender runs once a round, so that a noisy neighbour meets all of them,
//! and what counts is the median of the ratios within rounds.

use std::time::{Duration, Instant};

/// What is measured. `prepare` builds anew what `run` takes apart.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    pub(crate) prepare: Box<dyn FnMut() -> Box<dyn FnMut() + 'a> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new<R: FnMut() + 'a>(name: &'static str, mut prepare: impl FnMut() -> R + 'a) -> Self {
        Self {
            name,
            prepare: Box::new(move || Box::new(prepare())),
        }
    }
}

/// What came of a contender.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    /// Of all rounds.
    pub(crate) median: Duration,
    /// How far the middle half of the rounds lies apart, as a part of the median.
    pub(crate) spread: f64,
    /// The same of the fastest round of each: where the machine is never quiet.
    pub(crate) best_ratio: f64,
    /// Median of the first contender's time by this one's in the same round: above 1 is faster.
    pub(crate) ratio: f64,
}

/// Runs so many rounds; the first contender is the baseline.
pub(crate) fn measure(rounds: usize, contenders: &mut [Contender<'_>]) -> Vec<Measured> {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            // Whoever comes first does so in turn.
            let at = (turn + round) % contenders.len();
            let mut run = (contenders[at].prepare)();
            let started = Instant::now();
            run();
            times[at].push(started.elapsed());
        }
    }
    let baseline = times[0].clone();
    let fastest = baseline.iter().min().copied().unwrap_or_default();
    let results = contenders.iter().zip(times).map(|(contender, mut times)| {
        let mut ratios: Vec<f64> = baseline
            .iter()
            .zip(&times)
            .map(|(baseline, time)| baseline.as_secs_f64() / time.as_secs_f64())
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        times.sort_unstable();
        let quartile = |quarter: usize| times[(times.len() - 1) * quarter / 4].as_secs_f64();
        Measured {
            name: contender.name,
            median: times[times.len() / 2],
            spread: (quartile(3) - quartile(1)) / quartile(2),
            best_ratio: fastest.as_secs_f64() / times[0].as_secs_f64(),
            ratio: ratios[ratios.len() / 2],
        }
    });
    results.collect()
}
