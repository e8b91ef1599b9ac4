//! The daemon as it is started, with real system tests.

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use optivex_bundle::names::Name;
use optivex_bundle::spool::ResultFile;
use optivex_bundle::verdict::Verdict;
use support::{Uat, bundle, exchange, faulty, is_root, until};

const BOOT: &str = "{participants: {alice: {}, bob: {}}, self_test: {enabled: false}, tests: {arguments: [--stage, boot, --stage, login]}}";

#[test]
fn the_reference_exchange_passes() {
    let uat = Uat::new(BOOT);
    let id = uat.hand_over("alice", &bundle(exchange(), &["serve"]));
    let told = uat.run(&["once"]);
    let result = uat.result("alice", id);
    assert_eq!(
        result.verdict,
        Verdict::Passed,
        "{result:?}\n{told}\n{}",
        uat.file("alice", id, ResultFile::Log)
    );
    // Hidden cases were run, too: login has one.
    assert_eq!(
        result
            .stages
            .iter()
            .map(|row| (row.stage.as_str(), row.failed))
            .collect::<Vec<_>>(),
        [("boot", 0), ("login", 0)]
    );
    assert_eq!(result.stages[1].passed, 12, "{result:?}");
    assert!(uat.file("alice", id, ResultFile::Markdown).contains("alice: passed"));
    let verified = uat.run(&["verify"]);
    assert!(
        verified.contains("1 entries in the ledger, 1 results sound, 0 removed since, 0 wrong"),
        "{verified}"
    );
    let status = uat.run(&["status"]);
    assert!(status.contains("alice") && status.contains("✓"), "{status}");
    println!("{told}{status}{verified}\n{:?}", result.timings);
}

/// As a service does: a user without any rights.
#[test]
fn a_plain_user_can_judge() {
    if !is_root() {
        // Then all these tests are run by one.
        return;
    }
    let uat = Uat::new(BOOT);
    let id = uat.hand_over("alice", &bundle(exchange(), &["serve"]));
    let status = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(uat.home.path())
        .status();
    assert!(status.expect("it runs").success());
    let mut command = uat.command(&["once"]);
    // nobody: ssh-keygen wants a user that there is.
    let output = command.uid(65534).gid(65534).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert_eq!(uat.result("alice", id).verdict, Verdict::Passed, "{told}");
    // A web server has an account of its own: it gets to what is public, and to nothing else.
    let reads = |path: &str| {
        let output = Command::new("cat").arg(uat.at(path)).uid(61_999).gid(61_999).output();
        output.expect("it runs").status.success()
    };
    assert!(reads("spool/public/scoreboard.html") && reads("spool/public/metrics.prom"));
    assert!(!reads("spool/state/ledger.jsonl") && !reads(&format!("spool/results/alice/{id}/result.json")));
}

fn self_test(faulty: &Path) -> String {
    format!(
        "{{participants: {{alice: {{}}}}, tests: {{arguments: [--stage, boot]}}, self_test: {{reference: {:?}, faulty: {:?}}}}}",
        exchange(),
        faulty
    )
}

#[test]
fn nothing_is_judged_before_the_self_test_passed() {
    let uat = Uat::new(&self_test(faulty()));
    let id = uat.hand_over("alice", &bundle(exchange(), &["serve"]));
    let told = uat.run(&["once"]);
    assert_eq!(uat.result("alice", id).verdict, Verdict::Passed, "{told}");
    let (tested, judged) = (
        told.find("self-test: the reference exchange passes"),
        told.find("judged participant"),
    );
    assert!(tested.is_some() && tested < judged, "{told}");
}

#[test]
fn tests_that_find_no_fault_hold_the_queue() {
    // "The faulty one" has none.
    let uat = Uat::new(&self_test(exchange()));
    let id = uat.hand_over("alice", &bundle(exchange(), &["serve"]));
    let output = uat.command(&["once"]).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(102), "{told}");
    assert!(
        told.contains("the exchange with the fault aggressor-price does not fail: passed"),
        "{told}"
    );
    let name: Name = "alice".parse().expect("a name");
    assert!(uat.spool().waiting_job(&name, id).exists(), "it keeps its place");
}

/// Tests that go wrong are our fault, three times; then it is told so, and nobody's time was used.
#[test]
fn our_trouble_is_tried_three_times_and_told_as_ours() {
    let settings = "{participants: {alice: {}}, self_test: {enabled: false}}";
    // Any program that is no system tests.
    let uat = Uat::with_tests(settings, support::hostile());
    let id = uat.hand_over("alice", &bundle(support::hostile(), &["sleeper"]));
    let told = uat.run(&["once"]);
    let result = uat.result("alice", id);
    assert!(
        matches!(result.verdict, Verdict::Infrastructure { .. }),
        "{result:#?}\n{told}"
    );
    assert_eq!(result.troubles.len(), 3, "{result:#?}");
    assert!(uat.file("alice", id, ResultFile::Junit).contains("<error"), "as ours");
}

#[test]
fn pause_cancel_freeze_and_rejudge() {
    let settings = "{participants: {alice: {}}, self_test: {enabled: false}, tests: {arguments: [--stage, boot]}}";
    let uat = Uat::new(settings);
    uat.run(&["pause", "maintenance"]);
    let id = uat.hand_over("alice", &bundle(faulty(), &["serve"]));
    let output = uat.command(&["once"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(102));
    assert!(String::from_utf8_lossy(&output.stderr).contains("maintenance"));
    uat.run(&["resume"]);

    let name: Name = "alice".parse().expect("a name");
    let cancelled = uat.hand_over("alice", &bundle(exchange(), &["serve", "--unknown"]));
    fs::create_dir_all(uat.spool().root().join("cancel/alice")).expect("a folder");
    fs::write(uat.spool().cancel(&name, cancelled), "").expect("written");
    uat.run(&["once"]);
    assert_eq!(uat.result("alice", cancelled).verdict, Verdict::Cancelled);
    assert_eq!(uat.result("alice", id).verdict, Verdict::Superseded { by: cancelled });
    assert!(!uat.spool().cancel(&name, cancelled).exists());

    let other = uat.hand_over("alice", &bundle(exchange(), &["serve"]));
    uat.run(&["once"]);
    uat.run(&["freeze"]);
    let preview = uat.run(&["rejudge", &format!("alice/{other}")]);
    assert!(
        preview.contains(": same: passed -> passed") && preview.contains("A preview"),
        "{preview}"
    );
    let applied = uat.run(&["rejudge", &format!("alice/{other}"), "--apply"]);
    assert!(applied.contains("same: passed -> passed"), "{applied}");
    let verified = uat.run(&["verify"]);
    assert!(
        verified.contains("4 entries in the ledger, 3 results sound, 0 removed since, 0 wrong"),
        "{verified}"
    );
    let path = uat.spool().result_file(&name, other, ResultFile::Result);
    let forged = fs::read_to_string(&path).expect("read").replace("passed", "failed");
    fs::write(&path, forged).expect("written");
    let output = uat.command(&["verify"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("WRONG alice/{other}")));
}

/// As the unit starts it: it judges what arrives, and SIGTERM lets end what runs.
#[test]
fn a_daemon_that_runs_takes_what_arrives_and_drains() {
    let uat = Uat::new(BOOT);
    let mut daemon = uat.command(&["run"]).spawn().expect("it starts");
    let first = uat.hand_over("alice", &bundle(exchange(), &["serve"]));
    let (alice, bob): (Name, Name) = ("alice".parse().expect("a name"), "bob".parse().expect("a name"));
    until(|| {
        uat.spool()
            .read_result(&alice, first)
            .is_ok_and(|result| result.is_some())
    });
    let result = uat.result("alice", first);
    assert_eq!(result.verdict, Verdict::Passed);
    println!(
        "receipt to claim {:.3} s; to the tests' start {:.3} s more; {:?}",
        result.waited_seconds, result.timings["unpack"], result.timings
    );
    let second = uat.hand_over("bob", &bundle(exchange(), &["serve"]));
    until(|| uat.spool().claimed_job(&bob, second).exists());
    let pid = rustix::process::Pid::from_raw(daemon.id().try_into().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    assert!(daemon.wait().expect("it ended").success());
    assert_eq!(
        uat.result("bob", second).verdict,
        Verdict::Passed,
        "what ran came to its end"
    );
    assert!(uat.run(&["status"]).contains("daemon   ended"));
}
