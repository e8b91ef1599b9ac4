//! One line of the table that `cargo xtask bench` prints: a JSON object on standard output. What its fields mean is
//! told where they are read, in `xtask/src/bench/row.rs`.

/// What a case is measured against.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At least so much of the baseline.
    Ratio(f64),
    /// At most so much of the baseline.
    RatioAtMost(f64),
    /// At most so much, in the row's unit.
    AtMost(f64),
    /// None: the number stands for itself.
    None,
}

/// The rounds of one case.
pub struct Row<'a> {
    /// The benchmark.
    pub bench: &'a str,
    /// What of it.
    pub case: &'a str,
    /// Of the rounds and the baseline.
    pub unit: &'a str,
    /// One value a round.
    pub rounds: &'a [f64],
    /// The baseline's, round by round; empty without one.
    pub baseline: &'a [f64],
    /// What is to be reached.
    pub goal: Goal,
}

impl Row<'_> {
    /// Prints the row. A ratio is the median of the ratios of the rounds: what else the machine does
    /// changes from one round to the next.
    pub fn print(&self) {
        let middle = median(self.rounds);
        let least = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let ratios: Vec<f64> = self
            .rounds
            .iter()
            .zip(self.baseline)
            .map(|(own, base)| own / base)
            .collect();
        let ratio = (!ratios.is_empty()).then(|| median(&ratios));
        let (goal, met) = match self.goal {
            Goal::Ratio(goal) => (Some(format!("ratio ≥ {goal}")), ratio.map(|ratio| ratio >= goal)),
            Goal::RatioAtMost(goal) => (Some(format!("ratio ≤ {goal}")), ratio.map(|ratio| ratio <= goal)),
            Goal::AtMost(goal) => (Some(format!("≤ {goal} {}", self.unit)), Some(middle <= goal)),
            Goal::None => (None, None),
        };
        let row = serde_json::json!({
            "bench": self.bench,
            "case": self.case,
            "unit": self.unit,
            "median": rounded(middle),
            "spread": (self.rounds.len() > 1).then(|| rounded((most - least) / middle)),
            "baseline": (!self.baseline.is_empty()).then(|| rounded(median(self.baseline))),
            "ratio": ratio.map(rounded),
            "goal": goal,
            "met": met,
        });
        println!("{row}");
    }
}

/// Four digits that count.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The middle value, or the mean of the two in the middle; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}
