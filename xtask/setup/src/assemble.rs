//! From an inventory and its lock file to what machines shall be.

use std::path::Path;

use anyhow::Result;
use optivex_bundle::inventory::{self, Inventory, Machine, RoleName};
use optivex_bundle::lock::{Lock, LockedMachine};
use optivex_bundle::names::Name;

use crate::spec::{Links, Participant, Peer, Role, Spec, Template, Tests, Tools};
use crate::supplies;

/// What machines are made with, prepared once a run.
#[derive(Clone, Debug)]
pub struct Supplies {
    template: Template,
    dev: Tools,
    uat: Tools,
    tests: Tests,
}

impl Supplies {
    /// Prepares what this inventory's machines need, of the repository at `root`; files of it go below `into`, builds to
    /// `target`. `release` is for tools that are built here.
    ///
    /// # Errors
    /// git fails, or something does not build.
    pub fn prepare(inventory: &Inventory, root: &Path, target: &Path, into: &Path, release: bool) -> Result<Self> {
        let tests = supplies::tests(root)?;
        let dev = Role::Dev {
            keys: Vec::new(),
            branch: String::new(),
            template: Template::Url(String::new()),
        };
        let uat = Role::Uat { tests: tests.clone() };
        let (dev, uat) = match inventory.roles.uat.tools {
            inventory::Tools::Manager => (
                supplies::built_here(root, target, &dev, release)?,
                supplies::built_here(root, target, &uat, release)?,
            ),
            inventory::Tools::Uat => {
                let sources = supplies::sources(root, into)?;
                (sources.clone(), sources)
            }
        };
        Ok(Self {
            template: match &inventory.template.url {
                Some(url) => Template::Url(url.to_string()),
                None => supplies::own_template(root, into)?,
            },
            dev,
            uat,
            tests,
        })
    }
}

impl Spec {
    /// What one of the inventory's machines shall be by itself.
    pub fn of(inventory: &Inventory, machine: &Machine<'_>, supplies: &Supplies) -> Self {
        let (role, tools) = match (machine.role, machine.participant) {
            (RoleName::Dev, Some(participant)) => (
                Role::Dev {
                    keys: participant.keys.clone(),
                    branch: participant.branch().to_owned(),
                    template: supplies.template.clone(),
                },
                supplies.dev.clone(),
            ),
            _ => {
                let tests = supplies.tests.clone();
                (Role::Uat { tests }, supplies.uat.clone())
            }
        };
        Self {
            name: machine.id.clone(),
            packages: inventory
                .packages(machine.role)
                .iter()
                .map(ToString::to_string)
                .collect(),
            // What stands by itself is not ours to turn off.
            end: machine.standing.is_none().then_some(inventory.program.end),
            role,
            tools,
        }
    }
}

impl Links {
    /// What ties one of the inventory's machines to the others, as far as the lock file knows those; None for a dev
    /// machine whose UAT cannot be reached yet.
    pub fn of(inventory: &Inventory, machine: &Machine<'_>, lock: &Lock) -> Option<Self> {
        let from_outside = machine.standing.is_some();
        match machine.participant {
            Some(participant) => {
                let uat = inventory.uat_of(participant);
                let uat_machine = inventory.machines().find(|other| *other.id == uat.id)?;
                Some(Self::Dev {
                    uat: peer(&uat_machine, lock, from_outside)?,
                    results_key: own_key(lock, &uat.id),
                    next_results_key: next_key(lock, &uat.id),
                })
            }
            None => {
                let deploy_here = inventory
                    .machines()
                    .filter_map(|other| Some((other, other.participant?)));
                let deploy_here =
                    deploy_here.filter(|(_, participant)| inventory.uat_of(participant).id == *machine.id);
                let participants = deploy_here
                    .map(|(other, participant)| {
                        let known = Participant {
                            machine: peer(&other, lock, from_outside),
                            key: own_key(lock, &participant.id),
                            next_key: next_key(lock, &participant.id),
                        };
                        (participant.id.clone(), known)
                    })
                    .collect();
                Some(Self::Uat {
                    slots: inventory.roles.uat.slots,
                    participants,
                    settings: inventory.roles.uat.settings.clone(),
                })
            }
        }
    }
}

fn own_key(lock: &Lock, name: &Name) -> Option<crate::keys::PublicKey> {
    lock.machines.get(name).and_then(|machine| machine.account_key.clone())
}

fn next_key(lock: &Lock, name: &Name) -> Option<crate::keys::PublicKey> {
    lock.machines
        .get(name)
        .and_then(|machine| machine.next_account_key.clone())
}

/// A machine as another one sees it. Those on EC2 see each other by private addresses; from outside there is but the
/// other one.
fn peer(machine: &Machine<'_>, lock: &Lock, from_outside: bool) -> Option<Peer> {
    let account = machine.id.clone();
    let locked = lock.machines.get(machine.id);
    // Replaced, perhaps, by `rotate-keys`.
    let locked_key = locked.and_then(|locked| locked.host_key.clone());
    let next_host_key = locked.and_then(|locked| locked.next_host_key.clone());
    if let Some(standing) = machine.standing {
        return Some(Peer {
            account,
            address: standing.address.to_string(),
            port: standing.port,
            host_key: locked_key.unwrap_or_else(|| standing.host_key.clone()),
            next_host_key,
        });
    }
    let LockedMachine {
        address,
        private_address,
        ..
    } = locked?;
    let address = if from_outside { address } else { private_address };
    Some(Peer {
        account,
        address: address.clone()?,
        port: 22,
        host_key: locked_key?,
        next_host_key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::testing::key;
    use expect_test::expect;

    fn inventory() -> Inventory {
        let text = format!(
            "program: {{id: spring, end: 2027-03-12T18:00:00Z, budget_usd: 900}}\n\
             aws: {{region: eu-central-1, ami: ami-01234567, subnet: subnet-01234567, ingress: [203.0.113.0/24], login: admin}}\n\
             roles:\n  dev: {{instance_type: t3.large, disk_gib: 40, packages: [vim]}}\n  \
             uat: {{instance_type: c7i.2xlarge, disk_gib: 80, slots: 2}}\n\
             uat: [{{id: uat}}]\n\
             participants:\n- {{id: alice, keys: [\"{0}\"], branch: team/alice}}\n\
             - {{id: bob, keys: [\"{0}\"], machine: {{address: 192.0.2.7, port: 2222, login: debian, host_key: \"{1}\"}}}}\n",
            key("keya"),
            key("bobh")
        );
        Inventory::parse(&text, Path::new("inventory.yaml")).expect("an inventory")
    }

    fn lock() -> Lock {
        let mut lock = Lock::new("spring".parse().expect("a name"));
        for (name, role, last) in [("uat", RoleName::Uat, "1"), ("alice", RoleName::Dev, "2")] {
            let machine = LockedMachine {
                address: Some(format!("198.51.100.{last}")),
                private_address: Some(format!("10.0.0.{last}")),
                host_key: Some(key(&format!("hk{last}"))),
                account_key: Some(key(&format!("own{last}"))),
                ..LockedMachine::new(role)
            };
            lock.machines.insert(name.parse().expect("a name"), machine);
        }
        lock
    }

    fn supplies() -> Supplies {
        Supplies {
            template: Template::Url("https://example.org/t.git".to_owned()),
            dev: Tools::Manager(Default::default()),
            uat: Tools::Manager(Default::default()),
            tests: Tests {
                commit: "c0ffee".to_owned(),
                proto: Default::default(),
            },
        }
    }

    #[test]
    fn of_an_inventory() {
        let (inventory, lock, supplies) = (inventory(), lock(), supplies());
        let mut text = String::new();
        for machine in inventory.machines() {
            let spec = Spec::of(&inventory, &machine, &supplies);
            let yaml = |text: Result<String, serde_yaml::Error>| text.expect("plain data becomes YAML");
            text.push_str(&yaml(serde_yaml::to_string(&spec)));
            text.push_str(&format!("end: {:?}\n", spec.end.map(|end| end.to_string())));
            text.push_str(&yaml(serde_yaml::to_string(&Links::of(&inventory, &machine, &lock))));
            text.push('\n');
        }
        expect![[r#"
            name: uat
            packages: []
            role: !uat
              tests:
                commit: c0ffee
                proto: {}
            tools: !manager {}
            end: Some("2027-03-12T18:00:00Z")
            !uat
            slots: 2
            participants:
              alice:
                machine:
                  account: alice
                  address: 10.0.0.2
                  port: 22
                  host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqahk2
                key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqown2
              bob:
                machine:
                  account: bob
                  address: 192.0.2.7
                  port: 2222
                  host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqbobh
                key: null

            name: alice
            packages:
            - vim
            role: !dev
              keys:
              - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqkeya
              branch: team/alice
              template: !url https://example.org/t.git
            tools: !manager {}
            end: Some("2027-03-12T18:00:00Z")
            !dev
            uat:
              account: uat
              address: 10.0.0.1
              port: 22
              host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqahk1
            results_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqown1

            name: bob
            packages:
            - vim
            role: !dev
              keys:
              - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqkeya
              branch: bob
              template: !url https://example.org/t.git
            tools: !manager {}
            end: None
            !dev
            uat:
              account: uat
              address: 198.51.100.1
              port: 22
              host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqahk1
            results_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqown1

        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn before_anything_is_known() {
        let (inventory, lock) = (inventory(), Lock::new("spring".parse().expect("a name")));
        let known: Vec<bool> = inventory
            .machines()
            .map(|machine| Links::of(&inventory, &machine, &lock).is_some())
            .collect();
        assert_eq!(known, [true, false, false]);
    }

    #[test]
    fn the_hash_is_of_what_the_machine_is() {
        let (inventory, mut lock, supplies) = (inventory(), lock(), supplies());
        let alice = inventory
            .machines()
            .find(|machine| machine.id.as_str() == "alice")
            .expect("alice");
        let spec = Spec::of(&inventory, &alice, &supplies);
        let mut later = spec.clone();
        later.end = None;
        assert_eq!(later.hash(), spec.hash());
        later.packages.clear();
        assert_ne!(later.hash(), spec.hash());
        let before = Links::of(&inventory, &alice, &lock).expect("known").hash();
        lock.machines
            .values_mut()
            .for_each(|machine| machine.account_key = Some(key("new")));
        assert_ne!(Links::of(&inventory, &alice, &lock).expect("known").hash(), before);
    }

    #[test]
    fn while_keys_are_replaced_others_are_told_of_both() {
        let (inventory, mut lock) = (inventory(), lock());
        for (name, machine) in &mut lock.machines {
            let at = &name.as_str()[..1];
            machine.next_host_key = Some(key(&format!("nxh{at}")));
            machine.next_account_key = Some(key(&format!("nxo{at}")));
        }
        let machine = |id: &str| inventory.machines().find(|machine| machine.id.as_str() == id);
        let links = |id| Links::of(&inventory, &machine(id).expect("there"), &lock).expect("known");
        let Links::Dev {
            uat, next_results_key, ..
        } = links("alice")
        else {
            panic!("a dev machine")
        };
        assert_eq!(
            (uat.next_host_key, next_results_key),
            (Some(key("nxhu")), Some(key("nxou")))
        );
        let Links::Uat { participants, .. } = links("uat") else {
            panic!("UAT")
        };
        let told: Vec<_> = participants.values().map(|one| one.next_key.clone()).collect();
        assert_eq!(told, [Some(key("nxoa")), None]);
    }
}
