//! The program, and the exchanges that it is run against.
#![allow(dead_code)] // Each test file uses its part.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("system-tests is a folder of the repository")
}

/// Runs the program to its end.
pub(crate) fn program(arguments: &[impl AsRef<OsStr>]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_system-tests"))
        .args(arguments)
        .output()
        .expect("it runs")
}

/// What a program wrote.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The real exchange: given, or built now (nothing to do where the workspace was built already).
pub(crate) fn exchange() -> PathBuf {
    match env::var_os("OPTIVEX_EXCHANGE_BIN") {
        Some(given) => given.into(),
        None => build("optivex", &[]),
    }
}

/// The exchange that can be started with a fault.
pub(crate) fn faulty_exchange() -> PathBuf {
    match env::var_os("OPTIVEX_FAULTY_BIN") {
        Some(given) => given.into(),
        None => build("optivex-faulty", &["--features", "faults"]),
    }
}

fn build(program: &str, features: &[&str]) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--locked", "--package", "optivex-server", "--bin", program])
        .args(features)
        .args(["--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo tells the path of the binary")
}

/// The command of the exchange in Python. `cargo xtask` says in `OPTIVEX_TOOLS` where it put Python; a plain
/// `cargo test` finds what it installed before.
pub(crate) fn python_exchange() -> [PathBuf; 2] {
    let tools = env::var_os("OPTIVEX_TOOLS").map_or_else(|| repository().join("target/tools"), PathBuf::from);
    assert!(
        tools.join("python.stamp").exists(),
        "Python's gRPC is not in {}: run cargo xtask test",
        tools.display()
    );
    [
        tools.join("python/bin/python3"),
        repository().join("system-tests/subjects/exchange.py"),
    ]
}
