//! The whole state as bytes, and back.

use crate::engine::{Engine, SnapshotError};

#[allow(clippy::todo)]
impl Engine {
    /// The whole state as bytes (protobuf, versioned).
    pub fn snapshot(&self) -> Vec<u8> {
        todo!()
    }

    /// The state that [`Engine::snapshot`] wrote.
    pub fn restore(_snapshot: &[u8]) -> Result<Self, SnapshotError> {
        todo!()
    }

    /// SHA-256 over the canonical form of the state: equal after restore and after replay.
    pub fn digest(&self) -> [u8; 32] {
        todo!()
    }
}
