//! From the text of an inventory to one that makes sense, or to its line that does not.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Inventory, PARTICIPANTS_MAX, UATS_MAX};
use crate::names::Name;

/// Bytes of an inventory: a participant with all keys takes about 10 KiB.
const BYTES_MAX: u64 = 4 << 20;

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
            let problem = told.split(" at line ").next().unwrap_or(&told).to_owned();
            wrong(file, at, problem)
        })?;
        let refuse = |at, problem| Err(wrong(file, at, problem));
        match inventory.problem(text) {
            Some((at, problem)) => refuse(at, problem),
            None => Ok(inventory),
        }
    }

    /// What is wrong with the whole of it.
    fn problem(&self, text: &str) -> Option<(Option<(usize, usize)>, String)> {
        if self.uat.is_empty() {
            return Some((None, "no UAT machine: add uat: [{id: uat}]".to_owned()));
        }
        if self.uat.len() > UATS_MAX || self.participants.len() > PARTICIPANTS_MAX {
            let problem = format!("more than {UATS_MAX} UAT machines or {PARTICIPANTS_MAX} participants");
            return Some((None, problem));
        }
        let mut seen: BTreeMap<&Name, usize> = BTreeMap::new();
        for machine in self.machines() {
            let count = seen.entry(machine.id).or_default();
            *count += 1;
            if *count > 1 {
                let problem = format!("the id {} is taken: every machine needs a name of its own", machine.id);
                return Some((nth(text, "id", machine.id.as_str(), *count), problem));
            }
            if machine.standing.is_none() && self.aws.is_none() {
                let problem = format!(
                    "{} has no machine: and there is no aws: to make one. Add aws:, or machine: with address, login and host_key",
                    machine.id
                );
                return Some((nth(text, "id", machine.id.as_str(), 1), problem));
            }
        }
        for participant in &self.participants {
            let known = |name: &Name| self.uat.iter().any(|uat| uat.id == *name);
            match &participant.uat {
                Some(name) if !known(name) => {
                    let problem = format!("{} deploys to {name}, which is no id under uat:", participant.id);
                    return Some((nth(text, "uat", name.as_str(), 1), problem));
                }
                None if self.uat.len() > 1 => {
                    let problem = format!("{} needs uat: there are several", participant.id);
                    return Some((nth(text, "id", participant.id.as_str(), 1), problem));
                }
                _ => {}
            }
        }
        let aws = self.aws.as_ref()?;
        if aws.ingress.is_empty() {
            let problem = "nobody may connect: list at least the manager's network, such as 203.0.113.7/32".to_owned();
            return Some((nth(text, "ingress", "", 1), problem));
        }
        None
    }
}

fn wrong(file: &Path, at: Option<(usize, usize)>, problem: String) -> InventoryError {
    let place = Place {
        file: file.to_owned(),
        at,
    };
    InventoryError::Wrong { place, problem }
}

/// Line and column of the `count`th `key: value` that is no comment, in block or flow style. What two parts of the file
/// say together has no place of its own in the YAML library.
fn nth(text: &str, key: &str, value: &str, count: usize) -> Option<(usize, usize)> {
    let key = format!("{key}:");
    let mut found = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.split(" #").next().unwrap_or(line);
        if line.trim_start().starts_with('#') {
            continue;
        }
        for (at, _) in line.match_indices(&key) {
            let starts = !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            let rest = line[at + key.len()..].trim_start().trim_start_matches(['"', '\'']);
            let ends = |rest: &str| !rest.starts_with(|after: char| after.is_alphanumeric() || after == '-');
            if starts && rest.strip_prefix(value).is_some_and(ends) {
                found += 1;
                if found == count {
                    return Some((number + 1, at + 1));
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
