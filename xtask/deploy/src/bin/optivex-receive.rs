//! `optivex-receive`: the forced command behind UAT's key on a dev machine. It takes one result from standard input and
//! stores it in `~/optivex-results/ID`, and can do nothing else: no path comes from the sender, only an id and a closed set
//! of file names.

use std::io::{self, BufReader};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use optivex_bundle::delivery::{self, HOME};
use optivex_bundle::limits::LIMITS;
use optivex_bundle::wire::Answer;
use optivex_deploy::connection::home;
use optivex_exit::Exit;

/// Stores a result that UAT sends. For authorized_keys: restrict,command="/usr/local/bin/optivex-receive" ssh-ed25519 …
#[derive(Parser)]
#[command(name = "optivex-receive")]
struct Cli {}

fn main() -> ExitCode {
    let Cli {} = Cli::parse();
    match run() {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            eprintln!("optivex-receive: {error:#}");
            Exit::Failed.into()
        }
    }
}

fn run() -> Result<()> {
    end_when_late();
    let home = home()?.join(HOME);
    delivery::receive(&mut BufReader::new(io::stdin().lock()), &home, &LIMITS)?;
    // What the sender waits for: now it is on disk.
    delivery::tell(&mut io::stdout(), &Answer::Done)?;
    Ok(())
}

/// A sender that stops in the middle does not keep us for ever; a later result sweeps away what it sent.
fn end_when_late() {
    std::thread::spawn(|| {
        std::thread::sleep(LIMITS.connection());
        std::process::exit(Exit::Failed as i32);
    });
}
