//! One JSON event a line, as they happen.

use std::io::Write;

use serde_json::json;

use crate::runner::{Event, Reporter};

/// Writes each event at once.
#[derive(Debug)]
pub struct JsonLines<W>(pub W);

impl<W: Write> Reporter for JsonLines<W> {
    fn tell(&mut self, event: &Event<'_>) {
        let line = match event {
            Event::Summary(summary) => {
                let mut line = json!(event);
                for word in ["passed", "failed", "error", "blocked", "skipped"] {
                    line[word] = summary.count(word).into();
                }
                line
            }
            Event::CaseFinished(case) => {
                let mut line = json!(event);
                // For people, so that whoever collects events need not know how a hint is told.
                line["story"] = super::story(case).into();
                line
            }
            _ => json!(event),
        };
        // A reader that went away does not end the run: the files are still to be written.
        let _ = writeln!(self.0, "{line}").and_then(|()| self.0.flush());
    }
}
