//! The exchange as a gRPC server.
//!
//! Requests are checked for their form by `service`, decided by `sequencer`, and answered when the
//! journal has them; `feed` shows the books to subscribers.

/// Whether this fault was planted, for the tests of the system tests: `false` without feature `faults`.
/// With two values: the wrong one if it was, and else the right one.
#[cfg(not(feature = "faults"))]
macro_rules! fault {
    ($fault:ident, $wrong:expr, $right:expr) => {
        $right
    };
    ($fault:ident) => {
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
}

pub mod auth;
pub mod cli;
pub mod config;
pub mod error;
#[cfg(feature = "faults")]
mod faults;
pub mod feed;
pub mod replay;
mod seldom;
pub mod sequencer;
pub mod serve;
pub mod service;
pub mod telemetry;
pub mod wire;
