//! What `README.md` says of stages and cases is so.

use std::collections::BTreeSet;

use optivex_system_tests::stages::STAGES;

const README: &str = include_str!("../README.md");

/// Everything between single backticks, outside of blocks of code.
fn names() -> Vec<&'static str> {
    let outside = README.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

fn is_slug(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(fits)
}

/// A renamed or removed case takes its name in the notes with it.
#[test]
fn every_case_that_is_named_exists() {
    let known: BTreeSet<String> = STAGES
        .iter()
        .flat_map(|stage| stage.cases.iter().map(|case| format!("{}/{}", stage.slug, case.slug)))
        .collect();
    let named: BTreeSet<&str> = names()
        .into_iter()
        .filter(|name| {
            name.split_once('/')
                .is_some_and(|(stage, case)| is_slug(stage) && is_slug(case))
        })
        .collect();
    let unknown: Vec<&&str> = named.iter().filter(|name| !known.contains(**name)).collect();
    assert!(unknown.is_empty(), "no such cases: {unknown:?}");
    // The notes name cases of many stages: a change of style must not make this test see none.
    let stages: BTreeSet<&str> = named.iter().filter_map(|name| name.split('/').next()).collect();
    assert!(named.len() > 60 && stages.len() > 12, "only {named:?}");
}

#[test]
fn the_catalogue_has_every_stage() {
    let rows: Vec<Vec<&str>> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect())
        .filter(|row: &Vec<&str>| row.len() == 4 && row[0].parse::<u32>().is_ok())
        .collect();
    let told: Vec<(u32, String, &str)> = rows
        .iter()
        .map(|row| (row[0].parse().unwrap_or_default(), row[1].replace('`', ""), row[2]))
        .collect();
    let kind = |core: bool| if core { "core" } else { "extension" };
    let stages: Vec<(u32, String, &str)> = STAGES
        .iter()
        .map(|stage| (stage.number, stage.slug.to_owned(), kind(stage.core)))
        .collect();
    assert_eq!(told, stages);
}
