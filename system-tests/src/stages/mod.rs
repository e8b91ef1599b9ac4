//! The stages: one file each, and one line each in the two lists below.

use crate::case::Stage;

pub mod boot;
pub mod instruments;
pub mod login;
pub mod order_types;
pub mod phases;
pub mod risk;

/// All stages, by number: a stage comes after those that it builds on.
#[rustfmt::skip]
pub const STAGES: &[Stage] = &[
    boot::STAGE,        // 1
    login::STAGE,       // 2
    instruments::STAGE, // 3
    order_types::STAGE, // 8
    risk::STAGE,        // 9
    phases::STAGE,      // 10
];
