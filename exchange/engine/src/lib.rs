//! The exchange as a deterministic state machine.
//!
//! [`Engine::apply`] takes one [`Input`] and either refuses it, changing nothing, or turns it into
//! exactly one [`Event`]. State is the fold of the accepted inputs: the same inputs give the same
//! events and the same state, byte for byte, on any machine.
//!
//! Deliberately absent, and never to be added: clocks, randomness, I/O, threads, async, floating
//! point, iteration in hash order. (The hash of client order ids is seeded, as clients choose them; what
//! it decides is how long a look-up takes, and nothing else.)

mod auction;
mod book;
mod client_ids;
pub mod command;
mod engine;
pub mod event;
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
