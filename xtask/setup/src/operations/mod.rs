//! What is done to machines: one file an operation. Each says what it wants to know, and makes of what there is and
//! what shall be the steps between the two: none where nothing differs.

mod account;
mod admitted;
pub(crate) mod block;
mod clone;
mod daemon;
mod directory;
pub(crate) mod end;
pub(crate) mod environment;
mod file;
mod first_boot;
mod folder;
pub(crate) mod key;
mod packages;
mod sandbox;
mod tests;
mod toolchain;
mod tools;

use crate::facts::{Asks, Base, Facts};
use crate::spec::{Links, Role, Spec, paths};
use crate::step::{Step, Who};

pub use tools::needed as needed_tools;

/// Steps, and what people should know of a machine.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// What is not as usual, and no fault.
    pub(crate) notes: Vec<String>,
    /// What keeps the machine from what it shall be, and only a person can change.
    pub(crate) blocked: Vec<String>,
}

/// See the module.
pub(crate) trait Operation {
    /// What it wants to know, of a machine of which the basics are known.
    fn asks(&self, base: &Base, asks: &mut Asks);
    /// The differences.
    fn plan(&self, facts: &Facts, plan: &mut Plan);
}

pub(crate) type Operations = Vec<Box<dyn Operation>>;

/// Whose something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Root,
    /// The machine's account; paths are relative to its home.
    Account(String),
}

impl Owner {
    fn who(&self, base: &Base) -> Who {
        match self {
            Self::Root => Who::Root,
            Self::Account(name) => base.user(name),
        }
    }

    /// A path of theirs.
    fn path(&self, base: &Base, path: &str) -> String {
        match self {
            Self::Account(name) if !path.starts_with('/') => format!("{}/{path}", base.home(name)),
            _ => path.to_owned(),
        }
    }
}

/// What makes a machine by itself, in order.
pub(crate) fn alone(spec: &Spec) -> Operations {
    let name = spec.name.as_str();
    let account = || Owner::Account(name.to_owned());
    let mut all: Operations = vec![
        Box::new(first_boot::FirstBoot),
        Box::new(end::End { at: spec.end }),
        Box::new(packages::Packages::new(spec)),
        Box::new(account::Account { name: name.to_owned() }),
        Box::new(directory::Directory::new(account(), ".ssh", 0o700)),
        Box::new(toolchain::Toolchain {
            account: name.to_owned(),
        }),
        Box::new(directory::Directory::new(Owner::Root, "/opt/optivex", 0o755)),
        Box::new(directory::Directory::new(Owner::Root, paths::BIN, 0o755)),
        Box::new(directory::Directory::new(Owner::Root, "/var/lib/optivex", 0o755)),
    ];
    match &spec.role {
        Role::Dev { keys, branch, template } => {
            let keys = keys.iter().map(ToString::to_string).collect();
            all.push(Box::new(block::Block::authorized_keys(
                account(),
                "the participant's keys",
                keys,
            )));
            all.extend(tools::all(spec));
            all.push(Box::new(key::Key::new(name, key::UAT, &format!("{name} to uat"))));
            all.push(Box::new(clone::Clone::new(name, branch, template)));
        }
        Role::Uat { tests } => {
            all.push(Box::new(sandbox::Sandbox));
            // Nobody else's: submissions and results are their makers' and ours. But through the spool a web server gets
            // to its folder `public`.
            for (path, mode) in [(paths::SPOOL, 0o711), (paths::TESTS, 0o700)] {
                let directory = directory::Directory::new(Owner::Root, path, mode);
                all.push(Box::new(directory.given_to(name)));
            }
            all.extend(tools::all(spec));
            all.extend(tests::all(spec, tests));
            all.push(Box::new(key::Key::new(name, key::RESULTS, "results")));
        }
    }
    all
}

/// What ties a machine to others, in order.
pub(crate) fn linked(spec: &Spec, links: &Links) -> Operations {
    let name = spec.name.as_str();
    match links {
        Links::Dev {
            uat,
            results_key,
            next_results_key,
        } => {
            let mut all: Operations = vec![
                Box::new(block::Block::known_hosts(uat)),
                Box::new(environment::Environment::dev(spec, uat)),
            ];
            if results_key.is_some() {
                let line = |key| format!("restrict,command=\"{}\" {key}", paths::RECEIVE);
                let account = Owner::Account(name.to_owned());
                all.push(Box::new(block::Block::authorized_keys(
                    account,
                    "results from UAT",
                    results_key.iter().chain(next_results_key).map(line).collect(),
                )));
            }
            all
        }
        Links::Uat {
            slots,
            participants,
            settings,
        } => {
            let file = daemon::settings(*slots, participants, settings);
            let daemon = daemon::Daemon::new(spec, &file);
            let mut all: Operations = vec![
                Box::new(environment::Environment::uat(spec)),
                Box::new(admitted::Admitted::new(name, participants)),
                Box::new(directory::Directory::new(Owner::Root, "/etc/optivex", 0o755)),
            ];
            for path in [&settings.scoreboard, &settings.metrics].into_iter().flatten() {
                all.push(Box::new(folder::Folder::of(name, path)));
            }
            all.push(Box::new(file));
            all.push(Box::new(daemon));
            all
        }
    }
}

/// For the operations' tests: facts in, commands out.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::facts::{Family, Found, Kind};
    use crate::spec::Tools;
    use optivex_bundle::digest::Digest;

    /// A machine with root, apt, systemd, and an account `alice`.
    pub(crate) fn debian() -> Facts {
        let mut facts = Facts::default();
        facts.base.os = "Debian GNU/Linux 12 (bookworm)".to_owned();
        facts.base.family = Some(Family::Apt);
        facts.base.arch = "x86_64".to_owned();
        facts.base.libc = Some("glibc 2.36".to_owned());
        facts.base.systemd = true;
        facts.base.root = true;
        facts.base.homes.insert("alice".to_owned(), "/home/alice".to_owned());
        facts
    }

    /// A machine of that role, named alice.
    pub(crate) fn spec(role: Role) -> Spec {
        Spec {
            name: "alice".parse().expect("a name"),
            packages: Vec::new(),
            end: None,
            role,
            tools: Tools::Manager(Default::default()),
        }
    }

    /// That judges by tests without a contract.
    pub(crate) fn uat() -> Role {
        let tests = crate::spec::Tests {
            commit: "c0ffee".to_owned(),
            proto: Default::default(),
        };
        Role::Uat { tests }
    }

    pub(crate) fn with(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Facts {
        change(&mut facts);
        facts
    }

    impl Facts {
        pub(crate) fn file(&mut self, path: &str, owner: &str, mode: u32, text: &str) {
            let found = Found {
                kind: Kind::File,
                mode,
                owner: owner.to_owned(),
                sha256: Some(Digest::of(text.as_bytes())),
            };
            self.paths.insert(path.to_owned(), found);
            self.texts.insert(path.to_owned(), text.to_owned());
        }

        pub(crate) fn directory(&mut self, path: &str, owner: &str, mode: u32) {
            let found = Found {
                kind: Kind::Directory,
                mode,
                owner: owner.to_owned(),
                sha256: None,
            };
            self.paths.insert(path.to_owned(), found);
        }
    }

    /// The commands, one a line, and what else there is to say.
    pub(crate) fn plan(operation: &dyn Operation, facts: &Facts) -> String {
        let mut plan = Plan::default();
        operation.plan(facts, &mut plan);
        let mut text = String::new();
        for step in &plan.steps {
            text.push_str(&format!("{step}\n"));
        }
        for note in &plan.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        for blocked in &plan.blocked {
            text.push_str(&format!("blocked: {blocked}\n"));
        }
        if text.is_empty() { "nothing\n".to_owned() } else { text }
    }

    /// Named cases, and what becomes of each.
    pub(crate) fn table<'a>(operation: &dyn Operation, cases: impl IntoIterator<Item = (&'a str, Facts)>) -> String {
        let mut text = String::new();
        for (name, facts) in cases {
            text.push_str(&format!("{name}:\n{}", plan(operation, &facts)));
        }
        text
    }

    pub(crate) fn key(last: &str) -> crate::keys::PublicKey {
        let base64 = "AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqa2x6";
        let text = format!("ssh-ed25519 {}{last}", &base64[..base64.len() - last.len()]);
        text.parse().expect("a key")
    }
}
