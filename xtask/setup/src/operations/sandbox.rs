//! What submissions run in: bubblewrap, for which plain users must be allowed to make namespaces.

use super::file::File;
use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::step::{Step, Who};

pub(crate) struct Sandbox;

/// Setting, the value that forbids namespaces, the one that allows them.
const SETTINGS: [(&str, &str, &str); 2] = [
    // Debian's own, before 11.
    ("kernel.unprivileged_userns_clone", "0", "1"),
    // Of the RHEL family.
    ("user.max_user_namespaces", "0", "16384"),
];
const SYSCTL_FILE: &str = "/etc/sysctl.d/90-optivex.conf";

/// Of Ubuntu, from 23.10: namespaces only for programs that a profile allows them to.
const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";
const PROFILE_FILE: &str = "/etc/apparmor.d/optivex-bwrap";
const PROFILE: &str = "# Written by cargo xtask provision: submissions run in bubblewrap.\n\
                       abi <abi/4.0>,\n\
                       include <tunables/global>\n\
                       \n\
                       profile optivex-bwrap /usr/bin/bwrap flags=(unconfined) {\n  userns,\n}\n";

fn sysctl_text() -> String {
    let lines = SETTINGS.iter().map(|(name, _, allows)| format!("-{name} = {allows}\n"));
    format!(
        "# Written by cargo xtask provision: submissions run in namespaces.\n{}",
        lines.collect::<String>()
    )
}

impl Operation for Sandbox {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        File::new(SYSCTL_FILE, sysctl_text()).asks(base, asks);
        File::new(PROFILE_FILE, PROFILE.to_owned()).asks(base, asks);
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let value = |name: &str| facts.base.sysctl.get(name).map(String::as_str);
        let forbidden: Vec<_> = SETTINGS
            .iter()
            .filter(|(name, forbids, _)| value(name) == Some(forbids))
            .collect();
        let file = File::new(SYSCTL_FILE, sysctl_text());
        // Once there it is what keeps the settings over the next boot.
        if !forbidden.is_empty() || facts.paths.contains_key(SYSCTL_FILE) {
            file.plan(facts, plan);
        }
        for (name, _, allows) in forbidden {
            let argv = ["sysctl", "--quiet", "--write", &format!("{name}={allows}")];
            plan.steps.push(Step::run("allowing namespaces", &Who::Root, &argv));
        }
        let profile = File::new(PROFILE_FILE, PROFILE.to_owned());
        if value(APPARMOR) == Some("1") && profile.differs(facts) {
            profile.plan(facts, plan);
            let argv = ["apparmor_parser", "--replace", "--write-cache", "--", PROFILE_FILE];
            plan.steps
                .push(Step::run("allowing bubblewrap namespaces", &Who::Root, &argv));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn sandboxes() {
        let set = |name: &str, value: &str| {
            with(debian(), |facts| {
                facts.base.sysctl.insert(name.to_owned(), value.to_owned());
            })
        };
        expect![[r#"
            allowed:
            nothing
            forbidden on Debian:
            root$ put /etc/sysctl.d/90-optivex.conf 644
                | # Written by cargo xtask provision: submissions run in namespaces.
                | -kernel.unprivileged_userns_clone = 1
                | -user.max_user_namespaces = 16384
            root$ sysctl --quiet --write 'kernel.unprivileged_userns_clone=1'
            forbidden on RHEL:
            root$ put /etc/sysctl.d/90-optivex.conf 644
                | # Written by cargo xtask provision: submissions run in namespaces.
                | -kernel.unprivileged_userns_clone = 1
                | -user.max_user_namespaces = 16384
            root$ sysctl --quiet --write 'user.max_user_namespaces=16384'
            Ubuntu:
            root$ put /etc/apparmor.d/optivex-bwrap 644
                | # Written by cargo xtask provision: submissions run in bubblewrap.
                | abi <abi/4.0>,
                | include <tunables/global>
                | 
                | profile optivex-bwrap /usr/bin/bwrap flags=(unconfined) {
                |   userns,
                | }
            root$ apparmor_parser --replace --write-cache -- /etc/apparmor.d/optivex-bwrap
            Ubuntu, with the profile:
            nothing
            without the settings:
            nothing
        "#]]
        .assert_eq(&table(
            &Sandbox,
            [
                ("allowed", set("kernel.unprivileged_userns_clone", "1")),
                ("forbidden on Debian", set("kernel.unprivileged_userns_clone", "0")),
                ("forbidden on RHEL", set("user.max_user_namespaces", "0")),
                ("Ubuntu", set(APPARMOR, "1")),
                (
                    "Ubuntu, with the profile",
                    with(set(APPARMOR, "1"), |facts| {
                        facts.file(PROFILE_FILE, "root", 0o644, PROFILE)
                    }),
                ),
                ("without the settings", debian()),
            ],
        ));
    }
}
