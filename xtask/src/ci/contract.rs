//! The contract by `buf`: its style, and that no change of it breaks a client.

use std::fmt;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use super::{Ctx, Outcome};
use crate::tools;
use optivex_exit::{Exit, Failure};

const CONTRACT: &str = "proto/optivex";

pub(super) fn lint(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let (sh, buf) = (&ctx.sh, tools::buf(ctx.ws));
    cmd!(sh, "{buf} lint proto").quiet().run()?;
    Ok(Outcome::Ok(String::new()))
}

pub(super) fn breaking(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let (sh, buf) = (&ctx.sh, tools::buf(ctx.ws));
    let history = History::read(sh)?;
    let baseline = baseline(&history)?;
    let note = format!("against {baseline}");
    println!("{note}");
    if let Some(commit) = baseline.commit() {
        let before = sh.create_temp_dir()?;
        for path in files(sh, commit)? {
            let text = cmd!(sh, "git cat-file blob {commit}:{path}").quiet().read()?;
            sh.write_file(before.path().join(&path), text)?;
        }
        let before = before.path().join("proto");
        cmd!(sh, "{buf} breaking proto --against {before}").quiet().run()?;
    }
    Ok(Outcome::Ok(note))
}

/// The contract's files in a commit.
fn files(sh: &Shell, commit: &str) -> Result<Vec<String>> {
    let tree = cmd!(sh, "git ls-tree -r --name-only {commit} -- proto")
        .quiet()
        .read()?;
    Ok(tree
        .lines()
        .filter(|path| path.ends_with(".proto") || path.ends_with("buf.yaml"))
        .map(str::to_owned)
        .collect())
}

/// What git knows of the contract's past. Commits that do not hold the contract are `None`.
#[derive(Clone, Debug, Default)]
struct History {
    /// Where this branch left the main branch, if it did.
    merge_base: Option<Option<String>>,
    /// HEAD, if the work tree's contract is not the committed one.
    uncommitted_over: Option<Option<String>>,
    /// The commit before the last that changed the contract.
    previous: Option<String>,
    /// The clone does not reach back so far.
    cut: bool,
}

impl History {
    fn read(sh: &Shell) -> Result<Self> {
        let commit = |name: &str| {
            let name = format!("{name}^{{commit}}");
            cmd!(sh, "git rev-parse --verify --quiet {name}")
                .quiet()
                .ignore_stderr()
                .read()
                .ok()
        };
        let holding = |commit: String| -> Result<Option<String>> {
            let tree = cmd!(sh, "git ls-tree --name-only {commit} -- {CONTRACT}")
                .quiet()
                .read()?;
            Ok((!tree.is_empty()).then_some(commit))
        };
        let head = commit("HEAD").context("not a git clone with a commit: the contract's past is not here")?;
        let main = std::env::var("GITHUB_BASE_REF")
            .ok()
            .filter(|name| !name.is_empty())
            .map(|name| format!("origin/{name}"))
            .into_iter()
            .chain(["origin/main".to_owned(), "main".to_owned()])
            .find_map(|name| commit(&name));
        let merge_base = match main {
            Some(main) => {
                let base = cmd!(sh, "git merge-base {head} {main}")
                    .quiet()
                    .ignore_stderr()
                    .read()
                    .ok();
                match base {
                    Some(base) if base != head => Some(holding(base)?),
                    _ => None,
                }
            }
            None => None,
        };
        let changed = cmd!(sh, "git status --porcelain -- {CONTRACT}").quiet().read()?;
        let uncommitted_over = if changed.is_empty() { None } else { Some(holding(head)?) };
        let last = cmd!(sh, "git log -1 --first-parent --format=%H -- {CONTRACT}")
            .quiet()
            .read()?;
        let previous = match commit(&format!("{last}^")) {
            Some(parent) => holding(parent)?,
            None => None,
        };
        let shallow = cmd!(sh, "git rev-parse --is-shallow-repository").quiet().read()?;
        Ok(Self {
            merge_base,
            uncommitted_over,
            cut: shallow == "true" && previous.is_none(),
            previous,
        })
    }
}

/// What the contract must be compatible with.
#[derive(Debug, PartialEq, Eq)]
enum Baseline {
    MergeBase(String),
    Committed(String),
    Previous(String),
    /// There is nothing before.
    First,
}

impl Baseline {
    fn commit(&self) -> Option<&str> {
        match self {
            Baseline::MergeBase(commit) | Baseline::Committed(commit) | Baseline::Previous(commit) => Some(commit),
            Baseline::First => None,
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |commit: &str| commit.chars().take(10).collect::<String>();
        match self {
            Baseline::MergeBase(commit) => write!(f, "{}, where this branch left main", short(commit)),
            Baseline::Committed(commit) => write!(f, "{}, the last commit", short(commit)),
            Baseline::Previous(commit) => write!(f, "{}, before the contract's last change", short(commit)),
            Baseline::First => f.write_str("nothing: this is the contract's first version"),
        }
    }
}

fn baseline(history: &History) -> Result<Baseline> {
    let or_first = |commit: &Option<String>, kind: fn(String) -> Baseline| match commit {
        Some(commit) => kind(commit.clone()),
        None => Baseline::First,
    };
    if let Some(base) = &history.merge_base {
        return Ok(or_first(base, Baseline::MergeBase));
    }
    if let Some(head) = &history.uncommitted_over {
        return Ok(or_first(head, Baseline::Committed));
    }
    if history.cut {
        return Err(Failure::new(
            Exit::Infrastructure,
            "this clone is shallow and does not hold the contract's past: git fetch --unshallow",
        )
        .into());
    }
    Ok(or_first(&history.previous, Baseline::Previous))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines() {
        let some = |commit: &str| Some(commit.to_owned());
        let cases = [
            ("first commit", History::default(), "nothing"),
            (
                "main, contract changed once since it came",
                History {
                    previous: some("p1"),
                    ..History::default()
                },
                "p1, before",
            ),
            (
                "branch",
                History {
                    merge_base: Some(some("b1")),
                    previous: some("p1"),
                    ..History::default()
                },
                "b1, where",
            ),
            (
                "branch of a main without a contract",
                History {
                    merge_base: Some(None),
                    previous: some("p1"),
                    ..History::default()
                },
                "nothing",
            ),
            (
                "main, edited",
                History {
                    uncommitted_over: Some(some("h1")),
                    previous: some("p1"),
                    ..History::default()
                },
                "h1, the last",
            ),
            (
                "shallow clone",
                History {
                    cut: true,
                    ..History::default()
                },
                "error",
            ),
        ];
        for (case, history, expected) in cases {
            let text = baseline(&history).map_or("error".to_owned(), |baseline| baseline.to_string());
            assert!(text.starts_with(expected), "{case}: {text}");
        }
    }
}
