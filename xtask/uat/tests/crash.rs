//! The daemon dies after each of its steps, as in a power cut; the next one goes on. Nothing is lost, and nothing is
//! judged twice.

mod support;

use std::collections::BTreeMap;
use std::fs;

use optivex_bundle::digest::SubmissionId;
use optivex_bundle::names::Name;
use optivex_bundle::verdict::Verdict;
use optivex_uat::daemon::ledger::{Entry, Ledger};
use support::{Uat, bundle, hostile, packed, pretend_tests};

const SETTINGS: &str = "{participants: {alice: {}, bob: {}, carol: {}}, self_test: {enabled: false}}";

/// More than there are.
const STEPS_MAX: u64 = 200;

fn entries(uat: &Uat) -> Vec<Entry> {
    let ledger = Ledger::new(uat.at("spool/state/ledger.jsonl"));
    ledger.read().expect("a sound chain").entries
}

fn names(uat: &Uat, part: &str) -> Vec<String> {
    let folder = uat.at("spool").join(part);
    let mut names = Vec::new();
    for participant in fs::read_dir(folder).expect("a folder").flatten() {
        for entry in fs::read_dir(participant.path()).expect("a folder").flatten() {
            names.push(format!("{:?}/{:?}", participant.file_name(), entry.file_name()));
        }
    }
    names.sort();
    names
}

#[test]
fn dying_after_any_step_loses_nothing_and_judges_nothing_twice() {
    let sound = bundle(hostile(), &["sleeper"]);
    let newer = packed(&["bin/exchange", "newer"], &[("bin/exchange", hostile())]);
    let mut deaths = 0;
    for step in 1..=STEPS_MAX {
        let uat = Uat::with_tests(SETTINGS, pretend_tests());
        // One is superseded, one is unsound, one was cancelled while it waited.
        let wanted: BTreeMap<(&str, SubmissionId), &str> = BTreeMap::from([
            (("alice", uat.hand_over("alice", &sound)), "superseded"),
            (("alice", uat.hand_over("alice", &newer)), "passed"),
            (("bob", uat.hand_over("bob", b"no bundle at all")), "refused"),
            (("carol", uat.hand_over("carol", &sound)), "passed"),
        ]);
        let number = step.to_string();
        let output = uat
            .command(&["once", "--abort-after-step", &number])
            .output()
            .expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let died = !output.status.success();
        if died {
            assert!(told.contains("abort, as asked for"), "step {step}: {told}");
            deaths += 1;
            let before: Vec<Entry> = entries(&uat);
            let told = uat.run(&["once"]);
            let after = entries(&uat);
            assert_eq!(after[..before.len()], before, "step {step}: {told}");
        }
        let entries = entries(&uat);
        let judged: Vec<((&str, SubmissionId), &str)> = entries
            .iter()
            .map(|entry| ((entry.participant.as_str(), entry.id), entry.verdict.word()))
            .collect();
        assert_eq!(judged.len(), wanted.len(), "step {step}: {judged:?}\n{told}");
        assert_eq!(
            judged.iter().copied().collect::<BTreeMap<_, _>>(),
            wanted,
            "step {step}: {told}"
        );
        for (participant, id) in wanted.keys() {
            let name: Name = participant.parse().expect("a name");
            assert!(
                uat.at("spool/state/done")
                    .join(name.as_str())
                    .join(id.to_string())
                    .exists()
            );
            assert!(!matches!(
                uat.result(participant, *id).verdict,
                Verdict::Infrastructure { .. }
            ));
        }
        assert_eq!(names(&uat, "waiting"), [""; 0], "step {step}");
        assert_eq!(names(&uat, "claimed"), [""; 0], "step {step}");
        let verified = uat.run(&["verify"]);
        assert!(
            verified.contains("4 results sound, 0 removed since, 0 wrong"),
            "step {step}: {verified}"
        );
        if !died {
            assert!(deaths > 40, "only {deaths} steps");
            println!("died after each of {deaths} steps");
            return;
        }
    }
    panic!("more than {STEPS_MAX} steps");
}
