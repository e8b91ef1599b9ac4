//! What a host is told before it boots.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The address of the manager's end of the bridge: of a range that is for documentation, so that no instance has it.
pub const MANAGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Where the hosts' addresses come from: what may stand in a VPC.
pub(crate) const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// One machine: its disk, its address, and what the image and the first boot put on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The instance's id, also the name of its directories.
    pub id: String,
    /// Its only address.
    pub address: Ipv4Addr,
    /// Changes to the system's directories: on a file system that may be an overlay's upper layer and is not part of
    /// what lies below, so not on the one of `/`.
    pub system: PathBuf,
    /// What may grow, `/home`: on a disk.
    pub disk: PathBuf,
    /// The image's login user.
    pub login: String,
    /// Public keys that open it: of the key pair that the instance was started with.
    pub login_keys: Vec<String>,
    /// What the instance was given for its first boot.
    pub user_data: String,
    /// What the image has of this machine's.
    pub image: Image,
}

/// What hosts share with the machine that they are on, read-only, beside its system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// A Rust toolchain: `bin`, `lib`.
    pub toolchain: Option<PathBuf>,
    /// `$CARGO_HOME/registry`: the crates that were downloaded.
    pub registry: Option<PathBuf>,
    /// A package repository: all that the host's package manager knows.
    pub packages: Option<PathBuf>,
}

impl Machine {
    /// As EC2 names hosts.
    pub fn host_name(&self) -> String {
        format!("ip-{}", self.address.to_string().replace('.', "-"))
    }
}

/// What goes over a starting host's standard output, one word a line.
pub(crate) mod said {
    /// It is in its namespaces and waits for its end of the cable.
    pub(crate) const UNPLUGGED: &str = "unplugged";
    /// It takes connections.
    pub(crate) const UP: &str = "up";
    /// It is not to be; the reason follows.
    pub(crate) const FAILED: &str = "failed: ";
}
