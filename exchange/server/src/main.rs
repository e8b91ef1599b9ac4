//! The exchange: optivex serve, and tools over its journals.

use std::process::ExitCode;

use clap::Parser;
use optivex_server::cli::{self, Cli, Command};
use optivex_server::config::ConfigError;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(given) => given.resolve().map_err(Into::into).and_then(optivex_server::serve::run),
        Command::Journal(command) => cli::journal(command),
        Command::Book(args) => cli::show_book(args),
        Command::Replay(command) => command.execute(),
        Command::HashPassword => cli::hash_password(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("optivex: {}", told(&error));
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

/// The error and its causes in one line; some errors tell their cause themselves.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told += ": ";
            told += &cause;
        }
    }
    told
}
