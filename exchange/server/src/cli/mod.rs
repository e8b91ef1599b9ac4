//! The command line.

mod journal;
mod password;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::config::{ConfigError, Given};
use crate::replay::ReplayCommand;

pub use journal::{journal, show_book};
pub use password::hash_password;

/// A simulated financial exchange.
///
/// Exit codes: 0 ok, 1 failed, 2 usage.
#[derive(Debug, Parser)]
#[command(name = "optivex", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the exchange
    ///
    /// Settings come from flags, then from the environment, then from the YAML file that --config
    /// names, then from defaults. Durations are written as 500ms, 5s or 12h; sizes as 65536, 64KiB or
    /// 1MiB. SIGHUP reads the users file and the certificates again; SIGTERM and SIGINT stop the
    /// exchange in good order, a second one at once.
    #[command(args_override_self = true)] // A script can add to what another one gives.
    Serve(Box<Given>),
    /// Check or export a journal
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Show an order book as it stood at any moment of the past, from the journal
    Book(BookArgs),
    /// Feed recorded order flow to an exchange and compare the book after each message
    #[command(subcommand)]
    Replay(ReplayCommand),
    /// Make an argon2id hash for the users file's password_hash
    ///
    /// Asks for the password twice without showing it; reads one line if standard input is no terminal.
    HashPassword,
}

/// What can be done with a journal.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Check every record, and the state that they lead to
    Verify {
        /// Data directory; an exchange may be running on it
        dir: PathBuf,
    },
    /// Write what happened as CSV or JSON lines
    Export(ExportArgs),
}

/// What to export, and how.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct ExportArgs {
    /// Data directory; an exchange may be running on it
    pub dir: PathBuf,
    /// Every trade
    #[arg(long, group = "what")]
    pub trades: bool,
    /// Every order: as it ended, or as it is open
    #[arg(long, group = "what")]
    pub orders: bool,
    /// Every event: the commands as they were journaled
    #[arg(long, group = "what")]
    pub events: bool,
    /// Form
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    pub format: ExportFormat,
    /// File to write; standard output if not given
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// Which book, and when.
#[derive(Args, Debug)]
pub struct BookArgs {
    /// Data directory; an exchange may be running on it
    pub dir: PathBuf,
    /// Instrument
    pub symbol: String,
    /// Event after which to look; the last one if not given
    #[arg(long, value_name = "EVENT_SEQ")]
    pub at: Option<u64>,
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(given) => given.resolve().map_err(Into::into).and_then(crate::serve::run),
        Command::Journal(command) => journal(command),
        Command::Book(args) => show_book(args),
        Command::Replay(command) => command.execute(),
        Command::HashPassword => hash_password(),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
