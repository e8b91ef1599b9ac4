//! From the inventory to machines: EC2, and their set-up over SSH.

pub mod apply;
pub mod cli;
pub mod cloud;
pub mod cloud_ec2;
mod doctor;
mod each;
pub mod ec2;
pub mod hands;
pub mod place;
pub mod plan;
pub mod prices;
mod rotate;
pub mod session;
pub mod wanted;
