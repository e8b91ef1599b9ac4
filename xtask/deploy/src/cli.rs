//! The command line.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use optivex_bundle::delivery::HOME;
use optivex_bundle::digest::SubmissionId;
use optivex_bundle::manifest::printable;
use optivex_bundle::spool::{ResultFile, State, read_json};
use optivex_bundle::verdict::JobResult;
use optivex_exit::Exit;

use crate::connection::{Uat, home};
use crate::repository::Repository;
use crate::repro::repro;
use crate::settings::Settings;
use crate::show::{self, Live, Paint};
use crate::submit::submit;
use crate::uat::{Client, Overview};

/// Builds this repository's exchange, hands it over to UAT, and shows what the system tests there say of it.
///
/// No receipt: not submitted. The same build again has the same id, and is not tested again. A newer deployment takes the
/// place of your own that waits. What is built, handed over and started stands in optivex.yaml, if it is not what
/// `cargo build --release --bin exchange` makes.
#[derive(Parser)]
#[command(name = "cargo xtask deploy", bin_name = "cargo xtask deploy", after_help = optivex_exit::table())]
#[command(args_conflicts_with_subcommands = false)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Also with changes that are not committed; the result says so
    #[arg(long)]
    allow_dirty: bool,
    /// A debug build: slower to run, quicker to build
    #[arg(long)]
    debug: bool,
    /// Show the stages live, then the result [default on a terminal]
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Only print the receipt [default where there is no terminal]
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    #[command(flatten)]
    uat: Uat,
    /// How long to try again when UAT cannot be reached, in seconds [default: 10, and 180 once it was]
    #[arg(long, value_name = "SECONDS", global = true)]
    patience: Option<u64>,
}

#[derive(Subcommand)]
enum Command {
    /// Your newest deployments, or one; and how UAT is
    Status {
        /// Which
        id: Option<SubmissionId>,
        /// Show its stages until it is over
        #[arg(long)]
        follow: bool,
    },
    /// What your exchange printed while it was tested
    Logs {
        /// Which [default: the newest]
        id: Option<SubmissionId>,
    },
    /// Fetches a result into ~/optivex-results, and shows it
    Results {
        /// Which [default: the newest]
        id: Option<SubmissionId>,
    },
    /// Takes a deployment out of the queue, or ends its run
    Cancel {
        /// Which
        id: SubmissionId,
    },
    /// Prints the command that repeats the failed cases here, with their seed
    Repro {
        /// Which [default: the latest in ~/optivex-results]
        id: Option<SubmissionId>,
    },
}

/// Does what the command line says.
pub fn run(cli: &Cli) -> Result<Exit> {
    let results = home()?.join(HOME);
    if let Some(Command::Repro { id }) = &cli.command
        && let Some(result) = stored(&results, *id)?
    {
        return print_repro(&result);
    }
    let client = Client {
        target: cli.uat.target()?,
        patience: cli.patience.map(Duration::from_secs),
    };
    match &cli.command {
        None => {
            let repository = Repository::find(&std::env::current_dir().context("no current directory")?)?;
            let promise = submit(&client, &repository, cli.allow_dirty, cli.debug)?;
            let id = promise.receipt.id;
            if cli.wait || (!cli.no_wait && io::stdout().is_terminal()) {
                return follow(&client, id, &results);
            }
            println!("see also: cargo xtask deploy status {id} --follow");
            Ok(Exit::Ok)
        }
        Some(Command::Status { id, follow: true }) => {
            let id = match id {
                Some(id) => *id,
                None => newest(&client)?,
            };
            follow(&client, id, &results)
        }
        Some(Command::Status { id, follow: false }) => status(&client, *id),
        Some(Command::Logs { id }) => {
            client.logs(*id, &mut |text| print!("{}", printable(text)))?;
            Ok(Exit::Ok)
        }
        Some(Command::Results { id }) => show_result(&client, *id, &results),
        Some(Command::Cancel { id }) => {
            let was = match client.cancel(*id)? {
                State::Running => "it ran, and is being ended",
                _ => "it waited, and is taken out of the queue",
            };
            println!("{id} is to end: {was}");
            Ok(Exit::Ok)
        }
        Some(Command::Repro { id }) => print_repro(&client.results(*id, &results)?.result),
    }
}

fn newest(client: &Client) -> Result<SubmissionId> {
    let overview = client.status(None)?;
    let (receipt, _) = overview.jobs.first().context("you have not deployed anything yet")?;
    Ok(receipt.id)
}

fn status(client: &Client, id: Option<SubmissionId>) -> Result<Exit> {
    let Overview { notes, jobs } = client.status(id)?;
    for note in notes {
        println!("note: {}", printable(&note));
    }
    if jobs.is_empty() {
        println!("you have not deployed anything yet: cargo xtask deploy");
    }
    for (receipt, state) in jobs {
        println!("{}", show::job(&receipt, &state));
    }
    Ok(Exit::Ok)
}

fn follow(client: &Client, id: SubmissionId, results: &Path) -> Result<Exit> {
    if io::stdout().is_terminal() {
        println!("Ctrl-C stops the watching and not the run; back again: cargo xtask deploy status --follow");
    }
    let mut live = Live::new(io::stdout(), id, Paint::of_stdout(), io::stdout().is_terminal());
    match client.follow(id, &mut |news| live.tell(news))? {
        State::Done { verdict } if !verdict.is_judged() => {
            println!("{id} {}", printable(&verdict.to_string()));
            Ok(show::exit_of(&verdict))
        }
        _ => show_result(client, Some(id), results),
    }
}

fn show_result(client: &Client, id: Option<SubmissionId>, results: &Path) -> Result<Exit> {
    let stored = client.results(id, results)?;
    print!("{}", show::table(&stored.result, Paint::of_stdout()));
    for file in [ResultFile::Html, ResultFile::Markdown] {
        let path = stored.folder.join(file.name());
        if path.exists() {
            println!("full report: {}", path.display());
        }
    }
    if !stored.result.cases.is_empty() {
        println!("to see it here: cargo xtask deploy repro {}", stored.result.id);
    }
    Ok(show::exit_of(&stored.result.verdict))
}

/// A result that is on this machine already.
fn stored(results: &Path, id: Option<SubmissionId>) -> Result<Option<JobResult>> {
    let folder = match id {
        Some(id) => results.join(id.to_string()),
        None => results.join(optivex_bundle::delivery::LATEST),
    };
    let path = folder.join(ResultFile::Result.name());
    read_json(&path).with_context(|| path.display().to_string())
}

fn print_repro(result: &JobResult) -> Result<Exit> {
    let here = std::env::current_dir().context("no current directory")?;
    let (settings, head) = match Repository::find(&here) {
        Ok(repository) => (Settings::read(&repository.root)?, repository.commit().ok()),
        // The command is worth reading elsewhere, too.
        Err(_) => (Settings::default(), None),
    };
    print!("{}", repro(result, &settings, head.as_deref()));
    Ok(Exit::Ok)
}
