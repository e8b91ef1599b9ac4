//! From wanted and observed to actions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use optivex_bundle::inventory::{Inventory, Machine, RoleName, Standing};
use optivex_bundle::lock::{Lock, LockedMachine};
use optivex_bundle::names::Name;

use super::{Action, Cost, Input, Instance, Plan, Refusal, State, Surplus};

/// EC2 lists what it made within seconds; it says minutes.
const LISTED_WITHIN: Duration = Duration::from_secs(15 * 60);

/// The plan.
///
/// # Errors
/// The program is over, it would cost too much, or nobody knows what it would cost.
pub fn plan(input: &Input<'_>) -> Result<Plan, Refusal> {
    let Input { inventory, now, .. } = *input;
    let program = &inventory.program;
    if program.end <= now {
        return Err(Refusal::Ended(program.end));
    }
    in_sight(inventory, input.lock)?;
    same_roles(input)?;
    let cost = cost(input)?;
    if cost.usd_until_end > cost.budget_usd {
        return Err(Refusal::Budget(cost));
    }
    let mut planner = Planner {
        input,
        actions: Vec::new(),
        notes: Vec::new(),
        unsettled: BTreeSet::new(),
    };
    planner.shared();
    let chosen = planner.surplus();
    planner.machines(&chosen);
    planner.connections();
    planner.between_keys();
    Ok(Plan {
        actions: planner.actions,
        notes: planner.notes,
        cost,
    })
}

/// Instances are looked for by tag, in one region: whoever looks elsewhere sees none, and takes that for gone.
///
/// # Errors
/// The lock file tells of some where the inventory does not look.
pub fn in_sight(inventory: &Inventory, lock: &Lock) -> Result<(), Refusal> {
    let wanted = inventory.aws.as_ref().map(|aws| aws.region.clone());
    let Some(region) = lock.region.clone() else {
        return Ok(());
    };
    let machines = lock.machines.iter();
    let made: Vec<&str> = machines
        // One that was asked for, and not noted, may be there as well.
        .filter(|(_, locked)| locked.instance.is_some() || locked.client_token.is_some())
        .map(|(name, _)| name.as_str())
        .collect();
    if made.is_empty() || wanted.as_ref() == Some(&region) {
        return Ok(());
    }
    Err(Refusal::OutOfSight {
        machines: made.join(", "),
        region,
        wanted,
    })
}

fn same_roles(input: &Input<'_>) -> Result<(), Refusal> {
    let is_meant = |machine: &Machine<'_>| input.scope.is_none_or(|scope| scope.contains(machine.id));
    let changed = input.inventory.machines().filter(is_meant).find_map(|machine| {
        let locked = input.lock.machines.get(machine.id)?;
        (locked.role != machine.role).then(|| Refusal::OtherRole {
            machine: machine.id.clone(),
            was: locked.role,
            wanted: machine.role,
        })
    });
    changed.map_or(Ok(()), Err)
}

fn cost(input: &Input<'_>) -> Result<Cost, Refusal> {
    let program = &input.inventory.program;
    let running = by_machine(input);
    let usd_per_hour = input.prices.per_hour(input.inventory, |machine| {
        let (wanted, wanted_gib) = input.inventory.hardware(machine.role);
        let Some(instance) = running.get(machine.id).map(|instances| instances[0]) else {
            return (wanted, wanted_gib);
        };
        let gib = disk_of(input.lock.machines.get(machine.id), instance);
        (
            instance.instance_type.as_ref().unwrap_or(wanted),
            gib.unwrap_or(wanted_gib),
        )
    })?;
    let hours = program.end.since(input.now).as_secs_f64() / 3_600.0;
    Ok(Cost {
        usd_per_hour,
        hours,
        usd_until_end: usd_per_hour * hours,
        budget_usd: program.budget_usd.amount(),
        prices_of: input.prices.date.clone(),
    })
}

/// The disk that an instance was made with, where the lock file tells of that very one.
fn disk_of(locked: Option<&LockedMachine>, instance: &Instance) -> Option<u32> {
    let locked = locked.filter(|locked| locked.instance.as_ref() == Some(&instance.id))?;
    locked.disk_gib
}

/// The instances of each machine that has any: the one that is the machine first.
fn by_machine<'a>(input: &Input<'a>) -> BTreeMap<&'a Name, Vec<&'a Instance>> {
    let mut by_machine: BTreeMap<&Name, Vec<&Instance>> = BTreeMap::new();
    for instance in &input.world.instances {
        if instance.state != State::ShuttingDown {
            by_machine.entry(&instance.machine).or_default().push(instance);
        }
    }
    for (machine, instances) in &mut by_machine {
        let noted = input
            .lock
            .machines
            .get(*machine)
            .and_then(|locked| locked.instance.as_deref());
        // The one that people know; without a note the oldest, where most work is.
        instances.sort_by_key(|instance| (noted != Some(instance.id.as_str()), instance.generation, &instance.id));
    }
    by_machine
}

struct Planner<'a> {
    input: &'a Input<'a>,
    actions: Vec<Action>,
    notes: Vec<String>,
    /// Machines of which something that others are told is not known before it is done.
    unsettled: BTreeSet<&'a Name>,
}

impl<'a> Planner<'a> {
    fn wanted(&self) -> impl Iterator<Item = Machine<'a>> + use<'a> {
        self.input.inventory.machines()
    }

    fn made_on_ec2(&self) -> impl Iterator<Item = Machine<'a>> + use<'a> {
        self.wanted().filter(|machine| machine.standing.is_none())
    }

    fn is_meant(&self, machine: &Name) -> bool {
        self.input.scope.is_none_or(|scope| scope.contains(machine))
    }

    fn locked(&self, machine: &Name) -> Option<&'a LockedMachine> {
        self.input.lock.machines.get(machine)
    }

    fn add(&mut self, action: Action) {
        if action.machine().is_none_or(|machine| self.is_meant(machine)) {
            self.actions.push(action);
        }
    }

    /// Key and groups, while any machine needs them.
    fn shared(&mut self) {
        if self.made_on_ec2().next().is_none() {
            return;
        }
        if self.input.world.key_is_ours != Some(true) {
            self.add(Action::ImportKey);
        }
        if !self.input.world.groups_are_right {
            self.add(Action::SetGroups);
        }
    }

    /// Ends what is too much; gives the instance that is each machine.
    fn surplus(&mut self) -> BTreeMap<&'a Name, &'a Instance> {
        let wanted: BTreeSet<&Name> = self.made_on_ec2().map(|machine| machine.id).collect();
        let mut chosen = BTreeMap::new();
        for (machine, instances) in by_machine(self.input) {
            let kept = usize::from(wanted.contains(machine));
            let why = if kept == 1 { Surplus::Double } else { Surplus::NotWanted };
            for instance in &instances[kept.min(instances.len())..] {
                self.add(Action::Terminate {
                    machine: machine.clone(),
                    instance: instance.id.clone(),
                    why,
                });
            }
            if kept == 1 {
                chosen.insert(machine, instances[0]);
            }
        }
        for (instance, why) in &self.input.world.unknown {
            self.notes.push(format!(
                "{instance} carries the program's tag, and {why}: end it in the console, or by destroy"
            ));
        }
        let all: BTreeSet<&Name> = self.wanted().map(|machine| machine.id).collect();
        for machine in self.input.lock.machines.keys() {
            if !all.contains(machine) {
                self.add(Action::Forget {
                    machine: machine.clone(),
                });
            }
        }
        chosen
    }

    fn machines(&mut self, chosen: &BTreeMap<&'a Name, &'a Instance>) {
        for machine in self.wanted() {
            let is_new = match machine.standing {
                Some(standing) => self.is_elsewhere(&machine, standing),
                None => self.instance(&machine, chosen.get(machine.id).copied()),
            };
            let locked = self.locked(machine.id);
            let has_key = locked.is_some_and(|locked| locked.account_key.is_some());
            let setup = locked.and_then(|locked| locked.setup);
            // A set-up also tells the account's key, if a lock file was edited.
            let sets_up = is_new || !has_key || setup != Some(self.input.wanted.setup(&machine));
            // It puts a next host key in place, too: of a `rotate-keys` that was cut off, maybe before others were told.
            let shows_another = sets_up && locked.is_some_and(|locked| locked.next_host_key.is_some());
            // What a machine has lost, its key for others may be of.
            if is_new || !has_key || setup.is_none() || shows_another {
                self.unsettled.insert(machine.id);
            }
            if sets_up {
                self.add(Action::SetUp {
                    machine: machine.id.clone(),
                });
            }
        }
    }

    /// Whether a machine of its own is another one than was set up.
    fn is_elsewhere(&mut self, machine: &Machine<'_>, standing: &Standing) -> bool {
        let Some(locked) = self.locked(machine.id) else {
            return false;
        };
        let stands = locked.stands_at(standing);
        if let Some(pinned) = &locked.host_key
            && stands
            && *pinned != standing.host_key
        {
            self.notes.push(format!(
                "{}: its host key was replaced, and the one in the lock file counts. The inventory has the one before: \
                 write host_key: {pinned}",
                machine.id
            ));
        }
        !stands
    }

    /// Whether a machine was asked for a moment ago, and may be one that EC2 does not list yet: asked for again, it would
    /// be there twice.
    fn may_come(&self, locked: Option<&LockedMachine>) -> bool {
        let Some((locked, id)) = locked.and_then(|locked| Some((locked, locked.instance.as_ref()?))) else {
            return false;
        };
        let asked = locked.asked.map(|asked| self.input.now.since(asked));
        let seen = self.input.world.instances.iter().any(|instance| instance.id == *id);
        let is_known = locked.address.is_some() || seen || self.input.world.ended.contains(id);
        !is_known && asked.is_some_and(|since| since < LISTED_WITHIN)
    }

    /// Sees to it that a machine has an instance that runs; tells whether it is another one than was set up.
    fn instance(&mut self, machine: &Machine<'a>, instance: Option<&'a Instance>) -> bool {
        let id = || machine.id.clone();
        let locked = self.locked(machine.id);
        let Some(instance) = instance else {
            if self.may_come(locked) {
                self.add(Action::Await { machine: id() });
                return true;
            }
            let (instance_type, disk_gib) = self.input.inventory.hardware(machine.role);
            self.add(Action::Launch {
                machine: id(),
                role: machine.role,
                instance_type: instance_type.clone(),
                disk_gib,
                generation: self.generation(machine.id, locked),
            });
            self.add(Action::Await { machine: id() });
            return true;
        };
        let (wanted, wanted_gib) = self.input.inventory.hardware(machine.role);
        if let Some(gib) = disk_of(locked, instance)
            && gib != wanted_gib
        {
            self.notes.push(format!(
                "{0} has a disk of {gib} GiB, and the inventory says {wanted_gib}: a machine keeps its disk. To have it made \
                 again, take {0} out, apply, and put it back: what is on the disk goes with it",
                machine.id
            ));
        }
        if let Some(kind) = &instance.instance_type
            && kind != wanted
        {
            self.notes.push(format!(
                "{0} is a {kind}, and the inventory says {wanted}: a machine keeps its type. To have it made again, take {0} \
                 out, apply, and put it back: its disk goes with it",
                machine.id
            ));
        }
        let is_noted = locked.is_some_and(|locked| locked.instance.as_deref() == Some(&instance.id));
        if !is_noted {
            self.add(Action::Adopt {
                machine: id(),
                instance: instance.id.clone(),
            });
        }
        if instance.state == State::Stopped {
            self.add(Action::Start {
                machine: id(),
                instance: instance.id.clone(),
            });
        }
        let has_address = is_noted && locked.is_some_and(|locked| locked.address.is_some());
        if !has_address || instance.state == State::Stopped {
            self.add(Action::Await { machine: id() });
            self.unsettled.insert(machine.id);
        }
        !is_noted
    }

    /// The same one while nobody knows whether it was made: EC2 tells by the token. One more once it was.
    fn generation(&self, machine: &Name, locked: Option<&LockedMachine>) -> u32 {
        let seen = self.input.world.instances.iter();
        let seen = seen
            .filter(|instance| instance.machine == *machine)
            .map(|instance| instance.generation + 1)
            .max();
        let noted = locked.map(|locked| locked.generation + u32::from(locked.instance.is_some()));
        seen.max(noted).unwrap_or(1)
    }

    /// Tells of a `rotate-keys` that did not come to its end: all goes on, with more keys admitted than need be.
    fn between_keys(&mut self) {
        let between = self.wanted().filter(|machine| self.is_meant(machine.id));
        let between = between.filter(|machine| self.locked(machine.id).is_some_and(LockedMachine::is_between_keys));
        let between: Vec<&str> = between.map(|machine| machine.id.as_str()).collect();
        if !between.is_empty() {
            self.notes.push(format!(
                "rotate-keys was cut off at {}: old keys and new ones are admitted. Run it again",
                between.join(", ")
            ));
        }
    }

    /// Tells machines of others, where what they are told is new, or not known yet.
    fn connections(&mut self) {
        let inventory = self.input.inventory;
        for machine in self.wanted() {
            let peers: Vec<&Name> = match (machine.role, machine.participant) {
                (RoleName::Dev, Some(participant)) => vec![&inventory.uat_of(participant).id],
                _ => {
                    let theirs = inventory.participants.iter();
                    let theirs = theirs.filter(|participant| inventory.uat_of(participant).id == *machine.id);
                    theirs.map(|participant| &participant.id).collect()
                }
            };
            let is_open = |name: &Name| self.unsettled.contains(name);
            let sets_up = |action: &Action| matches!(action, Action::SetUp { machine: set } if set == machine.id);
            let told = self.locked(machine.id).and_then(|locked| locked.links);
            let links = self.input.wanted.links(&machine, self.input.lock);
            let connects = is_open(machine.id)
                || peers.iter().any(|peer| is_open(peer))
                || self.actions.iter().any(sets_up)
                || links.is_none()
                || links != told;
            if connects {
                self.add(Action::Connect {
                    machine: machine.id.clone(),
                });
            }
        }
    }
}
