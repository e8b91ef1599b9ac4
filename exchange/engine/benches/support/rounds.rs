//! Interleaved rounds on a machine that is never quiet.
//!
//! Every contender runs once a round, so that a noisy neighbour meets all of them. A run is cut into
//! slices that do the same work in every round. The time of a contender is the sum of its slices'
//! fastest rounds: a neighbour would have to hit the same slice in every round to be seen in it. The
//! median of the ratios within rounds stands beside it.

use std::time::{Duration, Instant};

/// What is measured.
pub(crate) struct Contender<'a> {
    name: &'static str,
    /// Builds anew what a run takes apart; gives what carries out a slice.
    prepare: Box<dyn FnMut() -> Box<dyn FnMut(usize) + 'a> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new<R: FnMut(usize) + 'a>(name: &'static str, mut prepare: impl FnMut() -> R + 'a) -> Self {
        Self {
            name,
            prepare: Box::new(move || Box::new(prepare())),
        }
    }
}

/// What came of a contender.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    /// Sum of the slices' fastest rounds.
    pub(crate) quiet: Duration,
    /// The first contender's quiet time by this one's: above 1 is faster.
    pub(crate) ratio: f64,
    /// Median of all rounds.
    pub(crate) median: Duration,
    /// How far the middle half of the rounds lies apart, as a part of the median.
    pub(crate) spread: f64,
    /// Median of the ratios within rounds.
    pub(crate) median_ratio: f64,
    /// The rounds, in turn.
    pub(crate) rounds: Vec<Duration>,
}

/// All rounds of a contender.
#[derive(Default)]
struct Times {
    rounds: Vec<Duration>,
    fastest: Vec<Duration>,
}

/// Runs so many rounds; the first contender is the baseline.
pub(crate) fn measure(rounds: usize, slices: usize, contenders: &mut [Contender<'_>]) -> Vec<Measured> {
    let mut all: Vec<Times> = contenders
        .iter()
        .map(|_| Times {
            rounds: Vec::new(),
            fastest: vec![Duration::MAX; slices],
        })
        .collect();
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            // Whoever comes first does so in turn.
            let at = (turn + round) % contenders.len();
            let mut run = (contenders[at].prepare)();
            let mut whole = Duration::ZERO;
            for slice in 0..slices {
                let started = Instant::now();
                run(slice);
                let time = started.elapsed();
                whole += time;
                let fastest = &mut all[at].fastest[slice];
                *fastest = time.min(*fastest);
            }
            all[at].rounds.push(whole);
        }
    }
    let results = contenders.iter().zip(&all);
    results
        .map(|(contender, times)| result(contender.name, &all[0], times))
        .collect()
}

fn result(name: &'static str, baseline: &Times, times: &Times) -> Measured {
    let seconds = |times: &[Duration]| -> Vec<f64> { times.iter().map(Duration::as_secs_f64).collect() };
    let mut ratios: Vec<f64> = seconds(&baseline.rounds)
        .iter()
        .zip(seconds(&times.rounds))
        .map(|(baseline, time)| baseline / time)
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let mut rounds = times.rounds.clone();
    rounds.sort_unstable();
    let quartile = |quarter: usize| rounds[(rounds.len() - 1) * quarter / 4].as_secs_f64();
    let quiet: Duration = times.fastest.iter().sum();
    let quiet_baseline: Duration = baseline.fastest.iter().sum();
    Measured {
        name,
        quiet,
        ratio: quiet_baseline.as_secs_f64() / quiet.as_secs_f64(),
        median: rounds[rounds.len() / 2],
        spread: (quartile(3) - quartile(1)) / quartile(2),
        median_ratio: ratios[ratios.len() / 2],
        rounds: times.rounds.clone(),
    }
}
