//! One run at a time: a file that tells who holds it.
//!
//! The kernel holds the lock (`flock`), so a run that dies lets go of it. The text in the file is for people, and for
//! machines that share the folder over a network, where `flock` may not reach: there the text stands until it is stolen.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// Who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Holder {
    /// User.
    pub user: String,
    /// Machine.
    pub host: String,
    /// Process.
    pub pid: u32,
    /// What it does.
    pub command: String,
    /// Since when.
    pub since: Moment,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            user,
            host,
            pid,
            command,
            since,
        } = self;
        write!(f, "{user}@{host}, process {pid}, {command}, since {since}")
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum RunLockError {
    /// Somebody else has it.
    #[error("another run holds {}: {holder}. Wait for it{steal}", .file.display())]
    Held {
        /// The file.
        file: PathBuf,
        /// Who.
        holder: String,
        /// What to do if that run is gone.
        steal: &'static str,
    },
    /// The disk's.
    #[error("{}: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

impl RunLock {
    /// Takes it; with `steal` also from a run on another machine that is known to be gone.
    ///
    /// # Errors
    /// A run of this machine holds it, or one of another machine did and did not let go of it.
    pub fn take(path: &Path, holder: &Holder, steal: bool) -> Result<Self, RunLockError> {
        let io = |error| RunLockError::Io {
            file: path.to_owned(),
            error,
        };
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let mut file = open.map_err(io)?;
        let is_free = match file.try_lock() {
            Ok(()) => true,
            Err(std::fs::TryLockError::WouldBlock) => false,
            Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
        };
        let mut text = String::new();
        (&mut file).take(64 << 10).read_to_string(&mut text).map_err(io)?;
        let before: Option<Holder> = serde_yaml::from_str(&text).ok();
        let held = |steal| RunLockError::Held {
            file: path.to_owned(),
            holder: before.as_ref().map_or("somebody".to_owned(), Holder::to_string),
            steal,
        };
        if !is_free {
            // It is alive: stealing would make two of them.
            return Err(held(", or stop it with Ctrl-C"));
        }
        let elsewhere = before.as_ref().is_some_and(|before| before.host != holder.host);
        if elsewhere && !steal {
            return Err(held(". If it is gone for sure: --steal-lock"));
        }
        let text = serde_yaml::to_string(holder).map_err(|error| io(io::Error::other(error)))?;
        file.rewind().map_err(io)?;
        file.set_len(0).map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        Ok(Self { file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Whoever comes next finds no holder; the lock itself goes with the file.
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(host: &str) -> Holder {
        Holder {
            user: "m".to_owned(),
            host: host.to_owned(),
            pid: 7,
            command: "apply".to_owned(),
            since: Moment::from_unix_s(0),
        }
    }

    #[test]
    fn one_run_at_a_time() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("lock");
        let first = RunLock::take(&path, &holder("here"), false).expect("free");
        for steal in [false, true] {
            let told = RunLock::take(&path, &holder("here"), steal)
                .expect_err("held")
                .to_string();
            assert!(
                told.contains("m@here, process 7, apply, since 1970-01-01T00:00:00Z. Wait for it, or stop"),
                "{told}"
            );
        }
        drop(first);
        drop(RunLock::take(&path, &holder("there"), false).expect("free again"));
    }

    #[test]
    fn a_run_that_died_here_holds_nothing_and_one_elsewhere_is_stolen_from_on_demand() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("lock");
        std::fs::write(&path, serde_yaml::to_string(&holder("here")).expect("YAML")).expect("written");
        drop(RunLock::take(&path, &holder("here"), false).expect("its holder is gone"));
        std::fs::write(&path, serde_yaml::to_string(&holder("there")).expect("YAML")).expect("written");
        let told = RunLock::take(&path, &holder("here"), false)
            .expect_err("who knows")
            .to_string();
        assert!(told.ends_with("If it is gone for sure: --steal-lock"), "{told}");
        drop(RunLock::take(&path, &holder("here"), true).expect("stolen"));
    }
}
