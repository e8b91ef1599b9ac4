//! What the system tests tell with `--json`, and what is made of it.

use std::collections::BTreeMap;

use optivex_bundle::manifest::printable;
use optivex_bundle::progress::Event;
use optivex_bundle::verdict::{CaseRow, ScoreRow, StageRow};
use serde::Deserialize;

/// Bytes of a case's story that are kept.
const STORY_MAX: usize = 16 << 10;
/// Cases of a run; far more than there are.
const CASES_MAX: usize = 10_000;

/// An event of the tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told {
    RunStarted {
        seed: u64,
        cases: u32,
    },
    StageStarted {
        stage: String,
        number: u32,
        title: String,
    },
    CaseFinished(Box<Case>),
    StageFinished(StageRow),
    Summary {
        serves: bool,
        error: u32,
    },
    #[serde(other)]
    Other,
}

/// A case that was run, or was to be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Case {
    /// Slug of its stage.
    pub stage: String,
    /// Its slug.
    pub case: String,
    /// Its sentence.
    pub title: String,
    /// Whether it tells only its title.
    #[serde(default)]
    pub hidden: bool,
    /// How long it took.
    pub seconds: f64,
    /// `passed`, `failed`, `error`, `blocked` or `skipped`.
    pub outcome: String,
    /// In one line.
    #[serde(default)]
    pub message: Option<String>,
    /// For people.
    #[serde(default)]
    pub story: Option<String>,
    /// What it measured.
    #[serde(default)]
    pub score: Vec<Measured>,
}

/// A number that a case measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Measured {
    name: String,
    unit: String,
    // JSON has no infinities: they come as null.
    exchange: Option<f64>,
    echo: Option<f64>,
    ratio: Option<f64>,
}

/// All that was told by one run or several, such as one of hidden cases after one of the others.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Of the random cases.
    pub seed: Option<u64>,
    /// In the order in which they ended.
    pub cases: Vec<Case>,
    /// By number.
    pub stages: BTreeMap<u32, StageRow>,
    /// How the run that is told now stands.
    pub summary: Option<Summary>,
    hidden: bool,
}

/// The end of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whether the exchange came up whenever it was started.
    pub serves: bool,
    /// Cases that could not be judged.
    pub errors: u32,
}

impl Record {
    /// A further run begins, of hidden cases.
    pub fn begin_hidden(&mut self) {
        self.summary = None;
        self.hidden = true;
    }

    /// Takes one line; what is to be told to those who follow.
    pub fn take(&mut self, line: &str) -> Result<Option<Event>, serde_json::Error> {
        Ok(match serde_json::from_str(line)? {
            Told::RunStarted { seed, cases } if !self.hidden => {
                self.seed = Some(seed);
                Some(Event::RunStarted { cases, seed })
            }
            Told::StageStarted { stage, number, title } if !self.hidden => {
                Some(Event::StageStarted { stage, number, title })
            }
            Told::CaseFinished(case) => Some(self.case(*case)),
            Told::StageFinished(row) => {
                let row = self.stage(row);
                Some(Event::StageFinished(row))
            }
            Told::Summary { serves, error } => {
                self.summary = Some(Summary { serves, errors: error });
                None
            }
            Told::RunStarted { .. } | Told::StageStarted { .. } | Told::Other => None,
        })
    }

    fn case(&mut self, mut case: Case) -> Event {
        if case.hidden || self.hidden {
            // Whatever the tests say of it: nobody is told more than its title.
            case.message = None;
            case.story = (case.outcome != "passed").then(|| "This case is hidden: it tells only its title.".to_owned());
        }
        case.story = case.story.map(|story| cut(&printable(&story)));
        case.message = case
            .message
            .map(|message| cut(&printable(&message).replace(['\n', '\t'], " ")));
        let event = Event::CaseFinished {
            stage: case.stage.clone(),
            case: case.case.clone(),
            title: case.title.clone(),
            outcome: case.outcome.clone(),
        };
        if self.cases.len() < CASES_MAX {
            self.cases.push(case);
        }
        event
    }

    /// A stage of which a part was run before is one row.
    fn stage(&mut self, row: StageRow) -> StageRow {
        let sum = match self.stages.remove(&row.number) {
            None => row,
            Some(before) => StageRow {
                passed: before.passed + row.passed,
                failed: before.failed + row.failed,
                errors: before.errors + row.errors,
                blocked: before.blocked + row.blocked,
                skipped: before.skipped + row.skipped,
                seconds: before.seconds + row.seconds,
                ..before
            },
        };
        self.stages.insert(sum.number, sum.clone());
        sum
    }

    /// Cases that came to this.
    pub fn count(&self, outcome: &str) -> usize {
        self.cases.iter().filter(|case| case.outcome == outcome).count()
    }

    /// The first case that came to this.
    pub fn first(&self, outcome: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.outcome == outcome)
    }

    /// Cases for a result.
    pub fn case_rows(&self) -> Vec<CaseRow> {
        let told = |case: &&Case| matches!(case.outcome.as_str(), "failed" | "error" | "skipped");
        self.cases
            .iter()
            .filter(told)
            .map(|case| CaseRow {
                stage: case.stage.clone(),
                case: case.case.clone(),
                title: case.title.clone(),
                outcome: case.outcome.clone(),
                hidden: case.hidden,
                hint: case.story.clone().filter(|_| !case.hidden),
            })
            .collect()
    }

    /// Numbers for a result.
    pub fn score_rows(&self) -> Vec<ScoreRow> {
        let of = |case: &Case| {
            let slug = case.case.clone();
            case.score.clone().into_iter().filter_map(move |measured| {
                Some(ScoreRow {
                    case: slug.clone(),
                    name: measured.name,
                    unit: measured.unit,
                    exchange: measured.exchange?,
                    echo: measured.echo?,
                    ratio: measured.ratio,
                })
            })
        };
        self.cases.iter().flat_map(of).collect()
    }
}

fn cut(text: &str) -> String {
    if text.len() <= STORY_MAX {
        return text.to_owned();
    }
    let end = (0..=STORY_MAX)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}\n… {} bytes more", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(hidden: bool, outcome: &str) -> String {
        format!(
            r#"{{"event":"case_finished","stage":"boot","case":"c","title":"T","clause":"x","hidden":{hidden},"seconds":0.1,"outcome":"{outcome}","message":"m\u001b[2J","story":"s"}}"#
        )
    }

    #[test]
    fn a_hidden_case_tells_its_title_whatever_the_tests_say() {
        let mut record = Record::default();
        record.take(&case(false, "failed")).expect("an event");
        record.take(&case(true, "failed")).expect("an event");
        record.begin_hidden();
        record.take(&case(false, "error")).expect("an event");
        let told: Vec<_> = record
            .cases
            .iter()
            .map(|case| (case.message.as_deref(), case.story.as_deref()))
            .collect();
        let hidden = (None, Some("This case is hidden: it tells only its title."));
        assert_eq!(told, [(Some("m\u{fffd}[2J"), Some("s")), hidden, hidden]);
    }

    #[test]
    fn a_stage_of_two_runs_is_one_row() {
        let row = |passed, failed| {
            format!(
                r#"{{"event":"stage_finished","stage":"login","number":2,"title":"Login","core":true,"passed":{passed},"failed":{failed},"errors":0,"blocked":0,"skipped":0,"blocked_by":[],"seconds":0.5}}"#
            )
        };
        let mut record = Record::default();
        record.take(&row(11, 0)).expect("an event");
        record.begin_hidden();
        record.take(&row(0, 1)).expect("an event");
        let row = &record.stages[&2];
        assert_eq!(
            (row.passed, row.failed, row.seconds, row.word()),
            (11, 1, 1.0, "failed")
        );
        record
            .take(r#"{"event":"summary","serves":true,"error":2,"passed":3}"#)
            .expect("an event");
        assert_eq!(
            record.summary,
            Some(Summary {
                serves: true,
                errors: 2
            })
        );
        assert_eq!(record.take(r#"{"event":"news"}"#).expect("an event"), None);
        assert!(record.take("tests that panic").is_err());
    }
}
