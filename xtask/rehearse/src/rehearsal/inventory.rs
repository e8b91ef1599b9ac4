//! The inventory of the rehearsal, as its manager would write it.

use std::fmt::Write;

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
    /// Names and public keys.
    pub(super) participants: Vec<(String, String)>,
    /// Of dev machines.
    pub(super) packages: Vec<String>,
}

impl Inventory {
    pub(super) fn text(&self) -> String {
        let Self { ami, subnet, .. } = self;
        let packages = self.packages.join(", ");
        let mut text = format!(
            "# Written by cargo xtask rehearse.\n\
             program: {{id: {PROGRAM}, end: 2099-01-01T00:00:00Z, budget_usd: 100000000}}\n\
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

/// Participants' names: alice, bob, carol, dan, and then by number.
pub(super) fn name(index: usize) -> String {
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "dan"];
    NAMES
        .get(index)
        .map_or_else(|| format!("team-{}", index + 1), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn as_a_manager_writes_it() {
        let inventory = Inventory {
            ami: "ami-1".to_owned(),
            subnet: "subnet-1".to_owned(),
            participants: vec![(name(0), "ssh-ed25519 AAAA alice".to_owned())],
            packages: vec!["optivex-rehearsal".to_owned()],
        };
        expect![[r##"
            # Written by cargo xtask rehearse.
            program: {id: rehearsal, end: 2099-01-01T00:00:00Z, budget_usd: 100000000}
            aws:
              region: eu-central-1
              ami: ami-1
              subnet: subnet-1
              ingress: [198.51.100.1/32]
              connect: private
              login: admin
            roles:
              dev: {instance_type: t3.large, disk_gib: 40, packages: [optivex-rehearsal]}
              uat: {instance_type: c7i.2xlarge, disk_gib: 80, slots: 2, tools: manager}
            uat: [{id: uat}]
            participants:
            - {id: alice, keys: ["ssh-ed25519 AAAA alice"], branch: alice, uat: uat}
        "##]].assert_eq(&inventory.text());
        assert_eq!([name(3), name(4)], ["dan", "team-5"]);
    }
}
