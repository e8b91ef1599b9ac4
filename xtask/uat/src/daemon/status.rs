//! `uat-daemon status`.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use optivex_bundle::spool::UatMode;

use super::aside;
use super::context::Context;
use super::scoreboard::{Board, letter, sparkline};

pub(crate) fn status(context: &Context) -> Result<String> {
    let mut text = String::new();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let spool = &context.state.spool;
    match spool.read_status()? {
        None => text.push_str("The daemon never ran here.\n"),
        Some(status) => {
            let mode = match &status.mode {
                UatMode::Stopped => "ended".to_owned(),
                _ if !status.is_alive(now) => {
                    format!("down, last heard of {} s ago", now.saturating_sub(status.written))
                }
                UatMode::Running => "judging".to_owned(),
                UatMode::Paused { why } => format!("starts nothing: {why}"),
                UatMode::Draining => "draining".to_owned(),
            };
            let tests = status.tests.map_or("none".to_owned(), |tests| tests.to_string());
            let _ = write!(text, "daemon   {mode}\nslots    {}\ntests    {tests}\n", status.slots);
            for participant in spool.participants_claimed()? {
                for receipt in spool.claimed_receipts(&participant)? {
                    let _ = writeln!(
                        text,
                        "running  {participant}/{}, received {}",
                        receipt.id, receipt.received
                    );
                }
            }
            for (participant, id) in &status.queue {
                let _ = writeln!(text, "waiting  {participant}/{id}");
            }
        }
    }
    for aside in aside::all(spool)? {
        let _ = writeln!(
            text,
            "ASIDE    {}/{}: {}{}; see {}",
            aside.participant,
            aside.id,
            aside.why.as_deref().unwrap_or("nobody knows why"),
            if aside.told {
                ""
            } else {
                ", its participant was not told"
            },
            aside.place.display()
        );
    }
    let board = Board::read(context)?;
    if let Some(since) = &board.frozen {
        let _ = writeln!(text, "frozen   since {since}");
    }
    if board.rows.is_empty() {
        return Ok(text);
    }
    let stages: Vec<u32> = board.stages.keys().copied().collect();
    let heads: String = stages.iter().map(|number| format!("{number:>3}")).collect();
    let _ = write!(
        text,
        "\n{:<20}{heads}  {:<22}{:<26}{:<13}load\n",
        "", "verdict", "last change", "trend"
    );
    for (name, row) in board.ranked() {
        let letters: String = stages
            .iter()
            .map(|number| format!("{:>3}", letter(row.stages.get(number))))
            .collect();
        let verdict = row.verdict.as_ref().map_or("-", |verdict| verdict.word());
        let score = row.score.map_or_else(String::new, |score| format!("{score:.3}"));
        let trend = sparkline(&row.trend, stages.len());
        let _ = writeln!(
            text,
            "{:<20}{letters}  {verdict:<22}{:<26}{trend:<13}{score}",
            name.as_str(),
            row.last_change
        );
    }
    Ok(text)
}
