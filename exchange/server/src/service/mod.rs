//! The services of the contract, one file each.

pub mod admin;
pub mod auth;
mod books;
pub mod execution;
pub mod info;
pub mod risk_limits;

use optivex_engine::types::{InstrumentId, UserId};
use optivex_proto::v1::ErrorReason;

use crate::error::Error;
use crate::sequencer::Exchange;

/// The instrument of a well-formed symbol.
fn instrument(exchange: &Exchange, symbol: &str) -> Result<InstrumentId, Error> {
    exchange
        .instrument(symbol)
        .ok_or_else(|| Error::unknown_instrument(symbol))
}

/// The user of a well-formed name.
fn user(exchange: &Exchange, username: &str) -> Result<UserId, Error> {
    exchange
        .user(username)
        .ok_or_else(|| Error::new(ErrorReason::UnknownUser, "no such user"))
}
