//! Numbers for Prometheus, as a file for node_exporter's textfile collector.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context as _, Result};
use optivex_bundle::durable;
use optivex_bundle::spool::{UatMode, UatStatus};
use optivex_bundle::verdict::Verdict;

use super::context::Context;
use super::{aside, disk};

/// What was counted since the ledger began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    by_verdict: BTreeMap<&'static str, u64>,
    /// Tries that we lost, since this process began.
    pub(crate) troubles: u64,
}

impl Counts {
    pub(crate) fn judged(&mut self, verdict: &Verdict) {
        *self.by_verdict.entry(verdict.word()).or_default() += 1;
    }
}

pub(crate) fn write(context: &Context, counts: &Counts, status: &UatStatus, running: usize) -> Result<()> {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        let _ = write!(
            text,
            "# HELP optivex_uat_{name} {help}\n# TYPE optivex_uat_{name} {kind}\n"
        );
        for (labels, value) in samples {
            let _ = writeln!(text, "optivex_uat_{name}{labels} {value}");
        }
    };
    let one = |value: u64| vec![(String::new(), value)];
    let verdicts: Vec<_> = counts
        .by_verdict
        .iter()
        .map(|(word, count)| (format!("{{verdict=\"{word}\"}}"), *count))
        .collect();
    let paused = matches!(status.mode, UatMode::Paused { .. } | UatMode::Draining);
    family(
        "results_total",
        "counter",
        "Deployments by what they came to.",
        &verdicts,
    );
    family(
        "lost_tries_total",
        "counter",
        "Tries that came to nothing by our fault.",
        &one(counts.troubles),
    );
    family(
        "waiting",
        "gauge",
        "Deployments that wait.",
        &one(status.queue.len() as u64),
    );
    family("running", "gauge", "Deployments that run.", &one(running as u64));
    family(
        "slots",
        "gauge",
        "Deployments that may run at a time.",
        &one(status.slots.into()),
    );
    family("paused", "gauge", "1 while nothing is started.", &one(paused.into()));
    family(
        "aside",
        "gauge",
        "Deployments that were set aside: somebody has to look.",
        &one(aside::all(&context.state.spool)?.len() as u64),
    );
    let free = disk::free(context.state.spool.root())?;
    family(
        "disk_free_bytes",
        "gauge",
        "Free on the spool's file system.",
        &one(free),
    );
    let path = context
        .config
        .metrics
        .clone()
        .unwrap_or_else(|| context.state.public("metrics.prom"));
    durable::write(&path, text.as_bytes(), 0o644).with_context(|| path.display().to_string())
}
