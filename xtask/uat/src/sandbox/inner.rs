//! `uat-daemon inner`: the first process in a submission's sandbox. Sets the limits of processes, starts the
//! submission, passes SIGTERM on to it, reaps what others leave behind, and ends as it ends; all that is left of the
//! sandbox ends with it.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use optivex_bundle::limits::Limits;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, set_dumpable_behavior, setrlimit, wait,
};
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::pipe;

use super::spec::Launched;

/// Address space for each byte of memory that may be used: runtimes reserve more than they touch.
const ADDRESSES_PER_BYTE: u64 = 8;

pub(crate) fn run(limits: &Limits, launch: u32, report: RawFd, command: &[String]) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("nothing to start")?;
    // The submission is the same user: it must not get at what this process has open.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("not dumpable")?;
    // SAFETY: the launcher opened it for this process alone.
    let mut report = File::from(unsafe { OwnedFd::from_raw_fd(report) });
    let prepared = fcntl_setfd(&report, FdFlags::CLOEXEC)
        .context("the report")
        .and_then(|()| set(limits));
    if let Err(error) = prepared {
        let trouble = Some(format!("{error:#}"));
        Launched {
            launch,
            code: 0,
            asked: false,
            trouble,
        }
        .tell(&mut report)?;
        return Err(error);
    }
    // The reader side tells the other thread; a handler alone could come between a look and a wait.
    let (asked, tell) = std::os::unix::net::UnixStream::pair().context("a socket pair")?;
    pipe::register(SIGTERM, tell).context("SIGTERM")?;
    let child = Command::new(program)
        .args(arguments)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("the child's pid")?;
    let was_asked = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let was_asked = Arc::clone(&was_asked);
        move || {
            let mut asked = asked;
            let mut byte = [0];
            while std::io::Read::read_exact(&mut asked, &mut byte).is_ok() {
                was_asked.store(true, Ordering::SeqCst);
                // It may be gone: then this process is about to be, too.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    });
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == pid => {
                let launched = Launched {
                    launch,
                    code: super::code_of_wait(status),
                    asked: was_asked.load(Ordering::SeqCst),
                    trouble: None,
                };
                // At once: the tests see that nobody listens, and may kill what is left before more is told.
                launched.tell(&mut report)?;
                return Ok(super::exit_code(status).into());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the submission"),
        }
    }
}

fn set(limits: &Limits) -> Result<()> {
    let bounds = [
        (Resource::Core, 0, 0),
        (Resource::As, limits.memory_bytes.saturating_mul(ADDRESSES_PER_BYTE), 0),
        (Resource::Nproc, limits.processes, 0),
        (Resource::Nofile, limits.open_files, 0),
        (Resource::Fsize, limits.file_bytes, 0),
        // SIGXCPU first, SIGKILL soon after.
        (Resource::Cpu, limits.cpu_seconds, 5),
        (Resource::Memlock, 64 << 20, 0),
        (Resource::Msgqueue, 0, 0),
        (Resource::Sigpending, 4096, 0),
    ];
    for (resource, soft, beyond) in bounds {
        let had = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let hard = soft.saturating_add(beyond).min(had);
        let bound = Rlimit {
            current: Some(soft.min(hard)),
            maximum: Some(hard),
        };
        setrlimit(resource, bound).with_context(|| format!("limit {resource:?}"))?;
    }
    Ok(())
}
