//! Drives the engine and the reference model with the same commands and compares everything.

mod decode;
mod describe;
mod generate;
mod ledger;
mod shrink;
mod trial;

pub(crate) use generate::{Gene, Profile, Random};
pub(crate) use shrink::{Failure, run, shrink};
pub(crate) use trial::Coverage;
