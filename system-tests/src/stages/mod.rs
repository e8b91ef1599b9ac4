//! The stages: one file each, and one line each in the two lists below.

use crate::case::Stage;

pub mod boot;
pub mod depth;
pub mod instruments;
pub mod login;
pub mod orders;
pub mod tape;
pub mod top;

/// All stages, by number: a stage comes after those that it builds on.
#[rustfmt::skip]
pub const STAGES: &[Stage] = &[
    boot::STAGE,        // 1
    login::STAGE,       // 2
    instruments::STAGE, // 3
    orders::STAGE,      // 4
    top::STAGE,         // 5
    depth::STAGE,       // 6
    tape::STAGE,        // 7
];
