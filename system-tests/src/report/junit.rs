//! JUnit XML, valid against the schema of windyroad (JUnit.xsd): order and presence of elements and
//! attributes are its. `failure` is theirs, `error` is ours.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::{printable, story};
use crate::runner::{CaseResult, Outcome, StageResult, Summary};

/// The run as JUnit XML.
pub fn junit(summary: &Summary) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(quick_xml::events::Event::Decl(quick_xml::events::BytesDecl::new(
        "1.0",
        Some("UTF-8"),
        None,
    )))?;
    writer.create_element("testsuites").write_inner_content(|writer| {
        summary
            .stages
            .iter()
            .enumerate()
            .try_for_each(|(id, stage)| suite(writer, id, stage, summary))
    })?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

fn suite(writer: &mut Writer<Vec<u8>>, id: usize, stage: &StageResult, summary: &Summary) -> io::Result<()> {
    // The schema knows no time zone: it is UTC.
    let timestamp = summary.started.trim_end_matches('Z');
    writer
        .create_element("testsuite")
        .with_attributes([
            ("package", "optivex.system-tests"),
            ("id", id.to_string().as_str()),
            ("name", stage.stage),
            ("timestamp", timestamp),
            ("hostname", "localhost"),
            ("tests", stage.cases.len().to_string().as_str()),
            ("failures", stage.failed.to_string().as_str()),
            ("errors", stage.errors.to_string().as_str()),
            ("skipped", (stage.blocked + stage.skipped).to_string().as_str()),
            ("time", seconds(stage.seconds).as_str()),
        ])
        .write_inner_content(|writer| {
            writer.create_element("properties").write_inner_content(|writer| {
                let properties = [
                    ("subject", printable(&summary.subject)),
                    ("seed", summary.seed.to_string()),
                    ("title", stage.title.to_owned()),
                    ("kind", super::table::kind(stage.core).to_owned()),
                ];
                let properties = properties.map(|(name, value)| (name.to_owned(), value));
                properties
                    .into_iter()
                    .chain(scores(stage))
                    .try_for_each(|(name, value)| {
                        let property = [("name", name.as_str()), ("value", value.as_str())];
                        writer
                            .create_element("property")
                            .with_attributes(property)
                            .write_empty()
                            .map(drop)
                    })
            })?;
            stage.cases.iter().try_for_each(|result| case(writer, result))?;
            let scores: Vec<String> = stage.cases.iter().flat_map(scored).collect();
            let out = writer.create_element("system-out");
            match scores.is_empty() {
                true => out.write_empty()?,
                false => out.write_text_content(BytesText::new(&scores.join("\n")))?,
            };
            writer.create_element("system-err").write_empty()?;
            Ok(())
        })?;
    Ok(())
}

fn case(writer: &mut Writer<Vec<u8>>, case: &CaseResult) -> io::Result<()> {
    let class = format!("optivex.system-tests.{}", case.stage);
    let time = seconds(case.seconds);
    let element = writer.create_element("testcase").with_attributes([
        ("name", case.case),
        ("classname", class.as_str()),
        ("time", time.as_str()),
    ]);
    let tag = match case.outcome {
        Outcome::Passed => return element.write_empty().map(drop),
        Outcome::Failed { .. } => "failure",
        Outcome::Error { .. } => "error",
        Outcome::Blocked { .. } | Outcome::Skipped { .. } => "skipped",
    };
    let story = story(case).unwrap_or_default();
    element
        .write_inner_content(|writer| {
            let inner = writer.create_element(tag);
            let inner = match &case.outcome {
                Outcome::Failed { message, .. } => inner.with_attributes([
                    ("message", printable(message.as_deref().unwrap_or(case.title)).as_str()),
                    ("type", "contract"),
                ]),
                Outcome::Error { message } => {
                    inner.with_attributes([("message", printable(message).as_str()), ("type", "system-tests")])
                }
                _ => inner,
            };
            let text = match &case.outcome {
                Outcome::Failed { .. } => format!("{}\n{story}", case.title),
                _ => story.clone(),
            };
            inner.write_text_content(BytesText::new(&text)).map(drop)
        })
        .map(drop)
}

/// The table of a case that measured, under its name.
fn scored(case: &CaseResult) -> impl Iterator<Item = String> + '_ {
    let name = (!case.score.is_empty()).then(|| format!("{}/{}", case.stage, case.case));
    name.into_iter().chain(super::score(case))
}

/// Numbers for machines: `score.CASE.NAME.exchange` and the same of `echo` and `ratio`.
fn scores(stage: &StageResult) -> impl Iterator<Item = (String, String)> + '_ {
    let of = |case: &'_ CaseResult| {
        let slug = case.case;
        case.score.clone().into_iter().flat_map(move |measurement| {
            let name = format!("score.{slug}.{}", measurement.name);
            [
                (format!("{name}.unit"), measurement.unit.to_owned()),
                (format!("{name}.exchange"), measurement.exchange.to_string()),
                (format!("{name}.echo"), measurement.echo.to_string()),
                (
                    format!("{name}.ratio"),
                    measurement.ratio.map_or_else(String::new, |ratio| ratio.to_string()),
                ),
            ]
        })
    };
    stage.cases.iter().flat_map(of)
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3}")
}
