//! Scores: numbers that a case measured, each beside what the same client gets from an echo on the same
//! machine in the same minute. They are told and never judged: machines are noisy.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// Name, of letters, digits, '-' and '.'; unique in its case.
    pub name: &'static str,
    /// What it counts.
    pub unit: &'static str,
    /// Of the exchange under test.
    pub exchange: f64,
    /// Of the echo.
    pub echo: f64,
    /// The exchange's in units of the echo's; `None` where the echo has none.
    pub ratio: Option<f64>,
}

impl Measurement {
    /// A number of the exchange, and the same of the echo.
    pub fn new(name: &'static str, unit: &'static str, exchange: f64, echo: f64) -> Self {
        let ratio = exchange / echo;
        Self {
            name,
            unit,
            exchange,
            echo,
            ratio: ratio.is_finite().then_some(ratio),
        }
    }

    /// Columns for people: the number of the exchange, that of the echo, their ratio.
    pub(crate) fn columns(&self) -> [String; 3] {
        let ratio = self.ratio.map_or("-".to_owned(), |ratio| {
            let digits = if ratio.abs() < 0.1 { 4 } else { 2 };
            format!("{ratio:.digits$}")
        });
        [number(self.exchange), number(self.echo), ratio]
    }
}

/// A row of a table.
impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [exchange, echo, ratio] = self.columns();
        let name = format!("{} ({})", self.name, self.unit);
        write!(f, "{name:<28} {exchange:>12} {echo:>12} {ratio:>8}")
    }
}

/// The head of such a table.
pub(crate) fn head() -> String {
    format!("{:<28} {:>12} {:>12} {:>8}", "score", "exchange", "echo", "ratio")
}

fn number(number: f64) -> String {
    let digits = if number.abs() < 1_000.0 { 1 } else { 0 };
    format!("{number:.digits$}")
}

/// What a case measured so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Score(Arc<Mutex<Vec<Measurement>>>);

impl Score {
    /// One more number.
    pub fn add(&self, measurement: Measurement) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(measurement);
    }

    /// All numbers, in the order in which they came.
    pub fn taken(&self) -> Vec<Measurement> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
