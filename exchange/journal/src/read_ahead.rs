//! Records read and decoded on a thread of its own, ahead of whoever applies them.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use optivex_engine::Input;

use crate::record;
use crate::replay::ReplayError;
use crate::{Position, Records};

/// Most inputs in a batch: few enough that they are still in the cache when they are applied.
const INPUTS_MAX: usize = 512;
/// Batches that wait to be applied.
const BATCHES_MAX: usize = 4;

/// Inputs of consecutive events.
#[derive(Default)]
pub(crate) struct Batch {
    first_event_seq: u64,
    segment: Option<Arc<Path>>,
    /// With their records' places in the segment.
    inputs: Vec<(Input, u64)>,
}

impl Batch {
    /// One of the inputs.
    pub(crate) fn input(&self, at: usize) -> Option<&Input> {
        self.inputs.get(at).map(|(input, _)| input)
    }

    /// Its event.
    pub(crate) fn event_seq(&self, at: usize) -> u64 {
        self.first_event_seq + at as u64
    }

    /// Its record's place.
    pub(crate) fn position(&self, at: usize) -> Option<Position> {
        Some(Position {
            segment: self.segment.clone()?,
            offset: self.inputs.get(at)?.1,
        })
    }
}

/// Records that are read ahead.
pub(crate) struct ReadAhead {
    /// Here, or with the thread.
    records: Option<Records>,
    thread: Option<Running>,
}

struct Running {
    read: Receiver<Read>,
    thread: JoinHandle<()>,
}

enum Read {
    Batch(Batch),
    /// The journal ends here, or cannot be read on.
    End(Box<Records>, Result<(), ReplayError>),
}

impl ReadAhead {
    /// Begins when the first batch is asked for.
    pub(crate) fn new(records: Records) -> Self {
        Self {
            records: Some(records),
            thread: None,
        }
    }

    /// The next inputs, at least one; `None` where the journal ends (asked again, it looks for what was
    /// written since).
    pub(crate) fn next(&mut self) -> Result<Option<Batch>, ReplayError> {
        if let Some(records) = self.records.take() {
            self.thread = Some(start(records)?);
        }
        let running = self.thread.as_ref().expect("the records are here or with the thread");
        match running.read.recv() {
            Ok(Read::Batch(batch)) => Ok(Some(batch)),
            Ok(Read::End(records, result)) => {
                self.stop();
                self.records = Some(*records);
                result.map(|()| None)
            }
            Err(_) => {
                self.stop();
                unreachable!("the thread says why it ends");
            }
        }
    }

    /// The records, once [`ReadAhead::next`] has answered `None`.
    pub(crate) fn ended(&self) -> Option<&Records> {
        self.records.as_ref()
    }

    fn stop(&mut self) {
        if let Some(Running { read, thread }) = self.thread.take() {
            // The thread does not wait for room any more.
            drop(read);
            if let Err(panic) = thread.join()
                && !thread::panicking()
            {
                resume_unwind(panic);
            }
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(mut records: Records) -> Result<Running, ReplayError> {
    let (sender, read) = sync_channel(BATCHES_MAX);
    let thread = thread::Builder::new()
        .name("read ahead".to_owned())
        .spawn(move || {
            if let Some(result) = send_all(&mut records, &sender) {
                // Whoever does not listen any more needs no end.
                let _ = sender.send(Read::End(Box::new(records), result));
            }
        })
        .map_err(ReplayError::Thread)?;
    Ok(Running { read, thread })
}

/// Until the journal ends, or cannot be read on; `None` if nobody listens.
fn send_all(records: &mut Records, sender: &SyncSender<Read>) -> Option<Result<(), ReplayError>> {
    let mut batch = Batch::default();
    loop {
        let (input, event_seq, position) = match next(records) {
            Ok(Some(next)) => next,
            end => {
                send(&mut batch, sender)?;
                return Some(end.map(|_| ()));
            }
        };
        if batch.inputs.len() == INPUTS_MAX || batch.segment.as_ref() != Some(&position.segment) {
            send(&mut batch, sender)?;
            batch = Batch {
                first_event_seq: event_seq,
                segment: Some(position.segment),
                inputs: Vec::with_capacity(INPUTS_MAX),
            };
        }
        batch.inputs.push((input, position.offset));
    }
}

fn next(records: &mut Records) -> Result<Option<(Input, u64, Position)>, ReplayError> {
    let Some(record) = records.next()? else { return Ok(None) };
    match record::decode(record.payload) {
        Ok(input) => Ok(Some((input, record.event_seq, record.position))),
        Err(error) => Err(ReplayError::Record {
            event_seq: record.event_seq,
            position: record.position,
            error,
        }),
    }
}

fn send(batch: &mut Batch, sender: &SyncSender<Read>) -> Option<()> {
    if batch.inputs.is_empty() {
        return Some(());
    }
    sender.send(Read::Batch(std::mem::take(batch))).ok()
}
