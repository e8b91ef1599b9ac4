//! The faults, by the stage whose case finds them first.

use crate::Entry;

macro_rules! faults {
    ($($fault:ident, $name:literal, $what:literal, $case:literal, $clue:literal $(, also $($also:literal)+)?;)+) => {
        /// A fault that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Fault {
            $(#[doc = $what] $fault,)+
        }

        /// All of them.
        pub const CATALOGUE: &[Entry] = &[$(Entry {
            fault: Fault::$fault,
            name: $name,
            what: $what,
            case: $case,
            clue: $clue,
            also: &[$($($also),+)?],
        }),+];
    };
}

faults! {
    // boot

    // login

    // instruments

    // orders
    LastInFirstOut, "last-in-first-out", "At one price the newest order trades first.",
        "orders/time-priority", "the earlier order";

    // top

    // depth
    LevelsLeftAtZero, "levels-left-at-zero", "A level that emptied stays in snapshots, with quantity 0.",
        "depth/level-removed", "level";

    // tape
    FillBeforeAcceptance, "fill-before-acceptance", "An order's first fill is reported before its acceptance.",
        "tape/reports", "ACCEPTED";

    // order-types

    // limits
    OutstandingNotReleased, "outstanding-not-released", "What a cancel takes out of the book still counts as outstanding.",
        "limits/outstanding-quantity", "outstanding";

    // phases

    // races

    // precision

    // order-entry

    // clients

    // recovery
    AcknowledgedEarly, "acknowledged-early", "An order is acknowledged before it is durable.",
        "recovery/kill-under-load", "acknowledged";

    // load
}
