//! Everything that goes wrong on a first day has a message that says what to do.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::machine::{Machine, run, told};

#[test]
fn messages() {
    type Break = fn(&Machine, &mut Command);
    let cases: [(&str, Break, i32, &str); 14] = [
        (
            "no environment",
            |_, deploy| {
                deploy.env_remove("CK_UAT_HOST");
            },
            102,
            "CK_UAT_HOST is not set",
        ),
        (
            "no user",
            |_, deploy| {
                deploy.env("CK_UAT_USER", "");
            },
            102,
            "CK_UAT_USER is not set",
        ),
        (
            "no key",
            |machine, _| fs::remove_file(machine.path("dev/.ssh/id_uat")).expect("removed"),
            102,
            "id_uat is not there",
        ),
        (
            "another key",
            |machine, _| {
                fs::copy(machine.path("uat/host_key"), machine.path("dev/.ssh/id_uat")).expect("copied");
                fs::remove_file(machine.path("dev/.ssh/id_uat.pub")).expect("removed");
            },
            102,
            "UAT does not know your key",
        ),
        (
            "host key unknown",
            |machine, _| fs::write(machine.path("dev/.ssh/known_hosts"), "").expect("written"),
            102,
            "does not know UAT's host key",
        ),
        (
            "host key changed",
            |machine, _| {
                let path = machine.path("dev/.ssh/known_hosts");
                let other = fs::read_to_string(machine.path("uat/id_bob.pub")).expect("a key");
                fs::write(path, format!("[127.0.0.1]:{} {other}", machine.port)).expect("written");
            },
            102,
            "another host key",
        ),
        (
            "down",
            |_, deploy| {
                let port = TcpListener::bind(("127.0.0.1", 0))
                    .expect("a port")
                    .local_addr()
                    .expect("one")
                    .port();
                deploy.env("CK_UAT_HOST", format!("127.0.0.1:{port}"));
            },
            102,
            "UAT cannot be reached",
        ),
        (
            "no spool",
            |machine, _| fs::remove_dir_all(machine.path("spool")).expect("removed"),
            102,
            "UAT is not set up",
        ),
        (
            "no repository",
            |machine, _| fs::remove_dir_all(machine.path("repository/.git")).expect("removed"),
            2,
            "not in a git repository",
        ),
        (
            "no commit",
            |machine, _| {
                fs::remove_dir_all(machine.path("repository/.git")).expect("removed");
                machine.git(&["init", "--quiet"]);
            },
            2,
            "there is no commit yet",
        ),
        (
            "dirty",
            |machine, _| machine.write("program", b"changed"),
            2,
            " M program\n",
        ),
        (
            "build fails",
            |machine, _| {
                machine.write(
                    "optivex.yaml",
                    b"build: [git, no-such-command]\nartefacts: [program]\nstart: [./program]\n",
                );
                machine.commit();
            },
            101,
            "failed (exit status: 1): nothing was submitted",
        ),
        (
            "changed while it is built",
            |machine, _| {
                machine.write(
                    "optivex.yaml",
                    b"build: [git, mv, program, moved]\nartefacts: [moved]\nstart: [./moved]\n",
                );
                machine.commit();
            },
            2,
            "was changed while it was built",
        ),
        (
            "no contract",
            |machine, _| {
                fs::remove_dir_all(machine.path("repository/proto")).expect("removed");
                machine.commit();
            },
            2,
            "no .proto file",
        ),
    ];
    for (name, change, code, message) in cases {
        let machine = Machine::new();
        machine.repository(b"#!program\n");
        let mut deploy = machine.deploy(&["--patience", "1"]);
        deploy.env("GIT_CEILING_DIRECTORIES", machine.folder.path());
        change(&machine, &mut deploy);
        let output = deploy.output().expect("it runs");
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{name}: {told}");
        assert!(told.contains(message), "{name}: {told}");
        assert!(!told.contains("submitted  "), "{name}: {told}");
    }
}

#[test]
fn a_dirty_tree_is_handed_over_when_told_so() {
    let machine = Machine::new();
    machine.repository(b"#!program\n");
    machine.write("program", b"changed");
    let (code, told) = machine.deployed(&["--allow-dirty"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(" with changes\n"), "{told}");
}

/// Without --allow-dirty nothing that git knows of is left out in silence: a new file counts.
#[test]
fn a_new_file_is_a_change() {
    let machine = Machine::new();
    machine.repository(b"#!program\n");
    machine.write("new", b"");
    let (code, told) = machine.deployed(&[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("?? new"), "{told}");
}

#[test]
fn help_has_the_exit_codes() {
    let help = run(Command::new(env!("CARGO_BIN_EXE_deploy")).arg("--help"));
    assert!(help.contains("100 tests failed") && help.contains("repro"), "{help}");
}
