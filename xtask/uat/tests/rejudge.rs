//! Deployments that are judged again: at any point power may fail, somebody else may do the same, and the participant
//! may hand it over again.

mod support;

use std::fs::{self, File};

use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::names::Name;
use optivex_bundle::spool::ResultFile;
use optivex_bundle::verdict::Verdict;
use optivex_uat::daemon::ledger::Ledger;
use support::{Uat, bundle, hostile, pretend_tests};

const SETTINGS: &str = "{participants: {alice: {}}, self_test: {enabled: false}}";

fn alice() -> Name {
    "alice".parse().expect("a name")
}

/// A UAT that has judged one deployment.
fn judged() -> (Uat, SubmissionId) {
    let uat = Uat::with_tests(SETTINGS, pretend_tests());
    let id = uat.hand_over("alice", &bundle(hostile(), &["sleeper"]));
    uat.run(&["once"]);
    (uat, id)
}

#[test]
fn dying_after_any_step_leaves_the_old_result_or_the_new_one_and_the_ledger_says_which() {
    let mut deaths = 0;
    let (mut old, mut new) = (0, 0);
    for step in 1..50 {
        let (uat, id) = judged();
        let of = format!("alice/{id}");
        let path = uat.spool().result_file(&alice(), id, ResultFile::Result);
        let before = fs::read(&path).expect("a result");
        let number = step.to_string();
        let output = uat
            .command(&["rejudge", &of, "--apply", "--abort-after-step", &number])
            .output()
            .expect("it runs");
        let died = !output.status.success();
        if died {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(told.contains("abort, as asked for"), "step {step}: {told}");
            deaths += 1;
            uat.run(&["once"]);
        }
        let after = fs::read(&path).expect("a result");
        let entries = Ledger::new(uat.at("spool/state/ledger.jsonl"))
            .read()
            .expect("sound")
            .entries;
        let replaced = after != before;
        assert_eq!(entries.len(), if replaced { 2 } else { 1 }, "step {step}");
        let last = entries.last().expect("one");
        assert_eq!(
            (last.result, last.rejudged),
            (Digest::of(&after), replaced),
            "step {step}"
        );
        let verified = uat.run(&["verify"]);
        assert!(
            verified.contains("1 results sound, 0 removed since, 0 wrong"),
            "step {step}: {verified}"
        );
        let names = |folder: &str| fs::read_dir(uat.at("spool").join(folder)).expect("a folder").count();
        assert_eq!(names("results/alice"), 1, "step {step}: nothing is left beside it");
        assert_eq!(names("state/rejudged/alice"), 0, "step {step}");
        if replaced {
            new += 1
        } else {
            old += 1
        }
        if !died {
            assert!(
                deaths >= 5 && old > 0 && new > 1,
                "{deaths} deaths, {old} old, {new} new"
            );
            return;
        }
    }
    panic!("more than 50 steps");
}

#[test]
fn one_at_a_time_and_a_self_test_without_a_daemon() {
    let (uat, id) = judged();
    let of = format!("alice/{id}");
    for (lock, command) in [
        ("rejudge", &["rejudge", &of][..]),
        ("daemon", &["self-test"]),
        ("daemon", &["once"]),
    ] {
        let path = uat.at("spool/state").join(format!("{lock}.lock"));
        let file = File::options().create(true).append(true).open(&path).expect("a file");
        file.lock().expect("locked");
        let output = uat.command(command).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(103), "{command:?}: {told}");
        assert!(told.contains("has this spool"), "{told}");
    }
}

/// It was not judged, by our fault; while it is judged again by hand its participant hands it over again.
#[test]
fn whoever_hands_over_again_meanwhile_comes_first() {
    let uat = Uat::with_tests(SETTINGS, hostile());
    let bytes = bundle(hostile(), &["sleeper"]);
    let id = uat.hand_over("alice", &bytes);
    uat.run(&["once"]);
    assert!(matches!(
        uat.result("alice", id).verdict,
        Verdict::Infrastructure { .. }
    ));
    // With tests that work it can be judged.
    let uat = Uat {
        home: uat.home,
        tests: Uat::with_tests(SETTINGS, pretend_tests()).tests,
    };
    uat.hand_over_attempt("alice", &bytes, 2);
    let spool = uat.spool();
    fs::create_dir_all(spool.claimed(&alice())).expect("a folder");
    fs::rename(spool.waiting_job(&alice(), id), spool.claimed_job(&alice(), id)).expect("claimed");
    let output = uat
        .command(&["rejudge", &format!("alice/{id}"), "--apply"])
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(102), "{told}");
    assert!(told.contains("handed over again meanwhile"), "{told}");
    uat.run(&["once"]);
    let result = uat.result("alice", id);
    assert_eq!((result.verdict, result.attempt), (Verdict::Passed, 2));
    let verified = uat.run(&["verify"]);
    assert!(
        verified.contains("2 entries in the ledger, 1 results sound, 0 removed since, 0 wrong"),
        "{verified}"
    );
}
