//! The system's OpenSSH, driven: one shared connection a machine, host keys pinned before the first byte, a bounded
//! number of connections made at a time, retries only until a connection stands.
//!
//! Nothing of the user's own configuration applies (`-F none`), no agent is asked, nothing is ever prompted for.

pub mod known_hosts;
mod process;
pub mod quote;
mod starts;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::keys::PublicKey;
use crate::log::Log;
use process::{End, Finished, Input};
use quote::{QuoteError, Text};
use starts::Starts;

/// A machine, as ssh has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name in the inventory: what its host key is known under, whatever its address.
    pub name: String,
    /// Address or host name.
    pub address: String,
    /// Usually 22.
    pub port: u16,
    /// The account that the set-up logs in with: `root`, or one that may run everything by sudo without a password.
    pub login: String,
    /// The keys that it may show; nothing else is spoken to. Two while a key is being replaced.
    pub host_keys: Vec<PublicKey>,
}

/// What all connections have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The manager's private key file.
    pub identity: PathBuf,
    /// How long a machine may take until it can be logged in to: a new one boots meanwhile.
    pub patience: Duration,
    /// How long one try to connect may take.
    pub connect_timeout: Duration,
    /// How many connections are made at once.
    pub starts_at_once: usize,
    /// Set to make everything end soon: Ctrl-C.
    pub stop: Arc<AtomicBool>,
}

impl Settings {
    /// With what is right for new machines on EC2.
    pub fn new(identity: PathBuf) -> Self {
        Self {
            identity,
            patience: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(15),
            starts_at_once: 4,
            stop: Arc::default(),
        }
    }
}

/// What can go wrong between here and there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It showed another host key than the pinned one.
    #[error(
        "{name} at {address} shows another host key than the one pinned for it: either another machine answers at \
         this address, or its key was replaced behind our back. Nothing was sent to it. Compare its key on its console \
         with the pinned one before you trust it"
    )]
    HostKey {
        /// The machine.
        name: String,
        /// Where it was looked for.
        address: String,
    },
    /// No host key is known for it.
    #[error("no host key is pinned for {name}: it is not spoken to")]
    NoHostKey {
        /// The machine.
        name: String,
    },
    /// It does not let us in.
    #[error("{name} does not let {login} in with {identity}: {said}")]
    Denied {
        /// The machine.
        name: String,
        /// The account.
        login: String,
        /// The key file.
        identity: String,
        /// ssh's words.
        said: String,
    },
    /// It could not be reached in time.
    #[error("{name} at {address} cannot be reached ({tries} tries in {seconds} s): {said}")]
    Unreachable {
        /// The machine.
        name: String,
        /// Where it was looked for.
        address: String,
        /// How often.
        tries: u32,
        /// For how long.
        seconds: u64,
        /// ssh's words on the last try.
        said: String,
    },
    /// The connection broke while a command ran: what became of the command is not known.
    #[error("the connection to {name} broke during: {what}: {said}")]
    Broke {
        /// The machine.
        name: String,
        /// What was being done.
        what: String,
        /// ssh's words.
        said: String,
    },
    /// A command failed.
    #[error("{name}: {what}: {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Failed {
        /// The machine.
        name: String,
        /// What was being done.
        what: String,
        /// How it ended.
        status: String,
        /// Its exit code; None where a signal ended it.
        code: Option<i32>,
        /// The end of what it said.
        said: String,
    },
    /// A command took too long.
    #[error("{name}: {what}: not done after {seconds} s")]
    TimedOut {
        /// The machine.
        name: String,
        /// What was being done.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// An answer that has to be read in whole exceeds what we read.
    #[error("{name}: {what}: answers more than {} bytes", process::MAX_STDOUT)]
    TooMuch {
        /// The machine.
        name: String,
        /// What was being done.
        what: String,
    },
    /// We were told to stop.
    #[error("{name}: interrupted during: {what}")]
    Interrupted {
        /// The machine.
        name: String,
        /// What was being done.
        what: String,
    },
    /// Cannot be said to a remote shell.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// On this machine.
    #[error("{doing}: {source}")]
    Local {
        /// What was tried.
        doing: String,
        /// Why not.
        source: io::Error,
    },
}

/// All connections of a run. Ends them when dropped.
#[derive(Debug)]
pub struct Ssh {
    settings: Settings,
    starts: Starts,
    /// For control sockets and known hosts. A socket's path has room for some 90 bytes: it is short, and not where the
    /// repository is.
    directory: tempfile::TempDir,
    connections: AtomicU64,
}

/// What a command said and how it ended; a status other than 0 is an [`Error::Failed`] already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its standard output, to a bound.
    pub stdout: Vec<u8>,
}

/// What a remote command reads.
#[derive(Clone, Copy, Debug)]
pub enum Stdin<'a> {
    /// Nothing.
    Nothing,
    /// These bytes; in a secret's case nothing else ever has them.
    Bytes(&'a [u8]),
    /// A local file's.
    File(&'a Path),
}

impl Ssh {
    /// # Errors
    /// No place for the control sockets, no identity, or no ssh on this machine.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let local = |doing: String| move |source| Error::Local { doing, source };
        let identity = settings.identity.display().to_string();
        fs::metadata(&settings.identity).map_err(local(format!("the identity {identity}")))?;
        duct::cmd!("ssh", "-V")
            .stdin_null()
            .stdout_null()
            .stderr_null()
            .run()
            .map_err(local(
                "ssh -V (package openssh-client on apt, openssh-clients on dnf)".to_owned(),
            ))?;
        let directory = tempfile::Builder::new()
            .prefix("ox-")
            .tempdir_in("/tmp")
            .map_err(local("a directory for control sockets in /tmp".to_owned()))?;
        Ok(Self {
            starts: Starts::new(settings.starts_at_once),
            settings,
            directory,
            connections: AtomicU64::new(0),
        })
    }

    /// Connects: tries until it stands, or patience ends. Another host key, or none, ends it at once.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn connect<'a>(&'a self, host: &Host, log: &Log) -> Result<Connection<'a>, Error> {
        if host.host_keys.is_empty() {
            return Err(Error::NoHostKey {
                name: host.name.clone(),
            });
        }
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let known_hosts = self.directory.path().join(format!("k{number}"));
        known_hosts::write(&known_hosts, std::slice::from_ref(host)).map_err(|source| Error::Local {
            doing: format!("known hosts for {}", host.name),
            source,
        })?;
        let connection = Connection {
            ssh: self,
            host: host.clone(),
            log: log.clone(),
            socket: self.directory.path().join(format!("s{number}")),
            known_hosts,
        };
        connection.start()?;
        Ok(connection)
    }

    /// The arguments of an ssh that a person uses (`provision ssh NAME`), with a known_hosts file that outlives us.
    pub fn interactive(settings: &Settings, host: &Host, known_hosts: &Path) -> Vec<OsString> {
        options(settings, host, known_hosts, &[])
            .into_iter()
            .chain([host.address.clone()])
            .map(OsString::from)
            .collect()
    }
}

/// The options of every ssh that we start, but for those of the shared connection.
fn options(settings: &Settings, host: &Host, known_hosts: &Path, more: &[String]) -> Vec<String> {
    // One algorithm a pinned key: else a machine that has others too would show one that is not pinned.
    let mut algorithms: Vec<&str> = host
        .host_keys
        .iter()
        .flat_map(PublicKey::signature_algorithms)
        .copied()
        .collect();
    algorithms.dedup();
    let mut argv: Vec<String> = ["-F", "none", "-a", "-x", "-p"].map(str::to_owned).to_vec();
    argv.push(host.port.to_string());
    argv.extend(["-l".to_owned(), host.login.clone()]);
    argv.extend(["-i".to_owned(), settings.identity.display().to_string()]);
    let options = [
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "CheckHostIP=no".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        format!("HostKeyAlias={}", host.name),
        format!("HostKeyAlgorithms={}", algorithms.join(",")),
        format!("UserKnownHostsFile=\"{}\"", known_hosts.display()),
        "GlobalKnownHostsFile=none".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        format!("ConnectTimeout={}", settings.connect_timeout.as_secs().max(1)),
        "ServerAliveInterval=15".to_owned(),
        "ServerAliveCountMax=4".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ];
    for option in options.iter().chain(more) {
        argv.extend(["-o".to_owned(), option.clone()]);
    }
    argv
}

/// One machine's shared connection.
#[derive(Debug)]
pub struct Connection<'a> {
    ssh: &'a Ssh,
    host: Host,
    log: Log,
    socket: PathBuf,
    known_hosts: PathBuf,
}

/// What ssh's words mean for a try to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    HostKey,
    Denied,
    Transient,
}

fn refusal(said: &str) -> Refusal {
    let says = |words: &str| said.contains(words);
    if says("Host key verification failed")
        || says("HOST IDENTIFICATION HAS CHANGED")
        || says("no matching host key type")
    {
        Refusal::HostKey
    } else if says("Permission denied") || says("Too many authentication failures") {
        Refusal::Denied
    } else {
        Refusal::Transient
    }
}

/// A machine that answers but does not know us yet may still be in its first boot; it gets this much of our patience.
const DENIED_PATIENCE: u32 = 4;

impl Connection<'_> {
    /// Whose it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where what it says is kept.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Makes the shared connection: an ssh that goes into the background as soon as it is logged in, and ends by
    /// itself when nothing used it for a while (should we be killed).
    fn start(&self) -> Result<(), Error> {
        let settings = &self.ssh.settings;
        let more = [
            "ControlMaster=yes".to_owned(),
            format!("ControlPath=\"{}\"", self.socket.display()),
            "ControlPersist=600".to_owned(),
        ];
        let mut argv = vec!["ssh".to_owned(), "-f".to_owned(), "-N".to_owned()];
        argv.extend(options(settings, &self.host, &self.known_hosts, &more));
        argv.push(self.host.address.clone());
        let what = || "connecting".to_owned();
        let name = || self.host.name.clone();
        let began = Instant::now();
        for tries in 1u32.. {
            let end = {
                let _start = self.ssh.starts.enter();
                self.log
                    .line(&format!("# connecting to {} (try {tries})", self.host.address));
                // Key exchange and login have no limit of their own in ssh.
                self.local(&argv, Input::Nothing, settings.connect_timeout * 3)?
            };
            let said = match end {
                End::Finished(Finished { status: Some(0), .. }) => return Ok(()),
                End::Finished(finished) => last_words(&finished.stderr),
                End::TimedOut => "no login in time".to_owned(),
                End::Interrupted => {
                    return Err(Error::Interrupted {
                        name: name(),
                        what: what(),
                    });
                }
            };
            let patience = match refusal(&said) {
                Refusal::HostKey => {
                    return Err(Error::HostKey {
                        name: name(),
                        address: self.host.address.clone(),
                    });
                }
                Refusal::Denied => settings.patience / DENIED_PATIENCE,
                Refusal::Transient => settings.patience,
            };
            let pause = starts::pause(tries, fastrand::f64());
            if began.elapsed() + pause > patience {
                return Err(match refusal(&said) {
                    Refusal::Denied => Error::Denied {
                        name: name(),
                        login: self.host.login.clone(),
                        identity: settings.identity.display().to_string(),
                        said,
                    },
                    _ => Error::Unreachable {
                        name: name(),
                        address: self.host.address.clone(),
                        tries,
                        seconds: began.elapsed().as_secs(),
                        said,
                    },
                });
            }
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if settings.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted {
                        name: name(),
                        what: what(),
                    });
                }
                std::thread::sleep(Duration::from_millis(50).min(until.saturating_duration_since(Instant::now())));
            }
        }
        // 2^32 tries take longer than any patience.
        Err(Error::Interrupted {
            name: name(),
            what: what(),
        })
    }

    /// Runs a command there, and waits for its end. `what` says what it is for, in errors and in the log.
    ///
    /// # Errors
    /// It fails or takes longer than `limit`; the connection breaks; we are told to stop.
    pub fn run(&self, what: &str, text: &Text, stdin: Stdin<'_>, limit: Duration) -> Result<Output, Error> {
        let finished = self.finish(what, text, stdin, limit)?;
        match finished.status {
            Some(0) => Ok(Output {
                stdout: finished.stdout,
            }),
            status => Err(Error::Failed {
                name: self.host.name.clone(),
                what: what.to_owned(),
                status: status.map_or("ended by a signal".to_owned(), |status| format!("exit status {status}")),
                code: status,
                said: last_words(&finished.stderr),
            }),
        }
    }

    /// As [`Self::run`], where the whole of the answer matters.
    ///
    /// # Errors
    /// As there, and an answer longer than we read.
    pub fn read(&self, what: &str, text: &Text, limit: Duration) -> Result<Vec<u8>, Error> {
        let finished = self.finish(what, text, Stdin::Nothing, limit)?;
        match finished.status {
            Some(0) if finished.truncated => Err(Error::TooMuch {
                name: self.host.name.clone(),
                what: what.to_owned(),
            }),
            Some(0) => Ok(finished.stdout),
            status => Err(Error::Failed {
                name: self.host.name.clone(),
                what: what.to_owned(),
                status: status.map_or("ended by a signal".to_owned(), |status| format!("exit status {status}")),
                code: status,
                said: last_words(&finished.stderr),
            }),
        }
    }

    fn finish(&self, what: &str, text: &Text, stdin: Stdin<'_>, limit: Duration) -> Result<Finished, Error> {
        let more = [
            "ControlMaster=no".to_owned(),
            format!("ControlPath=\"{}\"", self.socket.display()),
        ];
        let mut argv = vec!["ssh".to_owned(), "-T".to_owned()];
        argv.extend(options(&self.ssh.settings, &self.host, &self.known_hosts, &more));
        argv.extend([self.host.address.clone(), "--".to_owned(), text.as_str().to_owned()]);
        self.log.line(&format!("# {what}\n$ {text}"));
        let input = match stdin {
            Stdin::Nothing => Input::Nothing,
            Stdin::Bytes(bytes) => Input::Bytes(bytes.to_vec()),
            Stdin::File(path) => Input::File(path),
        };
        let began = Instant::now();
        let end = self.local(&argv, input, limit)?;
        let (name, what) = (self.host.name.clone(), what.to_owned());
        self.log.line(&match &end {
            End::Finished(finished) => format!("# status {:?} after {:.1?}", finished.status, began.elapsed()),
            End::TimedOut => format!("# not done after {limit:?}"),
            End::Interrupted => "# interrupted".to_owned(),
        });
        match end {
            // ssh's own, unless the command ends so: its words tell.
            End::Finished(finished) if finished.status == Some(255) => {
                let said = last_words(&finished.stderr);
                Err(match refusal(&said) {
                    Refusal::HostKey => Error::HostKey {
                        name,
                        address: self.host.address.clone(),
                    },
                    _ => Error::Broke { name, what, said },
                })
            }
            End::Finished(finished) => Ok(finished),
            End::TimedOut => Err(Error::TimedOut {
                name,
                what,
                seconds: limit.as_secs(),
            }),
            End::Interrupted => Err(Error::Interrupted { name, what }),
        }
    }

    fn local(&self, argv: &[String], input: Input<'_>, limit: Duration) -> Result<End, Error> {
        process::run(argv, input, limit, &self.ssh.settings.stop, &self.log).map_err(|source| Error::Local {
            doing: format!("ssh to {}", self.host.name),
            source,
        })
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // A shared connection that is gone already is what we want.
        let _ = duct::cmd(
            "ssh",
            [
                "-F".as_ref(),
                "none".as_ref(),
                "-S".as_ref(),
                self.socket.as_os_str(),
                "-O".as_ref(),
                "exit".as_ref(),
                "none".as_ref(),
            ],
        )
        .stdin_null()
        .stdout_null()
        .stderr_null()
        .unchecked()
        .run();
    }
}

/// What a person needs of an error's text: its last lines.
fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(6)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_decides_whether_to_try_again() {
        for (said, expected) in [
            (
                "ssh: connect to host 10.0.0.1 port 22: Connection refused",
                Refusal::Transient,
            ),
            (
                "ssh: connect to host 10.0.0.1 port 22: No route to host",
                Refusal::Transient,
            ),
            (
                "kex_exchange_identification: Connection closed by remote host",
                Refusal::Transient,
            ),
            ("Connection timed out during banner exchange", Refusal::Transient),
            (
                "\"System is booting up. Unprivileged users are not permitted to log in yet.\"",
                Refusal::Transient,
            ),
            ("alice@10.0.0.1: Permission denied (publickey).", Refusal::Denied),
            ("Host key verification failed.", Refusal::HostKey),
            (
                "Unable to negotiate with 10.0.0.1 port 22: no matching host key type found.",
                Refusal::HostKey,
            ),
        ] {
            assert_eq!(refusal(said), expected, "{said}");
        }
    }

    #[test]
    fn last_words_are_few() {
        assert_eq!(last_words("\n a \n\nb\n"), "a; b");
        assert_eq!(last_words("1\n2\n3\n4\n5\n6\n7\n8"), "3; 4; 5; 6; 7; 8");
        assert_eq!(last_words(""), "");
    }
}
