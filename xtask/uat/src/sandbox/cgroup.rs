//! Control groups (v2), where they were delegated to us, as by systemd's `Delegate=yes`. They add to limits of
//! processes and to the watch of the cell what only the kernel can do: a share of the processors, memory that counts
//! at once, and a kill that nothing escapes.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use optivex_bundle::limits::Limits;
use optivex_bundle::verdict::Limit;

const ROOT: &str = "/sys/fs/cgroup";
/// Killed processes have to leave a group within this time.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// A group that is ours to divide.
#[derive(Clone, Debug)]
pub struct Delegated(PathBuf);

impl Delegated {
    /// Takes the group that this process is in, if it was delegated; moves this process into one below it, since only
    /// leaves may have processes.
    pub fn take() -> Option<Self> {
        Self::at(Path::new(ROOT), &fs::read_to_string("/proc/self/cgroup").ok()?)
    }

    pub(super) fn at(root: &Path, own: &str) -> Option<Self> {
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let group = root.join(path);
        let has = fs::read_to_string(group.join("cgroup.controllers")).ok()?;
        if path.is_empty()
            || !CONTROLLERS
                .iter()
                .all(|name| has.split_whitespace().any(|word| word == *name))
        {
            return None;
        }
        let leaf = group.join("daemon");
        make(&leaf).ok()?;
        fs::write(leaf.join("cgroup.procs"), std::process::id().to_string()).ok()?;
        divide(&group).ok()?;
        Some(Self(group))
    }

    /// A group for a job.
    pub(crate) fn job(&self, name: &str) -> Result<Job> {
        let job = Job(self.0.join(format!("job-{name}")));
        job.remove()?;
        make(&job.0)?;
        divide(&job.0)?;
        Ok(job)
    }
}

/// The group of a job: one below it for each start of its submission.
#[derive(Debug)]
pub(crate) struct Job(PathBuf);

impl Job {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Kills what is in it, and removes it; an error if something stays.
    pub(crate) fn remove(&self) -> Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        // Kernels before 5.14 have no such file; then pid namespaces have to do.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        for entry in fs::read_dir(&self.0).context("the job's control group")?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_empty(&entry.path())?;
            }
        }
        remove_empty(&self.0)
    }
}

/// What was killed is gone a moment later, not at once.
fn remove_empty(group: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && begun.elapsed() < GONE_WITHIN => {
                std::thread::sleep(Duration::from_millis(5));
            }
            removed => return removed.with_context(|| format!("{} is not empty", group.display())),
        }
    }
}

fn make(group: &Path) -> Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| group.display().to_string())
        }
        _ => Ok(()),
    }
}

fn divide(group: &Path) -> Result<()> {
    let all = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
    fs::write(group.join("cgroup.subtree_control"), all).with_context(|| group.display().to_string())
}

/// Moves this process, which is about to start the submission, into a group of its own below the job's.
pub(crate) fn enter(job: &Path, number: u32, limits: &Limits) -> Result<()> {
    let group = job.join(format!("launch-{number}"));
    make(&group)?;
    // Files in a private /tmp are memory, too.
    let memory = limits.memory_bytes + 2 * limits.data_bytes;
    let settings = [
        ("memory.max", memory.to_string()),
        ("memory.swap.max", "0".to_owned()),
        ("pids.max", (limits.processes + 16).to_string()),
        ("cpu.max", format!("{} 100000", limits.cpu_percent * 1000)),
        ("cgroup.procs", std::process::id().to_string()),
    ];
    for (name, value) in settings {
        match fs::write(group.join(name), value) {
            // Without swap in the kernel there is no such file.
            Err(error) if name == "memory.swap.max" && error.kind() == ErrorKind::NotFound => {}
            written => written.with_context(|| group.join(name).display().to_string())?,
        }
    }
    Ok(())
}

/// A limit that a group below this one ran into.
pub(crate) fn broken(job: &Path) -> Result<Option<Limit>> {
    for entry in fs::read_dir(job).context("the job's control group")?.flatten() {
        let counted = |file: &str, event: &str| {
            let text = fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(event)?.strip_prefix(' '));
            line.is_some_and(|count| count != "0")
        };
        if counted("memory.events", "oom_kill") {
            return Ok(Some(Limit::Memory));
        }
        if counted("pids.events", "max") {
            return Ok(Some(Limit::Processes));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_delegated_is_taken() {
        let root = tempfile::tempdir().expect("a folder");
        let group = root.path().join("system.slice/optivex-uat.service");
        fs::create_dir_all(&group).expect("a folder");
        let own = "12:pids:/x\n0::/system.slice/optivex-uat.service\n";
        assert!(Delegated::at(root.path(), own).is_none(), "no controllers");
        fs::write(group.join("cgroup.controllers"), "cpuset cpu memory\n").expect("written");
        assert!(Delegated::at(root.path(), own).is_none(), "no pids");
        fs::write(group.join("cgroup.controllers"), "cpuset cpu memory pids\n").expect("written");
        assert!(Delegated::at(root.path(), "0::/\n").is_none(), "the machine's own");
        assert!(Delegated::at(root.path(), own).is_some());
        let read = |name: &str| fs::read_to_string(group.join(name)).expect(name);
        assert_eq!(read("daemon/cgroup.procs"), std::process::id().to_string());
        assert_eq!(read("cgroup.subtree_control"), "+cpu +memory +pids");
    }

    #[test]
    fn a_limit_that_was_run_into() {
        let job = tempfile::tempdir().expect("a folder");
        let launch = job.path().join("launch-1");
        fs::create_dir(&launch).expect("a folder");
        let cases = [
            ("low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\n", "max 0\n", None),
            (
                "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n",
                "max 0\n",
                Some(Limit::Memory),
            ),
            ("oom_kill 0\n", "max 3\n", Some(Limit::Processes)),
        ];
        for (memory, pids, limit) in cases {
            fs::write(launch.join("memory.events"), memory).expect("written");
            fs::write(launch.join("pids.events"), pids).expect("written");
            assert_eq!(broken(job.path()).expect("read"), limit);
        }
    }

    /// By a real hierarchy, where root finds one: it needs no controllers, which version 1 may have.
    #[test]
    fn what_is_in_a_jobs_group_is_killed_and_the_group_is_gone() {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
        let mounted = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let place = words.next()?;
            (words.next()? == "cgroup2").then(|| PathBuf::from(place))
        });
        let Some(root) = mounted.filter(|_| rustix::process::getuid().is_root()) else {
            eprintln!("NOT CHECKED: it takes root, and control groups of version 2");
            return;
        };
        let job = Job(root.join(format!("optivex-test-{}", std::process::id())));
        let group = job.0.join("launch-1");
        make(&job.0).expect("a group");
        make(&group).expect("a group");
        let mut sleeper = std::process::Command::new("sleep")
            .arg("3600")
            .spawn()
            .expect("it starts");
        fs::write(group.join("cgroup.procs"), sleeper.id().to_string()).expect("moved");
        job.remove().expect("removed");
        assert!(!job.0.exists());
        let ended = sleeper.wait().expect("it ended");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&ended),
            Some(libc::SIGKILL)
        );
        job.remove().expect("nothing to do");
    }
}
