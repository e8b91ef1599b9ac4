//! The exchange with the fault that `OPTIVEX_FAULT` names; without it, a sound one.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use optivex_faults::{Fault, planted};

/// Faults that a setting makes.
const SETTINGS: &[(Fault, &str, &str)] = &[
    (Fault::WorkerForEachConnection, "OPTIVEX_MAX_CONNECTIONS", "32"),
    (Fault::SilenceUnnoticed, "OPTIVEX_KEEPALIVE_INTERVAL", "24h"),
    (Fault::OversizedTruncated, "OPTIVEX_MAX_MESSAGE_SIZE", "32MiB"),
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var("OPTIVEX_FAULT") {
        match optivex_faults::plant(&name) {
            Ok(entry) => eprintln!("optivex-faulty: {}: {}", entry.name, entry.what),
            Err(error) => {
                eprintln!("optivex-faulty: {error}");
                return ExitCode::from(2);
            }
        }
    }
    for (fault, name, value) in SETTINGS {
        if planted(*fault) && std::env::var_os(name).is_none() {
            return with_setting(name, value);
        }
    }
    optivex_server::cli::main()
}

/// Becomes the same program with this setting: an environment is not changed safely in any other way.
fn with_setting(name: &str, value: &str) -> ExitCode {
    let program = std::env::current_exe().unwrap_or_else(|_| "optivex-faulty".into());
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(name, value)
        .exec();
    eprintln!("optivex-faulty: cannot start again: {error}");
    ExitCode::FAILURE
}
