//! The clients that `cargo xtask test` installs, and the JSON that they print.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Where `cargo xtask` puts tools: it says so in `OPTIVEX_TOOLS`; a plain `cargo test` finds what it
/// installed before.
pub(crate) fn tools() -> PathBuf {
    let tools = std::env::var_os("OPTIVEX_TOOLS").map_or_else(|| repository().join("target/tools"), PathBuf::from);
    assert!(
        tools.join("python.stamp").exists() && tools.join("node.stamp").exists(),
        "grpcurl, buf and Python's gRPC are not in {}: run cargo xtask test",
        tools.display()
    );
    tools
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("exchange/server is in the repository")
        .to_path_buf()
}

pub(crate) fn grpcurl() -> Command {
    Command::new(tools().join("python/bin/grpcurl"))
}

pub(crate) fn buf() -> Command {
    Command::new(tools().join("node/node_modules/.bin/buf"))
}

pub(crate) fn python() -> Command {
    Command::new(tools().join("python/bin/python3"))
}

/// What a finished program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) ok: bool,
}

/// Runs a program to its end.
pub(crate) fn said(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    Said {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        ok: output.status.success(),
    }
}

/// As [`said`], of a program that must succeed.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let said = said(command);
    assert!(said.ok, "{command:?} failed:\n{}{}", said.stdout, said.stderr);
    said.stdout
}

/// As [`succeeds`], of one that prints one JSON object.
pub(crate) fn json(command: &mut Command) -> Value {
    let stdout = succeeds(command);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{command:?} printed no JSON ({error}): {stdout}"))
}
