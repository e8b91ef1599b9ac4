//! Reads a journal from any event on.

use std::path::Path;
use std::sync::Arc;

use crate::log::directory::{Directory, Genesis};
use crate::log::format::HEADER_BYTES;
use crate::log::segment::{Rest, Step, Walk};
use crate::log::{Position, Proof, Tail};
use crate::storage::{Disk, Storage};
use crate::{JournalError, SnapshotStore};

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The event's number.
    pub event_seq: u64,
    /// What was pushed into the batch.
    pub payload: &'a [u8],
    /// Where it is.
    pub position: Position,
}

/// Reads a journal without its lock: for replay and for tools, also while an exchange writes it.
///
/// While one does, records may be read that are not durable yet, and that a crash of the machine would
/// still take away: what must not be told before it is durable has to come from the exchange itself.
#[derive(Clone)]
pub struct Reader {
    storage: Arc<dyn Storage>,
    directory: Directory,
    genesis: Genesis,
}

impl Reader {
    /// Opens the journal of a data directory; [`JournalError::NoJournal`] if there is none.
    pub fn open(data_directory: &Path) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(Disk), data_directory)
    }

    /// As [`Reader::open`], on other storage than the operating system's.
    pub fn open_on(storage: Arc<dyn Storage>, data_directory: &Path) -> Result<Self, JournalError> {
        let directory = Directory::new(data_directory);
        let genesis = directory.require_genesis(&*storage)?;
        Ok(Self {
            storage,
            directory,
            genesis,
        })
    }

    /// The bytes that the journal was made with.
    pub fn genesis(&self) -> &[u8] {
        &self.genesis.content
    }

    /// The oldest event that is kept, or that would be the first.
    pub fn first_event_seq(&self) -> Result<u64, JournalError> {
        Ok(self.directory.segments(&*self.storage)?.first().copied().unwrap_or(1))
    }

    /// Records from an event on; [`JournalError::NotKept`] if it is older than what is kept. An event
    /// that is not written yet is not an error: the records are then none.
    pub fn read_from(&self, event_seq: u64) -> Result<Records, JournalError> {
        self.read_proven(event_seq, None)
    }

    /// The same, with what shows beside the snapshots which events were durable.
    pub(crate) fn read_proven(&self, event_seq: u64, proof: Option<Proof>) -> Result<Records, JournalError> {
        let snapshots = SnapshotStore::new(self.storage.clone(), &self.directory, self.genesis.journal, None);
        let newest = snapshots.list_sound()?.first().map(|&through| Proof {
            through,
            by: "a snapshot",
        });
        let proof = [newest, proof].into_iter().flatten().max_by_key(|proof| proof.through);
        let segments = self.directory.segments(&*self.storage)?;
        let mut records = Records {
            reader: self.clone(),
            from: event_seq.max(1),
            proof,
            walk: None,
            next: None,
            tail: None,
        };
        let Some(&first) = segments.first() else {
            return match proof {
                Some(proof) if proof.through > 0 => Err(self.directory.no_segments(proof)),
                _ => Ok(records),
            };
        };
        if records.from < first {
            return Err(JournalError::NotKept {
                asked: event_seq,
                first,
            });
        }
        let start = segments.partition_point(|&segment| segment <= records.from) - 1;
        records.walk = Some(records.open(segments[start])?);
        records.next = segments.get(start + 1).copied();
        Ok(records)
    }
}

/// Records in order, read one at a time in bounded memory.
pub struct Records {
    reader: Reader,
    from: u64,
    /// What was durable when the records were asked for.
    proof: Option<Proof>,
    walk: Option<Walk>,
    /// First event of the segment after the walk's, where it is known.
    next: Option<u64>,
    tail: Option<Tail>,
}

impl Records {
    /// The next record; `None` where the journal ends (asked again, it looks for what was written since).
    /// Each `None` has read the rest of the last segment, up to 64 MiB that are reserved: not for polling.
    #[expect(clippy::should_implement_trait, reason = "the record borrows the reader's memory")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, JournalError> {
        let Some(step) = self.next_step()? else { return Ok(None) };
        let walk = self.walk.as_ref().expect("a step comes from a walk");
        let position = Position {
            segment: walk.path.clone(),
            offset: step.offset,
        };
        Ok(Some(Record {
            event_seq: step.event_seq,
            payload: walk.payload(step),
            position,
        }))
    }

    /// What lies behind the last record, once [`Records::next`] has answered `None`.
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// The walk through the last segment, once [`Records::next`] has answered `None`.
    pub(crate) fn last_walk(&self) -> Option<&Walk> {
        self.walk.as_ref()
    }

    fn open(&self, segment: u64) -> Result<Walk, JournalError> {
        let path = self.reader.directory.segment(segment);
        Walk::open(&*self.reader.storage, &path, self.reader.genesis.journal, segment)
    }

    fn next_step(&mut self) -> Result<Option<Step>, JournalError> {
        self.tail = None;
        loop {
            if self.walk.is_none() {
                // The journal had no segment when it was opened.
                let segments = self.reader.directory.segments(&*self.reader.storage)?;
                let Some(&first) = segments.first() else {
                    return Ok(None);
                };
                self.walk = Some(self.open(first)?);
                self.next = segments.get(1).copied();
            }
            match self.step_in_segment()? {
                Some(step) if step.event_seq < self.from => {}
                Some(step) => return Ok(Some(step)),
                None => match self.next {
                    Some(next) => {
                        self.walk = Some(self.open(next)?);
                        self.next = self.segment_after(next)?;
                    }
                    None => return Ok(None),
                },
            }
        }
    }

    /// The next record of the walk's segment. `None`: the segment ends here as it should, or the journal does.
    fn step_in_segment(&mut self) -> Result<Option<Step>, JournalError> {
        if let Some(step) = self.step_before_next()? {
            return Ok(Some(step));
        }
        // Here no record stands; or none stood when this part of the file was read. Another process may
        // have written more since, and gone on to another segment: look at both in this order, so that
        // the end of a segment is read after the next one was seen.
        if self.next.is_none() {
            let walk = self.walk.as_mut().expect("set by the caller");
            self.next = self
                .reader
                .directory
                .segments(&*self.reader.storage)?
                .into_iter()
                .find(|&segment| segment > walk.header.first_event_seq);
            if walk.offset == HEADER_BYTES {
                // A segment without records may have been replaced by another of its name.
                let first = walk.header.first_event_seq;
                self.walk = Some(self.open(first)?);
            } else {
                walk.refresh();
            }
            if let Some(step) = self.step_before_next()? {
                return Ok(Some(step));
            }
        }
        let walk = self.walk.as_mut().expect("set by the caller");
        if let Some(next) = self.next {
            walk.check_end(next)?;
            return Ok(None);
        }
        match walk.judge_rest(self.proof) {
            Ok(Rest::Clean) => {}
            Ok(Rest::Torn { bytes, missing }) => {
                self.tail = Some(Tail {
                    position: Position {
                        segment: walk.path.clone(),
                        offset: walk.offset,
                    },
                    bytes,
                    missing_bytes: missing,
                    last_event_seq: walk.next_event_seq - 1,
                });
            }
            Err(error) => {
                // A hole that another process filled while this one looked behind it is none.
                walk.refresh();
                return match walk.step()? {
                    Some(step) => Ok(Some(step)),
                    None => Err(error),
                };
            }
        }
        Ok(None)
    }

    fn step_before_next(&mut self) -> Result<Option<Step>, JournalError> {
        let walk = self.walk.as_mut().expect("set by the caller");
        if self.next.is_some_and(|next| walk.next_event_seq >= next) {
            return Ok(None);
        }
        walk.step()
    }

    fn segment_after(&self, segment: u64) -> Result<Option<u64>, JournalError> {
        Ok(self
            .reader
            .directory
            .segments(&*self.reader.storage)?
            .into_iter()
            .find(|&other| other > segment))
    }
}
