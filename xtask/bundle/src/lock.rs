//! `infra/inventory.lock.yaml`: what tools know of the machines. Only tools write it.
//!
//! It is written whole or not at all, before the step that it tells of could be lost: the client token and the host key
//! before an instance is asked for, the instance's id before anybody waits for it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::durable;
use crate::inventory::{Region, RoleName, Standing};
use crate::moment::Moment;
use crate::names::Name;
use crate::ssh_key::PublicKey;

/// The form that this program writes and reads.
pub const VERSION: u32 = 1;

/// Bytes of a lock file.
const BYTES_MAX: u64 = 16 << 20;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`VERSION`].
    pub version: u32,
    /// Whose machines these are.
    pub program: Name,
    /// Where its instances are; none before the first one is made. Elsewhere nobody would look for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Part of all client tokens: EC2 remembers those of instances that are gone, so that a program that was destroyed
    /// and begins anew must not ask with the same ones. Set once, when the first machine is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// The image that machines are made from, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What the inventory called it when it was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_of: Option<String>,
    /// By name.
    #[serde(default)]
    pub machines: BTreeMap<Name, LockedMachine>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockedMachine {
    /// What it is for.
    pub role: RoleName,
    /// How often it was made: part of the client token, so that a machine that was lost can be made again.
    pub generation: u32,
    /// With which EC2 makes an instance once, however often it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    /// When EC2 was asked for it: one that is new is not always listed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Moment>,
    /// The disk that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gib: Option<u32>,
    /// On EC2; none before it is made, and for machines that are not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Where we connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where others of the program connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_address: Option<String>,
    /// What it must show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<PublicKey>,
    /// Of a machine by address: what the inventory said when it was reached for the first time. As long as it says the
    /// same, [`Self::host_key`] counts, which may be newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_host_key: Option<PublicKey>,
    /// What it is about to show, while the machine's own key takes the first one's place: until that is over, it may
    /// show either, and others are told of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_host_key: Option<PublicKey>,
    /// Whether [`Self::host_key`] was made here and handed over at first boot: the machine is to make one of its own.
    #[serde(default)]
    pub host_key_handed_over: bool,
    /// Of the set-up that was applied last, whole: what the machine is by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<Digest>,
    /// Of what it was told last of other machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Digest>,
    /// When it turns itself off, as far as it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Moment>,
    /// Its account's key for UAT (dev), or for sending results (UAT): public parts, made there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_key: Option<PublicKey>,
    /// What is about to take the place of [`Self::account_key`]: until that is over, others admit both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_account_key: Option<PublicKey>,
}

impl LockedMachine {
    /// One of which nothing is known.
    pub fn new(role: RoleName) -> Self {
        Self {
            role,
            generation: 1,
            client_token: None,
            asked: None,
            disk_gib: None,
            instance: None,
            address: None,
            private_address: None,
            host_key: None,
            given_host_key: None,
            next_host_key: None,
            host_key_handed_over: false,
            setup: None,
            links: None,
            end: None,
            account_key: None,
            next_account_key: None,
        }
    }

    /// A machine by address that was not reached yet: what the inventory says is all that is known.
    pub fn standing(role: RoleName, standing: &Standing) -> Self {
        Self {
            address: Some(standing.address.to_string()),
            host_key: Some(standing.host_key.clone()),
            given_host_key: Some(standing.host_key.clone()),
            ..Self::new(role)
        }
    }

    /// Whether it is the machine at that address. Its host key may have been replaced since the inventory was written:
    /// what the inventory says counts again once somebody changes it there, to anything but the key that is pinned.
    pub fn stands_at(&self, standing: &Standing) -> bool {
        let given = Some(&standing.host_key);
        self.instance.is_none()
            && self.address.as_deref() == Some(standing.address.as_str())
            && (self.host_key.as_ref() == given || self.given_host_key.as_ref() == given)
    }

    /// Whether a `rotate-keys` was cut off.
    pub fn is_between_keys(&self) -> bool {
        self.next_account_key.is_some() || (self.next_host_key.is_some() && !self.host_key_handed_over)
    }
}

/// Why there is no lock file.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// It is no lock file, or another program's.
    #[error("{file}: {problem}. Tools write this file; a copy of it under version control is the way back")]
    Wrong {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
}

impl Lock {
    /// Of a program without machines.
    pub fn new(program: Name) -> Self {
        Self {
            version: VERSION,
            program,
            region: None,
            salt: None,
            image: None,
            image_of: None,
            machines: BTreeMap::new(),
        }
    }

    /// Reads the file; a new one if it is not there.
    ///
    /// # Errors
    /// It cannot be read, is none, or is of another program.
    pub fn load(file: &Path, program: &Name) -> Result<Self, LockError> {
        let text = match fs::metadata(file).and_then(|metadata| match metadata.len() <= BYTES_MAX {
            true => fs::read_to_string(file),
            false => Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a lock file")),
        }) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new(program.clone())),
            Err(error) => {
                let file = file.display().to_string();
                return Err(LockError::Io { file, error });
            }
        };
        let wrong = |problem| LockError::Wrong {
            file: file.display().to_string(),
            problem,
        };
        let lock: Self = serde_yaml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if lock.version != VERSION {
            return Err(wrong(format!(
                "version {}, not {VERSION}: a newer checkout wrote it",
                lock.version
            )));
        }
        if lock.program != *program {
            return Err(wrong(format!(
                "it is of program {}, the inventory of {program}",
                lock.program
            )));
        }
        Ok(lock)
    }

    /// Writes the file: whole, or not at all.
    ///
    /// # Errors
    /// The disk's.
    pub fn save(&self, file: &Path) -> Result<(), LockError> {
        let io = |error| LockError::Io {
            file: file.display().to_string(),
            error,
        };
        let yaml = serde_yaml::to_string(self).map_err(|error| io(io::Error::other(error)))?;
        let text = format!("# Written by cargo xtask provision. Do not edit; keep it under version control.\n{yaml}");
        durable::write(file, text.as_bytes(), 0o644).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("inventory.lock.yaml");
        let program: Name = "spring".parse().expect("a name");
        let mut lock = Lock::load(&file, &program).expect("a new one");
        assert_eq!(lock, Lock::new(program.clone()));
        let machine = LockedMachine {
            generation: 2,
            client_token: Some("token".to_owned()),
            address: Some("192.0.2.1".to_owned()),
            host_key_handed_over: true,
            setup: Some(Digest::of(b"x")),
            end: Some(Moment::from_unix_s(1_800_000_000)),
            ..LockedMachine::new(RoleName::Dev)
        };
        lock.machines.insert("alice".parse().expect("a name"), machine);
        lock.save(&file).expect("written");
        assert_eq!(Lock::load(&file, &program).expect("read"), lock);
        let other = Lock::load(&file, &"autumn".parse().expect("a name")).expect_err("another program's");
        assert!(other.to_string().contains("it is of program spring"), "{other}");
        fs::write(&file, "version: 2\nprogram: spring\n").expect("written");
        let newer = Lock::load(&file, &program).expect_err("newer");
        assert!(newer.to_string().contains("version 2, not 1"), "{newer}");
        fs::write(&file, "version: 1\nprogram: spring\nmachine: {}\n").expect("written");
        Lock::load(&file, &program).expect_err("an unknown field");
    }

    #[test]
    fn a_replaced_host_key_wins_until_the_inventory_is_changed() {
        let key = |last: char| -> PublicKey {
            let text = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqa2x{last}");
            text.parse().expect("a key")
        };
        let standing = |address: &str, last| -> Standing {
            let text = format!("{{address: {address}, login: admin, host_key: {}}}", key(last));
            serde_yaml::from_str(&text).expect("a machine")
        };
        let first = standing("192.0.2.7", '2');
        let mut locked = LockedMachine::standing(RoleName::Dev, &first);
        assert!(locked.stands_at(&first));
        locked.host_key = Some(key('4'));
        for (at, is_it) in [
            (first, true),
            // Somebody wrote the new one into the inventory.
            (standing("192.0.2.7", '4'), true),
            // It was installed anew.
            (standing("192.0.2.7", '6'), false),
            (standing("192.0.2.8", '2'), false),
        ] {
            assert_eq!(locked.stands_at(&at), is_it, "{at:?}");
        }
        locked.instance = Some("i-01".to_owned());
        assert!(!locked.stands_at(&standing("192.0.2.7", '2')));
    }
}
