//! Replays recorded order flow through the public API and compares the book after each message with the
//! recorded one.
//!
//! One user is everybody whose orders rest, another is everybody who trades with them:
//!
//! | LOBSTER | API |
//! |---|---|
//! | 1, a new order | `InsertOrder`, good till cancelled, LOBSTER's id in the client id |
//! | 2, a part cancelled | `AmendOrder` to the lower quantity: keeps its priority |
//! | 3, deleted | `CancelOrder` |
//! | 4, a visible order traded | `InsertOrder`, immediate or cancel, by the other user; must trade with the order that price-time priority wants, which must be the one that LOBSTER names |
//! | 5, a hidden order traded | nothing |
//! | 7, a halt | `SetTradingPhase` |
//!
//! The book before the first message is made from the first row less the first message; what rests there
//! has no ids of LOBSTER's, so messages about ids that are not known take from it. A file of ten levels
//! does not tell what happens behind them: a level that comes into view and is not as our book has it is
//! taken from the row, and counted. Every other level must be as recorded.

mod command;
mod desk;
pub mod lobster;
mod progress;
pub mod replica;
mod summary;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_yaml::Value;
use tonic::Status;

use self::desk::Desk;
use self::lobster::{Message, ParseError, Row};
use self::replica::{Action, Levels, Priority, Replica, Step, View};

pub use self::command::ReplayCommand;
pub use self::progress::Progress;
pub use self::summary::Summary;

/// Differences that are told in full.
const DIFFERENCES_TOLD: u64 = 20;

/// What to replay, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// LOBSTER's message file.
    pub messages: PathBuf,
    /// LOBSTER's order book file.
    pub books: PathBuf,
    /// URL of the exchange.
    pub target: String,
    /// Authority (PEM) that signed the certificate of an `https` target.
    pub ca: Option<PathBuf>,
    /// Users to log in as: two with the role trader, and one with the role admin to make the instrument.
    pub logins: Vec<Login>,
    /// Instrument: made if it is not there, its book must be empty; LOBSTER, LOBSTER-2, … if not given.
    pub symbol: Option<String>,
    /// So many times as fast as it was recorded; as fast as it goes if not given.
    pub speed: Option<f64>,
}

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// The users of `optivex serve --demo`.
    pub fn demo() -> Vec<Self> {
        ["alice", "bob", "admin"]
            .map(|name| Self {
                username: name.to_owned(),
                password: name.to_owned(),
            })
            .into()
    }

    /// The users of a users file that state their passwords.
    pub fn from_users_file(path: &Path) -> Result<Vec<Self>, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::file(path, source))?;
        Self::from_yaml(&text)
            .ok_or_else(|| Error::Setup(format!("{} is not a users file with passwords in it", path.display())))
    }

    fn from_yaml(text: &str) -> Option<Vec<Self>> {
        let file: Value = serde_yaml::from_str(text).ok()?;
        let logins: Vec<Self> = file
            .get("users")?
            .as_sequence()?
            .iter()
            .filter_map(|user| {
                Some(Self {
                    username: user.get("username")?.as_str()?.to_owned(),
                    password: user.get("password")?.as_str()?.to_owned(),
                })
            })
            .collect();
        (!logins.is_empty()).then_some(logins)
    }
}

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not LOBSTER's.
    #[error("{path}")]
    Parse {
        /// Which.
        path: String,
        /// Where, and why.
        source: ParseError,
    },
    /// The files do not belong together.
    #[error("{0}")]
    Files(String),
    /// The exchange cannot be reached.
    #[error("cannot connect to {target}")]
    Connect {
        /// Its URL.
        target: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// Users or instrument do not fit.
    #[error("{0}")]
    Setup(String),
    /// The exchange refused a call that it must take.
    #[error("{what} is refused: {}: {}", .status.code(), .status.message())]
    Refused {
        /// Which call or stream.
        what: &'static str,
        /// How.
        status: Box<Status>,
    },
    /// An answer or a stream is not as the contract says.
    #[error("{what}: {why}")]
    Broken {
        /// Which call or stream.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl Error {
    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }

    fn refused(what: &'static str, status: Status) -> Self {
        Self::Refused {
            what,
            status: Box::new(status),
        }
    }

    fn broken(what: &'static str, why: String) -> Self {
        Self::Broken { what, why }
    }
}

/// Replays two files. Differences are in the summary ([`Summary::is_same`]), and the first of them are told
/// to `progress` as they are found.
pub async fn run(options: &Options, progress: &mut Progress) -> Result<Summary, Error> {
    progress.start(count_lines(&options.messages)?);
    let mut pairs = pairs(&options.messages, &options.books)?;
    let Some(first) = pairs.next().transpose()? else {
        return Err(Error::Files(format!("{} is empty", options.messages.display())));
    };
    let ca = match &options.ca {
        Some(path) => Some(std::fs::read(path).map_err(|source| Error::file(path, source))?),
        None => None,
    };
    let channel = desk::connect(&options.target, ca.as_deref()).await?;
    let mut desk = Desk::open(channel, &options.logins, options.symbol.as_deref()).await?;
    let mut replica = Replica::default();
    let mut summary = Summary::new(desk.symbol());
    let seed = replica.seed(&first.1, &first.0).map_err(Error::Files)?;
    for action in &seed {
        for wrong in desk.carry_out(action).await? {
            tell(&mut summary, progress, 0, &wrong);
        }
    }
    let mut view = View::of(&first.1);
    let pace = Pace::new(options.speed, &first.0);
    let start = Instant::now();
    let before = desk.commands;
    let mut done = 0;
    for pair in std::iter::once(Ok(first)).chain(pairs) {
        let (message, row) = pair?;
        done += 1;
        if let Some(wait) = pace.wait(&message) {
            tokio::time::sleep(wait).await;
        }
        summary.count(&message);
        let step = replica.step(&message).unwrap_or_else(|why| {
            tell(&mut summary, progress, done, &why);
            Step::default()
        });
        match step.priority {
            Priority::NoTrade => {}
            Priority::Same => summary.executions_checked += 1,
            Priority::Unknown => summary.executions_unknown += 1,
            Priority::Other(why) => tell(&mut summary, progress, done, &why),
        }
        carry_out(&mut desk, &step.actions, &mut summary, progress, done).await?;
        let (compared, found) = replica::compare(&desk.levels(), &row, &view, &message);
        summary.levels_compared += compared;
        for level in &found {
            if level.untold {
                summary.levels_taken += 1;
            } else {
                tell(&mut summary, progress, done, &level.to_string());
            }
            let adopt = replica.adopt(level.side, level.price_e4, level.recorded);
            let adopt = adopt.map_err(|why| Error::broken("the replay", why))?;
            carry_out(&mut desk, &adopt, &mut summary, progress, done).await?;
        }
        if !found.is_empty() {
            let (_, still) = replica::compare(&desk.levels(), &row, &view, &message);
            for level in still {
                tell(&mut summary, progress, done, &level.to_string());
            }
        }
        view = View::of(&row);
        progress.step(done);
    }
    summary.commands = desk.commands - before;
    summary.elapsed = start.elapsed();
    if let Some(why) = desk.check_book().await? {
        tell(&mut summary, progress, done, &why);
    }
    if let Some(why) = whole_book(&replica.levels(), &desk.levels()) {
        tell(&mut summary, progress, done, &why);
    }
    progress.finish();
    Ok(summary)
}

async fn carry_out(
    desk: &mut Desk,
    actions: &[Action],
    summary: &mut Summary,
    progress: &mut Progress,
    done: u64,
) -> Result<(), Error> {
    for action in actions {
        for wrong in desk.carry_out(action).await? {
            tell(summary, progress, done, &wrong);
        }
    }
    Ok(())
}

fn tell(summary: &mut Summary, progress: &mut Progress, message: u64, what: &str) {
    summary.differences += 1;
    if summary.differences <= DIFFERENCES_TOLD {
        progress.say(&format!("message {message}: {what}"));
    }
}

fn whole_book(ours: &Levels, theirs: &Levels) -> Option<String> {
    (ours != theirs).then(|| "the whole book, also out of view, is not what the commands make".to_owned())
}

/// When to send a message.
struct Pace {
    speed: Option<f64>,
    start: Instant,
    start_ns: u64,
}

impl Pace {
    fn new(speed: Option<f64>, first: &Message) -> Self {
        Self {
            speed,
            start: Instant::now(),
            start_ns: first.time_ns,
        }
    }

    fn wait(&self, message: &Message) -> Option<Duration> {
        let recorded = Duration::from_nanos(message.time_ns.saturating_sub(self.start_ns));
        let due = Duration::try_from_secs_f64(recorded.as_secs_f64() / self.speed?).ok()?;
        due.checked_sub(self.start.elapsed())
    }
}

fn open(path: &Path) -> Result<BufReader<File>, Error> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|source| Error::file(path, source))
}

fn count_lines(path: &Path) -> Result<u64, Error> {
    let mut input = open(path)?;
    let mut lines = 0;
    loop {
        let buffer = input.fill_buf().map_err(|source| Error::file(path, source))?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        lines += buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = buffer.len();
        input.consume(read);
    }
}

/// Each message with its row.
fn pairs(messages: &Path, books: &Path) -> Result<impl Iterator<Item = Result<(Message, Row), Error>> + use<>, Error> {
    let parse = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::Parse {
            path: path.clone(),
            source,
        }
    };
    let in_messages = parse(messages);
    let in_books = parse(books);
    let uneven = format!(
        "{} and {} have not the same number of lines",
        messages.display(),
        books.display()
    );
    let mut messages = lobster::messages(open(messages)?);
    let mut rows = lobster::rows(open(books)?);
    Ok(std::iter::from_fn(move || match (messages.next(), rows.next()) {
        (None, None) => None,
        (Some(Err(error)), _) => Some(Err(in_messages(error))),
        (_, Some(Err(error))) => Some(Err(in_books(error))),
        (Some(Ok(message)), Some(Ok(row))) => Some(Ok((message, row))),
        (Some(Ok(_)), None) | (None, Some(Ok(_))) => Some(Err(Error::Files(uneven.clone()))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_files() {
        let names = |yaml: &str| {
            Login::from_yaml(yaml).map(|logins| logins.into_iter().map(|login| login.username).collect::<Vec<_>>())
        };
        let cases: [(&str, Option<&[&str]>); 5] = [
            (
                "users: [{username: a, password: b, roles: [trader]}, {username: c, password: d}]",
                Some(&["a", "c"]),
            ),
            // A hash cannot be logged in with.
            (
                "users: [{username: a, password_hash: h}, {username: c, password: d}]",
                Some(&["c"]),
            ),
            ("users: [{username: a, password_hash: h}]", None),
            ("users: 3", None),
            ("{", None),
        ];
        for (yaml, expected) in cases {
            assert_eq!(
                names(yaml).as_deref(),
                expected
                    .map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                    .as_deref(),
                "{yaml}"
            );
        }
    }

    #[test]
    fn passwords_do_not_print() {
        assert!(
            !format!(
                "{:?}",
                Login {
                    username: "alice".to_owned(),
                    password: "geheim".to_owned()
                }
            )
            .contains("geheim")
        );
    }

    #[test]
    fn a_pace() {
        let message = |time_ns| Message {
            time_ns,
            kind: lobster::Kind::Halt(lobster::Halt::Stop),
        };
        let first = message(1_000_000_000);
        let none = Pace::new(None, &first);
        assert_eq!(none.wait(&message(u64::MAX)), None);
        let tenfold = Pace::new(Some(10.0), &first);
        assert_eq!(tenfold.wait(&message(0)), None);
        let wait = tenfold
            .wait(&message(1_000_001_000_000_000))
            .expect("is due in 100,000 s");
        assert!(
            wait <= Duration::from_secs(100_000) && wait > Duration::from_secs(99_000),
            "{wait:?}"
        );
    }
}
