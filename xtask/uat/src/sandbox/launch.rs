//! `uat-daemon launch`: what the tests start in the place of the submission. Starts it in a sandbox of its own, keeps
//! what it prints, passes SIGTERM on to it, and ends as it ends. Killed, it takes the whole sandbox with it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::pipe;

use super::log::PrintedLog;
use super::spec::{APP, CELL, CellSpec, DATA, Launched, Told, in_cell, out};
use super::{mounts, procfs, seccomp};

/// How long the sandbox before this one may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn run() -> Result<ExitCode> {
    let number = next_number()?;
    launch(number).inspect_err(|error| {
        let trouble = Told::Ended(Launched {
            launch: number,
            code: 0,
            asked: false,
            trouble: Some(format!("{error:#}")),
        });
        // If not even that can be told, the cell finds no health, and this on standard error.
        let _ = launches().and_then(|mut file| trouble.write(&mut file));
    })
}

fn launch(number: u32) -> Result<ExitCode> {
    let spec: CellSpec = super::read_json(&in_cell("out").join(out::SPEC))?;
    let variable = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
    let listen = variable("OPTIVEX_LISTEN")?;
    let (data, users) = (
        PathBuf::from(variable("OPTIVEX_DATA_DIR")?),
        PathBuf::from(variable("OPTIVEX_USERS")?),
    );
    let home = data.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let home = home.context("OPTIVEX_DATA_DIR is in no folder")?;
    previous_is_gone(home)?;

    let scratch = in_cell("tmp").join(number.to_string());
    for folder in ["tmp", "shm"] {
        std::fs::create_dir_all(scratch.join(folder)).context("private folders")?;
    }
    // Before the sandbox is started: a signal from here on is not lost.
    let (signals, tell_signal) = std::os::unix::net::UnixStream::pair().context("a socket pair")?;
    pipe::register(SIGTERM, tell_signal).context("SIGTERM")?;

    // What bubblewrap inherits is in these; nobody else is started here. The first one is closed first, when this
    // process ends: before the pipes that the submission prints to.
    let (launcher, alive) = rustix::pipe::pipe()?;
    fcntl_setfd(&alive, FdFlags::CLOEXEC).context("close on exec")?;
    let report = launches()?;
    fcntl_setfd(&report, FdFlags::empty()).context("the report")?;
    let (filter, mut filter_in) = rustix::pipe::pipe().map(|(read, write)| (read, File::from(write)))?;
    let (info_out, info) = rustix::pipe::pipe()?;
    fcntl_setfd(&filter_in, FdFlags::CLOEXEC).context("close on exec")?;
    fcntl_setfd(&info_out, FdFlags::CLOEXEC).context("close on exec")?;
    filter_in.write_all(&seccomp::filter()?).context("the seccomp filter")?;
    drop(filter_in);

    let mut command = Command::new("bwrap");
    command
        .args(mounts::submission(
            &scratch,
            &data,
            &users,
            filter.as_raw_fd(),
            info.as_raw_fd(),
        )?)
        .arg("--")
        .args([mounts::INNER, "inner", &serde_json::to_string(&spec.limits)?])
        .args([&number.to_string(), home])
        .args([report.as_raw_fd().to_string(), launcher.as_raw_fd().to_string()])
        .arg("--")
        .args(start(&spec.start))
        .env_clear()
        .envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/tmp"),
            ("TMPDIR", "/tmp"),
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
            ("OPTIVEX_LISTEN", &listen),
            ("OPTIVEX_USERS", mounts::USERS),
            ("OPTIVEX_DATA_DIR", DATA),
        ])
        .envs(&spec.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The tests signal our group: what becomes of a SIGTERM is ours to say.
        .process_group(0);
    if let Some(cgroup) = &spec.cgroup {
        super::cgroup::enter(cgroup, number, &spec.limits)?;
    }
    let mut child = command
        .spawn()
        .context("cannot start bwrap: is bubblewrap installed?")?;
    drop((filter, info, report, launcher));
    let log = PrintedLog::open(&in_cell("out"), number, spec.limits.log_bytes)?;
    let readers = [
        child.stdout.take().map(|stream| log.follow(stream, std::io::stdout())),
        child.stderr.take().map(|stream| log.follow(stream, std::io::stderr())),
    ];
    let first = first_process(info_out).ok();
    if let Some(pid) = first {
        std::thread::spawn(move || pass_on(signals, pid));
    }
    let status = child.wait().context("waiting for bwrap")?;
    readers.into_iter().flatten().for_each(|reader| drop(reader.join()));
    drop(alive);
    if first.is_none() {
        bail!("bwrap did not start ({status}): {}", log.newest());
    }
    let code = super::code_of(status);
    Ok(u8::try_from(code).unwrap_or(u8::MAX).into())
}

/// The submission's start command: files of its bundle are in its working directory.
fn start(words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    if let Some(program) = words.first_mut()
        && (program.contains('/') || in_cell("app").join(&*program).is_file())
    {
        *program = Path::new(APP).join(&*program).display().to_string();
    }
    words
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "child-pid")]
    child_pid: i32,
}

/// The first process in the sandbox, as bubblewrap tells it; none if it could not make one.
fn first_process(info: OwnedFd) -> Result<Pid> {
    let mut text = String::new();
    File::from(info).take(4096).read_to_string(&mut text)?;
    let info: Info = serde_json::from_str(&text)?;
    Pid::from_raw(info.child_pid).context("bwrap's child")
}

fn pass_on(mut signals: std::os::unix::net::UnixStream, to: Pid) {
    let mut byte = [0];
    while signals.read_exact(&mut byte).is_ok() {
        // It may be gone: then this process is about to be, too.
        let _ = kill_process(to, Signal::TERM);
    }
}

/// Waits until the sandbox that had these data before is gone: killed, it may still be going, with its locks. While it
/// is made it has the name of its data in its command line; before there is a submission in it, its namespace was told.
fn previous_is_gone(home: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let mut left = procfs::with_word(home)?;
        let told: Vec<Told> = super::read_lines(&in_cell("out").join(out::LAUNCHES))?;
        // The kernel gives a name again once its namespace is gone: it is the newest one's.
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for told in told {
            if let Told::Started { home, namespace } = told {
                owners.insert(namespace, home);
            }
        }
        for (namespace, _) in owners.iter().filter(|(_, owner)| *owner == home) {
            left.extend(procfs::in_pid_namespace(namespace)?);
        }
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > GONE_WITHIN {
            bail!("the sandbox before this one is still there");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Numbers count up over all launches of a cell.
fn next_number() -> Result<u32> {
    for number in 1..=10_000 {
        let path = in_cell("out").join(format!("launch-{number}"));
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(_) => return Ok(number),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("{CELL}/out")),
        }
    }
    bail!("more than 10,000 starts")
}

fn launches() -> Result<File> {
    let path = in_cell("out").join(out::LAUNCHES);
    let file = OpenOptions::new().append(true).create(true).open(&path);
    file.with_context(|| path.display().to_string())
}
