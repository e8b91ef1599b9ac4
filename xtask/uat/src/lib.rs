//! UAT: the gate that takes submissions, and the daemon that judges them.

pub mod daemon;
pub mod gate;
pub mod sandbox;
