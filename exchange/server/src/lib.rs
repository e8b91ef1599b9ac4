//! The exchange as a gRPC server.
//!
//! Requests are checked for their form by `service`, decided by `sequencer`, and answered when the
//! journal has them; `feed` shows the books to subscribers.

pub mod auth;
pub mod cli;
pub mod config;
pub mod error;
pub mod feed;
pub mod replay;
pub mod sequencer;
pub mod serve;
pub mod service;
pub mod telemetry;
pub mod wire;
