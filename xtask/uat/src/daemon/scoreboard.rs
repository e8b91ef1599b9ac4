//! The scoreboard: participants and stages, by the ledger alone.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context as _, Result};
use optivex_bundle::durable;
use optivex_bundle::names::Name;
use optivex_bundle::verdict::Verdict;
use quick_xml::escape::escape;

use super::context::Context;
use super::ledger::Entry;
use super::report;

/// A participant's row.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Row {
    /// What each stage came to in the newest deployment that was judged.
    pub(crate) stages: BTreeMap<u32, String>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) last_change: String,
    /// Stages passed in the newest deployments, oldest first.
    pub(crate) trend: Vec<usize>,
    pub(crate) score: Option<f64>,
    pub(crate) deployments: usize,
}

/// The scoreboard.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Slugs by number.
    pub(crate) stages: BTreeMap<u32, String>,
    pub(crate) rows: BTreeMap<Name, Row>,
    /// Hides what came later.
    pub(crate) frozen: Option<String>,
}

/// Deployments that a trend shows.
const TREND: usize = 12;

impl Board {
    pub(crate) fn read(context: &Context) -> Result<Self> {
        let frozen = context.state.word("freeze")?.map(|word| word.since);
        let read = context.ledger.entries()?;
        Ok(Self::of(&read.entries, context.config.participants.keys(), frozen))
    }

    fn of<'a>(entries: &[Entry], participants: impl Iterator<Item = &'a Name>, frozen: Option<String>) -> Self {
        let mut board = Self {
            rows: participants.map(|name| (name.clone(), Row::default())).collect(),
            ..Self::default()
        };
        for entry in entries {
            // Texts of one form: their order is that of the times.
            if frozen.as_ref().is_some_and(|since| entry.finished > *since) || !entry.verdict.is_judged() {
                continue;
            }
            let row = board.rows.entry(entry.participant.clone()).or_default();
            let stages: BTreeMap<u32, String> = entry
                .stages
                .iter()
                .map(|(number, (_, word))| (*number, word.clone()))
                .collect();
            board
                .stages
                .extend(entry.stages.iter().map(|(number, (slug, _))| (*number, slug.clone())));
            let passed = stages.values().filter(|word| *word == "passed").count();
            if entry.rejudged {
                row.trend.pop();
            } else {
                row.deployments += 1;
            }
            if row.stages != stages || row.verdict.as_ref() != Some(&entry.verdict) {
                row.last_change = entry.finished.clone();
            }
            row.trend.push(passed);
            let surplus = row.trend.len().saturating_sub(TREND);
            row.trend.drain(..surplus);
            row.stages = stages;
            row.verdict = Some(entry.verdict.clone());
            row.score = entry.score;
        }
        board.frozen = frozen;
        board
    }

    /// Rows with the most passed stages first.
    pub(crate) fn ranked(&self) -> Vec<(&Name, &Row)> {
        let passed = |row: &Row| row.stages.values().filter(|word| *word == "passed").count();
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(name, row)| (std::cmp::Reverse(passed(row)), (*name).clone()));
        rows
    }
}

/// A small picture of a trend, in letters.
pub(crate) fn sparkline(trend: &[usize], of: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = of.max(1);
    trend
        .iter()
        .map(|passed| BARS[(passed * (BARS.len() - 1) / top).min(BARS.len() - 1)])
        .collect()
}

/// A letter for a stage.
pub(crate) fn letter(word: Option<&String>) -> char {
    match word.map(String::as_str) {
        Some("passed") => '✓',
        Some("failed") => '✗',
        Some("error") => '!',
        Some("blocked") => '·',
        Some(_) => '-',
        None => ' ',
    }
}

pub(crate) fn write(context: &Context) -> Result<()> {
    let page = html(&Board::read(context)?);
    let path = context
        .config
        .scoreboard
        .clone()
        .unwrap_or_else(|| context.state.public("scoreboard.html"));
    if std::fs::read(&path).is_ok_and(|old| old == page.as_bytes()) {
        return Ok(());
    }
    durable::write(&path, page.as_bytes(), 0o644).with_context(|| path.display().to_string())
}

fn html(board: &Board) -> String {
    let text = |text: &str| escape(text).into_owned();
    let mut page = report::head("Optivex scoreboard");
    page.push_str("<h1>Scoreboard</h1>\n");
    if let Some(since) = &board.frozen {
        let _ = writeln!(
            page,
            "<p><strong>Frozen</strong>: what was judged after {} is not shown.</p>",
            text(since)
        );
    }
    page.push_str("<table><tr><th></th>");
    for (number, slug) in &board.stages {
        let _ = write!(page, "<th title=\"{}\">{number}</th>", text(slug));
    }
    page.push_str("<th>verdict</th><th>last change</th><th>trend</th><th>load</th><th>deployments</th></tr>\n");
    for (name, row) in board.ranked() {
        let _ = write!(page, "<tr><th>{name}</th>");
        for (number, slug) in &board.stages {
            let word = row.stages.get(number);
            let class = word.map_or("skipped", String::as_str);
            let title = format!("{slug}: {}", word.map_or("not run", String::as_str));
            let _ = write!(
                page,
                "<td class=\"{}\" title=\"{}\">{}</td>",
                text(class),
                text(&title),
                letter(word)
            );
        }
        let verdict = row.verdict.as_ref().map_or_else(String::new, ToString::to_string);
        let score = row.score.map_or_else(String::new, |score| format!("{score:.3}"));
        let _ = writeln!(
            page,
            "<td>{}</td><td>{}</td><td>{}</td><td class=n>{score}</td><td class=n>{}</td></tr>",
            text(&verdict),
            text(&row.last_change),
            sparkline(&row.trend, board.stages.len()),
            row.deployments
        );
    }
    page.push_str("</table>\n<p>load: orders a second in a closed loop, in units of what an echo gets on the same machine in the same minute.</p>\n<ol>");
    for (number, slug) in &board.stages {
        let _ = write!(page, "<li value={number}>{}</li>", text(slug));
    }
    page.push_str("</ol>\n</body></html>\n");
    page
}

#[cfg(test)]
mod tests {
    use optivex_bundle::digest::Digest;

    use super::*;

    fn entry(name: &str, minute: u32, words: &[&str], verdict: Verdict) -> Entry {
        Entry {
            number: 0,
            previous: Digest::of(b""),
            participant: name.parse().expect("a name"),
            id: "0123456789abcdef".parse().expect("an id"),
            attempt: 1,
            rejudged: false,
            result: Digest::of(b""),
            tests: None,
            verdict,
            finished: format!("2027-01-01T00:{minute:02}:00.000Z"),
            used_millis: 0,
            stages: (1..)
                .zip(words)
                .map(|(number, word)| (number, (format!("s{number}"), (*word).to_owned())))
                .collect(),
            score: None,
        }
    }

    #[test]
    fn the_newest_counts_and_what_was_not_judged_does_not() {
        let ours = Verdict::Infrastructure { why: "x".to_owned() };
        let entries = [
            entry("a", 1, &["passed", "failed"], Verdict::Failed),
            entry("b", 2, &["passed", "passed"], Verdict::Passed),
            entry("a", 3, &["passed", "failed"], Verdict::Failed),
            entry("b", 4, &[], ours),
            entry("a", 5, &["failed", "blocked"], Verdict::Failed),
        ];
        let board = Board::of(&entries, ["c".parse().expect("a name")].iter(), None);
        let ranks: Vec<_> = board
            .ranked()
            .into_iter()
            .map(|(name, row)| (name.as_str(), row.trend.clone()))
            .collect();
        assert_eq!(ranks, [("b", vec![2]), ("a", vec![1, 1, 0]), ("c", vec![])]);
        assert_eq!(
            board.rows[&"a".parse::<Name>().expect("a name")].last_change,
            "2027-01-01T00:05:00.000Z"
        );

        let frozen = Board::of(&entries, [].iter(), Some("2027-01-01T00:04:30.000Z".to_owned()));
        let a = &frozen.rows[&"a".parse::<Name>().expect("a name")];
        assert_eq!(
            (a.trend.as_slice(), a.last_change.as_str()),
            (&[1, 1][..], "2027-01-01T00:01:00.000Z")
        );
        let page = html(&frozen);
        assert!(page.contains("Frozen") && page.contains("<th>a</th>"), "{page}");
    }
}
