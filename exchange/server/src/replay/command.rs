//! The command line of `optivex replay`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::{Login, Options, Progress};

/// What can be replayed.
#[derive(Debug, Subcommand)]
pub enum ReplayCommand {
    /// LOBSTER's files, through the public API: compares the book after each message with the recorded one
    ///
    /// Exits with 1 when anything is not as recorded.
    Lobster(LobsterArgs),
}

/// Which files, and where to.
#[derive(Args, Debug)]
pub struct LobsterArgs {
    /// Message file: time, type, order id, size, price, direction
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// Order book file: row N is the book after message N
    #[arg(long, value_name = "FILE")]
    books: PathBuf,
    /// URL of the exchange
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    target: String,
    /// Authority (PEM) that signed the exchange's certificate, for a target with https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// User to log in as, with --password; give both once for each of two traders and an administrator.
    /// The demo's users if not given
    #[arg(long, value_name = "NAME", requires = "password")]
    user: Vec<String>,
    /// Password of the --user at the same place
    #[arg(long, requires = "user")]
    password: Vec<String>,
    /// Users file that states the passwords: its first two traders and first administrator are used
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "password"])]
    users: Option<PathBuf>,
    /// Instrument, made if it is not there; its book must be empty. LOBSTER, LOBSTER-2, … if not given
    #[arg(long)]
    symbol: Option<String>,
    /// So many times as fast as recorded; as fast as it goes if not given
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    speed: Option<f64>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("must be a number above zero".to_owned()),
    }
}

impl ReplayCommand {
    /// Carries it out and prints what came of it; fails if anything is not as recorded.
    pub fn execute(self) -> anyhow::Result<()> {
        let Self::Lobster(args) = self;
        let options = args.into_options()?;
        let mut progress = Progress::on_stderr(std::io::stderr().is_terminal());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let summary = runtime.block_on(super::run(&options, &mut progress))?;
        writeln!(std::io::stdout(), "{summary}").context("cannot write to standard output")?;
        if !summary.is_same() {
            bail!("{} differences from the recording", summary.differences);
        }
        Ok(())
    }
}

impl LobsterArgs {
    fn into_options(self) -> Result<Options, super::Error> {
        let logins = match self.users {
            Some(file) => Login::from_users_file(&file)?,
            None if self.user.is_empty() => Login::demo(),
            None if self.user.len() != self.password.len() => {
                return Err(super::Error::Setup("each --user needs its --password".to_owned()));
            }
            None => std::iter::zip(self.user, self.password)
                .map(|(username, password)| Login { username, password })
                .collect(),
        };
        Ok(Options {
            messages: self.messages,
            books: self.books,
            target: self.target,
            ca: self.ca,
            logins,
            symbol: self.symbol,
            speed: self.speed,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: ReplayCommand,
    }

    fn logins(args: &str) -> String {
        let line = format!("replay lobster --messages m --books b {args}");
        match Cli::try_parse_from(line.split_whitespace()) {
            Ok(Cli {
                command: ReplayCommand::Lobster(args),
            }) => match args.into_options() {
                Ok(options) => {
                    let names: Vec<String> = options.logins.into_iter().map(|login| login.username).collect();
                    names.join(" ")
                }
                Err(error) => error.to_string(),
            },
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn who_logs_in() {
        let cases = [
            ("", "alice bob admin"),
            ("--user x --password 1 --user y --password 2", "x y"),
            ("--user x --user y --password 2", "each --user needs its --password"),
            ("--user x", "one or more required arguments were not provided"),
            (
                "--users f --user x --password 1",
                "an argument cannot be used with one or more of the other specified arguments",
            ),
            ("--speed 0", "invalid value for one of the arguments"),
            ("--speed fast", "invalid value for one of the arguments"),
            ("--speed 2.5 --symbol AAPL", "alice bob admin"),
        ];
        for (args, expected) in cases {
            assert_eq!(logins(args), expected, "{args}");
        }
    }
}
