//! The exchange as a deterministic state machine.
//!
//! [`Engine::apply`] takes one [`Input`] and either refuses it, changing nothing, or turns it into
//! exactly one [`Event`]. State is the fold of the accepted inputs: the same inputs give the same
//! events and the same state, byte for byte, on any machine.
//!
//! Deliberately absent, and never to be added: clocks, randomness, I/O, threads, async, floating
//! point, iteration in hash order. (The hash of client order ids is seeded, as clients choose them; what
//! it decides is how long a look-up takes, and nothing else.)

/// Whether this fault was planted, for the tests of the system tests: `false` without feature `faults`.
/// With two values: the wrong one if it was, and else the right one.
#[cfg(not(feature = "faults"))]
macro_rules! fault {
    ($fault:ident, $wrong:expr, $right:expr) => {
        $right
    };
    ($($fault:tt)+) => {
        false
    };
}
#[cfg(feature = "faults")]
macro_rules! fault {
    ($fault:ident, $wrong:expr, $right:expr) => {
        if fault!($fault) { $wrong } else { $right }
    };
    ($fault:ident) => {
        optivex_faults::planted(optivex_faults::Fault::$fault)
    };
    ($fault:ident in a crowd) => {
        optivex_faults::planted_in_a_crowd(optivex_faults::Fault::$fault)
    };
}

mod auction;
mod book;
mod client_ids;
pub mod command;
mod engine;
pub mod event;
#[cfg(feature = "faults")]
mod faults;
mod instrument;
pub mod limits;
mod matching;
mod order;
pub mod order_book;
mod position;
pub mod refusal;
mod risk;
mod snapshot;
pub mod types;
mod user;
pub mod wire;

pub use command::{Command, Input};
pub use engine::{Applied, Engine, OrderLookup, Position, RiskUsage, SnapshotError};
pub use event::Event;
pub use limits::Limits;
pub use order_book::OrderBook;
pub use refusal::Refusal;
