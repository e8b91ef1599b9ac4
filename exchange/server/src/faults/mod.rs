//! Faults on purpose, for the tests of the system tests: see `optivex-faults`, which lists them.
//!
//! Four seams reach the code: a command before the engine decides it, an event before anybody is told,
//! the journal and what follows it, and the messages on their way to and from a client (`wire`). What
//! these cannot reach asks `fault!` where it stands.

mod journal;
mod numbers;
mod reports;
pub(crate) mod wire;

use optivex_engine::{Command, Engine, Event, Input};

use crate::sequencer::Parts;

/// What the sequencer works with, on its way there.
pub(crate) fn parts(mut parts: Parts) -> Parts {
    if fault!(AcknowledgedEarly) {
        parts.journal = Box::new(journal::Late::new(parts.journal));
    }
    parts
}

/// A command before the engine decides it.
pub(crate) fn command(command: Command, _engine: &Engine) -> Command {
    command
}

/// An accepted command's event before anybody is told.
pub(crate) fn event(input: &Input, event: &mut Event) {
    numbers::change(input, event);
    wire::learn(event);
    reports::change(event);
}
