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

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

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

/// Shows a directory at `at` with all of it for everybody to read, whatever its own modes are: crates come with those
/// that their authors had. What differs lies in `scratch`, on a file system that may be an overlay's upper layer.
pub fn for_everybody(directory: &Path, at: &Path, scratch: &Path) -> Result<()> {
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    for dir in [at, &upper, &work] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    root::mount_overlay(directory, &upper, &work, at)?;
    let mut directories = vec![at.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in root::entries(&directory)? {
            let kind = entry.file_type().context("cannot read a file's kind")?;
            let wanted = if kind.is_dir() {
                directories.push(entry.path());
                0o555
            } else if kind.is_file() {
                0o444
            } else {
                continue;
            };
            let mode = entry.metadata().context("cannot read a file's mode")?.mode();
            if mode & wanted != wanted {
                fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode & 0o7777 | wanted))
                    .with_context(|| format!("cannot show {} to everybody", entry.path().display()))?;
            }
        }
    }
    Ok(())
}

fn read(program: &str, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
