//! What deploy, gate, daemon and provisioning agree on: inventory, manifest, limits, verdicts, wire forms.

pub mod archive;
pub mod delivery;
pub mod digest;
pub mod durable;
pub mod limits;
pub mod manifest;
pub mod names;
pub mod progress;
pub mod secret;
pub mod spool;
pub mod verdict;
pub mod wire;
