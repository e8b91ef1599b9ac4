//! What sets machines up: over SSH, or in tests something that only counts.

use std::path::PathBuf;

use anyhow::{Context, Result};
use optivex_bundle::inventory::{Inventory, Machine};
use optivex_bundle::lock::LockedMachine;
use optivex_bundle::names::Name;
use optivex_setup::log::Log;
use optivex_setup::spec::{Links, Spec};
use optivex_setup::ssh::{Connection, Host, Ssh};
use optivex_setup::{Event, Outcome, host_key};

use crate::apply::Apply;
use crate::wanted;

/// What sets machines up.
pub trait Hands: Sync {
    /// Makes a machine what it is by itself; its own host key first.
    ///
    /// # Errors
    /// It cannot be reached, or a step failed.
    fn set_up(&self, apply: &Apply<'_>, machine: &Machine<'_>, spec: &Spec) -> Result<Outcome>;

    /// Tells a machine of others.
    ///
    /// # Errors
    /// It cannot be reached, or a step failed.
    fn link(&self, apply: &Apply<'_>, machine: &Machine<'_>, spec: &Spec, links: &Links) -> Result<Outcome>;
}

/// Over SSH.
pub struct OverSsh {
    /// All connections of the run.
    pub ssh: Ssh,
    /// A file a machine.
    pub logs: PathBuf,
}

impl OverSsh {
    /// The log of a machine's set-up.
    ///
    /// # Errors
    /// The disk's.
    pub fn log(&self, machine: &Name) -> Result<Log> {
        let file = self.logs.join(format!("{machine}.log"));
        Log::create(&file).with_context(|| file.display().to_string())
    }

    /// A connection by the keys that are pinned.
    ///
    /// # Errors
    /// See [`Ssh::connect`].
    pub fn connect(&self, apply: &Apply<'_>, machine: &Machine<'_>) -> Result<Connection<'_>> {
        let host = host(apply.inventory, machine, &apply.notes.of(machine.id)?)?;
        Ok(self.ssh.connect(&host, &self.log(machine.id)?)?)
    }

    /// Has the machine make a new host key in place of the pinned one, and notes it.
    ///
    /// # Errors
    /// What was done until then is noted, and the next run goes on from there.
    pub fn replace_host_key(&self, apply: &Apply<'_>, machine: &Machine<'_>) -> Result<()> {
        let locked = apply.notes.of(machine.id)?;
        let old = locked.host_key.clone().context("no host key is pinned")?;
        let connection = self.connect(apply, machine)?;
        let new = host_key::replace(&self.ssh, &connection, &old, |new| {
            apply
                .notes
                .machine(machine.id, |locked| locked.next_host_key = Some(new.clone()))
        })?;
        if let Some(instance) = &locked.instance {
            apply.cloud.tag_host_key(instance, &new)?;
        }
        apply.notes.machine(machine.id, |locked| {
            locked.host_key = Some(new);
            (locked.next_host_key, locked.host_key_handed_over) = (None, false);
            // Others are told of it.
            locked.links = None;
        })
    }
}

/// As ssh has to know it.
///
/// # Errors
/// Its address is not known.
pub fn host(inventory: &Inventory, machine: &Machine<'_>, locked: &LockedMachine) -> Result<Host> {
    let (login, port) = wanted::login(inventory, machine);
    let address = locked.address.clone();
    Ok(Host {
        name: machine.id.to_string(),
        address: address.with_context(|| format!("the address of {} is not known", machine.id))?,
        port,
        login,
        host_keys: locked.host_key.iter().chain(&locked.next_host_key).cloned().collect(),
    })
}

fn told(apply: &Apply<'_>, machine: &Name, event: Event) {
    match event {
        Event::Looking => (apply.tell)(machine, "looking at it"),
        Event::Step { number, of, what } => (apply.tell)(machine, &format!("[{number}/{of}] {what}")),
    }
}

impl Hands for OverSsh {
    fn set_up(&self, apply: &Apply<'_>, machine: &Machine<'_>, spec: &Spec) -> Result<Outcome> {
        let locked = apply.notes.of(machine.id)?;
        if locked.host_key_handed_over || locked.next_host_key.is_some() {
            (apply.tell)(machine.id, "having it make its own host key");
            self.replace_host_key(apply, machine)?;
        }
        let connection = self.connect(apply, machine)?;
        Ok(optivex_setup::machine(&connection, spec, &|event| {
            told(apply, machine.id, event)
        })?)
    }

    fn link(&self, apply: &Apply<'_>, machine: &Machine<'_>, spec: &Spec, links: &Links) -> Result<Outcome> {
        let connection = self.connect(apply, machine)?;
        Ok(optivex_setup::link(&connection, spec, links, &|event| {
            told(apply, machine.id, event)
        })?)
    }
}
