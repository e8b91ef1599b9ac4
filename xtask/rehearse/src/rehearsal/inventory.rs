//! The inventory of the rehearsal, as its manager would write it.

use std::fmt::Write;

use optivex_bundle::moment::Moment;

use super::{LOGIN, REGION};
use crate::hosts::MANAGER;

/// The program's id.
pub(super) const PROGRAM: &str = "rehearsal";
/// The UAT machine.
pub(super) const UAT: &str = "uat";

/// What stands in it.
#[derive(Clone, Debug)]
pub(super) struct Inventory {
    pub(super) ami: String,
    pub(super) subnet: String,
    pub(super) end: Moment,
    /// Names and public keys.
    pub(super) participants: Vec<(String, String)>,
    /// Of dev machines.
    pub(super) packages: Vec<String>,
}

impl Inventory {
    pub(super) fn text(&self) -> String {
        let Self { ami, subnet, end, .. } = self;
        let packages = self.packages.join(", ");
        let mut text = format!(
            "# Written by cargo xtask rehearse.\n\
             program: {{id: {PROGRAM}, end: {end}, budget_usd: 100000}}\n\
             aws:\n\
             \x20 region: {REGION}\n\
             \x20 ami: {ami}\n\
             \x20 subnet: {subnet}\n\
             \x20 ingress: [{MANAGER}/32]\n\
             \x20 connect: private\n\
             \x20 login: {LOGIN}\n\
             roles:\n\
             \x20 dev: {{instance_type: t3.large, disk_gib: 40, packages: [{packages}]}}\n\
             \x20 uat: {{instance_type: c7i.2xlarge, disk_gib: 80, slots: 2, tools: manager}}\n\
             uat: [{{id: {UAT}}}]\n\
             participants:\n"
        );
        for (name, key) in &self.participants {
            // Writing to a string does not fail.
            let _ = writeln!(text, "- {{id: {name}, keys: [\"{key}\"], branch: {name}, uat: {UAT}}}");
        }
        text
    }
}

/// One as it will be, but for what only EC2 tells.
pub(super) fn sample() -> Inventory {
    Inventory {
        ami: "ami-0123456789abcdef0".to_owned(),
        subnet: "subnet-0123456789abcdef0".to_owned(),
        end: Moment::from_unix_s(4_000_000_000),
        participants: vec![(
            name(0),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqa2x6 alice".to_owned(),
        )],
        packages: vec!["optivex-rehearsal".to_owned()],
    }
}

/// Participants' names: alice, bob, carol, dan, and then by number.
pub(super) fn name(index: usize) -> String {
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "dan"];
    NAMES
        .get(index)
        .map_or_else(|| format!("team-{}", index + 1), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn as_a_manager_writes_it() {
        let inventory = sample();
        let read = optivex_bundle::inventory::Inventory::parse(&inventory.text(), Path::new("inventory.yaml"));
        let read = read.unwrap_or_else(|error| panic!("{error}\n{}", inventory.text()));
        let machines: Vec<String> = read.machines().map(|machine| machine.id.to_string()).collect();
        assert_eq!(machines, ["uat", "alice"]);
        assert_eq!([name(3), name(4)], ["dan", "team-5"]);
    }
}
