//! Our exchange: serves the contract in `proto/`.
//!
//! The way of a call, and the rooms that it goes through:
//!
//! 1. [`server`]: sockets, health, reflection, the end. Done.
//! 2. [`services`]: one file for each service of the contract: who asks, and is the request well formed? Yours.
//! 3. [`venue`]: what happens, and in which order. Yours.
//!
//! [`config`], [`logging`] and [`users`] are what the process is started with. Done.

pub mod config;
pub mod logging;
pub mod server;
pub mod services;
pub mod users;
pub mod venue;
