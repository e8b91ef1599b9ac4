//! Faults on purpose: what a wrong exchange may do, so that the system tests can be tested.
//!
//! The program `optivex-faulty` (feature `faults` of `optivex-server`, off in every default and release
//! build) is the exchange with one of these planted at its start. Where a fault stands in the code, the
//! macro `fault!` asks for it; without the feature that is the constant `false`. Most faults need no
//! such place: they stand in `optivex-server`'s module `faults`, which changes commands, events, the
//! journal or messages as they pass.
//!
//! `system-tests/FAULTS.md` tells which case catches which fault.

mod catalogue;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub use catalogue::{CATALOGUE, Fault};

/// One fault, and how it is to be found.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The fault.
    pub fault: Fault,
    /// Its name.
    pub name: &'static str,
    /// What the exchange does wrong, in one sentence.
    pub what: &'static str,
    /// The case, as stage/case, whose hint leads to it.
    pub case: &'static str,
    /// Words of that hint, its title or its message, that lead to the fault.
    pub clue: &'static str,
    /// Further stages that are expected to see it.
    pub also: &'static [&'static str],
}

static PLANTED: OnceLock<Fault> = OnceLock::new();

/// Plants the fault of this name, once for the life of the process.
///
/// # Errors
/// A sentence for people, if there is no such fault or one is planted already.
pub fn plant(name: &str) -> Result<&'static Entry, String> {
    let entry = CATALOGUE.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| format!("no fault is called {name:?}; system-tests/FAULTS.md lists them"))?;
    PLANTED
        .set(entry.fault)
        .map_err(|_| "a fault is planted already".to_owned())?;
    Ok(entry)
}

/// Whether this is the fault that was planted; those that only recovery has end with it.
#[inline]
pub fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(&fault) && !(RECOVERED.load(Ordering::Relaxed) && OF_RECOVERY.contains(&fault))
}

/// Faults of the engine only while it is brought up to where the journal ends.
const OF_RECOVERY: &[Fault] = &[
    Fault::ClientIdsForgotten,
    Fault::PositionsForgotten,
    Fault::PriorityForgotten,
    Fault::WindowsForgotten,
];

static RECOVERED: AtomicBool = AtomicBool::new(false);

/// Recovery is over.
pub fn recovered() {
    RECOVERED.store(true, Ordering::Relaxed);
}

/// Whether this is the fault that was planted, and there is a [`Crowd`] for it to show in.
#[inline]
pub fn planted_in_a_crowd(fault: Fault) -> bool {
    planted(fault) && Crowd::size() > 1
}

/// One of those who insert at the same time: what is wrong only then asks whether there are several.
#[derive(Debug)]
pub struct Crowd(());

static CROWD: AtomicUsize = AtomicUsize::new(0);

impl Crowd {
    /// One more, until it is dropped.
    pub fn enter() -> Self {
        CROWD.fetch_add(1, Ordering::AcqRel);
        Self(())
    }

    /// How many there are.
    pub fn size() -> usize {
        CROWD.load(Ordering::Acquire)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        CROWD.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        for (at, entry) in CATALOGUE.iter().enumerate() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(entry.name.chars().all(plain), "{}", entry.name);
            assert!(entry.what.ends_with('.'), "{}: a sentence", entry.name);
            assert!(!entry.clue.is_empty(), "{}: no clue", entry.name);
            assert!(entry.case.contains('/'), "{}: stage/case", entry.name);
            assert!(
                !CATALOGUE[..at].iter().any(|other| other.name == entry.name),
                "{} twice",
                entry.name
            );
        }
    }

    #[test]
    fn an_unknown_fault_is_refused() {
        assert!(plant("none-of-them").unwrap_err().contains("none-of-them"));
    }
}
