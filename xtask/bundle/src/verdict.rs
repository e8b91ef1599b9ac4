//! What a submission comes to.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, SubmissionId};
use crate::names::Name;

/// What a submission came to: one of these, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Every case passed, or was skipped with a reason.
    Passed,
    /// It failed a case.
    Failed,
    /// It did not answer health with SERVING in time, or ended before that.
    DidNotStart {
        /// In one line.
        why: String,
    },
    /// It ended while it was tested, without being told to.
    Crashed {
        /// Exit code or signal, in one line.
        how: String,
    },
    /// The tests did not come to an end in time.
    TimedOut {
        /// Seconds that they had.
        seconds: u64,
    },
    /// It used more than it may.
    BrokeLimits {
        /// Of what.
        limit: Limit,
    },
    /// The bundle is not sound: nothing of it was started.
    Refused {
        /// In one line.
        why: String,
    },
    /// The participant asked for it.
    Cancelled,
    /// A newer one of the same participant took its place before it was started.
    Superseded {
        /// By this one.
        by: SubmissionId,
    },
    /// Our fault, or this machine's: it was not judged.
    Infrastructure {
        /// In one line.
        why: String,
    },
}

/// What a submission may use only so much of; the amounts are in [`crate::limits::Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Memory of all processes.
    Memory,
    /// Processes and threads.
    Processes,
    /// Processor time.
    Cpu,
    /// Bytes of one file.
    FileSize,
    /// Bytes of all files.
    Data,
    /// Bytes printed.
    Log,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Memory => "memory",
            Limit::Processes => "processes",
            Limit::Cpu => "processor time",
            Limit::FileSize => "size of one file",
            Limit::Data => "size of all files",
            Limit::Log => "size of its log",
        })
    }
}

impl Verdict {
    /// One word for tables.
    pub const fn word(&self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::DidNotStart { .. } => "did not start",
            Verdict::Crashed { .. } => "crashed",
            Verdict::TimedOut { .. } => "timed out",
            Verdict::BrokeLimits { .. } => "broke limits",
            Verdict::Refused { .. } => "refused",
            Verdict::Cancelled => "cancelled",
            Verdict::Superseded { .. } => "superseded",
            Verdict::Infrastructure { .. } => "not judged",
        }
    }

    /// Whether it says something about the submission. One that was not judged may be handed over again.
    pub const fn is_judged(&self) -> bool {
        !matches!(
            self,
            Verdict::Cancelled | Verdict::Superseded { .. } | Verdict::Infrastructure { .. }
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Verdict::Passed | Verdict::Failed | Verdict::Cancelled => Ok(()),
            Verdict::DidNotStart { why } | Verdict::Refused { why } => write!(f, ": {why}"),
            Verdict::Crashed { how } => write!(f, ": {how}"),
            Verdict::TimedOut { seconds } => write!(f, " after {seconds} s"),
            Verdict::BrokeLimits { limit } => write!(f, ": {limit}"),
            Verdict::Superseded { by } => write!(f, " by {by}"),
            Verdict::Infrastructure { why } => write!(f, ", by our fault: {why}"),
        }
    }
}

/// `result.json`: what a submission came to, by which tests, and all that is needed to see it again. Readers take no
/// offence at fields that they do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// Of [`JobResult::SCHEMA`].
    pub schema: u32,
    /// Whose.
    pub participant: Name,
    /// Which.
    pub id: SubmissionId,
    /// Which attempt at it: the receipt's.
    pub attempt: u32,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Hash of the bundle.
    pub submission: Digest,
    /// Bytes of the bundle.
    pub size: u64,
    /// Hash of the archive of system tests; none where it was not tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Digest>,
    /// Hash of the contract that the tests go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Digest>,
    /// Commit that the manifest names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether the manifest says that there were changes beside the commit.
    #[serde(default)]
    pub dirty: bool,
    /// Seed of the tests' random cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// When the receipt was given, as RFC 3339 in UTC.
    pub received: String,
    /// When it was over.
    pub finished: String,
    /// Seconds that it waited, until it was claimed.
    #[serde(default)]
    pub waited_seconds: f64,
    /// Seconds from claim to the end.
    #[serde(default)]
    pub ran_seconds: f64,
    /// The stages that were run, in their order.
    #[serde(default)]
    pub stages: Vec<StageRow>,
    /// Cases that did not pass, in their order; blocked ones are left out.
    #[serde(default)]
    pub cases: Vec<CaseRow>,
    /// What the verdict does not say in itself, such as the amount of a limit; in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Tries before this one that came to nothing by our fault: why, in one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// What the stage `load` measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub score: Vec<ScoreRow>,
    /// Seconds that parts of the run took, by their name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timings: BTreeMap<String, f64>,
}

/// A number that the system tests measured, beside the same of an echo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// Slug of its case.
    pub case: String,
    /// Its name.
    pub name: String,
    /// What it counts.
    pub unit: String,
    /// Of the exchange under test.
    pub exchange: f64,
    /// Of the echo.
    pub echo: f64,
    /// The exchange's in units of the echo's.
    #[serde(default)]
    pub ratio: Option<f64>,
}

impl JobResult {
    /// The form of [`JobResult`] that this crate writes.
    pub const SCHEMA: u32 = 1;
}

/// A stage of the system tests, as the tests themselves tell it (`stage_finished`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRow {
    /// Its slug.
    pub stage: String,
    /// Its number.
    pub number: u32,
    /// Its title.
    pub title: String,
    /// Core of the program, or extension.
    pub core: bool,
    /// Cases that passed.
    pub passed: u32,
    /// Cases that failed.
    pub failed: u32,
    /// Cases that could not be judged.
    pub errors: u32,
    /// Cases that were blocked.
    pub blocked: u32,
    /// Cases that were skipped.
    pub skipped: u32,
    /// Stages by which it was blocked.
    #[serde(default)]
    pub blocked_by: Vec<String>,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
}

impl StageRow {
    /// One word for tables, as the system tests say it.
    pub fn word(&self) -> &'static str {
        match self {
            _ if self.failed > 0 => "failed",
            _ if self.errors > 0 => "error",
            _ if !self.blocked_by.is_empty() => "blocked",
            _ if self.passed > 0 => "passed",
            _ => "skipped",
        }
    }
}

/// A case that did not pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseRow {
    /// Slug of its stage.
    pub stage: String,
    /// Its slug.
    pub case: String,
    /// Its sentence.
    pub title: String,
    /// `failed`, `error` or `skipped`.
    pub outcome: String,
    /// Whether it tells only its title.
    #[serde(default)]
    pub hidden: bool,
    /// What was sent, what came back, what was expected; or why it was skipped. None of a hidden case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_whose_fault() {
        let id: SubmissionId = "0123456789abcdef".parse().expect("an id");
        let text = || "why".to_owned();
        let cases = [
            (Verdict::Passed, "passed", true),
            (Verdict::Failed, "failed", true),
            (Verdict::DidNotStart { why: text() }, "did not start: why", true),
            (
                Verdict::Crashed {
                    how: "signal 11".to_owned(),
                },
                "crashed: signal 11",
                true,
            ),
            (Verdict::TimedOut { seconds: 900 }, "timed out after 900 s", true),
            (
                Verdict::BrokeLimits { limit: Limit::Memory },
                "broke limits: memory",
                true,
            ),
            (Verdict::Refused { why: text() }, "refused: why", true),
            (Verdict::Cancelled, "cancelled", false),
            (Verdict::Superseded { by: id }, "superseded by 0123456789abcdef", false),
            (
                Verdict::Infrastructure { why: text() },
                "not judged, by our fault: why",
                false,
            ),
        ];
        for (verdict, told, judged) in cases {
            assert_eq!(verdict.to_string(), told);
            assert_eq!(verdict.is_judged(), judged, "{told}");
            let json = serde_json::to_string(&verdict).expect("JSON");
            assert_eq!(serde_json::from_str::<Verdict>(&json).expect("read"), verdict, "{json}");
        }
    }
}
