//! Faults on purpose, for the tests of the system tests: see `optivex-faults`, which lists them.
//!
//! Four seams reach the code: a command before the engine decides it, an event before anybody is told,
//! the journal and what follows it, and the messages on their way to and from a client (`wire`). What
//! these cannot reach asks `fault!` where it stands.

mod access;
pub(crate) mod clients;
mod instruments;
mod journal;
mod order_entry;
mod order_types;
mod orders;
mod races;
mod status;
mod unary;
mod venue;
pub(crate) mod wire;

use optivex_engine::event::ReportKind;
use optivex_engine::types::{CancelReason, OrderId, OrderStatus};
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
    if fault!(FillBeforeAcceptance)
        && let Some(first) = event.reports.first().copied()
        && first.kind == ReportKind::Accepted
        && let Some(fill) = event.reports[1..]
            .iter_mut()
            .find(|report| report.order.order_id == first.order.order_id)
    {
        let (kind, order) = (fill.kind, fill.order);
        (fill.kind, fill.order) = (first.kind, first.order);
        (event.reports[0].kind, event.reports[0].order) = (kind, order);
    }
    venue::event(&input.command, event);
    races::event(event);
}
