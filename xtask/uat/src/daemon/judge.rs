//! What a submission comes to: runs it under the tests, and decides whose fault is what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use optivex_bundle::digest::Digest;
use optivex_bundle::limits::Limits;
use optivex_bundle::progress::Event;
use optivex_bundle::verdict::Verdict;

use super::told::Record;
use crate::sandbox::{Cancel, Cell, CellEnd, CellRun, CellSpec, cgroup};

/// What all jobs of a daemon share.
#[derive(Debug)]
pub struct Bench {
    /// This program, where every account may read it.
    pub program: PathBuf,
    /// Where control groups were delegated.
    pub cgroups: Option<cgroup::Delegated>,
    /// Bounds of submissions.
    pub limits: Limits,
}

/// The system tests, unpacked.
#[derive(Clone, Debug)]
pub struct Tests {
    /// Hash of their archive.
    pub digest: Digest,
    /// Hash of the contract that they go by.
    pub contract: Digest,
    /// Folder of `system-tests`.
    pub folder: PathBuf,
}

/// What is judged.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its files.
    pub app: PathBuf,
    /// How it is started.
    pub start: Vec<String>,
    /// Environment beyond the convention's.
    pub env: BTreeMap<String, String>,
}

/// How it is judged.
#[derive(Debug)]
pub struct Trial<'a> {
    /// What is shared.
    pub bench: &'a Bench,
    /// The tests.
    pub tests: &'a Tests,
    /// Further arguments of theirs.
    pub arguments: &'a [String],
    /// The submission.
    pub subject: &'a Subject,
    /// A folder that nobody else uses.
    pub work: &'a Path,
    /// Account of its processes.
    pub account: Option<u32>,
    /// Ends it.
    pub cancel: &'a Cancel,
}

/// What came of a trial.
#[derive(Debug)]
pub struct Judged {
    /// What it came to.
    pub verdict: Verdict,
    /// What the verdict does not say.
    pub note: Option<String>,
    /// What the tests told.
    pub record: Record,
    /// What the submission printed while no hidden case ran.
    pub log: Vec<u8>,
    /// Seconds of parts.
    pub timings: BTreeMap<String, f64>,
}

impl Trial<'_> {
    /// Judges. Hidden cases come after all others, in a cell of their own with new data: what a submission saw of
    /// them can reach no log that its participant reads.
    pub fn run(&self, mut tell: impl FnMut(&Event) -> Result<()>) -> Judged {
        let mut judged = Judged {
            verdict: Verdict::Passed,
            note: None,
            record: Record::default(),
            log: Vec::new(),
            timings: BTreeMap::new(),
        };
        let limits = &self.bench.limits;
        // One for both: what the visible cases took, the hidden ones have not.
        let mut left = Duration::from_secs(limits.wall_seconds);
        for (part, hidden) in [("visible", false), ("hidden", true)] {
            if hidden {
                judged.record.begin_hidden();
            }
            let begun = Instant::now();
            let came = match left.is_zero() {
                true => Ok((
                    Verdict::TimedOut {
                        seconds: limits.wall_seconds,
                    },
                    None,
                )),
                false => self.part(part, hidden, left, &mut judged, &mut tell),
            };
            left = left.saturating_sub(begun.elapsed());
            let (verdict, note) = match came {
                _ if self.cancel.is_cancelled() => (Verdict::Cancelled, None),
                Ok(came) => came,
                Err(error) => (
                    Verdict::Infrastructure {
                        why: one_line(&format!("{error:#}")),
                    },
                    None,
                ),
            };
            judged.timings.insert(part.to_owned(), begun.elapsed().as_secs_f64());
            judged.note = note;
            match (verdict, &judged.verdict) {
                // What failed before stays so.
                (Verdict::Passed, _) => {}
                (verdict @ Verdict::Failed, _) => judged.verdict = verdict,
                (verdict, _) => {
                    judged.verdict = verdict;
                    return judged;
                }
            }
        }
        judged
    }

    fn part(
        &self,
        name: &str,
        hidden: bool,
        wall: Duration,
        judged: &mut Judged,
        tell: &mut impl FnMut(&Event) -> Result<()>,
    ) -> Result<(Verdict, Option<String>)> {
        let out = self.work.join(name);
        let which = if hidden { "only" } else { "without" };
        let arguments = ["--json", "--hidden", which].map(str::to_owned).into_iter();
        let cell = Cell {
            spec: CellSpec {
                start: self.subject.start.clone(),
                env: self.subject.env.clone(),
                arguments: arguments.chain(self.arguments.iter().cloned()).collect(),
                limits: self.bench.limits,
                wall,
                cgroup: None,
            },
            app: &self.subject.app,
            tests: &self.tests.folder,
            out: &out,
            program: &self.bench.program,
            account: self.account,
            cgroups: self.bench.cgroups.as_ref(),
        };
        let before = judged.record.cases.len();
        let kills = kernel_kills();
        let begun = Instant::now();
        let (record, timings) = (&mut judged.record, &mut judged.timings);
        let run = cell.run(self.cancel, |line| {
            let Some(event) = record.take(line).context("what the tests tell")? else {
                return Ok(());
            };
            if matches!(event, Event::StageFinished(_)) {
                timings
                    .entry("first-stage".to_owned())
                    .or_insert(begun.elapsed().as_secs_f64());
            }
            tell(&event)
        });
        if !hidden {
            judged.log = cell.log()?;
        }
        verdict(&run?, &judged.record, before, kills, &self.bench.limits)
    }
}

/// What a run of the tests came to. The order is that of causes: a submission that was ended at a limit fails cases,
/// too.
fn verdict(
    run: &CellRun,
    record: &Record,
    before: usize,
    kills: u64,
    limits: &Limits,
) -> Result<(Verdict, Option<String>)> {
    if let Some(trouble) = run.launches.iter().find_map(|launched| launched.trouble.as_ref()) {
        bail!("a sandbox could not be started: {trouble}");
    }
    let code = match &run.report.end {
        CellEnd::Trouble { message } => bail!("{message}"),
        CellEnd::Broke { limit, detail } => {
            return Ok((Verdict::BrokeLimits { limit: *limit }, Some(detail.clone())));
        }
        CellEnd::TimedOut => {
            return Ok((
                Verdict::TimedOut {
                    seconds: limits.wall_seconds,
                },
                None,
            ));
        }
        CellEnd::Tested { code } => *code,
    };
    let Some(summary) = record.summary else {
        bail!(
            "the tests ended with code {code} and without a summary: {}",
            run.words.trim()
        );
    };
    if summary.errors > 0 {
        let message = record
            .first("error")
            .and_then(|case| case.message.clone())
            .unwrap_or_default();
        bail!("{} cases could not be judged: {message}", summary.errors);
    }
    if !matches!(code, 0 | 100) {
        bail!("the tests ended with code {code}: {}", run.words.trim());
    }
    let cases = &record.cases[before..];
    let failed = cases.iter().find(|case| case.outcome == "failed");
    let by_itself = run.launches.iter().find(|launched| !launched.asked);
    if by_itself.is_some_and(|launched| launched.code == 128 + libc::SIGKILL) && kernel_kills() > kills {
        bail!("the machine ran out of memory");
    }
    if !summary.serves && !cases.iter().any(|case| case.outcome == "passed") {
        let why = failed
            .and_then(|case| case.message.clone())
            .unwrap_or_else(|| "no health in time".to_owned());
        return Ok((Verdict::DidNotStart { why: one_line(&why) }, None));
    }
    if let Some(launched) = by_itself {
        let how = match launched.code - 128 {
            signal @ 1..=64 => format!("ended by signal {signal}"),
            _ => format!("ended with exit code {}", launched.code),
        };
        return Ok((Verdict::Crashed { how }, None));
    }
    Ok((
        if failed.is_some() {
            Verdict::Failed
        } else {
            Verdict::Passed
        },
        None,
    ))
}

/// How often this machine's kernel killed somebody for want of memory.
fn kernel_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or(0)
}

pub(crate) fn one_line(text: &str) -> String {
    let text = optivex_bundle::manifest::printable(text).replace(['\n', '\t'], " ");
    let short: String = text.chars().take(500).collect();
    short.trim().to_owned()
}
