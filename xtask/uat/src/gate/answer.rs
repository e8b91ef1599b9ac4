//! Files that go back: a result's, by their closed set of names, and the log.

use std::io::{Read, Seek, SeekFrom};

use optivex_bundle::delivery::{self, SendError};
use optivex_bundle::digest::SubmissionId;
use optivex_bundle::spool::{ResultFile, State};
use optivex_bundle::wire::{Answer, Reason};

use super::{Answers, Gate, Stop, no};

impl Gate<'_> {
    pub(super) fn results(&self, id: Option<SubmissionId>, answers: &mut Answers<'_>) -> Result<(), Stop> {
        let (receipt, state) = self.job(id)?;
        let id = receipt.id;
        if !matches!(state, State::Done { .. }) {
            return Err(no(Reason::NotYet, format!("{id} is not over yet")));
        }
        let folder = self.spool.result(self.participant, id);
        delivery::send(answers.out, &receipt, &state, &folder, self.limits).map_err(|error| match error {
            SendError::Read(error) => Stop::Ours(error),
            SendError::Write(error) => Stop::Gone(error),
        })
    }

    pub(super) fn logs(&self, id: Option<SubmissionId>, from: u64, answers: &mut Answers<'_>) -> Result<(), Stop> {
        let id = self.job(id)?.0.id;
        let path = self.spool.result_file(self.participant, id, ResultFile::Log);
        let Some(mut file) = delivery::open(&path, self.limits)? else {
            return Err(no(Reason::NotYet, format!("{id} has no log (yet)")));
        };
        let mut next = from.min(file.metadata()?.len());
        file.seek(SeekFrom::Start(next))?;
        let mut buffer = vec![0; 32 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                count => {
                    next += count as u64;
                    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    answers.tell(&Answer::Log { next, text })?;
                }
            }
        }
    }
}
