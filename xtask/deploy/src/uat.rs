//! What is said to UAT, over as many connections as it takes.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use optivex_bundle::delivery::{self, Stored};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::limits::{LIMITS, bytes_for_people};
use optivex_bundle::progress::Event;
use optivex_bundle::spool::{Receipt, State};
use optivex_bundle::wire::{Answer, Ask};
use optivex_exit::{Exit, Failure};

use crate::connection::{Connection, Target, Trouble};
use crate::patience::Patience;

/// A connection that lasted so long was a good one.
const LASTING: Duration = Duration::from_secs(5);

/// UAT, and how long we try to reach it.
pub struct Client {
    /// Where it is.
    pub target: Target,
    /// How long a connection is tried again, if not the usual.
    pub patience: Option<Duration>,
}

/// A bundle that is to be handed over.
pub struct Bundle<'a> {
    /// Its bytes.
    pub file: &'a mut File,
    /// Their number.
    pub size: u64,
    /// Their hash.
    pub sha256: Digest,
    /// See [`Ask::Submit`].
    pub contract: Digest,
}

/// A receipt with what came with it.
#[derive(Debug)]
pub struct Promise {
    /// What was promised.
    pub receipt: Receipt,
    /// What became of it so far.
    pub state: State,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// Whether it was there before.
    pub known: bool,
}

fn odd(answer: &Answer) -> Trouble {
    Trouble::Lasting(
        Failure::new(
            Exit::Infrastructure,
            format!("UAT answers what makes no sense here: {answer:?}"),
        )
        .into(),
    )
}

impl Client {
    /// One conversation, begun again for as long as that may help.
    fn talk<T>(&self, mut once: impl FnMut(&mut Patience) -> Result<T, Trouble>) -> Result<T> {
        let mut patience = Patience::new(self.patience);
        loop {
            match once(&mut patience) {
                Ok(done) => return Ok(done),
                Err(trouble) => patience.after(trouble)?,
            }
        }
    }

    /// Hands a bundle over; it is submitted when this returns, and not before.
    pub fn submit(&self, bundle: &mut Bundle<'_>) -> Result<Promise> {
        let mut furthest = None;
        self.talk(|patience| {
            let mut connection = self.target.ask(Ask::Submit {
                sha256: bundle.sha256,
                size: bundle.size,
                contract: bundle.contract,
            })?;
            let mut known = true;
            let mut answer = connection.answer()?;
            if let Answer::Go { offset } = answer {
                known = false;
                // Only what comes further is reason for more patience.
                if furthest < Some(offset) {
                    patience.heard();
                    furthest = Some(offset);
                }
                if offset > 0 {
                    eprintln!("going on after {} that are there already", bytes_for_people(offset));
                }
                send(bundle, offset, &mut connection)?;
                answer = connection.answer()?;
            }
            match answer {
                Answer::Receipt { receipt, state, notes } if receipt.sha256 == bundle.sha256 => Ok(Promise {
                    receipt,
                    state,
                    notes,
                    known,
                }),
                other => Err(odd(&other)),
            }
        })
    }

    /// What became of the newest deployments, or of one.
    pub fn status(&self, id: Option<SubmissionId>) -> Result<Overview> {
        self.talk(|patience| {
            let mut connection = self.target.ask(Ask::Status { id, follow: None })?;
            let (mut notes, mut jobs) = (Vec::new(), Vec::new());
            loop {
                match connection.answer()? {
                    Answer::Uat { notes: more } => notes = more,
                    Answer::Job { receipt, state } => jobs.push((receipt, state)),
                    Answer::Done => return Ok(Overview { notes, jobs }),
                    other => return Err(odd(&other)),
                }
                patience.heard();
            }
        })
    }

    /// Follows a deployment until it is over.
    pub fn follow(&self, id: SubmissionId, tell: &mut dyn FnMut(News)) -> Result<State> {
        let mut offset = 0;
        let mut last = None;
        self.talk(|patience| {
            let ask = Ask::Status {
                id: Some(id),
                follow: Some(offset),
            };
            let begun = Instant::now();
            let mut connection = self.target.ask(ask)?;
            loop {
                let answer = connection.answer()?;
                // Only what comes further, or lasts, is reason for more patience.
                if matches!(answer, Answer::Progress { .. }) || begun.elapsed() > LASTING {
                    patience.heard();
                }
                match answer {
                    Answer::Uat { .. } | Answer::Alive => {}
                    Answer::Job { state, .. } => {
                        if last.as_ref() != Some(&state) {
                            tell(News::State(&state));
                            last = Some(state);
                        }
                    }
                    Answer::Progress { next, event } => {
                        if next < offset {
                            tell(News::Again);
                        }
                        offset = next;
                        // What only newer versions know is no news.
                        if let Ok(event) = serde_json::from_value::<Event>(event) {
                            tell(News::Event(event));
                        }
                    }
                    Answer::Done => match last.take() {
                        Some(state @ State::Done { .. }) => return Ok(state),
                        _ => return Err(odd(&Answer::Done)),
                    },
                    Answer::Again => return Err(Trouble::Passing("UAT ended the connection".to_owned())),
                    other => return Err(odd(&other)),
                }
            }
        })
    }

    /// Fetches a result.
    pub fn results(&self, id: Option<SubmissionId>, home: &Path) -> Result<Stored> {
        self.talk(|_| {
            let mut connection = self.target.ask(Ask::Results { id })?;
            delivery::receive(connection.output(), home, &LIMITS).map_err(|error| connection.trouble(error))
        })
    }

    /// Fetches the log that a submission wrote.
    pub fn logs(&self, id: Option<SubmissionId>, tell: &mut dyn FnMut(&str)) -> Result<()> {
        let mut from = 0;
        self.talk(|patience| {
            let mut connection = self.target.ask(Ask::Logs { id, from })?;
            loop {
                match connection.answer()? {
                    Answer::Log { next, text } => {
                        tell(&text);
                        from = next;
                    }
                    Answer::Done => return Ok(()),
                    other => return Err(odd(&other)),
                }
                patience.heard();
            }
        })
    }

    /// Asks that a deployment end.
    pub fn cancel(&self, id: SubmissionId) -> Result<State> {
        self.talk(|_| {
            let mut connection = self.target.ask(Ask::Cancel { id })?;
            match connection.answer()? {
                Answer::Job { state, .. } => Ok(state),
                other => Err(odd(&other)),
            }
        })
    }
}

/// How UAT is, and what became of deployments.
pub struct Overview {
    /// What there is to know of UAT, a line each.
    pub notes: Vec<String>,
    /// The deployments, newest first.
    pub jobs: Vec<(Receipt, State)>,
}

/// What a follower hears.
pub enum News<'a> {
    /// Where it is now.
    State(&'a State),
    /// Something happened.
    Event(Event),
    /// It begins anew.
    Again,
}

fn send(bundle: &mut Bundle<'_>, offset: u64, connection: &mut Connection) -> Result<(), Trouble> {
    let ours = |error: io::Error| Trouble::Lasting(anyhow::Error::new(error).context("the bundle cannot be read"));
    bundle.file.seek(SeekFrom::Start(offset)).map_err(ours)?;
    let terminal = io::stderr().is_terminal();
    let mut sent = offset;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = bundle.file.read(&mut buffer).map_err(ours)?;
        if count == 0 {
            break;
        }
        // What is wrong, the answer tells.
        if connection.input().write_all(&buffer[..count]).is_err() {
            break;
        }
        sent += count as u64;
        if terminal {
            eprint!(
                "\r\x1b[2Ksent {} of {}",
                bytes_for_people(sent),
                bytes_for_people(bundle.size)
            );
        }
    }
    if terminal {
        eprint!("\r\x1b[2K");
    }
    Ok(())
}
