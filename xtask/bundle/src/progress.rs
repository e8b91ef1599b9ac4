//! `stages.jsonl`: what happens to a deployment, one event a line, as it happens.

use serde::{Deserialize, Serialize};

use crate::verdict::{StageRow, Verdict};

/// An event. Those from `RunStarted` to `StageFinished` are as the system tests tell them with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The daemon took it out of the queue.
    Claimed {
        /// Which try, from 1: an infrastructure error is tried again.
        attempt: u32,
    },
    /// It is unpacked and all is as the manifest says.
    Installed,
    /// The tests begin.
    RunStarted {
        /// Cases to come.
        cases: u32,
        /// Of the random cases.
        seed: u64,
    },
    /// A stage begins.
    StageStarted {
        /// Slug.
        stage: String,
        /// Number.
        number: u32,
        /// Title.
        title: String,
    },
    /// A case ended.
    CaseFinished {
        /// Slug of its stage.
        stage: String,
        /// Its slug.
        case: String,
        /// Its sentence.
        title: String,
        /// `passed`, `failed`, `error`, `blocked` or `skipped`.
        outcome: String,
    },
    /// A stage ended.
    StageFinished(StageRow),
    /// It is over: the last event.
    Finished {
        /// What it came to.
        #[serde(flatten)]
        verdict: Verdict,
    },
    /// One that only a newer version of this crate knows.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_system_tests_tell_it() {
        let cases = [
            (
                r#"{"event":"run_started","subject":"x","seed":7,"cases":2}"#,
                Event::RunStarted { cases: 2, seed: 7 },
            ),
            (
                r#"{"event":"case_started","stage":"boot","case":"health"}"#,
                Event::Unknown,
            ),
            (
                r#"{"event":"case_finished","stage":"boot","case":"health","title":"T","clause":"C","hidden":false,"base":true,"seed":7,"seconds":0.1,"outcome":"failed","message":"m","hint":null}"#,
                Event::CaseFinished {
                    stage: "boot".to_owned(),
                    case: "health".to_owned(),
                    title: "T".to_owned(),
                    outcome: "failed".to_owned(),
                },
            ),
            (
                r#"{"event":"stage_finished","stage":"boot","number":1,"title":"Boot","core":true,"passed":1,"failed":0,"errors":0,"blocked":0,"skipped":0,"blocked_by":[],"seconds":0.5}"#,
                Event::StageFinished(StageRow {
                    stage: "boot".to_owned(),
                    number: 1,
                    title: "Boot".to_owned(),
                    core: true,
                    passed: 1,
                    failed: 0,
                    errors: 0,
                    blocked: 0,
                    skipped: 0,
                    blocked_by: Vec::new(),
                    seconds: 0.5,
                }),
            ),
            (
                r#"{"event":"finished","verdict":"timed_out","seconds":900}"#,
                Event::Finished {
                    verdict: Verdict::TimedOut { seconds: 900 },
                },
            ),
        ];
        for (line, event) in cases {
            assert_eq!(serde_json::from_str::<Event>(line).expect(line), event);
        }
    }
}
