//! From a data directory to an exchange that can go on.
//!
//! The journal is the truth. The newest snapshot saves replaying all of it; history saves writing all
//! of it again. Either may be older than the other, damaged or gone: what is missing is replayed.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::{fs, io};

use optivex_engine::{Engine, Event, Limits};

use crate::history::{self, History, HistoryError, HistoryOptions, HistoryWriter};
use crate::log::Proof;
use crate::record::Genesis;
use crate::replay::{self, Replay, ReplayError};
use crate::storage::Disk;
use crate::{Embedded, EventSink, Events, JournalError, Opened, Options, Reader, SnapshotStore, Tail};

/// Directory of history in a data directory.
pub const HISTORY_DIRECTORY: &str = "history";
/// Replayed events that go to history at once.
const PUBLISHED_AT_ONCE: usize = 1_024;
/// Trades, reports or levels up to which an event's memory serves again.
const ITEMS_KEPT_MAX: usize = 16;

/// Where and how to recover.
#[derive(Clone, Debug)]
pub struct RecoverOptions {
    /// The data directory; made if it is not there.
    pub data_directory: PathBuf,
    /// Bounds of the state for a new journal. An existing one keeps those that it was begun with.
    pub limits: Limits,
    /// Settings of the journal.
    pub journal: Options,
    /// Settings of history.
    pub history: HistoryOptions,
}

impl RecoverOptions {
    /// The defaults for a directory.
    pub fn new(data_directory: impl Into<PathBuf>) -> Self {
        Self {
            data_directory: data_directory.into(),
            limits: Limits::default(),
            journal: Options::default(),
            history: HistoryOptions::default(),
        }
    }
}

/// An exchange that can go on, and what it writes to.
pub struct Recovered {
    /// The state after the journal's last event.
    pub engine: Engine,
    /// The journal; it holds the directory's lock.
    pub journal: Embedded,
    /// The journal's snapshots.
    pub snapshots: SnapshotStore,
    /// History's writing end: it has taken in every event of the journal.
    pub history_writer: HistoryWriter,
    /// History's reading end.
    pub history: History,
    /// What was found and done.
    pub report: RecoveryReport,
}

/// What recovery found and did.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveryReport {
    /// Whether there was no journal before.
    pub created: bool,
    /// Bounds of the state: those of the journal's genesis.
    pub limits: Limits,
    /// Event of the snapshot that recovery started from; none if it started from nothing.
    pub snapshot: Option<u64>,
    /// Records that were replayed.
    pub replayed: u64,
    /// Events of them that history lacked.
    pub fed_to_history: u64,
    /// Why history was begun anew, if it was.
    pub history_rebuilt: Option<String>,
    /// The journal's last event; 0 if there is none.
    pub last_event_seq: u64,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Tail>,
    /// How long it took.
    pub duration: Duration,
}

/// Why an exchange cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// History cannot be opened, and what is on its disk does not look damaged.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A damaged history cannot be removed.
    #[error("cannot remove {}: {error}", path.display())]
    RemoveHistory {
        /// Its directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// History is not usable, and the journal was cut at its front: it cannot be rebuilt.
    #[error(
        "history is not usable ({why}) and cannot be rebuilt: the journal starts at event {first_event_seq}. \
         Restore {} from a backup",
        path.display()
    )]
    HistoryLost {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The oldest event that is kept.
        first_event_seq: u64,
    },
    /// History tells events that the journal does not have, which opening the journal did not find out, as
    /// history could not be read then. It is written behind the journal, so they
    /// were durable, and perhaps acknowledged: going on without them would lose them.
    #[error(
        "the journal ends at event {journal}, but history in {} goes to event {history}: acknowledged events are \
         missing from the journal. Restore the journal from a backup; only to go on without those events, remove \
         that directory",
        path.display()
    )]
    JournalBehindHistory {
        /// History's directory.
        path: PathBuf,
        /// The journal's last event.
        journal: u64,
        /// History's last event.
        history: u64,
    },
    /// The journal ended before the event that opening it found last.
    #[error("the journal ended at event {found} instead of {expected} while it was replayed")]
    Ended {
        /// The last event when it was opened.
        expected: u64,
        /// The last event that was replayed.
        found: u64,
    },
}

/// Opens a data directory, or begins one, and brings the state up to the journal's last event.
///
/// Takes the directory's lock, cuts a torn tail, starts from the newest usable snapshot that history
/// reaches (damaged ones are passed over), replays what follows, and feeds history what it lacks. A
/// history that was deleted or damaged is rebuilt from the whole journal. Long replays log how far they
/// are.
pub fn recover(options: &RecoverOptions) -> Result<Recovered, RecoverError> {
    thread::scope(|scope| recover_in(scope, options))
}

fn recover_in<'scope>(
    scope: &'scope Scope<'scope, '_>,
    options: &'scope RecoverOptions,
) -> Result<Recovered, RecoverError> {
    let started = Instant::now();
    let mut newest = None;
    let Opened {
        journal,
        snapshots,
        genesis,
        report: opened,
    } = Embedded::open_proven(
        Arc::new(Disk),
        &options.data_directory,
        &options.journal,
        || Genesis { limits: options.limits }.encode(),
        || {
            // The directory is locked from here on. While the journal is checked, the state is restored that will
            // most likely be wanted.
            let restoring = thread::Builder::new().name("restore".to_owned());
            newest = restoring.spawn_scoped(scope, || newest_snapshot(options)).ok();
            history_proof(options)
        },
    )?;
    let genesis = Genesis::decode(&genesis).map_err(ReplayError::Genesis)?;
    if genesis.limits != options.limits {
        tracing::warn!(
            journal = ?genesis.limits, settings = ?options.limits,
            "the limits of the settings do not count: the journal was begun with others"
        );
    }
    if let Some(tail) = &opened.cut {
        tracing::warn!(
            segment = %tail.position.segment.display(), offset = tail.position.offset, bytes = tail.bytes,
            last_event_seq = tail.last_event_seq, "the journal's torn tail was cut"
        );
    }
    let attempt = Attempt {
        reader: Reader::open(&options.data_directory)?,
        snapshots: &snapshots,
        genesis,
        history_directory: options.data_directory.join(HISTORY_DIRECTORY),
        options: &options.history,
        last_event_seq: opened.last_event_seq,
    };
    let mut history_rebuilt = None;
    let caught_up = *match attempt.run(newest)? {
        Outcome::CaughtUp(caught_up) => caught_up,
        Outcome::HistoryUnfit(why) => {
            attempt.remove_history(&why, opened.first_event_seq)?;
            history_rebuilt = Some(why);
            match attempt.run(None)? {
                Outcome::CaughtUp(caught_up) => caught_up,
                Outcome::HistoryUnfit(why) => {
                    return Err(RecoverError::HistoryLost {
                        path: attempt.history_directory,
                        why,
                        first_event_seq: opened.first_event_seq,
                    });
                }
            }
        }
    };
    let report = RecoveryReport {
        created: opened.created,
        limits: attempt.genesis.limits,
        snapshot: caught_up.snapshot,
        replayed: caught_up.replayed,
        fed_to_history: caught_up.fed_to_history,
        history_rebuilt,
        last_event_seq: opened.last_event_seq,
        cut: opened.cut,
        duration: started.elapsed(),
    };
    tracing::info!(
        last_event_seq = report.last_event_seq,
        snapshot = report.snapshot,
        replayed = report.replayed,
        fed_to_history = report.fed_to_history,
        seconds = report.duration.as_secs_f64(),
        "recovered"
    );
    Ok(Recovered {
        engine: caught_up.engine,
        journal,
        snapshots,
        history_writer: caught_up.history_writer,
        history: caught_up.history,
        report,
    })
}

/// History is written behind the journal: what is in it was durable, perhaps acknowledged. A history that
/// cannot be read shows nothing.
fn history_proof(options: &RecoverOptions) -> Option<Proof> {
    let directory = options.data_directory.join(HISTORY_DIRECTORY);
    if !directory.is_dir() {
        return None;
    }
    Some(Proof {
        through: history::watermark(&directory, &options.history).ok()?,
        by: "history (to be removed if it is of another exchange, or to accept the loss)",
    })
}

/// The state of the newest usable snapshot, whatever history has; `None` if there is none, or if it cannot be told
/// before the journal is open.
fn newest_snapshot(options: &RecoverOptions) -> Option<Engine> {
    let reader = Reader::open(&options.data_directory).ok()?;
    let genesis = Genesis::decode(reader.genesis()).ok()?;
    let snapshots = SnapshotStore::open_for_reading(&options.data_directory).ok()?;
    replay::newest_state(&snapshots, &genesis, u64::MAX).ok()?
}

struct Attempt<'a> {
    reader: Reader,
    snapshots: &'a SnapshotStore,
    genesis: Genesis,
    history_directory: PathBuf,
    options: &'a HistoryOptions,
    last_event_seq: u64,
}

enum Outcome {
    CaughtUp(Box<CaughtUp>),
    /// History must be begun anew.
    HistoryUnfit(String),
}

struct CaughtUp {
    engine: Engine,
    history_writer: HistoryWriter,
    history: History,
    snapshot: Option<u64>,
    replayed: u64,
    fed_to_history: u64,
}

impl Attempt<'_> {
    /// With the state of the newest snapshot, if somebody is restoring it.
    fn run(&self, newest: Option<ScopedJoinHandle<'_, Option<Engine>>>) -> Result<Outcome, RecoverError> {
        let (mut history_writer, history) = match history::open(&self.history_directory, self.options) {
            Ok(opened) => opened,
            Err(error) if error.is_damage() => return Ok(Outcome::HistoryUnfit(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let watermark = *history.watermark().borrow();
        if watermark > self.last_event_seq {
            // Asked as a proof before anything was cut; only a history that could not be read then gets here.
            return Err(RecoverError::JournalBehindHistory {
                path: self.history_directory.clone(),
                journal: self.last_event_seq,
                history: watermark,
            });
        }
        let newest = newest
            .and_then(|restoring| restoring.join().unwrap_or_else(|panic| resume_unwind(panic)))
            // Freed before another one is restored.
            .filter(|engine| engine.event_seq() <= watermark);
        let state = match newest {
            Some(engine) => Some(engine),
            None => replay::newest_state(self.snapshots, &self.genesis, watermark)?,
        };
        let (mut replay, snapshot) = match state {
            Some(engine) => {
                let event_seq = engine.event_seq();
                (Replay::from_state(&self.reader, engine)?, Some(event_seq))
            }
            None => match Replay::from_genesis(&self.reader) {
                // With the whole history gone and the journal's front too, a snapshot alone is not enough.
                Err(ReplayError::NoStart { first_event_seq }) if self.snapshots.newest_until(u64::MAX)?.is_some() => {
                    return Err(RecoverError::HistoryLost {
                        path: self.history_directory.clone(),
                        why: format!("it ends at event {watermark}"),
                        first_event_seq,
                    });
                }
                replay => (replay?, None),
            },
        };
        let mut event = Event::default();
        while replay.engine().event_seq() < watermark {
            if !replay.step(&mut event)? {
                return Err(self.ended(&replay));
            }
        }
        if !history.agrees_with(replay.engine()) {
            return Ok(Outcome::HistoryUnfit(format!(
                "at event {watermark} it does not hold what the journal says"
            )));
        }
        let fed_to_history = feed(&mut replay, &mut history_writer)?;
        if replay.engine().event_seq() != self.last_event_seq {
            return Err(self.ended(&replay));
        }
        Ok(Outcome::CaughtUp(Box::new(CaughtUp {
            history_writer,
            history,
            snapshot,
            replayed: replay.replayed(),
            fed_to_history,
            engine: replay.into_engine(),
        })))
    }

    fn ended(&self, replay: &Replay) -> RecoverError {
        RecoverError::Ended {
            expected: self.last_event_seq,
            found: replay.engine().event_seq(),
        }
    }

    /// History is a projection of the journal: where the journal is whole, nothing is lost with it.
    fn remove_history(&self, why: &str, first_event_seq: u64) -> Result<(), RecoverError> {
        let path = &self.history_directory;
        if first_event_seq != 1 {
            return Err(RecoverError::HistoryLost {
                path: path.clone(),
                why: why.to_owned(),
                first_event_seq,
            });
        }
        tracing::warn!(directory = %path.display(), why, "history is rebuilt from the whole journal");
        remove_directory(path).map_err(|error| RecoverError::RemoveHistory {
            path: path.clone(),
            error,
        })
    }
}

/// Replays to the journal's end, for history too; how many events that were.
fn feed(replay: &mut Replay, history: &mut HistoryWriter) -> Result<u64, ReplayError> {
    let before = replay.replayed();
    // Batches that history may still read, oldest first. Their memory serves again: events that are made by one
    // thread and freed by another are what allocators like least.
    let mut published: VecDeque<Events> = VecDeque::new();
    let mut events = vec![Event::default(); PUBLISHED_AT_ONCE];
    let mut filled = 0;
    while replay.step(&mut events[filled])? {
        filled += 1;
        if filled == events.len() {
            let full = Arc::new(events);
            history.publish(&full);
            published.push_back(full);
            let oldest = published.pop_front().expect("one was put there");
            events = match Arc::try_unwrap(oldest) {
                Ok(mut events) => {
                    events.iter_mut().for_each(forget_a_giant);
                    events
                }
                Err(oldest) => {
                    published.push_front(oldest);
                    vec![Event::default(); PUBLISHED_AT_ONCE]
                }
            };
            filled = 0;
        }
    }
    events.truncate(filled);
    history.publish(&Arc::new(events));
    Ok(replay.replayed() - before)
}

/// Memory that only a giant needed is not kept.
fn forget_a_giant(event: &mut Event) {
    let lengths = [event.trades.len(), event.reports.len(), event.levels.len()];
    if lengths.into_iter().any(|length| length > ITEMS_KEPT_MAX) {
        *event = Event::default();
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
