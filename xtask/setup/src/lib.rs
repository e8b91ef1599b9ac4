//! Sets a machine up over SSH: facts in, commands out.

pub mod keys;
pub mod log;
pub mod ssh;
