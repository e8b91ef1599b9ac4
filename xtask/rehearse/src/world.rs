//! The rehearsal's own world: network, mount, pid, ipc and uts namespaces around everything that it starts.
//!
//! From outside ([`run`]) it is one child process. Whatever happens to that, the kernel ends all that is in there:
//! processes, addresses, mounts. Only directories are left then, and they go at the next start.

use std::fs::{self, File, TryLockError};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use optivex_exit::{Exit, Failure};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::hosts::remove;

/// The kernel ends a killed world in well under a second.
const OLD_WORLD: Duration = Duration::from_secs(20);

/// Directories of a rehearsal, all in the target directory.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Of all.
    pub home: PathBuf,
    /// Gone when it is over.
    pub run: PathBuf,
    /// Stays until the next start.
    pub logs: PathBuf,
}

impl Dirs {
    /// In that target directory.
    pub fn of(target: &Path) -> Self {
        let home = target.join("rehearse");
        Self {
            run: home.join("run"),
            logs: home.join("logs"),
            home,
        }
    }

    /// Changes of the hosts to their system: a tmpfs of the rehearsal's.
    pub fn system(&self) -> PathBuf {
        self.run.join("system")
    }

    /// Changes to what the hosts share: beside the hosts' own.
    pub fn shared(&self) -> PathBuf {
        self.run.join("shared")
    }

    /// What the hosts keep on disk.
    pub fn disk(&self) -> PathBuf {
        self.run.join("disk")
    }

    fn namespaces(&self) -> PathBuf {
        self.home.join("namespaces")
    }

    /// Held by whoever is inside.
    fn inside_lock(&self) -> PathBuf {
        self.home.join("inside.lock")
    }

    /// The first process inside, as seen from outside.
    pub fn process(&self) -> PathBuf {
        self.home.join("process")
    }
}

/// One rehearsal at a time; what a killed one left is removed. Keep what this returns.
pub fn claim(dirs: &Dirs) -> Result<File> {
    fs::create_dir_all(&dirs.home).with_context(|| format!("cannot create {}", dirs.home.display()))?;
    let lock = File::create(dirs.home.join("lock")).context("cannot create the rehearsal's lock")?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Failure::new(Exit::Locked, "another rehearsal runs in this repository").into());
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the rehearsal"),
    }
    let inside = File::create(dirs.inside_lock()).context("cannot create the rehearsal's lock")?;
    let start = Instant::now();
    while inside.try_lock().is_err() {
        if start.elapsed() > OLD_WORLD {
            bail!(
                "what a killed rehearsal started does not end: see {}",
                dirs.namespaces().display()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if dirs.run.exists() {
        println!("removing what an earlier rehearsal left in {}", dirs.run.display());
        remove(&dirs.run)?;
    }
    remove(&dirs.logs)?;
    for dir in [dirs.system(), dirs.shared(), dirs.disk(), dirs.logs.clone()] {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    Ok(lock)
}

/// Runs this program with these arguments in a new world, and waits for its end. Ctrl-C, SIGTERM and SIGHUP ask it to
/// end; a second one makes it.
pub fn run(dirs: &Dirs, arguments: &[String]) -> Result<ExitStatus> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    let program = std::env::current_exe().context("where this program is")?;
    let mut command = Command::new("unshare");
    command
        .args([
            "--net",
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child=KILL",
        ])
        .args(["--mount-proc", "--propagation", "private"])
        .arg(program)
        .args(arguments)
        // A terminal's Ctrl-C comes to us alone.
        .process_group(0);
    // SAFETY: between fork and exec, one system call that allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let mut unshare = command.spawn().context("cannot start unshare, of util-linux")?;
    let outer = unshare.id();
    let process = dirs.process();
    let forwarder = signals.handle();
    let forward = std::thread::spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            let signal = if count == 0 { Signal::TERM } else { Signal::KILL };
            match first_process(outer) {
                Some(pid) => drop(kill_process(pid, signal)),
                None => drop(
                    i32::try_from(outer)
                        .ok()
                        .and_then(Pid::from_raw)
                        .map(|pid| kill_process(pid, Signal::KILL)),
                ),
            }
        }
    });
    // Whoever looks around needs it; it is there as soon as unshare has started it.
    let pid = loop {
        if let Some(pid) = first_process(outer) {
            break Some(pid);
        }
        if unshare.try_wait().context("cannot wait for unshare")?.is_some() {
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if let Some(pid) = pid {
        fs::write(&process, pid.as_raw_nonzero().to_string()).context("cannot write down the first process")?;
    }
    let status = unshare.wait().context("cannot wait for unshare")?;
    forwarder.close();
    let _ = forward.join();
    let _ = fs::remove_file(&process);
    Ok(status)
}

fn first_process(unshare: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

/// The way its end is passed on.
pub fn exit_of(status: ExitStatus) -> Exit {
    match status.code() {
        Some(0) => Exit::Ok,
        Some(2) => Exit::Usage,
        Some(100) => Exit::TestsFailed,
        Some(101) => Exit::BuildFailed,
        Some(102) => Exit::Infrastructure,
        Some(104) => Exit::SomeHostsFailed,
        Some(_) => Exit::Failed,
        None => {
            eprintln!(
                "the rehearsal was killed by signal {}",
                status.signal().unwrap_or_default()
            );
            Exit::Failed
        }
    }
}

/// The first process inside: starts this program with these arguments, passes signals on to it, buries the dead, and
/// ends as it does.
pub fn init(dirs: &Dirs, arguments: &[String]) -> Result<Exit> {
    let _lock = enter(dirs)?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    let program = std::env::current_exe().context("where this program is")?;
    let child = Command::new(program)
        .args(arguments)
        .spawn()
        .context("cannot start this program")?;
    let performer = Pid::from_child(&child);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let _ = kill_process(performer, Signal::TERM);
        }
    });
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == performer => {
                return Ok(exit_of(ExitStatus::from_raw(status.as_raw())));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
    }
}

fn enter(dirs: &Dirs) -> Result<File> {
    if std::process::id() != 1 {
        bail!("this is not the first process of a world of its own; use cargo xtask rehearse");
    }
    let lock = File::create(dirs.inside_lock()).context("cannot create the rehearsal's lock")?;
    lock.lock().context("cannot lock the rehearsal")?;
    let mut names = String::new();
    for kind in ["net", "mnt", "pid"] {
        let name = fs::read_link(format!("/proc/self/ns/{kind}")).context("cannot read a namespace's name")?;
        names.push_str(&format!("{}\n", name.display()));
    }
    fs::write(dirs.namespaces(), names).context("cannot write the namespaces down")?;
    for dir in [dirs.system(), dirs.shared()] {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("optivex", dir, "tmpfs", flags, Some(c"mode=755")).context("cannot mount a tmpfs")?;
    }
    Ok(lock)
}

/// Removes the directories, and returns what this machine still holds of the rehearsal: nothing, or something is wrong.
pub fn leave(dirs: &Dirs) -> Result<Vec<String>> {
    remove(&dirs.run)?;
    let mut held = Vec::new();
    let names = fs::read_to_string(dirs.namespaces()).unwrap_or_default();
    for process in fs::read_dir("/proc").context("cannot read the processes")? {
        let process = process.context("cannot read the processes")?.path();
        let inside = ["net", "mnt", "pid"].iter().any(|kind| {
            fs::read_link(process.join("ns").join(kind))
                .is_ok_and(|name| names.lines().any(|ours| Path::new(ours) == name))
        });
        if inside {
            let command = fs::read_to_string(process.join("comm")).unwrap_or_default();
            held.push(format!("process {} {}", process.display(), command.trim()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let home = dirs.home.display().to_string();
    held.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&home))
            .map(|line| format!("mount {line}")),
    );
    let interfaces = fs::read_to_string("/proc/self/net/dev").context("cannot read the interfaces")?;
    held.extend(
        interfaces
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("opt"))
            .map(|line| format!("interface {line}")),
    );
    Ok(held)
}
