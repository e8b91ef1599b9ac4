//! Packages, by apt or dnf.

use std::collections::BTreeSet;

use super::{Operation, Plan, toolchain};
use crate::facts::{Asks, Base, Facts, Family};
use crate::spec::{Role, Spec, Tools};
use crate::step::{Command, LONG, Step, Who};

pub(crate) struct Packages {
    account: String,
    apt: BTreeSet<String>,
    dnf: BTreeSet<String>,
}

/// What every machine needs: programs that the set-up itself uses, and what links Rust programs.
const BOTH: [&str; 3] = ["ca-certificates", "gcc", "git"];
const APT: [&str; 3] = ["curl", "libc6-dev", "openssh-client"];
/// dnf's own library brings a curl, under one of two names that exclude each other.
const DNF: [&str; 2] = ["glibc-devel", "openssh-clients"];

impl Packages {
    pub(crate) fn new(spec: &Spec) -> Self {
        let mut both: Vec<&str> = BOTH.to_vec();
        if matches!(spec.role, Role::Uat { .. }) {
            both.push("bubblewrap");
        }
        if matches!(spec.tools, Tools::Sources { .. }) {
            both.push("tar");
        }
        let all = |more: &[&str]| {
            let own = spec.packages.iter().map(String::as_str);
            both.iter().chain(more).copied().chain(own).map(str::to_owned).collect()
        };
        Self {
            account: spec.name.to_string(),
            apt: all(&APT),
            dnf: all(&DNF),
        }
    }

    fn of(&self, family: Family) -> &BTreeSet<String> {
        match family {
            Family::Apt => &self.apt,
            Family::Dnf => &self.dnf,
        }
    }
}

impl Operation for Packages {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        if let Some(family) = base.family {
            asks.packages.extend(self.of(family).iter().cloned());
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let Some(family) = facts.base.family else {
            plan.blocked.push(format!(
                "{} is neither of Debian's family (apt) nor of Fedora's (dnf): choose an image that is",
                facts.base.os
            ));
            return;
        };
        // curl is for the toolchain, where that has to be downloaded.
        let needless = |package: &str| package == "curl" && toolchain::is_there(facts, &self.account);
        let missing = self.of(family).iter();
        let missing = missing.filter(|package| !facts.packages.contains(*package) && !needless(package));
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        if missing.is_empty() {
            return;
        }
        let what = format!("installing {}", missing.join(", "));
        let mut run = |what: &str, first: &[&str], rest: &[&str]| {
            let command = Command::new(&Who::Root, &[first, rest].concat());
            let command = match family {
                Family::Apt => command
                    .env("DEBIAN_FRONTEND", "noninteractive")
                    .env("NEEDRESTART_MODE", "a"),
                Family::Dnf => command,
            };
            plan.steps.push(Step::command(what, command).within(LONG));
        };
        match family {
            Family::Apt => {
                // Updates of the system's own run at first boots, too, and hold the lock.
                let lock = "DPkg::Lock::Timeout=600";
                run(
                    "reading what packages there are",
                    &["apt-get", "-q", "-o", lock, "update"],
                    &[],
                );
                let install = [
                    "apt-get",
                    "-q",
                    "-o",
                    lock,
                    "install",
                    "--yes",
                    "--no-install-recommends",
                ];
                run(&what, &install, &missing);
            }
            Family::Dnf => run(&what, &["dnf", "--quiet", "--assumeyes", "install"], &missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, spec, table, uat, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn of_uat() {
        let mut spec = spec(uat());
        spec.packages = vec!["vim".to_owned()];
        let packages = Packages::new(&spec);
        let all_but_vim = |facts: &mut Facts| {
            facts.packages = packages.apt.clone();
            facts.packages.remove("vim");
        };
        let none = |name: &str, family| {
            with(debian(), |facts| {
                facts.base.family = family;
                facts.base.os = name.to_owned();
            })
        };
        expect![[r#"
            apt, none:
            root$ DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -q -o 'DPkg::Lock::Timeout=600' update
            root$ DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -q -o 'DPkg::Lock::Timeout=600' install --yes --no-install-recommends bubblewrap ca-certificates curl gcc git libc6-dev openssh-client vim
            apt, all but one:
            root$ DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -q -o 'DPkg::Lock::Timeout=600' update
            root$ DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -q -o 'DPkg::Lock::Timeout=600' install --yes --no-install-recommends vim
            apt, all:
            nothing
            dnf, none:
            root$ dnf --quiet --assumeyes install bubblewrap ca-certificates gcc git glibc-devel openssh-clients vim
            neither:
            blocked: Alpine is neither of Debian's family (apt) nor of Fedora's (dnf): choose an image that is
        "#]].assert_eq(&table(
            &packages,
            [
                ("apt, none", debian()),
                ("apt, all but one", with(debian(), all_but_vim)),
                (
                    "apt, all",
                    with(debian(), |facts| facts.packages = packages.apt.clone()),
                ),
                ("dnf, none", none("Amazon Linux 2023", Some(Family::Dnf))),
                ("neither", none("Alpine", None)),
            ],
        ));
    }
}
