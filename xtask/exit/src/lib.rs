//! Exit codes: the same for every command of the repository.

use std::fmt;
use std::process::ExitCode;

/// Why a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for is done.
    Ok = 0,
    /// Anything that has no code of its own.
    Failed = 1,
    /// Arguments or settings that make no sense.
    Usage = 2,
    /// What was tested is wrong.
    TestsFailed = 100,
    /// It does not compile.
    BuildFailed = 101,
    /// A tool, a machine or the network is missing: nothing could be judged.
    Infrastructure = 102,
    /// Another run holds the lock.
    Locked = 103,
    /// Some hosts are done and some are not.
    SomeHostsFailed = 104,
    /// It failed, and what was there before is there again.
    RolledBack = 105,
}

const MEANINGS: [(Exit, &str); 9] = [
    (Exit::Ok, "ok"),
    (Exit::Failed, "failed"),
    (Exit::Usage, "usage"),
    (Exit::TestsFailed, "tests failed"),
    (Exit::BuildFailed, "build failed"),
    (Exit::Infrastructure, "infrastructure: a tool or the network is missing"),
    (Exit::Locked, "locked by another run"),
    (Exit::SomeHostsFailed, "some hosts failed"),
    (Exit::RolledBack, "rolled back"),
];

/// The table for `--help`.
pub fn table() -> String {
    MEANINGS.iter().fold("Exit codes:".to_owned(), |text, (exit, meaning)| {
        format!("{text}\n  {:<4}{meaning}", *exit as u8)
    })
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error that says how the process ends; any other error is [`Exit::Failed`].
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure that ends the process with `exit`, and is told as `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// How a process ends that failed with this error.
pub fn code_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(Exit::Failed, |failure| failure.exit)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn codes() {
        let cases = [
            (anyhow::anyhow!("anything"), Exit::Failed),
            (
                Failure::new(Exit::Infrastructure, "no npm").into(),
                Exit::Infrastructure,
            ),
            (
                Err::<(), _>(Failure::new(Exit::TestsFailed, "2 of 3"))
                    .context("around it")
                    .expect_err("is one"),
                Exit::TestsFailed,
            ),
        ];
        for (error, exit) in cases {
            assert_eq!(code_of(&error), exit, "{error:#}");
        }
    }

    #[test]
    fn the_table_has_every_code_once_in_order() {
        let codes: Vec<u8> = MEANINGS.iter().map(|(exit, _)| *exit as u8).collect();
        assert_eq!(codes, [0, 1, 2, 100, 101, 102, 103, 104, 105]);
        assert!(table().contains("101 build failed"), "{}", table());
    }
}
