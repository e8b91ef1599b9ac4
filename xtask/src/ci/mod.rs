//! `cargo xtask ci`: every check in order, then a table of what came of them.

mod contract;
mod dependencies;
mod rehearsal;
mod shells;
mod template;

use std::time::{Duration, Instant};

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::needs::Role;
use crate::test::{self, Counts};
use crate::tools;
use crate::workspace::Workspace;
use optivex_exit::{Exit, Failure, code_of};

/// What a step has at hand.
struct Ctx<'a> {
    ws: &'a Workspace,
    sh: Shell,
    /// What the tests counted.
    counts: Counts,
    /// A check that this machine cannot do is a failure.
    strict: bool,
}

/// What came of a step that did not fail.
#[derive(Debug)]
enum Outcome {
    Ok(String),
    /// Why not; told loudly.
    NotChecked(String),
}

type Step = (&'static str, fn(&mut Ctx<'_>) -> Result<Outcome>);

/// No default member of the workspace, for it compiles the AWS SDK: checked here all the same.
const OUTSIDE: &str = "optivex-provision";

/// Cheap steps first.
const STEPS: [Step; 12] = [
    ("format", format),
    ("no shell scripts", shells::check),
    ("tools", install),
    ("contract: lint", contract::lint),
    ("contract: breaking", contract::breaking),
    ("licences, bans, sources", dependencies::licences),
    ("advisories", dependencies::advisories),
    ("clippy", clippy),
    ("template", template::check),
    ("docs", docs),
    ("tests", tests),
    ("rehearsal", rehearsal::check),
];

fn format(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let sh = &ctx.sh;
    cmd!(sh, "cargo fmt --all --check").quiet().run()?;
    Ok(Outcome::Ok(String::new()))
}

fn install(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    tools::ensure(ctx.ws, &ctx.sh, Role::Ci)?;
    Ok(Outcome::Ok(String::new()))
}

fn clippy(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let sh = &ctx.sh;
    cmd!(sh, "cargo clippy --locked --all-targets -- -D warnings")
        .quiet()
        .run()?;
    // What no default build has: the crate with the AWS SDK, and what is behind the feature.
    cmd!(sh, "cargo clippy --locked -p {OUTSIDE} --all-targets -- -D warnings")
        .quiet()
        .run()?;
    cmd!(
        sh,
        "cargo clippy --locked -p optivex-engine -p optivex-server --features optivex-server/faults --lib --bins -- -D warnings"
    )
    .quiet()
    .run()?;
    Ok(Outcome::Ok(String::new()))
}

fn docs(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let sh = &ctx.sh;
    cmd!(sh, "cargo doc --locked --no-deps")
        .env("RUSTDOCFLAGS", "-D warnings")
        .quiet()
        .run()?;
    cmd!(sh, "cargo doc --locked --no-deps -p {OUTSIDE}")
        .env("RUSTDOCFLAGS", "-D warnings")
        .quiet()
        .run()?;
    Ok(Outcome::Ok(String::new()))
}

fn tests(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    test::build(&ctx.sh)?;
    let (mut counts, exit) = test::run_built(ctx.ws, &[], &[])?;
    let (more, exit_outside) = test::run_built(ctx.ws, &["-p", OUTSIDE], &[])?;
    counts += more;
    ctx.counts += counts;
    match if exit == Exit::Ok { exit_outside } else { exit } {
        Exit::Ok => Ok(Outcome::Ok(counts.to_string())),
        exit => Err(Failure::new(exit, counts.to_string()).into()),
    }
}

pub(crate) fn run(ws: &Workspace) -> Result<Exit> {
    let mut ctx = Ctx {
        ws,
        sh: ws.shell()?,
        counts: Counts::default(),
        strict: std::env::var_os("GITHUB_ACTIONS").is_some(),
    };
    let mut rows = Vec::new();
    for (index, (name, step)) in STEPS.into_iter().enumerate() {
        println!("\n[{}/{}] {name}", index + 1, STEPS.len());
        let start = Instant::now();
        let result = step(&mut ctx);
        let took = start.elapsed();
        match &result {
            Ok(Outcome::Ok(_)) => println!("ok, {}", seconds(took)),
            Ok(Outcome::NotChecked(why)) => println!("NOT CHECKED: {why}"),
            Err(error) => println!("FAILED, {}: {error:#}", seconds(took)),
        }
        rows.push(Row { name, took, result });
    }
    println!("\n{}", summary(&rows));
    println!("{}", ctx.counts);
    Ok(exit_of(&rows))
}

struct Row {
    name: &'static str,
    took: Duration,
    result: Result<Outcome>,
}

fn summary(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { name, took, result } in rows {
        let (verdict, note) = match result {
            Ok(Outcome::Ok(note)) => ("ok", note.clone()),
            Ok(Outcome::NotChecked(why)) => ("NOT CHECKED", why.clone()),
            Err(error) => ("FAILED", error.to_string()),
        };
        let note = note.lines().next().unwrap_or_default();
        let line = format!("{verdict:<12} {:>8}  {name:<24} {note}", seconds(*took));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The first failure tells.
fn exit_of(rows: &[Row]) -> Exit {
    rows.iter()
        .find_map(|row| row.result.as_ref().err())
        .map_or(Exit::Ok, code_of)
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn row(name: &'static str, result: Result<Outcome>) -> Row {
        Row {
            name,
            took: Duration::from_millis(1234),
            result,
        }
    }

    #[test]
    fn a_summary() {
        let rows = [
            row("format", Ok(Outcome::Ok(String::new()))),
            row("advisories", Ok(Outcome::NotChecked("no database".to_owned()))),
            row("clippy", Err(anyhow!("command exited with 101\nand more"))),
            row(
                "tests",
                Err(Failure::new(Exit::TestsFailed, "4 passed, 1 failed").into()),
            ),
        ];
        assert_eq!(
            summary(&rows),
            "ok              1.2 s  format\n\
             NOT CHECKED     1.2 s  advisories               no database\n\
             FAILED          1.2 s  clippy                   command exited with 101\n\
             FAILED          1.2 s  tests                    4 passed, 1 failed\n"
        );
        assert_eq!(exit_of(&rows), Exit::Failed);
        assert_eq!(exit_of(&rows[..2]), Exit::Ok);
        assert_eq!(exit_of(&rows[3..]), Exit::TestsFailed);
    }
}
