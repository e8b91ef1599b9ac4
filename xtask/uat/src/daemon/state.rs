//! The daemon's own part of the spool, `state/`, and what it does to deployments there.
//!
//! ```text
//! state/ledger.jsonl                  one line a result
//! state/done/PARTICIPANT/ID/          bundle and receipt of what was judged, until the room is needed
//! state/outbox/PARTICIPANT/ID         a result that is still to be sent home
//! state/rejudged/PARTICIPANT/ID       a result that is about to take the place of another one
//! state/bin/                          the programs that run, as they were when the daemon began
//! state/work/SLOT/                    where the job of a slot is unpacked and runs
//! state/tests/SHA256/                 system tests, unpacked
//! state/pause.json, state/freeze.json what an operator asked for
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use optivex_bundle::digest::SubmissionId;
use optivex_bundle::durable;
use optivex_bundle::names::Name;
use optivex_bundle::spool::{Spool, read_json};
use optivex_exit::{Exit, Failure};
use serde::{Deserialize, Serialize};

/// Paths in `state/`.
#[derive(Clone, Debug)]
pub struct State {
    /// The spool that it is a part of.
    pub spool: Spool,
    root: PathBuf,
}

/// Tries at a deployment, kept beside it: how many were begun, and what became of those that we lost.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Tries {
    /// Begun, whatever became of them.
    pub begun: u32,
    /// Why, in one line each.
    pub troubles: Vec<String>,
    /// When it was claimed, as RFC 3339.
    pub claimed: String,
}

/// An operator's word that holds until it is taken back.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Word {
    /// In one line.
    pub why: String,
    /// When, as RFC 3339 in UTC.
    pub since: String,
}

impl State {
    /// Of this spool; makes what is missing.
    pub fn create(spool: Spool) -> Result<Self> {
        spool.create().with_context(|| spool.root().display().to_string())?;
        let root = spool.state_folder();
        let state = Self { spool, root };
        for folder in ["done", "outbox", "rejudged", "work", "tests", "bin"] {
            durable::create_folders(&state.root.join(folder)).with_context(|| state.root.display().to_string())?;
        }
        let public = state.public("");
        durable::create_folders(&public).with_context(|| public.display().to_string())?;
        fs::set_permissions(&public, fs::Permissions::from_mode(0o755))?;
        pass_through(state.spool.root())?;
        if rustix::process::getuid().is_root() {
            // What runs as nobody has to get to its work, and to no more.
            pass_through(&state.root)?;
            for folder in ["work", "tests", "bin"] {
                pass_through(&state.root.join(folder))?;
            }
        }
        Ok(state)
    }

    /// A file of its own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What anybody on this machine may read, such as a web server: the only part of the spool of which that is so.
    pub fn public(&self, name: &str) -> PathBuf {
        self.spool.root().join("public").join(name)
    }

    /// Scratch of a slot.
    pub fn work(&self, slot: &str) -> PathBuf {
        self.root.join("work").join(slot)
    }

    /// Where unpacked tests are.
    pub fn tests(&self) -> PathBuf {
        self.root.join("tests")
    }

    /// A deployment that was judged.
    pub fn done(&self, participant: &Name, id: SubmissionId) -> PathBuf {
        self.root.join("done").join(participant.as_str()).join(id.to_string())
    }

    /// Folder of all deployments that were judged.
    pub fn all_done(&self) -> PathBuf {
        self.root.join("done")
    }

    /// Folder of results to be sent.
    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    /// Takes a deployment.
    pub fn claim(&self, participant: &Name, id: SubmissionId) -> Result<()> {
        // Nobody replaces a result of it from here on.
        let _lock = self.lock("results")?;
        durable::create_folders(&self.spool.claimed(participant))?;
        let from = self.spool.waiting_job(participant, id);
        durable::rename(&from, &self.spool.claimed_job(participant, id))
            .with_context(|| format!("claiming {}", from.display()))
    }

    /// Puts a judged deployment away.
    pub fn put_away(&self, participant: &Name, id: SubmissionId) -> Result<()> {
        let (from, to) = (self.spool.claimed_job(participant, id), self.done(participant, id));
        if !from.exists() {
            return Ok(());
        }
        let folder = to.parent().context("done is a folder")?;
        durable::create_folders(folder)?;
        if to.exists() {
            // The same bundle, judged before.
            fs::remove_dir_all(&to).with_context(|| to.display().to_string())?;
        }
        durable::rename(&from, &to).with_context(|| to.display().to_string())
    }

    /// Tries at a claimed deployment.
    pub fn tries(&self, participant: &Name, id: SubmissionId) -> Result<Tries> {
        let path = self.tries_file(participant, id);
        match read_json(&path) {
            // Written whole or not at all: the disk did that. It matters less than the deployment.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                tracing::error!("tries that cannot be read: {error}");
                Ok(Tries::default())
            }
            read => Ok(read.with_context(|| path.display().to_string())?.unwrap_or_default()),
        }
    }

    /// Keeps them.
    pub fn keep_tries(&self, participant: &Name, id: SubmissionId, tries: &Tries) -> Result<()> {
        write_json(&self.tries_file(participant, id), tries)
    }

    fn tries_file(&self, participant: &Name, id: SubmissionId) -> PathBuf {
        self.spool.claimed_job(participant, id).join("tries.json")
    }

    /// What an operator asked for: `pause` or `freeze`.
    pub fn word(&self, what: &str) -> Result<Option<Word>> {
        Ok(read_json(&self.file(&format!("{what}.json")))?)
    }

    /// Keeps or takes back an operator's word.
    pub fn set_word(&self, what: &str, word: Option<&Word>) -> Result<()> {
        let path = self.file(&format!("{what}.json"));
        match word {
            Some(word) => write_json(&path, word),
            None => durable::remove(&path).with_context(|| path.display().to_string()),
        }
    }

    /// Marks a result to be sent home. Each mark differs, so that whoever has sent an older one knows.
    pub fn to_be_sent(&self, participant: &Name, id: SubmissionId) -> Result<()> {
        let folder = self.outbox().join(participant.as_str());
        durable::create_folders(&folder)?;
        let _lock = self.lock("results")?;
        durable::write(&folder.join(id.to_string()), durable::unique().as_bytes(), 0o600).context("the outbox")
    }

    /// Takes a mark away, unless the result was replaced since the mark was read.
    pub fn is_sent(&self, mark: &Path, read: &[u8]) -> Result<()> {
        let _lock = self.lock("results")?;
        if fs::read(mark).is_ok_and(|now| now == read) {
            durable::remove(mark).with_context(|| mark.display().to_string())?;
        }
        Ok(())
    }

    /// Waits for a lock that daemon and commands share; held until it is dropped.
    pub fn lock(&self, name: &str) -> Result<File> {
        let (path, file) = self.lock_file(name)?;
        file.lock().with_context(|| path.display().to_string())?;
        Ok(file)
    }

    /// Takes a lock, if nobody has it; whoever does is told by their process.
    pub fn try_lock(&self, name: &str, who: &str) -> Result<File> {
        let (path, file) = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => {
                fs::write(&path, format!("{}\n", std::process::id()))?;
                Ok(file)
            }
            Err(fs::TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let message = format!("{who} has this spool: process {}", holder.trim());
                Err(Failure::new(Exit::Locked, message).into())
            }
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = self.file(&format!("{name}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        Ok((path.clone(), file.with_context(|| path.display().to_string())?))
    }
}

/// Lets everybody pass through a folder who knows where to.
fn pass_through(folder: &Path) -> Result<()> {
    let mode = fs::metadata(folder)?.permissions().mode() & 0o7777;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o011)).with_context(|| folder.display().to_string())
}

/// Lets everybody read a tree that was unpacked.
pub(crate) fn readable(tree: &Path) -> Result<()> {
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            readable(&entry.path())?;
        }
    }
    Ok(())
}

/// A folder that is empty.
pub(crate) fn fresh(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
        _ => fs::create_dir_all(path).with_context(|| path.display().to_string()),
    }?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| path.display().to_string())
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    durable::write(path, &serde_json::to_vec(value)?, 0o644).with_context(|| path.display().to_string())
}

/// Now, as receipts have it.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}

/// Seconds between two points in time; 0 for what makes no sense.
pub(crate) fn seconds_between(from: &str, to: &str) -> f64 {
    match (humantime::parse_rfc3339(from), humantime::parse_rfc3339(to)) {
        (Ok(from), Ok(to)) => to.duration_since(from).unwrap_or_default().as_secs_f64(),
        _ => 0.0,
    }
}
