//! A result for people and for CI: Markdown, HTML, JUnit XML.

use std::fmt::Write;
use std::io;

use anyhow::Result;
use optivex_bundle::manifest::printable;
use optivex_bundle::verdict::{JobResult, Verdict};
use quick_xml::Writer;
use quick_xml::escape::escape;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::told::Case;

/// One page of Markdown.
pub(crate) fn markdown(result: &JobResult) -> String {
    let mut page = format!("# {}: {}\n\n", result.participant, one(&result.verdict.to_string()));
    for (name, value) in facts(result) {
        let _ = writeln!(page, "- {name}: {}", one(&value));
    }
    if !result.stages.is_empty() {
        page.push_str(
            "\n| | stage | passed | failed | error | blocked | skipped | |\n|--:|---|--:|--:|--:|--:|--:|---|\n",
        );
        for row in &result.stages {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                row.number,
                cell(&row.title),
                row.passed,
                row.failed,
                row.errors,
                row.blocked,
                row.skipped,
                row.word()
            );
        }
    }
    for (outcome, title) in [
        ("failed", "Failed"),
        ("error", "Not judged, by our fault"),
        ("skipped", "Skipped"),
    ] {
        let mut cases = result.cases.iter().filter(|case| case.outcome == outcome).peekable();
        if cases.peek().is_some() {
            let _ = write!(page, "\n## {title}\n");
        }
        for case in cases {
            let _ = write!(page, "\n### {}/{}\n\n{}\n", case.stage, case.case, one(&case.title));
            match (&case.hint, case.hidden) {
                (_, true) => page.push_str("\nThis case is hidden: it tells only its title.\n"),
                (Some(hint), _) => {
                    // Indented: no text can end such a block.
                    page.push('\n');
                    hint.lines().for_each(|line| {
                        let _ = writeln!(page, "    {line}");
                    });
                }
                (None, _) => {}
            }
        }
    }
    if !result.score.is_empty() {
        page.push_str("\n## Score\n\n| | exchange | echo | ratio |\n|---|--:|--:|--:|\n");
        for row in &result.score {
            let ratio = row.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            let name = format!("{} {} ({})", row.case, row.name, row.unit);
            let _ = writeln!(
                page,
                "| {} | {:.1} | {:.1} | {ratio} |",
                cell(&name),
                row.exchange,
                row.echo
            );
        }
    }
    page
}

fn facts(result: &JobResult) -> Vec<(&'static str, String)> {
    let digest =
        |digest: &Option<optivex_bundle::digest::Digest>| digest.map_or("none".to_owned(), |it| it.to_string());
    let commit = result.commit.clone().unwrap_or_else(|| "unknown".to_owned());
    let dirty = if result.dirty { ", with changes beside it" } else { "" };
    let mut facts = vec![
        ("submission", format!("{} (attempt {})", result.id, result.attempt)),
        ("commit", format!("{commit}{dirty}")),
        ("received", result.received.clone()),
        (
            "finished",
            format!(
                "{}, after {:.1} s of waiting and {:.1} s of testing",
                result.finished, result.waited_seconds, result.ran_seconds
            ),
        ),
        ("SHA-256 of the bundle", result.submission.to_string()),
        ("SHA-256 of the tests", digest(&result.tests)),
        ("SHA-256 of the contract", digest(&result.contract)),
    ];
    if let Some(seed) = result.seed {
        facts.push(("seed", seed.to_string()));
    }
    if let Some(note) = &result.note {
        facts.push(("note", note.clone()));
    }
    facts.extend(
        result
            .troubles
            .iter()
            .map(|trouble| ("a try that we lost", trouble.clone())),
    );
    facts
}

fn one(text: &str) -> String {
    let text = printable(text).replace(['\n', '\t'], " ");
    // What Markdown or the HTML in it would take for its own.
    text.chars().fold(String::new(), |mut out, character| {
        if matches!(character, '<' | '>' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' | '&') {
            out.push('\\');
        }
        out.push(character);
        out
    })
}

fn cell(text: &str) -> String {
    one(text).replace('|', "\\|")
}

/// Style of all pages: readable without a network, in light and in dark.
pub(crate) const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .6rem;border-bottom:1px solid #8884;text-align:left}\
td.n{text-align:right;font-variant-numeric:tabular-nums}pre{overflow:auto;background:#8881;padding:.6rem;font-size:13px}\
.passed{color:#0a7d33}.failed,.error{color:#c22}.blocked,.skipped{color:#888}dt{font-weight:600}dd{margin:0 0 .3rem}";

/// One page of HTML without anything from elsewhere.
pub(crate) fn html(result: &JobResult) -> String {
    let text = |text: &str| escape(printable(text).as_str()).into_owned();
    let mut page = head(&format!("{}: {}", result.participant, result.verdict));
    let _ = write!(
        page,
        "<h1>{}: {}</h1>\n<dl>\n",
        result.participant,
        text(&result.verdict.to_string())
    );
    for (name, value) in facts(result) {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", text(&value));
    }
    page.push_str("</dl>\n");
    if !result.stages.is_empty() {
        page.push_str("<table><tr><th></th><th>stage</th><th>passed</th><th>failed</th><th>error</th><th>blocked</th><th>skipped</th><th></th></tr>\n");
        for row in &result.stages {
            let _ = writeln!(
                page,
                "<tr><td class=n>{}</td><td>{}</td><td class=n>{}</td><td class=n>{}</td><td class=n>{}</td><td class=n>{}</td><td class=n>{}</td><td class={word}>{word}</td></tr>",
                row.number,
                text(&row.title),
                row.passed,
                row.failed,
                row.errors,
                row.blocked,
                row.skipped,
                word = row.word(),
            );
        }
        page.push_str("</table>\n");
    }
    for case in &result.cases {
        let _ = writeln!(
            page,
            "<h2 class={outcome}>{}/{}: {outcome}</h2>\n<p>{}</p>",
            text(&case.stage),
            text(&case.case),
            text(&case.title),
            outcome = word(&case.outcome),
        );
        match (&case.hint, case.hidden) {
            (_, true) => page.push_str("<p>This case is hidden: it tells only its title.</p>\n"),
            (Some(hint), _) => {
                let _ = writeln!(page, "<pre>{}</pre>", text(hint));
            }
            (None, _) => {}
        }
    }
    if !result.score.is_empty() {
        page.push_str("<h2>Score</h2>\n<table><tr><th></th><th>exchange</th><th>echo</th><th>ratio</th></tr>\n");
        for row in &result.score {
            let ratio = row.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            let _ = writeln!(
                page,
                "<tr><td>{} {} ({})</td><td class=n>{:.1}</td><td class=n>{:.1}</td><td class=n>{ratio}</td></tr>",
                text(&row.case),
                text(&row.name),
                text(&row.unit),
                row.exchange,
                row.echo
            );
        }
        page.push_str("</table>\n");
    }
    page.push_str("</body></html>\n");
    page
}

/// As a class of our style sheet.
fn word(outcome: &str) -> &'static str {
    match outcome {
        "failed" => "failed",
        "error" => "error",
        _ => "skipped",
    }
}

/// The beginning of a page.
pub(crate) fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=viewport content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head><body>\n",
        escape(printable(title).as_str())
    )
}

/// JUnit XML: a suite for each stage, and one for the verdict, so that a submission that never started is red too.
pub(crate) fn junit(result: &JobResult, cases: &[Case]) -> Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let timestamp = result.finished.split(['.', 'Z']).next().unwrap_or_default().to_owned();
    writer.create_element("testsuites").write_inner_content(|writer| {
        let verdict = [(
            "verdict",
            result.ran_seconds,
            match &result.verdict {
                Verdict::Passed => Outcome::Passed,
                Verdict::Infrastructure { .. } => Outcome::Error,
                Verdict::Cancelled | Verdict::Superseded { .. } => Outcome::Skipped,
                _ => Outcome::Failed,
            },
            result.verdict.to_string(),
        )];
        suite(writer, 0, "uat", &timestamp, result.ran_seconds, result, &verdict)?;
        for row in &result.stages {
            let of_stage: Vec<_> = cases
                .iter()
                .filter(|case| case.stage == row.stage)
                .map(|case| {
                    let story = case.story.clone().unwrap_or_default();
                    (
                        case.case.as_str(),
                        case.seconds,
                        Outcome::of(&case.outcome),
                        format!("{}\n{story}", case.title),
                    )
                })
                .collect();
            suite(
                writer,
                row.number,
                &row.stage,
                &timestamp,
                row.seconds,
                result,
                &of_stage,
            )?;
        }
        Ok(())
    })?;
    let mut text = String::from_utf8(writer.into_inner())?;
    text.push('\n');
    Ok(text)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Error,
    Skipped,
}

impl Outcome {
    fn of(word: &str) -> Self {
        match word {
            "passed" => Self::Passed,
            "failed" => Self::Failed,
            "error" => Self::Error,
            _ => Self::Skipped,
        }
    }
}

fn suite(
    writer: &mut Writer<Vec<u8>>,
    id: u32,
    name: &str,
    timestamp: &str,
    seconds: f64,
    result: &JobResult,
    cases: &[(&str, f64, Outcome, String)],
) -> io::Result<()> {
    let count = |outcome| cases.iter().filter(|case| case.2 == outcome).count().to_string();
    writer
        .create_element("testsuite")
        .with_attributes([
            ("package", "optivex.uat"),
            ("id", id.to_string().as_str()),
            ("name", name),
            ("timestamp", timestamp),
            ("hostname", "uat"),
            ("tests", cases.len().to_string().as_str()),
            ("failures", count(Outcome::Failed).as_str()),
            ("errors", count(Outcome::Error).as_str()),
            ("skipped", count(Outcome::Skipped).as_str()),
            ("time", format!("{seconds:.3}").as_str()),
        ])
        .write_inner_content(|writer| {
            writer.create_element("properties").write_inner_content(|writer| {
                let properties = [
                    ("participant", result.participant.to_string()),
                    ("submission", result.submission.to_string()),
                    ("tests", result.tests.map_or(String::new(), |digest| digest.to_string())),
                    ("seed", result.seed.map_or(String::new(), |seed| seed.to_string())),
                ];
                properties.into_iter().try_for_each(|(name, value)| {
                    let property = [("name", name), ("value", value.as_str())];
                    writer
                        .create_element("property")
                        .with_attributes(property)
                        .write_empty()
                        .map(drop)
                })
            })?;
            cases.iter().try_for_each(|case| test_case(writer, name, case))?;
            writer.create_element("system-out").write_empty()?;
            writer.create_element("system-err").write_empty()?;
            Ok(())
        })
        .map(drop)
}

fn test_case(
    writer: &mut Writer<Vec<u8>>,
    suite: &str,
    (name, seconds, outcome, text): &(&str, f64, Outcome, String),
) -> io::Result<()> {
    let (class, time) = (format!("optivex.uat.{suite}"), format!("{seconds:.3}"));
    let element = writer.create_element("testcase").with_attributes([
        ("name", *name),
        ("classname", class.as_str()),
        ("time", time.as_str()),
    ]);
    let tag = match outcome {
        Outcome::Passed => return element.write_empty().map(drop),
        Outcome::Failed => "failure",
        Outcome::Error => "error",
        Outcome::Skipped => "skipped",
    };
    let text = printable(text);
    element
        .write_inner_content(|writer| {
            let inner = writer.create_element(tag);
            let inner = match outcome {
                Outcome::Skipped => inner,
                _ => inner.with_attributes([
                    ("message", text.lines().next().unwrap_or_default()),
                    ("type", if *outcome == Outcome::Failed { "contract" } else { "uat" }),
                ]),
            };
            inner.write_text_content(BytesText::new(&text)).map(drop)
        })
        .map(drop)
}
