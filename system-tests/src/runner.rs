//! Runs cases: which, in which order, how many at a time; and what each came to.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use crate::case::{Case, Stage};
use crate::context::{Context, Given, needs_launch};
use crate::record::{Hint, Log};
use crate::score::{Measurement, Score};
use crate::subject::Subject;
use crate::verdict::{Failure, Stop};

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of the run; each case has its own made of it.
    pub seed: u64,
    /// Cases at a time.
    pub jobs: usize,
    /// How long one answer may take.
    pub patience: Duration,
    /// How long a case that measures loads the exchange.
    pub load_time: Duration,
    /// Stop at the first case that fails.
    pub until_first_failure: bool,
}

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The exchange did as the contract says.
    Passed,
    /// It did not: theirs. A hidden case has no hint.
    Failed {
        /// In one line.
        message: Option<String>,
        /// The whole story.
        hint: Option<Box<Hint>>,
    },
    /// The tests went wrong: ours.
    Error {
        /// In one line.
        message: String,
    },
    /// A stage that this one builds on failed.
    Blocked {
        /// Slugs of these stages.
        by: Vec<String>,
    },
    /// It does not apply to this run.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed { .. } => "failed",
            Outcome::Error { .. } => "error",
            Outcome::Blocked { .. } => "blocked",
            Outcome::Skipped { .. } => "skipped",
        }
    }
}

/// A case, run or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseResult {
    /// Slug of its stage.
    pub stage: &'static str,
    /// Its slug.
    pub case: &'static str,
    /// Its sentence.
    pub title: &'static str,
    /// Its clause.
    pub clause: &'static str,
    /// Whether it tells only its title.
    pub hidden: bool,
    /// Whether later stages build on it.
    pub base: bool,
    /// Seed of the run: with it and its name, the case does the same again.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// What it measured, if it is a case that does and it passed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub score: Vec<Measurement>,
    /// What it came to.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a stage came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageResult {
    /// Its slug.
    pub stage: &'static str,
    /// Its number.
    pub number: u32,
    /// Its title.
    pub title: &'static str,
    /// Core of the program, or extension.
    pub core: bool,
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that could not be judged.
    pub errors: usize,
    /// Cases that were blocked.
    pub blocked: usize,
    /// Cases that were skipped.
    pub skipped: usize,
    /// Stages by which it was blocked.
    pub blocked_by: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// The cases, in their order.
    #[serde(skip)]
    pub cases: Vec<CaseResult>,
}

impl StageResult {
    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            _ if self.failed > 0 => "failed",
            _ if self.errors > 0 => "error",
            _ if !self.blocked_by.is_empty() => "blocked",
            _ if self.passed > 0 => "passed",
            _ => "skipped",
        }
    }

    fn new(stage: &Stage, blocked_by: Vec<String>, cases: Vec<CaseResult>, seconds: f64) -> Self {
        let count = |word: &str| cases.iter().filter(|case| case.outcome.word() == word).count();
        Self {
            stage: stage.slug,
            number: stage.number,
            title: stage.title,
            core: stage.core,
            passed: count("passed"),
            failed: count("failed"),
            errors: count("error"),
            blocked: count("blocked"),
            skipped: count("skipped"),
            blocked_by,
            seconds,
            cases,
        }
    }
}

/// The whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// URL or command of the exchange.
    pub subject: String,
    /// Seed of the run: `--seed` gives the same random cases again.
    pub seed: u64,
    /// Whether the exchange served, whenever it was to be started; a target always does.
    pub serves: bool,
    /// When it began.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The stages, in their order.
    pub stages: Vec<StageResult>,
}

impl Summary {
    /// All cases that came to this word.
    pub fn count(&self, word: &str) -> usize {
        self.cases().filter(|case| case.outcome.word() == word).count()
    }

    /// All cases.
    pub fn cases(&self) -> impl Iterator<Item = &CaseResult> {
        self.stages.iter().flat_map(|stage| &stage.cases)
    }
}

/// Something that a report may want to tell at once.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The run begins.
    RunStarted {
        /// URL or command.
        subject: &'a str,
        /// Seed.
        seed: u64,
        /// Cases to come.
        cases: usize,
    },
    /// A stage begins.
    StageStarted {
        /// Slug.
        stage: &'static str,
        /// Number.
        number: u32,
        /// Title.
        title: &'static str,
        /// Core or extension.
        core: bool,
    },
    /// A case begins.
    CaseStarted {
        /// Slug of its stage.
        stage: &'static str,
        /// Slug.
        case: &'static str,
    },
    /// A case ended.
    CaseFinished(&'a CaseResult),
    /// A stage ended.
    StageFinished(&'a StageResult),
    /// The run ended.
    Summary(&'a Summary),
}

/// Somebody who tells events.
pub trait Reporter {
    /// Tells one.
    fn tell(&mut self, event: &Event<'_>);
}

/// Seed of one case: of the run's seed and its name, so that a case run alone does the same.
pub fn seed_of(run: u64, stage: &str, case: &str) -> u64 {
    // FNV-1a: the same on every machine and in every version.
    let hash = |seed: u64, text: &str| {
        text.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    hash(hash(hash(run ^ 0xcbf2_9ce4_8422_2325, stage), "/"), case)
}

/// A stage, and those of its cases that were asked for.
pub type Selected = (Stage, Vec<Case>);

/// Runs the selected stages in their order.
pub async fn run(selected: &[Selected], subject: &Subject, options: &Options, reporter: &mut dyn Reporter) -> Summary {
    let begun = Instant::now();
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    reporter.tell(&Event::RunStarted {
        subject: subject.name(),
        seed: options.seed,
        cases: selected.iter().map(|(_, cases)| cases.len()).sum(),
    });
    let mut stages: Vec<StageResult> = Vec::new();
    let mut broken: HashMap<&str, bool> = HashMap::new();
    let mut stopped = false;
    for (stage, cases) in selected {
        let begun = Instant::now();
        reporter.tell(&Event::StageStarted {
            stage: stage.slug,
            number: stage.number,
            title: stage.title,
            core: stage.core,
        });
        let blocked_by: Vec<String> = stage
            .builds_on
            .iter()
            .filter(|base| broken.get(*base) == Some(&true))
            .map(|base| (*base).to_owned())
            .collect();
        let results = if blocked_by.is_empty() {
            run_stage(stage, cases, subject, options, &mut stopped, reporter).await
        } else {
            let blocked = |case: &Case| result(stage, case, options, 0.0, Outcome::Blocked { by: blocked_by.clone() });
            let results: Vec<CaseResult> = cases.iter().map(blocked).collect();
            results
                .iter()
                .for_each(|result| reporter.tell(&Event::CaseFinished(result)));
            results
        };
        let base_failed = results
            .iter()
            .any(|case| case.base && matches!(case.outcome, Outcome::Failed { .. } | Outcome::Error { .. }));
        broken.insert(stage.slug, base_failed || !blocked_by.is_empty());
        let result = StageResult::new(stage, blocked_by, results, begun.elapsed().as_secs_f64());
        reporter.tell(&Event::StageFinished(&result));
        stages.push(result);
    }
    let summary = Summary {
        subject: subject.name().to_owned(),
        seed: options.seed,
        serves: subject.serves().await,
        started,
        seconds: begun.elapsed().as_secs_f64(),
        stages,
    };
    reporter.tell(&Event::Summary(&summary));
    summary
}

/// Cases that run together first, then those that want to be alone.
async fn run_stage(
    stage: &Stage,
    cases: &[Case],
    subject: &Subject,
    options: &Options,
    stopped: &mut bool,
    reporter: &mut dyn Reporter,
) -> Vec<CaseResult> {
    let jobs = match options.until_first_failure {
        true => 1,
        false => options.jobs.min(subject.cases_at_a_time()).max(1),
    };
    let mut results: Vec<Option<CaseResult>> = vec![None; cases.len()];
    for (alone, jobs) in [(false, jobs), (true, 1)] {
        let mut waiting = cases.iter().enumerate().filter(|(_, case)| case.alone == alone);
        let mut running = stream::FuturesUnordered::new();
        loop {
            while running.len() < jobs {
                let Some((place, case)) = waiting.next() else { break };
                if *stopped {
                    let reason = "after the first failure".to_owned();
                    let result = result(stage, case, options, 0.0, Outcome::Skipped { reason });
                    reporter.tell(&Event::CaseFinished(&result));
                    results[place] = Some(result);
                    continue;
                }
                reporter.tell(&Event::CaseStarted {
                    stage: stage.slug,
                    case: case.slug,
                });
                running.push(async move {
                    let begun = Instant::now();
                    let (outcome, score) = run_case(stage, case, subject, options).await;
                    let result = result(stage, case, options, begun.elapsed().as_secs_f64(), outcome);
                    (place, CaseResult { score, ..result })
                });
            }
            let Some((place, result)) = running.next().await else {
                break;
            };
            if options.until_first_failure && matches!(result.outcome, Outcome::Failed { .. } | Outcome::Error { .. }) {
                *stopped = true;
            }
            reporter.tell(&Event::CaseFinished(&result));
            results[place] = Some(result);
        }
    }
    results.into_iter().flatten().collect()
}

fn result(stage: &Stage, case: &Case, options: &Options, seconds: f64, outcome: Outcome) -> CaseResult {
    CaseResult {
        stage: stage.slug,
        case: case.slug,
        title: case.title,
        clause: case.clause,
        hidden: case.hidden,
        base: case.base,
        seed: options.seed,
        seconds,
        score: Vec::new(),
        outcome,
    }
}

async fn run_case(stage: &Stage, case: &Case, subject: &Subject, options: &Options) -> (Outcome, Vec<Measurement>) {
    let given = Given {
        log: Log::default(),
        score: Score::default(),
        seed: seed_of(options.seed, stage.slug, case.slug),
        patience: options.patience,
        load_time: options.load_time,
    };
    let ended = attempt(case, subject, &given).await;
    let outcome = outcome(ended, case, subject, &given.log).await;
    // How fast a wrong exchange is wrong is no score.
    let score = match outcome {
        Outcome::Passed => given.score.taken(),
        _ => Vec::new(),
    };
    (outcome, score)
}

async fn outcome(ended: Result<(), Stop>, case: &Case, subject: &Subject, log: &Log) -> Outcome {
    match ended {
        Ok(()) => Outcome::Passed,
        Err(Stop::Skipped(reason)) => Outcome::Skipped { reason },
        Err(Stop::Trouble(message)) => Outcome::Error { message },
        Err(Stop::Failed(_)) if !case.wants.is_empty() && log.has_unimplemented() => Outcome::Skipped {
            reason: format!("needs {} too, which the exchange does not have", case.wants.join(", ")),
        },
        Err(Stop::Failed(_)) if case.hidden => Outcome::Failed {
            message: None,
            hint: None,
        },
        Err(Stop::Failed(failure)) => {
            let mut failure: Failure = *failure;
            let first_line = failure.came.lines().next().unwrap_or_default().to_owned();
            let message = format!("{first_line}; expected: {}", failure.expected);
            if let Some(obituary) = subject.obituary().await {
                failure.came = format!("{}\n{obituary}", failure.came);
            }
            Outcome::Failed {
                message: Some(message),
                hint: Some(Box::new(log.hint(&failure, case.clause))),
            }
        }
    }
}

async fn attempt(case: &Case, subject: &Subject, given: &Given) -> Result<(), Stop> {
    if case.launches && subject.launcher.is_none() {
        return Err(needs_launch());
    }
    let venue = subject.venue().await?;
    let context = Context::new(venue, subject.launcher.clone(), given.clone());
    let timeout = match case.measures {
        // The echo takes its turns too, and what was sent is looked at afterwards.
        true => case.timeout + given.load_time * 6,
        false => case.timeout,
    };
    // A task of its own: a panic in it ends the case and nothing else.
    let mut task = AbortOnDrop(tokio::spawn((case.run)(context)));
    match tokio::time::timeout(timeout, &mut task.0).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => Err(Stop::trouble(format!("the case itself broke: {}", panic_text(error)))),
        Err(_) => Err(Stop::failed(
            format!("the case was not over after {} s", timeout.as_secs()),
            "answers in time",
        )),
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Result<(), Stop>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic".to_owned()),
        Err(error) => error.to_string(),
    }
}

/// For fixtures: nothing is told.
#[derive(Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn tell(&mut self, _event: &Event<'_>) {}
}
