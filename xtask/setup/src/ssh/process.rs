//! A local process with a time limit, bounded output, and a log that has all of it (to a bound, too).

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::log::Log;

/// Most of standard output that is kept; what exceeds it only reaches the log.
pub(crate) const MAX_STDOUT: usize = 4 << 20;
/// How much of standard error's end is kept, to be shown where the command fails.
const STDERR_TAIL: usize = 4 << 10;
/// How often a waiting run looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(100);

/// What the process reads.
pub(crate) enum Input<'a> {
    Nothing,
    Bytes(Vec<u8>),
    File(&'a Path),
}

pub(crate) struct Finished {
    /// None where a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    /// There was more than was kept.
    pub(crate) truncated: bool,
    pub(crate) stderr: String,
}

pub(crate) enum End {
    Finished(Finished),
    TimedOut,
    Interrupted,
}

pub(crate) fn run(argv: &[String], input: Input<'_>, limit: Duration, stop: &AtomicBool, log: &Log) -> io::Result<End> {
    let [program, args @ ..] = argv else {
        return Err(io::Error::other("no program to run"));
    };
    let (out, stdout) = io::pipe()?;
    let (err, stderr) = io::pipe()?;
    let mut command = duct::cmd(program, args)
        .stdout_file(stdout)
        .stderr_file(stderr)
        .unchecked();
    command = match input {
        Input::Nothing => command.stdin_null(),
        Input::Bytes(bytes) => command.stdin_bytes(bytes),
        Input::File(path) => command.stdin_file(File::open(path)?),
    };
    let handle = command.start()?;
    // Our ends of the pipes: the readers below see the end of the stream only once these are closed.
    drop(command);
    // Not joined where the process is cut off: ssh hands its pipes to the shared connection, which keeps them open as
    // long as the remote command runs.
    let out = reader(out, log, keep_start);
    let err = reader(err, log, keep_end);
    let since = Instant::now();
    let status = loop {
        if let Some(output) = handle.wait_timeout(LOOK)? {
            break output.status;
        }
        let stopped = stop.load(Ordering::Relaxed);
        if stopped || since.elapsed() > limit {
            handle.kill()?;
            return Ok(if stopped { End::Interrupted } else { End::TimedOut });
        }
    };
    // The readers do not panic.
    let broken = |_| io::Error::other("the reader of a pipe ended before its time");
    let (stdout, truncated) = out.join().map_err(broken)??;
    let stderr = err.join().map_err(broken)??;
    Ok(End::Finished(Finished {
        status: status.code(),
        stdout,
        truncated,
        stderr,
    }))
}

fn reader<T: Send + 'static>(
    pipe: PipeReader,
    log: &Log,
    read: impl FnOnce(PipeReader, &Log) -> T + Send + 'static,
) -> JoinHandle<T> {
    let log = log.clone();
    std::thread::spawn(move || read(pipe, &log))
}

fn keep_start(mut pipe: PipeReader, log: &Log) -> io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    let mut truncated = false;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = pipe.read(&mut buffer)?;
        if read == 0 {
            return Ok((kept, truncated));
        }
        log.output(&buffer[..read]);
        let room = (MAX_STDOUT - kept.len()).min(read);
        truncated |= room < read;
        kept.extend_from_slice(&buffer[..room]);
    }
}

fn keep_end(mut pipe: PipeReader, log: &Log) -> io::Result<String> {
    let mut tail = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = pipe.read(&mut buffer)?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&tail).into_owned());
        }
        log.output(&buffer[..read]);
        tail.extend_from_slice(&buffer[..read]);
        if tail.len() > STDERR_TAIL {
            tail.drain(..tail.len() - STDERR_TAIL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn output_beyond_the_bound_is_dropped_and_said() {
        let stop = AtomicBool::new(false);
        let most = MAX_STDOUT.to_string();
        for (bytes, truncated) in [(most.clone(), false), (format!("{most}0"), true)] {
            let end = run(
                &argv(&["head", "-c", &bytes, "/dev/zero"]),
                Input::Nothing,
                Duration::from_secs(60),
                &stop,
                &Log::none(),
            );
            let Ok(End::Finished(finished)) = end else {
                panic!("head ends by itself")
            };
            assert_eq!((finished.stdout.len(), finished.truncated), (MAX_STDOUT, truncated));
        }
    }

    #[test]
    fn a_time_limit_and_a_stop_end_it() {
        let forever = argv(&["sleep", "1000"]);
        let stop = AtomicBool::new(false);
        let run = |limit, stop| run(&forever, Input::Nothing, limit, stop, &Log::none());
        assert!(matches!(run(Duration::ZERO, &stop), Ok(End::TimedOut)));
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(run(Duration::from_secs(1000), &stop), Ok(End::Interrupted)));
    }
}
