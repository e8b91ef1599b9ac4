//! What the gate did, for the program managers: one line a conversation, in two files of bounded size.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

use optivex_bundle::manifest::printable;
use optivex_bundle::names::Name;
use optivex_bundle::spool::Spool;

use super::Outcome;

const FULL: u64 = 8 << 20;

/// The file.
pub struct GateLog<'a> {
    /// Below its `incoming`.
    pub spool: &'a Spool,
    /// Who asks.
    pub participant: &'a Name,
}

impl GateLog<'_> {
    /// Adds a line. The older half is thrown away when it is full.
    pub fn write(&self, outcome: &Outcome) -> io::Result<()> {
        let folder = self.spool.root().join("incoming");
        let path = folder.join("gate.log");
        if fs::metadata(&path).is_ok_and(|file| file.len() > FULL) {
            fs::rename(&path, folder.join("gate.log.1"))?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let line = format!(
            "{now} {} asked {} answered {}",
            self.participant, outcome.asked, outcome.answered
        );
        // One write, so that lines of several gates do not mix.
        file.write_all(format!("{}\n", printable(&line).replace('\n', " ")).as_bytes())
    }
}
