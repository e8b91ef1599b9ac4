//! What is to be done: a list of actions, from what is wanted and what is there. No I/O, no clock: `apply` runs exactly
//! this list.
//!
//! Only what carries the program's tag is looked at; what does not is never part of a plan.

mod compute;
mod render;
#[cfg(test)]
mod tests;

use optivex_bundle::digest::Digest;
use optivex_bundle::inventory::{InstanceType, Inventory, Machine, Region, RoleName};
use optivex_bundle::lock::Lock;
use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;
use optivex_bundle::ssh_key::PublicKey;
use serde::Serialize;

pub use compute::{in_sight, plan};

use crate::prices::{NoPrice, Prices};

/// One step. Those of one machine follow each other; those of several may run at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// The manager's public key becomes known to EC2; another one of that name goes.
    ImportKey,
    /// The security groups and their rules become as they must be.
    SetGroups,
    /// A stray instance goes for good.
    Terminate {
        /// Its machine.
        machine: Name,
        /// Its id.
        instance: String,
        /// Why.
        why: Surplus,
    },
    /// The lock file no longer tells of a machine.
    Forget {
        /// Its name.
        machine: Name,
    },
    /// A machine is made.
    Launch {
        /// Its name.
        machine: Name,
        /// What it is for.
        role: RoleName,
        /// Its type.
        instance_type: InstanceType,
        /// Its disk.
        disk_gib: u32,
        /// Which one of its name it is.
        generation: u32,
    },
    /// An instance that the lock file does not know is the machine's.
    Adopt {
        /// Its name.
        machine: Name,
        /// Its id.
        instance: String,
    },
    /// A machine that was stopped goes on.
    Start {
        /// Its name.
        machine: Name,
        /// Its id.
        instance: String,
    },
    /// We wait until it runs, and note its addresses.
    Await {
        /// Its name.
        machine: Name,
    },
    /// It is set up by SSH, as far as it stands by itself.
    SetUp {
        /// Its name.
        machine: Name,
    },
    /// It is told of other machines: addresses, host keys, keys that they made.
    Connect {
        /// Its name.
        machine: Name,
    },
}

/// Why an instance is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surplus {
    /// The inventory has no such machine to be made on EC2.
    NotWanted,
    /// Another instance is that machine.
    Double,
}

/// What EC2 says of the program, by tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Whether the key pair is the manager's key; none if there is no key pair.
    pub key_is_ours: Option<bool>,
    /// Whether both groups are there, with exactly the rules that they must have.
    pub groups_are_right: bool,
    /// Whether there is any group.
    pub has_groups: bool,
    /// Instances that are not terminated.
    pub instances: Vec<Instance>,
    /// Of those that the lock file notes: which ones are terminated, and not only unknown to EC2.
    pub ended: Vec<String>,
    /// Instances with the program's tag of which other tags do not tell what they are: id, and what is wrong.
    pub unknown: Vec<(String, String)>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// The machine that it is, by tag.
    pub machine: Name,
    /// What it does.
    pub state: State,
    /// Which one of that name it is, by tag.
    pub generation: u32,
    /// Its type: what it costs, whatever the inventory says by now. None if EC2 tells none that we can read.
    pub instance_type: Option<InstanceType>,
    /// What it must show, by tag: EC2 tells us who we are talking to, where the lock file does not.
    pub host_key: Option<PublicKey>,
}

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Starts, or runs.
    Up,
    /// Stops, or is stopped.
    Stopped,
    /// Goes for good.
    ShuttingDown,
}

/// What a machine is to be like. Hashes, for a plan compares and does not look inside.
pub trait Wanted {
    /// By itself, its end included.
    fn setup(&self, machine: &Machine<'_>) -> Digest;
    /// As far as it is told of other machines; none while something of that is not known yet.
    fn links(&self, machine: &Machine<'_>, lock: &Lock) -> Option<Digest>;
}

/// All that a plan is made from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// What people want.
    pub inventory: &'a Inventory,
    /// What that costs.
    pub prices: &'a Prices,
    /// What tools know.
    pub lock: &'a Lock,
    /// What is there.
    pub world: &'a World,
    /// What the machines are to be like.
    pub wanted: &'a dyn Wanted,
    /// When it is.
    pub now: Moment,
    /// Machines that it is about; all if none. What they share is always part of it.
    pub scope: Option<&'a [Name]>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// In the order in which they are done, as far as there is one.
    pub actions: Vec<Action>,
    /// What is not as the inventory says and no action mends.
    pub notes: Vec<String>,
    /// What it costs.
    pub cost: Cost,
}

/// What all machines of the inventory cost, whether they are there or are to be made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Dollars an hour.
    pub usd_per_hour: f64,
    /// From now to the program's end.
    pub hours: f64,
    /// Both.
    pub usd_until_end: f64,
    /// What may be spent.
    pub budget_usd: f64,
    /// Of when the prices are.
    pub prices_of: String,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A price is not known.
    #[error(transparent)]
    NoPrice(#[from] NoPrice),
    /// It would cost too much.
    #[error(
        "{:.2} $/h for {:.1} h until the program's end are {:.2} $, above the budget of {:.2} $. Raise budget_usd, or take \
         smaller types, fewer machines or an earlier end",
        .0.usd_per_hour, .0.hours, .0.usd_until_end, .0.budget_usd
    )]
    Budget(Cost),
    /// The program is over.
    #[error("the program ended on {0}. Move program.end, or: cargo xtask provision destroy")]
    Ended(Moment),
    /// Instances stand where we would not look: they would be paid for and forgotten.
    #[error(
        "{machines} stand in {region}, and the inventory {}",
        match .wanted {
            Some(wanted) => format!("says {wanted}. Set aws.region back, and: cargo xtask provision destroy"),
            None => "has no aws: any more. Put it back until an apply has taken them down".to_owned(),
        }
    )]
    OutOfSight {
        /// Which ones.
        machines: String,
        /// Where.
        region: Region,
        /// Where we would look.
        wanted: Option<Region>,
    },
    /// A machine would become one of another role: with what it was before still on it, in the other one's network.
    #[error(
        "{machine} was made as {was}, and the inventory wants it as {wanted}. Give the new one another id; or take {machine} \
         out, apply, and put it back: its disk goes with it"
    )]
    OtherRole {
        /// Which one.
        machine: Name,
        /// As it was made.
        was: RoleName,
        /// As it is wanted.
        wanted: RoleName,
    },
}

impl Action {
    /// The machine that it is about.
    pub fn machine(&self) -> Option<&Name> {
        match self {
            Self::ImportKey | Self::SetGroups => None,
            Self::Terminate { machine, .. }
            | Self::Forget { machine }
            | Self::Launch { machine, .. }
            | Self::Adopt { machine, .. }
            | Self::Start { machine, .. }
            | Self::Await { machine }
            | Self::SetUp { machine }
            | Self::Connect { machine } => Some(machine),
        }
    }
}

impl Plan {
    /// Whether it ends instances, with all that is on them.
    pub fn ends_machines(&self) -> bool {
        let ends = |action: &Action| matches!(action, Action::Terminate { .. });
        self.actions.iter().any(ends)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

/// With which EC2 makes the machine's instance of that generation once, however often it is asked: at most 64 characters
/// of ASCII.
pub fn client_token(program: &Name, salt: &str, machine: &Name, generation: u32) -> String {
    Digest::of(format!("optivex\0{program}\0{salt}\0{machine}\0{generation}").as_bytes()).to_string()
}
