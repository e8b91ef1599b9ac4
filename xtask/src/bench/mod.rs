//! `cargo xtask bench`: every benchmark beside its baseline, one table.
//!
//! A benchmark is a bench target of the workspace that prints its results as rows: see [`row`]. What it
//! prints beside them is passed on.

mod compile;
mod machine;
mod report;
mod row;

use std::fs;
use std::io::{BufRead, BufReader};

use anyhow::{Context, Result, bail};
use optivex_exit::{Exit, Failure};
use xshell::{Shell, cmd};

use crate::workspace::Workspace;
use row::Row;

/// Where the table is kept.
const REPORT: &str = "exchange/BENCHMARKS.md";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which benchmarks; all if none is named.
    names: Vec<String>,
    /// Fewer and shorter rounds of a faster build, for a first look: the table is printed, and written
    /// nowhere.
    #[arg(long)]
    quick: bool,
    /// Build with another profile of cargo than `bench`, or than `fast` with --quick.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

impl Args {
    fn profile(&self) -> &str {
        let default = if self.quick { "fast" } else { "bench" };
        self.profile.as_deref().unwrap_or(default)
    }
}

/// One benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bench {
    /// A bench target of a package.
    Target { package: String, name: String },
    /// How long the repository takes to compile.
    Compile,
}

impl Bench {
    fn name(&self) -> &str {
        match self {
            Bench::Target { name, .. } => name,
            Bench::Compile => "compile",
        }
    }
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<Exit> {
    let sh = ws.shell()?;
    let metadata = cmd!(sh, "cargo metadata --locked --no-deps --format-version 1")
        .quiet()
        .read()
        .map_err(|error| Failure::new(Exit::Infrastructure, error.to_string()))?;
    let benches = chosen(benches(&metadata)?, &args.names)?;
    build(&sh, &benches, args.profile())?;
    let mut rows = Vec::new();
    let mut broken = Vec::new();
    for bench in &benches {
        eprintln!("running {}", bench.name());
        let result = match bench {
            Bench::Target { package, name } => run_target(ws, package, name, args, &mut rows),
            Bench::Compile => compile::measure(ws, args.quick, &mut rows),
        };
        // The others are worth their numbers all the same.
        if let Err(error) = result {
            eprintln!("error: {}: {error:#}", bench.name());
            broken.push(bench.name());
        }
    }
    println!("{}", report::table(&rows));
    if !args.quick {
        let path = ws.root.join(REPORT);
        let old = fs::read_to_string(&path).unwrap_or_default();
        let machine = machine::describe(&sh, args.profile());
        fs::write(&path, report::renewed(&old, &machine, &rows)).with_context(|| format!("cannot write {REPORT}"))?;
        println!("{REPORT} has it, with how to read it.");
    }
    if !broken.is_empty() {
        bail!("no result: {}", broken.join(", "));
    }
    Ok(Exit::Ok)
}

/// Every bench target of the workspace, and what xtask measures itself.
fn benches(metadata: &str) -> Result<Vec<Bench>> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).context("cargo metadata is no JSON")?;
    let mut benches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            let is_bench = target["kind"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind == "bench"));
            if let (true, Some(package), Some(name)) = (is_bench, package["name"].as_str(), target["name"].as_str()) {
                benches.push(Bench::Target {
                    package: package.to_owned(),
                    name: name.to_owned(),
                });
            }
        }
    }
    benches.push(Bench::Compile);
    Ok(benches)
}

fn chosen(benches: Vec<Bench>, names: &[String]) -> Result<Vec<Bench>> {
    if let Some(stranger) = names
        .iter()
        .find(|name| benches.iter().all(|bench| bench.name() != *name))
    {
        let known: Vec<_> = benches.iter().map(Bench::name).collect();
        return Err(Failure::new(
            Exit::Usage,
            format!("no benchmark {stranger:?}; there are: {}", known.join(", ")),
        )
        .into());
    }
    let is_chosen = |bench: &Bench| names.is_empty() || names.iter().any(|name| name == bench.name());
    Ok(benches.into_iter().filter(is_chosen).collect())
}

/// Compiles what is to be run, so that a measurement does not compete with a compiler.
fn build(sh: &Shell, benches: &[Bench], profile: &str) -> Result<()> {
    eprintln!("building the benchmarks ({profile} profile): minutes");
    for bench in benches {
        // One by one, as they are run: cargo builds what they share otherwise if they are built together.
        if let Bench::Target { package, name } = bench {
            cmd!(
                sh,
                "cargo bench --locked --no-run --profile {profile} --package {package} --bench {name}"
            )
            .quiet()
            .run()
            .map_err(|error| Failure::new(Exit::BuildFailed, error.to_string()))?;
        }
    }
    Ok(())
}

fn run_target(ws: &Workspace, package: &str, name: &str, args: &Args, rows: &mut Vec<Row>) -> Result<()> {
    let mut words = vec!["bench", "--locked", "--quiet", "--profile", args.profile()];
    words.extend(["--package", package, "--bench", name]);
    if args.quick {
        words.extend(["--", "--quick"]);
    }
    let reader = duct::cmd("cargo", words)
        .dir(&ws.root)
        .reader()
        .context("cannot start cargo")?;
    for line in BufReader::new(&reader).lines() {
        let line = line.context("it ended with an error")?;
        match Row::parse(&line) {
            Some(row) => {
                eprintln!("  {row}");
                rows.push(row);
            }
            None => println!("{line}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benches_are_found_and_chosen() {
        let metadata = r#"{"packages": [
            {"name": "optivex-engine", "targets": [
                {"name": "optivex-engine", "kind": ["lib"]}, {"name": "book", "kind": ["bench"]}]},
            {"name": "optivex-server", "targets": [{"name": "order_path", "kind": ["bench"]}]}
        ]}"#;
        let all = benches(metadata).expect("it is JSON");
        assert_eq!(
            all.iter().map(Bench::name).collect::<Vec<_>>(),
            ["book", "order_path", "compile"]
        );
        assert_eq!(chosen(all.clone(), &[]).expect("all"), all);
        let some = chosen(all.clone(), &["compile".to_owned(), "book".to_owned()]).expect("both are there");
        assert_eq!(some.iter().map(Bench::name).collect::<Vec<_>>(), ["book", "compile"]);
        let error = chosen(all, &["bok".to_owned()]).expect_err("there is none");
        assert_eq!(crate::exit::code_of(&error), Exit::Usage);
        assert_eq!(
            error.to_string(),
            r#"no benchmark "bok"; there are: book, order_path, compile"#
        );
    }
}
