//! What the benchmarks of the server share: the exchange and its baselines as processes, clients that
//! send the same load to both, and rows for `cargo xtask bench`.

#![allow(dead_code, unreachable_pub)] // A module of several programs, each of which uses its part.

pub mod client;
pub mod disk;
pub mod echo;
pub mod feed;
pub mod flow;
pub mod process;

use std::path::PathBuf;
use std::time::Duration;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Failure>;

/// How a benchmark was started.
pub struct Args {
    /// Fewer and shorter rounds: shows that everything works, and numbers for a first look.
    pub quick: bool,
    /// Parts of names of the cases to run; none for all.
    pub cases: Vec<String>,
}

impl Args {
    /// Of this process: `cargo bench` adds `--bench`.
    pub fn read() -> Self {
        let given: Vec<String> = std::env::args().skip(1).collect();
        Self {
            quick: given.iter().any(|arg| arg == "--quick") || !given.iter().any(|arg| arg == "--bench"),
            cases: given.into_iter().filter(|arg| !arg.starts_with("--")).collect(),
        }
    }

    /// Whether a case is to be run.
    pub fn wants(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|part| case.contains(part.as_str()))
    }

    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// How long one subject is measured in one round.
    pub fn measured(&self) -> Duration {
        Duration::from_millis(if self.quick { 700 } else { 2_000 })
    }

    /// How long it runs before that.
    pub fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 500 })
    }
}

/// A directory for what a benchmark writes, on the disk that the build is on.
pub fn directory(name: &str) -> Result<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench").join(name);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// What may happen in one round before something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
