//! The exchange as a deterministic state machine.
//!
//! [`Engine::apply`] takes one [`Input`] and either refuses it, changing nothing, or turns it into
//! exactly one [`Event`]. State is the fold of the accepted inputs: the same inputs give the same
//! events and the same state, byte for byte, on any machine.
//!
//! Deliberately absent, and never to be added: clocks, randomness, I/O, threads, async, floating
//! point, iteration in hash order.

pub mod command;
mod engine;
pub mod event;
pub mod limits;
pub mod refusal;
pub mod types;
pub mod wire;

pub use command::{Command, Input};
pub use engine::{Applied, Engine, OrderLookup, Position, RiskUsage, SnapshotError};
pub use event::Event;
pub use limits::Limits;
pub use refusal::Refusal;
