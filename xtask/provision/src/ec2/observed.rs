//! What is there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_sdk_ec2::types::{Instance, InstanceStateName};
use optivex_bundle::inventory::{Aws, RoleName};
use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;
use optivex_bundle::ssh_key::PublicKey;

use super::rules::{Rule, desired};
use super::{Ec2, Ec2Error, Groups, InstanceId, TAG_GENERATION, TAG_HOST_KEY, TAG_MACHINE, role_of, tag};

/// All that carries the program's tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The VPC of the inventory's subnet; none if there is no such subnet.
    pub vpc: Option<String>,
    /// The key pair.
    pub key: Option<ObservedKey>,
    /// The security groups, in whatever VPC.
    pub groups: Vec<ObservedGroup>,
    /// The machines that are not gone, in the order of their names; two of one name are possible if an answer was lost.
    pub instances: Vec<ObservedInstance>,
    /// Instances with our tag of which we do not know what they are.
    pub unknown: Vec<Unknown>,
    /// Of those that were asked for by their ids: the ones that EC2 knows, and that are gone for good.
    pub ended: Vec<InstanceId>,
}

/// The key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedKey {
    /// `key-…`.
    pub id: String,
    /// The key itself; none if it is of a kind that we do not make.
    pub public: Option<PublicKey>,
}

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedGroup {
    /// `sg-…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub vpc: String,
    /// Whose machines are in it; none if its tag says nothing that we know.
    pub role: Option<RoleName>,
    /// Who may connect.
    pub rules: BTreeSet<Rule>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedInstance {
    /// `i-…`.
    pub id: InstanceId,
    /// Its name.
    pub machine: Name,
    /// What it is for.
    pub role: RoleName,
    /// How often it was made.
    pub generation: u32,
    /// What it must show; none if its tag says no key.
    pub host_key: Option<PublicKey>,
    /// How it is.
    pub state: State,
    /// Where it is reached from outside.
    pub public_address: Option<IpAddr>,
    /// Where it is reached within its network.
    pub private_address: Option<IpAddr>,
    /// When it was started last.
    pub launched: Option<Moment>,
    /// Such as `t3.large`.
    pub instance_type: String,
    /// What it was made from.
    pub image: String,
    /// With which it was asked for.
    pub client_token: Option<String>,
}

/// An instance with our tag, of which we do not know what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// `i-…`.
    pub id: InstanceId,
    /// How it is.
    pub state: State,
    /// What is wrong with its tags.
    pub why: String,
}

/// How a machine is. One that is terminated is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It is being made, or started.
    Pending,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It is stopped, and can be started again.
    Stopped,
    /// It is on its way out for good.
    ShuttingDown,
}

impl State {
    /// As EC2 says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
        }
    }

    /// None for machines that are gone. A state that we do not know is one of a machine that may cost something.
    pub(super) fn of(instance: &Instance) -> Option<Self> {
        match instance.state()?.name()? {
            InstanceStateName::Running => Some(Self::Running),
            InstanceStateName::Stopping => Some(Self::Stopping),
            InstanceStateName::Stopped => Some(Self::Stopped),
            InstanceStateName::ShuttingDown => Some(Self::ShuttingDown),
            InstanceStateName::Terminated => None,
            _ => Some(Self::Pending),
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Observed {
    /// The group of a role, in the VPC of the inventory's subnet.
    pub fn group(&self, role: RoleName) -> Option<&ObservedGroup> {
        let vpc = self.vpc.as_ref()?;
        self.groups
            .iter()
            .find(|group| group.role == Some(role) && group.vpc == *vpc)
    }

    /// Whether both groups are there, with exactly the rules that they are to have: [`Ec2::ensure_groups`] would do
    /// nothing.
    pub fn groups_are_right(&self, aws: &Aws) -> bool {
        let (Some(dev), Some(uat)) = (self.group(RoleName::Dev), self.group(RoleName::Uat)) else {
            return false;
        };
        let groups = Groups {
            dev: dev.id.clone(),
            uat: uat.id.clone(),
        };
        dev.rules == desired(RoleName::Dev, &aws.ingress, &groups)
            && uat.rules == desired(RoleName::Uat, &aws.ingress, &groups)
    }

    /// Whether nothing is left that `destroy` would remove.
    pub fn is_empty(&self) -> bool {
        self.key.is_none() && self.groups.is_empty() && self.instances.is_empty() && self.unknown.is_empty()
    }
}

impl Ec2 {
    /// All that carries the program's tag. `noted` instances are asked for by their ids as well, should the tag not find
    /// them yet: what EC2 lists lags behind what it made by seconds.
    ///
    /// # Errors
    /// EC2's.
    pub async fn observe(&self, noted: &[InstanceId]) -> Result<Observed, Ec2Error> {
        let (vpc, key, groups) = tokio::try_join!(self.vpc_if_there(), self.observe_key(), self.observe_groups())?;
        let mut observed = Observed {
            vpc,
            key,
            groups,
            ..Observed::default()
        };
        let doing = "looking for the machines";
        let mut pages = self
            .client
            .describe_instances()
            .filters(self.ours())
            .max_results(1000)
            .into_paginator()
            .send();
        let mut missing: BTreeSet<InstanceId> = noted.iter().cloned().collect();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Ec2Error::sdk(doing, error))?;
            let reservations = page.reservations().iter();
            for instance in reservations.flat_map(|reservation| reservation.instances()) {
                missing
                    .extract_if(.., |id| instance.instance_id() == Some(id.as_str()))
                    .for_each(drop);
                self.sort_in(instance, noted, &mut observed)?;
            }
        }
        let missing: Vec<InstanceId> = missing.into_iter().collect();
        for instance in self.instances(doing, &missing).await? {
            self.sort_in(&instance, noted, &mut observed)?;
        }
        observed
            .instances
            .sort_by(|a, b| (&a.machine, a.generation, &a.id).cmp(&(&b.machine, b.generation, &b.id)));
        observed.unknown.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(observed)
    }
}

impl Ec2 {
    fn sort_in(&self, instance: &Instance, noted: &[InstanceId], observed: &mut Observed) -> Result<(), Ec2Error> {
        if !self.is_ours(instance.tags()) {
            return Ok(());
        }
        let id = instance.instance_id().and_then(|id| id.parse().ok());
        let id: InstanceId = id.ok_or_else(|| Ec2Error::lacks("looking for the machines", "instanceId"))?;
        let Some(state) = State::of(instance) else {
            observed.ended.extend(noted.contains(&id).then_some(id));
            return Ok(());
        };
        match machine(instance, id.clone(), state) {
            Ok(machine) => observed.instances.push(machine),
            Err(why) => observed.unknown.push(Unknown { id, state, why }),
        }
        Ok(())
    }
}

fn machine(instance: &Instance, id: InstanceId, state: State) -> Result<ObservedInstance, String> {
    let tags = instance.tags();
    let wrong = |key: &str| match tag(tags, key) {
        Some(value) => format!("its tag {key} is {value:?}"),
        None => format!("it has no tag {key}"),
    };
    let address = |text: Option<&str>| text.and_then(|text| text.parse().ok());
    Ok(ObservedInstance {
        id,
        machine: tag(tags, TAG_MACHINE)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| wrong(TAG_MACHINE))?,
        role: role_of(tags).ok_or_else(|| wrong(super::TAG_ROLE))?,
        generation: tag(tags, TAG_GENERATION)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| wrong(TAG_GENERATION))?,
        host_key: tag(tags, TAG_HOST_KEY).and_then(|text| text.parse().ok()),
        state,
        public_address: address(instance.public_ip_address()),
        private_address: address(instance.private_ip_address()),
        launched: instance
            .launch_time()
            .and_then(|time| u64::try_from(time.secs()).ok())
            .map(Moment::from_unix_s),
        instance_type: instance
            .instance_type()
            .map_or_else(String::new, |kind| kind.as_str().to_owned()),
        image: instance.image_id().unwrap_or_default().to_owned(),
        client_token: instance
            .client_token()
            .filter(|token| !token.is_empty())
            .map(str::to_owned),
    })
}
