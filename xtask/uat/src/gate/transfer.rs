//! A bundle comes in: it is there whole, with its receipt, or not at all.
//!
//! Each connection writes a file of its own. One that goes on with a broken transfer copies what is there (it has to
//! read it anyway, for the hash) and takes the old name away: an old connection that still hangs about writes into a file
//! that has no name any more, and can neither disturb nor publish.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use optivex_bundle::digest::{Digest, Hasher, SubmissionId};
use optivex_bundle::durable;
use optivex_bundle::limits::bytes_for_people;
use optivex_bundle::spool::{BUNDLE, RECEIPT, Receipt, State, write_json};
use optivex_bundle::wire::{Answer, Reason};

use super::input::silence;
use super::{Answers, Gate, Step, Stop, no};

/// Ending of a transfer's file: `SHA256.UNIQUE.part`.
const PART: &str = ".part";

impl Gate<'_> {
    pub(super) fn submit(
        &mut self,
        sha256: Digest,
        size: u64,
        contract: &Digest,
        input: &mut dyn Read,
        answers: &mut Answers<'_>,
    ) -> Result<(), Stop> {
        if size == 0 || size > self.limits.bundle_bytes {
            return Err(no(
                Reason::TooBig,
                format!("a bundle has 1 to {} bytes, and yours {size}", self.limits.bundle_bytes),
            ));
        }
        let id = SubmissionId::from(&sha256);
        if let Some((receipt, state)) = self.known(id, &sha256)? {
            return self.tell_receipt(receipt, state, contract, answers);
        }
        let folder = self.spool.incoming(self.participant);
        let _slot = self.slot(&folder, "transfer", self.limits.transfers)?;
        self.check_room(&folder, size)?;
        let mut part = self.part(&folder, &sha256, size)?;
        answers.tell(&Answer::Go { offset: part.length })?;
        self.receive(&mut part, size, input)?;
        let receipt = self.publish(part, &folder, sha256, size)?;
        let state = match self.spool.state(self.participant, id)? {
            Some((_, state)) => state,
            // The daemon just gave it back.
            None => State::Waiting { ahead: 0 },
        };
        self.tell_receipt(receipt, state, contract, answers)
    }

    fn tell_receipt(
        &self,
        receipt: Receipt,
        state: State,
        contract: &Digest,
        answers: &mut Answers<'_>,
    ) -> Result<(), Stop> {
        let notes = self.notes(Some(contract))?;
        answers.tell(&Answer::Receipt { receipt, state, notes })
    }

    /// What became of this very bundle, unless it may be handed over again.
    fn known(&self, id: SubmissionId, sha256: &Digest) -> Result<Option<(Receipt, State)>, Stop> {
        match self.spool.state(self.participant, id)? {
            Some((receipt, _)) if receipt.sha256 != *sha256 => Err(no(
                Reason::Ours,
                "another bundle of yours has the same first 16 digits of its SHA-256: commit anything, and deploy again",
            )),
            Some((_, State::Done { verdict })) if !verdict.is_judged() => Ok(None),
            known => Ok(known),
        }
    }

    /// One of so many at a time, given back when the process ends.
    pub(super) fn slot(&self, folder: &Path, kind: &str, count: u64) -> Result<File, Stop> {
        for number in 0..count {
            let path = folder.join(format!("{kind}-{number}.lock"));
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        Err(no(
            Reason::TooMany,
            format!("{count} of your {kind}s are under way: wait until one of them is over"),
        ))
    }

    fn check_room(&self, folder: &Path, size: u64) -> Result<(), Stop> {
        let waiting = self.spool.waiting_receipts(self.participant)?.len() as u64;
        if waiting >= self.limits.waiting {
            return Err(no(
                Reason::TooMany,
                format!(
                    "{waiting} of your deployments wait already: cancel one, or wait until UAT's daemon looks at them"
                ),
            ));
        }
        let free = (self.free)(folder)?;
        if free < self.limits.disk_reserve_bytes.saturating_add(size) {
            return Err(no(
                Reason::DiskFull,
                format!(
                    "UAT's disk is full: {} are free, and a bundle of {} needs {} beside it. Nothing is submitted; tell the \
                     program managers",
                    bytes_for_people(free),
                    bytes_for_people(size),
                    bytes_for_people(self.limits.disk_reserve_bytes),
                ),
            ));
        }
        Ok(())
    }

    /// A file for this connection, with what came earlier of the same bundle.
    fn part(&mut self, folder: &Path, sha256: &Digest, size: u64) -> Result<Part, Stop> {
        let mut parts = parts(folder)?;
        let same = format!("{sha256}.");
        let earlier = parts
            .iter()
            .filter(|part| part.name.starts_with(&same))
            .max_by_key(|part| part.length)
            .map(|part| part.path.clone());
        // Those that nobody came back for; never the one that is to go on.
        parts.retain(|part| Some(&part.path) != earlier.as_ref());
        parts.sort_by_key(|part| part.changed);
        let keep = usize::try_from(self.limits.transfers - 1).unwrap_or(usize::MAX);
        for part in &parts[..parts.len().saturating_sub(keep)] {
            remove_if_there(&part.path)?;
        }

        let path = folder.join(format!("{sha256}.{}{PART}", durable::unique()));
        let mut part = Part {
            file: durable::create_new(&path, 0o600)?,
            path,
            length: 0,
            hasher: Hasher::default(),
        };
        if let Some(earlier) = earlier {
            match File::open(&earlier) {
                Ok(file) => {
                    io::copy(&mut file.take(size), &mut part)?;
                    remove_if_there(&earlier)?;
                }
                // Another connection was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        (self.step)(Step::PartMade)?;
        Ok(part)
    }

    fn receive(&mut self, part: &mut Part, size: u64, input: &mut dyn Read) -> Result<(), Stop> {
        let mut buffer = vec![0; 128 << 10];
        while part.length < size {
            let most = usize::try_from(size - part.length).map_or(buffer.len(), |left| left.min(buffer.len()));
            match input.read(&mut buffer[..most]) {
                Ok(0) => {
                    return Err(no(
                        Reason::Silence,
                        format!(
                            "the connection broke after {} of {size} bytes: they are kept",
                            part.length
                        ),
                    ));
                }
                Ok(count) => part.write_all(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(silence(&error)),
            }
            (self.step)(Step::BytesWritten)?;
        }
        Ok(())
    }

    fn publish(&mut self, part: Part, folder: &Path, sha256: Digest, size: u64) -> Result<Receipt, Stop> {
        let Part { file, path, hasher, .. } = part;
        if hasher.finish() != sha256 {
            remove_if_there(&path)?;
            return Err(no(
                Reason::WrongHash,
                "the bytes that came do not have the SHA-256 that was announced: nothing is submitted",
            ));
        }
        file.sync_all()?;
        drop(file);
        (self.step)(Step::PartSynced)?;

        // One at a time from here on: it takes milliseconds.
        let lock = File::create(folder.join("publish.lock"))?;
        lock.lock()?;
        sweep(folder)?;
        let id = SubmissionId::from(&sha256);
        if let Some((receipt, _)) = self.known(id, &sha256)? {
            // The same bundle came by another connection meanwhile.
            remove_if_there(&path)?;
            return Ok(receipt);
        }
        let temporary = folder.join(format!("{id}.tmp"));
        durable::create_folders(&temporary)?;
        (self.step)(Step::FolderMade)?;
        match durable::rename(&path, &temporary.join(BUNDLE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(no(
                    Reason::TooMany,
                    "another connection went on with this transfer: ask for the status",
                ));
            }
            result => result?,
        }
        (self.step)(Step::BundleMoved)?;
        let receipt = Receipt {
            participant: self.participant.clone(),
            id,
            sha256,
            size,
            received: self.received()?,
            attempt: match self.spool.read_result(self.participant, id)? {
                Some(result) => result.attempt.saturating_add(1),
                None => 1,
            },
        };
        write_json(&temporary.join(RECEIPT), &receipt)?;
        (self.step)(Step::ReceiptSynced)?;
        // Of an earlier attempt.
        durable::remove(&self.spool.cancel(self.participant, id))?;
        let waiting = self.spool.waiting(self.participant);
        durable::create_folders(&waiting)?;
        fs::rename(&temporary, waiting.join(id.to_string()))?;
        (self.step)(Step::Published)?;
        durable::sync_folder(&waiting)?;
        durable::sync_folder(folder)?;
        (self.step)(Step::PublishSynced)?;
        Ok(receipt)
    }

    /// Now, but after all that wait: the newest is meant, even when the clock went back.
    fn received(&self) -> Result<String, Stop> {
        let waiting = self.spool.waiting_receipts(self.participant)?;
        let newest = waiting
            .iter()
            .filter_map(|receipt| humantime::parse_rfc3339(&receipt.received).ok())
            .max();
        let now = (self.now)();
        let after = newest.map_or(SystemTime::UNIX_EPOCH, |newest| newest + Duration::from_nanos(1));
        Ok(humantime::format_rfc3339_nanos(now.max(after)).to_string())
    }
}

/// A transfer's file.
struct Part {
    file: File,
    path: PathBuf,
    length: u64,
    hasher: Hasher,
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A transfer's file as it is found.
struct Found {
    name: String,
    path: PathBuf,
    length: u64,
    changed: SystemTime,
}

fn parts(folder: &Path) -> io::Result<Vec<Found>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        // It may be gone already.
        let Ok(metadata) = entry.metadata() else { continue };
        if name.ends_with(PART) && metadata.is_file() {
            parts.push(Found {
                name,
                path: entry.path(),
                length: metadata.len(),
                changed: metadata.modified()?,
            });
        }
    }
    Ok(parts)
}

/// Removes folders of gates that were killed while they published. Only under the lock: nobody else has one.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name().to_string_lossy().ends_with(".tmp") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
