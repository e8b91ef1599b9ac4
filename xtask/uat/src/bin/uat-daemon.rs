//! `uat-daemon`.

use std::process::ExitCode;

fn main() -> ExitCode {
    optivex_uat::daemon::cli::main()
}
