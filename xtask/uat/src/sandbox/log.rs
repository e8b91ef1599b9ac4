//! What a submission prints: its beginning and its newest, in files of bounded size.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use super::spec::out;

/// Times its limit that a submission may print: what is more than the limit is cut off, what is more than this is no
/// log any more.
const PRINTED_MAX: u64 = 32;
/// Bytes for the error message of a sandbox that did not start.
const NEWEST: usize = 2000;

/// The log of one launch.
#[derive(Clone)]
pub(crate) struct PrintedLog(Arc<Mutex<Files>>);

struct Files {
    folder: PathBuf,
    number: u32,
    limit: u64,
    printed: u64,
    head: File,
    tail: Option<File>,
    in_tail: u64,
    newest: VecDeque<u8>,
}

impl PrintedLog {
    pub(crate) fn open(folder: &Path, number: u32, limit: u64) -> Result<Self> {
        let head = File::create(folder.join(format!("log-{number}.head"))).context("the log")?;
        Ok(Self(Arc::new(Mutex::new(Files {
            folder: folder.to_owned(),
            number,
            limit,
            printed: 0,
            head,
            tail: None,
            in_tail: 0,
            newest: VecDeque::new(),
        }))))
    }

    /// Reads a stream to its end, keeps it, and passes it on to the tests, which tell its newest lines.
    pub(crate) fn follow(
        &self,
        mut stream: impl Read + Send + 'static,
        mut onwards: impl Write + Send + 'static,
    ) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            let mut chunk = vec![0; 64 << 10];
            loop {
                match stream.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(length) => {
                        // A log that cannot be kept is no reason to stop whoever prints it.
                        let _ = log.lock().keep(&chunk[..length]);
                        let _ = onwards.write_all(&chunk[..length]).and_then(|()| onwards.flush());
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        })
    }

    pub(crate) fn newest(&self) -> String {
        let newest: Vec<u8> = self.lock().newest.iter().copied().collect();
        String::from_utf8_lossy(&newest).trim().to_owned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn keep(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.newest.extend(bytes);
        let surplus = self.newest.len().saturating_sub(NEWEST);
        self.newest.drain(..surplus);

        let room = usize::try_from((self.limit / 4).saturating_sub(self.printed)).unwrap_or(usize::MAX);
        self.printed += bytes.len() as u64;
        if self.printed > self.limit.saturating_mul(PRINTED_MAX) {
            File::create(self.folder.join(out::OVER_LOG))?;
            return Ok(());
        }
        let (head, tail) = bytes.split_at(room.min(bytes.len()));
        self.head.write_all(head)?;
        if tail.is_empty() {
            return Ok(());
        }
        // Two files of an eighth each: the newer one, and the one before it.
        if self.in_tail > self.limit / 8 {
            self.tail = None;
            std::fs::rename(self.tail_path("new"), self.tail_path("old"))?;
        }
        if self.tail.is_none() {
            self.tail = Some(
                OpenOptions::new()
                    .create(true)
                    .write(true)
                    .truncate(true)
                    .open(self.tail_path("new"))?,
            );
            self.in_tail = 0;
        }
        if let Some(file) = &mut self.tail {
            file.write_all(tail)?;
            self.in_tail += tail.len() as u64;
        }
        Ok(())
    }

    fn tail_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("log-{}.{name}", self.number))
    }
}

/// The log of all launches of a cell, at most `limit` bytes: cut in the middle.
pub(crate) fn collect(folder: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
    let mut cut = 0;
    for number in 1.. {
        if !folder.join(format!("launch-{number}")).exists() {
            break;
        }
        all.extend(format!("=== start {number} ===\n").bytes());
        for (part, note) in [("head", ""), ("old", "\n=== … ===\n"), ("new", "")] {
            let path = folder.join(format!("log-{number}.{part}"));
            match std::fs::read(&path) {
                Ok(bytes) => {
                    all.extend(note.bytes());
                    all.extend(bytes);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        if !all.ends_with(b"\n") {
            all.push(b'\n');
        }
        // In between, so that many long logs never are in memory together.
        if all.len() > half * 2 {
            let surplus = all.len() - half * 2;
            cut += surplus;
            all.drain(half..half + surplus);
        }
    }
    if cut > 0 {
        let note = format!("\n=== {cut} bytes were cut out here ===\n");
        all.splice(half..half, note.bytes());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_newest_are_kept_within_the_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let limit = 800;
        File::create(path.join("launch-1")).expect("a file");
        let log = PrintedLog::open(path, 1, limit).expect("a log");
        for number in 0..1000 {
            log.lock().keep(format!("line {number}\n").as_bytes()).expect("kept");
        }
        let text = String::from_utf8(collect(path, limit).expect("collected")).expect("text");
        assert!(text.starts_with("=== start 1 ===\nline 0\nline 1\n"), "{text}");
        assert!(text.ends_with("line 998\nline 999\n"), "{text}");
        assert!(text.contains("=== … ==="), "{text}");
        assert!(text.len() as u64 <= limit + 60, "{}", text.len());
        assert!(log.newest().ends_with("line 999"));
        assert!(
            !path.join(out::OVER_LOG).exists(),
            "{} bytes were printed",
            log.lock().printed
        );
    }

    #[test]
    fn what_is_printed_without_end_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = PrintedLog::open(folder.path(), 1, 100).expect("a log");
        log.lock().keep(&[b'x'; 3200]).expect("kept");
        assert!(!folder.path().join(out::OVER_LOG).exists());
        log.lock().keep(b"x").expect("kept");
        assert!(folder.path().join(out::OVER_LOG).exists());
    }
}
