//! What every part of the daemon needs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use optivex_bundle::durable;
use optivex_bundle::spool::Spool;

use super::config::Config;
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
}

impl Context {
    /// Opens the spool; makes what is missing in it.
    pub fn open(config: Config, spool: &Path, tests_folder: &Path, steps: Steps) -> Result<Self> {
        let state = State::create(Spool::new(spool))?;
        let key = config.signing_key.clone().unwrap_or_else(|| state.file("id_sign"));
        let bench = Bench {
            program: own_program(&state)?,
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
        })
    }

    /// Takes control groups, if they were delegated: only who runs jobs should.
    pub fn with_cgroups(mut self) -> Self {
        // As root, submissions run as nobody, to whom these groups do not belong.
        if !rustix::process::getuid().is_root() {
            self.bench.cgroups = cgroup::Delegated::take();
        }
        self
    }

    /// The tests that count now.
    pub fn tests(&self) -> Result<Tests> {
        pinned::unpacked(&self.tests_folder, pinned::current(&self.tests_folder)?, &self.state)
    }

    /// Account of a slot's submissions.
    pub fn account(&self, slot: u32) -> Option<u32> {
        let first = self.config.first_account.unwrap_or(FIRST_ACCOUNT);
        rustix::process::getuid().is_root().then_some(first + slot)
    }
}

/// This program, where submissions' accounts may start it: as root, it may be anywhere.
fn own_program(state: &State) -> Result<PathBuf> {
    let own = std::env::current_exe().context("where is this program?")?;
    if !rustix::process::getuid().is_root() {
        return Ok(own);
    }
    let copy = state.file("bin").join("uat-daemon");
    if is_copy(&own, &copy)? {
        return Ok(copy);
    }
    let temporary = state.file("bin").join(format!("{}.tmp", durable::unique()));
    fs::copy(&own, &temporary).with_context(|| own.display().to_string())?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))?;
    durable::rename(&temporary, &copy).with_context(|| copy.display().to_string())?;
    Ok(copy)
}

/// Whether this very build was copied before.
fn is_copy(own: &Path, copy: &Path) -> Result<bool> {
    let Ok(there) = fs::metadata(copy) else {
        return Ok(false);
    };
    let own = fs::metadata(own).with_context(|| own.display().to_string())?;
    Ok(own.len() == there.len() && own.modified()? <= there.modified()?)
}
