//! Trading, administration and risk limits through a socket, with the journal in memory and history
//! on disk.

mod call;
#[path = "../sequencer/journal.rs"]
#[allow(dead_code)] // The other test uses the rest.
mod journal;
mod orders;
mod refusals;
mod streams;
mod venue;
mod views;
