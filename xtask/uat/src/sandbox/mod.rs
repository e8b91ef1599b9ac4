//! Where submissions run.
//!
//! A **cell** is a set of namespaces of a job: a network with nothing but a loopback, processes and a /tmp of its own,
//! the machine's files read-only. In it run the tests, which start the submission through a **launcher**; that starts
//! it in a **sandbox**, which shares with the cell the network and nothing else. So the tests reach the submission, it
//! does not reach them, and the end of the cell's first process is the end of everything in it: the kernel sees to it.
//!
//! ```text
//! daemon ─ bwrap ─ cell (pid 1: watches) ─ system-tests ─ launch ─ bwrap ─ inner (pid 1: limits) ─ submission
//!          └────── net, pid, mount, ipc, uts, user ──────┘        └─ pid, mount, ipc, uts, user, seccomp ──┘
//! ```

mod cell;
pub mod cgroup;
mod init;
mod inner;
mod launch;
mod log;
mod mounts;
mod procfs;
mod seccomp;
mod spec;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use optivex_bundle::limits::Limits;
use rustix::process::WaitStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use cell::{Cancel, Cell, CellRun};
pub(crate) use mounts::missing_programs;
pub use spec::{CellEnd, CellReport, CellSpec, Launched, Usage};

/// Parts of a cell that are processes of this program, by its hidden subcommands.
#[derive(clap::Subcommand, Debug)]
pub enum Part {
    /// First process of a cell.
    #[command(hide = true)]
    Cell,
    /// What the tests start in a submission's place.
    #[command(hide = true)]
    Launch,
    /// First process of a sandbox.
    #[command(hide = true)]
    Inner {
        /// As JSON.
        limits: String,
        /// Number of the start.
        launch: u32,
        /// Name of its data.
        home: String,
        /// Where it is told how it ended.
        report: i32,
        /// Closed when the launcher is gone.
        launcher: i32,
        /// The submission.
        #[arg(last = true)]
        command: Vec<String>,
    },
}

impl Part {
    /// Is that part.
    pub fn run(&self) -> Result<ExitCode> {
        match self {
            Part::Cell => init::run(),
            Part::Launch => launch::run(),
            Part::Inner {
                limits,
                launch,
                home,
                report,
                launcher,
                command,
            } => {
                let limits: Limits = serde_json::from_str(limits).context("limits")?;
                let start = inner::Start {
                    limits,
                    launch: *launch,
                    home,
                    command,
                };
                inner::run(&start, *report, *launcher)
            }
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    u8::try_from(code_of_wait(status)).unwrap_or(u8::MAX)
}

/// Exit code; 128 and the signal for one, as shells have it.
fn code_of_wait(status: WaitStatus) -> i32 {
    code_of(ExitStatus::from_raw(status.as_raw()))
}

fn code_of(status: ExitStatus) -> i32 {
    status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(255)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec(value)?;
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Lines of JSON; none where there is no file.
fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| path.display().to_string()))
        .collect()
}
