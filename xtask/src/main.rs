//! Automation of the repository: one command, one file. `cargo xtask --help` tells them.

mod bench;
mod ci;
mod doctor;
mod exit;
mod needs;
mod run;
mod template;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    });
    result
        .unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            exit::code_of(&error)
        })
        .into()
}
