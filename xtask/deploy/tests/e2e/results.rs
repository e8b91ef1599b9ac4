//! A daemon that is none judges; its results are shown, fetched and delivered.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use optivex_bundle::delivery;
use optivex_bundle::limits::LIMITS;
use optivex_bundle::names::Name;
use optivex_bundle::spool::{RECEIPT, Receipt, ResultFile, Spool, State, read_json, write_json};
use optivex_bundle::verdict::{CaseRow, JobResult, StageRow, Verdict};
use optivex_bundle::wire::Answer;

use crate::machine::{Machine, told};

fn alice() -> Name {
    "alice".parse().expect("a name")
}

/// The next deployment of alice's, claimed.
fn claim(spool: &Spool) -> Receipt {
    let begun = Instant::now();
    let receipt = loop {
        if let Some(receipt) = spool.waiting_receipts(&alice()).expect("read").pop() {
            break receipt;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
        thread::sleep(Duration::from_millis(5));
    };
    fs::create_dir_all(spool.claimed(&alice())).expect("made");
    let to = spool.claimed_job(&alice(), receipt.id);
    fs::rename(spool.waiting_job(&alice(), receipt.id), &to).expect("claimed");
    fs::create_dir_all(spool.result(&alice(), receipt.id)).expect("made");
    assert_eq!(read_json(&to.join(RECEIPT)).expect("read"), Some(receipt.clone()));
    receipt
}

fn events(spool: &Spool, receipt: &Receipt, lines: &[&str]) {
    let path = spool.result_file(&alice(), receipt.id, ResultFile::Stages);
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("opened");
    for line in lines {
        writeln!(file, "{line}").expect("written");
    }
}

fn finish(spool: &Spool, receipt: &Receipt, verdict: Verdict) {
    let write = |file, text: &str| fs::write(spool.result_file(&alice(), receipt.id, file), text).expect("written");
    write(ResultFile::Markdown, "# Report\n");
    write(ResultFile::Log, "listening\n\u{1b}[2Jgone\n");
    let failed = verdict == Verdict::Failed;
    let result = JobResult {
        schema: JobResult::SCHEMA,
        participant: alice(),
        id: receipt.id,
        attempt: receipt.attempt,
        verdict,
        submission: receipt.sha256,
        size: receipt.size,
        tests: None,
        contract: None,
        commit: None,
        dirty: false,
        seed: Some(7),
        received: receipt.received.clone(),
        finished: receipt.received.clone(),
        waited_seconds: 0.5,
        ran_seconds: 3.0,
        stages: vec![StageRow {
            stage: "boot".to_owned(),
            number: 1,
            title: "Boot".to_owned(),
            core: true,
            passed: 2,
            failed: u32::from(failed),
            errors: 0,
            blocked: 0,
            skipped: 0,
            blocked_by: Vec::new(),
            seconds: 3.0,
        }],
        cases: failed
            .then(|| CaseRow {
                stage: "boot".to_owned(),
                case: "health".to_owned(),
                title: "It serves.".to_owned(),
                outcome: "failed".to_owned(),
                hidden: false,
                hint: Some("Sent: Check\nCame: nothing".to_owned()),
            })
            .into_iter()
            .collect(),
        note: None,
        troubles: Vec::new(),
        score: Vec::new(),
        timings: BTreeMap::new(),
    };
    write_json(&spool.result_file(&alice(), receipt.id, ResultFile::Result), &result).expect("written");
    fs::remove_dir_all(spool.claimed_job(&alice(), receipt.id)).expect("removed");
}

#[test]
fn stages_come_live_and_then_the_table() {
    let machine = Machine::new();
    machine.repository(b"#!program\n");
    // The connection breaks once while it follows.
    machine.cut(&[u64::MAX, 3_000]);
    let deploy = machine
        .deploy(&["--wait", "--patience", "60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let receipt = claim(&machine.spool);
    events(
        &machine.spool,
        &receipt,
        &[
            r#"{"event":"claimed","attempt":1}"#,
            r#"{"event":"run_started","cases":3,"seed":7}"#,
            r#"{"event":"case_finished","stage":"boot","case":"health","title":"It serves.","outcome":"failed"}"#,
            r#"{"event":"stage_finished","stage":"boot","number":1,"title":"Boot","core":true,"passed":2,"failed":1,"errors":0,"blocked":0,"skipped":0}"#,
            r#"{"event":"finished","verdict":"failed"}"#,
        ],
    );
    finish(&machine.spool, &receipt, Verdict::Failed);
    let output = deploy.wait_with_output().expect("it ends");
    let heard = told(&output);
    assert_eq!(output.status.code(), Some(100), "{heard}");
    let folder = machine.path("dev/optivex-results").join(receipt.id.to_string());
    for part in [
        "; trying again\n",
        "3 cases; seed 7\n",
        "failed  boot/health: It serves.\n",
        "  1  Boot                                 core       failed     2 passed, 1 failed\n",
        "    Came: nothing\n",
        &format!("full report: {}\n", folder.join("report.md").display()),
        &format!("to see it here: cargo xtask deploy repro {}", receipt.id),
    ] {
        assert!(heard.contains(part), "{part:?} is not in {heard}");
    }
    let latest = fs::canonicalize(machine.path("dev/optivex-results/latest")).expect("a link");
    assert_eq!(latest, fs::canonicalize(folder).expect("there"));

    let (code, heard) = machine.deployed(&["repro"]);
    assert_eq!(code, Some(0), "{heard}");
    assert!(
        heard.contains("cargo xtask test -- --seed 7 --case boot/health\n"),
        "{heard}"
    );
    let (code, heard) = machine.deployed(&["logs"]);
    assert_eq!((code, heard.as_str()), (Some(0), "listening\n\u{fffd}[2Jgone\n"));
    let (code, heard) = machine.deployed(&["results"]);
    assert_eq!(code, Some(100), "{heard}");
    let (code, heard) = machine.deployed(&["cancel", &receipt.id.to_string()]);
    assert_eq!(code, Some(1), "{heard}");
    assert!(heard.contains("is over already: failed"), "{heard}");
    // The same again is not tested again.
    let (code, heard) = machine.deployed(&["--wait"]);
    assert_eq!(code, Some(100), "{heard}");
    assert!(
        heard.contains("now      failed (this very bundle was here before)"),
        "{heard}"
    );
}

#[test]
fn verdicts_and_exit_codes() {
    for (verdict, code, message) in [
        (Verdict::Passed, 0, "passed"),
        (
            Verdict::Crashed {
                how: "signal 11".to_owned(),
            },
            100,
            "crashed: signal 11",
        ),
        (Verdict::Cancelled, 1, "cancelled"),
        (
            Verdict::Infrastructure { why: "disk".to_owned() },
            102,
            "not judged, by our fault: disk",
        ),
    ] {
        let machine = Machine::new();
        machine.repository(b"#!program\n");
        let deploy = machine
            .deploy(&["--wait"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let receipt = claim(&machine.spool);
        finish(&machine.spool, &receipt, verdict);
        let output = deploy.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        assert!(told(&output).contains(message), "{}", told(&output));
    }
}

/// As the daemon sends it to the dev machine.
#[test]
fn a_result_is_delivered() {
    let machine = Machine::new();
    machine.repository(b"#!program\n");
    let (_, heard) = machine.deployed(&[]);
    assert!(heard.contains("submitted"), "{heard}");
    let receipt = claim(&machine.spool);
    finish(&machine.spool, &receipt, Verdict::Passed);
    let mut ssh = machine
        .ssh("uat/id_results", &[], &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = ssh.stdin.take().expect("a pipe");
    let state = State::Done {
        verdict: Verdict::Passed,
    };
    let folder = machine.spool.result(&alice(), receipt.id);
    delivery::send(&mut input, &receipt, &state, &folder, &LIMITS).expect("sent");
    delivery::tell(&mut input, &Answer::Done).expect("told");
    let output = ssh.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(told(&output), "{\"answer\":\"done\"}\n");
    let report = machine.path("dev/optivex-results/latest/report.md");
    assert_eq!(fs::read_to_string(report).expect("there"), "# Report\n");
}
