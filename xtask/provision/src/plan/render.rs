//! A plan for people.

use std::fmt;

use super::{Action, Plan, Surplus};

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImportKey => write!(f, "+ key pair      your ~/.ssh/id_optivex.pub"),
            Self::SetGroups => write!(f, "+ network       security groups and their rules"),
            Self::Terminate {
                machine,
                instance,
                why: Surplus::NotWanted,
            } => write!(f, "- {machine:<13} terminate {instance}: not in the inventory"),
            Self::Terminate { machine, instance, .. } => {
                write!(
                    f,
                    "- {machine:<13} terminate {instance}: another instance is this machine"
                )
            }
            Self::Forget { machine } => write!(f, "- {machine:<13} leaves the lock file"),
            Self::Launch {
                machine,
                role,
                instance_type,
                disk_gib,
                generation,
            } => {
                let again = if *generation > 1 { ", made again" } else { "" };
                write!(
                    f,
                    "+ {machine:<13} launch {role}: {instance_type}, {disk_gib} GiB{again} (id known after apply)"
                )
            }
            Self::Adopt { machine, instance } => write!(f, "~ {machine:<13} adopt {instance}, found by its tag"),
            Self::Start { machine, instance } => write!(f, "~ {machine:<13} start {instance}"),
            Self::Await { machine } => write!(f, "~ {machine:<13} wait until it runs (addresses known after apply)"),
            Self::SetUp { machine } => write!(f, "~ {machine:<13} set up over SSH"),
            Self::Connect { machine } => write!(f, "~ {machine:<13} tell it of the others (keys known after apply)"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for action in &self.actions {
            writeln!(f, "{action}")?;
        }
        if self.actions.is_empty() {
            writeln!(f, "Nothing to do.")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let cost = &self.cost;
        write!(
            f,
            "{:.2} $/h, {:.2} $ until the end in {:.1} h, of a budget of {:.2} $ (prices of {})",
            cost.usd_per_hour, cost.usd_until_end, cost.hours, cost.budget_usd, cost.prices_of
        )
    }
}
