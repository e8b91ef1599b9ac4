//! The daemon as it is started, with real system tests.

mod support;

use optivex_bundle::spool::ResultFile;
use optivex_bundle::verdict::Verdict;
use support::{Uat, bundle, exchange};

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
