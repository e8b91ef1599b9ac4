//! The segment that is made before it is needed, so that a full disk is seen before commands are taken.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::storage::{Storage, StorageFile};

/// A file of zeros that has its room on the disk and no name of a segment yet.
pub(crate) struct ReadySpare {
    pub(crate) file: Box<dyn StorageFile>,
    pub(crate) capacity: u64,
}

enum State {
    None,
    Making(JoinHandle<io::Result<ReadySpare>>),
    Ready(ReadySpare),
}

/// Has one spare segment ready whenever the disk allows it.
pub(crate) struct Spare {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    capacity: u64,
    in_background: bool,
    retry_after: Duration,
    failed_at: Option<Instant>,
    state: State,
}

/// How it stands with the spare segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// Being made, and nothing says yet that it will not be.
    UnderWay,
    /// The disk refused.
    Refused,
}

impl Spare {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        path: PathBuf,
        capacity: u64,
        in_background: bool,
        retry_after: Duration,
    ) -> Self {
        Self {
            storage,
            path,
            capacity,
            in_background,
            retry_after,
            failed_at: None,
            state: State::None,
        }
    }

    /// Sees to it that a spare is there or being made; does not wait where a thread makes it.
    pub(crate) fn prepare(&mut self) -> Readiness {
        if matches!(&self.state, State::Making(thread) if thread.is_finished()) {
            let made = self.finish();
            self.keep(made);
        }
        if matches!(self.state, State::None) && self.failed_at.is_none_or(|at| at.elapsed() >= self.retry_after) {
            match self.start() {
                Some(thread) => self.state = State::Making(thread),
                None => {
                    let made = make(&*self.storage, &self.path, self.capacity);
                    self.keep(made);
                }
            }
        }
        match self.state {
            State::Ready(_) => Readiness::Ready,
            State::Making(_) if self.failed_at.is_none() => Readiness::UnderWay,
            State::Making(_) | State::None => Readiness::Refused,
        }
    }

    /// The spare with at least this capacity, made now unless it is there.
    pub(crate) fn take(&mut self, at_least: u64) -> io::Result<ReadySpare> {
        let made = match std::mem::replace(&mut self.state, State::None) {
            State::Ready(spare) => Ok(spare),
            making @ State::Making(_) => {
                self.state = making;
                self.finish()
            }
            State::None => make(&*self.storage, &self.path, self.capacity),
        };
        let made = made.and_then(|mut spare| {
            if spare.capacity < at_least {
                spare.file.allocate(at_least)?;
                spare.file.sync()?;
                spare.capacity = at_least;
            }
            Ok(spare)
        });
        match made {
            Ok(spare) => {
                self.succeeded();
                Ok(spare)
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    fn start(&self) -> Option<JoinHandle<io::Result<ReadySpare>>> {
        if !self.in_background {
            return None;
        }
        let (storage, path, capacity) = (self.storage.clone(), self.path.clone(), self.capacity);
        let builder = thread::Builder::new().name("journal-spare".to_owned());
        builder.spawn(move || make(&*storage, &path, capacity)).ok()
    }

    /// Waits for the thread that makes the spare.
    fn finish(&mut self) -> io::Result<ReadySpare> {
        match std::mem::replace(&mut self.state, State::None) {
            State::Making(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that makes segments panicked"))),
            State::Ready(spare) => Ok(spare),
            State::None => Err(io::Error::other("no segment is being made")),
        }
    }

    fn keep(&mut self, made: io::Result<ReadySpare>) {
        match made {
            Ok(spare) => {
                self.succeeded();
                self.state = State::Ready(spare);
            }
            Err(error) => {
                self.failed(&error);
                self.state = State::None;
            }
        }
    }

    fn succeeded(&mut self) {
        if self.failed_at.take().is_some() {
            tracing::info!("there is room for the journal again");
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if self.failed_at.is_none() {
            tracing::error!(path = %self.path.display(), %error, "no room for another segment of the journal");
        }
        self.failed_at = Some(Instant::now());
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // Before the lock is given back: the thread writes to a file that the next process makes anew.
        if matches!(self.state, State::Making(_)) {
            let _ = self.finish();
        }
    }
}

fn make(storage: &dyn Storage, path: &Path, capacity: u64) -> io::Result<ReadySpare> {
    let file = storage.create(path)?;
    match file.allocate(capacity).and_then(|()| file.sync()) {
        Ok(()) => Ok(ReadySpare { file, capacity }),
        Err(error) => {
            drop(file);
            // Half a segment would take the room that others wait for.
            let _ = storage.remove(path);
            Err(error)
        }
    }
}
