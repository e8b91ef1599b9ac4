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

pub(crate) fn measure(ws: &Workspace, quick: bool, rows: &mut Vec<Row>) -> Result<()> {
    let target = ws.target.join("bench-compile");
    let cold = |args: &[&str]| -> Result<f64> {
        remove(&target)?;
        cargo(ws, &target, args)
    };
    let help = cold(&["run", "--quiet", "--package", "xtask", "--", "--help"])?;
    push(rows, "cargo xtask --help, cold", &[help], 20.0);
    if !quick {
        let release = cold(&["build", "--release", "--bin", "optivex"])?;
        push(rows, "release build of the exchange, cold", &[release], 240.0);
    }
    let check = ["check", "--package", "optivex-server"];
    cargo(ws, &target, &check)?;
    let mut checks = Vec::new();
    for _ in 0..3 {
        touch(&ws.root.join(TOUCHED))?;
        checks.push(cargo(ws, &target, &check)?);
    }
    push(rows, "incremental cargo check of the server", &checks, 5.0);
    remove(&target)
}

/// Runs cargo to its end; seconds.
fn cargo(ws: &Workspace, target: &Path, args: &[&str]) -> Result<f64> {
    let begun = Instant::now();
    duct::cmd("cargo", args)
        .dir(&ws.root)
        .env("CARGO_TARGET_DIR", target)
        .stdout_null()
        .stderr_capture()
        .run()
        .with_context(|| format!("cargo {}", args.join(" ")))?;
    Ok(begun.elapsed().as_secs_f64())
}

fn push(rows: &mut Vec<Row>, case: &str, seconds: &[f64], goal: f64) {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let row = Row {
        bench: "compile".to_owned(),
        case: case.to_owned(),
        unit: "s".to_owned(),
        median,
        spread: (sorted.len() > 1).then(|| (sorted[sorted.len() - 1] - sorted[0]) / median),
        baseline: None,
        ratio: None,
        goal: Some(format!("≤ {goal} s")),
        met: Some(median <= goal),
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
