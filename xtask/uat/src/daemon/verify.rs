//! Checks everything that was ever judged: the ledger's chain, the results that it names, their signatures.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::names::Name;
use optivex_bundle::spool::ResultFile;

use super::context::Context;
use super::ledger::Entry;
use super::rejudge;

/// What `verify` found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Lines of the ledger.
    pub entries: usize,
    /// Hash of its last line.
    pub head: Option<Digest>,
    /// Results that are as they were judged.
    pub sound: usize,
    /// Results that were removed to make room.
    pub removed: usize,
    /// What is wrong, in one line each.
    pub wrong: Vec<String>,
}

/// Checks. Beside a daemon that judges: what it tells in the meantime is right when it is looked at again.
pub fn verify(context: &Context) -> Result<Findings> {
    let findings = look(context)?;
    match findings.wrong.is_empty() {
        true => Ok(findings),
        false => look(context),
    }
}

fn look(context: &Context) -> Result<Findings> {
    let read = context.ledger.read()?;
    let mut findings = Findings {
        entries: read.entries.len(),
        head: read.head,
        ..Findings::default()
    };
    // Of what was judged more than once the newest result is there.
    let newest: BTreeMap<(&Name, SubmissionId), &Entry> = read
        .entries
        .iter()
        .map(|entry| ((&entry.participant, entry.id), entry))
        .collect();
    let spool = &context.state.spool;
    for ((participant, id), entry) in &newest {
        let at = |file| spool.result_file(participant, *id, file);
        if is_underway(context, participant, *id) {
            continue;
        }
        let wrong = |what: String| format!("{participant}/{id}: {what}");
        let bytes = match fs::read(at(ResultFile::Result)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                findings.removed += 1;
                continue;
            }
            Err(error) => return Err(error).with_context(|| at(ResultFile::Result).display().to_string()),
        };
        if Digest::of(&bytes) != entry.result {
            findings.wrong.push(wrong(format!(
                "result.json is not the one of line {} of the ledger",
                entry.number + 1
            )));
        } else if let Err(error) = context.signer.verify(&bytes, &at(ResultFile::Signature)) {
            findings.wrong.push(wrong(format!("{error:#}")));
        } else {
            findings.sound += 1;
        }
    }
    for folder in fs::read_dir(spool.root().join("results"))?.flatten() {
        let Some(participant) = folder.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
            continue;
        };
        for id in spool.result_ids(&participant)? {
            let there = spool.result_file(&participant, id, ResultFile::Result).exists();
            if there && !newest.contains_key(&(&participant, id)) && !is_underway(context, &participant, id) {
                findings
                    .wrong
                    .push(format!("{participant}/{id}: a result that is not in the ledger"));
            }
        }
    }
    Ok(findings)
}

/// Whether its result is being told just now: then it and the ledger differ for a moment.
fn is_underway(context: &Context, participant: &Name, id: SubmissionId) -> bool {
    context.state.spool.claimed_job(participant, id).exists() || rejudge::is_underway(context, participant, id)
}
