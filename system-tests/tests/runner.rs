//! The runner and its reports, over stages made for this: no exchange is needed.

use std::time::Duration;

use expect_test::expect;
use optivex_proto::v1::{ErrorReason, LogoutRequest, LogoutResponse};
use optivex_system_tests::case::{Case, Stage};
use optivex_system_tests::context::Context;
use optivex_system_tests::report::{JsonLines, Table, junit, markdown};
use optivex_system_tests::run;
use optivex_system_tests::runner::{self, Event, Options, Outcome, Reporter, Selected, Silent, Summary};
use optivex_system_tests::score::Measurement;
use optivex_system_tests::subject::{Subject, Venue};
use optivex_system_tests::users::{Pool, UsersFile};
use optivex_system_tests::verdict::{Failure, Stop, Verdict};
use quick_xml::Reader;
use quick_xml::events::Event as Xml;

const fn stage(slug: &'static str, number: u32, builds_on: &'static [&'static str], cases: &'static [Case]) -> Stage {
    Stage {
        slug,
        title: slug,
        number,
        core: number < 3,
        builds_on,
        cases,
    }
}

const STAGES: [Stage; 6] = [
    stage(
        "first",
        1,
        &[],
        &[
            Case::new("passes", "It passes.", "a.proto A", run!(passes)).base(),
            Case::new("fails", "It fails.", "a.proto B", run!(fails)),
            Case::new("secret", "It fails in secret.", "a.proto C", run!(fails)).hidden(),
        ],
    ),
    stage(
        "second",
        2,
        &["first"],
        &[
            Case::new("base", "Others build on it.", "b.proto A", run!(fails)).base(),
            Case::new("panics", "It panics.", "b.proto B", run!(panics)),
        ],
    ),
    stage(
        "third",
        3,
        &["first", "second"],
        &[Case::new("blocked", "It cannot be.", "c.proto", run!(passes))],
    ),
    stage(
        "fourth",
        4,
        &["third"],
        &[Case::new("blocked-too", "Nor can it.", "d.proto", run!(passes))],
    ),
    stage(
        "fifth",
        5,
        &["first"],
        &[
            Case::new("launches", "It starts its own.", "e.proto", run!(passes)).launches(),
            Case::new("skips", "It does not apply.", "e.proto", run!(skips)),
            Case::new("troubles", "It lacks something.", "e.proto", run!(troubles)).alone(),
        ],
    ),
    stage(
        "sixth",
        6,
        &["fifth"],
        &[
            Case::new("never-ends", "It never ends.", "f.proto", run!(never_ends)).within(0),
            Case::new("measures", "It tells a score.", "f.proto", run!(measures)).measures(),
            Case::new("fails-fast", "It tells none.", "f.proto", run!(fails_fast)).measures(),
        ],
    ),
];

async fn passes(context: Context) -> Verdict {
    // The seed of a case is its own, and reproducible.
    assert_eq!(
        context.seed(),
        runner::seed_of(7, "first", "passes"),
        "of this run and case"
    );
    Ok(())
}

async fn fails(context: Context) -> Verdict {
    context.log().note("something <happened> & \u{1}");
    Err(Stop::failed("status is Open ]]>", "status Filled"))
}

async fn panics(_: Context) -> Verdict {
    panic!("an index out of bounds")
}

async fn skips(_: Context) -> Verdict {
    Err(Stop::skipped("needs two administrators"))
}

async fn troubles(_: Context) -> Verdict {
    Err(Stop::trouble("no file `x```"))
}

async fn never_ends(_: Context) -> Verdict {
    std::future::pending().await
}

async fn measures(context: Context) -> Verdict {
    context.measured(Measurement::new("rate", "orders/s", 12_345.67, 50_000.0));
    context.measured(Measurement::new("p99.9", "us", 1.0, 0.0));
    Ok(())
}

/// How fast a wrong exchange is wrong is no score.
async fn fails_fast(context: Context) -> Verdict {
    measures(context).await?;
    Err(Stop::failed("it was lost", "an order"))
}

fn all(stages: &[Stage]) -> Vec<Selected> {
    stages.iter().map(|stage| (*stage, stage.cases.to_vec())).collect()
}

fn subject() -> Subject {
    let pool = Pool::new(UsersFile::generated(), true).expect("enough users");
    Subject::at(Venue {
        url: "http://127.0.0.1:1".to_owned(),
        pool,
    })
}

/// Runs them, one at a time, and forgets times.
fn run(stages: &[Stage], until_first_failure: bool) -> Summary {
    let options = Options {
        seed: 7,
        jobs: 1,
        patience: Duration::from_secs(1),
        load_time: Duration::from_secs(1),
        until_first_failure,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut summary = runtime.block_on(runner::run(&all(stages), &subject(), &options, &mut Silent));
    summary.seconds = 0.0;
    summary.started = "2026-01-02T03:04:05Z".to_owned();
    for stage in &mut summary.stages {
        stage.seconds = 0.0;
        stage.cases.iter_mut().for_each(|case| case.seconds = 0.0);
    }
    summary
}

/// Tells a run again, as if it happened now.
fn tell(summary: &Summary, reporter: &mut dyn Reporter) {
    reporter.tell(&Event::RunStarted {
        subject: &summary.subject,
        seed: summary.seed,
        cases: summary.cases().count(),
    });
    for stage in &summary.stages {
        reporter.tell(&Event::StageStarted {
            stage: stage.stage,
            number: stage.number,
            title: stage.title,
            core: stage.core,
        });
        for case in &stage.cases {
            reporter.tell(&Event::CaseStarted {
                stage: case.stage,
                case: case.case,
            });
            reporter.tell(&Event::CaseFinished(case));
        }
        reporter.tell(&Event::StageFinished(stage));
    }
    reporter.tell(&Event::Summary(summary));
}

#[test]
fn outcomes_and_what_they_block() {
    let summary = run(&STAGES, false);
    let told: Vec<String> = summary
        .cases()
        .map(|case| {
            let why = match &case.outcome {
                Outcome::Blocked { by } => format!(" by {}", by.join(", ")),
                Outcome::Error { message } => format!(": {message}"),
                Outcome::Skipped { reason } => format!(": {reason}"),
                Outcome::Failed {
                    message: Some(message), ..
                } => format!(": {message}"),
                Outcome::Failed { .. } | Outcome::Passed => String::new(),
            };
            format!("{}/{} {}{why}", case.stage, case.case, case.outcome.word())
        })
        .collect();
    expect![[r#"
        first/passes passed
        first/fails failed: status is Open ]]>; expected: status Filled
        first/secret failed
        second/base failed: status is Open ]]>; expected: status Filled
        second/panics error: the case itself broke: an index out of bounds
        third/blocked blocked by second
        fourth/blocked-too blocked by third
        fifth/launches skipped: starts exchanges of its own: needs --launch
        fifth/skips skipped: needs two administrators
        fifth/troubles error: no file `x```
        sixth/never-ends failed: the case was not over after 0 s; expected: answers in time
        sixth/measures passed
        sixth/fails-fast failed: it was lost; expected: an order"#]]
    .assert_eq(&told.join("\n"));
}

const WANTING: [Stage; 1] = [stage(
    "core",
    1,
    &[],
    &[
        Case::new("without", "It lacks the extension.", "a.proto", run!(lacks)).wants(&["extension"]),
        Case::new("with", "It has the extension, and fails.", "a.proto", run!(fails)).wants(&["extension"]),
        Case::new("plain", "It lacks a part of the core.", "a.proto", run!(lacks)),
    ],
)];

async fn lacks(context: Context) -> Verdict {
    context.log().unimplemented();
    Err(Stop::failed("the status is Unimplemented", "the call to succeed"))
}

/// The core passes without the extensions, and nothing else is let off.
#[test]
fn a_case_that_wants_an_extension_is_skipped_without_it() {
    let summary = run(&WANTING, false);
    let told: Vec<&str> = summary.cases().map(|case| case.outcome.word()).collect();
    assert_eq!(told, ["skipped", "failed", "failed"]);
    let reason = "needs extension too, which the exchange does not have".to_owned();
    let first = summary.cases().next().map(|case| case.outcome.clone());
    assert_eq!(first, Some(Outcome::Skipped { reason }));
}

#[test]
fn until_the_first_failure() {
    let summary = run(&STAGES, true);
    let words: Vec<&str> = summary.cases().map(|case| case.outcome.word()).collect();
    assert_eq!(words[..3], ["passed", "failed", "skipped"]);
    assert!(
        words[3..].iter().all(|word| ["skipped", "blocked"].contains(word)),
        "{words:?}"
    );
}

#[test]
fn the_table_for_people() {
    let mut out = Vec::new();
    tell(&run(&STAGES, false), &mut Table::new(&mut out, false));
    let text = String::from_utf8(out).expect("text");
    let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
    expect![[r#"
        13 cases against http://127.0.0.1:1; seed 7
        1 first (core)
          ok      first/passes: It passes.
          FAILED  first/fails: It fails.
                    Sent (>) and came back (<), * where it shows:
                    * 1. (the tests): something <happened> & �
                    So:       status is Open ]]>
                    Expected: status Filled
                    Clause:   a.proto B
                    Again:    --case first/fails --seed 7
          FAILED  first/secret: It fails in secret.
                    This case is hidden: it tells only its title.
        2 second (core)
          FAILED  second/base: Others build on it.
                    Sent (>) and came back (<), * where it shows:
                    * 1. (the tests): something <happened> & �
                    So:       status is Open ]]>
                    Expected: status Filled
                    Clause:   b.proto A
                    Again:    --case second/base --seed 7
          ERROR   second/panics: It panics.
                    Not judged, by a fault of the tests or of this machine: the case itself broke: an index out of bounds
                    Again:    --case second/panics --seed 7
        3 third (extension)
          blocked third/blocked: It cannot be.
        4 fourth (extension)
          blocked fourth/blocked-too: Nor can it.
        5 fifth (extension)
          skipped fifth/launches: It starts its own.
                    Skipped: starts exchanges of its own: needs --launch
          skipped fifth/skips: It does not apply.
                    Skipped: needs two administrators
          ERROR   fifth/troubles: It lacks something.
                    Not judged, by a fault of the tests or of this machine: no file `x```
                    Again:    --case fifth/troubles --seed 7
        6 sixth (extension)
          FAILED  sixth/never-ends: It never ends.
                    Sent (>) and came back (<), * where it shows:
                    So:       the case was not over after 0 s
                    Expected: answers in time
                    Clause:   f.proto
                    Again:    --case sixth/never-ends --seed 7
          ok      sixth/measures: It tells a score.
                    score                            exchange         echo    ratio
                    rate (orders/s)                     12346        50000     0.25
                    p99.9 (us)                            1.0          0.0        -
          FAILED  sixth/fails-fast: It tells none.
                    Sent (>) and came back (<), * where it shows:
                    So:       it was lost
                    Expected: an order
                    Clause:   f.proto
                    Again:    --case sixth/fails-fast --seed 7

             stage                                                    passed failed  error blocked skipped
          1  first                                core       failed        1      2      0       0       0
          2  second                               core       failed        0      1      1       0       0
          3  third                                extension  blocked       0      0      0       1       0  by second
          4  fourth                               extension  blocked       0      0      0       1       0  by third
          5  fifth                                extension  error         0      0      1       0       2
          6  sixth                                extension  failed        1      2      0       0       0

        2 passed, 5 failed, 2 errors, 2 blocked, 2 skipped in 0.0 s; seed 7"#]].assert_eq(&trimmed.join("\n"));
}

#[test]
fn markdown_for_people() {
    expect![[r#"
        # System tests

        1 passed, 3 failed, 2 errors, 2 blocked, 2 skipped in 0.0 s. Subject: `http://127.0.0.1:1`, seed 7, 2026-01-02T03:04:05Z.

        | | stage | | result | passed | failed | error | blocked | skipped |
        |--:|---|---|---|--:|--:|--:|--:|--:|
        | 2 | second | core | failed | 0 | 1 | 1 | 0 | 0 |
        | 3 | third | extension | blocked by second | 0 | 0 | 0 | 1 | 0 |
        | 4 | fourth | extension | blocked by third | 0 | 0 | 0 | 1 | 0 |
        | 5 | fifth | extension | error | 0 | 0 | 1 | 0 | 2 |
        | 6 | sixth | extension | failed | 1 | 2 | 0 | 0 | 0 |

        ## Score: `sixth/measures`

        | | unit | exchange | echo | ratio |
        |---|---|--:|--:|--:|
        | rate | orders/s | 12346 | 50000 | 0.25 |
        | p99.9 | us | 1.0 | 0.0 | - |

        ## failed: `second/base`

        Others build on it.

        ```text
        Sent (>) and came back (<), * where it shows:
        * 1. (the tests): something <happened> & �
        So:       status is Open ]]>
        Expected: status Filled
        Clause:   b.proto A
        Again:    --case second/base --seed 7
        ```

        ## error: `second/panics`

        It panics.

        ```text
        Not judged, by a fault of the tests or of this machine: the case itself broke: an index out of bounds
        Again:    --case second/panics --seed 7
        ```

        ## skipped: `fifth/launches`

        It starts its own.

        ```text
        Skipped: starts exchanges of its own: needs --launch
        ```

        ## skipped: `fifth/skips`

        It does not apply.

        ```text
        Skipped: needs two administrators
        ```

        ## error: `fifth/troubles`

        It lacks something.

        ````text
        Not judged, by a fault of the tests or of this machine: no file `x```
        Again:    --case fifth/troubles --seed 7
        ````

        ## failed: `sixth/never-ends`

        It never ends.

        ```text
        Sent (>) and came back (<), * where it shows:
        So:       the case was not over after 0 s
        Expected: answers in time
        Clause:   f.proto
        Again:    --case sixth/never-ends --seed 7
        ```

        ## failed: `sixth/fails-fast`

        It tells none.

        ```text
        Sent (>) and came back (<), * where it shows:
        So:       it was lost
        Expected: an order
        Clause:   f.proto
        Again:    --case sixth/fails-fast --seed 7
        ```
    "#]].assert_eq(&markdown(&run(&STAGES[1..], false)));
}

#[test]
fn json_is_one_event_a_line_and_a_summary_at_the_end() {
    let mut out = Vec::new();
    tell(&run(&STAGES, false), &mut JsonLines(&mut out));
    let lines: Vec<serde_json::Value> = String::from_utf8(out)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events.len(), lines.len());
    assert_eq!(
        (events.first(), events.last()),
        (Some(&"run_started"), Some(&"summary"))
    );
    let last = lines.last().expect("a summary");
    let counts: Vec<i64> = ["passed", "failed", "error", "blocked", "skipped"]
        .iter()
        .filter_map(|word| last[word].as_i64())
        .collect();
    assert_eq!(counts, [2, 5, 2, 2, 2]);
    let finished: Vec<&serde_json::Value> = lines.iter().filter(|line| line["event"] == "case_finished").collect();
    assert_eq!(finished.len(), 13);
    assert_eq!(finished[1]["hint"]["expected"], "status Filled");
    assert_eq!(finished[2]["hint"], serde_json::Value::Null, "hidden");
    assert_eq!(finished[2]["message"], serde_json::Value::Null, "hidden");
    assert_eq!(finished[5]["by"][0], "second");
    assert_eq!(finished[5]["score"], serde_json::Value::Null);
    assert_eq!(
        finished[11]["score"],
        serde_json::json!([
            {"name": "rate", "unit": "orders/s", "exchange": 12_345.67, "echo": 50_000.0, "ratio": 12_345.67 / 50_000.0},
            {"name": "p99.9", "unit": "us", "exchange": 1.0, "echo": 0.0, "ratio": null},
        ])
    );
    assert_eq!(finished[12]["score"], serde_json::Value::Null, "it failed");
}

/// Elements and attributes in the order in which they stand, checked against what the schema wants.
#[test]
fn junit_is_well_formed_and_in_the_order_of_the_schema() {
    let text = junit(&run(&STAGES, false)).expect("it can be written");
    let mut reader = Reader::from_str(&text);
    reader.config_mut().trim_text(true);
    reader.config_mut().expand_empty_elements = true;
    let (mut path, mut suites, mut children): (Vec<String>, usize, Vec<String>) = (Vec::new(), 0, Vec::new());
    let mut counted = [0, 0, 0];
    loop {
        match reader.read_event().expect("well-formed") {
            Xml::Start(element) => {
                let name = element.name().as_ref().to_owned();
                let attributes: Vec<(String, String)> = element
                    .attributes()
                    .map(|attribute| {
                        let attribute = attribute.expect("well-formed");
                        let key = attribute.key.as_ref().to_owned();
                        (key, attribute.value.into_owned())
                    })
                    .collect();
                let keys: Vec<&str> = attributes.iter().map(|(key, _)| key.as_str()).collect();
                let place = (path.last().map(String::as_str).unwrap_or_default(), name.as_str());
                match place {
                    ("", "testsuites") => assert!(keys.is_empty(), "the schema knows none: {keys:?}"),
                    ("testsuites", "testsuite") => {
                        assert_eq!(
                            keys,
                            [
                                "package",
                                "id",
                                "name",
                                "timestamp",
                                "hostname",
                                "tests",
                                "failures",
                                "errors",
                                "skipped",
                                "time"
                            ]
                        );
                        assert_eq!(attributes[1].1, suites.to_string());
                        assert_eq!(attributes[3].1, "2026-01-02T03:04:05", "the schema knows no time zone");
                        suites += 1;
                        children.clear();
                    }
                    ("testsuite", "properties" | "testcase" | "system-out" | "system-err") => {
                        children.push(name.clone());
                        if name == "testcase" {
                            assert_eq!(keys, ["name", "classname", "time"]);
                        }
                    }
                    ("properties", "property") => assert_eq!(keys, ["name", "value"]),
                    ("testcase", "failure") => {
                        counted[0] += 1;
                        assert_eq!(keys, ["message", "type"]);
                    }
                    ("testcase", "error") => {
                        counted[1] += 1;
                        assert_eq!(keys, ["message", "type"]);
                    }
                    ("testcase", "skipped") => counted[2] += 1,
                    other => panic!("{other:?} is not in the schema"),
                }
                path.push(name);
            }
            Xml::End(_) => {
                let ended = path.pop();
                if ended.as_deref() == Some("testsuite") {
                    assert_eq!(children.first().map(String::as_str), Some("properties"));
                    assert!(children.ends_with(&["system-out".to_owned(), "system-err".to_owned()]));
                    let cases = &children[1..children.len() - 2];
                    assert!(cases.iter().all(|child| child == "testcase"), "{children:?}");
                }
            }
            Xml::Eof => break,
            _ => {}
        }
    }
    assert_eq!((suites, counted), (6, [5, 2, 4]));
    let measured = r#"<property name="score.measures.rate.exchange" value="12345.67"/>"#;
    assert!(text.contains(measured) && !text.contains("score.fails-fast"), "{text}");
    assert!(text.contains("<system-out>sixth/measures\n"), "{text}");
    assert!(!text.contains('\u{1}'), "not in XML 1.0");
    assert!(
        text.contains("It fails in secret.") && !text.contains("a.proto C"),
        "hidden tells its title only"
    );
}

/// A call that nobody answers shows in the hint what was sent, what came, what was expected.
#[test]
fn hints_tell_the_story_in_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let log = optivex_system_tests::record::Log::default();
    let stop = runtime.block_on(async {
        let dead =
            optivex_system_tests::client::Session::lazy("http://127.0.0.1:1", "alice", &log, Duration::from_secs(5))
                .expect("a URL");
        let request = optivex_system_tests::order::buy("ACME", 1_012_500, 3);
        let answer = dead.try_insert(request).await;
        let stop = answer
            .refused(ErrorReason::UnknownInstrument, &[("field", "symbol")])
            .expect_err("nobody there");
        let _ = dead
            .call::<_, LogoutResponse>("/optivex.v1.AuthService/Logout", LogoutRequest {})
            .await
            .either();
        stop
    });
    let Stop::Failed(failure) = stop else {
        panic!("{stop:?}")
    };
    let failure = Failure {
        came: "the connection broke".to_owned(),
        ..*failure
    };
    let hint = log.hint(&failure, "common.proto X").to_string();
    // What the system says about it differs.
    let told: Vec<&str> = hint
        .lines()
        .map(|line| {
            line.split_once("(the connection broke")
                .map_or(line, |(before, _)| before)
        })
        .collect();
    expect![[r#"
        Sent (>) and came back (<), * where it shows:
        * 1. alice: /optivex.v1.ExecutionService/InsertOrder
             > {"priceE4":"1012500","quantity":"3","side":"SIDE_BUY","symbol":"ACME"}
             < "
          2. alice: /optivex.v1.AuthService/Logout
             > {}
             < "
        So:       the connection broke
        Expected: a refusal: NotFound UNKNOWN_INSTRUMENT field="symbol"
        Clause:   common.proto X"#]]
    .assert_eq(&told.join("\n"));
}
