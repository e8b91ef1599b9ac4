//! What every command starts from: the inventory, the lock file, the cloud, the keys.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use optivex_bundle::inventory::Inventory;
use optivex_bundle::lock::Lock;
use optivex_bundle::moment::Moment;
use optivex_bundle::run_lock::{Holder, RunLock, RunLockError};
use optivex_bundle::ssh_key::PublicKey;
use optivex_exit::{Exit, Failure};
use optivex_setup::{Supplies, keys};

use crate::cloud::{Cloud, NoCloud};
use crate::cloud_ec2::Ec2Cloud;
use crate::place::Place;
use crate::plan::World;
use crate::prices::Prices;

/// What people and tools have written down, and how to reach the rest.
pub struct Session {
    /// Where files are.
    pub place: Place,
    /// What people want.
    pub inventory: Inventory,
    /// What that costs.
    pub prices: Prices,
    /// What makes machines.
    pub cloud: Box<dyn Cloud>,
    /// The manager's private key file.
    pub identity: PathBuf,
    /// Its public part.
    pub manager: PublicKey,
    /// When the run began.
    pub started: Moment,
    /// Ctrl-C.
    pub stop: Arc<AtomicBool>,
}

impl Session {
    /// Reads everything, and makes the manager's key if there is none.
    ///
    /// # Errors
    /// Usage, for what people wrote; otherwise what is missing.
    pub fn open(place: Place) -> Result<Self> {
        let inventory =
            Inventory::load(&place.inventory).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let prices = Prices::load(&place.prices())?;
        let home = std::env::home_dir().context("no home directory")?;
        let (identity, manager) = keys::manager(&home)?;
        let cloud: Box<dyn Cloud> = match &inventory.aws {
            Some(aws) => Box::new(Ec2Cloud::connect(aws, &inventory.program.id)?),
            None => Box::new(NoCloud),
        };
        Ok(Self {
            place,
            inventory,
            prices,
            cloud,
            identity,
            manager,
            started: Moment::now(),
            stop: Arc::default(),
        })
    }

    /// The lock file as it is.
    ///
    /// # Errors
    /// It makes no sense, or is another program's.
    pub fn lock(&self) -> Result<Lock> {
        Ok(Lock::load(&self.place.lock(), &self.inventory.program.id)?)
    }

    /// What is there on EC2.
    ///
    /// # Errors
    /// EC2's.
    pub fn observe(&self, lock: &Lock) -> Result<World> {
        let noted: Vec<String> = lock.machines.values().filter_map(|one| one.instance.clone()).collect();
        self.cloud.observe(&self.manager, &noted)
    }

    /// One run at a time; and from here on Ctrl-C ends it after the step that it is in.
    ///
    /// # Errors
    /// Another run holds it.
    pub fn hold(&self, command: &str, steal: bool) -> Result<RunLock> {
        let stop = Arc::clone(&self.stop);
        ctrlc::set_handler(move || {
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Failed as i32);
            }
            eprintln!("\nending: commands on machines are cut off, requests to EC2 are waited for, and the next run goes on from there; once more ends at once");
        })
        .context("Ctrl-C cannot be handled")?;
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        let holder = Holder {
            user: user.unwrap_or_else(|_| "somebody".to_owned()),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            pid: std::process::id(),
            command: command.to_owned(),
            since: self.started,
        };
        RunLock::take(&self.place.run_lock(), &holder, steal).map_err(|error| match error {
            RunLockError::Held { .. } => Failure::new(Exit::Locked, error.to_string()).into(),
            RunLockError::Io { .. } => error.into(),
        })
    }

    /// What is brought to machines: built or packed now, which takes its time where it is new.
    ///
    /// # Errors
    /// It does not build.
    pub fn supplies(&self, release: bool) -> Result<Supplies> {
        let place = &self.place;
        Supplies::prepare(&self.inventory, &place.root, &place.target, &place.supplies(), release)
            .map_err(|error| Failure::new(Exit::BuildFailed, format!("{error:#}")).into())
    }
}
