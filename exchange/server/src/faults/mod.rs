//! Faults on purpose, for the tests of the system tests: see `optivex-faults`, which lists them.
//!
//! Few seams reach the code: the data before recovery and the parts after it, a command before the engine
//! decides it and as the journal has it, an event before anybody is told, and the messages on their way to
//! and from a client (`wire`). What
//! these cannot reach asks `fault!` where it stands.

mod journal;
mod numbers;
mod recovery;
mod reports;
pub(crate) mod wire;

use optivex_engine::{Command, Engine, Event, Input};

use crate::sequencer::Parts;

/// What the sequencer works with, on its way there.
pub(crate) fn parts(mut parts: Parts) -> anyhow::Result<Parts> {
    recovery::recovered(&mut parts)?;
    if fault!(AcknowledgedEarly) {
        parts.journal = Box::new(journal::Late::new(parts.journal));
    }
    Ok(parts)
}

/// Before the exchange looks at its data.
pub(crate) fn prepare() -> anyhow::Result<()> {
    recovery::prepare()
}

/// An accepted command as the journal has it.
pub(crate) fn journaled(input: &Input, engine: &Engine) -> Input {
    recovery::journaled(input, engine)
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
