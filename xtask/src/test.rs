//! `cargo xtask test`: every test, and what the tests need.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::ops::AddAssign;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::needs::Role;
use crate::tools;
use crate::workspace::Workspace;
use optivex_exit::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For the test programs: a part of the tests' names, or flags such as --nocapture.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// What came of the tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<Exit> {
    let sh = ws.shell()?;
    tools::ensure(ws, &sh, Role::Tests)?;
    build(&sh)?;
    let (counts, exit) = run_built(ws, &[], &args.filter)?;
    if exit == Exit::Ok && counts == Counts::default() {
        eprintln!("no test has {:?} in its name", args.filter);
        return Ok(Exit::Usage);
    }
    println!("{counts}");
    Ok(exit)
}

/// Compiles all tests.
pub(crate) fn build(sh: &Shell) -> Result<()> {
    cmd!(sh, "cargo test --locked --no-run")
        .quiet()
        .run()
        .map_err(|error| Failure::new(Exit::BuildFailed, error.to_string()).into())
}

/// Runs tests, shows their output as it comes, and counts them: all tests, unless `selection` tells cargo which.
pub(crate) fn run_built(ws: &Workspace, selection: &[&str], filter: &[String]) -> Result<(Counts, Exit)> {
    let mut args = vec!["test", "--locked", "--no-fail-fast"];
    args.extend(selection);
    args.push("--");
    args.extend(filter.iter().map(String::as_str));
    let mut tests = duct::cmd("cargo", args)
        .dir(&ws.root)
        .env("OPTIVEX_TOOLS", &ws.tools)
        .stderr_to_stdout()
        .unchecked();
    if std::io::stdout().is_terminal() {
        tests = tests.env("CARGO_TERM_COLOR", "always");
    }
    let reader = tests.reader().context("cannot start cargo")?;
    let mut counts = Counts::default();
    let mut lines = BufReader::new(&reader);
    let mut line = Vec::new();
    let mut out = std::io::stdout();
    while lines
        .read_until(b'\n', &mut line)
        .context("the output of the tests broke off")?
        > 0
    {
        out.write_all(&line).context("cannot write")?;
        if let Some(result) = test_result(&String::from_utf8_lossy(&line)) {
            counts += result;
        }
        line.clear();
    }
    let output = reader
        .try_wait()
        .context("cannot wait for the tests")?
        .context("the tests ended")?;
    let exit = if output.status.success() {
        Exit::Ok
    } else {
        Exit::TestsFailed
    };
    Ok((counts, exit))
}

/// The closing line of one test program.
fn test_result(line: &str) -> Option<Counts> {
    let (_, result) = line.trim_end().split_once("test result: ")?;
    let (_, counts) = result.split_once(". ")?;
    let count = |name: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(name))?;
        part.trim().parse().ok()
    };
    Some(Counts {
        passed: count("passed")?,
        failed: count("failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results() {
        let cases = [
            ("test engine::fok ... ok", None),
            ("running 3 tests", None),
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
                Some((12, 0)),
            ),
            (
                "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
                Some((1, 2)),
            ),
            // A test's own words are not a result.
            ("test result: ok. all passed; none failed", None),
            ("test result:", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(passed, failed)| Counts { passed, failed });
            assert_eq!(test_result(line), expected, "{line}");
        }
    }
}
