//! Steps with their times, and the table of them at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// What came of the steps so far.
#[derive(Debug)]
pub struct Steps {
    rows: Vec<Row>,
    interrupted: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Row {
    name: String,
    took: Duration,
    outcome: std::result::Result<String, String>,
}

impl Steps {
    /// None yet. Once that is set, no further step starts.
    pub fn new(interrupted: Arc<AtomicBool>) -> Self {
        Self {
            rows: Vec::new(),
            interrupted,
        }
    }

    /// Does one, which returns with a word on what it found.
    pub fn step<T>(&mut self, name: &str, step: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        if self.interrupted.load(Ordering::SeqCst) {
            return Err(anyhow!("interrupted"));
        }
        self.last(name, step)
    }

    /// One that is done after an interruption, too.
    pub fn last<T>(&mut self, name: &str, step: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        println!("\n[{}] {name}", self.rows.len() + 1);
        let start = Instant::now();
        let result = step();
        let took = start.elapsed();
        let (result, outcome) = match result {
            Ok((value, note)) => (Ok(value), Ok(note)),
            Err(error) if self.interrupted.load(Ordering::SeqCst) => (Err(error), Err("interrupted".to_owned())),
            Err(error) => {
                let text = format!("{error:#}");
                (Err(error), Err(text))
            }
        };
        match &outcome {
            Ok(note) => println!(
                "    ok, {}{}{note}",
                seconds(took),
                if note.is_empty() { "" } else { ": " }
            ),
            Err(why) => println!("    FAILED, {}: {why}", seconds(took)),
        }
        self.rows.push(Row {
            name: name.to_owned(),
            took,
            outcome,
        });
        result
    }

    /// For people: one line a step.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let (verdict, note) = match &row.outcome {
                Ok(note) => ("ok", note),
                Err(why) => ("FAILED", why),
            };
            let note = note.lines().next().unwrap_or_default();
            let line = format!("{verdict:<7} {:>8}  {:<42} {note}", seconds(row.took), row.name);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let all: Duration = self.rows.iter().map(|row| row.took).sum();
        text.push_str(&format!("{:<7} {:>8}\n", "all", seconds(all)));
        text
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_on_until_one_fails_or_somebody_interrupts() {
        let interrupted = Arc::new(AtomicBool::new(false));
        let mut steps = Steps::new(Arc::clone(&interrupted));
        assert_eq!(steps.step("one", || Ok((1, "note".to_owned()))).expect("ok"), 1);
        let error = steps.step::<()>("two", || Err(anyhow!("broken\nand more")));
        assert_eq!(error.expect_err("fails").to_string(), "broken\nand more");
        interrupted.store(true, Ordering::SeqCst);
        steps
            .step::<()>("three", || panic!("is not done"))
            .expect_err("interrupted");
        steps
            .last("four", || Ok(((), String::new())))
            .expect("done all the same");
        let table: Vec<String> = steps
            .table()
            .lines()
            .map(|line| {
                line.split_whitespace()
                    .filter(|word| !word.contains('.') && *word != "s")
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        assert_eq!(table, ["ok one note", "FAILED two broken", "ok four", "all"]);
    }
}
