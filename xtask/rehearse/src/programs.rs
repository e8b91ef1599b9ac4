//! The programs that a rehearsal runs, and what it needs of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use optivex_exit::{Exit, Failure};

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

/// Package and programs of it.
const OWN: [(&str, &[&str]); 1] = [("optivex-provision", &["provision"])];

impl Programs {
    /// Builds them, as a debug build.
    pub fn build() -> Result<()> {
        let mut command = Command::new("cargo");
        command
            .current_dir(root()?)
            .args(["build", "--quiet", "--locked"])
            .env("CARGO_TARGET_DIR", target_dir()?);
        for (package, programs) in OWN {
            command.args(["--package", package]);
            for program in programs {
                command.args(["--bin", program]);
            }
        }
        println!("building what the rehearsal runs (the first time, minutes: it has the AWS SDK)");
        let status = command.status().context("cannot start cargo")?;
        if !status.success() {
            return Err(Failure::new(Exit::BuildFailed, "what the rehearsal runs does not build").into());
        }
        Ok(())
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

/// The repository.
pub fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("xtask/rehearse is two folders below the repository")
}
