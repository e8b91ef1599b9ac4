//! The whole program on one machine.

pub mod ec2;
pub mod moto;
