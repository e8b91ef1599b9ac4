//! Faults on purpose, for the tests of the system tests: see `optivex-faults`, which lists them.
//!
//! Few seams reach the code: the data before recovery and the parts after it, a command before the engine
//! decides it and as the journal has it, an event before anybody is told, and the messages on their way to
//! and from a client (`wire`). What these cannot reach asks `fault!` where it stands.

mod access;
pub(crate) mod clients;
mod instruments;
mod journal;
mod load;
mod numbers;
mod order_entry;
mod order_types;
mod orders;
mod races;
mod recovery;
mod reports;
mod status;
mod unary;
mod venue;
pub(crate) mod wire;

use optivex_engine::types::{CancelReason, OrderId, OrderStatus};
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
pub(crate) fn command(mut command: Command, engine: &Engine) -> Command {
    if fault!(DisconnectCancelsOlder)
        && let Command::CancelOnDisconnect { after, .. } = &mut command
    {
        *after = OrderId(0);
    }
    orders::command(races::command(venue::command(command, engine)), engine)
}

/// An accepted command's event before anybody is told.
pub(crate) fn event(input: &Input, event: &mut Event) {
    if fault!(DisconnectToldAsUser) && matches!(input.command, Command::CancelOnDisconnect { .. }) {
        for report in &mut event.reports {
            report.order.status = OrderStatus::Cancelled(CancelReason::User);
        }
    }
    orders::event(event);
    numbers::change(input, event);
    wire::learn(event);
    reports::change(event);
    venue::event(&input.command, event);
    races::event(event);
}
