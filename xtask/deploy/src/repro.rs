//! `deploy repro`: the command that repeats here what failed there.

use optivex_bundle::manifest::printable;
use optivex_bundle::verdict::JobResult;

use crate::settings::Settings;

/// Lines to read and, without a `#`, to paste.
pub fn repro(result: &JobResult, settings: &Settings, head: Option<&str>) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&printable(&line));
        text.push('\n');
    };
    let failed = || result.cases.iter().filter(|case| case.outcome != "skipped");
    let shown: Vec<_> = failed().filter(|case| !case.hidden).collect();
    let hidden = failed().count() - shown.len();
    if hidden > 0 {
        line(format!(
            "# {hidden} failed cases are hidden: only UAT has what they ask"
        ));
    }
    let Some(seed) = result.seed.filter(|_| !shown.is_empty()) else {
        line(format!(
            "# {} {}: there is no case to repeat",
            result.id, result.verdict
        ));
        return text;
    };
    if let Some(commit) = result.commit.as_deref().filter(|commit| head != Some(commit)) {
        line(format!(
            "# another commit is checked out; this was: git checkout {commit}"
        ));
    }
    if result.dirty {
        line("# it was built with changes that its commit does not have".to_owned());
    }
    let mut options = vec!["--seed".to_owned(), seed.to_string()];
    for case in shown {
        options.extend(["--case".to_owned(), format!("{}/{}", case.stage, case.case)]);
    }
    let mut command = settings.test.clone();
    let place = command.iter().position(|word| word == "{options}");
    let place = place.map_or(command.len()..command.len(), |place| place..place + 1);
    command.splice(place, options);
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    line(words.join(" "));
    text
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use optivex_bundle::verdict::CaseRow;

    use super::*;

    #[test]
    fn what_is_pasted() {
        let mut result: JobResult = serde_json::from_value(serde_json::json!({
            "schema": 1, "participant": "alice", "id": "0123456789abcdef", "attempt": 1, "verdict": "failed",
            "submission": "0".repeat(64), "size": 1, "received": "", "finished": "", "seed": 7, "commit": "abc",
        }))
        .expect("a result");
        let case = |case: &str, hidden, outcome: &str| CaseRow {
            stage: "login".to_owned(),
            case: case.to_owned(),
            title: String::new(),
            outcome: outcome.to_owned(),
            hidden,
            hint: None,
        };
        let settings = Settings::default();
        let told = |result: &JobResult| repro(result, &settings, Some("abc"));
        assert_eq!(told(&result), "# 0123456789abcdef failed: there is no case to repeat\n");
        result.cases = vec![
            case("token", false, "failed"),
            case("secret", true, "failed"),
            case("later", false, "skipped"),
            case("roles", false, "failed"),
        ];
        assert_eq!(
            told(&result),
            "# 1 failed cases are hidden: only UAT has what they ask\n\
             cargo xtask test -- --seed 7 --case login/token --case login/roles\n"
        );
        result.dirty = true;
        let text = repro(&result, &settings, Some("def"));
        assert!(text.contains("git checkout abc") && text.contains("changes"), "{text}");

        let settings = Settings {
            test: ["tests", "{options}", "--launch", "it's x"].map(str::to_owned).to_vec(),
            ..Settings::default()
        };
        let text = repro(&result, &settings, Some("abc"));
        assert!(
            text.ends_with("\ntests --seed 7 --case login/token --case login/roles --launch 'it'\\''s x'\n"),
            "{text}"
        );
    }
}
