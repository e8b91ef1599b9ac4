//! The tests are tested: every planted fault is caught, every case catches one, and `FAULTS.md` says so.
//!
//! As it stands, the test runs again what the file records: each fault with the case that leads to it, and
//! with as many others as it takes for every case to have caught something. `OPTIVEX_FAULTS=all` (or some
//! names, with commas) runs all cases of the stages in question, twice, and writes what they caught.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use optivex_faults::{CATALOGUE, Entry};
use optivex_system_tests::stages::STAGES;
use support::{exchange, faulty_exchange};

/// Exchanges that run at a time.
const WORKERS: usize = 3;
/// Seconds that an answer may take: a fault that answers nothing is to be seen soon.
const PATIENCE: &str = "10";

/// Names of cases, as stage/case.
type Cases = BTreeSet<String>;
/// What is recorded: by the fault's name, the cases that catch it.
type Matrix = BTreeMap<String, Cases>;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("FAULTS.md")
}

/// All cases there are, in their order.
fn all_cases() -> Vec<String> {
    let names = |stage: &'static optivex_system_tests::case::Stage| {
        stage
            .cases
            .iter()
            .map(move |case| format!("{}/{}", stage.slug, case.slug))
    };
    STAGES.iter().flat_map(names).collect()
}

fn stage_of(case: &str) -> &str {
    case.split('/').next().unwrap_or_default()
}

/// One start of the faulty exchange: cases of one stage, so that no failure blocks another stage.
struct Job {
    entry: &'static Entry,
    stage: String,
    /// None: all of the stage.
    cases: Option<Cases>,
}

/// What came of the cases of a job: outcome and message.
type Outcomes = BTreeMap<String, (String, String)>;

impl Job {
    fn run(&self, faulty: &Path) -> Outcomes {
        let mut command = Command::new(env!("CARGO_BIN_EXE_system-tests"));
        command.env("OPTIVEX_FAULT", self.entry.name);
        command.args([
            "--json",
            "--seed",
            "1",
            "--patience",
            PATIENCE,
            "--load-time",
            "1s",
            "--stage",
            &self.stage,
        ]);
        for case in self.cases.iter().flatten() {
            command.args(["--case", case]);
        }
        let output = command.arg("--launch").arg(faulty).arg("serve").output();
        let output = output.expect("the system tests start");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|event| event["event"] == "case_finished")
            .map(|event| {
                let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                let name = format!("{}/{}", text("stage"), text("case"));
                (
                    name,
                    (text("outcome"), format!("{} {}", text("title"), text("message"))),
                )
            })
            .collect()
    }
}

/// Runs the jobs, some at a time; what came of each, in their order.
fn run(jobs: &[Job], faulty: &Path) -> Vec<Outcomes> {
    let next = Mutex::new(0..jobs.len());
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some(at) = { next.lock().expect("no thread panicked").next() } {
            let outcomes = jobs[at].run(faulty);
            let failed = outcomes.values().filter(|(outcome, _)| outcome == "failed").count();
            let (name, stage) = (jobs[at].entry.name, &jobs[at].stage);
            println!("{name}: {stage}: {failed} of {} failed", outcomes.len());
            done.lock().expect("no thread panicked").insert(at, outcomes);
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    done.into_inner().expect("no thread panicked").into_values().collect()
}

/// What must be run for each fault to be caught by its own case, and for each case to catch a fault.
fn plan(matrix: &Matrix) -> Vec<Job> {
    let mut wanted: BTreeMap<(&str, &str), Cases> = BTreeMap::new();
    for entry in CATALOGUE {
        let cases = wanted.entry((entry.name, stage_of(entry.case))).or_default();
        cases.insert(entry.case.to_owned());
    }
    let led_to: BTreeSet<&str> = CATALOGUE.iter().map(|entry| entry.case).collect();
    let cases = all_cases();
    for case in cases.iter().filter(|case| !led_to.contains(case.as_str())) {
        let catches = |entry: &&Entry| matrix.get(entry.name).is_some_and(|cases| cases.contains(case));
        let catching = || CATALOGUE.iter().filter(catches);
        // Rather a start that is needed anyway.
        let started = catching().find(|entry| wanted.contains_key(&(entry.name, stage_of(case))));
        if let Some(entry) = started.or_else(|| catching().next()) {
            let cases = wanted.entry((entry.name, stage_of(case)));
            cases.or_default().insert(case.clone());
        }
    }
    let entry = |name: &str| {
        CATALOGUE
            .iter()
            .find(|entry| entry.name == name)
            .expect("it comes from there")
    };
    wanted
        .into_iter()
        .map(|((name, stage), cases)| Job {
            entry: entry(name),
            stage: stage.to_owned(),
            cases: Some(cases),
        })
        .collect()
}

/// Whether the hint of a fault's own case leads to it; why not.
fn leads(entry: &Entry, outcomes: &Outcomes) -> Result<(), String> {
    match outcomes.get(entry.case) {
        Some((outcome, message)) if outcome == "failed" => {
            match message.to_lowercase().contains(&entry.clue.to_lowercase()) {
                true => Ok(()),
                false => Err(format!(
                    "{}: {} says {message:?}, and nothing of {:?}",
                    entry.name, entry.case, entry.clue
                )),
            }
        }
        Some((outcome, message)) => Err(format!("{}: {} {outcome} {message}", entry.name, entry.case)),
        None => Err(format!("{}: {} was not run", entry.name, entry.case)),
    }
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn render(matrix: &Matrix) -> String {
    let mut text = "# What the system tests catch\n\n\
        The tests are tested: an exchange with one fault planted on purpose (`optivex-faulty`, feature `faults` of\n\
        `optivex-server`) must fail a case whose hint leads to the fault, and no case is without a fault that it\n\
        catches. Written by `OPTIVEX_FAULTS=all cargo test -p optivex-system-tests --test faults -- --nocapture`,\n\
        which runs each fault with the stages where it should show; `cargo xtask ci` runs again each fault with the\n\
        case that leads to it and each case with a fault, and fails if this file does not say what is so.\n"
        .to_owned();
    for stage in STAGES {
        let entries: Vec<&Entry> = CATALOGUE
            .iter()
            .filter(|entry| stage_of(entry.case) == stage.slug)
            .collect();
        let _ = write!(
            text,
            "\n## {} {}\n\n| fault | what the exchange does wrong | case that leads to it | others that catch it |\n|---|---|---|---|\n",
            stage.number, stage.title
        );
        for entry in entries {
            let caught = matrix.get(entry.name).cloned().unwrap_or_default();
            let others = quoted(caught.iter().filter(|case| *case != entry.case));
            let _ = writeln!(
                text,
                "| `{}` | {} | `{}` | {others} |",
                entry.name, entry.what, entry.case
            );
        }
    }
    text += "\n## By case\n\n| case | faults that it catches |\n|---|---|\n";
    for case in all_cases() {
        let faults = matrix
            .iter()
            .filter(|(_, cases)| cases.contains(&case))
            .map(|(name, _)| name);
        let _ = writeln!(text, "| `{case}` | {} |", quoted(faults));
    }
    text
}

/// What the file records. What it cannot be read as shows when it is written again.
fn recorded() -> Matrix {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let faults = text.split("\n## By case").next().unwrap_or_default();
    let mut matrix = Matrix::new();
    for line in faults.lines().filter(|line| line.starts_with("| `")) {
        let quoted = |cell: &str| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        };
        if let [_, name, _, case, others, _] = line.split('|').collect::<Vec<_>>()[..] {
            let cases: Cases = quoted(case).into_iter().chain(quoted(others)).collect();
            matrix.extend(quoted(name).into_iter().map(|name| (name, cases.clone())));
        }
    }
    matrix
}

/// Runs faults with all cases of their stages, twice, and writes what was caught both times.
fn update(names: &str, faulty: &Path) {
    let chosen = |entry: &&Entry| names == "all" || names.split(',').any(|name| name == entry.name);
    let entries: Vec<&'static Entry> = CATALOGUE.iter().filter(chosen).collect();
    for name in names.split(',').filter(|name| *name != "all") {
        assert!(
            entries.iter().any(|entry| entry.name == name),
            "no fault is called {name:?}"
        );
    }
    let jobs: Vec<Job> = entries
        .iter()
        .flat_map(|entry| {
            let stages: BTreeSet<&str> = entry.also.iter().copied().chain([stage_of(entry.case)]).collect();
            stages.into_iter().map(|stage| Job {
                entry,
                stage: stage.to_owned(),
                cases: None,
            })
        })
        .collect();
    let first = run(&jobs, faulty);
    let second = run(&jobs, faulty);
    let mut matrix = recorded();
    matrix.retain(|name, _| CATALOGUE.iter().any(|entry| entry.name == name && !chosen(&entry)));
    let mut problems = Vec::new();
    for (at, job) in jobs.iter().enumerate() {
        let failed = |outcomes: &Outcomes| -> Cases {
            let failed = outcomes.iter().filter(|(_, (outcome, _))| outcome == "failed");
            failed.map(|(name, _)| name.clone()).collect()
        };
        let caught: Cases = failed(&first[at]).intersection(&failed(&second[at])).cloned().collect();
        matrix.entry(job.entry.name.to_owned()).or_default().extend(caught);
        if job.stage == stage_of(job.entry.case) {
            problems.extend(
                [leads(job.entry, &first[at]), leads(job.entry, &second[at])]
                    .into_iter()
                    .filter_map(Result::err),
            );
        }
    }
    let cases = all_cases();
    for cases_of in matrix.values_mut() {
        cases_of.retain(|case| cases.contains(case));
    }
    std::fs::write(file(), render(&matrix)).expect("FAULTS.md can be written");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_fault_is_caught_and_every_case_catches_one() {
    let faulty = faulty_exchange();
    if let Ok(names) = std::env::var("OPTIVEX_FAULTS") {
        update(&names, &faulty);
    }
    let matrix = recorded();
    let mut problems = Vec::new();
    if std::fs::read_to_string(file()).unwrap_or_default() != render(&matrix) {
        problems.push("FAULTS.md is out of date: its first lines say how it is written".to_owned());
    }
    let cases = all_cases();
    for entry in CATALOGUE {
        let known = [entry.case.to_owned()];
        for case in matrix.get(entry.name).into_iter().flatten().chain(&known) {
            if !cases.contains(case) {
                problems.push(format!("{}: there is no case {case}", entry.name));
            }
        }
    }
    for case in &cases {
        if !matrix.values().any(|caught| caught.contains(case)) {
            problems.push(format!("{case} catches no fault"));
        }
    }
    for stage in STAGES {
        let of_stage = matrix
            .values()
            .filter(|caught| caught.iter().any(|case| stage_of(case) == stage.slug));
        if of_stage.count() < 2 {
            problems.push(format!("stage {} is hit by fewer than two faults", stage.slug));
        }
    }
    assert!(CATALOGUE.len() >= 40, "{} faults are too few", CATALOGUE.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    let jobs = plan(&matrix);
    for (job, outcomes) in jobs.iter().zip(run(&jobs, &faulty)) {
        for case in job.cases.iter().flatten() {
            match outcomes.get(case) {
                Some((outcome, _)) if outcome == "failed" => {}
                other => problems.push(format!("{}: {case} does not catch it: {other:?}", job.entry.name)),
            }
        }
        if job.stage == stage_of(job.entry.case) {
            problems.extend(leads(job.entry, &outcomes).err());
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Whether a program was built with the server's module of faults: its name is in what it may log.
fn knows_faults(program: &Path) -> bool {
    let bytes = std::fs::read(program).expect("the program is built");
    let name = b"optivex_server::faults";
    bytes.windows(name.len()).any(|bytes| bytes == name)
}

#[test]
fn the_exchange_itself_knows_no_faults() {
    assert!(!knows_faults(&exchange()), "the exchange is built with its faults");
    assert!(knows_faults(&faulty_exchange()), "what tells an exchange with faults");
}
