//! Where everything of a run lies on the manager's machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;

/// Paths of a repository and an inventory in it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Of the repository.
    pub root: PathBuf,
    /// Cargo's.
    pub target: PathBuf,
    /// The inventory.
    pub inventory: PathBuf,
}

impl Place {
    /// Of this program: cargo built it into `<target>/debug` of the repository.
    ///
    /// # Errors
    /// It was moved.
    pub fn find(inventory: Option<&Path>) -> Result<Self> {
        let this = std::env::current_exe().context("where is this program?")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let root = root
            .context("xtask/provision is a folder of the repository")?
            .to_owned();
        let inventory = inventory.map_or_else(|| root.join("infra/inventory.yaml"), Path::to_owned);
        Ok(Self {
            target: this.ancestors().nth(2).context("not in a target directory")?.to_owned(),
            inventory: std::path::absolute(&inventory).with_context(|| inventory.display().to_string())?,
            root,
        })
    }

    /// `inventory.lock.yaml`, beside `inventory.yaml`.
    pub fn lock(&self) -> PathBuf {
        self.inventory.with_extension("lock.yaml")
    }

    /// Held by one run at a time.
    pub fn run_lock(&self) -> PathBuf {
        let name = self
            .inventory
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.inventory.with_file_name(format!(".{name}.lock"))
    }

    /// The table of prices.
    pub fn prices(&self) -> PathBuf {
        self.root.join("infra/prices.yaml")
    }

    fn work(&self) -> PathBuf {
        self.target.join("provision")
    }

    /// What is brought to the machines.
    pub fn supplies(&self) -> PathBuf {
        self.work().join("supplies")
    }

    /// For ssh that outlives us.
    pub fn known_hosts(&self, machine: &Name) -> PathBuf {
        self.work().join("known_hosts").join(machine.as_str())
    }

    /// First host keys of machines that were asked for and not reached yet: private parts, for this user alone. Asked
    /// for again, a machine must be told the same.
    pub fn first_boot(&self, program: &Name, machine: &Name, generation: u32) -> PathBuf {
        self.work()
            .join("first-boot")
            .join(format!("{program}.{machine}.{generation}"))
    }

    /// The logs of a run.
    pub fn logs(&self, started: Moment) -> PathBuf {
        self.work().join(started.to_string().replace(':', "-"))
    }
}
