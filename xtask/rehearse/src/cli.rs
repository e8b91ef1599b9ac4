//! The command line.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use optivex_exit::{self as exit, Exit, Failure};

use crate::moto::{Moto, target_dir};
use crate::programs::Programs;
use crate::rehearsal::{self, Standing};
use crate::world::{self, Dirs};
use crate::{hosts, programs};

/// The whole program on this machine, as root, at no cost: EC2's API by moto, and for each instance a host, which is a
/// set of namespaces with a real sshd. Provisioning knows nothing of it.
#[derive(Parser)]
#[command(
    name = "cargo xtask rehearse",
    bin_name = "cargo xtask rehearse",
    after_help = exit::table(),
    args_conflicts_with_subcommands = true,
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Act>,
}

/// What is rehearsed.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many participants, each with a machine of their own.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=60))]
    pub participants: u16,
    /// Leaves it standing before the end, says how to look around, and waits for Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// Runs our programs as they were built before.
    #[arg(long)]
    pub no_build: bool,
}

impl Options {
    /// This program's arguments for the same in another role.
    fn arguments(&self, role: &str) -> Vec<String> {
        let mut arguments = vec![role.to_owned(), format!("--participants={}", self.participants)];
        if self.keep {
            arguments.push("--keep".to_owned());
        }
        arguments
    }
}

#[derive(Subcommand)]
enum Act {
    /// Looks around in a rehearsal that stands: a shell, or a command, beside the hosts or on one of them.
    Enter {
        /// A host's name; without it, where the manager sits.
        host: Option<String>,
        /// What to run there; a root shell if nothing.
        #[arg(last = true)]
        command: Vec<String>,
    },
    #[command(name = rehearsal::INSIDE, hide = true)]
    Inside(Options),
    #[command(name = rehearsal::PERFORM, hide = true)]
    Perform(Options),
    #[command(name = hosts::BE_A_HOST, hide = true)]
    BeAHost,
}

/// The program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => rehearse(&cli.options),
        Some(Act::Enter { host, command }) => enter(host.as_deref(), &command),
        Some(Act::Inside(options)) => {
            dirs().and_then(|dirs| world::init(&dirs, &options.arguments(rehearsal::PERFORM)))
        }
        Some(Act::Perform(options)) => dirs().and_then(|dirs| rehearsal::perform(&dirs, &options)),
        Some(Act::BeAHost) => hosts::be_a_host().map(|()| Exit::Ok),
    };
    result
        .unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            exit::code_of(&error)
        })
        .into()
}

fn dirs() -> Result<Dirs> {
    Ok(Dirs::of(&target_dir()?))
}

fn rehearse(options: &Options) -> Result<Exit> {
    programs::needs()?;
    let dirs = dirs()?;
    let _lock = world::claim(&dirs)?;
    // All that comes from a network, while there is one.
    drop(Moto::start(&target_dir()?, None)?);
    if !options.no_build {
        Programs::build(&rehearsal::inventory()?)?;
    }
    let status = world::run(&dirs, &options.arguments(rehearsal::INSIDE))?;
    let exit = world::exit_of(status);
    let held = world::leave(&dirs)?;
    if !held.is_empty() {
        eprintln!("error: this machine still holds something of the rehearsal:");
        for thing in &held {
            eprintln!("  {thing}");
        }
        return Ok(if exit == Exit::Ok { Exit::Failed } else { exit });
    }
    println!(
        "nothing of it is left on this machine but its logs, {}",
        dirs.logs.display()
    );
    Ok(exit)
}

/// In the namespaces of the rehearsal, and from there in those of a host: both by nsenter.
fn enter(host: Option<&str>, command: &[String]) -> Result<Exit> {
    let dirs = dirs()?;
    let none = || Failure::new(Exit::Usage, "no rehearsal stands: cargo xtask rehearse --keep");
    let process = fs::read_to_string(dirs.process()).map_err(|_| none())?;
    let standing = Standing::read(&dirs).map_err(|_| none())?;
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--all", "--target", process.trim()]);
    match host {
        Some(name) => {
            let hosts: Vec<&str> = standing.hosts.keys().map(String::as_str).collect();
            let first = standing.hosts.get(name).ok_or_else(|| {
                let text = format!("no host {name}; there are {}", hosts.join(", "));
                Failure::new(Exit::Usage, text)
            })?;
            nsenter.args(["nsenter", "--all", "--target", &first.to_string()]);
        }
        None => {
            nsenter.envs(&standing.environment);
            let here: &Path = &standing.directory;
            nsenter.arg(format!("--wd={}", here.display()));
        }
    }
    if command.is_empty() {
        nsenter.arg("/bin/bash");
    }
    let error = nsenter.args(command).exec();
    Err(error).context("cannot start nsenter, of util-linux")
}
