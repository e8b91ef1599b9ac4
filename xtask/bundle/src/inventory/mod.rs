//! `infra/inventory.yaml`: what a program consists of. People write it, tools only read it.
//!
//! Every field is documented where people look for it, in `infra/inventory.example.yaml`.

mod fields;
mod locate;
mod read;
mod settings;

pub use fields::{AbsolutePath, AmiId, Argument, InstanceType, Login, Package, Region, SsmPath, SubnetId, Url, Usd};
use ipnet::IpNet;
pub use read::{InventoryError, Place};
use serde::{Deserialize, Serialize};
pub use settings::{TestSettings, UatSettings};

use crate::moment::Moment;
use crate::names::Name;
use crate::ssh_key::PublicKey;

/// Most participants of a program: five times as many as there have been.
pub const PARTICIPANTS_MAX: usize = 200;
/// Most UAT machines of a program.
pub const UATS_MAX: usize = 8;
/// Most keys of one participant.
pub const KEYS_MAX: usize = 16;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// What is run, until when, for how much.
    pub program: Program,
    /// Where machines are made. Not needed if all of them are there already.
    pub aws: Option<Aws>,
    /// What the machines are like.
    pub roles: Roles,
    /// Where submissions are judged: at least one.
    pub uat: Vec<Uat>,
    /// The people.
    #[serde(default)]
    pub participants: Vec<Participant>,
    /// What participants start from.
    #[serde(default)]
    pub template: Template,
}

/// What is run, until when, for how much.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Tag of everything that is made for it.
    pub id: Name,
    /// When the machines turn themselves off for good.
    pub end: Moment,
    /// What the machines may cost until then.
    pub budget_usd: Usd,
}

/// Where machines are made.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// Such as `eu-central-1`.
    pub region: Region,
    /// What machines start from.
    pub ami: Ami,
    /// Where they are, and by it the VPC.
    pub subnet: SubnetId,
    /// Who may connect by SSH: at least one network, each once and without host bits.
    #[serde(deserialize_with = "fields::networks")]
    pub ingress: Vec<IpNet>,
    /// By which of a machine's addresses we connect.
    #[serde(default)]
    pub connect: Connect,
    /// The user that the image has for its first login.
    pub login: Login,
}

/// What machines start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ami {
    /// One image.
    Id(AmiId),
    /// Whatever image a public parameter names when a machine is made.
    Ssm(SsmPath),
}

impl std::fmt::Display for Ami {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Ssm(path) => path.fmt(f),
        }
    }
}

/// By which of a machine's addresses we connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connect {
    /// From outside.
    #[default]
    Public,
    /// From within the network, or over a VPN.
    Private,
}

/// What the machines are like.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// A participant's.
    pub dev: Role,
    /// Where submissions are judged.
    pub uat: UatRole,
}

/// What a machine is like.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Such as `t3.large`.
    pub instance_type: InstanceType,
    /// Its disk, 8 to 16,384 GiB.
    #[serde(deserialize_with = "fields::disk_gib")]
    pub disk_gib: u32,
    /// What is installed beside what the role needs anyway.
    #[serde(default)]
    pub packages: Vec<Package>,
}

/// What a UAT machine is like.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UatRole {
    /// Such as `c7i.2xlarge`.
    pub instance_type: InstanceType,
    /// Its disk, 8 to 16,384 GiB.
    #[serde(deserialize_with = "fields::disk_gib")]
    pub disk_gib: u32,
    /// What is installed beside what the role needs anyway.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// Submissions judged at a time, 1 to 64.
    #[serde(deserialize_with = "fields::slots")]
    pub slots: u32,
    /// Where its tools are built.
    #[serde(default)]
    pub tools: Tools,
    /// What else its daemon is told.
    #[serde(default)]
    pub settings: UatSettings,
}

/// Where the tools of UAT are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tools {
    /// There, from the sources of the manager's commit.
    #[default]
    Uat,
    /// On the manager's machine, which has the same system and libc.
    Manager,
}

/// Where submissions are judged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uat {
    /// Its machine's name, and its account's.
    pub id: Name,
    /// Where it stands, if it is not to be made on EC2.
    pub machine: Option<Standing>,
}

/// One of the people.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// Name of the person's machine and account.
    pub id: Name,
    /// With which they log in: 1 to 16.
    #[serde(deserialize_with = "fields::keys")]
    pub keys: Vec<PublicKey>,
    /// Where they work; named as they are if it is left out.
    pub branch: Option<fields::Branch>,
    /// Where they deploy to; may be left out where there is one.
    pub uat: Option<Name>,
    /// Where their machine stands, if it is not to be made on EC2.
    pub machine: Option<Standing>,
}

/// A machine that is there already.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Address or host name.
    pub address: fields::Address,
    /// Port of SSH.
    #[serde(default = "fields::ssh_port")]
    pub port: u16,
    /// The user that may become root there.
    pub login: Login,
    /// What the machine must show: never trusted blindly.
    pub host_key: PublicKey,
}

/// What participants start from: an archive of our own if no URL is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Of a git repository that every dev machine can clone.
    pub url: Option<Url>,
}

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// A participant works there.
    Dev,
    /// Submissions are judged there.
    Uat,
}

impl RoleName {
    /// As in tags and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Uat => "uat",
        }
    }
}

impl std::fmt::Display for RoleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for RoleName {
    type Err = crate::digest::NotThat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "dev" => Ok(Self::Dev),
            "uat" => Ok(Self::Uat),
            _ => Err(crate::digest::NotThat("a role: dev or uat")),
        }
    }
}

/// A machine of the program, whoever made it.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Its name.
    pub id: &'a Name,
    /// What it is for.
    pub role: RoleName,
    /// Where it stands, if it is not made on EC2.
    pub standing: Option<&'a Standing>,
    /// Whose it is; none for UAT.
    pub participant: Option<&'a Participant>,
}

impl Inventory {
    /// All machines: UAT first, for dev machines are told of it; each in the order of the file.
    pub fn machines(&self) -> impl Iterator<Item = Machine<'_>> {
        let uats = self.uat.iter().map(|uat| Machine {
            id: &uat.id,
            role: RoleName::Uat,
            standing: uat.machine.as_ref(),
            participant: None,
        });
        let devs = self.participants.iter().map(|participant| Machine {
            id: &participant.id,
            role: RoleName::Dev,
            standing: participant.machine.as_ref(),
            participant: Some(participant),
        });
        uats.chain(devs)
    }

    /// Where a participant deploys to.
    pub fn uat_of(&self, participant: &Participant) -> &Uat {
        let named = participant.uat.as_ref();
        let found = self.uat.iter().find(|uat| named.is_none_or(|name| *name == uat.id));
        found.expect("an inventory that was read has every UAT that it names")
    }

    /// Instance type and disk of a role.
    pub fn hardware(&self, role: RoleName) -> (&InstanceType, u32) {
        match role {
            RoleName::Dev => (&self.roles.dev.instance_type, self.roles.dev.disk_gib),
            RoleName::Uat => (&self.roles.uat.instance_type, self.roles.uat.disk_gib),
        }
    }

    /// Packages of a role.
    pub fn packages(&self, role: RoleName) -> &[Package] {
        match role {
            RoleName::Dev => &self.roles.dev.packages,
            RoleName::Uat => &self.roles.uat.packages,
        }
    }
}

impl Participant {
    /// Where they work.
    pub fn branch(&self) -> &str {
        self.branch.as_ref().map_or(self.id.as_str(), fields::Branch::as_str)
    }
}
