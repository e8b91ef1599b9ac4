//! How results are told: to people, to machines, to CI.

mod junit;
mod lines;
mod markdown;
mod table;

pub use junit::junit;
pub use lines::JsonLines;
pub use markdown::markdown;
pub use table::Table;

use crate::runner::{CaseResult, Outcome};
use crate::score;

/// What a case that did not pass has to tell, if anything.
pub(crate) fn story(case: &CaseResult) -> Option<String> {
    let again = format!("Again:    --case {}/{} --seed {}", case.stage, case.case, case.seed);
    let text = match &case.outcome {
        Outcome::Passed => return None,
        Outcome::Failed { hint: Some(hint), .. } => format!("{hint}\n{again}"),
        Outcome::Failed { hint: None, .. } => "This case is hidden: it tells only its title.".to_owned(),
        Outcome::Error { message } => {
            format!("Not judged, by a fault of the tests or of this machine: {message}\n{again}")
        }
        Outcome::Blocked { by } => format!("Blocked by {}", by.join(", ")),
        Outcome::Skipped { reason } => format!("Skipped: {reason}"),
    };
    Some(printable(&text))
}

/// What a case measured, as lines of a table.
pub(crate) fn score(case: &CaseResult) -> impl Iterator<Item = String> + '_ {
    let head = (!case.score.is_empty()).then(score::head);
    head.into_iter().chain(case.score.iter().map(ToString::to_string))
}

/// Without control characters: an exchange may print anything, and neither XML 1.0 nor somebody's
/// terminal is to take it.
pub(crate) fn printable(text: &str) -> String {
    let wrong = |character: char| {
        (character.is_control() && !matches!(character, '\t' | '\n')) || matches!(character, '\u{fffe}' | '\u{ffff}')
    };
    text.chars()
        .map(|character| if wrong(character) { '\u{fffd}' } else { character })
        .collect()
}
