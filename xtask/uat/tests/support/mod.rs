//! What the tests of the daemon share.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// A user that nobody is, for cells where the tests run as root.
pub const ACCOUNT: u32 = 61_900;

pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

pub fn account() -> Option<u32> {
    is_root().then_some(ACCOUNT)
}

/// A folder that the account of a cell may pass through.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path());
    folder
}

pub fn open(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
}

/// The daemon.
pub fn daemon() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_uat-daemon"))
}

/// The system tests.
pub fn system_tests() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "optivex-system-tests", "--bin", "system-tests"], "system-tests"))
}

/// The reference exchange.
pub fn exchange() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "optivex-server", "--bin", "optivex"], "optivex"))
}

/// The one with faults.
pub fn faulty() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        build(
            &["-p", "optivex-server", "--features", "faults", "--bin", "optivex-faulty"],
            "optivex-faulty",
        )
    })
}

/// Submissions that misbehave, by mode.
pub fn hostile() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "optivex-uat", "--example", "hostile"], "examples/hostile"))
}

fn build(arguments: &[&str], file: &str) -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked"])
        .args(arguments)
        .status()
        .expect("cargo starts");
    assert!(status.success(), "cargo build {arguments:?}: {status}");
    // .../debug/uat-daemon
    let target = daemon().parent().expect("a folder");
    let built = target.join(file);
    assert!(built.is_file(), "{}", built.display());
    built
}

/// A folder with one program in it, by that name.
pub fn with_program(program: &Path, name: &str, into: &Path) {
    fs::create_dir_all(into).expect("a folder");
    open(into);
    let to = into.join(name);
    if fs::hard_link(program, &to).is_err() {
        fs::copy(program, &to).expect("a copy");
    }
}
