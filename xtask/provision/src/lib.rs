//! From the inventory to machines: EC2, and their set-up over SSH.

pub mod apply;
pub mod cloud;
pub mod ec2;
pub mod hands;
pub mod place;
pub mod plan;
pub mod prices;
pub mod wanted;
