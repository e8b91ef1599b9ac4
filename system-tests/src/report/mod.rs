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

/// What a case that did not pass has to tell, if anything.
pub(crate) fn story(case: &CaseResult) -> Option<String> {
    match &case.outcome {
        Outcome::Passed => None,
        Outcome::Failed { hint: Some(hint), .. } => Some(hint.to_string()),
        Outcome::Failed { hint: None, .. } => Some("This case is hidden: it tells only its title.".to_owned()),
        Outcome::Error { message } => Some(format!(
            "Not judged, by a fault of the tests or of this machine: {message}"
        )),
        Outcome::Blocked { by } => Some(format!("Blocked by {}", by.join(", "))),
        Outcome::Skipped { reason } => Some(format!("Skipped: {reason}")),
    }
}
