//! `uat-daemon cell`: the first process of a cell. Starts the tests, watches what submissions use, reaps what is left
//! behind, and tells how it ended; everything else in the cell ends with it.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use optivex_bundle::limits::{Limits, bytes_for_people};
use optivex_bundle::verdict::Limit;
use rustix::fs::statvfs;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};

use super::spec::{CellEnd, CellReport, CellSpec, Told, Usage, in_cell, out};
use super::{cgroup, procfs};

/// Time between two looks.
const TICK: Duration = Duration::from_millis(50);
/// How long the last sandbox may take to go, once the tests are over.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Free bytes below which a private file system counts as full.
const FULL: u64 = 128 << 10;

pub(crate) fn run() -> Result<ExitCode> {
    let spec: CellSpec = super::read_json(&in_cell("out").join(out::SPEC))?;
    let mut peak = Usage::default();
    let (end, survivors) = match tested(&spec, &mut peak) {
        Ok(ended) => ended,
        Err(error) => (
            CellEnd::Trouble {
                message: format!("{error:#}"),
            },
            Vec::new(),
        ),
    };
    super::write_json(&in_cell("out").join(out::REPORT), &CellReport { end, survivors, peak })?;
    Ok(ExitCode::SUCCESS)
}

fn tested(spec: &CellSpec, peak: &mut Usage) -> Result<(CellEnd, Vec<String>)> {
    let namespace = |kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).map(|link| link.display().to_string());
    let namespaces = [namespace("net")?, namespace("pid")?];
    super::write_json(&in_cell("out").join(out::NAMESPACES), &namespaces)?;

    let tester = in_cell("tests").join("system-tests");
    let child = Command::new(&tester)
        .args(&spec.arguments)
        .arg("--launch")
        .arg(in_cell("uat-daemon"))
        .arg("launch")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", in_cell("homes"))
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start the tests ({})", tester.display()))?;
    let tests = Pid::from_raw(i32::try_from(child.id())?).context("the tests' pid")?;
    let begun = Instant::now();
    loop {
        if let Some(status) = reap(tests)? {
            let survivors = survivors(tests)?;
            let over = watch(spec, peak)?.or(killed_by_limit()?);
            let code = super::code_of_wait(status);
            return Ok((over.unwrap_or(CellEnd::Tested { code }), survivors));
        }
        end_orphans(tests)?;
        if let Some(over) = watch(spec, peak)? {
            return Ok((over, Vec::new()));
        }
        if begun.elapsed() > spec.wall {
            return Ok((CellEnd::TimedOut, Vec::new()));
        }
        std::thread::sleep(TICK);
    }
}

/// Takes what has ended, here and of what was orphaned; tells how the tests ended, if they did.
fn reap(tests: Pid) -> Result<Option<WaitStatus>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == tests => return Ok(Some(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(error) => return Err(error).context("waiting for the tests"),
        }
    }
}

/// Ends whoever lost their parent: half of a sandbox whose launcher was killed while it was being made.
fn end_orphans(tests: Pid) -> Result<()> {
    for pid in procfs::children(std::process::id())?
        .into_iter()
        .filter(|pid| *pid != tests)
    {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
    Ok(())
}

/// What is left of submissions although the tests have ended them.
fn survivors(tests: Pid) -> Result<Vec<String>> {
    let begun = Instant::now();
    loop {
        end_orphans(tests)?;
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        let left = procfs::sandboxed()?;
        if left.is_empty() || begun.elapsed() > GONE_WITHIN {
            return Ok(left.into_iter().map(|process| process.name).collect());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn watch(spec: &CellSpec, peak: &mut Usage) -> Result<Option<CellEnd>> {
    let limits = &spec.limits;
    let processes = procfs::sandboxed()?;
    let (homes, tmp) = (disk("homes")?, disk("tmp")?);
    let now = Usage {
        disk_bytes: homes.used + tmp.used,
        ..procfs::usage(&processes)
    };
    *peak = peak.most(now);
    let broke = |limit, detail| Ok(Some(CellEnd::Broke { limit, detail }));
    if now.processes >= limits.processes {
        return broke(
            Limit::Processes,
            format!("{} processes and threads at a time", limits.processes),
        );
    }
    if now.memory_bytes > limits.memory_bytes && procfs::shared_once(&processes) > limits.memory_bytes {
        return broke(
            Limit::Memory,
            format!("more than {}", bytes_for_people(limits.memory_bytes)),
        );
    }
    if homes.full(limits) || tmp.full(limits) {
        return broke(Limit::Data, format!("{} of files", bytes_for_people(limits.data_bytes)));
    }
    if in_cell("out").join(out::OVER_LOG).exists() {
        return broke(Limit::Log, "a log without end".to_owned());
    }
    if let Some(limit) = spec.cgroup.as_deref().map(cgroup::broken).transpose()?.flatten() {
        return broke(limit, "as its control group counts".to_owned());
    }
    Ok(None)
}

struct Disk {
    used: u64,
    free: u64,
    free_files: u64,
}

impl Disk {
    fn full(&self, limits: &Limits) -> bool {
        self.free < FULL || self.free_files < 8 || self.used + FULL > limits.data_bytes
    }
}

fn disk(name: &str) -> Result<Disk> {
    let stat = statvfs(in_cell(name)).with_context(|| format!("the cell's {name}"))?;
    Ok(Disk {
        used: (stat.f_blocks - stat.f_bfree) * stat.f_frsize,
        free: stat.f_bavail * stat.f_frsize,
        free_files: stat.f_ffree,
    })
}

/// Starts that the kernel ended for going beyond a limit of processes.
fn killed_by_limit() -> Result<Option<CellEnd>> {
    let launches = Told::ends(&in_cell("out"))?;
    let broke = |code: i32| match code - 128 {
        libc::SIGXFSZ => Some((Limit::FileSize, "SIGXFSZ")),
        libc::SIGXCPU => Some((Limit::Cpu, "SIGXCPU")),
        _ => None,
    };
    Ok(launches
        .iter()
        .find_map(|launched| broke(launched.code))
        .map(|(limit, signal)| CellEnd::Broke {
            limit,
            detail: format!("ended by {signal}"),
        }))
}
