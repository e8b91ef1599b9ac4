//! Files that go back: a result's, by their closed set of names, and the log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::spool::{ResultFile, State};
use optivex_bundle::wire::{Answer, Reason};
use rustix::fs::{Mode, OFlags};

use super::{Answers, Gate, Stop, no};

impl Gate<'_> {
    pub(super) fn results(&self, id: Option<SubmissionId>, answers: &mut Answers<'_>) -> Result<(), Stop> {
        let (receipt, state) = self.job(id)?;
        let id = receipt.id;
        if !matches!(state, State::Done { .. }) {
            return Err(no(Reason::NotYet, format!("{id} is not over yet")));
        }
        answers.tell(&Answer::Job { receipt, state })?;
        for name in ResultFile::ALL {
            let path = self.spool.result_file(self.participant, id, name);
            let Some((mut file, _)) = open_file(&path, self.limits.result_file_bytes)? else {
                continue;
            };
            // Hashed as it is sent: the daemon may add to none of these files, now that it is over.
            let (sha256, size) = Digest::of_reader((&mut file).take(self.limits.result_file_bytes))?;
            file.seek(SeekFrom::Start(0))?;
            answers.tell(&Answer::File { name, size, sha256 })?;
            let mut left = size;
            let mut buffer = vec![0; 64 << 10];
            while left > 0 {
                let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
                match file.read(&mut buffer[..most])? {
                    // It must not be cut short in silence: the bytes were announced.
                    0 => return Err(Stop::Gone(io::ErrorKind::UnexpectedEof.into())),
                    count => {
                        answers.bytes(&buffer[..count])?;
                        left -= count as u64;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn logs(&self, id: Option<SubmissionId>, from: u64, answers: &mut Answers<'_>) -> Result<(), Stop> {
        let id = self.job(id)?.0.id;
        let path = self.spool.result_file(self.participant, id, ResultFile::Log);
        let Some((mut file, length)) = open_file(&path, self.limits.result_file_bytes)? else {
            return Err(no(Reason::NotYet, format!("{id} has no log (yet)")));
        };
        let mut next = from.min(length);
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

/// A regular file, no link to one, and its length; none if there is none.
pub(super) fn open_file(path: &Path, limit: u64) -> io::Result<Option<(File, u64)>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(error) if error == rustix::io::Errno::NOENT => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > limit {
        return Err(io::Error::other(format!(
            "{} is not a file of a result",
            path.display()
        )));
    }
    Ok(Some((file, metadata.len())))
}
