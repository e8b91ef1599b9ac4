//! What is written down about a rehearsal that stands, for those who look around in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::world::Dirs;

/// A rehearsal that stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Where the manager works.
    pub directory: PathBuf,
    /// What the manager's commands need.
    pub environment: BTreeMap<String, String>,
    /// First processes of hosts, as seen from inside.
    pub hosts: BTreeMap<String, u32>,
}

impl Standing {
    pub(super) fn write(&self, dirs: &Dirs) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("cannot write what stands")?;
        let path = dirs.run.join("standing.json");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Of the rehearsal in these directories.
    pub fn read(dirs: &Dirs) -> Result<Self> {
        let path = dirs.run.join("standing.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
    }
}
