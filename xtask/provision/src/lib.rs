//! From the inventory to machines: EC2, and their set-up over SSH.

pub mod plan;
pub mod prices;
