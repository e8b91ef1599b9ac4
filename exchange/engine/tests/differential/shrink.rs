//! Runs a list of genes, and makes a failing list short.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use super::generate::{Gene, Profile};
use super::trial::{Coverage, Trial};

thread_local! {
    /// Where the engine panicked; only listened to while an episode runs.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the panics of episodes quiet: hundreds of them while a failure is shrunk.
fn listen() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            let heard = PANIC.with_borrow_mut(|panic| panic.as_mut().map(|panic| *panic = info.to_string()));
            if heard.is_none() {
                usual(info);
            }
        }));
    });
    PANIC.set(Some(String::new()));
}

/// A difference, and how to get there.
pub(crate) struct Failure {
    /// How many of the genes it took.
    pub(crate) steps: usize,
    /// What differed.
    pub(crate) difference: String,
    /// The commands, one a line, with what came of each.
    pub(crate) commands: String,
}

/// Runs one episode: the profile's venue is opened, the genes follow, the end is checked.
pub(crate) fn run(profile: &Profile, genes: &[Gene], coverage: &mut Coverage) -> Result<(), Failure> {
    let mut trial = Trial::new(profile.clone());
    let mut steps = 0;
    // A panic of the engine is a difference as well.
    listen();
    let result = catch_unwind(AssertUnwindSafe(|| {
        trial.open()?;
        for gene in genes {
            steps += 1;
            trial.step(gene)?;
        }
        trial.close()
    }));
    let panic = PANIC.take();
    let difference = match result {
        Ok(Ok(())) => {
            coverage.add(trial.coverage());
            return Ok(());
        }
        Ok(Err(difference)) => difference,
        Err(_) => panic.unwrap_or_default(),
    };
    Err(Failure {
        steps,
        difference,
        commands: trial.story(),
    })
}

/// Leaves out what is not needed to fail: ever smaller runs of genes, then numbers that may be 0.
/// Bounded by a number of attempts, so that a failure is told in time.
pub(crate) fn shrink(profile: &Profile, genes: &[Gene], failure: Failure) -> Failure {
    let mut genes = genes[..failure.steps].to_vec();
    let mut best = failure;
    let mut attempts = 1_500;
    let mut fails = |genes: &[Gene]| {
        if attempts == 0 {
            return None;
        }
        attempts -= 1;
        run(profile, genes, &mut Coverage::default()).err()
    };
    let mut size = genes.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < genes.len() {
            let mut fewer = genes.clone();
            fewer.drain(at..(at + size).min(genes.len()));
            match fails(&fewer) {
                Some(failure) => {
                    fewer.truncate(failure.steps);
                    genes = fewer;
                    best = failure;
                }
                None => at += size,
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    for at in 0..genes.len() {
        for place in 0..8 {
            let mut simpler = genes.clone();
            if at < simpler.len()
                && std::mem::take(&mut simpler[at][place]) != 0
                && let Some(failure) = fails(&simpler)
            {
                simpler.truncate(failure.steps);
                genes = simpler;
                best = failure;
            }
        }
    }
    best
}
