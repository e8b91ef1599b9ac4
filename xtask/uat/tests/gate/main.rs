//! The gate, as clients of every kind meet it.

mod crash;
mod fuzz_one;
mod hostile;
mod jobs;
mod room;
mod transfer;
