//! Hands a submission over to UAT, and shows its result.

pub mod cli;
pub mod connection;
mod patience;
pub mod repository;
pub mod repro;
pub mod settings;
pub mod show;
pub mod submit;
pub mod uat;
