//! The programs that a rehearsal runs, and what it needs of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use optivex_bundle::inventory::Inventory;
use optivex_exit::{Exit, Failure};
use optivex_setup::Supplies;

use crate::moto::target_dir;

/// Programs of the system. Which packages have them, `cargo xtask doctor` knows.
const NEEDS: [&str; 7] = ["unshare", "ip", "ssh", "sshd", "sudo", "useradd", "bwrap"];

/// Fails with what a person must do before this machine can hold a rehearsal.
pub fn needs() -> Result<()> {
    let cannot = |text: &str| Err(Failure::new(Exit::Infrastructure, text).into());
    if !rustix::process::geteuid().is_root() {
        return cannot("a rehearsal makes namespaces and mounts: run it as root");
    }
    let missing: Vec<&str> = NEEDS.into_iter().filter(|program| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    cannot(&format!(
        "this machine lacks {}; this installs it:\n\n    cargo xtask doctor --role rehearsal --install\n",
        missing.join(", ")
    ))
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .any(|dir| dir.join(program).is_file())
}

/// Our own.
#[derive(Clone, Debug)]
pub struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// Builds them, and all that provisioning would build in the course of it, as debug builds: where hosts are, there
    /// is no network to download crates from.
    pub fn build(inventory: &Inventory) -> Result<()> {
        println!("building what the rehearsal runs (the first time, minutes: it has the AWS SDK)");
        // Of all crates, for participants build on their hosts.
        cargo(&["fetch", "--quiet", "--locked"])?;
        // As `cargo xtask provision` builds it: in one build with others, features would differ.
        let provision = ["--package", "optivex-provision", "--bin", "provision"];
        cargo(&[["build", "--quiet", "--locked"].as_slice(), &provision].concat())?;
        let target = target_dir()?;
        Supplies::prepare(inventory, root()?, &target, &target.join("provision/supplies"), false)
            .map(drop)
            .map_err(|error| Failure::new(Exit::BuildFailed, format!("{error:#}")).into())
    }

    /// Where they are.
    pub fn find() -> Result<Self> {
        Ok(Self {
            dir: target_dir()?.join("debug"),
        })
    }

    /// One of them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let status = Command::new("cargo")
        .current_dir(root()?)
        .args(arguments)
        .env("CARGO_TARGET_DIR", target_dir()?)
        .status()
        .context("cannot start cargo")?;
    if status.success() {
        return Ok(());
    }
    let text = format!("cargo {}: {status}", arguments.join(" "));
    Err(Failure::new(Exit::BuildFailed, text).into())
}

/// The repository.
pub fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("xtask/rehearse is two folders below the repository")
}
