//! For people: live progress, what failed and why, a table of stages.

use std::io::Write;

use super::{score, story};
use crate::runner::{CaseResult, Event, Outcome, Reporter, StageResult, Summary};

/// Writes lines; on a terminal, also a line that moves.
#[derive(Debug)]
pub struct Table<W> {
    out: W,
    terminal: bool,
    total: usize,
    done: usize,
    failed: usize,
    running: Vec<&'static str>,
}

impl<W: Write> Table<W> {
    /// `terminal`: whether a line may be written over.
    pub fn new(out: W, terminal: bool) -> Self {
        Self {
            out,
            terminal,
            total: 0,
            done: 0,
            failed: 0,
            running: Vec::new(),
        }
    }

    /// A reader that went away does not end the run: the files are still to be written.
    fn line(&mut self, text: &str) {
        let erase = if self.terminal { "\r\x1b[2K" } else { "" };
        let _ = writeln!(self.out, "{erase}{text}");
    }

    fn progress(&mut self) {
        if !self.terminal || self.done == self.total {
            return;
        }
        let running: String = self.running.join(", ").chars().take(60).collect();
        let failed = if self.failed > 0 {
            format!(", {} failed", self.failed)
        } else {
            String::new()
        };
        let _ = write!(self.out, "\r\x1b[2K{}/{}{failed}: {running}", self.done, self.total);
        let _ = self.out.flush();
    }

    fn case(&mut self, case: &CaseResult) {
        self.done += 1;
        self.running.retain(|slug| *slug != case.case);
        let sign = match case.outcome {
            Outcome::Passed => "ok     ",
            Outcome::Failed { .. } => "FAILED ",
            Outcome::Error { .. } => "ERROR  ",
            Outcome::Blocked { .. } => "blocked",
            Outcome::Skipped { .. } => "skipped",
        };
        if matches!(case.outcome, Outcome::Failed { .. } | Outcome::Error { .. }) {
            self.failed += 1;
        }
        self.line(&format!("  {sign} {}/{}: {}", case.stage, case.case, case.title));
        if matches!(
            case.outcome,
            Outcome::Failed { .. } | Outcome::Error { .. } | Outcome::Skipped { .. }
        ) {
            for line in story(case).unwrap_or_default().lines() {
                self.line(&format!("            {line}"));
            }
        }
        for line in score(case) {
            self.line(&format!("            {line}"));
        }
    }

    fn summary(&mut self, summary: &Summary) {
        self.line("");
        self.line(&format!(
            "{:>3}  {:<36} {:<10} {:<8} {:>6} {:>6} {:>6} {:>7} {:>7}",
            "", "stage", "", "", "passed", "failed", "error", "blocked", "skipped"
        ));
        for stage in &summary.stages {
            self.stage(stage);
        }
        self.line("");
        self.line(&format!(
            "{} passed, {} failed, {} errors, {} blocked, {} skipped in {:.1} s; seed {}",
            summary.count("passed"),
            summary.count("failed"),
            summary.count("error"),
            summary.count("blocked"),
            summary.count("skipped"),
            summary.seconds,
            summary.seed
        ));
    }

    fn stage(&mut self, stage: &StageResult) {
        let by = match stage.blocked_by.is_empty() {
            true => String::new(),
            false => format!("  by {}", stage.blocked_by.join(", ")),
        };
        self.line(&format!(
            "{:>3}  {:<36} {:<10} {:<8} {:>6} {:>6} {:>6} {:>7} {:>7}{by}",
            stage.number,
            stage.title,
            kind(stage.core),
            stage.word(),
            stage.passed,
            stage.failed,
            stage.errors,
            stage.blocked,
            stage.skipped
        ));
    }
}

/// Core or extension.
pub(crate) fn kind(core: bool) -> &'static str {
    if core { "core" } else { "extension" }
}

impl<W: Write> Reporter for Table<W> {
    fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::RunStarted { subject, seed, cases } => {
                self.total = *cases;
                self.line(&format!("{cases} cases against {subject}; seed {seed}"));
            }
            Event::StageStarted {
                number, title, core, ..
            } => self.line(&format!("{number} {title} ({})", kind(*core))),
            Event::CaseStarted { case, .. } => self.running.push(case),
            Event::CaseFinished(case) => self.case(case),
            Event::StageFinished(_) => {}
            Event::Summary(summary) => self.summary(summary),
        }
        self.progress();
    }
}
