//! What became of one's deployments, as it happens; and that one of them is to end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::time::{Duration, Instant, UNIX_EPOCH};

use optivex_bundle::delivery;
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::durable;
use optivex_bundle::manifest::printable;
use optivex_bundle::spool::{Receipt, ResultFile, State, UatMode};
use optivex_bundle::wire::{Answer, Reason};

use super::{Answers, Gate, Stop, no};

/// How often a follower looks.
const LOOK: Duration = Duration::from_millis(100);

/// How often a follower hears that the connection lives.
const ALIVE: Duration = Duration::from_secs(10);

impl Gate<'_> {
    pub(super) fn status(
        &mut self,
        id: Option<SubmissionId>,
        follow: Option<u64>,
        answers: &mut Answers<'_>,
    ) -> Result<(), Stop> {
        let notes = self.notes(None)?;
        answers.tell(&Answer::Uat { notes })?;
        if let Some(offset) = follow {
            let id = self.job(id)?.0.id;
            return self.follow(id, offset, answers);
        }
        let jobs = match id {
            Some(_) => vec![self.job(id)?],
            None => self.newest()?,
        };
        for (receipt, state) in jobs {
            answers.tell(&Answer::Job { receipt, state })?;
        }
        Ok(())
    }

    pub(super) fn cancel(&self, id: SubmissionId, answers: &mut Answers<'_>) -> Result<(), Stop> {
        let (receipt, state) = self.job(Some(id))?;
        if let State::Done { verdict } = state {
            return Err(no(
                Reason::Over,
                format!("{id} is over already: {}", printable(&verdict.to_string())),
            ));
        }
        let path = self.spool.cancel(self.participant, id);
        if let Some(folder) = path.parent() {
            durable::create_folders(folder)?;
        }
        durable::write(&path, b"", 0o600)?;
        answers.tell(&Answer::Job { receipt, state })
    }

    /// The one that is meant.
    pub(super) fn job(&self, id: Option<SubmissionId>) -> Result<(Receipt, State), Stop> {
        match id {
            Some(id) => self.spool.state(self.participant, id)?.ok_or_else(|| {
                no(
                    Reason::Unknown,
                    format!("you have no deployment {id}: it was not submitted, or it is long gone"),
                )
            }),
            None => self
                .newest()?
                .into_iter()
                .next()
                .ok_or_else(|| no(Reason::Unknown, "you have not deployed anything yet")),
        }
    }

    /// The participant's deployments, newest first; as many as are listed.
    fn newest(&self) -> Result<Vec<(Receipt, State)>, Stop> {
        let listed = usize::try_from(self.limits.listed).unwrap_or(usize::MAX);
        let mut ids: Vec<SubmissionId> = Vec::new();
        for receipts in [
            self.spool.waiting_receipts(self.participant)?,
            self.spool.claimed_receipts(self.participant)?,
        ] {
            ids.extend(receipts.iter().map(|receipt| receipt.id));
        }
        let mut results = Vec::new();
        for id in self.spool.result_ids(self.participant)? {
            let path = self.spool.result_file(self.participant, id, ResultFile::Result);
            // The growing ones are in `claimed`.
            if let Ok(changed) = fs::metadata(path).and_then(|file| file.modified()) {
                results.push((changed, id));
            }
        }
        results.sort();
        ids.extend(results.iter().rev().take(listed).map(|(_, id)| *id));
        ids.sort();
        ids.dedup();
        let mut jobs = Vec::new();
        for id in ids {
            jobs.extend(self.spool.state(self.participant, id)?);
        }
        jobs.sort_by(|(a, _), (b, _)| b.received.cmp(&a.received));
        jobs.truncate(listed);
        Ok(jobs)
    }

    /// What there is to know of UAT, a line each.
    pub(super) fn notes(&self, theirs: Option<&Digest>) -> Result<Vec<String>, Stop> {
        let mut notes = Vec::new();
        let Some(status) = self.spool.read_status()? else {
            notes.push(
                "UAT's daemon has never run: deployments are kept, and judged once it does; tell the program managers"
                    .to_owned(),
            );
            return Ok(notes);
        };
        let now = (self.now)().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        if !status.is_alive(now) {
            let since =
                humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(status.written.min(1 << 40)));
            notes.push(format!(
                "UAT's daemon is down since {since}: deployments are kept, and judged once it is back; tell the program \
                 managers"
            ));
        }
        match &status.mode {
            UatMode::Running | UatMode::Stopped => {}
            UatMode::Paused { why } => notes.push(format!(
                "UAT is paused: {}. Deployments are taken, and judged when it goes on",
                printable(why)
            )),
            UatMode::Draining => notes.push(
                "UAT's daemon ends after what is running: deployments are taken, and judged when it is back".to_owned(),
            ),
        }
        if let (Some(theirs), Some(ours)) = (theirs, &status.contract)
            && theirs != ours
        {
            notes.push(
                "your proto/ is not the contract that UAT tests by: take proto/ and system-tests/ from the current \
                 template, or expect failures that you do not see at home"
                    .to_owned(),
            );
        }
        Ok(notes)
    }

    /// Tells what happens, until it is over.
    fn follow(&mut self, id: SubmissionId, mut offset: u64, answers: &mut Answers<'_>) -> Result<(), Stop> {
        let mut told = None;
        let mut quiet = Instant::now();
        loop {
            // Before the events: when it is over, all of them are there.
            let (receipt, state) = self.job(Some(id))?;
            if !matches!(state, State::Waiting { .. }) {
                let next = self.events(id, offset, answers)?;
                if next != offset {
                    offset = next;
                    quiet = Instant::now();
                }
            }
            let over = matches!(state, State::Done { .. });
            if told.as_ref() != Some(&state) {
                answers.tell(&Answer::Job {
                    receipt,
                    state: state.clone(),
                })?;
                told = Some(state);
                quiet = Instant::now();
            }
            if over {
                return Ok(());
            }
            if Instant::now() >= self.deadline {
                return Err(Stop::Again);
            }
            if quiet.elapsed() >= ALIVE {
                answers.tell(&Answer::Alive)?;
                quiet = Instant::now();
            }
            (self.pause)(LOOK);
        }
    }

    /// Tells whole lines from an offset on; the offset behind them.
    fn events(&self, id: SubmissionId, offset: u64, answers: &mut Answers<'_>) -> Result<u64, Stop> {
        let path = self.spool.result_file(self.participant, id, ResultFile::Stages);
        let Some(mut file) = delivery::open(&path, self.limits)? else {
            return Ok(offset);
        };
        let length = file.metadata()?.len();
        // Begun anew: another attempt.
        let mut offset = if offset > length { 0 } else { offset };
        file.seek(SeekFrom::Start(offset))?;
        let mut lines = BufReader::new(file.take(self.limits.result_file_bytes));
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = lines.read_until(b'\n', &mut line)? as u64;
            if line.last() != Some(&b'\n') {
                // Still being written.
                return Ok(offset);
            }
            offset += count;
            // A line that is no event is no news.
            if count < self.limits.answer_bytes
                && let Ok(event) = serde_json::from_slice(&line)
            {
                answers.tell(&Answer::Progress { next: offset, event })?;
            }
        }
    }
}
