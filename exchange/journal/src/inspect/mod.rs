//! Looks into a journal: [`verify()`], [`export()`], [`book()`]. All of them only read, take no lock, and may
//! run beside an exchange that writes; they see what was written when they got there. Memory is that of
//! one state of the exchange, however long the journal is.

mod book;
mod export;
mod rows;
mod verify;

use std::io;
use std::path::Path;

use optivex_engine::Event;

pub use book::{BookAt, BookOptions, RestingOrder, book};
pub use export::{ExportFormat, ExportOptions, ExportWhat, export};
pub use rows::{EventRow, OrderRow, TradeRow};
pub use verify::{SnapshotVerdict, VerifyOptions, VerifyReport, verify};

use crate::record::Genesis;
use crate::replay::{self, Replay, ReplayError};
use crate::{JournalError, Reader, SnapshotStore};

/// Why a journal cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
    /// No instrument had this symbol then.
    #[error("there is no instrument {symbol} at event {event_seq}")]
    UnknownSymbol {
        /// What was asked for.
        symbol: String,
        /// When.
        event_seq: u64,
    },
    /// The journal is not that long.
    #[error("the journal ends at event {last_event_seq}: there is no event {asked}")]
    NotReached {
        /// What was asked for.
        asked: u64,
        /// The last event.
        last_event_seq: u64,
    },
}

impl From<JournalError> for InspectError {
    fn from(error: JournalError) -> Self {
        Self::Replay(error.into())
    }
}

/// A journal that is open for reading.
struct Journal {
    reader: Reader,
    snapshots: SnapshotStore,
}

impl Journal {
    fn open(data_directory: &Path) -> Result<Self, InspectError> {
        Ok(Self {
            reader: Reader::open(data_directory)?,
            snapshots: SnapshotStore::open_for_reading(data_directory)?,
        })
    }

    /// A replay from as early as the journal is kept: from nothing, or from the oldest usable snapshot
    /// if its front was cut.
    fn replay_from_start(&self) -> Result<Replay, InspectError> {
        let first_event_seq = self.reader.first_event_seq()?;
        if first_event_seq == 1 {
            return Ok(Replay::from_genesis(&self.reader)?);
        }
        let genesis = Genesis::decode(self.reader.genesis()).map_err(ReplayError::Genesis)?;
        let mut oldest_first = self.snapshots.list()?;
        oldest_first.sort_unstable();
        for event_seq in oldest_first
            .into_iter()
            .filter(|event_seq| event_seq + 1 >= first_event_seq)
        {
            if let Ok(snapshot) = self.snapshots.load(event_seq)
                && let Ok(engine) = replay::restore(&snapshot, &genesis)
            {
                return Ok(Replay::from_state(&self.reader, engine)?);
            }
        }
        Err(ReplayError::NoStart { first_event_seq }.into())
    }

    /// The state after an event, or after the last one.
    fn state_at(&self, event_seq: Option<u64>) -> Result<Replay, InspectError> {
        let at = event_seq.unwrap_or(u64::MAX);
        let mut replay = Replay::towards(&self.reader, &self.snapshots, at)?;
        let mut event = Event::default();
        while replay.engine().event_seq() < at {
            if !replay.step(&mut event)? {
                break;
            }
        }
        match event_seq {
            Some(asked) if replay.engine().event_seq() < asked => Err(InspectError::NotReached {
                asked,
                last_event_seq: replay.engine().event_seq(),
            }),
            _ => Ok(replay),
        }
    }
}

/// A price or amount in 1e-4 as people write it: `-101.2500`.
pub(crate) fn decimal(value_e4: i64) -> String {
    let sign = if value_e4 < 0 { "-" } else { "" };
    let magnitude = value_e4.unsigned_abs();
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimals() {
        assert_eq!(decimal(1_012_500), "101.2500");
        assert_eq!(decimal(-1), "-0.0001");
        assert_eq!(decimal(0), "0.0000");
        assert_eq!(decimal(i64::MIN), "-922337203685477.5808");
    }
}
