//! The stages: one file each, and one line each in the two lists below.

use crate::case::Stage;

pub mod boot;
pub mod instruments;
pub mod login;
pub mod order_entry;
pub mod precision;
pub mod races;

/// All stages, by number: a stage comes after those that it builds on.
#[rustfmt::skip]
pub const STAGES: &[Stage] = &[
    boot::STAGE,        // 1
    login::STAGE,       // 2
    instruments::STAGE, // 3
    races::STAGE,       // 11
    precision::STAGE,   // 12
    order_entry::STAGE, // 13
];
