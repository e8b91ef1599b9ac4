//! `cargo xtask deploy`.

use std::process::ExitCode;

use clap::Parser;
use optivex_deploy::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(&Cli::parse())
        .unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            optivex_exit::code_of(&error)
        })
        .into()
}
