//! What is done to a machine: steps, each of which stands for itself.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::ssh::quote::{QuoteError, Text};

/// Everything else takes less.
pub(crate) const SHORT: Duration = Duration::from_secs(120);
/// Packages, clones.
pub(crate) const LONG: Duration = Duration::from_secs(30 * 60);
/// A toolchain, or our tools, from source.
pub(crate) const BUILD: Duration = Duration::from_secs(3 * 60 * 60);

/// The same everywhere, whatever a login or sudo makes of it.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whom a command runs as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Root,
    /// A user with a home: root writes nothing where a user could put a link in its way.
    User {
        name: String,
        home: String,
    },
}

/// A command of a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Command {
    pub(crate) who: Who,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

/// A file's text on this machine, or here at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text(String),
    Local { file: PathBuf, size: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Run(Command),
    /// The second one where the first one fails.
    Either(Command, Command),
    /// Puts a file in whole, beside its place first.
    Put {
        who: Who,
        path: String,
        content: Content,
        mode: u32,
    },
}

/// One change, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) what: String,
    pub(crate) action: Action,
    pub(crate) limit: Duration,
}

impl Who {
    pub(crate) fn user(name: &str, home: &str) -> Self {
        Self::User {
            name: name.to_owned(),
            home: home.to_owned(),
        }
    }
}

impl Command {
    pub(crate) fn new<W: AsRef<str>>(who: &Who, argv: &[W]) -> Self {
        Self {
            who: who.clone(),
            argv: argv.iter().map(|word| word.as_ref().to_owned()).collect(),
            env: Vec::new(),
        }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// For the shell of the account that we log in with. `timeout` ends it there, too, when it takes too long: that
    /// ssh ends here says nothing to it.
    pub(crate) fn text(&self, login: &str, limit: Duration) -> Result<Text, QuoteError> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
        match &self.who {
            Who::Root if login == "root" => {}
            Who::Root => add(&["sudo", "-n", "--"]),
            Who::User { name, .. } if login == "root" => add(&["runuser", "-u", name, "--"]),
            Who::User { name, .. } => add(&["sudo", "-n", "-u", name, "--"]),
        }
        add(&["timeout", "-k", "10", &limit.as_secs().to_string(), "env"]);
        match &self.who {
            Who::Root => add(&[&format!("PATH={PATH}"), "HOME=/root"]),
            Who::User { name, home } => add(&[
                "-C",
                home,
                &format!("PATH={PATH}:{home}/.cargo/bin"),
                &format!("HOME={home}"),
                &format!("USER={name}"),
                &format!("LOGNAME={name}"),
            ]),
        }
        add(&["LC_ALL=C"]);
        for (name, value) in &self.env {
            add(&[&format!("{name}={value}")]);
        }
        words.extend(self.argv.iter().cloned());
        Text::words(&words)
    }
}

impl Step {
    pub(crate) fn run<W: AsRef<str>>(what: &str, who: &Who, argv: &[W]) -> Self {
        Self::command(what, Command::new(who, argv))
    }

    pub(crate) fn command(what: &str, command: Command) -> Self {
        Self {
            what: what.to_owned(),
            action: Action::Run(command),
            limit: SHORT,
        }
    }

    pub(crate) fn put(what: &str, who: &Who, path: &str, content: Content, mode: u32) -> Self {
        Self {
            what: what.to_owned(),
            action: Action::Put {
                who: who.clone(),
                path: path.to_owned(),
                content,
                mode,
            },
            limit: LONG,
        }
    }

    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

impl Action {
    /// For the remote shell.
    pub(crate) fn text(&self, login: &str, limit: Duration) -> Result<Text, QuoteError> {
        match self {
            Self::Run(command) => command.text(login, limit),
            Self::Either(first, second) => first.text(login, limit)?.or(&second.text(login, limit)?),
            Self::Put {
                who,
                path,
                content,
                mode,
            } => {
                let say = |argv: &[&str]| Command::new(who, argv).text(login, limit);
                let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
                let beside = format!("{directory}/.{name}.optivex-new");
                // Made anew with its mode before it has a byte: a secret is nobody else's for a moment, either.
                say(&["install", "-m", &format!("{mode:o}"), "/dev/null", &beside])?
                    .and(&say(&[
                        "dd",
                        &format!("of={beside}"),
                        "bs=1M",
                        "conv=fsync",
                        "status=none",
                    ])?)?
                    // A connection that breaks looks like the end of the file: half of it stays beside.
                    .and(&say(&["stat", "-c", "%s", &beside])?.prints(&content.size().to_string())?)?
                    .and(&say(&["mv", "-f", "-T", &beside, path])?)
            }
        }
    }
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Local { size, .. } => *size,
        }
    }
}

/// As tests and logs show it: what matters, without how it is wrapped.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Root => f.write_str("root$")?,
            Who::User { name, .. } => write!(f, "{name}$")?,
        }
        for (name, value) in &self.env {
            write!(f, " {name}={value}")?;
        }
        match Text::words(&self.argv) {
            Ok(text) => write!(f, " {text}"),
            Err(error) => write!(f, " ({error})"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Run(command) => write!(f, "{command}"),
            Action::Either(first, second) => write!(f, "{first} || {second}"),
            Action::Put {
                who,
                path,
                content,
                mode,
            } => {
                let who = match who {
                    Who::Root => "root",
                    Who::User { name, .. } => name,
                };
                write!(f, "{who}$ put {path} {mode:o}")?;
                match content {
                    Content::Text(text) => text.lines().try_for_each(|line| write!(f, "\n    | {line}")),
                    Content::Local { file, .. } => write!(f, " < {}", file.display()),
                }
            }
        }
    }
}
