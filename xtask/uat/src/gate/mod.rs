//! The forced command behind each participant's key: the only way in.
//!
//! Who it is comes from the key (`--participant` in `authorized_keys`); what the client says is one line out of a closed
//! set ([`optivex_bundle::wire`]), and for a submission its bytes. There is no path in it, no command, and nobody else's
//! anything.

mod answer;
mod input;
mod jobs;
mod log;
mod transfer;

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use optivex_bundle::limits::Limits;
use optivex_bundle::manifest::printable;
use optivex_bundle::names::Name;
use optivex_bundle::spool::Spool;
use optivex_bundle::wire::{Answer, Ask, Reason, Request, VERSION};
use optivex_bundle::{delivery, durable};

pub use self::input::{Watchdog, Watched};
pub use self::log::GateLog;

/// What a transfer has just done. For tests: to look, to fail, or to go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The file for the bytes is there, with those that came earlier.
    PartMade,
    /// More bytes are in it.
    BytesWritten,
    /// All bytes are in it, of the right hash, and on disk.
    PartSynced,
    /// The folder to be is there, under a name that nobody looks at.
    FolderMade,
    /// The bundle is in it.
    BundleMoved,
    /// The receipt is in it; both are on disk.
    ReceiptSynced,
    /// The folder has its name.
    Published,
    /// The name is on disk.
    PublishSynced,
}

/// What the gate works with.
pub struct Gate<'a> {
    /// Where everything is.
    pub spool: &'a Spool,
    /// Who asks.
    pub participant: &'a Name,
    /// What may be asked for.
    pub limits: &'a Limits,
    /// Called after each step of a transfer.
    pub step: &'a mut dyn FnMut(Step) -> io::Result<()>,
    /// What time it is.
    pub now: &'a dyn Fn() -> SystemTime,
    /// Bytes that are free on the file system of a folder.
    pub free: &'a dyn Fn(&Path) -> io::Result<u64>,
    /// Waits before it looks again whether anything happened.
    pub pause: &'a mut dyn FnMut(Duration),
    /// When the connection has lasted long enough.
    pub deadline: Instant,
}

/// What a conversation came to, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was asked.
    pub asked: String,
    /// What was answered: `done`, or why not.
    pub answered: String,
}

/// Why a request is not done.
pub(crate) enum Stop {
    /// It gets no for an answer.
    No(Reason, String),
    /// Trouble of ours: the client hears that there is some, the log what it is.
    Ours(io::Error),
    /// It can be asked again, from where it is.
    Again,
    /// The client does not listen any more.
    Gone(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Ours(error)
    }
}

pub(crate) fn no(reason: Reason, message: impl Into<String>) -> Stop {
    Stop::No(reason, message.into())
}

/// Where answers go.
pub(crate) struct Answers<'a> {
    out: &'a mut dyn Write,
}

impl Answers<'_> {
    pub(crate) fn tell(&mut self, answer: &Answer) -> Result<(), Stop> {
        delivery::tell(self.out, answer).map_err(Stop::Gone)
    }
}

impl Gate<'_> {
    /// One conversation.
    pub fn serve(&mut self, input: &mut dyn Read, output: &mut dyn Write) -> Outcome {
        let mut answers = Answers { out: output };
        let mut asked = "nothing".to_owned();
        let result = self.converse(input, &mut answers, &mut asked);
        let (last, answered) = match result {
            Ok(()) => (Answer::Done, "done".to_owned()),
            Err(Stop::Again) => (Answer::Again, "again".to_owned()),
            Err(Stop::No(reason, message)) => {
                let answered = format!("{reason:?}: {message}");
                (Answer::Refused { reason, message }, answered)
            }
            Err(Stop::Ours(error)) => (of_ours(&error), format!("our trouble: {error}")),
            Err(Stop::Gone(error)) => {
                return Outcome {
                    asked,
                    answered: format!("gone: {error}"),
                };
            }
        };
        let answered = match answers.tell(&last) {
            Ok(()) => answered,
            Err(_) => format!("{answered} (not heard)"),
        };
        Outcome { asked, answered }
    }

    fn converse(&mut self, input: &mut dyn Read, answers: &mut Answers<'_>, asked: &mut String) -> Result<(), Stop> {
        let line = input::line(input, self.limits.request_bytes)?;
        let request = parse(&line)?;
        *asked = format!("{:?}", request.ask);
        let folder = self.spool.incoming(self.participant);
        durable::create_folders(&folder)?;
        let _slot = self.slot(&folder, "connection", self.limits.connections)?;
        match request.ask {
            Ask::Submit { sha256, size, contract } => self.submit(sha256, size, &contract, input, answers),
            Ask::Status { id, follow } => self.status(id, follow, answers),
            Ask::Logs { id, from } => self.logs(id, from, answers),
            Ask::Results { id } => self.results(id, answers),
            Ask::Cancel { id } => self.cancel(id, answers),
        }
    }
}

/// The version is looked at first, so that an old client hears that it is old and not that it makes no sense.
fn parse(line: &[u8]) -> Result<Request, Stop> {
    #[derive(serde::Deserialize)]
    struct Version {
        v: u32,
    }
    let malformed = |error: serde_json::Error| {
        no(
            Reason::Malformed,
            format!("not a request: {}", printable(&error.to_string())),
        )
    };
    let Version { v } = serde_json::from_slice(line).map_err(malformed)?;
    if v != VERSION {
        return Err(no(
            Reason::Version,
            format!(
                "this machine speaks version {VERSION} of the protocol, and you version {v}: take xtask/deploy and \
                 xtask/bundle from the current template"
            ),
        ));
    }
    serde_json::from_slice(line).map_err(malformed)
}

/// What the client hears of our trouble: what it may do about it, and no path.
fn of_ours(error: &io::Error) -> Answer {
    let (reason, message) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            Reason::DiskFull,
            "UAT's disk is full: nothing is submitted; tell the program managers".to_owned(),
        ),
        kind => (
            Reason::Ours,
            format!("UAT has trouble of its own ({kind}): tell the program managers; its gate's log says more"),
        ),
    };
    Answer::Refused { reason, message }
}
