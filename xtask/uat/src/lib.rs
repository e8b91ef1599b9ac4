//! UAT: the gate that takes submissions, and the daemon that judges them.

pub mod sandbox;
