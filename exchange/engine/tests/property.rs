//! The engine against the reference model: long random sequences of all commands in all phases, and
//! after each command every event, refusal, book and query compared; besides, what can be known
//! without a model (`differential/ledger.rs`): quantities conserved, sequences without gaps, books
//! that follow from their changes, windows that never exceed their limits.
//!
//! - `short`: sequences that shrink (proptest).
//! - `long`: `OPTIVEX_PROPERTY_COMMANDS` commands (200,000 if not set) in episodes of 2,000, each a
//!   venue of its own with other limits, ticks and phases. An episode's commands follow from
//!   `OPTIVEX_PROPERTY_SEED` and its number, whatever the number of commands or threads, so that a
//!   failure is repeated by seed and `OPTIVEX_PROPERTY_EPISODE`. `OPTIVEX_PROPERTY_THREADS` share
//!   the work (1 if not set). The run of ten million, about two minutes:
//!
//! ```text
//! OPTIVEX_PROPERTY_COMMANDS=10000000 cargo test --release -p optivex-engine --test property -- --nocapture long
//! ```

mod differential;
mod reference;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use differential::{Coverage, Failure, Gene, Profile, Random, run, shrink};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

const EPISODE: u64 = 2_000;
const MILLION: u64 = 1_000_000;

#[test]
fn long() {
    let commands = setting("OPTIVEX_PROPERTY_COMMANDS").unwrap_or(200_000);
    let seed = setting("OPTIVEX_PROPERTY_SEED").unwrap_or(1);
    let threads = setting("OPTIVEX_PROPERTY_THREADS").unwrap_or(1).max(1);
    let only = setting("OPTIVEX_PROPERTY_EPISODE");
    let episodes = match only {
        Some(only) => only..only + 1,
        None => 0..commands.div_ceil(EPISODE),
    };
    eprintln!("seed {seed}, episodes {episodes:?} of {EPISODE} commands");

    let next = AtomicU64::new(episodes.start);
    let done = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    let coverage = Mutex::new(Coverage::default());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut covered = Coverage::default();
                while !failed.load(Ordering::Relaxed) {
                    let episode = next.fetch_add(1, Ordering::Relaxed);
                    if episode >= episodes.end {
                        break;
                    }
                    let (profile, genes) = episode_of(seed, episode);
                    if let Err(failure) = run(&profile, &genes, &mut covered) {
                        failed.store(true, Ordering::Relaxed);
                        let failure = shrink(&profile, &genes, failure);
                        failures.lock().expect("no panic holds it").push((episode, failure));
                    }
                    let before = done.fetch_add(EPISODE, Ordering::Relaxed);
                    if before / MILLION != (before + EPISODE) / MILLION {
                        let seconds = started.elapsed().as_secs_f64();
                        let rate = (before + EPISODE) as f64 / seconds;
                        eprintln!("{} million commands, {rate:.0} a second", (before + EPISODE) / MILLION);
                    }
                }
                coverage.lock().expect("no panic holds it").add(&covered);
            });
        }
    });

    let failures = failures.into_inner().expect("no panic held it");
    if let Some((episode, failure)) = failures.first() {
        panic!("seed {seed}, episode {episode}: {}", tell(failure));
    }
    let coverage = coverage.into_inner().expect("no panic held it");
    for (what, count) in &coverage.0 {
        eprintln!("{count:10} {what}");
    }
    if only.is_none() && commands >= 200_000 {
        let missing: Vec<_> = EXPECTED
            .iter()
            .filter(|what| !coverage.0.contains_key(**what))
            .collect();
        assert!(missing.is_empty(), "the generator no longer reaches {missing:?}");
    }
}

#[test]
fn short() {
    let config = Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    };
    // Fixed, so that the same code always gives the same answer.
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let sequences = (
        0_u64..4096,
        proptest::collection::vec(proptest::arbitrary::any::<Gene>(), 1..120),
    );
    let result = runner.run(&sequences, |(profile, genes)| {
        run(&Profile::new(profile), &genes, &mut Coverage::default())
            .map_err(|failure| TestCaseError::fail(tell(&failure)))
    });
    match result {
        Ok(()) => {}
        // The commands say more than the numbers that they were made of.
        Err(TestError::Fail(_, (seed, genes))) => {
            let profile = Profile::new(seed);
            match run(&profile, &genes, &mut Coverage::default()) {
                Err(failure) => panic!("profile {seed}: {}", tell(&shrink(&profile, &genes, failure))),
                Ok(()) => panic!("profile {seed} failed once and not again: {genes:?}"),
            }
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// Venue and commands of one episode.
fn episode_of(seed: u64, episode: u64) -> (Profile, Vec<Gene>) {
    let mut random = Random::new(Random::new(seed).next() ^ episode);
    let profile = Profile::new(random.next());
    (profile, (0..EPISODE).map(|_| random.gene()).collect())
}

fn tell(failure: &Failure) -> String {
    format!("{}\nafter these commands:\n{}", failure.difference, failure.commands)
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.replace('_', "").parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// What a run must have met to be worth its name.
const EXPECTED: &[&str] = &[
    "amend: CancelBoth",
    "amend: CancelResting",
    "amend: Cancelled(SelfTrade) with fills",
    "amend: Cancelled(SelfTrade) without fills",
    "amend: Cancelled(User) with fills",
    "amend: Cancelled(User) without fills",
    "amend: Filled with fills",
    "amend: Open with fills",
    "amend: Open without fills",
    "event: AllCancelled",
    "event: Cancelled",
    "event: InstrumentCreated",
    "event: InstrumentRiskLimitsSet",
    "event: UserRegistered",
    "event: UserResumed",
    "event: UserRiskLimitsSet",
    "event: UserSuspended",
    "insert: CancelBoth",
    "insert: CancelResting",
    "insert: Cancelled(SelfTrade) with fills",
    "insert: Cancelled(SelfTrade) without fills",
    "insert: Cancelled(TimeInForce) with fills",
    "insert: Cancelled(TimeInForce) without fills",
    "insert: Filled with fills",
    "insert: Open with fills",
    "insert: Open without fills",
    "instrument repeated",
    "order repeated",
    "phase Auction again",
    "phase Auction new",
    "phase Closed again",
    "phase Closed new",
    "phase Continuous again",
    "phase Continuous new",
    "phase Halted again",
    "phase Halted new",
    "refused: CannotFill",
    "refused: ClientIdReused",
    "refused: DuplicateSymbol",
    "refused: InvalidField",
    "refused: InvalidTick",
    "refused: NotionalTooLarge",
    "refused: OrderNotOpen",
    "refused: PhaseForbids",
    "refused: UnknownInstrument",
    "refused: UnknownUser",
    "refused: UserSuspended",
    "refused: WouldCross",
    "refused: by a window that keeps few moments",
    "refused: instrument's max_order_quantity",
    "refused: instrument's max_outstanding_amount_e4",
    "refused: instrument's max_outstanding_quantity",
    "refused: instrument's max_position",
    "refused: instrument's order_amount_rolling_limit",
    "refused: instrument's order_quantity_rolling_limit",
    "refused: instruments_max",
    "refused: open_orders_max",
    "refused: open_orders_per_user_max",
    "refused: price_levels_per_side_max",
    "refused: user's max_outstanding_amount_e4",
    "refused: user's max_outstanding_quantity",
    "refused: user's message_rate_rolling_limit",
    "refused: users_max",
    "restored",
    "time: at its end",
    "time: backwards",
    "uncross",
];
