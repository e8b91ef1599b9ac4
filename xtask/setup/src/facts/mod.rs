//! What a machine is, read in two round trips: first what every machine is asked, then what the operations want to
//! know of this one.

mod base;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use optivex_bundle::digest::Digest;

use crate::step::{Command, Who};

pub(crate) use base::{Base, Family};
pub(crate) use read::read;

/// A file's text beyond this is not read: ours are small.
pub(crate) const MAX_TEXT: usize = 256 << 10;

/// What operations want to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    /// Kind, mode, owner, and of files the hash. Asked as the one whose it is.
    pub(crate) paths: BTreeSet<(Who, String)>,
    /// Text of files.
    pub(crate) texts: BTreeSet<(Who, String)>,
    /// Whether packages are installed.
    pub(crate) packages: BTreeSet<String>,
    /// Whether units are enabled and active.
    pub(crate) units: BTreeSet<String>,
    /// What commands answer, by a name of ours.
    pub(crate) answers: BTreeMap<String, Command>,
}

/// A file or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: String,
    /// Of files.
    pub(crate) sha256: Option<Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) enabled: bool,
    pub(crate) active: bool,
}

/// A machine, as far as it was asked. What is not there is not in the maps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) base: Base,
    pub(crate) paths: BTreeMap<String, Found>,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) packages: BTreeSet<String>,
    pub(crate) units: BTreeMap<String, Unit>,
    /// Of commands that succeed.
    pub(crate) answers: BTreeMap<String, String>,
}

impl Asks {
    pub(crate) fn path(&mut self, who: &Who, path: &str) {
        self.paths.insert((who.clone(), path.to_owned()));
    }

    pub(crate) fn text(&mut self, who: &Who, path: &str) {
        self.path(who, path);
        self.texts.insert((who.clone(), path.to_owned()));
    }
}

impl Facts {
    pub(crate) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    pub(crate) fn is_file(&self, path: &str, owner: &Who, mode: u32, sha256: &Digest) -> bool {
        self.paths.get(path).is_some_and(|found| {
            found.kind == Kind::File
                && found.mode == mode
                && found.owner == owner_name(owner)
                && found.sha256.as_ref() == Some(sha256)
        })
    }

    pub(crate) fn is_directory(&self, path: &str, owner: &Who, mode: u32) -> bool {
        self.paths.get(path).is_some_and(|found| {
            found.kind == Kind::Directory && found.mode == mode && found.owner == owner_name(owner)
        })
    }
}

pub(crate) fn owner_name(who: &Who) -> &str {
    match who {
        Who::Root => "root",
        Who::User { name, .. } => name,
    }
}
