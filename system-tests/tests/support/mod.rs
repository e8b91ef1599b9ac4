//! Programs that the tests start.

#![allow(dead_code, missing_docs, unreachable_pub)]

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The real exchange: given, or built now (nothing to do where the workspace was built already).
pub fn exchange() -> PathBuf {
    match env::var_os("OPTIVEX_EXCHANGE_BIN") {
        Some(given) => given.into(),
        None => build("optivex", &[]),
    }
}

/// The exchange that can be started with a fault.
pub fn faulty_exchange() -> PathBuf {
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
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo tells the path of the binary")
}
