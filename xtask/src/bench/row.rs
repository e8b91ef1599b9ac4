//! One result of a benchmark: a JSON object on a line of its own on standard output.
//!
//! | field | is |
//! |---|---|
//! | `bench`, `case` | text: the benchmark, and what of it |
//! | `unit` | text: of `median` and `baseline` |
//! | `median` | number: median of the rounds |
//! | `spread` | number: (most − least) ÷ median, of the rounds |
//! | `baseline` | number or null: the baseline's median |
//! | `ratio` | number or null: median of the rounds' own ÷ baseline |
//! | `goal` | text or null: what is to be reached |
//! | `met` | true, false or null |

use std::fmt;

use serde_json::Value;

/// A spread above this says that the machine had other things to do.
const SPREAD_MAX: f64 = 1.0 / 3.0;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) bench: String,
    pub(crate) case: String,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) spread: Option<f64>,
    pub(crate) baseline: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: Option<String>,
    pub(crate) met: Option<bool>,
}

impl Row {
    /// The row that a line is, if it is one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line.trim()).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            bench: text("bench")?,
            case: text("case")?,
            unit: text("unit")?,
            median: value["median"].as_f64()?,
            spread: value["spread"].as_f64(),
            baseline: value["baseline"].as_f64(),
            ratio: value["ratio"].as_f64(),
            goal: text("goal"),
            met: value["met"].as_bool(),
        })
    }

    /// The columns of the table.
    pub(crate) fn columns(&self) -> [String; 8] {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        [
            self.bench.clone(),
            self.case.clone(),
            format!("{} {}", number(self.median), self.unit),
            or_dash(self.spread.map(|spread| format!("{:.0}%", spread * 100.0))),
            or_dash(self.baseline.map(number)),
            or_dash(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            or_dash(self.goal.clone()),
            or_dash(self.met.map(|met| self.verdict(met))),
        ]
    }

    /// Whether the goal is met, and whether that is worth anything.
    fn verdict(&self, met: bool) -> String {
        let word = if met { "yes" } else { "**no**" };
        let busy = self.spread.is_some_and(|spread| spread > SPREAD_MAX);
        format!("{word}{}", if busy { ", busy" } else { "" })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, case, median, spread, _, ratio, goal, met] = self.columns();
        write!(
            f,
            "{case}: {median}, spread {spread}, ratio {ratio}, goal {goal}, met {met}"
        )
    }
}

/// A number for people: digits that count, and a mark between thousands.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_from_other_lines() {
        let row = r#"{"bench":"order_path","case":"x","unit":"µs","median":1234567.0,"spread":0.125,
            "baseline":2000000,"ratio":0.617,"goal":"ratio ≥ 0.75","met":false}"#;
        let row = Row::parse(&row.replace('\n', "")).expect("a row");
        assert_eq!(
            row.columns(),
            [
                "order_path",
                "x",
                "1,234,567 µs",
                "12%",
                "2,000,000",
                "0.62",
                "ratio ≥ 0.75",
                "**no**"
            ]
        );
        let busy = Row {
            spread: Some(0.34),
            ..row
        };
        assert_eq!(busy.columns()[7], "**no**, busy");
        let bare = r#"{"bench":"a","case":"b","unit":"s","median":1.5,"spread":null,"baseline":null,"ratio":null,"goal":null,"met":null}"#;
        assert_eq!(
            Row::parse(bare).expect("a row").columns(),
            ["a", "b", "1.50 s", "–", "–", "–", "–", "–"]
        );
        for other in [
            "",
            "running 3 tests",
            "{}",
            "[1]",
            r#"{"bench":"a","case":"b","unit":"s"}"#,
        ] {
            assert_eq!(Row::parse(other), None, "{other}");
        }
    }

    #[test]
    fn numbers() {
        for (value, text) in [
            (0.5, "0.50"),
            (-12.34, "-12.3"),
            (999.6, "1,000"),
            (-123456.0, "-123,456"),
            (1e6, "1,000,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
