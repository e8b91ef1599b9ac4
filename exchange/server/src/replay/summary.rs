//! What came of a replay.

use std::fmt;
use std::time::Duration;

use optivex_proto::v1::Side;

use super::lobster::{Kind, Message};
use super::replica::Found;

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Instrument.
    pub symbol: String,
    /// Messages of type 1.
    pub inserts: u64,
    /// Messages of type 2.
    pub reductions: u64,
    /// Messages of type 3.
    pub deletions: u64,
    /// Messages of type 4.
    pub executions: u64,
    /// Messages of type 5.
    pub hidden_executions: u64,
    /// Messages of type 7.
    pub halts: u64,
    /// Executions that traded with the order that LOBSTER names.
    pub executions_checked: u64,
    /// Executions of which that cannot be told: of an order from before the recording, or at a price that
    /// was taken from a row. They were checked against price-time priority all the same.
    pub executions_unknown: u64,
    /// Levels compared with the recording.
    pub levels_compared: u64,
    /// Levels that came into view untold and were taken from the recording.
    pub levels_taken: u64,
    /// What was not as it must be: levels, trades, answers, reports.
    pub differences: u64,
    /// Commands that were answered, the seed not counted.
    pub commands: u64,
    /// How long the messages took.
    pub elapsed: Duration,
}

impl Summary {
    pub(super) fn new(symbol: &str) -> Self {
        Self {
            symbol: symbol.to_owned(),
            ..Self::default()
        }
    }

    /// Whether everything was as it must be.
    pub fn is_same(&self) -> bool {
        self.differences == 0
    }

    /// How many messages there were.
    pub fn messages(&self) -> u64 {
        self.inserts + self.reductions + self.deletions + self.executions + self.hidden_executions + self.halts
    }

    /// Share of the compared levels that were taken from the recording, in percent.
    pub fn taken_percent(&self) -> f64 {
        match self.levels_compared {
            0 => 0.0,
            compared => self.levels_taken as f64 * 100.0 / compared as f64,
        }
    }

    pub(super) fn count(&mut self, message: &Message) {
        *match message.kind {
            Kind::Insert(_) => &mut self.inserts,
            Kind::Reduce(_) => &mut self.reductions,
            Kind::Delete(_) => &mut self.deletions,
            Kind::Execute(_) => &mut self.executions,
            Kind::ExecuteHidden(_) => &mut self.hidden_executions,
            Kind::Halt(_) => &mut self.halts,
        } += 1;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 {
            self.commands as f64 / seconds
        } else {
            0.0
        };
        writeln!(f, "instrument             {}", self.symbol)?;
        writeln!(f, "messages               {}", self.messages())?;
        for (name, count) in [
            ("inserted", self.inserts),
            ("made smaller", self.reductions),
            ("deleted", self.deletions),
            ("traded", self.executions),
            ("traded hidden", self.hidden_executions),
            ("halts", self.halts),
        ] {
            writeln!(f, "  {name:<20} {count}")?;
        }
        writeln!(f, "trades with the order that the recording names")?;
        writeln!(f, "  {:<20} {}", "checked", self.executions_checked)?;
        writeln!(f, "  {:<20} {}", "order not known", self.executions_unknown)?;
        writeln!(f, "levels compared        {}", self.levels_compared)?;
        writeln!(
            f,
            "  {:<20} {} ({:.2}%): came into view, changed out of it",
            "taken from the row",
            self.levels_taken,
            self.taken_percent()
        )?;
        writeln!(
            f,
            "commands               {} in {seconds:.2} s, {rate:.0} a second",
            self.commands
        )?;
        write!(f, "differences            {}", self.differences)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == Side::Buy { "bid" } else { "ask" };
        write!(
            f,
            "{side} {}: {} lots, recorded {}",
            self.price_e4, self.ours, self.recorded
        )
    }
}
