//! What each machine is to be like: the set-up's terms, made of the inventory, the lock file, and what is brought along.

use std::collections::BTreeMap;

use anyhow::Result;
use optivex_bundle::digest::Digest;
use optivex_bundle::inventory::{Inventory, Machine, Tools as Where};
use optivex_bundle::lock::{Lock, LockedMachine};
use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;
use optivex_setup::spec::{Links, Participant, Peer, Role, Spec, Template, Tools};
use optivex_setup::supplies;

use crate::place::Place;
use crate::plan::Wanted;

/// What is brought to the machines from here.
#[derive(Clone, Debug)]
pub struct Supplies {
    template: Template,
    dev: Tools,
    uat: Tools,
}

impl Supplies {
    /// Makes what there is not yet: the template's repository, our sources, or our programs.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn make(place: &Place, inventory: &Inventory, release: bool) -> Result<Self> {
        let into = place.supplies();
        let template = match &inventory.template.url {
            Some(url) => Template::Url(url.to_string()),
            None => supplies::own(&place.root, &into)?,
        };
        let (dev, uat) = match inventory.roles.uat.tools {
            Where::Uat => {
                let sources = supplies::sources(&place.root, &into)?;
                (sources.clone(), sources)
            }
            Where::Manager => {
                let dev = Role::Dev {
                    keys: Vec::new(),
                    branch: String::new(),
                    template: template.clone(),
                };
                let build = |role: &Role| supplies::built_here(&place.root, &place.target, role, release);
                (build(&dev)?, build(&Role::Uat)?)
            }
        };
        Ok(Self { template, dev, uat })
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        let tools = Tools::Manager(BTreeMap::new());
        Self {
            template: Template::Url("https://example.org/t.git".to_owned()),
            dev: tools.clone(),
            uat: tools,
        }
    }
}

/// The terms of every machine's set-up.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What people want.
    pub inventory: &'a Inventory,
    /// What is brought along.
    pub supplies: &'a Supplies,
}

impl Terms<'_> {
    /// A machine by itself.
    pub fn spec(&self, machine: &Machine<'_>) -> Spec {
        let (role, tools) = match machine.participant {
            Some(participant) => (
                Role::Dev {
                    keys: participant.keys.clone(),
                    branch: participant.branch().to_owned(),
                    template: self.supplies.template.clone(),
                },
                &self.supplies.dev,
            ),
            None => (Role::Uat, &self.supplies.uat),
        };
        let packages = self.inventory.packages(machine.role);
        Spec {
            name: machine.id.clone(),
            packages: packages.iter().map(ToString::to_string).collect(),
            // A machine that somebody lent us is theirs to turn off.
            end: machine.standing.is_none().then(|| timer(self.inventory.program.end)),
            role,
            tools: tools.clone(),
        }
    }

    /// What a machine is told of others; none while something of that is not known.
    pub fn links_of(&self, machine: &Machine<'_>, lock: &Lock) -> Option<Links> {
        let peer = |id: &Name| {
            let locked = lock.machines.get(id)?;
            peer(id, locked, self.port(id))
        };
        match machine.participant {
            Some(participant) => {
                let uat = &self.inventory.uat_of(participant).id;
                Some(Links::Dev {
                    uat: peer(uat)?,
                    results_key: Some(lock.machines.get(uat)?.account_key.clone()?),
                })
            }
            None => {
                let theirs = self.inventory.participants.iter();
                let theirs = theirs.filter(|participant| self.inventory.uat_of(participant).id == *machine.id);
                let one = |participant: &optivex_bundle::inventory::Participant| {
                    let key = lock.machines.get(&participant.id)?.account_key.clone()?;
                    let known = Participant {
                        machine: Some(peer(&participant.id)?),
                        key: Some(key),
                    };
                    Some((participant.id.clone(), known))
                };
                Some(Links::Uat {
                    slots: self.inventory.roles.uat.slots,
                    participants: theirs.map(one).collect::<Option<BTreeMap<_, _>>>()?,
                })
            }
        }
    }

    fn port(&self, id: &Name) -> u16 {
        let machine = self.inventory.machines().find(|machine| machine.id == id);
        machine
            .and_then(|machine| machine.standing)
            .map_or(22, |standing| standing.port)
    }
}

impl Wanted for Terms<'_> {
    fn setup(&self, machine: &Machine<'_>) -> Digest {
        self.spec(machine).hash()
    }

    fn links(&self, machine: &Machine<'_>, lock: &Lock) -> Option<Digest> {
        self.links_of(machine, lock).map(|links| links.hash())
    }
}

fn peer(id: &Name, locked: &LockedMachine, port: u16) -> Option<Peer> {
    Some(Peer {
        account: id.clone(),
        address: locked.private_address.clone().or_else(|| locked.address.clone())?,
        port,
        host_key: locked.host_key.clone()?,
    })
}

/// As timers of systemd have it.
pub fn timer(end: Moment) -> String {
    end.to_string().replace('T', " ").replace('Z', "")
}

/// A machine by name.
pub fn machine<'a>(inventory: &'a Inventory, id: &Name) -> Option<Machine<'a>> {
    inventory.machines().find(|machine| machine.id == id)
}

/// Login, and port, of a machine.
pub fn login(inventory: &Inventory, machine: &Machine<'_>) -> (String, u16) {
    match (machine.standing, &inventory.aws) {
        (Some(standing), _) => (standing.login.to_string(), standing.port),
        (None, Some(aws)) => (aws.login.to_string(), 22),
        (None, None) => unreachable!("an inventory that was read has a place for every machine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_timers() {
        assert_eq!(timer(Moment::from_unix_s(1_804_874_400)), "2027-03-12 18:00:00");
    }
}
