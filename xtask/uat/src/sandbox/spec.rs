//! What a cell is told, what it tells, and where things lie in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use optivex_bundle::limits::Limits;
use optivex_bundle::verdict::Limit;
use serde::{Deserialize, Serialize};

/// Where everything lies inside of a cell.
pub(crate) const CELL: &str = "/tmp/cell";
/// Where the submission lies inside of its sandbox.
pub(crate) const APP: &str = "/app";
/// Its data, inside of its sandbox.
pub(crate) const DATA: &str = "/data";

/// A path in the cell.
pub(crate) fn in_cell(name: &str) -> PathBuf {
    Path::new(CELL).join(name)
}

/// What to run in a cell: told to it as a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CellSpec {
    /// The submission's start command, relative to the folder it was unpacked to.
    pub start: Vec<String>,
    /// Environment of the submission beyond the convention's.
    pub env: BTreeMap<String, String>,
    /// Arguments of the tests, before `--launch`.
    pub arguments: Vec<String>,
    /// Bounds of the submission.
    pub limits: Limits,
    /// What is left of the wall time.
    pub wall: Duration,
    /// Folder of cgroups that the submission's processes go to, where there is one.
    pub cgroup: Option<PathBuf>,
}

/// Why a cell ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum CellEnd {
    /// The tests came to their end, with this exit code (128 and the signal for one).
    Tested {
        /// Exit code of the tests.
        code: i32,
    },
    /// The submission ran into a bound.
    Broke {
        /// Which.
        limit: Limit,
        /// With numbers, for people.
        detail: String,
    },
    /// Its wall time was over.
    TimedOut,
    /// The cell could not do its work: ours.
    Trouble {
        /// What went wrong.
        message: String,
    },
}

/// What a cell tells at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellReport {
    /// Why it ended.
    #[serde(flatten)]
    pub end: CellEnd,
    /// Processes of submissions that were there after the tests had ended all of them: their names.
    pub survivors: Vec<String>,
    /// The most that was seen.
    pub peak: Usage,
}

/// What all processes of a submission use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of resident memory that is not of files.
    pub memory_bytes: u64,
    /// Processes and threads of the fullest sandbox.
    pub processes: u64,
    /// Bytes on its private file systems.
    pub disk_bytes: u64,
}

impl Usage {
    pub(crate) fn most(self, other: Usage) -> Usage {
        Usage {
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            processes: self.processes.max(other.processes),
            disk_bytes: self.disk_bytes.max(other.disk_bytes),
        }
    }
}

/// One start of the submission, told by its launcher when it ended by itself or was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// Number of the start.
    pub launch: u32,
    /// Exit code; 128 and the signal for one.
    pub code: i32,
    /// Whether the tests had asked it to end.
    pub asked: bool,
    /// Whether the launcher could start it at all: if not, that is ours.
    pub trouble: Option<String>,
}

/// A line about the starts of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub(crate) enum Told {
    /// A sandbox is about to start a submission.
    Started {
        /// Whose data it has: the folder's name.
        home: String,
        /// Its pid namespace.
        namespace: String,
    },
    /// It ended.
    Ended(Launched),
}

impl Told {
    /// Writes it down in one write: lines of those that end at the same time stay whole.
    pub(crate) fn write(&self, file: &mut File) -> Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        file.write_all(&line).context("telling how it ended")
    }

    /// All ends so far.
    pub(crate) fn ends(out: &Path) -> Result<Vec<Launched>> {
        let told: Vec<Told> = super::read_lines(&out.join(out::LAUNCHES))?;
        let end = |told| match told {
            Told::Ended(launched) => Some(launched),
            Told::Started { .. } => None,
        };
        Ok(told.into_iter().filter_map(end).collect())
    }
}

/// Names of files in a cell's folder `out`.
pub(crate) mod out {
    pub(crate) const SPEC: &str = "cell.json";
    pub(crate) const REPORT: &str = "report.json";
    pub(crate) const NAMESPACES: &str = "namespaces.json";
    pub(crate) const LAUNCHES: &str = "launches.jsonl";
    /// Made by the launcher whose submission printed too much.
    pub(crate) const OVER_LOG: &str = "over-log";
}
