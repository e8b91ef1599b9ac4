//! The journal's records through an engine, one after the other; a thread of its own reads them ahead.

use std::io;
use std::time::{Duration, Instant};

use optivex_engine::{Applied, Engine, Event, Input};

use crate::read_ahead::{Batch, ReadAhead};
use crate::record::{Genesis, RecordError};
use crate::{JournalError, Position, Reader, Snapshot, SnapshotStore, Tail};

/// How often a long replay says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// How many inputs ahead of its turn the memory that one is going to touch is fetched.
const PREFETCHED: usize = 8;

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What it was begun with cannot be read.
    #[error("the journal's genesis: {0}")]
    Genesis(#[source] RecordError),
    /// A record that this build cannot read.
    #[error("record {event_seq} at byte {} of {}: {error}", position.offset, position.segment.display())]
    Record {
        /// Its event.
        event_seq: u64,
        /// Where it is.
        position: Position,
        /// What is wrong with it.
        #[source]
        error: RecordError,
    },
    /// A record that the engine does not accept, although only accepted inputs are journaled: the journal
    /// is damaged, or this build decides otherwise than the one that wrote it.
    #[error("record {event_seq} at byte {} of {} is not accepted: {why}", position.offset, position.segment.display())]
    NotAccepted {
        /// Its event.
        event_seq: u64,
        /// Where it is.
        position: Position,
        /// What the engine said.
        why: String,
    },
    /// The journal was cut at its front, and there is no snapshot to start from.
    #[error("the journal starts at event {first_event_seq}, and no snapshot leads there")]
    NoStart {
        /// The oldest event that is kept.
        first_event_seq: u64,
    },
    /// The operating system has no room for another thread.
    #[error("cannot start the thread that reads the journal: {0}")]
    Thread(#[source] io::Error),
}

/// An engine that follows a journal. The state is that after [`Engine::event_seq`] of its events.
pub struct Replay {
    engine: Engine,
    records: ReadAhead,
    batch: Batch,
    /// The next one of the batch.
    at: usize,
    replayed: u64,
    started: Instant,
    told: Instant,
}

impl Replay {
    /// Starts from nothing: the journal must be kept from its first event on.
    pub fn from_genesis(reader: &Reader) -> Result<Self, ReplayError> {
        let genesis = Genesis::decode(reader.genesis()).map_err(ReplayError::Genesis)?;
        Self::from_state(reader, Engine::new(genesis.limits)).map_err(|error| match error {
            ReplayError::Journal(JournalError::NotKept { first, .. }) => {
                ReplayError::NoStart { first_event_seq: first }
            }
            error => error,
        })
    }

    /// Starts from a state of the same exchange.
    pub fn from_state(reader: &Reader, engine: Engine) -> Result<Self, ReplayError> {
        let records = reader.read_from(engine.event_seq() + 1)?;
        let now = Instant::now();
        Ok(Self {
            engine,
            records: ReadAhead::new(records),
            batch: Batch::default(),
            at: 0,
            replayed: 0,
            started: now,
            told: now,
        })
    }

    /// Starts from the newest usable snapshot whose event is not after `event_seq`, else from nothing.
    pub fn towards(reader: &Reader, snapshots: &SnapshotStore, event_seq: u64) -> Result<Self, ReplayError> {
        let genesis = Genesis::decode(reader.genesis()).map_err(ReplayError::Genesis)?;
        match newest_state(snapshots, &genesis, event_seq)? {
            Some(engine) => Self::from_state(reader, engine),
            None => Self::from_genesis(reader),
        }
    }

    /// Applies the next record and leaves its event in `event`; false where the journal ends. Asked
    /// again, it looks for what was written since.
    pub fn step(&mut self, event: &mut Event) -> Result<bool, ReplayError> {
        if self.batch.input(self.at).is_none() {
            match self.records.next()? {
                Some(batch) => (self.batch, self.at) = (batch, 0),
                None => return Ok(false),
            }
        }
        let Self { engine, batch, at, .. } = self;
        let input = batch.input(*at).expect("a batch is never empty");
        if let Some(ahead) = batch.input(*at + PREFETCHED) {
            engine.prefetch(&ahead.command);
        }
        let event_seq = batch.event_seq(*at);
        let why = match engine.apply(input, event) {
            Ok(Applied::Event) if event.event_seq == event_seq => None,
            Ok(Applied::Event) => Some(format!("it became event {}", event.event_seq)),
            Ok(Applied::OrderRepeated { .. } | Applied::InstrumentRepeated { .. }) => Some("a retry".to_owned()),
            Err(refusal) => Some(format!("refused: {refusal}")),
        };
        if let Some(why) = why {
            let position = batch.position(*at).expect("every input has one");
            return Err(ReplayError::NotAccepted {
                event_seq,
                position,
                why,
            });
        }
        self.at += 1;
        self.replayed += 1;
        // A clock is dear beside a record.
        if self.replayed.is_multiple_of(4_096) && self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            let seconds = self.started.elapsed().as_secs_f64();
            let per_second = (self.replayed as f64 / seconds) as u64;
            tracing::info!(event_seq, replayed = self.replayed, per_second, "replaying the journal");
        }
        Ok(true)
    }

    /// The state so far.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The state so far, to go on with.
    pub fn into_engine(self) -> Engine {
        self.engine
    }

    /// The input that the last step applied, if it applied one.
    pub fn input(&self) -> Option<&Input> {
        self.batch.input(self.at.checked_sub(1)?)
    }

    /// How many records were applied.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// What lies behind the last record, once [`Replay::step`] has answered false.
    pub fn tail(&self) -> Option<&Tail> {
        self.records.ended()?.tail()
    }
}

/// The state of the newest snapshot that is usable and not after `event_seq`. One that is not is passed
/// over with a warning.
pub(crate) fn newest_state(
    snapshots: &SnapshotStore,
    genesis: &Genesis,
    event_seq: u64,
) -> Result<Option<Engine>, JournalError> {
    let mut until = event_seq;
    while let Some(snapshot) = snapshots.newest_until(until)? {
        match restore(&snapshot, genesis) {
            Ok(engine) => return Ok(Some(engine)),
            Err(why) => tracing::warn!(event_seq = snapshot.event_seq, why, "a snapshot is not usable"),
        }
        match snapshot.event_seq.checked_sub(1) {
            Some(before) => until = before,
            None => break,
        }
    }
    Ok(None)
}

/// The state of a snapshot of this journal.
pub(crate) fn restore(snapshot: &Snapshot, genesis: &Genesis) -> Result<Engine, String> {
    let engine = Engine::restore(&snapshot.bytes).map_err(|error| error.to_string())?;
    if engine.event_seq() != snapshot.event_seq {
        return Err(format!("it is of event {}", engine.event_seq()));
    }
    if *engine.limits() != genesis.limits {
        return Err("its limits are not the journal's".to_owned());
    }
    Ok(engine)
}
