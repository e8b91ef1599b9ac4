//! The log file of one machine's set-up: every command, all that it said, how it ended.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A machine that says more than this is not worth the disk.
const MAX_LOG: u64 = 64 << 20;

/// Where it goes; all clones write to the same.
#[derive(Clone, Debug)]
pub struct Log(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: Option<File>,
    left: u64,
}

impl Log {
    /// A new file, and the directories to it; what the machine says may be private, so nobody else may read it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::options().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self(Arc::new(Mutex::new(Inner {
            file: Some(file),
            left: MAX_LOG,
        }))))
    }

    /// Keeps nothing.
    pub fn none() -> Self {
        Self(Arc::new(Mutex::new(Inner { file: None, left: 0 })))
    }

    /// A line of ours.
    pub fn line(&self, line: &str) {
        self.output(format!("{line}\n").as_bytes());
    }

    /// What a command said. A log that cannot be written (full disk) ends, and the set-up goes on: the log is there
    /// for people to look into, nothing depends on it.
    pub(crate) fn output(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &mut inner.file else { return };
        let failed = file.write_all(bytes).is_err();
        let full = inner.left < bytes.len() as u64;
        if full && let Some(file) = &mut inner.file {
            // As above: nothing depends on it.
            let _ = writeln!(file, "\n(the log ends here: {MAX_LOG} bytes)");
        }
        if failed || full {
            inner.file = None;
        }
        inner.left = inner.left.saturating_sub(bytes.len() as u64);
    }
}
