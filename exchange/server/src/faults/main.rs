//! The exchange with the fault that `OPTIVEX_FAULT` names; without it, a sound one.

use std::process::ExitCode;

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
    optivex_server::cli::main()
}
