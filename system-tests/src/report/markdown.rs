//! A page for people: the stages, then scores, then what failed.

use std::fmt::Write;

use super::story;
use super::table::kind;
use crate::runner::{Outcome, Summary};

/// The run as Markdown.
pub fn markdown(summary: &Summary) -> String {
    let mut text = String::new();
    let _ = write(&mut text, summary);
    text
}

fn write(text: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(text, "# System tests\n")?;
    writeln!(
        text,
        "{} passed, {} failed, {} errors, {} blocked, {} skipped in {:.1} s. Subject: `{}`, seed {}, {}.\n",
        summary.count("passed"),
        summary.count("failed"),
        summary.count("error"),
        summary.count("blocked"),
        summary.count("skipped"),
        summary.seconds,
        summary.subject.replace('`', "'"),
        summary.seed,
        summary.started
    )?;
    writeln!(
        text,
        "| | stage | | result | passed | failed | error | blocked | skipped |"
    )?;
    writeln!(text, "|--:|---|---|---|--:|--:|--:|--:|--:|")?;
    for stage in &summary.stages {
        let by = match stage.blocked_by.is_empty() {
            true => String::new(),
            false => format!(" by {}", stage.blocked_by.join(", ")),
        };
        writeln!(
            text,
            "| {} | {} | {} | {}{by} | {} | {} | {} | {} | {} |",
            stage.number,
            stage.title,
            kind(stage.core),
            stage.word(),
            stage.passed,
            stage.failed,
            stage.errors,
            stage.blocked,
            stage.skipped
        )?;
    }
    for case in summary.cases().filter(|case| !case.score.is_empty()) {
        writeln!(text, "\n## Score: `{}/{}`\n", case.stage, case.case)?;
        writeln!(text, "| | unit | exchange | echo | ratio |")?;
        writeln!(text, "|---|---|--:|--:|--:|")?;
        for measurement in &case.score {
            let [exchange, echo, ratio] = measurement.columns();
            writeln!(
                text,
                "| {} | {} | {exchange} | {echo} | {ratio} |",
                measurement.name, measurement.unit
            )?;
        }
    }
    for case in summary.cases() {
        let told = matches!(
            case.outcome,
            Outcome::Failed { .. } | Outcome::Error { .. } | Outcome::Skipped { .. }
        );
        if let (true, Some(story)) = (told, story(case)) {
            writeln!(text, "\n## {}: `{}/{}`\n", case.outcome.word(), case.stage, case.case)?;
            writeln!(text, "{}\n", case.title)?;
            // A fence longer than any in the text: an exchange's words cannot end it.
            let fence = "`".repeat(longest_run(&story).max(2) + 1);
            writeln!(text, "{fence}text\n{story}\n{fence}")?;
        }
    }
    Ok(())
}

fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or_default()
}
