//! A cell, from the daemon's side: makes its folders, starts it, listens to its tests, and sees to it that nothing of
//! it is left.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use optivex_bundle::limits::CELL_GRACE_SECONDS;
use rustix::process::{Pid, Signal, kill_process};

use super::spec::{CellEnd, CellReport, CellSpec, Launched, Told, out};
use super::{cgroup, log, mounts, procfs};

/// Bytes of one event of the tests.
const EVENT_MAX: u64 = 4 << 20;
/// What the tests say on standard error, for people.
const WORDS_MAX: u64 = 64 << 10;
/// What is left of a cell has to be gone within this time.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Asks a cell to end. Clones ask the same one.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A cell to be.
#[derive(Debug)]
pub struct Cell<'a> {
    /// What to run in it.
    pub spec: CellSpec,
    /// The submission, unpacked.
    pub app: &'a Path,
    /// Folder of `system-tests`.
    pub tests: &'a Path,
    /// A folder of its own that does not exist yet.
    pub out: &'a Path,
    /// This program, where the account of the cell may read it.
    pub program: &'a Path,
    /// Account of its processes, where the daemon is root.
    pub account: Option<u32>,
    /// Where control groups were delegated.
    pub cgroups: Option<&'a cgroup::Delegated>,
}

/// What came of a cell.
#[derive(Debug)]
pub struct CellRun {
    /// What it told at its end.
    pub report: CellReport,
    /// Starts of the submission that ended before they were killed.
    pub launches: Vec<Launched>,
    /// What the tests said beside their events.
    pub words: String,
}

impl Cell<'_> {
    /// Runs it to its end; each event of the tests is told as it comes. An error is ours.
    pub fn run(&self, cancel: &Cancel, mut event: impl FnMut(&str) -> Result<()>) -> Result<CellRun> {
        self.make_folders()?;
        let job = match self.cgroups {
            Some(delegated) => Some(delegated.job(&group_name(self.out))?),
            None => None,
        };
        let spec = CellSpec {
            cgroup: job.as_ref().map(|job| job.path().to_owned()),
            ..self.spec.clone()
        };
        super::write_json(&self.out.join(out::SPEC), &spec)?;
        let folders = mounts::CellFolders {
            app: self.app,
            tests: self.tests,
            out: self.out,
            program: self.program,
            cgroup: spec.cgroup.as_deref(),
        };
        let mut command = Command::new("bwrap");
        command
            .args(mounts::cell(&folders, spec.limits.data_bytes))
            .arg("--")
            .arg(super::spec::in_cell("uat-daemon"))
            .arg("cell")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(account) = self.account {
            command.uid(account).gid(account);
        }
        let mut child = command
            .spawn()
            .context("cannot start bwrap: is bubblewrap installed?")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("the cell's pid")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let words = std::thread::spawn(move || stderr.map(newest).unwrap_or_default());

        // A cell that does not keep to its own time is ended from here.
        let late = Instant::now() + self.spec.wall + Duration::from_secs(CELL_GRACE_SECONDS);
        let over = Arc::new(AtomicBool::new(false));
        let guard = std::thread::spawn({
            let (over, cancel) = (Arc::clone(&over), cancel.clone());
            move || {
                while !over.load(Ordering::SeqCst) {
                    if cancel.is_cancelled() || Instant::now() > late {
                        // Its first process dies with it, and everything with that.
                        let _ = kill_process(pid, Signal::KILL);
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        let told = stdout.map_or(Ok(()), |stdout| events(stdout, &mut event));
        if told.is_err() {
            // Nobody listens any more.
            let _ = kill_process(pid, Signal::KILL);
        }
        let status = child.wait().context("waiting for the cell");
        over.store(true, Ordering::SeqCst);
        let _ = guard.join();
        let words = words.join().unwrap_or_default();
        self.nothing_is_left()?;
        if let Some(job) = job {
            job.remove()?;
        }
        told?;
        let status = status?;
        let path = self.out.join(out::REPORT);
        let report: CellReport = match path.exists() {
            true => super::read_json(&path)?,
            false if cancel.is_cancelled() => CellReport {
                end: CellEnd::Trouble {
                    message: "cancelled".to_owned(),
                },
                survivors: Vec::new(),
                peak: Default::default(),
            },
            false => bail!("the cell ended without a word ({status}): {}", words.trim()),
        };
        if !report.survivors.is_empty() {
            bail!("processes survived their sandbox: {}", report.survivors.join(", "));
        }
        Ok(CellRun {
            report,
            launches: Told::ends(self.out)?,
            words,
        })
    }

    /// What the submission printed, at most the limit.
    pub fn log(&self) -> Result<Vec<u8>> {
        log::collect(self.out, self.spec.limits.log_bytes)
    }

    fn make_folders(&self) -> Result<()> {
        fs::create_dir_all(self.out).with_context(|| self.out.display().to_string())?;
        let Some(account) = self.account else { return Ok(()) };
        chown(self.out, Some(account), Some(account)).with_context(|| self.out.display().to_string())?;
        for path in [self.app, self.tests, self.out, self.program] {
            for folder in path.ancestors().skip(1) {
                let mode = fs::metadata(folder)
                    .with_context(|| folder.display().to_string())?
                    .permissions()
                    .mode();
                if mode & 0o001 == 0 {
                    bail!(
                        "as root, submissions run as user {account}, to whom {} is closed: make it 0711, or put \
                         CK_DEPLOYMENT_DIR elsewhere",
                        folder.display()
                    );
                }
            }
        }
        Ok(())
    }

    /// No process on this machine is in one of its namespaces.
    fn nothing_is_left(&self) -> Result<()> {
        let path = self.out.join(out::NAMESPACES);
        if !path.exists() {
            return Ok(());
        }
        let [net, pid]: [String; 2] = super::read_json(&path)?;
        // The kernel gives a name again once its namespace is gone: who began later is of another cell.
        let now = procfs::ticks_now()?;
        let begun = Instant::now();
        loop {
            let mut left = procfs::in_namespace("net", &net)?;
            left.extend(procfs::in_namespace("pid", &pid)?);
            left.retain(|pid| procfs::began(*pid).is_some_and(|began| began <= now));
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > GONE_WITHIN {
                bail!("processes {left:?} are still in the cell's namespaces");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The group of a cell is named after its folder, `work/SLOT/PART`: jobs of other slots and the self-test run beside it,
/// and what a job left whose cell we lost is cleared away by the next one in its place.
fn group_name(out: &Path) -> String {
    let names: Vec<_> = out.iter().rev().take(2).map(|name| name.to_string_lossy()).collect();
    names.into_iter().rev().collect::<Vec<_>>().join("-")
}

fn events(stdout: impl Read, event: &mut impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut reader)
            .take(EVENT_MAX)
            .read_until(b'\n', &mut line)
            .context("the tests' events")?;
        if length == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            // The tests were ended in the middle of it.
            if (length as u64) < EVENT_MAX {
                return Ok(());
            }
            bail!("an event of the tests has more than {EVENT_MAX} bytes");
        }
        event(String::from_utf8_lossy(&line).trim_end())?;
    }
}

fn newest(stream: impl Read) -> String {
    let mut bytes = Vec::new();
    let mut reader = BufReader::new(stream);
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = reader.read(&mut chunk) {
        bytes.extend(&chunk[..length]);
        let surplus = bytes
            .len()
            .saturating_sub(usize::try_from(WORDS_MAX).unwrap_or(usize::MAX));
        bytes.drain(..surplus);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_run_at_the_same_time_have_groups_of_their_own() {
        let root = tempfile::tempdir().expect("a folder");
        let group = root.path().join("system.slice/optivex-uat.service");
        fs::create_dir_all(&group).expect("a folder");
        fs::write(group.join("cgroup.controllers"), "cpu memory pids\n").expect("written");
        let delegated = cgroup::Delegated::at(root.path(), "0::/system.slice/optivex-uat.service\n").expect("ours");
        let places = [
            "slot-0/visible",
            "slot-1/visible",
            "slot-1/hidden",
            "self-test-reference/visible",
        ];
        let jobs = places.map(|place| {
            let name = group_name(&Path::new("/spool/state/work").join(place));
            delegated.job(&name).expect("a group")
        });
        for (index, job) in jobs.iter().enumerate() {
            assert!(job.path().is_dir(), "{job:?}");
            assert!(jobs[..index].iter().all(|other| other.path() != job.path()), "{jobs:?}");
        }
        assert_eq!(jobs[1].path(), group.join("job-slot-1-visible"));
    }
}
