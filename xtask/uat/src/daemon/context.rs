//! What every part of the daemon needs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use optivex_bundle::digest::Digest;
use optivex_bundle::durable;
use optivex_bundle::spool::Spool;

use super::config::{Config, SLOTS_MAX};
use super::judge::{Bench, Tests};
use super::ledger::Ledger;
use super::pinned;
use super::sign::Signer;
use super::state::State;
use super::steps::Steps;
use crate::sandbox::cgroup;

/// First of the user ids that submissions run as where the daemon is root: of those that systemd keeps for services
/// without a user of their own.
const FIRST_ACCOUNT: u32 = 61_900;

/// Copies of programs that are kept: daemon, two exchanges, and as many of versions before.
const PROGRAMS_KEPT: usize = 12;

/// What every part of the daemon needs.
#[derive(Debug)]
pub struct Context {
    /// Settings.
    pub config: Config,
    /// Files.
    pub state: State,
    /// `CK_TESTS_DIR`.
    pub tests_folder: PathBuf,
    /// What all jobs share.
    pub bench: Bench,
    /// Signs results.
    pub signer: Signer,
    /// Results, in order.
    pub ledger: Ledger,
    /// For tests of crashes.
    pub steps: Steps,
    /// Copies of programs, by where they were.
    pinned: Mutex<BTreeMap<PathBuf, PathBuf>>,
}

impl Context {
    /// Opens the spool; makes what is missing in it.
    pub fn open(config: Config, spool: &Path, tests_folder: &Path, steps: Steps) -> Result<Self> {
        let state = State::create(Spool::new(spool))?;
        let own = std::env::current_exe().context("where is this program?")?;
        let key = config.signing_key.clone().unwrap_or_else(|| state.file("id_sign"));
        let bench = Bench {
            program: own,
            cgroups: None,
            limits: config.limits,
        };
        Ok(Self {
            signer: Signer::new(&key)?,
            ledger: Ledger::new(state.file("ledger.jsonl")),
            tests_folder: tests_folder.to_owned(),
            bench,
            state,
            config,
            steps,
            pinned: Mutex::default(),
        })
    }

    /// For who runs jobs: pins this program, and takes control groups if they were delegated.
    pub fn for_jobs(mut self) -> Result<Self> {
        self.bench.program = own_program(&self.state)?;
        // As root, submissions run as nobody, to whom these groups do not belong.
        if !rustix::process::getuid().is_root() {
            self.bench.cgroups = cgroup::Delegated::take();
        }
        Ok(self)
    }

    /// The tests that count now.
    pub fn tests(&self) -> Result<Tests> {
        pinned::unpacked(&self.tests_folder, pinned::current(&self.tests_folder)?, &self.state)
    }

    /// Account that submissions run as, where the daemon is root.
    pub fn account(&self, of: Account) -> Option<u32> {
        let first = self.config.first_account.unwrap_or(FIRST_ACCOUNT);
        let number = match of {
            Account::Slot(slot) => slot,
            // Behind those of all slots that there can be: whoever rejudges need not know how many there are.
            Account::SelfTest => SLOTS_MAX,
            Account::Rejudge => SLOTS_MAX + 1,
        };
        rustix::process::getuid().is_root().then_some(first + number)
    }

    /// An exchange of the self-test as it was when it was first asked for: what is installed later is another version's.
    pub fn pinned(&self, program: &Path) -> Result<PathBuf> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(copy) = pinned.get(program) {
            return Ok(copy.clone());
        }
        let copy = copied(File::open(program), program, &self.state)?;
        pinned.insert(program.to_owned(), copy.clone());
        Ok(copy)
    }
}

/// Whose processes have an account of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Submissions of a slot.
    Slot(u32),
    /// Exchanges of the self-test.
    SelfTest,
    /// What is judged again.
    Rejudge,
}

/// This program as it runs, where submissions' accounts may start it. Its own file may be replaced any time by a newer
/// one, which the parts of a cell must not be.
fn own_program(state: &State) -> Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    copied(File::open(own), own, state)
}

/// A copy that stays as it is, named by what it is a copy of.
fn copied(program: io::Result<File>, path: &Path, state: &State) -> Result<PathBuf> {
    let at = || path.display().to_string();
    let mut program = program.with_context(at)?;
    let (digest, _) = Digest::of_reader(&mut program).with_context(at)?;
    let copy = state.file("bin").join(digest.to_string());
    if copy.exists() {
        // The newest ones are kept.
        File::open(&copy)?.set_modified(SystemTime::now()).with_context(at)?;
        return Ok(copy);
    }
    let temporary = state.file("bin").join(format!("{}.tmp", durable::unique()));
    let written = File::create(&temporary).and_then(|mut file| {
        program.seek(SeekFrom::Start(0))?;
        io::copy(&mut program, &mut file)?;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        file.sync_all()?;
        drop(file);
        durable::rename(&temporary, &copy)
    });
    if let Err(error) = written {
        // It may not be there.
        let _ = fs::remove_file(&temporary);
        return Err(error).with_context(|| format!("{} to {}", at(), copy.display()));
    }
    Ok(copy)
}

/// Removes the oldest copies of programs: whoever runs one began before many others were installed, or has ended.
pub(super) fn forget_programs(state: &State) -> Result<()> {
    let folder = state.file("bin");
    let mut copies = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        copies.push((entry.metadata()?.modified()?, entry.path()));
    }
    copies.sort();
    for (_, path) in copies.iter().rev().skip(PROGRAMS_KEPT) {
        fs::remove_file(path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
