//! Walks through one segment, and judges what lies behind its last record.

use std::path::Path;
use std::sync::Arc;

use crate::log::Proof;
use crate::log::format::{FRAME_BYTES, Frame, HEADER_BYTES, JournalId, SegmentHeader, u64_at};
use crate::storage::{Storage, StorageFile};
use crate::{JournalError, MAX_RECORD_BYTES};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// A record within the walk's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) event_seq: u64,
    /// Where the record starts in the file.
    pub(crate) offset: u64,
}

/// What lies behind the last record of the last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing but zeros, up to where the file was made to end.
    Clean,
    /// What a crash leaves.
    Torn {
        /// From the end of the last record to the last byte that is not zero.
        bytes: u64,
        /// How much shorter the file is than it was made.
        missing: u64,
    },
}

/// A walk through one segment, record by record.
pub(crate) struct Walk {
    file: Box<dyn StorageFile>,
    pub(crate) path: Arc<Path>,
    pub(crate) header: SegmentHeader,
    /// The header's, for every record.
    seed: u32,
    /// Where the next record starts.
    pub(crate) offset: u64,
    /// The event of the next record.
    pub(crate) next_event_seq: u64,
    /// Where the commit of the last record starts.
    pub(crate) commit_offset: u64,
    /// The next record's index if it belongs to the same commit as the last one.
    next_index: u32,
    window: Window,
}

/// The part of the file that is in memory.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    offset: u64,
}

impl Walk {
    /// Opens the segment that starts with an event and checks its header.
    pub(crate) fn open(
        storage: &dyn Storage,
        path: &Path,
        journal: JournalId,
        first_event_seq: u64,
    ) -> Result<Self, JournalError> {
        let file = storage.open(path).map_err(JournalError::file("open", path))?;
        let damaged = |why: String| JournalError::Damaged {
            segment: path.to_owned(),
            offset: 0,
            event_seq: first_event_seq,
            why,
        };
        let mut bytes = vec![0; HEADER_BYTES as usize];
        let count = file.read_at(&mut bytes, 0).map_err(JournalError::file("read", path))?;
        let header = SegmentHeader::decode(&bytes[..count]).map_err(damaged)?;
        if header.journal != journal {
            return Err(damaged("it belongs to another journal".to_owned()));
        }
        if header.first_event_seq != first_event_seq {
            return Err(damaged(format!(
                "it is named otherwise than it says: {}",
                header.first_event_seq
            )));
        }
        Ok(Self {
            file,
            path: path.into(),
            seed: header.seed(),
            header,
            offset: HEADER_BYTES,
            next_event_seq: first_event_seq,
            commit_offset: HEADER_BYTES,
            next_index: 0,
            window: Window::default(),
        })
    }

    /// The next record, or `None` where no whole record of the next event starts.
    pub(crate) fn step(&mut self) -> Result<Option<Step>, JournalError> {
        let Some(frame) = self.whole_record()? else {
            return Ok(None);
        };
        if frame.event_seq != self.next_event_seq {
            return Err(self.damaged(format!("there stands event {}", frame.event_seq)));
        }
        if frame.index != 0 && frame.index != self.next_index {
            return Err(self.damaged(format!("it says that it is number {} of its commit", frame.index)));
        }
        let step = Step {
            event_seq: frame.event_seq,
            offset: self.offset,
        };
        if frame.index == 0 {
            self.commit_offset = self.offset;
        }
        self.next_index = frame.index + 1;
        self.offset += frame.record_bytes() as u64;
        self.next_event_seq += 1;
        Ok(Some(step))
    }

    /// The payload of the record that the last step told.
    pub(crate) fn payload(&self, step: Step) -> &[u8] {
        let start = (step.offset - self.window.offset) as usize;
        let end = (self.offset - self.window.offset) as usize;
        &self.window.bytes[start + FRAME_BYTES..end]
    }

    /// Forgets what was read, for the case that another process has written since.
    pub(crate) fn refresh(&mut self) {
        self.window = Window::default();
    }

    /// The error that the record which should be next cannot be read.
    pub(crate) fn damaged(&self, why: String) -> JournalError {
        JournalError::Damaged {
            segment: self.path.to_path_buf(),
            offset: self.offset,
            event_seq: self.next_event_seq,
            why,
        }
    }

    pub(crate) fn file_length(&self) -> Result<u64, JournalError> {
        self.file.length().map_err(JournalError::file("read", &self.path))
    }

    /// Checks that the segment ends here and that the next one begins with the next event.
    pub(crate) fn check_end(&mut self, next_segment: u64) -> Result<(), JournalError> {
        if self.next_event_seq != next_segment {
            let why = self.why_no_record()?;
            return Err(self.damaged(format!("{why}, and the next segment starts with event {next_segment}")));
        }
        if self.offset == self.file_length()? {
            return Ok(());
        }
        // The next segment shows that everything before it was durable, and it holds what follows. Here
        // can only be what a failed commit left, if the disk forgot that it was cut off; a record that
        // proves more than that is a contradiction.
        if let Rest::Torn { bytes, .. } = self.judge_rest(None)? {
            tracing::warn!(path = %self.path.display(), offset = self.offset, bytes, "bytes behind the end of a segment: passed over");
        }
        Ok(())
    }

    /// Judges what lies behind the last record of the last segment; the module's documentation has the
    /// argument. `proof` shows what was durable beside.
    pub(crate) fn judge_rest(&mut self, proof: Option<Proof>) -> Result<Rest, JournalError> {
        let length = self.file_length()?;
        let expected = self.next_event_seq;
        if let Some(Proof { through, by }) = proof
            && expected <= through
        {
            let why = self.why_no_record()?;
            return Err(self.damaged(format!("{why}, but {by} shows that event {through} was durable")));
        }
        let most = expected.saturating_add((length - self.offset.min(length)) / FRAME_BYTES as u64);
        let zeros = vec![0; READ_BYTES];
        let mut chunk = vec![0; READ_BYTES + FRAME_BYTES];
        let (mut offset, mut last_byte) = (self.offset, self.offset);
        while offset < length {
            let count = self.read(&mut chunk, offset)?;
            let here = &chunk[..count.min(READ_BYTES)];
            if here.is_empty() {
                break;
            }
            let mut next = offset + here.len() as u64;
            if *here != zeros[..here.len()] {
                let last = here.iter().rposition(|&byte| byte != 0).unwrap_or(0);
                last_byte = offset + last as u64 + 1;
                for start in 0..here.len() {
                    // Most bytes are no start of a record; see that as cheaply as can be.
                    let event_seq = chunk.get(start + 8..start + 16).map_or(0, |bytes| u64_at(bytes, 0));
                    if !(expected..=most).contains(&event_seq) {
                        continue;
                    }
                    let Some(frame) = Frame::decode(&chunk[start..count]) else {
                        continue;
                    };
                    if !self.is_record(offset + start as u64, frame)? {
                        continue;
                    }
                    if frame.durable_when_written() >= expected {
                        let why = self.why_no_record()?;
                        let (later, at) = (frame.event_seq, offset + start as u64);
                        return Err(self.damaged(format!(
                            "{why}, but it was durable before event {later}, which stands at byte {at}, was written"
                        )));
                    }
                    // What is inside a whole record proves nothing more than the record does.
                    next = offset + (start + frame.record_bytes()) as u64;
                    last_byte = last_byte.max(next);
                    break;
                }
            }
            offset = next;
        }
        let (bytes, missing) = (last_byte - self.offset, self.header.capacity.saturating_sub(length));
        Ok(if bytes == 0 && missing == 0 {
            Rest::Clean
        } else {
            Rest::Torn { bytes, missing }
        })
    }

    /// Whether there is a whole record at the offset that the frame was read from.
    fn is_record(&self, offset: u64, frame: Frame) -> Result<bool, JournalError> {
        let mut record = vec![0; frame.record_bytes()];
        let count = self.read(&mut record, offset)?;
        Ok(count == record.len() && frame.matches(self.seed, &record))
    }

    /// The frame at the walk's offset if a whole record stands there, which is then in the window.
    fn whole_record(&mut self) -> Result<Option<Frame>, JournalError> {
        self.fill(FRAME_BYTES)?;
        let Some(frame) = Frame::decode(self.ahead()) else {
            return Ok(None);
        };
        self.fill(frame.record_bytes())?;
        let record = self.ahead();
        let whole = record.len() >= frame.record_bytes() && frame.matches(self.seed, record);
        Ok(whole.then_some(frame))
    }

    /// Says what is wrong at the walk's offset, where no whole record is.
    fn why_no_record(&mut self) -> Result<String, JournalError> {
        self.fill(FRAME_BYTES)?;
        let bytes = self.ahead();
        let length = self.file_length()?;
        Ok(match Frame::decode(bytes) {
            _ if length <= self.offset => "the file ends before the record".to_owned(),
            None if bytes.len() < FRAME_BYTES => "the file ends within the record".to_owned(),
            None if bytes[..FRAME_BYTES].iter().all(|&byte| byte == 0) => "there are zeros".to_owned(),
            None => format!("there is nothing like a record (of at most {MAX_RECORD_BYTES} bytes)"),
            Some(frame) if self.offset + frame.record_bytes() as u64 > length => {
                "the file ends within the record".to_owned()
            }
            Some(_) => "the record's checksum does not match".to_owned(),
        })
    }

    /// What the window holds from the walk's offset on.
    fn ahead(&self) -> &[u8] {
        &self.window.bytes[(self.offset - self.window.offset) as usize..]
    }

    /// Has at least this many bytes from the walk's offset on in the window, as far as the file goes.
    fn fill(&mut self, need: usize) -> Result<(), JournalError> {
        let end = self.window.offset + self.window.bytes.len() as u64;
        let kept = if self.offset < self.window.offset || self.offset > end {
            &[]
        } else if self.ahead().len() >= need {
            return Ok(());
        } else {
            self.ahead()
        };
        let present = kept.len();
        let mut bytes = vec![0; present + need.max(READ_BYTES)];
        bytes[..present].copy_from_slice(kept);
        let count = self.read(&mut bytes[present..], self.offset + present as u64)?;
        bytes.truncate(present + count);
        self.window = Window {
            bytes,
            offset: self.offset,
        };
        Ok(())
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize, JournalError> {
        self.file
            .read_at(bytes, offset)
            .map_err(JournalError::file("read", &self.path))
    }
}
