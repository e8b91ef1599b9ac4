//! The real binary on disks that are full, that fail, and that do not hold what was written: no
//! acknowledged order is lost, none is there twice, and what can go on goes on by itself.

mod damaged;
mod failing;
mod full;
mod ledger;
#[path = "../process/mod.rs"]
#[allow(unreachable_pub)] // A module of tests.
mod process;
mod tmpfs;
