//! Commands that are crates of their own, so that `cargo xtask` compiles in seconds: built on first use, then started
//! in this process's place.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use optivex_exit::{Exit, Failure};
use xshell::cmd;

use crate::workspace::Workspace;

/// A command and the crate it is.
pub(crate) struct Heavy {
    package: &'static str,
    binary: &'static str,
    /// What is said before a first build that takes its time.
    first_build: &'static str,
}

pub(crate) const PROVISION: Heavy = Heavy {
    package: "optivex-provision",
    binary: "provision",
    first_build: "building cargo xtask provision, with the AWS SDK: minutes and up to 8 GB of memory, once",
};
pub(crate) const DEPLOY: Heavy = Heavy {
    package: "optivex-deploy",
    binary: "deploy",
    first_build: "building cargo xtask deploy, once",
};
pub(crate) const UAT_DAEMON: Heavy = Heavy {
    package: "optivex-uat",
    binary: "uat-daemon",
    first_build: "building cargo xtask uat-daemon, once",
};
pub(crate) const REHEARSE: Heavy = Heavy {
    package: "optivex-rehearse",
    binary: "rehearse",
    first_build: "building cargo xtask rehearse, once",
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The command's own arguments; --help tells them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(ws: &Workspace, heavy: &Heavy, args: &Args) -> Result<Exit> {
    let sh = ws.shell()?;
    let program = ws.target.join("debug").join(heavy.binary);
    if !program.exists() {
        eprintln!("{}", heavy.first_build);
    }
    let (package, binary) = (heavy.package, heavy.binary);
    cmd!(sh, "cargo build --quiet --locked -p {package} --bin {binary}")
        .quiet()
        .run()
        .map_err(|error| Failure::new(Exit::BuildFailed, error.to_string()))?;
    // It gets Ctrl-C itself, and its exit code is ours.
    let error = Command::new(&program).args(&args.arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
