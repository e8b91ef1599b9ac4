//! What a machine shall be. In two parts, since machines need to know each other's keys: [`Spec`] is what one can be
//! made alone, [`Links`] what ties it to others.

use std::collections::BTreeMap;
use std::path::PathBuf;

use optivex_bundle::digest::Digest;
use optivex_bundle::inventory::UatSettings;
use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;
use serde::Serialize;

use crate::keys::PublicKey;

/// Changes whenever the same [`Spec`] makes other machines than before.
const VERSION: u32 = 1;

/// A machine by itself.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    /// Its name, and that of its user account.
    pub name: Name,
    /// Packages beyond those that the role needs, as the machine's package manager calls them.
    pub packages: Vec<String>,
    /// When it turns itself off: for machines that cost money as long as they run. No part of its hash.
    #[serde(skip)]
    pub end: Option<Moment>,
    /// What it is for.
    pub role: Role,
    /// Where its tools come from.
    pub tools: Tools,
}

/// What a machine is for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A participant's.
    Dev {
        /// The participant's keys.
        keys: Vec<PublicKey>,
        /// The branch to work on.
        branch: String,
        /// What it starts from.
        template: Template,
    },
    /// Judges submissions.
    Uat {
        /// By what it judges.
        tests: Tests,
    },
}

/// The system tests that count, which are one of UAT's tools.
#[derive(Clone, Debug, Serialize)]
pub struct Tests {
    /// The commit that they are of.
    pub commit: String,
    /// The contract that they go by: its files by their path below `proto`.
    pub proto: BTreeMap<String, Tool>,
}

/// The repository that participants start from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// To be cloned from there, by the machine itself.
    Url(String),
    /// One of our own: see [`crate::supplies`].
    Bundle {
        /// A git bundle on this machine.
        #[serde(skip)]
        file: PathBuf,
        /// The commit in it.
        commit: String,
    },
}

/// Where the tools of `/opt/optivex/bin` come from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tools {
    /// Programs on this machine, which must run there: same processor, same libc or an older one. By name, with where
    /// each is and its hash.
    Manager(BTreeMap<String, Tool>),
    /// Built there from our sources.
    Sources {
        /// An archive on this machine (tar), as `git archive` makes it.
        #[serde(skip)]
        file: PathBuf,
        /// Its hash.
        sha256: Digest,
    },
}

/// A file on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    /// Where it is.
    #[serde(skip)]
    pub file: PathBuf,
    /// Its hash.
    pub sha256: Digest,
}

/// What ties a machine to others.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// Of a dev machine.
    Dev {
        /// Where it deploys to.
        uat: Peer,
        /// The key that results come with; None leaves what is there.
        results_key: Option<PublicKey>,
        /// What is about to take its place: admitted beside it.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_results_key: Option<PublicKey>,
    },
    /// Of UAT.
    Uat {
        /// Deployments at a time.
        slots: u32,
        /// Everybody who may deploy. Whoever is not here is not admitted any more.
        participants: BTreeMap<Name, Participant>,
        /// What else its daemon is told.
        #[serde(skip_serializing_if = "UatSettings::is_default")]
        settings: UatSettings,
    },
}

/// Another machine, as seen from a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// The account on it.
    pub account: Name,
    /// Its address from there.
    pub address: String,
    /// Its SSH port.
    pub port: u16,
    /// Its host key.
    pub host_key: PublicKey,
    /// What it is about to show in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_host_key: Option<PublicKey>,
}

/// A participant, as UAT knows them.
#[derive(Clone, Debug, Serialize)]
pub struct Participant {
    /// The dev machine, where results go; None while there is none.
    pub machine: Option<Peer>,
    /// The key that the dev machine deploys with; None leaves what is there.
    pub key: Option<PublicKey>,
    /// What is about to take its place: admitted beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_key: Option<PublicKey>,
}

/// Keys that machines made, which others need. What a machine has none of, or is not known, is None.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// A dev machine's, to deploy with: `~/.ssh/id_uat.pub`.
    pub uat_key: Option<PublicKey>,
    /// UAT's, to send results with: `~/.ssh/id_results.pub`.
    pub results_key: Option<PublicKey>,
}

impl Spec {
    /// As inventories call it.
    pub fn role_name(&self) -> &'static str {
        match self.role {
            Role::Dev { .. } => "dev",
            Role::Uat { .. } => "uat",
        }
    }
}

impl Spec {
    /// Tells a plan what has nothing to do without a connection: the same hash, the same machine. The end date is none
    /// of it, for it moves alone.
    pub fn hash(&self) -> Digest {
        hash(self)
    }
}

impl Links {
    /// As [`Spec::hash`].
    pub fn hash(&self) -> Digest {
        hash(self)
    }
}

fn hash(what: &impl Serialize) -> Digest {
    // Maps with text as keys, and no floats: that becomes JSON always.
    let text = serde_json::to_vec(&(VERSION, what)).expect("plain data becomes JSON");
    Digest::of(&text)
}

/// Where everything is on the machines.
pub mod paths {
    /// Programs.
    pub const BIN: &str = "/opt/optivex/bin";
    /// Sources, and what is built from them.
    pub const BUILD: &str = "/var/lib/optivex/build";
    /// Where deployments go: `CK_DEPLOYMENT_DIR`, `CK_UAT_DEPLOYMENT_DIR`.
    pub const SPOOL: &str = "/var/lib/optivex/spool";
    /// The contract that the system tests go by.
    pub const PROTO: &str = "/opt/optivex/proto";
    /// The system tests' archives: `CK_TESTS_DIR`.
    pub const TESTS: &str = "/var/lib/optivex/tests";
    /// The daemon's settings.
    pub const UAT_YAML: &str = "/etc/optivex/uat.yaml";
    /// The daemon's unit.
    pub const UAT_UNIT: &str = "optivex-uat.service";
    /// The template, where it is our own.
    pub const TEMPLATE: &str = "/opt/optivex/template.bundle";
    /// The end date's timer.
    pub const END_TIMER: &str = "optivex-end.timer";
    /// What it starts.
    pub const END_SERVICE: &str = "optivex-end.service";
    /// Units of ours.
    pub const UNITS: &str = "/etc/systemd/system";
    /// What results arrive through on a dev machine.
    pub const RECEIVE: &str = "/usr/local/bin/optivex-receive";
}
