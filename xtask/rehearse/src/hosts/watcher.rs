//! What EC2 does between its API and its machines: for every instance that runs there is a host, and for no other.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::host::{Host, scrap};
use super::machine::{Image, Machine};
use super::network::Bridge;
use crate::ec2::{Ec2, Instance};

/// EC2's machines come up within a minute; ours within this and two seconds.
const POLL: Duration = Duration::from_millis(200);

/// Where hosts are kept, and what is on them.
#[derive(Clone, Debug)]
pub struct Places {
    /// Becomes a host when asked, see [`BE_A_HOST`](super::BE_A_HOST).
    pub program: PathBuf,
    /// See [`Machine::system`].
    pub system: PathBuf,
    /// See [`Machine::disk`].
    pub disk: PathBuf,
    /// One log a host.
    pub logs: PathBuf,
    /// See [`Machine::login`].
    pub login: String,
    /// See [`Machine::image`].
    pub image: Image,
}

/// The hosts of all instances. Dropped, all are off.
#[derive(Debug)]
pub struct Hosts {
    shared: Arc<Shared>,
    stop: Option<Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ec2: Ec2,
    bridge: Bridge,
    places: Places,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By instance id.
    hosts: BTreeMap<String, Slot>,
    /// What went wrong since the last question.
    problems: Vec<String>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    power: Power,
}

#[derive(Debug)]
enum Power {
    On(Box<Host>),
    /// Its disk is kept.
    Off(Box<Machine>),
    /// It did not boot, and is not tried again.
    Broken,
}

/// A host as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The tag `Name` of its instance, or the instance's id.
    pub name: String,
    /// The instance's id.
    pub id: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its first process, as seen from the rehearsal.
    pub first_process: u32,
}

impl Hosts {
    /// Starts to watch.
    pub fn watch(ec2: Ec2, bridge: Bridge, places: Places) -> Result<Self> {
        for dir in [&places.system, &places.disk, &places.logs] {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let shared = Arc::new(Shared {
            ec2,
            bridge,
            places,
            state: Mutex::default(),
        });
        let (stop, stopped) = mpsc::channel::<()>();
        let watcher = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("hosts".to_owned())
                .spawn(move || {
                    while stopped.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                        if let Err(error) = shared.follow() {
                            shared.state().problems.push(format!("{error:#}"));
                        }
                    }
                })
                .context("cannot start a thread")?
        };
        Ok(Self {
            shared,
            stop: Some(stop),
            watcher: Some(watcher),
        })
    }

    /// Those that are on.
    pub fn running(&self) -> Vec<Seen> {
        let state = self.shared.state();
        let seen = state.hosts.iter().filter_map(|(id, slot)| match &slot.power {
            Power::On(host) => Some(Seen {
                name: slot.name.clone(),
                id: id.clone(),
                address: host.machine().address,
                first_process: host.first_process().ok()?,
            }),
            Power::Off(_) | Power::Broken => None,
        });
        seen.collect()
    }

    /// What went wrong since the last question: hosts that did not boot or ended by themselves, moto not answering.
    pub fn problems(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().problems)
    }

    /// Cuts the power of the host of that name. It stays off until [`Hosts::restore`].
    pub fn cut_power(&self, name: &str) -> Result<()> {
        let mut state = self.shared.state();
        let slot = named(&mut state, name)?;
        slot.power = match std::mem::replace(&mut slot.power, Power::Broken) {
            Power::On(host) => Power::Off(Box::new(host.power_off())),
            other => other,
        };
        Ok(())
    }

    /// Power is back: it boots from the disk that it had.
    pub fn restore(&self, name: &str) -> Result<()> {
        let machine = match &named(&mut self.shared.state(), name)?.power {
            Power::Off(machine) => Machine::clone(machine),
            Power::On(_) => return Ok(()),
            Power::Broken => bail!("{name} is broken"),
        };
        let host = self.shared.boot(machine)?;
        named(&mut self.shared.state(), name)?.power = Power::On(Box::new(host));
        Ok(())
    }

    /// EC2 as the watcher asks it.
    pub fn ec2(&self) -> &Ec2 {
        &self.shared.ec2
    }

    /// What the kernel holds of hosts: their cables, and mounts below their directories.
    pub fn held(&self) -> Result<Vec<String>> {
        let mut held = self.shared.bridge.cables()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        let system = format!("{}/", self.shared.places.system.display());
        held.extend(
            mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(4))
                .filter(|point| point.starts_with(&system))
                .map(str::to_owned),
        );
        for dir in [&self.shared.places.system, &self.shared.places.disk] {
            for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
                held.push(entry.context("cannot read a name")?.path().display().to_string());
            }
        }
        Ok(held)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        self.shared.state().hosts.clear();
    }
}

fn named<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Slot> {
    state
        .hosts
        .values_mut()
        .find(|slot| slot.name == name)
        .with_context(|| format!("there is no host {name}"))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look at EC2, and what follows from it. New hosts boot side by side.
    fn follow(self: &Arc<Self>) -> Result<()> {
        let instances = self.ec2.instances()?;
        let mut fresh = Vec::new();
        for instance in &instances {
            let known = self.state().hosts.contains_key(&instance.id);
            match instance.state.as_str() {
                "running" if !known => fresh.push(instance),
                "running" | "pending" | "stopping" | "stopped" => {}
                _ => self.remove(&instance.id)?,
            }
        }
        let known: Vec<String> = self.state().hosts.keys().cloned().collect();
        for id in known.iter().filter(|id| !instances.iter().any(|i| i.id == **id)) {
            self.remove(id)?;
        }
        std::thread::scope(|scope| {
            for instance in fresh {
                scope.spawn(|| self.start(instance));
            }
        });
        self.look_after();
        Ok(())
    }

    fn start(&self, instance: &Instance) {
        let name = instance.name.clone().unwrap_or_else(|| instance.id.clone());
        let power = match self.machine(instance).and_then(|machine| self.boot(machine)) {
            Ok(host) => Power::On(Box::new(host)),
            Err(error) => {
                self.state().problems.push(format!("{name}: {error:#}"));
                Power::Broken
            }
        };
        self.state().hosts.insert(instance.id.clone(), Slot { name, power });
    }

    fn machine(&self, instance: &Instance) -> Result<Machine> {
        let id = instance.id.clone();
        let address = instance
            .address
            .with_context(|| format!("{id} has no private address"))?;
        let login_keys = match &instance.key_name {
            Some(key) => self.ec2.public_key(key)?.into_iter().collect(),
            None => Vec::new(),
        };
        let user_data = String::from_utf8(self.ec2.user_data(&id)?).context("user data that is not text")?;
        Ok(Machine {
            system: self.places.system.join(&id),
            disk: self.places.disk.join(&id),
            id,
            address,
            login: self.places.login.clone(),
            login_keys,
            user_data,
            image: self.places.image.clone(),
        })
    }

    fn boot(&self, machine: Machine) -> Result<Host> {
        let log = self.places.logs.join(format!("{}.log", machine.id));
        Host::boot(&self.places.program, machine, &self.bridge, &log)
    }

    fn remove(&self, id: &str) -> Result<()> {
        let Some(slot) = self.state().hosts.remove(id) else {
            return Ok(());
        };
        match slot.power {
            Power::On(host) => scrap(&host.power_off()),
            Power::Off(machine) => scrap(&machine),
            Power::Broken => {
                super::remove(&self.places.system.join(id))?;
                super::remove(&self.places.disk.join(id))
            }
        }
    }

    /// Hosts that ended without anybody's doing.
    fn look_after(&self) {
        let mut state = self.state();
        let mut problems = Vec::new();
        for slot in state.hosts.values_mut() {
            if let Power::On(host) = &mut slot.power
                && !host.is_up()
            {
                problems.push(format!("{} ended by itself", slot.name));
                slot.power = Power::Off(Box::new(host.machine().clone()));
            }
        }
        state.problems.extend(problems);
    }
}
