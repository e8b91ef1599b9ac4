//! Who is there and what they use, by /proc. Processes come and go while one looks: what is gone is not there.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::Pid;

use super::spec::Usage;

/// All processes that are visible from here.
pub(crate) fn pids() -> Result<Vec<i32>> {
    let entries = fs::read_dir("/proc").context("/proc")?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// Processes that share a namespace of the given kind; without those that may not be looked at, which are somebody
/// else's.
pub(crate) fn in_namespace(kind: &str, namespace: &str) -> Result<Vec<i32>> {
    let is =
        |pid: &i32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).is_ok_and(|link| link.as_os_str() == namespace);
    Ok(pids()?.into_iter().filter(is).collect())
}

pub(crate) fn in_pid_namespace(namespace: &str) -> Result<Vec<i32>> {
    in_namespace("pid", namespace)
}

/// Processes whose command line has this word in it.
pub(crate) fn with_word(word: &str) -> Result<Vec<i32>> {
    let has = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(word.len()).any(|part| part == word.as_bytes())
    };
    Ok(pids()?.into_iter().filter(has).collect())
}

/// When a process began, in ticks since the machine did; none if it is gone.
pub(crate) fn began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name, in brackets, may have anything in it; the 22nd field of all is the 20th behind it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Now, in the same measure.
pub(crate) fn ticks_now() -> Result<u64> {
    let text = fs::read_to_string("/proc/uptime").context("/proc/uptime")?;
    let seconds = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    let seconds = seconds.context("/proc/uptime")?;
    Ok((seconds * rustix::param::clock_ticks_per_second() as f64) as u64)
}

/// Children of a process.
pub(crate) fn children(of: u32) -> Result<Vec<Pid>> {
    let is = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        parent.and_then(|parent| parent.trim().parse().ok()) == Some(of)
    };
    Ok(pids()?.into_iter().filter(is).filter_map(Pid::from_raw).collect())
}

/// A process in a pid namespace below ours: one of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sandboxed {
    pub(crate) pid: i32,
    pub(crate) name: String,
    threads: u64,
    memory: u64,
    namespace: String,
}

/// Looks at all processes of submissions.
pub(crate) fn sandboxed() -> Result<Vec<Sandboxed>> {
    let mut found = Vec::new();
    for pid in pids()? {
        let status = match fs::read_to_string(format!("/proc/{pid}/status")) {
            Ok(status) => status,
            Err(error) if gone(&error) => continue,
            Err(error) => return Err(error).with_context(|| format!("/proc/{pid}/status")),
        };
        if let Some(process) = parse(pid, &status) {
            found.push(process);
        }
    }
    Ok(found)
}

fn gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn parse(pid: i32, status: &str) -> Option<Sandboxed> {
    let fields: BTreeMap<&str, &str> = status.lines().filter_map(|line| line.split_once(':')).collect();
    let field = |name: &str| fields.get(name).map(|value| value.trim());
    // Its number in each namespace from that of this /proc inwards.
    let depth = field("NSpid")?.split_whitespace().count();
    if depth < 2 || field("State").is_some_and(|state| state.starts_with('Z')) {
        return None;
    }
    let kib = |name: &str| {
        let number = field(name).and_then(|value| value.split_whitespace().next());
        number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    };
    let namespace = fs::read_link(format!("/proc/{pid}/ns/pid")).map(|link| link.to_string_lossy().into_owned());
    Some(Sandboxed {
        pid,
        name: field("Name").unwrap_or("?").to_owned(),
        threads: field("Threads").and_then(|threads| threads.parse().ok()).unwrap_or(1),
        memory: (kib("RssAnon") + kib("RssShmem")) << 10,
        namespace: namespace.unwrap_or_default(),
    })
}

/// What they use together; processes are those of the fullest sandbox, since the tests start several.
pub(crate) fn usage(processes: &[Sandboxed]) -> Usage {
    let mut by_sandbox: BTreeMap<&str, u64> = BTreeMap::new();
    for process in processes {
        *by_sandbox.entry(&process.namespace).or_default() += process.threads;
    }
    Usage {
        memory_bytes: processes.iter().map(|process| process.memory).sum(),
        processes: by_sandbox.into_values().max().unwrap_or(0),
        disk_bytes: 0,
    }
}

/// Their memory with pages that several of them share counted once. Dear: only for the moment that decides.
pub(crate) fn shared_once(processes: &[Sandboxed]) -> u64 {
    let of = |process: &Sandboxed| {
        let Ok(rollup) = fs::read_to_string(Path::new("/proc").join(process.pid.to_string()).join("smaps_rollup"))
        else {
            return process.memory;
        };
        let kib = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        };
        // Kernels before 5.9 tell only the sum with files.
        match (kib("Pss_Anon:"), kib("Pss_Shmem:")) {
            (Some(own), Some(shared)) => (own + shared) << 10,
            _ => process.memory,
        }
    };
    processes.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_process_began() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(began(own).expect("it lives") <= ticks_now().expect("a time"));
        assert_eq!(began(i32::MAX), None);
    }

    #[test]
    fn a_status() {
        let status = "Name:\tpython3\nState:\tS (sleeping)\nNSpid:\t77\t2\nThreads:\t3\nRssAnon:\t 100 kB\nRssFile:\t 900 kB\nRssShmem:\t 4 kB\n";
        let process = parse(i32::MAX, status).expect("a sandboxed one");
        assert_eq!(
            (process.name.as_str(), process.threads, process.memory),
            ("python3", 3, 104 << 10)
        );
        assert_eq!(parse(1, &status.replace("77\t2", "77")), None, "of the cell itself");
        assert_eq!(parse(1, &status.replace("S (s", "Z (z")), None, "dead");
        assert_eq!(parse(1, "nothing"), None);
    }
}
