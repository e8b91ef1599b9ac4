//! The sound exchange passes every case.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The real exchange: given, or built now (nothing to do where the workspace was built already).
fn exchange() -> PathBuf {
    if let Some(given) = env::var_os("OPTIVEX_EXCHANGE_BIN") {
        return given.into();
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--package",
            "optivex-server",
            "--bin",
            "optivex",
            "--message-format",
            "json",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "optivex")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo tells the path of the binary")
}

#[test]
fn the_sound_exchange_passes_every_case() {
    let output = Command::new(env!("CARGO_BIN_EXE_system-tests"))
        .args(["--launch".as_ref(), exchange().as_os_str(), "serve".as_ref()])
        .output()
        .expect("the tests run");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}\n{errors}");
    assert!(told.contains(" 0 failed, 0 errors, 0 blocked, 0 skipped "), "{told}");
}
