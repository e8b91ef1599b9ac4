//! The daemon: takes deployments out of the spool, judges them, and tells.

mod aside;
pub mod cli;
pub mod config;
pub mod context;
mod disk;
mod job;
pub mod judge;
pub mod ledger;
mod metrics;
mod outbox;
pub mod pinned;
pub mod queue;
pub mod rejudge;
mod report;
pub mod run;
mod scan;
mod scoreboard;
mod self_test;
mod setbacks;
pub mod sign;
pub mod state;
mod status;
pub mod steps;
pub mod told;
pub mod verify;
