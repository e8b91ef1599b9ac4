//! `uat-daemon`.

use std::process::ExitCode;

use clap::Parser;
use optivex_uat::sandbox::Part;

/// Judges submissions
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

fn main() -> ExitCode {
    match Arguments::parse().part.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("uat-daemon: {error:#}");
            optivex_exit::code_of(&error).into()
        }
    }
}
