//! `uat-daemon`'s command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::limits::bytes_for_people;
use optivex_bundle::names::Name;
use optivex_exit::{Exit, Failure};
use rustix::process::{Pid, Signal, kill_process};

use super::config::{Config, SLOTS_MAX};
use super::context::Context;
use super::rejudge::Rejudge;
use super::run::{self, Until};
use super::state::{Word, now};
use super::steps::Steps;
use super::{disk, pinned, scoreboard, verify};
use crate::sandbox::Part;

/// Judges deployments on a UAT machine
#[derive(Parser, Debug)]
#[command(name = "uat-daemon", version, after_help = optivex_exit::table())]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Place {
    /// Settings; without the file, defaults
    #[arg(long, global = true, value_name = "FILE", env = "CK_UAT_CONFIG")]
    config: Option<PathBuf>,
    /// The spool
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CK_DEPLOYMENT_DIR",
        default_value = "/var/lib/optivex/spool"
    )]
    deployment_dir: PathBuf,
    /// System tests: <sha256>.tar.zst, and `current`, which names one
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CK_TESTS_DIR",
        default_value = "/var/lib/optivex/tests"
    )]
    tests_dir: PathBuf,
    /// Deployments at a time, instead of what the settings say
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_MAX)))]
    slots: Option<u32>,
    /// Dies after so many steps, as in a power cut: for tests
    #[arg(long, global = true, hide = true)]
    abort_after_step: Option<u64>,
}

/// Where the settings are.
const CONFIG: &str = "/etc/optivex/uat.yaml";

#[derive(Subcommand, Debug)]
enum Command {
    /// Judges until SIGTERM, which lets end what runs
    Run,
    /// Judges what waits, and ends
    Once,
    /// Has the daemon end when what runs is over, and waits for it
    Drain {
        /// Seconds to wait at most
        #[arg(long, default_value_t = 1800)]
        within: u64,
    },
    /// Tells how the daemon is, what waits and runs, and the scoreboard
    Status,
    /// Starts no more deployments until `resume`; what runs goes on
    Pause {
        /// Told to participants
        #[arg(default_value = "paused by the manager")]
        why: String,
    },
    /// Takes `pause` back
    Resume,
    /// Hides from the scoreboard what is judged from now on
    Freeze {
        /// Shows it again
        #[arg(long)]
        off: bool,
    },
    /// Judges deployments again by other tests: tells what would change
    Rejudge {
        /// PARTICIPANT/ID, as `status` and results have it; all that were judged, if none is given
        deployments: Vec<String>,
        /// Hash of the tests; the current ones, if not given
        #[arg(long)]
        tests: Option<Digest>,
        /// The new results take the place of the old ones
        #[arg(long)]
        apply: bool,
    },
    /// Checks the ledger, and every result and its signature
    Verify,
    /// Removes the oldest bundles and surplus results
    Gc {
        /// Until so many GiB are free
        #[arg(long, default_value_t = 10)]
        free: u64,
    },
    /// Makes a system-tests binary the tests that count from now on
    InstallTests {
        /// The binary
        program: PathBuf,
        /// Commit that it was built from
        #[arg(long)]
        commit: String,
        /// Folder of the contract that it goes by
        #[arg(long)]
        proto: PathBuf,
    },
    /// Judges the reference exchange and a faulty one
    SelfTest,
    /// Signs results with a new key from now on; signatures by the old ones stay good
    RotateSigningKey,
    #[command(flatten)]
    Part(Part),
}

/// The program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match command(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("uat-daemon: {error:#}");
            optivex_exit::code_of(&error).into()
        }
    }
}

fn command(arguments: Arguments) -> Result<ExitCode> {
    if let Command::Part(part) = &arguments.command {
        return part.run();
    }
    log_to_stderr();
    if let Command::InstallTests { program, commit, proto } = &arguments.command {
        ours(&arguments.place.tests_dir)?;
        let digest = pinned::install(program, commit, proto, &arguments.place.tests_dir)?;
        println!("{digest}");
        return Ok(Exit::Ok.into());
    }
    ours(&arguments.place.deployment_dir)?;
    let context = open(&arguments.place)?;
    match &arguments.command {
        Command::Run => run::run(context.for_jobs()?, Until::Told)?,
        Command::Once => run::run(context.for_jobs()?, Until::Empty)?,
        Command::Drain { within } => drain(&context, Duration::from_secs(*within))?,
        Command::Status => print!("{}", super::status::status(&context)?),
        Command::Pause { why } => {
            let word = Word {
                why: super::judge::one_line(why),
                since: now(),
            };
            context.state.set_word("pause", Some(&word))?;
            println!("paused: what runs goes on, what waits keeps its place");
        }
        Command::Resume => {
            context.state.set_word("pause", None)?;
            println!("resumed");
        }
        Command::Freeze { off } => {
            let word = Word {
                why: "frozen".to_owned(),
                since: now(),
            };
            context.state.set_word("freeze", (!off).then_some(&word))?;
            scoreboard::write(&context)?;
            println!(
                "{}",
                if *off {
                    "the scoreboard shows everything"
                } else {
                    "the scoreboard is frozen"
                }
            );
        }
        Command::Rejudge {
            deployments,
            tests,
            apply,
        } => {
            return rejudge_all(&context.for_jobs()?, deployments, *tests, *apply);
        }
        Command::Verify => return verified(&context),
        Command::Gc { free } => {
            let removed = disk::collect(&context, free << 30)?;
            removed.iter().for_each(|path| println!("removed {}", path.display()));
            println!("{} free", bytes_for_people(disk::free(context.state.spool.root())?));
        }
        Command::SelfTest => {
            // It has the folders that the daemon's own has.
            let _lock = run::lock(&context)?;
            let context = context.for_jobs()?;
            super::self_test::run(&context, &context.tests()?)?;
            println!("the reference exchange passes, the faulty one fails");
        }
        Command::RotateSigningKey => {
            context.signer.rotate()?;
            println!("{} has the old and the new one", context.signer.allowed().display());
        }
        Command::InstallTests { .. } | Command::Part(_) => {}
    }
    Ok(Exit::Ok.into())
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
}

/// Another account, root above all, would leave files there that the daemon cannot write.
fn ours(folder: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let owner = match std::fs::metadata(folder) {
        Ok(metadata) => metadata.uid(),
        // To be made.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    let own = rustix::process::geteuid().as_raw();
    if owner == own {
        return Ok(());
    }
    let message = format!(
        "{} belongs to user {owner}, and this is user {own}: give the command as its owner, as by \
         `sudo -u '#{owner}' uat-daemon …`",
        folder.display()
    );
    Err(Failure::new(Exit::Usage, message).into())
}

fn open(place: &Place) -> Result<Context> {
    let default = PathBuf::from(CONFIG);
    let mut config = match &place.config {
        Some(path) => Config::read(path)?,
        None if default.exists() => Config::read(&default)?,
        None => Config::default(),
    };
    config.slots = place.slots.or(config.slots);
    Context::open(
        config,
        &place.deployment_dir,
        &place.tests_dir,
        Steps::new(place.abort_after_step),
    )
}

fn drain(context: &Context, within: Duration) -> Result<()> {
    let path = context.state.file("daemon.lock");
    let begun = std::time::Instant::now();
    let mut asked = false;
    loop {
        match run::lock(context) {
            Ok(_) => {
                println!("{}", if asked { "drained" } else { "no daemon runs" });
                return Ok(());
            }
            Err(error) if optivex_exit::code_of(&error) == Exit::Locked => {}
            Err(error) => return Err(error),
        }
        if !asked {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let pid = text
                .trim()
                .parse()
                .ok()
                .and_then(Pid::from_raw)
                .context("the daemon's process id")?;
            kill_process(pid, Signal::TERM).context("SIGTERM to the daemon")?;
            asked = true;
        }
        if begun.elapsed() > within {
            bail!("it still runs after {} s", within.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn rejudge_all(context: &Context, deployments: &[String], tests: Option<Digest>, apply: bool) -> Result<ExitCode> {
    let tests = match tests {
        Some(tests) => tests,
        None => pinned::current(&context.tests_folder)?,
    };
    let chosen = match deployments.is_empty() {
        false => deployments.iter().map(|text| parse(text)).collect::<Result<Vec<_>>>()?,
        true => all(context)?,
    };
    let rejudge = Rejudge::begin(context, tests, apply)?;
    let mut failed = 0;
    for (participant, id) in &chosen {
        match rejudge.judge(participant, *id) {
            Ok(change) => {
                let same = if change.before == change.after && change.stages.is_empty() {
                    "same: "
                } else {
                    ""
                };
                println!("{participant}/{id}: {same}{} -> {}", change.before, change.after);
                for (stage, before, after) in &change.stages {
                    println!("    {stage}: {before} -> {after}");
                }
            }
            Err(error) => {
                failed += 1;
                eprintln!("{error:#}");
            }
        }
    }
    if !apply {
        println!("A preview: nothing was changed. --apply puts these results in the place of the old ones.");
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Infrastructure }.into())
}

fn parse(text: &str) -> Result<(Name, SubmissionId)> {
    let (name, id) = text
        .split_once('/')
        .with_context(|| format!("{text}: not PARTICIPANT/ID"))?;
    Ok((
        name.parse().with_context(|| text.to_owned())?,
        id.parse().with_context(|| text.to_owned())?,
    ))
}

/// The newest deployment of each participant that was judged.
fn all(context: &Context) -> Result<Vec<(Name, SubmissionId)>> {
    let read = context.ledger.entries()?;
    let judged = read.entries.iter().filter(|entry| entry.verdict.is_judged());
    let newest: std::collections::BTreeMap<Name, SubmissionId> =
        judged.map(|entry| (entry.participant.clone(), entry.id)).collect();
    Ok(newest.into_iter().collect())
}

fn verified(context: &Context) -> Result<ExitCode> {
    let findings = verify::verify(context)?;
    for wrong in &findings.wrong {
        println!("WRONG {wrong}");
    }
    println!(
        "{} entries in the ledger, {} results sound, {} removed since, {} wrong",
        findings.entries,
        findings.sound,
        findings.removed,
        findings.wrong.len()
    );
    if let Some(head) = findings.head {
        println!("head {head}: written down elsewhere, it proves later that nothing up to here was changed");
    }
    Ok(if findings.wrong.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    }
    .into())
}
