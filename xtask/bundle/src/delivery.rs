//! A result on its way: from the gate to `deploy results`, and from the daemon to `optivex-receive` on the dev machine.
//! Both ways have one form, that of [`Answer`]s: `Job`, then `File`s with their bytes, then `Done`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher, SubmissionId};
use crate::durable;
use crate::limits::Limits;
use crate::manifest::printable;
use crate::spool::{Receipt, ResultFile, State, read_json};
use crate::verdict::JobResult;
use crate::wire::{Answer, Reason};

/// Where results are on a dev machine, in the home folder.
pub const HOME: &str = "optivex-results";

/// Name of the link to the newest result.
pub const LATEST: &str = "latest";

/// Names of what is not whole yet, or goes, begin so.
const TEMPORARY: &str = ".result-";

/// Why a result was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Its files cannot be read, or are no files of a result.
    #[error("{0}")]
    Read(#[source] io::Error),
    /// The other side does not listen any more.
    #[error("{0}")]
    Write(#[source] io::Error),
}

/// One answer, as a line.
pub fn tell(out: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer).map_err(io::Error::other)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Sends a result that is over, all but the last `Done`.
pub fn send(
    out: &mut dyn Write,
    receipt: &Receipt,
    state: &State,
    folder: &Path,
    limits: &Limits,
) -> Result<(), SendError> {
    let job = Answer::Job {
        receipt: receipt.clone(),
        state: state.clone(),
    };
    tell(out, &job).map_err(SendError::Write)?;
    for name in ResultFile::ALL {
        let Some(mut file) = open(&folder.join(name.name()), limits).map_err(SendError::Read)? else {
            continue;
        };
        let (sha256, size) = Digest::of_reader((&mut file).take(limits.result_file_bytes)).map_err(SendError::Read)?;
        file.seek(SeekFrom::Start(0)).map_err(SendError::Read)?;
        tell(out, &Answer::File { name, size, sha256 }).map_err(SendError::Write)?;
        let mut left = size;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            match file.read(&mut buffer[..most]).map_err(SendError::Read)? {
                // So many bytes were announced: nothing sensible can follow.
                0 => return Err(SendError::Write(io::ErrorKind::UnexpectedEof.into())),
                count => {
                    out.write_all(&buffer[..count]).map_err(SendError::Write)?;
                    left -= count as u64;
                }
            }
        }
    }
    Ok(())
}

/// A regular file of a size that may be, and no link to one; none if there is none.
pub fn open(path: &Path, limits: &Limits) -> io::Result<Option<File>> {
    let odd = || io::Error::other(format!("{} is not a file of a result", path.display()));
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() || metadata.len() > limits.result_file_bytes => Err(odd()),
        Ok(_) => File::open(path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why a result was not stored.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// What came is not what may come.
    #[error("{0}")]
    Unsound(String),
    /// The other side said no.
    #[error("{1}")]
    Refused(Reason, String),
    /// It cannot be written.
    #[error("cannot write to {}: {error}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A result that is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its folder.
    pub folder: PathBuf,
    /// What is in its `result.json`.
    pub result: JobResult,
}

/// Takes a result in, whole or not at all, as the folder `ID` in `home`. The link `latest` leads to the result of the
/// newest receipt.
pub fn receive(input: &mut impl BufRead, home: &Path, limits: &Limits) -> Result<Stored, ReceiveError> {
    let wrote = |error| ReceiveError::Write {
        path: home.to_owned(),
        error,
    };
    durable::create_folders(home).map_err(wrote)?;
    let temporary = Temporary::in_folder(home);
    durable::create_folders(&temporary.0).map_err(wrote)?;
    let id = take(input, &temporary.0, limits)?;
    let result: Option<JobResult> = read_json(&temporary.0.join(ResultFile::Result.name()))
        .map_err(|error| ReceiveError::Unsound(format!("the result cannot be read: {error}")))?;
    let result = result.ok_or_else(|| ReceiveError::Unsound("there is no result.json among the files".to_owned()))?;
    if result.id != id {
        return Err(ReceiveError::Unsound(format!(
            "the result is that of {}, and not of {id}",
            result.id
        )));
    }
    let folder = home.join(id.to_string());
    publish(&temporary.0, &folder, home).map_err(wrote)?;
    link_latest(home, &result).map_err(wrote)?;
    remove_old(home, limits).map_err(wrote)?;
    Ok(Stored { folder, result })
}

/// The files, into a folder of their own; whose they are.
fn take(input: &mut impl BufRead, folder: &Path, limits: &Limits) -> Result<SubmissionId, ReceiveError> {
    let unsound = |why: String| Err(ReceiveError::Unsound(why));
    let mut id = None;
    let mut names = BTreeSet::new();
    let mut left = limits.result_bytes;
    loop {
        match read_answer(input, limits)? {
            Answer::Job { receipt, .. } if id.is_none() => id = Some(receipt.id),
            Answer::File { name, size, sha256 } if id.is_some() => {
                if !names.insert(name) {
                    return unsound(format!("{name} comes twice"));
                }
                if size > limits.result_file_bytes || size > left {
                    return unsound(format!("{name} has {size} bytes: more than may be"));
                }
                left -= size;
                take_file(input, &folder.join(name.name()), size, &sha256)?;
            }
            Answer::Uat { .. } | Answer::Alive => {}
            Answer::Refused { reason, message } => return Err(ReceiveError::Refused(reason, printable(&message))),
            Answer::Done => {
                return id.ok_or_else(|| ReceiveError::Unsound("nothing came".to_owned()));
            }
            other => return unsound(format!("this does not belong to a result: {other:?}")),
        }
    }
}

fn take_file(input: &mut impl BufRead, path: &Path, size: u64, sha256: &Digest) -> Result<(), ReceiveError> {
    let wrote = |error| ReceiveError::Write {
        path: path.to_owned(),
        error,
    };
    let mut file = durable::create_new(path, 0o600).map_err(wrote)?;
    let mut hasher = Hasher::default();
    let mut left = size;
    while left > 0 {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ReceiveError::Broken(error)),
        };
        if buffer.is_empty() {
            return Err(ReceiveError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(wrote)?;
        input.consume(count);
        left -= count as u64;
    }
    if hasher.finish() != *sha256 {
        return Err(ReceiveError::Unsound(format!(
            "{} has another SHA-256 than was said",
            path.display()
        )));
    }
    file.sync_all().map_err(wrote)
}

/// The next answer, of bounded length.
pub fn read_answer(input: &mut impl BufRead, limits: &Limits) -> Result<Answer, ReceiveError> {
    let mut line = Vec::new();
    input
        .take(limits.answer_bytes)
        .read_until(b'\n', &mut line)
        .map_err(ReceiveError::Broken)?;
    if line.last() != Some(&b'\n') {
        return match line.len() as u64 == limits.answer_bytes {
            true => Err(ReceiveError::Unsound("an answer that does not end".to_owned())),
            false => Err(ReceiveError::Broken(io::ErrorKind::UnexpectedEof.into())),
        };
    }
    serde_json::from_slice(&line).map_err(|error| {
        let start: String = String::from_utf8_lossy(&line).chars().take(100).collect();
        ReceiveError::Unsound(format!("not an answer ({error}): {}", printable(start.trim_end())))
    })
}

fn publish(from: &Path, to: &Path, home: &Path) -> io::Result<()> {
    durable::sync_folder(from)?;
    // A second one of the same id: judged again. Whoever reads the old one keeps it.
    let old = Temporary::in_folder(home);
    match fs::rename(to, &old.0) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    durable::rename(from, to)
}

fn link_latest(home: &Path, result: &JobResult) -> io::Result<()> {
    let link = home.join(LATEST);
    let newest: Option<JobResult> = read_json(&link.join(ResultFile::Result.name())).unwrap_or_default();
    if newest.is_some_and(|newest| newest.received > result.received) {
        return Ok(());
    }
    if fs::symlink_metadata(&link).is_ok_and(|there| !there.is_symlink()) {
        // Somebody's own file: theirs.
        return Ok(());
    }
    let temporary = Temporary::in_folder(home);
    std::os::unix::fs::symlink(result.id.to_string(), &temporary.0)?;
    durable::rename(&temporary.0, &link)
}

/// Removes the oldest results, and what receivers left that were killed; nothing that is no result.
fn remove_old(home: &Path, limits: &Limits) -> io::Result<()> {
    let mut results = Vec::new();
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        // Another receiver may be removing what it has made, or be at work.
        let Ok(metadata) = entry.metadata() else { continue };
        let modified = metadata.modified()?;
        if name.parse::<SubmissionId>().is_ok() && metadata.is_dir() {
            results.push((modified, entry.path()));
        } else if Temporary::is_name(name) && modified.elapsed().is_ok_and(|age| age > limits.connection() * 2) {
            drop(Temporary(entry.path()));
        }
    }
    results.sort();
    let keep = usize::try_from(limits.results_kept).unwrap_or(usize::MAX);
    for (_, path) in &results[..results.len().saturating_sub(keep)] {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A folder or a file that goes when it is not needed any more.
struct Temporary(PathBuf);

impl Temporary {
    fn in_folder(home: &Path) -> Self {
        Self(home.join(format!("{TEMPORARY}{}.tmp", durable::unique())))
    }

    fn is_name(name: &str) -> bool {
        name.starts_with(TEMPORARY) && name.ends_with(".tmp")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Renamed away, or left over from something that failed; the name begins with a dot, and nobody looks.
        let _ = match fs::symlink_metadata(&self.0) {
            Ok(there) if there.is_dir() => fs::remove_dir_all(&self.0),
            Ok(_) => fs::remove_file(&self.0),
            Err(_) => Ok(()),
        };
    }
}
