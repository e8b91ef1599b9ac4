//! Judges deployments again that were judged before, by other tests: first a preview of what would change.

use std::fs::File;

use anyhow::{Context as _, Result, bail};
use optivex_bundle::archive;
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::names::Name;
use optivex_bundle::spool::{BUNDLE, RECEIPT, Receipt, read_json};
use optivex_bundle::verdict::{JobResult, Verdict};

use super::context::Context;
use super::job::{Job, Ruling};
use super::judge::{Subject, Trial};
use super::pinned;
use super::state::{fresh, readable};
use crate::sandbox::Cancel;

/// What one deployment comes to by the other tests.
#[derive(Debug)]
pub struct Change {
    /// Whose.
    pub participant: Name,
    /// Which.
    pub id: SubmissionId,
    /// What it came to before.
    pub before: Verdict,
    /// What it comes to now.
    pub after: Verdict,
    /// Stages that differ: slug, before, after.
    pub stages: Vec<(String, String, String)>,
}

/// Judges one again. With `apply` the new result takes the old one's place, and the ledger says so.
pub fn rejudge(context: &Context, participant: &Name, id: SubmissionId, tests: Digest, apply: bool) -> Result<Change> {
    let state = &context.state;
    let before = state
        .spool
        .read_result(participant, id)?
        .with_context(|| format!("{participant}/{id}: no result"))?;
    let done = state.done(participant, id);
    let receipt: Receipt = read_json(&done.join(RECEIPT))?
        .with_context(|| format!("{participant}/{id}: its bundle was removed to make room"))?;
    let tests = pinned::unpacked(&context.tests_folder, tests, state)?;
    let work = state.work("rejudge");
    fresh(&work)?;
    let app = work.join("app");
    let mut bundle = File::open(done.join(BUNDLE)).context("its bundle")?;
    let manifest = archive::unpack(&mut bundle, &receipt.sha256, &app, &context.bench.limits)?;
    readable(&app)?;
    let subject = Subject {
        app,
        start: manifest.start.clone(),
        env: Default::default(),
    };
    let began = std::time::Instant::now();
    let judged = Trial {
        bench: &context.bench,
        tests: &tests,
        arguments: &context.config.tests.arguments,
        subject: &subject,
        work: &work,
        // Behind those of the slots and of the self-test.
        account: context.account(context.config.slots() + 1),
        cancel: &Cancel::default(),
    }
    .run(|_| Ok(()));
    if let Verdict::Infrastructure { why } = &judged.verdict {
        bail!("{participant}/{id}: {why}");
    }
    let after = judged.verdict.clone();
    let stages = differing(&before, &judged.record.stages.values().cloned().collect::<Vec<_>>());
    if apply {
        let job = Job {
            daemon: context,
            participant: participant.clone(),
            id,
            receipt,
        };
        let ruling = Ruling {
            judged,
            manifest: Some(manifest),
            tests: Some(tests),
        };
        job.publish(&ruling, began.elapsed().as_secs_f64(), true)?;
    }
    Ok(Change {
        participant: participant.clone(),
        id,
        before: before.verdict,
        after,
        stages,
    })
}

fn differing(before: &JobResult, after: &[optivex_bundle::verdict::StageRow]) -> Vec<(String, String, String)> {
    let none = || "not run".to_owned();
    let mut stages: Vec<&str> = before
        .stages
        .iter()
        .chain(after)
        .map(|row| row.stage.as_str())
        .collect();
    stages.sort_unstable();
    stages.dedup();
    let word = |rows: &[optivex_bundle::verdict::StageRow], stage: &str| {
        rows.iter()
            .find(|row| row.stage == stage)
            .map_or_else(none, |row| row.word().to_owned())
    };
    stages
        .into_iter()
        .map(|stage| (stage.to_owned(), word(&before.stages, stage), word(after, stage)))
        .filter(|(_, before, after)| before != after)
        .collect()
}
