//! What is asked of EC2, apart from how: so that everything but that is tested without it.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use optivex_bundle::inventory::{InstanceType, RoleName};
use optivex_bundle::names::Name;
use optivex_bundle::secret::Secret;
use optivex_bundle::ssh_key::PublicKey;

use crate::plan::World;

/// An instance that is to be made.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its machine.
    pub machine: Name,
    /// What it is for.
    pub role: RoleName,
    /// Which one of its name it is.
    pub generation: u32,
    /// The same token, the same instance, however often it is asked for.
    pub client_token: String,
    /// What it is made from.
    pub image: String,
    /// Its type.
    pub instance_type: InstanceType,
    /// Its disk.
    pub disk_gib: u32,
    /// What it shows at first, kept as a tag, too: whoever may read tags may know it.
    pub host_key: PublicKey,
    /// What it is told at its first boot.
    pub user_data: Secret,
}

/// An instance was asked for with this token before, and with other data: it is found by its tags, if it is there, and
/// otherwise the next run asks for the next generation.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenTaken(pub String);

/// Where a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where we connect.
    pub ours: String,
    /// Where others of the program connect.
    pub private: String,
}

/// What makes machines.
pub trait Cloud: Sync {
    /// What is there, by tag; whether the key pair is this key. Instances that are `noted` are looked for by their ids,
    /// too: one that is new is not always found by its tag yet.
    fn observe(&self, manager: &PublicKey, noted: &[String]) -> Result<World>;
    /// Makes the key known, in place of another one of its name.
    fn import_key(&self, manager: &PublicKey) -> Result<()>;
    /// Makes the security groups and their rules what they must be.
    fn set_groups(&self) -> Result<()>;
    /// What machines are made from: the one that was noted, unless the inventory names another.
    fn image(&self, noted: Option<&str>) -> Result<String>;
    /// Asks for an instance; gives its id at once. The error is [`TokenTaken`] where that is what is wrong.
    fn launch(&self, launch: &Launch) -> Result<String>;
    /// Waits until it runs, at most so long.
    fn await_running(&self, instance: &str, limit: Duration) -> Result<Addresses>;
    /// Starts one that was stopped.
    fn start(&self, instance: &str) -> Result<()>;
    /// Notes what it shows.
    fn tag_host_key(&self, instance: &str, host_key: &PublicKey) -> Result<()>;
    /// Ends instances for good, and waits until they are gone, at most so long.
    fn terminate(&self, instances: &[String], limit: Duration) -> Result<()>;
    /// Removes key pair and security groups, once no instance needs them.
    fn remove_shared(&self) -> Result<()>;
}

/// Of a program all of whose machines are there already.
#[derive(Debug)]
pub struct NoCloud;

impl fmt::Display for NoCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the inventory has no aws:")
    }
}

impl NoCloud {
    fn refuse<T>(&self) -> Result<T> {
        Err(anyhow::anyhow!("{self}"))
    }
}

impl Cloud for NoCloud {
    fn observe(&self, _: &PublicKey, _: &[String]) -> Result<World> {
        Ok(World::default())
    }

    fn import_key(&self, _: &PublicKey) -> Result<()> {
        self.refuse()
    }

    fn set_groups(&self) -> Result<()> {
        self.refuse()
    }

    fn image(&self, _: Option<&str>) -> Result<String> {
        self.refuse()
    }

    fn launch(&self, _: &Launch) -> Result<String> {
        self.refuse()
    }

    fn await_running(&self, _: &str, _: Duration) -> Result<Addresses> {
        self.refuse()
    }

    fn start(&self, _: &str) -> Result<()> {
        self.refuse()
    }

    fn tag_host_key(&self, _: &str, _: &PublicKey) -> Result<()> {
        self.refuse()
    }

    fn terminate(&self, _: &[String], _: Duration) -> Result<()> {
        Ok(())
    }

    fn remove_shared(&self) -> Result<()> {
        Ok(())
    }
}
