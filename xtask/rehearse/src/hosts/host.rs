//! One host from outside: plugs it in, tells it who it is, turns it off, takes it away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use rustix::process::{Pid, Signal, kill_process};

use super::machine::{Machine, said};
use super::network::Bridge;

/// A boot takes two seconds; on a machine that is busy with compiling, more.
const BOOT: Duration = Duration::from_secs(120);
/// A host sees this of the environment of whoever starts it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running host. Dropped, its power is off: everything in it ends at once, its disk stays.
#[derive(Debug)]
pub struct Host {
    machine: Machine,
    /// `unshare`, whose child is the host's first process: both end together.
    unshare: Child,
    /// The switch.
    stdin: Option<ChildStdin>,
}

impl Host {
    /// Boots it, and returns when it takes connections. `program` is one that becomes a host when asked
    /// ([`BE_A_HOST`](super::BE_A_HOST)). What it says goes to the end of `log`.
    pub fn boot(program: &Path, machine: Machine, bridge: &Bridge, log: &Path) -> Result<Self> {
        let name = machine.host_name();
        Self::try_boot(program, machine, bridge, log)
            .with_context(|| format!("{name} does not boot; its log is {}", log.display()))
    }

    fn try_boot(program: &Path, machine: Machine, bridge: &Bridge, log: &Path) -> Result<Self> {
        for dir in [&machine.system, &machine.disk] {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let mut unshare = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--ipc",
                "--uts",
                "--fork",
                "--kill-child=KILL",
            ])
            .arg(program)
            .arg(super::BE_A_HOST)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start unshare, of util-linux")?;
        let (stdin, stdout) = (unshare.stdin.take(), unshare.stdout.take());
        // From here on a failure turns it off.
        let mut host = Self {
            machine,
            unshare,
            stdin,
        };
        let (tell, told) = mpsc::channel();
        let stdout = stdout.context("its output is a pipe")?;
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        expect(&told, said::UNPLUGGED)?;
        bridge.plug_in(host.unshare.id(), host.machine.address)?;
        let mut line = serde_json::to_string(&host.machine).context("cannot write who it is")?;
        line.push('\n');
        host.stdin
            .as_mut()
            .context("its input is a pipe")?
            .write_all(line.as_bytes())
            .context("cannot tell it who it is")?;
        expect(&told, said::UP)?;
        Ok(host)
    }

    /// Who it is.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Its first process, as seen from here: for `nsenter`.
    pub fn first_process(&self) -> Result<u32> {
        let unshare = self.unshare.id();
        let path = format!("/proc/{unshare}/task/{unshare}/children");
        let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let host = &self.machine.host_name();
        children
            .trim()
            .parse()
            .with_context(|| format!("{host} is not running: children {children:?}"))
    }

    /// Whether it still runs.
    pub fn is_up(&mut self) -> bool {
        matches!(self.unshare.try_wait(), Ok(None))
    }

    /// Turns its power off, and gives back what can be booted again.
    pub fn power_off(mut self) -> Machine {
        self.kill();
        self.machine.clone()
    }

    fn kill(&mut self) {
        self.stdin.take();
        // Once it is buried, its id may be another's.
        if !self.is_up() {
            return;
        }
        // All of the host ends with its first process, which its parent then buries; killing the parent first would
        // leave that to us.
        let first = self.first_process().ok().and_then(|pid| i32::try_from(pid).ok());
        match first.and_then(Pid::from_raw) {
            Some(first) => drop(kill_process(first, Signal::KILL)),
            None => drop(self.unshare.kill()),
        }
        let _ = self.unshare.wait();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

fn expect(told: &Receiver<String>, word: &str) -> Result<()> {
    match told.recv_timeout(BOOT) {
        Ok(line) if line == word => Ok(()),
        Ok(line) => match line.strip_prefix(said::FAILED) {
            Some(why) => bail!("{why}"),
            None => bail!("it said {line:?} in place of {word:?}"),
        },
        Err(mpsc::RecvTimeoutError::Timeout) => bail!("not {word} within {} s", BOOT.as_secs()),
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("it ended before it was {word}"),
    }
}

/// Takes away the disk of a machine that is off.
pub fn scrap(machine: &Machine) -> Result<()> {
    for dir in [&machine.system, &machine.disk] {
        remove(dir)?;
    }
    Ok(())
}

/// Removes a directory and all in it; one that is not there is fine.
pub(crate) fn remove(dir: &PathBuf) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
