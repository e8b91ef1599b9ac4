//! The exchange as a program.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use exchange::config::Settings;
use exchange::{logging, server};

/// The exit code is 0 after a stop that was asked for, 1 after a failure, 2 for settings that make no sense.
fn main() -> ExitCode {
    match run(&Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("exchange: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> anyhow::Result<()> {
    logging::init(&settings.log)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(server::serve(settings))
}
