//! Participants at their machines: by SSH with their own keys, and the host keys that provisioning pinned.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::manager::{Manager, Running};

/// Somebody who can log in to a machine.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) name: String,
    address: String,
    key: PathBuf,
    known_hosts: PathBuf,
}

impl Person {
    /// A participant, at the machine of their own.
    pub(super) fn participant(manager: &Manager, name: &str) -> Result<Self> {
        let lock = manager.lock()?;
        let machine = lock
            .machines
            .iter()
            .find(|(machine, _)| machine.as_str() == name)
            .map(|(_, machine)| machine)
            .with_context(|| format!("the lock file has no {name}"))?;
        let address = machine
            .address
            .clone()
            .with_context(|| format!("the lock file has no address of {name}"))?;
        let host_key = machine
            .host_key
            .as_ref()
            .with_context(|| format!("the lock file has no host key of {name}"))?;
        let key = manager.participants_key(name)?;
        let known_hosts = key.with_extension("known_hosts");
        fs::write(&known_hosts, format!("{address} {host_key}\n"))
            .with_context(|| format!("cannot write {}", known_hosts.display()))?;
        Ok(Self {
            name: name.to_owned(),
            address,
            key,
            known_hosts,
        })
    }

    /// The same person at another's machine.
    pub(super) fn at(&self, other: &Self) -> Self {
        Self {
            address: other.address.clone(),
            known_hosts: other.known_hosts.clone(),
            ..self.clone()
        }
    }

    /// As they would type it.
    fn ssh(&self, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=20", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.known_hosts.display()))
            .arg("-i")
            .arg(&self.key)
            .arg(format!("{}@{}", self.name, self.address))
            .arg(command)
            .stdin(Stdio::null());
        ssh
    }

    /// Starts a command there.
    pub(super) fn start(&self, manager: &mut Manager, command: &str) -> Result<Running> {
        println!("    {}$ {command}", self.name);
        manager.start_command(&self.name, self.ssh(command))
    }

    /// Runs one, and returns what it says; fails where it does.
    pub(super) fn ask(&self, command: &str) -> Result<String> {
        said(self.ssh(command)).with_context(|| format!("{}$ {command}", self.name))
    }

    /// Puts a file there, below the home directory. The path is ours: letters, dots and slashes.
    pub(super) fn put(&self, from: &Path, to: &str) -> Result<()> {
        let file = File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
        let mut ssh = self.ssh(&format!("cat > {to}"));
        ssh.stdin(file);
        said(ssh)
            .map(drop)
            .with_context(|| format!("{} cannot put {to}", self.name))
    }
}

/// What a command says, where it succeeds.
pub(super) fn said(mut command: Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{}: {}", output.status, String::from_utf8_lossy(&text).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
