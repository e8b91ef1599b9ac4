//! How long the repository takes to compile, into a directory of its own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use super::row::Row;
use crate::workspace::Workspace;

/// A file whose change an incremental check is measured by: the server's root, on which nothing else
/// of the workspace depends.
const TOUCHED: &str = "exchange/server/src/lib.rs";

/// How often a change is checked.
const CHECKS: usize = 3;

/// What is measured, and how long it may take.
struct Step {
    case: &'static str,
    args: &'static [&'static str],
    /// Seconds.
    goal: f64,
}

const HELP: Step = Step {
    case: "cargo xtask --help, cold",
    args: &["run", "--locked", "--quiet", "--package", "xtask", "--", "--help"],
    goal: 20.0,
};
const RELEASE: Step = Step {
    case: "release build of the exchange, cold",
    args: &["build", "--locked", "--release", "--bin", "optivex"],
    goal: 240.0,
};
const CHECK: Step = Step {
    case: "incremental cargo check of the server",
    args: &["check", "--locked", "--package", "optivex-server"],
    goal: 5.0,
};
/// Before changes can be checked, everything is: seconds that this may take.
const FIRST_CHECK_MAX: f64 = 150.0;

/// Takes ten minutes at most, and less than that if the goals are met: what takes half as long again as its goal
/// is ended, and has missed it.
pub(crate) fn measure(ws: &Workspace, quick: bool, rows: &mut Vec<Row>) -> Result<()> {
    let target = ws.target.join("bench-compile");
    remove(&target)?;
    // Of other profiles than what follows each, so that both are cold in one directory.
    let cold = if quick { &[HELP][..] } else { &[HELP, RELEASE] };
    for step in cold {
        let cost = cargo(ws, &target, step.args, 1.5 * step.goal)?;
        push(rows, step, &[cost]);
    }
    let first = cargo(ws, &target, CHECK.args, FIRST_CHECK_MAX)?;
    ensure!(
        first.is_finished,
        "the first cargo check took over {FIRST_CHECK_MAX} s and was ended"
    );
    let mut checks = Vec::new();
    for _ in 0..CHECKS {
        touch(&ws.root.join(TOUCHED))?;
        checks.push(cargo(ws, &target, CHECK.args, 1.5 * CHECK.goal)?);
    }
    push(rows, &CHECK, &checks);
    remove(&target)
}

/// What a run of cargo took.
struct Cost {
    /// Seconds by the clock.
    clock: f64,
    /// Seconds of processor in all its processes, where the system tells them.
    processor: Option<f64>,
    /// Whether it was left to end by itself.
    is_finished: bool,
}

/// Runs cargo to its end, or for so many seconds.
fn cargo(ws: &Workspace, target: &Path, args: &[&str], seconds_max: f64) -> Result<Cost> {
    // It ends the compilers that cargo has started too.
    let limit = format!("{seconds_max}");
    let words = [&limit, "cargo"].into_iter().chain(args.iter().copied());
    let processor = children_seconds();
    let begun = Instant::now();
    let output = duct::cmd("timeout", words)
        .dir(&ws.root)
        .env("CARGO_TARGET_DIR", target)
        .stdout_null()
        .stderr_capture()
        .unchecked()
        .run()
        .context("cannot start timeout (coreutils)")?;
    let clock = begun.elapsed().as_secs_f64();
    let is_finished = output.status.code() != Some(TIMED_OUT);
    ensure!(
        output.status.success() || !is_finished,
        "cargo {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Cost {
        clock,
        processor: children_seconds()
            .zip(processor)
            .map(|(after, before)| after - before)
            .filter(|_| is_finished),
        is_finished,
    })
}

/// What `timeout` answers when it has ended a program.
const TIMED_OUT: i32 = 124;

/// Seconds of processor that ended children of this process, and theirs, have had.
fn children_seconds() -> Option<f64> {
    children_ticks(&fs::read_to_string("/proc/self/stat").ok()?).map(|ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// What the fields of `/proc/PID/stat` that tell times count in; Linux shows them so on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// `cutime` and `cstime` of `/proc/PID/stat`. The name, in parentheses, may hold anything.
fn children_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(13);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn push(rows: &mut Vec<Row>, step: &Step, costs: &[Cost]) {
    let is_finished = costs.iter().all(|cost| cost.is_finished);
    let clock: Vec<f64> = costs.iter().map(|cost| cost.clock).collect();
    let case = if is_finished {
        step.case.to_owned()
    } else {
        format!("{} (ended unfinished)", step.case)
    };
    push_row(rows, case, &clock, Some(step.goal));
    // A busy machine changes it less.
    if let Some(processor) = costs.iter().map(|cost| cost.processor).collect::<Option<Vec<_>>>() {
        push_row(rows, format!("{}: processor time", step.case), &processor, None);
    }
}

fn push_row(rows: &mut Vec<Row>, case: String, seconds: &[f64], goal: Option<f64>) {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let row = Row {
        bench: "compile".to_owned(),
        case,
        unit: "s".to_owned(),
        median,
        spread: (sorted.len() > 1).then(|| (sorted[sorted.len() - 1] - sorted[0]) / median),
        baseline: None,
        ratio: None,
        goal: goal.map(|goal| format!("≤ {goal} s")),
        met: goal.map(|goal| median <= goal),
    };
    eprintln!("  {row}");
    rows.push(row);
}

fn touch(path: &Path) -> Result<()> {
    let file = fs::File::options()
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    file.set_modified(SystemTime::now() + Duration::from_millis(1))?;
    Ok(())
}

fn remove(target: &Path) -> Result<()> {
    ensure!(target.ends_with("bench-compile"), "{} is not ours", target.display());
    match fs::remove_dir_all(target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot remove old output"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_children() {
        let stat = "77 (a) b (c) R 1 77 77 0 -1 4194304 100 200 0 0 11 12 1300 14 20 0 1 0 555 0 0";
        assert_eq!(children_ticks(stat), Some(1_314));
        assert_eq!(children_ticks("77 (short) R 1"), None);
    }
}
