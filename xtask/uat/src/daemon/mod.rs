//! The daemon: takes deployments out of the spool, judges them, and tells.

pub mod config;
pub mod judge;
pub mod ledger;
pub mod queue;
mod report;
pub mod sign;
pub mod told;
