//! From the text of an inventory to one that makes sense, or to its line that does not.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::locate::locate;
use super::{Inventory, PARTICIPANTS_MAX, UATS_MAX};
use crate::names::Name;

/// Bytes of an inventory: a participant with all keys takes about 10 KiB.
const BYTES_MAX: u64 = 4 << 20;

/// Accounts that Debian, Ubuntu, Fedora and Amazon Linux have, or their images for the first login: with a participant's
/// keys in one of them, that participant could be root.
const ACCOUNTS_OF_SYSTEMS: [&str; 46] = [
    "adm",
    "admin",
    "audio",
    "backup",
    "bin",
    "centos",
    "chrony",
    "cloud-user",
    "daemon",
    "dbus",
    "debian",
    "disk",
    "ec2-user",
    "fedora",
    "ftp",
    "games",
    "gnats",
    "halt",
    "irc",
    "kmem",
    "list",
    "lp",
    "mail",
    "man",
    "messagebus",
    "news",
    "nobody",
    "nogroup",
    "operator",
    "optivex",
    "polkitd",
    "proxy",
    "root",
    "rpc",
    "shutdown",
    "sshd",
    "staff",
    "sudo",
    "sync",
    "sys",
    "tss",
    "tty",
    "ubuntu",
    "users",
    "uucp",
    "wheel",
];

/// Where an inventory is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Line and column, both from 1, where they are known.
    pub at: Option<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.at {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// Why there is no inventory.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file cannot be read.
    #[error("{}: {error}. infra/inventory.example.yaml is one to start from", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What is in it makes no sense.
    #[error("{place}: {problem}")]
    Wrong {
        /// Where.
        place: Place,
        /// What, and what to do.
        problem: String,
    },
}

impl Inventory {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or its first problem, with its place.
    pub fn load(file: &Path) -> Result<Self, InventoryError> {
        let unreadable = |error| InventoryError::Unreadable {
            file: file.to_owned(),
            error,
        };
        let size = fs::metadata(file).map_err(unreadable)?.len();
        if size > BYTES_MAX {
            return Err(wrong(
                file,
                None,
                format!("{size} bytes are no inventory: at most {BYTES_MAX}"),
            ));
        }
        Self::parse(&fs::read_to_string(file).map_err(unreadable)?, file)
    }

    /// From its text; the file is for errors.
    ///
    /// # Errors
    /// The first problem, with its place.
    pub fn parse(text: &str, file: &Path) -> Result<Self, InventoryError> {
        let inventory: Self = serde_yaml::from_str(text).map_err(|error| {
            let at = error.location().map(|at| (at.line(), at.column()));
            let told = error.to_string();
            // The place is told before.
            let mut problem = told.split(" at line ").next().unwrap_or(&told).to_owned();
            if problem.ends_with("missing field `host_key`") {
                problem += ", and no machine is trusted blindly: ask for it with ssh-keyscan -t ed25519 ADDRESS, compare \
                            that with /etc/ssh/ssh_host_ed25519_key.pub on the machine's own console, and write it here";
            }
            wrong(file, at, problem)
        })?;
        match inventory.problem() {
            Some((place, problem)) => Err(wrong(file, locate(text, &place), format!("{place}: {problem}"))),
            None => Ok(inventory),
        }
    }

    /// What is wrong with the whole of it: where, and what to do.
    fn problem(&self) -> Option<(String, String)> {
        if self.uat.is_empty() {
            return problem("uat", "no UAT machine: add uat: [{id: uat}]");
        }
        if self.uat.len() > UATS_MAX {
            return problem(format!("uat[{UATS_MAX}]"), format!("more than {UATS_MAX} UAT machines"));
        }
        if self.participants.len() > PARTICIPANTS_MAX {
            let place = format!("participants[{PARTICIPANTS_MAX}]");
            return problem(
                place,
                format!("more than {PARTICIPANTS_MAX} participants: make it several programs"),
            );
        }
        if let Some((field, fault)) = self.roles.uat.settings.problem() {
            return problem(format!("roles.uat.settings.{field}"), fault);
        }
        let machines = self.problem_of_machines();
        machines
            .or_else(|| self.problem_of_uats())
            .or_else(|| self.problem_of_networks())
    }

    fn problem_of_machines(&self) -> Option<(String, String)> {
        let uats = (0..self.uat.len()).map(|at| format!("uat[{at}]"));
        let places = uats.chain((0..self.participants.len()).map(|at| format!("participants[{at}]")));
        let mut seen: BTreeMap<&Name, String> = BTreeMap::new();
        for (place, machine) in places.zip(self.machines()) {
            let id = machine.id;
            if let Some(first) = seen.insert(id, place.clone()) {
                let what = format!("the id {id} is taken by {first}: every machine needs a name of its own");
                return problem(format!("{place}.id"), what);
            }
            if ACCOUNTS_OF_SYSTEMS.contains(&id.as_str()) {
                let what = format!("{id} is an account that systems have of their own: take another name");
                return problem(format!("{place}.id"), what);
            }
            // Its account has the participant's keys; the one that sets the machine up may become root.
            let login = match (machine.standing, &self.aws) {
                (Some(standing), _) => &standing.login,
                (None, Some(aws)) => &aws.login,
                (None, None) => {
                    let what = format!(
                        "{id} has no machine: and there is no aws: to make one. Add aws:, or machine: with address, login and host_key"
                    );
                    return problem(place, what);
                }
            };
            if login.as_str() == id.as_str() {
                let what =
                    format!("{id} is who sets the machine up there (login), and may become root: take another name");
                return problem(format!("{place}.id"), what);
            }
        }
        None
    }

    fn problem_of_uats(&self) -> Option<(String, String)> {
        let known = |name: &Name| self.uat.iter().any(|uat| uat.id == *name);
        self.participants
            .iter()
            .enumerate()
            .find_map(|(at, participant)| match &participant.uat {
                Some(name) if !known(name) => {
                    let what = format!("{} deploys to {name}, which is no id under uat:", participant.id);
                    problem(format!("participants[{at}].uat"), what)
                }
                None if self.uat.len() > 1 => problem(
                    format!("participants[{at}]"),
                    format!("{} needs uat: there are several", participant.id),
                ),
                _ => None,
            })
    }

    fn problem_of_networks(&self) -> Option<(String, String)> {
        let ingress = &self.aws.as_ref()?.ingress;
        if ingress.is_empty() {
            let what = "nobody may connect: list at least the manager's network, such as 203.0.113.7/32";
            return problem("aws.ingress", what);
        }
        let twice = (1..ingress.len()).find(|&at| ingress[..at].contains(&ingress[at]))?;
        problem(
            format!("aws.ingress[{twice}]"),
            format!("{} stands there already: remove it", ingress[twice]),
        )
    }
}

fn problem(place: impl Into<String>, what: impl Into<String>) -> Option<(String, String)> {
    Some((place.into(), what.into()))
}

fn wrong(file: &Path, at: Option<(usize, usize)>, problem: String) -> InventoryError {
    let place = Place {
        file: file.to_owned(),
        at,
    };
    InventoryError::Wrong { place, problem }
}

#[cfg(test)]
mod tests;
