//! `uat-gate --participant NAME`: the forced command behind a participant's key.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use optivex_bundle::limits::LIMITS;
use optivex_bundle::names::Name;
use optivex_bundle::spool::Spool;
use optivex_exit::Exit;
use optivex_uat::gate::{Gate, GateLog, Watchdog};

/// Takes deployments of one participant, and tells what became of them. For authorized_keys:
/// restrict,command="/opt/optivex/bin/uat-gate --participant NAME" ssh-ed25519 …
#[derive(Parser)]
#[command(name = "uat-gate", after_help = optivex_exit::table())]
struct Cli {
    /// Whose key this is.
    #[arg(long)]
    participant: Name,
    /// Where deployments wait.
    #[arg(long, env = "CK_DEPLOYMENT_DIR", default_value = "/var/lib/optivex/spool")]
    spool: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            // The participant reads this: no more than that it is not their fault.
            eprintln!("uat-gate: UAT is not set up: {error:#}; tell the program managers");
            Exit::Infrastructure.into()
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    ensure!(cli.spool.is_dir(), "it has no spool");
    let spool = Spool::new(&cli.spool);
    spool.create().context("the spool")?;
    let watchdog = Watchdog::start(LIMITS.idle(), LIMITS.connection() * 2);
    // Without the buffers of the standard library, which hide bytes from poll.
    let input = File::from(std::io::stdin().as_fd().try_clone_to_owned().context("its input")?);
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned().context("its output")?);
    let mut input = watchdog.watch(input, LIMITS.idle());
    let mut output = watchdog.watch(output, LIMITS.idle());
    let mut gate = Gate {
        spool: &spool,
        participant: &cli.participant,
        limits: &LIMITS,
        step: &mut |_| Ok(()),
        now: &SystemTime::now,
        free: &|folder| {
            let room = rustix::fs::statvfs(folder)?;
            Ok(room.f_bavail.saturating_mul(room.f_frsize))
        },
        pause: &mut std::thread::sleep,
        deadline: Instant::now() + LIMITS.connection(),
    };
    let outcome = gate.serve(&mut input, &mut output);
    let log = GateLog {
        spool: &spool,
        participant: &cli.participant,
    };
    log.write(&outcome).context("its log")
}
