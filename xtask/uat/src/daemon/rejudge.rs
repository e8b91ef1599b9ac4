//! Judges deployments again that were judged before, by other tests: first a preview of what would change.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use optivex_bundle::archive::{self, UnpackError};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::durable;
use optivex_bundle::manifest::Manifest;
use optivex_bundle::names::Name;
use optivex_bundle::progress::Event;
use optivex_bundle::spool::{BUNDLE, RECEIPT, Receipt, ResultFile, read_json};
use optivex_bundle::verdict::{JobResult, Verdict};
use optivex_exit::Exit;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use super::context::{Account, Context};
use super::job::{Job, Ruling, nothing, tell, told};
use super::judge::{Judged, Subject, Tests, Trial};
use super::ledger::Entry;
use super::pinned;
use super::state::{fresh, readable, write_json};
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

/// Judges deployments again. There is one of these at a time.
#[derive(Debug)]
pub struct Rejudge<'a> {
    context: &'a Context,
    tests: Tests,
    apply: bool,
    _lock: File,
}

impl<'a> Rejudge<'a> {
    /// By these tests. With `apply` new results take the place of old ones, and the ledger says so.
    pub fn begin(context: &'a Context, tests: Digest, apply: bool) -> Result<Self> {
        let lock = context.state.try_lock("rejudge", "another rejudge")?;
        end_interrupted(context)?;
        Ok(Self {
            context,
            tests: pinned::unpacked(&context.tests_folder, tests, &context.state)?,
            apply,
            _lock: lock,
        })
    }

    /// Judges one again.
    pub fn judge(&self, participant: &Name, id: SubmissionId) -> Result<Change> {
        let (context, state) = (self.context, &self.context.state);
        let before = state
            .spool
            .read_result(participant, id)?
            .with_context(|| format!("{participant}/{id}: no result"))?;
        let done = state.done(participant, id);
        let receipt: Receipt = read_json(&done.join(RECEIPT))?
            .with_context(|| format!("{participant}/{id}: its bundle was removed to make room"))?;
        let work = state.work("rejudge");
        fresh(&work)?;
        let app = work.join("app");
        let mut bundle = File::open(done.join(BUNDLE)).context("its bundle")?;
        let began = std::time::Instant::now();
        let (judged, manifest) = match archive::unpack(&mut bundle, &receipt.sha256, &app, &context.bench.limits) {
            Ok(manifest) => (self.run(&work, app, &manifest)?, Some(manifest)),
            Err(UnpackError::Unsound(why)) => (nothing(Verdict::Refused { why }), None),
            Err(UnpackError::Ours(error)) => return Err(error).context("unpacking"),
        };
        if let Verdict::Infrastructure { why } = &judged.verdict {
            bail!("{participant}/{id}: {why}");
        }
        let after = judged.verdict.clone();
        let stages = differing(&before, &judged.record.stages.values().cloned().collect::<Vec<_>>());
        if self.apply {
            let job = Job {
                daemon: context,
                participant: participant.clone(),
                id,
                receipt,
            };
            let ruling = Ruling {
                judged,
                manifest,
                tests: Some(self.tests.clone()),
            };
            let files = job.files(&ruling, began.elapsed().as_secs_f64())?;
            replace(context, &before, files)?;
        }
        Ok(Change {
            participant: participant.clone(),
            id,
            before: before.verdict,
            after,
            stages,
        })
    }

    fn run(&self, work: &Path, app: PathBuf, manifest: &Manifest) -> Result<Judged> {
        readable(&app)?;
        let subject = Subject {
            app,
            start: manifest.start.clone(),
            env: Default::default(),
        };
        let trial = Trial {
            bench: &self.context.bench,
            tests: &self.tests,
            arguments: &self.context.config.tests.arguments,
            subject: &subject,
            work,
            account: self.context.account(Account::Rejudge),
            cancel: &Cancel::default(),
        };
        Ok(trial.run(|_| Ok(())))
    }
}

/// What is told beside a result that is about to take another's place: until the ledger has it too, it is nothing.
#[derive(Debug, Deserialize, Serialize)]
struct Intent {
    result: Digest,
    /// The folder that holds the new result before, and the old one after.
    other: PathBuf,
}

/// Puts a new result in the place of the old one: whole, and into the ledger, or not at all.
fn replace(context: &Context, before: &JobResult, files: Vec<(ResultFile, Vec<u8>)>) -> Result<()> {
    let (participant, id) = (&before.participant, before.id);
    let (state, spool) = (&context.state, &context.state.spool);
    let place = spool.result(participant, id);
    let other = spool
        .results(participant)
        .join(format!(".{id}.{}.tmp", durable::unique()));
    let (_, bytes) = files.last().context("there is a result among its files")?;
    let intent = Intent {
        result: Digest::of(bytes),
        other,
    };
    let after: JobResult = serde_json::from_slice(bytes)?;
    // First of all: whatever is left after a crash is known by it.
    write_json(&intent_of(context, participant, id)?, &intent)?;
    context.steps.reached("intent");
    durable::create_folders(&intent.other).with_context(|| intent.other.display().to_string())?;
    for (file, bytes) in &files {
        let path = intent.other.join(file.name());
        durable::write(&path, bytes, 0o644).with_context(|| path.display().to_string())?;
    }
    let mut stages = durable::create_new(&intent.other.join(ResultFile::Stages.name()), 0o644)?;
    let verdict = after.verdict;
    tell(&mut stages, &Event::Finished { verdict })?;
    stages.sync_all().context("stages.jsonl")?;
    durable::sync_folder(&intent.other)?;
    context.steps.reached("written beside");
    {
        let _lock = state.lock("results")?;
        // It may have been handed over again meanwhile, if it was not judged before.
        let now = spool.read_result(participant, id)?;
        if now.as_ref() != Some(before) || spool.claimed_job(participant, id).exists() {
            drop_intent(context, participant, id, &intent)?;
            bail!("{participant}/{id} was handed over again meanwhile: that counts");
        }
        renameat_with(CWD, &intent.other, CWD, &place, RenameFlags::EXCHANGE)
            .with_context(|| format!("{} for {}", intent.other.display(), place.display()))?;
        durable::sync_folder(&spool.results(participant))?;
        context.steps.reached("exchanged");
        conclude(context, participant, id)?;
    }
    state.to_be_sent(participant, id)?;
    context.steps.reached("rejudged to be sent");
    drop_intent(context, participant, id, &intent)?;
    context.steps.reached("intent dropped");
    Ok(())
}

/// The ledger says so.
fn conclude(context: &Context, participant: &Name, id: SubmissionId) -> Result<()> {
    let path = context.state.spool.result_file(participant, id, ResultFile::Result);
    let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
    let result: JobResult = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
    let entry = context.ledger.append(Entry::of(&result, &bytes, true))?;
    context.steps.reached("rejudged in the ledger");
    told(&result, &entry);
    Ok(())
}

fn intent_of(context: &Context, participant: &Name, id: SubmissionId) -> Result<PathBuf> {
    let folder = context.state.file("rejudged").join(participant.as_str());
    durable::create_folders(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join(id.to_string()))
}

fn drop_intent(context: &Context, participant: &Name, id: SubmissionId, intent: &Intent) -> Result<()> {
    match fs::remove_dir_all(&intent.other) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| intent.other.display().to_string());
        }
        _ => {}
    }
    Ok(durable::remove(&intent_of(context, participant, id)?)?)
}

/// Ends what a rejudge that died has begun: what took its place is told, what did not is void. Unless one runs now.
pub(super) fn recover(context: &Context) -> Result<()> {
    match context.state.try_lock("rejudge", "a rejudge") {
        Ok(_lock) => end_interrupted(context),
        Err(error) if optivex_exit::code_of(&error) == Exit::Locked => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a rejudge is between the two.
pub(super) fn is_underway(context: &Context, participant: &Name, id: SubmissionId) -> bool {
    intent_of(context, participant, id).is_ok_and(|path| path.exists())
}

fn end_interrupted(context: &Context) -> Result<()> {
    let root = context.state.file("rejudged");
    for folder in fs::read_dir(&root)
        .with_context(|| root.display().to_string())?
        .flatten()
    {
        let Some(participant) = folder.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
            continue;
        };
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let Some(id) = file.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // One that cannot be ended is no reason to leave the others.
            end(context, &participant, id, &file.path())
                .unwrap_or_else(|error| tracing::error!(%participant, %id, "a rejudge that did not end: {error:#}"));
        }
    }
    Ok(())
}

fn end(context: &Context, participant: &Name, id: SubmissionId, intent: &Path) -> Result<()> {
    let Some(intent) = read_json::<Intent>(intent)? else {
        return Ok(());
    };
    let path = context.state.spool.result_file(participant, id, ResultFile::Result);
    if fs::read(&path).is_ok_and(|bytes| Digest::of(&bytes) == intent.result) {
        tracing::info!(%participant, %id, "judged again before the end of a rejudge: telling it");
        conclude(context, participant, id)?;
        context.state.to_be_sent(participant, id)?;
    }
    drop_intent(context, participant, id, &intent)
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
