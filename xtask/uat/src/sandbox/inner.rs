//! `uat-daemon inner`: the first process in a submission's sandbox. Sets the limits of processes, starts the
//! submission, passes SIGTERM on to it, reaps what others leave behind, and ends as it ends; all that is left of the
//! sandbox ends with it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use optivex_bundle::limits::Limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, set_dumpable_behavior, setrlimit, wait,
};
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::pipe;

use super::spec::{Launched, Told};

/// Address space for each byte of memory that may be used: runtimes reserve more than they touch.
const ADDRESSES_PER_BYTE: u64 = 8;

/// What to start.
pub(crate) struct Start<'a> {
    pub(crate) limits: Limits,
    pub(crate) launch: u32,
    pub(crate) home: &'a str,
    pub(crate) command: &'a [String],
}

pub(crate) fn run(start: &Start<'_>, report: RawFd, launcher: RawFd) -> Result<ExitCode> {
    // SAFETY: the launcher opened both for this process alone.
    let (mut report, launcher) = unsafe { (File::from(OwnedFd::from_raw_fd(report)), OwnedFd::from_raw_fd(launcher)) };
    match prepared(start, &mut report, &launcher) {
        Ok(()) => started(start, &mut report, launcher),
        Err(error) => {
            let trouble = Some(format!("{error:#}"));
            ended(start, 0, false, trouble).write(&mut report)?;
            Err(error)
        }
    }
}

fn prepared(start: &Start<'_>, report: &mut File, launcher: &OwnedFd) -> Result<()> {
    // The submission is the same user: it must not get at what this process has open.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("not dumpable")?;
    fcntl_setfd(&*report, FdFlags::CLOEXEC).context("the report")?;
    fcntl_setfd(launcher, FdFlags::CLOEXEC).context("the launcher")?;
    set(&start.limits)?;
    // Before there is a submission: the next one on the same data waits until this namespace is empty.
    let namespace = std::fs::read_link("/proc/self/ns/pid").context("the pid namespace")?;
    Told::Started {
        home: start.home.to_owned(),
        namespace: namespace.to_string_lossy().into_owned(),
    }
    .write(report)
}

fn ended(start: &Start<'_>, code: i32, asked: bool, trouble: Option<String>) -> Told {
    Told::Ended(Launched {
        launch: start.launch,
        code,
        asked,
        trouble,
    })
}

fn started(start: &Start<'_>, report: &mut File, launcher: OwnedFd) -> Result<ExitCode> {
    let (program, arguments) = start.command.split_first().context("nothing to start")?;
    // The reader side tells the other thread; a handler alone could come between a look and a wait.
    let (mut asked, tell) = std::os::unix::net::UnixStream::pair().context("a socket pair")?;
    pipe::register(SIGTERM, tell).context("SIGTERM")?;
    let launcher = Arc::new(launcher);
    std::thread::spawn({
        let launcher = Arc::clone(&launcher);
        move || {
            // Killed while the sandbox was made, or later: nobody waits for what is here, and nobody else ends it.
            while !is_gone(&launcher, None) {}
            std::process::exit(128 + libc::SIGKILL);
        }
    });
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
            let mut byte = [0];
            while asked.read_exact(&mut byte).is_ok() {
                was_asked.store(true, Ordering::SeqCst);
                // It may be gone: then this process is about to be, too.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    });
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((who, status))) if who == pid => {
                // Without a launcher nobody reads what it prints: whatever that did to it is not its fault.
                if !is_gone(&launcher, Some(Timespec::default())) {
                    // At once: the tests see that nobody listens, and may kill what is left before more is told.
                    let asked = was_asked.load(Ordering::SeqCst);
                    ended(start, super::code_of_wait(status), asked, None).write(report)?;
                }
                return Ok(super::exit_code(status).into());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the submission"),
        }
    }
}

/// Whether the launcher is gone, now or within a time.
fn is_gone(launcher: &OwnedFd, within: Option<Timespec>) -> bool {
    let mut fds = [PollFd::new(launcher, PollFlags::IN)];
    // It never writes: all that can come is its end.
    matches!(poll(&mut fds, within.as_ref()), Ok(1..))
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
