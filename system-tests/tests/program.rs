//! The program as people and CI meet it: options and exit codes.

mod support;

use support::{program, text};

const ITSELF: &str = env!("CARGO_BIN_EXE_system-tests");

/// A users file that is good enough for an exchange that is not there.
fn users() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    optivex_system_tests::users::UsersFile::generated()
        .write(file.path())
        .expect("written");
    file
}

#[test]
fn exit_codes() {
    let users = users();
    let users = users.path().to_str().expect("UTF-8");
    let cases: [(&[&str], i32, &str); 13] = [
        (&["--help"], 0, "Exit codes:"),
        (&["--list"], 0, "1 boot (Boot, core)"),
        (&["--list", "--stage", "login", "--case", "logout"], 0, "login/logout: "),
        (&[], 2, "what to test?"),
        (&["--stage", "flying"], 2, "no stage \"flying\""),
        (&["--case", "flying"], 2, "no case \"flying\""),
        (&["--list", "--load-time", "2m"], 0, "16 load (Load, extension"),
        (&["--list", "--load-time", "10ms"], 2, "from 1s to 24h"),
        (&["--target", "http://127.0.0.1:1"], 2, "--users"),
        (
            &["--target", "x", "--users", "x", "--launch", "x"],
            2,
            "cannot be used with",
        ),
        (
            &["--target", "http://127.0.0.1:1", "--users", users],
            102,
            "http://127.0.0.1:1",
        ),
        (
            &["--target", "http://127.0.0.1:1", "--users", "/nowhere"],
            102,
            "/nowhere",
        ),
        (
            &["--launch", "/nowhere/exchange"],
            102,
            "cannot start \"/nowhere/exchange\"",
        ),
    ];
    for (arguments, code, told) in cases {
        let output = program(arguments);
        let all = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
        assert!(all.contains(told), "{arguments:?} does not tell {told:?}: {all}");
    }
}

/// A program that is no exchange at all: it fails the base, and the rest is blocked by it.
#[test]
fn a_subject_that_ends_at_once_fails_boot_and_blocks_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let (junit, markdown) = (directory.path().join("junit.xml"), directory.path().join("report.md"));
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let output = program(&[
        "--json",
        "--junit",
        &path(&junit),
        "--markdown",
        &path(&markdown),
        "--launch",
        ITSELF,
        "--list",
        "--stage",
        "boot",
    ]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(100), "{told}{}", text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_str(told.lines().last().expect("lines")).expect("JSON");
    assert_eq!(
        (&summary["passed"], &summary["error"]),
        (&0.into(), &0.into()),
        "{summary}"
    );
    assert_eq!(summary["stages"][1]["blocked_by"][0], "boot");
    assert!(told.contains("the exchange ended by itself (exit status: 0)"), "{told}");
    assert!(told.contains("1 boot (Boot, core)"), "its output is told: {told}");
    for path in [junit, markdown] {
        assert!(
            std::fs::metadata(&path).expect("written").len() > 0,
            "{}",
            path.display()
        );
    }
}
