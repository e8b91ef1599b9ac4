//! Exit codes: those of every command of the repository.

use std::process::ExitCode;

/// Why the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every case passed, or was skipped with a reason.
    Ok = 0,
    /// Trouble of our own: a report that cannot be written, an error in a case.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The exchange failed a case.
    TestsFailed = 100,
    /// The exchange or its machine could not be reached, so that nothing was judged.
    Infrastructure = 102,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// For `--help`.
pub const TABLE: &str = "Exit codes:
  0    every case passed, or was skipped with a reason
  1    failed: an error of the tests themselves
  2    usage
  100  tests failed
  102  infrastructure: the exchange under --target cannot be reached, a port or a file is missing";
