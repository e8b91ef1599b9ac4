//! `rehearse`.

use std::process::ExitCode;

fn main() -> ExitCode {
    start()
}

#[cfg(target_os = "linux")]
fn start() -> ExitCode {
    optivex_rehearse::cli::main()
}

#[cfg(not(target_os = "linux"))]
fn start() -> ExitCode {
    eprintln!("error: the rehearsal's hosts are namespaces of Linux: rehearse on a Linux machine");
    optivex_exit::Exit::Infrastructure.into()
}
