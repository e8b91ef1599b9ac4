//! What each machine is to be like, as a plan compares it.

use optivex_bundle::digest::Digest;
use optivex_bundle::inventory::{Inventory, Machine};
use optivex_bundle::lock::Lock;
use optivex_bundle::names::Name;
use optivex_setup::Supplies;
use optivex_setup::spec::{Links, Spec};

use crate::plan::Wanted;

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
        Spec::of(self.inventory, machine, self.supplies)
    }

    /// What a machine is told of others; none while something of that is not known.
    pub fn links_of(&self, machine: &Machine<'_>, lock: &Lock) -> Option<Links> {
        Links::of(self.inventory, machine, lock)
    }
}

impl Wanted for Terms<'_> {
    fn setup(&self, machine: &Machine<'_>) -> Digest {
        let spec = self.spec(machine);
        let end = spec.end.map(|end| end.to_string()).unwrap_or_default();
        Digest::of(format!("{} {end}", spec.hash()).as_bytes())
    }

    fn links(&self, machine: &Machine<'_>, lock: &Lock) -> Option<Digest> {
        self.links_of(machine, lock).map(|links| links.hash())
    }
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
