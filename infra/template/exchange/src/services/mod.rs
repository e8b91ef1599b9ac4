//! The edge between gRPC and the venue: one file for each service of the contract.
//!
//! A method here does the same few steps in the same order, whatever it is about, since the contract says which reason
//! comes first where several apply (`common.proto`, ErrorReason):
//!
//! 1. **Who asks?** The token in the metadata entry `authorization`, then the role. A token says who a client is, not
//!    the connection that it comes on. Only `Login`, health and reflection want none. It is the same few lines in all
//!    services, so give them one place: an interceptor, or a function that each method calls first.
//! 2. **Is the request well formed?** Only what can be seen from the request alone: ranges, lengths, fields that are
//!    missing, enums that are not known. This needs no order among clients: do it before you bother the venue.
//! 3. **What does the venue say?** Everything that depends on what happened before, from "is there such an instrument" on.
//!    Asked in two steps, the answer to the first may be old when you act on it.
//! 4. **Tell it as the contract wants it.** A refusal is a gRPC status with details (`google.rpc.ErrorInfo`) and a
//!    trailer. One function that makes all of them makes all of them right.

use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::Status;

use crate::venue::Venue;

mod admin;
mod auth;
mod execution;
mod info;
mod risk_limits;

/// What a subscription answers with. A stream is asked for its next message when the connection has room for it: a slow
/// reader is one that does not ask. What waits for it meanwhile is memory of yours.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves all five services: each is an `impl` in a file of its own.
pub struct Gateway {
    /// What happens, happens there.
    pub venue: Arc<Venue>,
}

impl Gateway {
    /// The edge of this venue.
    pub fn new(venue: Arc<Venue>) -> Self {
        Self { venue }
    }
}

/// What a method answers until you write it. It tells where that is.
#[track_caller]
fn not_yet(rpc: &str) -> Status {
    let place = Location::caller();
    Status::unimplemented(format!("{rpc} is not written yet: {}:{}", place.file(), place.line()))
}
