//! What people see: stages as they come, and the table at the end.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use optivex_bundle::digest::SubmissionId;
use optivex_bundle::manifest::printable;
use optivex_bundle::progress::Event;
use optivex_bundle::spool::{Receipt, State};
use optivex_bundle::verdict::{JobResult, StageRow, Verdict};
use optivex_exit::Exit;

use crate::uat::News;

/// Hints of so many cases are shown; the report has all.
const HINTS: usize = 5;

/// Lines of one hint that are shown.
const HINT_LINES: usize = 12;

/// Colours, where somebody sees them.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// On a terminal, unless NO_COLOR is set.
    pub fn of_stdout() -> Self {
        Self {
            on: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// None.
    pub const fn plain() -> Self {
        Self { on: false }
    }

    fn word(self, word: &str) -> String {
        let colour = match word {
            _ if !self.on => return word.to_owned(),
            "passed" => 32,
            "failed" | "error" => 31,
            "blocked" | "skipped" => 33,
            _ => return word.to_owned(),
        };
        format!("\x1b[{colour}m{word}\x1b[0m")
    }
}

/// How the process ends for this verdict.
pub fn exit_of(verdict: &Verdict) -> Exit {
    match verdict {
        Verdict::Passed => Exit::Ok,
        Verdict::Failed
        | Verdict::DidNotStart { .. }
        | Verdict::Crashed { .. }
        | Verdict::TimedOut { .. }
        | Verdict::BrokeLimits { .. }
        | Verdict::Refused { .. } => Exit::TestsFailed,
        Verdict::Cancelled | Verdict::Superseded { .. } => Exit::Failed,
        Verdict::Infrastructure { .. } => Exit::Infrastructure,
    }
}

/// A state in a few words.
pub fn state(state: &State) -> String {
    match state {
        State::Waiting { ahead: 0 } => "waits, and is next".to_owned(),
        State::Waiting { ahead } => format!("waits, with at most {ahead} before it"),
        State::Running => "runs".to_owned(),
        State::Done { verdict } => printable(&verdict.to_string()),
    }
}

/// A line of a list of deployments.
pub fn job(receipt: &Receipt, is: &State) -> String {
    let received = receipt.received.get(..19).unwrap_or(&receipt.received);
    format!("{}  {}Z  {}", receipt.id, printable(received), state(is))
}

/// What happens, as it happens.
pub struct Live<W> {
    out: W,
    id: SubmissionId,
    paint: Paint,
    terminal: bool,
    cases: u32,
    done: u32,
}

impl<W: Write> Live<W> {
    /// `terminal`: whether a line may be written over.
    pub fn new(out: W, id: SubmissionId, paint: Paint, terminal: bool) -> Self {
        Self {
            out,
            id,
            paint,
            terminal,
            cases: 0,
            done: 0,
        }
    }

    /// Shows it. A reader that went away is told by the exit code all the same.
    pub fn tell(&mut self, news: News<'_>) {
        match news {
            News::State(State::Done { .. }) => self.line(""),
            News::State(is) => self.line(&format!("{} {}", self.id, state(is))),
            News::Again => self.line("it begins anew"),
            News::Event(event) => self.event(event),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Claimed { attempt } if attempt > 1 => {
                self.line(&format!("try {attempt}, after trouble of UAT's own"))
            }
            Event::RunStarted { cases, seed } => {
                (self.cases, self.done) = (cases, 0);
                self.line(&format!("{cases} cases; seed {seed}"));
            }
            Event::CaseFinished {
                stage,
                case,
                title,
                outcome,
            } => {
                self.done += 1;
                if matches!(outcome.as_str(), "failed" | "error") {
                    let word = self.paint.word(&outcome);
                    self.line(&printable(&format!("         {stage}/{case}: {title}")).replacen("       ", &word, 1));
                }
                if self.terminal {
                    let place = printable(&format!("{}/{} {stage}/{case}", self.done, self.cases));
                    let _ = write!(self.out, "\r\x1b[2K{place}");
                    let _ = self.out.flush();
                }
            }
            Event::StageFinished(row) => {
                let text = stage(&row, self.paint);
                self.line(&text);
            }
            Event::Claimed { .. }
            | Event::Installed
            | Event::StageStarted { .. }
            | Event::Finished { .. }
            | Event::Unknown => {}
        }
    }

    fn line(&mut self, text: &str) {
        let erase = if self.terminal { "\r\x1b[2K" } else { "" };
        let _ = writeln!(self.out, "{erase}{text}");
    }
}

/// A row of the table.
fn stage(row: &StageRow, paint: Paint) -> String {
    let word = row.word();
    let mut text = format!(
        "{:>3}  {:<36} {:<10} {}{}{:>4} passed",
        row.number,
        printable(&row.title),
        if row.core { "core" } else { "extension" },
        paint.word(word),
        " ".repeat(8_usize.saturating_sub(word.len())),
        row.passed
    );
    for (count, what) in [
        (row.failed, "failed"),
        (row.errors, "errors"),
        (row.blocked, "blocked"),
        (row.skipped, "skipped"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    if !row.blocked_by.is_empty() {
        let _ = write!(text, "; by {}", printable(&row.blocked_by.join(", ")));
    }
    text
}

/// The whole result: verdict, table, hints.
pub fn table(result: &JobResult, paint: Paint) -> String {
    let mut text = String::new();
    for row in &result.stages {
        let _ = writeln!(text, "{}", stage(row, paint));
    }
    let failed: Vec<_> = result.cases.iter().filter(|case| case.outcome != "skipped").collect();
    for case in failed.iter().take(HINTS) {
        let name = printable(&format!("{}/{}: {}", case.stage, case.case, case.title));
        let _ = writeln!(text, "\n{} {name}", paint.word(&printable(&case.outcome)));
        let hint = match &case.hint {
            Some(hint) => printable(hint),
            None if case.hidden => "This case is hidden: it tells only its title.".to_owned(),
            None => continue,
        };
        let lines: Vec<&str> = hint.lines().collect();
        for line in lines.iter().take(HINT_LINES) {
            let _ = writeln!(text, "    {line}");
        }
        if lines.len() > HINT_LINES {
            let _ = writeln!(text, "    … {} more lines in the report", lines.len() - HINT_LINES);
        }
    }
    if failed.len() > HINTS {
        let _ = writeln!(text, "\n{} more cases failed: see the report", failed.len() - HINTS);
    }
    for trouble in &result.troubles {
        let _ = writeln!(text, "UAT had trouble of its own before: {}", printable(trouble));
    }
    let _ = write!(text, "\n{} {}", result.id, printable(&result.verdict.to_string()));
    if let Some(note) = &result.note {
        let _ = write!(text, " ({})", printable(note));
    }
    let _ = writeln!(
        text,
        ", {:.1} s after {:.1} s in the queue",
        result.ran_seconds, result.waited_seconds
    );
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;
    use optivex_bundle::digest::Digest;
    use optivex_bundle::verdict::{CaseRow, Limit};

    use super::*;

    fn row(number: u32, title: &str, passed: u32, failed: u32) -> StageRow {
        StageRow {
            stage: title.to_lowercase(),
            number,
            title: title.to_owned(),
            core: true,
            passed,
            failed,
            errors: 0,
            blocked: 0,
            skipped: 0,
            blocked_by: Vec::new(),
            seconds: 1.0,
        }
    }

    fn result() -> JobResult {
        let submission = Digest::of(b"x");
        JobResult {
            schema: JobResult::SCHEMA,
            participant: "alice".parse().expect("a name"),
            id: SubmissionId::from(&submission),
            attempt: 1,
            verdict: Verdict::Failed,
            submission,
            size: 1,
            tests: None,
            contract: None,
            commit: None,
            dirty: false,
            seed: Some(7),
            received: "2026-11-23T00:00:00.000000000Z".to_owned(),
            finished: "2026-11-23T00:01:00Z".to_owned(),
            waited_seconds: 2.0,
            ran_seconds: 31.26,
            stages: vec![
                row(1, "Boot", 12, 0),
                row(2, "Login", 13, 2),
                StageRow {
                    blocked: 20,
                    blocked_by: vec!["login".to_owned()],
                    ..row(3, "Instruments", 0, 0)
                },
            ],
            cases: vec![
                CaseRow {
                    stage: "login".to_owned(),
                    case: "token".to_owned(),
                    title: "Login trades a name for a token.".to_owned(),
                    outcome: "failed".to_owned(),
                    hidden: false,
                    hint: Some("Sent: \x1b[31mthis\nExpected: that".to_owned()),
                },
                CaseRow {
                    stage: "login".to_owned(),
                    case: "secret".to_owned(),
                    title: "Something.".to_owned(),
                    outcome: "failed".to_owned(),
                    hidden: true,
                    hint: None,
                },
            ],
            note: None,
            troubles: Vec::new(),
            score: Vec::new(),
            timings: BTreeMap::new(),
        }
    }

    #[test]
    fn a_table() {
        expect![[r#"
              1  Boot                                 core       passed    12 passed
              2  Login                                core       failed    13 passed, 2 failed
              3  Instruments                          core       blocked    0 passed, 20 blocked; by login

            failed login/token: Login trades a name for a token.
                Sent: �[31mthis
                Expected: that

            failed login/secret: Something.
                This case is hidden: it tells only its title.

            2d711642b726b044 failed, 31.3 s after 2.0 s in the queue
        "#]]
        .assert_eq(&table(&result(), Paint::plain()));
    }

    #[test]
    fn as_it_happens() {
        let mut out = Vec::new();
        let mut live = Live::new(&mut out, result().id, Paint::plain(), false);
        live.tell(News::State(&State::Waiting { ahead: 2 }));
        live.tell(News::State(&State::Running));
        for event in [
            Event::Claimed { attempt: 1 },
            Event::RunStarted { cases: 27, seed: 7 },
            Event::CaseFinished {
                stage: "boot".to_owned(),
                case: "health".to_owned(),
                title: "Serves.".to_owned(),
                outcome: "passed".to_owned(),
            },
            Event::StageFinished(row(1, "Boot", 12, 0)),
            Event::CaseFinished {
                stage: "login".to_owned(),
                case: "token".to_owned(),
                title: "A token.".to_owned(),
                outcome: "failed".to_owned(),
            },
            Event::StageFinished(row(2, "Login", 13, 2)),
            Event::Unknown,
        ] {
            live.tell(News::Event(event));
        }
        expect![[r#"
            2d711642b726b044 waits, with at most 2 before it
            2d711642b726b044 runs
            27 cases; seed 7
              1  Boot                                 core       passed    12 passed
            failed  login/token: A token.
              2  Login                                core       failed    13 passed, 2 failed
        "#]]
        .assert_eq(&String::from_utf8(out).expect("UTF-8"));
    }

    #[test]
    fn exit_codes() {
        for (verdict, exit) in [
            (Verdict::Passed, Exit::Ok),
            (Verdict::Failed, Exit::TestsFailed),
            (Verdict::BrokeLimits { limit: Limit::Log }, Exit::TestsFailed),
            (Verdict::Cancelled, Exit::Failed),
            (Verdict::Infrastructure { why: String::new() }, Exit::Infrastructure),
        ] {
            assert_eq!(exit_of(&verdict), exit, "{verdict}");
        }
    }
}
