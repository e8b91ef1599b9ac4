//! The contract, clause by clause, at the real binary through real sockets: every rpc, every
//! `ErrorReason`, and the order in which reasons apply.
//!
//! What there is to cover is read from the contract's descriptors: an rpc or a reason that is added
//! there fails this test until it has a case here.

#[path = "../trading/call.rs"]
#[allow(dead_code)] // The other test uses the rest.
mod call;
mod catalogue;
mod disconnect;
mod moments;
mod precedence;
#[path = "../process/mod.rs"]
#[allow(unreachable_pub)] // A module of tests.
mod process;
mod refusals;
mod rpcs;
mod venue;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::thread;

use catalogue::{CATALOGUE, covered};

/// A name, and what it does.
type Scenario = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

macro_rules! scenarios {
    ($($scenario:path),+ $(,)?) => {
        &[$((stringify!($scenario), || Box::pin($scenario()))),+]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    rpcs::every_rpc_does_what_it_says,
    refusals::form,
    refusals::form_of_market_data,
    refusals::tokens_and_roles,
    refusals::known_objects,
    refusals::price_book_and_phase,
    refusals::limits,
    precedence::of_neighbours,
    moments::starting,
    moments::stopping,
    moments::a_stalled_reader,
    moments::capacity,
    moments::guessing_passwords,
    moments::resuming,
    moments::a_retry_after_a_kill,
    disconnect::closed_reset_and_silent,
    disconnect::logout_and_restart_keep,
];

/// Runs a scenario on a thread of its name, which a failure then tells.
fn start((name, scenario): Scenario) -> (&'static str, thread::JoinHandle<()>) {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(scenario());
    };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    (name, thread.expect("a thread"))
}

#[test]
fn every_rpc_and_every_reason() {
    let running: Vec<_> = SCENARIOS.iter().copied().map(start).collect();
    let failed = running
        .into_iter()
        .filter_map(|(name, thread)| thread.join().is_err().then_some(name));
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "failed, see above: {failed:?}");

    let covered = covered();
    let missing = |of: &BTreeSet<String>, all: &BTreeSet<String>| all - of;
    let none = BTreeSet::new();
    assert_eq!(
        missing(&covered.answered, &CATALOGUE.rpcs),
        none,
        "rpcs without an answer"
    );
    assert_eq!(
        missing(&covered.refused, &CATALOGUE.rpcs),
        none,
        "rpcs without a refusal"
    );
    let reasons = CATALOGUE.reasons.keys().cloned().collect();
    assert_eq!(missing(&covered.reasons, &reasons), none, "reasons without a case");
    // What concerns logging in, roles, administration and streams does not occur for single commands.
    let elsewhere = [
        "INVALID_TOKEN",
        "INVALID_CREDENTIALS",
        "MISSING_ROLE",
        "UNKNOWN_USER",
        "DUPLICATE_SYMBOL",
        "CANNOT_RESUME",
        "TOO_SLOW",
        "THROTTLED",
        // Of orders and price levels only: their bounds are beyond what a test can fill.
        "CAPACITY",
        // The disk test has it.
        "NOT_READY",
    ];
    let elsewhere: BTreeSet<String> = elsewhere.map(str::to_owned).into();
    let of_commands = &reasons - &elsewhere;
    let missing = missing(&covered.reasons_by_entry, &of_commands);
    assert_eq!(missing, none, "reasons that OrderEntry did not tell");
}
