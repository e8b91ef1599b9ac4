//! Sets a machine up over SSH: facts in, commands out.
//!
//! [`machine`] reads what a machine is, computes how that differs from what it shall be ([`spec::Spec`],
//! [`spec::Links`]), and runs the commands between the two. It then looks again: a set-up that leaves a difference has
//! failed. So a second run finds nothing to do, and changes nothing.

mod apply;
mod assemble;
mod facts;
pub mod host_key;
pub mod keys;
pub mod log;
mod operations;
pub mod rotate;
pub mod spec;
pub mod ssh;
mod step;

pub mod supplies;
pub mod user_data;

pub use apply::{Changes, Error, Event, Outcome, Progress, link, machine};
pub use assemble::Supplies;
pub use operations::needed_tools;
