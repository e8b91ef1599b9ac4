//! System tests that any exchange of the Optivex contract must pass.
//!
//! They know the contract, a socket, and how a submission is started; nothing of any implementation.
//! `README.md` of this crate says how to run them and how to write a case.

pub mod case;
pub mod check;
pub mod client;
pub mod context;
pub mod exit;
pub mod json;
pub mod launch;
pub mod market;
pub mod model;
pub mod order;
pub mod proxy;
pub mod record;
pub mod report;
pub mod runner;
pub mod score;
pub mod stages;
pub mod subject;
pub mod users;
pub mod verdict;
