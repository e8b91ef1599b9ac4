//! The whole program on one machine.

pub mod ec2;
#[cfg(target_os = "linux")]
pub mod hosts;
pub mod moto;
