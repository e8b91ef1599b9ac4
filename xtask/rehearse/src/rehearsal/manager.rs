//! The manager: somebody with an inventory, a home directory and `cargo xtask provision`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use optivex_bundle::lock::Lock;
use rustix::process::{Pid, Signal, kill_process_group};

use super::REGION;
use super::inventory::PROGRAM;
use crate::moto::Moto;
use crate::programs::Programs;
use crate::world::Dirs;

/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Manager {
    home: PathBuf,
    directory: PathBuf,
    logs: PathBuf,
    moto: Vec<(&'static str, String)>,
    programs: Programs,
    interrupted: Arc<AtomicBool>,
    /// Commands so far.
    count: usize,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) log: PathBuf,
}

impl Manager {
    pub(super) fn new(dirs: &Dirs, moto: &Moto, interrupted: Arc<AtomicBool>) -> Result<Self> {
        let home = dirs.run.join("manager");
        let directory = home.join("program");
        fs::create_dir_all(directory.join("infra"))
            .with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self {
            home,
            directory,
            logs: dirs.logs.clone(),
            moto: moto.environment(REGION),
            programs: Programs::find()?,
            interrupted,
            count: 0,
        })
    }

    /// Where the manager works.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Fails once somebody has interrupted the rehearsal.
    pub(super) fn go_on(&self) -> Result<()> {
        match self.interrupted.load(Ordering::SeqCst) {
            true => bail!("interrupted"),
            false => Ok(()),
        }
    }

    /// One of our programs, on this machine.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.path(name)
    }

    pub(super) fn inventory(&self) -> PathBuf {
        self.directory.join("infra/inventory.yaml")
    }

    /// What provisioning has noted.
    pub(super) fn lock(&self) -> Result<Lock> {
        let program = PROGRAM.parse().context("the program's id")?;
        Ok(Lock::load(&self.inventory().with_extension("lock.yaml"), &program)?)
    }

    /// The public part of the manager's key.
    pub(super) fn key(&self) -> Result<String> {
        let file = self.home.join(".ssh/id_optivex.pub");
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }

    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let mut environment: BTreeMap<String, String> = self
            .moto
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        environment.insert("HOME".to_owned(), self.home.display().to_string());
        // Only the keys are the manager's own: programs are built by the toolchain of whoever rehearses.
        for (name, default) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let own = std::env::var(name).ok();
            let own = own.or_else(|| Some(std::env::home_dir()?.join(default).display().to_string()));
            environment.extend(own.map(|path| (name.to_owned(), path)));
        }
        environment
    }

    /// A key pair of a participant's, as they would make it at home: the private one's path.
    pub(super) fn participants_key(&self, name: &str) -> Result<PathBuf> {
        let dir = self.home.join("participants");
        fs::create_dir_all(&dir).context("cannot make a place for keys")?;
        let path = dir.join(name);
        if !path.exists() {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
                .arg(&path)
                .status()
                .context("cannot start ssh-keygen")?;
            if !status.success() {
                bail!("ssh-keygen: {status}");
            }
        }
        Ok(path)
    }

    /// Starts `provision` with these arguments.
    pub(super) fn start(&mut self, arguments: &[&str]) -> Result<Running> {
        println!("    provision {}", arguments.join(" "));
        let mut command = Command::new(self.programs.path("provision"));
        command.stdin(Stdio::null());
        // Debug builds, as everything that is rehearsed.
        command.args(["--inventory", "infra/inventory.yaml", "--debug-tools"]);
        command.args(arguments).current_dir(&self.directory);
        command.envs(self.environment());
        self.start_command(arguments.first().copied().unwrap_or("provision"), command)
    }

    /// Starts a command; what it says goes to a log of its own.
    pub(super) fn start_command(&mut self, word: &str, mut command: Command) -> Result<Running> {
        self.count += 1;
        let log = self.logs.join(format!("{:02}-{word}.log", self.count));
        let out = log.with_extension("out");
        let open = |path: &Path| File::create(path).with_context(|| format!("cannot create {}", path.display()));
        let child = command
            .stdout(open(&out)?)
            .stderr(open(&log)?)
            // Interrupted by us alone, once, and with all that it started.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Running {
            child,
            out,
            log,
            interrupted: Arc::clone(&self.interrupted),
        })
    }

    /// Runs it, and fails unless it succeeds.
    pub(super) fn provision(&mut self, arguments: &[&str]) -> Result<Ended> {
        let ended = self.start(arguments)?.wait()?;
        if !ended.status.success() {
            bail!(
                "provision {}: {}\n{}",
                arguments.join(" "),
                ended.status,
                ended.last_words()
            );
        }
        Ok(ended)
    }
}

/// A command under way.
pub(super) struct Running {
    child: Child,
    out: PathBuf,
    log: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl Running {
    /// What it said so far.
    pub(super) fn said(&self) -> String {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        format!("{}{}", read(&self.out), read(&self.log))
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for a command")
    }

    /// To the program and all that it started.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, signal);
        }
    }

    pub(super) fn wait(mut self) -> Result<Ended> {
        let mut told = false;
        let status = loop {
            if let Some(status) = self.ended()? {
                break status;
            }
            if !told && self.interrupted.load(Ordering::SeqCst) {
                told = true;
                self.signal(Signal::INT);
            }
            std::thread::sleep(LOOK);
        };
        let stdout = fs::read_to_string(&self.out).context("cannot read what a command said")?;
        Ok(Ended {
            status,
            stdout,
            log: self.log.clone(),
        })
    }
}

impl Ended {
    /// The end of its log, for those who ask why.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let text = format!("{}{log}", self.stdout);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}
