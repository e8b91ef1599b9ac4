//! Carries a plan out: exactly its actions, each noted in the lock file before the next one could make it forgotten.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use optivex_bundle::durable;
use optivex_bundle::inventory::{Inventory, Machine};
use optivex_bundle::lock::{Lock, LockedMachine};
use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;
use optivex_bundle::secret::Secret;
use optivex_bundle::ssh_key::PublicKey;
use optivex_setup::keys::KeyPair;
use optivex_setup::user_data::user_data;

use crate::cloud::{Cloud, Launch, TokenTaken};
use crate::each::each;
use crate::hands::Hands;
use crate::place::Place;
use crate::plan::{Action, Wanted, World, client_token};
use crate::wanted::{self, Terms};

/// Instances take a minute; images with much to do some more.
const RUNNING_MAX: Duration = Duration::from_secs(600);
/// Until an instance that was told to go is gone.
const GONE_MAX: Duration = Duration::from_secs(900);

/// All that actions need.
pub struct Apply<'a> {
    /// What people want.
    pub inventory: &'a Inventory,
    /// What machines are to be like.
    pub terms: Terms<'a>,
    /// Where files are.
    pub place: &'a Place,
    /// What makes machines.
    pub cloud: &'a dyn Cloud,
    /// What sets them up.
    pub hands: &'a dyn Hands,
    /// The manager's key.
    pub manager: &'a PublicKey,
    /// What was there when the plan was made.
    pub world: &'a World,
    /// The lock file.
    pub notes: Notes,
    /// Machines that are worked on at a time.
    pub parallel: usize,
    /// Ctrl-C: nothing new is begun.
    pub stop: Arc<AtomicBool>,
    /// A line for whoever watches: machine, and what happens.
    pub tell: &'a (dyn Fn(&Name, &str) + Sync),
}

/// The lock file, in memory and on disk.
pub struct Notes {
    file: PathBuf,
    lock: Mutex<Lock>,
}

impl Notes {
    /// Of this file.
    pub fn new(file: PathBuf, lock: Lock) -> Self {
        Self {
            file,
            lock: Mutex::new(lock),
        }
    }

    fn guard(&self) -> MutexGuard<'_, Lock> {
        // A panic elsewhere leaves what was noted: each change is whole.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it stands.
    pub fn read(&self) -> Lock {
        self.guard().clone()
    }

    /// Changes it, and comes back once that is on the disk.
    ///
    /// # Errors
    /// The disk's; then the change is not made in memory either.
    pub fn note<T>(&self, change: impl FnOnce(&mut Lock) -> T) -> Result<T> {
        let mut guard = self.guard();
        let mut next = guard.clone();
        let result = change(&mut next);
        next.save(&self.file)
            .context("what happened cannot be noted: nothing more is begun")?;
        *guard = next;
        Ok(result)
    }

    /// Changes what is noted of a machine.
    ///
    /// # Errors
    /// As [`Notes::note`], and there is no such machine.
    pub fn machine(&self, id: &Name, change: impl FnOnce(&mut LockedMachine)) -> Result<()> {
        self.note(|lock| lock.machines.get_mut(id).map(change))?
            .with_context(|| format!("{id} is not in the lock file"))
    }

    /// What is noted of a machine.
    ///
    /// # Errors
    /// Nothing is.
    pub fn of(&self, id: &Name) -> Result<LockedMachine> {
        let found = self.guard().machines.get(id).cloned();
        found.with_context(|| format!("{id} is not in the lock file"))
    }
}

/// What came of one machine.
#[derive(Debug)]
pub struct Done {
    /// Which one.
    pub machine: Name,
    /// Actions that were carried out.
    pub actions: usize,
    /// What is not as usual, and no fault.
    pub notes: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// Why the rest was not done.
    pub error: Option<anyhow::Error>,
}

impl Apply<'_> {
    /// Carries out all actions; those of a machine one after the other, those of several at the same time.
    ///
    /// # Errors
    /// Something that all machines need failed. What failed on one machine is told of that machine, and the others go
    /// on.
    pub fn run(&self, actions: &[Action]) -> Result<Vec<Done>> {
        if actions.iter().any(|action| matches!(action, Action::Launch { .. })) {
            self.note_image()?;
        }
        let mut ending = Vec::new();
        for action in actions {
            match action {
                Action::ImportKey => self.cloud.import_key(self.manager)?,
                Action::SetGroups => self.cloud.set_groups()?,
                Action::Terminate { instance, .. } => ending.push(instance.clone()),
                _ => {}
            }
            self.go_on()?;
        }
        if !ending.is_empty() {
            self.cloud.terminate(&ending, GONE_MAX)?;
        }
        for action in actions {
            if let Action::Forget { machine } = action {
                self.notes.note(|lock| drop(lock.machines.remove(machine)))?;
            }
        }
        let is_alone = |action: &&Action| {
            matches!(
                action,
                Action::Launch { .. }
                    | Action::Adopt { .. }
                    | Action::Start { .. }
                    | Action::Await { .. }
                    | Action::SetUp { .. }
            )
        };
        let mut done: BTreeMap<Name, Done> = BTreeMap::new();
        self.round(actions.iter().filter(is_alone), &mut done);
        // Machines tell each other's keys only once all of them have some.
        self.round(
            actions.iter().filter(|action| matches!(action, Action::Connect { .. })),
            &mut done,
        );
        Ok(done.into_values().collect())
    }

    /// Actions of many machines, at most so many machines at a time; a machine that failed is left alone.
    fn round<'b>(&self, actions: impl Iterator<Item = &'b Action>, done: &mut BTreeMap<Name, Done>) {
        let mut chains: Vec<(Name, Vec<&Action>)> = Vec::new();
        for action in actions {
            let Some(machine) = action.machine() else { continue };
            match chains.iter_mut().find(|(name, _)| name == machine) {
                Some((_, chain)) => chain.push(action),
                None => chains.push((machine.clone(), vec![action])),
            }
        }
        chains.retain(|(machine, _)| done.get(machine).is_none_or(|done| done.error.is_none()));
        for one in each(&chains, self.parallel, |(machine, chain)| self.chain(machine, chain)) {
            match done.get_mut(&one.machine) {
                Some(before) => {
                    before.actions += one.actions;
                    before.notes.extend(one.notes);
                    before.took += one.took;
                    before.error = one.error;
                }
                None => drop(done.insert(one.machine.clone(), one)),
            }
        }
    }

    fn chain(&self, machine: &Name, actions: &[&Action]) -> Done {
        let started = Instant::now();
        let mut done = Done {
            machine: machine.clone(),
            actions: 0,
            notes: Vec::new(),
            took: Duration::ZERO,
            error: None,
        };
        for action in actions {
            let result = self.go_on().and_then(|()| self.act(action, &mut done.notes));
            if let Err(error) = result {
                (self.tell)(machine, &format!("FAILED: {error:#}"));
                done.error = Some(error);
                break;
            }
            done.actions += 1;
        }
        done.took = started.elapsed();
        done
    }

    /// Fails once somebody has pressed Ctrl-C.
    ///
    /// # Errors
    /// That.
    pub fn go_on(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(anyhow!("interrupted; the next run goes on from here")),
            false => Ok(()),
        }
    }

    fn act(&self, action: &Action, notes: &mut Vec<String>) -> Result<()> {
        match action {
            Action::ImportKey | Action::SetGroups | Action::Terminate { .. } | Action::Forget { .. } => Ok(()),
            Action::Launch {
                machine, generation, ..
            } => self.launch(machine, *generation),
            Action::Adopt { machine, instance } => self.adopt(machine, instance),
            Action::Start { machine, instance } => {
                (self.tell)(machine, "starting");
                self.cloud.start(instance)
            }
            Action::Await { machine } => self.await_running(machine),
            Action::SetUp { machine } => {
                let machine = self.machine(machine)?;
                self.set_up(&machine, notes)
            }
            Action::Connect { machine } => {
                let machine = self.machine(machine)?;
                let links = self.terms.links_of(&machine, &self.notes.read());
                let links = links.context("others that it is told of are not ready: run it again once they are")?;
                let outcome = self.hands.link(self, &machine, &self.terms.spec(&machine), &links)?;
                notes.extend(outcome.notes);
                self.notes
                    .machine(machine.id, |locked| locked.links = Some(links.hash()))
            }
        }
    }

    fn machine(&self, id: &Name) -> Result<Machine<'_>> {
        wanted::machine(self.inventory, id).with_context(|| format!("{id} is not in the inventory"))
    }

    /// Token and host key are on the disk before EC2 is asked, the id before anybody waits.
    fn launch(&self, id: &Name, generation: u32) -> Result<()> {
        let machine = self.machine(id)?;
        let program = &self.inventory.program;
        (self.tell)(id, "launching");
        let kept = self.place.first_boot(&program.id, id, generation);
        let host_key = first_host_key(&kept, id)?;
        let salt = self
            .notes
            .note(|lock| lock.salt.get_or_insert_with(durable::unique).clone())?;
        let client_token = client_token(&program.id, &salt, id, generation);
        let (instance_type, disk_gib) = self.inventory.hardware(machine.role);
        self.notes.note(|lock| {
            let fresh = LockedMachine {
                generation,
                client_token: Some(client_token.clone()),
                asked: Some(Moment::now()),
                disk_gib: Some(disk_gib),
                host_key: Some(host_key.public.clone()),
                host_key_handed_over: true,
                ..LockedMachine::new(machine.role)
            };
            lock.region = self.inventory.aws.as_ref().map(|aws| aws.region.clone());
            lock.machines.insert(id.clone(), fresh)
        })?;
        let image = self.notes.read().image.context("no image was looked up")?;
        let launch = Launch {
            machine: id.clone(),
            role: machine.role,
            generation,
            client_token,
            image,
            instance_type: instance_type.clone(),
            disk_gib,
            user_data: user_data(id, &host_key, self.manager, Some(program.end)),
            host_key: host_key.public,
        };
        let instance = match self.cloud.launch(&launch) {
            Ok(instance) => instance,
            Err(error) if error.is::<TokenTaken>() => {
                // Asked for again, it would be the same answer.
                self.notes.machine(id, |locked| {
                    (locked.generation, locked.client_token) = (generation + 1, None)
                })?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        self.notes.machine(id, |locked| locked.instance = Some(instance))
    }

    /// The same image for all machines, until the inventory names another. Looked up before any of them is made: one
    /// that looked for itself would be in the others' way, or find a newer one.
    fn note_image(&self) -> Result<()> {
        let named = self.inventory.aws.as_ref().map(|aws| aws.ami.to_string());
        let noted = self.notes.read();
        let noted = noted.image.filter(|_| noted.image_of == named);
        let image = self.cloud.image(noted.as_deref())?;
        self.notes
            .note(|lock| (lock.image, lock.image_of) = (Some(image), named))
    }

    /// Whose host key is what the lock file noted before it was asked for, or what its tag tells.
    fn adopt(&self, id: &Name, instance: &str) -> Result<()> {
        let machine = self.machine(id)?;
        let observed = self.world.instances.iter().find(|observed| observed.id == instance);
        let observed = observed.with_context(|| format!("{instance} is gone"))?;
        let before = self.notes.read().machines.get(id).cloned();
        let noted = before.filter(|locked| locked.generation == observed.generation && locked.instance.is_none());
        let host_key = noted.as_ref().and_then(|locked| locked.host_key.clone());
        let host_key = host_key.or_else(|| observed.host_key.clone()).with_context(|| {
            format!(
                "the host key of {id} ({instance}) is not known: neither the lock file nor its tag tells it. Terminate it, \
                 and the next run makes another one; or bring the lock file back"
            )
        })?;
        self.notes.note(|lock| {
            let fresh = LockedMachine {
                generation: observed.generation,
                disk_gib: noted.as_ref().and_then(|locked| locked.disk_gib),
                client_token: noted.and_then(|locked| locked.client_token),
                instance: Some(instance.to_owned()),
                host_key: Some(host_key),
                // A set-up sees by itself whether that was done.
                host_key_handed_over: true,
                ..LockedMachine::new(machine.role)
            };
            lock.region = self.inventory.aws.as_ref().map(|aws| aws.region.clone());
            lock.machines.insert(id.clone(), fresh);
        })
    }

    fn await_running(&self, id: &Name) -> Result<()> {
        (self.tell)(id, "waiting until it runs");
        let instance = self
            .notes
            .of(id)?
            .instance
            .with_context(|| format!("{id} has no instance"))?;
        let addresses = self.cloud.await_running(&instance, RUNNING_MAX)?;
        self.notes.machine(id, |locked| {
            locked.address = Some(addresses.ours);
            locked.private_address = Some(addresses.private);
        })
    }

    fn set_up(&self, machine: &Machine<'_>, notes: &mut Vec<String>) -> Result<()> {
        if let Some(standing) = machine.standing {
            self.notes.note(|lock| {
                let known = lock.machines.get(machine.id);
                if !known.is_some_and(|locked| locked.stands_at(standing)) {
                    let fresh = LockedMachine::standing(machine.role, standing);
                    lock.machines.insert(machine.id.clone(), fresh);
                }
            })?;
        }
        let spec = self.terms.spec(machine);
        let setup = self.terms.setup(machine);
        let outcome = self.hands.set_up(self, machine, &spec)?;
        notes.extend(outcome.notes);
        let key = outcome.learned.uat_key.or(outcome.learned.results_key);
        if key.is_none() {
            bail!("{} has no key of its own after its set-up", machine.id);
        }
        let end = machine.standing.is_none().then_some(self.inventory.program.end);
        self.notes.machine(machine.id, |locked| {
            if locked.account_key != key {
                locked.links = None;
            }
            if locked.next_account_key == key {
                locked.next_account_key = None;
            }
            (locked.account_key, locked.setup, locked.end) = (key, Some(setup), end);
        })?;
        let generation = self.notes.of(machine.id)?.generation;
        // Of no use to anybody any more; one that stays is no danger, for the machine shows another key by now.
        let _ = fs::remove_file(
            self.place
                .first_boot(&self.inventory.program.id, machine.id, generation),
        );
        Ok(())
    }
}

/// The host key that a machine shows at first: the same one, if it is asked for again after a run that was cut off.
fn first_host_key(kept: &std::path::Path, id: &Name) -> Result<KeyPair> {
    let place = || kept.display().to_string();
    match fs::read_to_string(kept) {
        Ok(text) => {
            let (public, private) = text.split_once('\n').with_context(place)?;
            return Ok(KeyPair {
                public: public.parse().with_context(place)?,
                private: Secret::new(private.to_owned()),
            });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(place),
    }
    let pair = KeyPair::make(id.as_str())?;
    if let Some(folder) = kept.parent() {
        durable::create_folders(folder).with_context(place)?;
    }
    let text = Secret::new(format!("{}\n{}", pair.public, pair.private.expose()));
    durable::write(kept, text.expose().as_bytes(), 0o600).with_context(place)?;
    Ok(pair)
}
