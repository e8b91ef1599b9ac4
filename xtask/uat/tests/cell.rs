//! Cells with real system tests and real submissions in them.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use optivex_bundle::limits::LIMITS;
use optivex_uat::sandbox::{Cancel, Cell, CellEnd, CellRun, CellSpec};
use support::{account, daemon, exchange, folder, system_tests, with_program};

fn run(program: &Path, words: &[&str], arguments: &[&str]) -> (CellRun, Vec<String>, String) {
    let home = folder();
    let at = |name: &str| home.path().join(name);
    with_program(program, "exchange", &at("app"));
    with_program(system_tests(), "system-tests", &at("tests"));
    with_program(daemon(), "uat-daemon", &at("bin"));
    let cell = Cell {
        spec: CellSpec {
            start: [&["exchange"], words].concat().into_iter().map(str::to_owned).collect(),
            env: BTreeMap::new(),
            arguments: ["--json"]
                .iter()
                .chain(arguments)
                .map(|word| (*word).to_owned())
                .collect(),
            limits: LIMITS,
            wall: Duration::from_secs(LIMITS.wall_seconds),
            cgroup: None,
        },
        app: &at("app"),
        tests: &at("tests"),
        out: &at("out"),
        program: &at("bin").join("uat-daemon"),
        account: account(),
        cgroups: None,
    };
    let mut events = Vec::new();
    let run = cell.run(&Cancel::default(), |event| {
        events.push(event.to_owned());
        Ok(())
    });
    let log = String::from_utf8_lossy(&cell.log().unwrap_or_default()).into_owned();
    let run = run.unwrap_or_else(|error| panic!("{error:#}\n{log}\n{events:?}"));
    (run, events, log)
}

/// Boot, and recovery: it is killed, asked to end, and started again on the same data.
#[test]
fn the_reference_exchange_passes_in_a_sandbox() {
    let (run, events, log) = run(exchange(), &["serve"], &["--stage", "boot", "--stage", "recovery"]);
    let told = || format!("{run:?}\n{}\n{log}", events.join("\n"));
    assert_eq!(run.report.end, CellEnd::Tested { code: 0 }, "{}", told());
    assert!(
        run.launches
            .iter()
            .all(|launched| launched.asked && launched.trouble.is_none()),
        "{}",
        told()
    );
    assert!(
        run.report.peak.memory_bytes > 0 && run.report.peak.processes > 1,
        "{}",
        told()
    );
    assert!(
        events.iter().any(|event| event.contains(r#""event":"summary""#)),
        "{}",
        told()
    );
    assert!(log.contains("=== start 1 ==="), "{}", told());
}
