//! One job: from the claim to the place where it is put away. Every step is on disk before the next begins, and every
//! one can be done again: after a crash a job goes on from where it was, or is tried again if nothing was decided.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use optivex_bundle::archive::{self, UnpackError};
use optivex_bundle::digest::SubmissionId;
use optivex_bundle::durable;
use optivex_bundle::manifest::Manifest;
use optivex_bundle::names::Name;
use optivex_bundle::progress::Event;
use optivex_bundle::spool::{BUNDLE, RECEIPT, Receipt, ResultFile, read_json};
use optivex_bundle::verdict::{JobResult, Verdict};

use super::context::Context as Daemon;
use super::judge::{Judged, Subject, Tests, Trial, one_line};
use super::ledger::Entry;
use super::queue::TRIES;
use super::report;
use super::state::{fresh, now, readable, seconds_between};
use super::told::Record;
use crate::sandbox::Cancel;

/// A claimed deployment.
pub(crate) struct Job<'a> {
    pub(crate) daemon: &'a Daemon,
    pub(crate) participant: Name,
    pub(crate) id: SubmissionId,
    pub(crate) receipt: Receipt,
}

/// Where a job runs.
pub(crate) struct Place<'a> {
    pub(crate) slot: &'a str,
    pub(crate) account: Option<u32>,
    pub(crate) cancel: &'a Cancel,
    pub(crate) tests: &'a Tests,
}

/// What came of a try.
pub(crate) enum Try {
    /// It is decided, and told.
    Over(Verdict),
    /// Our trouble: nothing is decided.
    Trouble(String),
}

impl<'a> Job<'a> {
    /// One that is in `claimed`.
    pub(crate) fn claimed(daemon: &'a Daemon, participant: &Name, id: SubmissionId) -> Result<Self> {
        let path = daemon.state.spool.claimed_job(participant, id).join(RECEIPT);
        let receipt = read_json(&path)?.with_context(|| path.display().to_string())?;
        Ok(Self {
            daemon,
            participant: participant.clone(),
            id,
            receipt,
        })
    }

    fn step(&self, what: &str) {
        self.daemon.steps.reached(what);
    }

    /// What it came to, if a result of this attempt is there: then nothing of it may change any more.
    pub(crate) fn decided(&self) -> Result<Option<JobResult>> {
        let path = self.result_file(ResultFile::Result);
        match self.daemon.state.spool.read_result(&self.participant, self.id) {
            Ok(result) => Ok(result.filter(|result| result.attempt >= self.receipt.attempt)),
            // Written whole or not at all: the disk did that. It is judged anew.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                tracing::error!("a result that cannot be read: {error}");
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Keeps why a try was lost, if that can be written.
    pub(crate) fn lost(&self, why: &str) {
        let state = &self.daemon.state;
        let kept = state.tries(&self.participant, self.id).and_then(|mut tries| {
            tries.troubles.push(one_line(why));
            state.keep_tries(&self.participant, self.id, &tries)
        });
        if let Err(error) = kept {
            tracing::warn!(participant = %self.participant, id = %self.id, "{error:#}");
        }
    }

    /// Tries it once.
    pub(crate) fn attempt(&self, place: &Place<'_>) -> Result<Try> {
        let state = &self.daemon.state;
        if let Some(result) = self.decided()? {
            // The try before this one could only not tell it.
            self.finish()?;
            return Ok(Try::Over(result.verdict));
        }
        let begun = Instant::now();
        let mut tries = state.tries(&self.participant, self.id)?;
        if tries.claimed.is_empty() {
            tries.claimed = now();
        }
        tries.begun += 1;
        if tries.begun > TRIES {
            // The daemon itself went down with each of them.
            return Ok(Try::Trouble(
                "UAT was interrupted too often while it was judged".to_owned(),
            ));
        }
        state.keep_tries(&self.participant, self.id, &tries)?;
        self.step("try begun");
        let mut stages = self.begin_stages(tries.begun)?;
        let result = self.try_in(place, &mut stages, begun);
        let judged = match result {
            Ok(judged) => judged,
            Err(error) => Ruling {
                judged: nothing(Verdict::Infrastructure {
                    why: one_line(&format!("{error:#}")),
                }),
                manifest: None,
                tests: None,
            },
        };
        if let Verdict::Infrastructure { why } = &judged.judged.verdict {
            tries.troubles.push(why.clone());
            state.keep_tries(&self.participant, self.id, &tries)?;
            self.step("trouble told");
            return Ok(Try::Trouble(why.clone()));
        }
        let ran = begun.elapsed().as_secs_f64();
        let verdict = judged.judged.verdict.clone();
        self.publish(&judged, ran)?;
        Ok(Try::Over(verdict))
    }

    fn try_in(&self, place: &Place<'_>, stages: &mut File, begun: Instant) -> Result<Ruling> {
        let daemon = self.daemon;
        let work = daemon.state.work(place.slot);
        fresh(&work)?;
        let tests = place.tests.clone();
        let app = work.join("app");
        let path = daemon.state.spool.claimed_job(&self.participant, self.id).join(BUNDLE);
        let mut bundle = File::open(&path).with_context(|| path.display().to_string())?;
        let limits = &daemon.bench.limits;
        let manifest = match archive::unpack(&mut bundle, &self.receipt.sha256, &app, limits) {
            Ok(manifest) => manifest,
            Err(UnpackError::Unsound(why)) => {
                return Ok(Ruling {
                    judged: nothing(Verdict::Refused { why }),
                    manifest: None,
                    tests: Some(tests),
                });
            }
            Err(UnpackError::Ours(error)) => return Err(error).context("unpacking"),
        };
        readable(&app)?;
        let unpacked = begun.elapsed().as_secs_f64();
        tell(stages, &Event::Installed)?;
        self.step("installed");
        let subject = Subject {
            app,
            start: manifest.start.clone(),
            env: Default::default(),
        };
        let trial = Trial {
            bench: &daemon.bench,
            tests: &tests,
            arguments: &daemon.config.tests.arguments,
            subject: &subject,
            work: &work,
            account: place.account,
            cancel: place.cancel,
        };
        let mut judged = trial.run(|event| tell(stages, event));
        judged.timings.insert("unpack".to_owned(), unpacked);
        self.step("tested");
        Ok(Ruling {
            judged,
            manifest: Some(manifest),
            tests: Some(tests),
        })
    }

    /// `stages.jsonl` from its beginning: what an interrupted try told is void.
    fn begin_stages(&self, attempt: u32) -> Result<File> {
        let folder = self.daemon.state.spool.result(&self.participant, self.id);
        durable::create_folders(&folder).with_context(|| folder.display().to_string())?;
        let path = self.stages_file();
        durable::write(&path, b"", 0o644).with_context(|| path.display().to_string())?;
        let mut file = OpenOptions::new().append(true).open(&path).context("stages.jsonl")?;
        tell(&mut file, &Event::Claimed { attempt })?;
        Ok(file)
    }

    fn stages_file(&self) -> PathBuf {
        self.result_file(ResultFile::Stages)
    }

    fn result_file(&self, file: ResultFile) -> PathBuf {
        self.daemon.state.spool.result_file(&self.participant, self.id, file)
    }

    /// Tells a verdict that no try came to.
    pub(crate) fn publish_untested(&self, verdict: Verdict) -> Result<()> {
        if self.decided()?.is_some() {
            return self.finish();
        }
        if !self.stages_file().exists() {
            self.begin_stages(0)?;
        }
        let ruling = Ruling {
            judged: nothing(verdict),
            manifest: None,
            tests: None,
        };
        self.publish(&ruling, 0.0)
    }

    /// Tells what it came to. The result itself comes last: from then on it is decided.
    fn publish(&self, ruling: &Ruling, ran: f64) -> Result<()> {
        for (file, bytes) in self.files(ruling, ran)? {
            let path = self.result_file(file);
            durable::write(&path, &bytes, 0o644).with_context(|| path.display().to_string())?;
            self.step(file.name());
        }
        self.finish()
    }

    /// All files of its result but `stages.jsonl`, `result.json` last.
    pub(crate) fn files(&self, ruling: &Ruling, ran: f64) -> Result<Vec<(ResultFile, Vec<u8>)>> {
        let result = self.result(ruling, ran)?;
        let bytes = serde_json::to_vec_pretty(&result)?;
        let log = match ruling.judged.log.is_empty() {
            true => b"It printed nothing, or was not started.\n".to_vec(),
            false => ruling.judged.log.clone(),
        };
        let junit = report::junit(&result, &ruling.judged.record.cases)?;
        Ok(vec![
            (ResultFile::Log, log),
            (ResultFile::Junit, junit.into_bytes()),
            (ResultFile::Html, report::html(&result).into_bytes()),
            (ResultFile::Markdown, report::markdown(&result).into_bytes()),
            (ResultFile::Signature, self.daemon.signer.sign(&bytes)?),
            (ResultFile::Result, bytes),
        ])
    }

    /// What is to be done once it is decided: also after a crash in the middle of it.
    pub(crate) fn finish(&self) -> Result<()> {
        let state = &self.daemon.state;
        let path = self.result_file(ResultFile::Result);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let result: JobResult = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
        self.tell_finished(&result.verdict)?;
        self.step("finished told");
        let entry = self.daemon.ledger.append(Entry::of(&result, &bytes, false))?;
        self.step("ledger");
        state.to_be_sent(&self.participant, self.id)?;
        self.step("outbox");
        durable::remove(&state.spool.cancel(&self.participant, self.id))?;
        self.step("cancel removed");
        state.put_away(&self.participant, self.id)?;
        self.step("put away");
        told(&result, &entry);
        Ok(())
    }

    fn tell_finished(&self, verdict: &Verdict) -> Result<()> {
        let path = self.stages_file();
        let told = std::fs::read_to_string(&path).unwrap_or_default();
        let last = told.lines().last().and_then(|line| serde_json::from_str(line).ok());
        if matches!(last, Some(Event::Finished { .. })) {
            return Ok(());
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .context("stages.jsonl")?;
        if !told.is_empty() && !told.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        tell(
            &mut file,
            &Event::Finished {
                verdict: verdict.clone(),
            },
        )?;
        file.sync_all().context("stages.jsonl")
    }

    fn result(&self, ruling: &Ruling, ran: f64) -> Result<JobResult> {
        let tries = self.daemon.state.tries(&self.participant, self.id)?;
        let finished = now();
        let judged = &ruling.judged;
        let claimed = if tries.claimed.is_empty() {
            &finished
        } else {
            &tries.claimed
        };
        Ok(JobResult {
            schema: JobResult::SCHEMA,
            participant: self.participant.clone(),
            id: self.id,
            attempt: self.receipt.attempt,
            verdict: judged.verdict.clone(),
            submission: self.receipt.sha256,
            size: self.receipt.size,
            tests: ruling.tests.as_ref().map(|tests| tests.digest),
            contract: ruling.tests.as_ref().map(|tests| tests.contract),
            commit: ruling.manifest.as_ref().map(|manifest| manifest.commit.clone()),
            dirty: ruling.manifest.as_ref().is_some_and(|manifest| manifest.dirty),
            seed: judged.record.seed,
            received: self.receipt.received.clone(),
            waited_seconds: seconds_between(&self.receipt.received, claimed),
            finished,
            ran_seconds: ran,
            stages: judged.record.stages.values().cloned().collect(),
            cases: judged.record.case_rows(),
            note: judged.note.clone(),
            troubles: tries.troubles,
            score: judged.record.score_rows(),
            timings: judged.timings.clone(),
        })
    }
}

/// The line of the log that each judged deployment gets.
pub(crate) fn told(result: &JobResult, entry: &Entry) {
    let failed = result
        .stages
        .iter()
        .find(|row| row.word() == "failed")
        .map_or("", |row| row.stage.as_str());
    tracing::info!(
        participant = %result.participant,
        id = %result.id,
        attempt = result.attempt,
        verdict = %result.verdict,
        failed_stage = failed,
        waited_s = result.waited_seconds,
        ran_s = result.ran_seconds,
        ledger = entry.number,
        "judged"
    );
}

/// What a try came to, with all that it was by.
pub(crate) struct Ruling {
    pub(crate) judged: Judged,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) tests: Option<Tests>,
}

/// What is to be told where nothing was tested.
pub(crate) fn nothing(verdict: Verdict) -> Judged {
    Judged {
        verdict,
        note: None,
        record: Record::default(),
        log: Vec::new(),
        timings: Default::default(),
    }
}

pub(crate) fn tell(stages: &mut File, event: &Event) -> Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    stages.write_all(&line).context("stages.jsonl")
}
