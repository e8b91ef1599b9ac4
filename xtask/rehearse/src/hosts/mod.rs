//! Hosts: what stands for EC2's machines.
//!
//! Each is a set of namespaces (network, mount, pid, ipc, uts) with one process that everything else in it hangs on,
//! a cable to the rehearsal's bridge, an overlay over this machine's system directories, and a real sshd. Nothing of it
//! has a name outside of the rehearsal's own namespaces, so the kernel takes all of it away with its processes, also
//! when those are killed.

mod accounts;
mod first_boot;
mod host;
mod init;
mod machine;
mod network;
mod root;
mod watcher;

pub use host::{Host, scrap};
pub use init::run as be_a_host;
pub use machine::{Image, MANAGER, Machine};
pub use network::Bridge;
pub use watcher::{Hosts, Places, Seen};

pub(crate) use host::remove;
pub(crate) use network::ip;

/// The argument with which a program becomes a host: it then calls [`be_a_host`].
pub const BE_A_HOST: &str = "be-a-host";

impl Image {
    /// The toolchain and the crates of whoever runs this.
    pub fn of_this_machine() -> Self {
        let toolchain = read("rustc", &["--print", "sysroot"]).map(std::path::PathBuf::from);
        let home = std::env::var_os("CARGO_HOME")
            .map(std::path::PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
        Self {
            toolchain: toolchain.filter(|path| path.join("bin/cargo").exists()),
            registry: home.map(|home| home.join("registry")).filter(|path| path.is_dir()),
            packages: None,
        }
    }
}

fn read(program: &str, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
