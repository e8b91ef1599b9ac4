//! Who a client is: the users file, sessions and their tokens, roles.

use std::sync::Arc;

use optivex_engine::types::UserId;
use optivex_proto::v1::Role;
use tonic::metadata::MetadataMap;

use crate::error::Error;

/// One session of one user. An open stream holds it, which keeps its token from expiring.
#[derive(Clone, Debug)]
pub struct Session {
    /// The user in the engine.
    pub user: UserId,
    /// The user's name.
    pub username: Arc<str>,
}

impl Session {
    /// Waits until the session is ended: by a logout, or because the users file no longer has its user
    /// or gives it another password or fewer roles. Streams end with `INVALID_TOKEN` then.
    pub async fn ended(&self) -> SessionEnd {
        std::future::pending().await
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The client logged out: its orders stay, also those that a report stream guarded.
    Logout,
    /// The users file took it away.
    Revoked,
}

/// The users and their sessions.
#[derive(Clone, Debug, Default)]
pub struct Auth {}

impl Auth {
    /// The session of a request's bearer token (`INVALID_TOKEN`), which has the role
    /// (`MISSING_ROLE`); `None` wants any role.
    pub fn authorize(&self, metadata: &MetadataMap, role: Option<Role>) -> Result<Session, Error> {
        let _ = (metadata, role);
        Err(Error::new(
            optivex_proto::v1::ErrorReason::InvalidToken,
            "no such session",
        ))
    }
}
