//! `InfoService` through a socket, with the journal in memory and history on disk.

mod books;
mod instruments;
#[path = "../sequencer/journal.rs"]
#[allow(dead_code, unreachable_pub)] // The sequencer's test uses the rest.
mod journal;
mod slow;
mod tape;
mod venue;
