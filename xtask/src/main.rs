//! Automation of the repository: one command, one file. `cargo xtask --help` tells them.

mod bench;
mod ci;
mod doctor;
mod heavy;
mod needs;
mod run;
mod template;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use optivex_exit as exit;

use crate::workspace::Workspace;

/// Automation of the Optivex repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = exit::table())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds and starts the exchange on 127.0.0.1:50051 with demo users and instruments.
    Run(run::Args),
    /// Runs all tests, and installs what they need first.
    Test(test::Args),
    /// Runs the benchmarks beside their baselines, and writes exchange/BENCHMARKS.md.
    Bench(bench::Args),
    /// Format, lints, docs, dependencies, contract and all tests, with a summary.
    Ci,
    /// Tells what this machine lacks for its role, and the command that installs it.
    Doctor(doctor::Args),
    /// Writes the repository that participants start from.
    Template(template::Args),
    /// Machines on EC2 and their set-up over SSH, from infra/inventory.yaml.
    #[command(disable_help_flag = true)]
    Provision(heavy::Args),
    /// Hands an exchange over to UAT, and shows what the system tests there say of it.
    #[command(disable_help_flag = true)]
    Deploy(heavy::Args),
    /// Takes deployments on UAT, judges each in a sandbox, and sends results back.
    #[command(disable_help_flag = true)]
    UatDaemon(heavy::Args),
    /// The whole program on this machine: EC2 API by moto, hosts as network namespaces with a real sshd.
    #[command(disable_help_flag = true)]
    Rehearse(heavy::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Workspace::find().and_then(|ws| match cli.command {
        Command::Run(args) => run::run(&ws, &args),
        Command::Test(args) => test::run(&ws, &args),
        Command::Bench(args) => bench::run(&ws, &args),
        Command::Ci => ci::run(&ws),
        Command::Doctor(args) => doctor::run(&ws, &args),
        Command::Template(args) => template::run(&ws, &args),
        Command::Provision(args) => heavy::run(&ws, &heavy::PROVISION, &args),
        Command::Deploy(args) => heavy::run(&ws, &heavy::DEPLOY, &args),
        Command::UatDaemon(args) => heavy::run(&ws, &heavy::UAT_DAEMON, &args),
        Command::Rehearse(args) => heavy::run(&ws, &heavy::REHEARSE, &args),
    });
    result
        .unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            exit::code_of(&error)
        })
        .into()
}
