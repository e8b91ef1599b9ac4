//! What deploy, gate, daemon and provisioning agree on: inventory, manifest, limits, verdicts, wire forms.

pub mod archive;
pub mod contract;
pub mod delivery;
pub mod digest;
pub mod durable;
pub mod inventory;
pub mod limits;
pub mod lock;
pub mod manifest;
pub mod moment;
pub mod names;
pub mod progress;
pub mod run_lock;
pub mod secret;
pub mod selector;
pub mod spool;
pub mod ssh_key;
pub mod verdict;
pub mod wire;
