//! Whoever has a key can say what the gate understands, and nothing else.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use optivex_bundle::wire::{Ask, Request};

use crate::machine::{Machine, told};

fn with_input(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // It may have hung up already.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    told(&child.wait_with_output().expect("it ends"))
}

#[test]
fn a_key_is_good_for_the_gate_alone() {
    let machine = Machine::new();
    let witness = machine.path("witness");
    let touch = format!("touch {}", witness.display());
    let commands: [&[&str]; 4] = [&[&touch], &["cat", "/etc/passwd"], &["scp", "-f", "/etc/passwd"], &[]];
    for command in commands {
        let heard = with_input(&mut machine.ssh("uat/id_bob", &[], command), b"id\n");
        assert!(
            heard.starts_with(r#"{"answer":"refused","reason":"malformed""#),
            "{command:?}: {heard}"
        );
        assert_eq!(heard.lines().count(), 1, "{command:?}: {heard}");
    }
    assert!(!witness.exists());
    // No files by another door, no terminal, no tunnel.
    let heard = with_input(
        &mut machine.ssh("uat/id_bob", &["-s"], &["sftp"]),
        b"\0\0\0\x05\x01\0\0\0\x03\n",
    );
    assert!(heard.contains("malformed"), "{heard}");
    let heard = with_input(&mut machine.ssh("uat/id_bob", &["-tt"], &[]), b"id\n");
    assert!(heard.contains("PTY allocation request failed"), "{heard}");
    let port = machine.port;
    let tunnel = format!("127.0.0.1:{port}");
    let heard = with_input(&mut machine.ssh("uat/id_bob", &["-W", &tunnel], &[]), b"");
    assert!(heard.contains("forwarding failed"), "{heard}");
}

#[test]
fn what_is_another_participants_does_not_exist() {
    let machine = Machine::new();
    machine.repository(b"#!program\n");
    let (code, told) = machine.deployed(&[]);
    assert_eq!(code, Some(0), "{told}");
    let alice = "alice".parse().expect("a name");
    let id = machine.spool.waiting_receipts(&alice).expect("read")[0].id;
    for ask in [
        Ask::Status {
            id: Some(id),
            follow: Some(0),
        },
        Ask::Results { id: Some(id) },
        Ask::Logs { id: Some(id), from: 0 },
        Ask::Cancel { id },
    ] {
        let mut line = serde_json::to_vec(&Request::new(ask.clone())).expect("JSON");
        line.push(b'\n');
        let heard = with_input(&mut machine.ssh("uat/id_bob", &[], &[]), &line);
        assert!(heard.contains(r#""reason":"unknown""#), "{ask:?}: {heard}");
    }
    assert!(!machine.spool.cancel(&alice, id).exists());
    // The managers can see who tried.
    let log = fs::read_to_string(machine.spool.root().join("incoming/gate.log")).expect("a log");
    assert!(
        log.contains(&format!("bob asked Cancel {{ id: {id} }} answered Unknown")),
        "{log}"
    );
}

/// UAT's own key on a dev machine: results, and nothing else.
#[test]
fn the_key_for_results_is_good_for_results_alone() {
    let machine = Machine::new();
    for input in [&b"id\n"[..], b"", &[0; 10_000]] {
        let heard = with_input(&mut machine.ssh("uat/id_results", &[], &["cat", "/etc/passwd"]), input);
        assert!(heard.contains("optivex-receive: "), "{heard}");
        assert!(!heard.contains("root:"), "{heard}");
    }
    let left = fs::read_dir(machine.path("dev/optivex-results")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}
