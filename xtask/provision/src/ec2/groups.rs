//! The two security groups: one of the dev machines, one of UAT.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_ec2::types::{IpPermission, ResourceType, SecurityGroup};
use optivex_bundle::inventory::RoleName;
use tokio::time::Instant;

use super::rules::{Rule, desired};
use super::{Ec2, Ec2Error, Kind, ObservedGroup, TAG_NAME, TAG_ROLE, role_of};

/// Ids of the two groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Of the dev machines.
    pub dev: String,
    /// Of UAT.
    pub uat: String,
}

impl Groups {
    /// A role's.
    pub fn of(&self, role: RoleName) -> &str {
        match role {
            RoleName::Dev => &self.dev,
            RoleName::Uat => &self.uat,
        }
    }
}

impl Ec2 {
    /// The VPC of the inventory's subnet.
    async fn vpc(&self) -> Result<String, Ec2Error> {
        let subnet = self.aws.subnet.as_str();
        let doing = format!("looking for the subnet {subnet}");
        let answer = self.client.describe_subnets().subnet_ids(subnet).send().await;
        let answer = answer.map_err(|error| Ec2Error::sdk(&doing, error))?;
        let vpc = answer.subnets().first().and_then(|subnet| subnet.vpc_id());
        vpc.map(str::to_owned).ok_or_else(|| Ec2Error::lacks(&doing, "vpcId"))
    }

    /// The same, where it does not matter if the subnet is gone: what is to be removed is found by its tag.
    pub(super) async fn vpc_if_there(&self) -> Result<Option<String>, Ec2Error> {
        match self.vpc().await {
            Ok(vpc) => Ok(Some(vpc)),
            Err(error) if error.kind() == Kind::Subnet => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Our groups, of every VPC.
    pub(super) async fn observe_groups(&self) -> Result<Vec<ObservedGroup>, Ec2Error> {
        let doing = "looking for the security groups";
        let mut groups = Vec::new();
        let mut pages = self
            .client
            .describe_security_groups()
            .filters(self.ours())
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Ec2Error::sdk(doing, error))?;
            for group in page.security_groups().iter().filter(|group| self.is_ours(group.tags())) {
                groups.push(observed(doing, group)?);
            }
        }
        groups.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(groups)
    }

    /// Makes the groups that are missing in the subnet's VPC, and gives both exactly their rules: what is missing first,
    /// so that nobody is locked out in between, then away with what is too much.
    ///
    /// # Errors
    /// EC2's; no such subnet; a group of that name is there and not ours.
    pub async fn ensure_groups(&self) -> Result<Groups, Ec2Error> {
        let vpc = self.vpc().await?;
        let mut there = self.observe_groups().await?;
        there.retain(|group| group.vpc == vpc);
        let of = |role| there.iter().find(|group| group.role == Some(role));
        let id = async |role| match of(role) {
            Some(group) => Ok(group.id.clone()),
            None => self.create_group(role, &vpc).await,
        };
        let groups = Groups {
            dev: id(RoleName::Dev).await?,
            uat: id(RoleName::Uat).await?,
        };
        let none = BTreeSet::new();
        for role in [RoleName::Dev, RoleName::Uat] {
            let rules = of(role).map_or(&none, |group| &group.rules);
            let desired = desired(role, &self.aws.ingress, &groups);
            self.authorize(groups.of(role), &(&desired - rules)).await?;
            self.revoke(groups.of(role), &(rules - &desired)).await?;
        }
        Ok(groups)
    }

    async fn create_group(&self, role: RoleName, vpc: &str) -> Result<String, Ec2Error> {
        let name = self.name(Some(role.as_str()));
        let doing = format!("making the security group {name}");
        let tags = [(TAG_ROLE, role.as_str()), (TAG_NAME, &name)];
        let made = self
            .client
            .create_security_group()
            .group_name(&name)
            .description(format!("Optivex program {}, {role} machines", self.program))
            .vpc_id(vpc)
            .tag_specifications(self.tagged(ResourceType::SecurityGroup, &tags))
            .send()
            .await
            .map_err(|error| Ec2Error::sdk(&doing, error));
        match made {
            Ok(made) => made
                .group_id()
                .map(str::to_owned)
                .ok_or_else(|| Ec2Error::lacks(&doing, "groupId")),
            // Our own request, repeated after its answer was lost; or one that the first look did not show yet.
            Err(error) if error.kind() == Kind::Taken => {
                let there = self.observe_groups().await?;
                let ours = there.into_iter().find(|group| group.vpc == vpc && group.name == name);
                ours.map(|group| group.id).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn authorize(&self, group: &str, rules: &BTreeSet<Rule>) -> Result<(), Ec2Error> {
        let doing = format!("opening {group} to {}", told(rules));
        let started = Instant::now();
        loop {
            if rules.is_empty() {
                return Ok(());
            }
            let answer = self
                .client
                .authorize_security_group_ingress()
                .group_id(group)
                .set_ip_permissions(Some(permissions(rules)))
                .send()
                .await
                .map_err(|error| Ec2Error::sdk(&doing, error));
            match answer {
                Ok(_) => return Ok(()),
                // One that is there refuses all of them: again, one by one.
                Err(error) if error.code() == Some("InvalidPermission.Duplicate") => match rules.len() {
                    1 => return Ok(()),
                    _ => {
                        for rule in rules {
                            Box::pin(self.authorize(group, &BTreeSet::from([rule.clone()]))).await?;
                        }
                        return Ok(());
                    }
                },
                // A group that was made a moment ago is not known everywhere yet.
                Err(error) if error.kind() == Kind::NotFound && started.elapsed() < self.settling() => {
                    tokio::time::sleep(self.pace.poll).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn revoke(&self, group: &str, rules: &BTreeSet<Rule>) -> Result<(), Ec2Error> {
        if rules.is_empty() {
            return Ok(());
        }
        let doing = format!("closing {group} to {}", told(rules));
        let answer = self
            .client
            .revoke_security_group_ingress()
            .group_id(group)
            .set_ip_permissions(Some(permissions(rules)))
            .send()
            .await
            .map_err(|error| Ec2Error::sdk(&doing, error));
        match answer {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes our groups, of every VPC. Rules that name the other group go first: a group that is named is in use. So is
    /// one whose machines' network interfaces are not gone yet, which is waited for.
    ///
    /// # Errors
    /// EC2's; something that is not ours still uses one.
    pub async fn delete_groups(&self, bound: Duration) -> Result<(), Ec2Error> {
        let groups = self.observe_groups().await?;
        for group in &groups {
            self.revoke(&group.id, &group.rules).await?;
        }
        let deadline = Instant::now() + bound;
        for group in &groups {
            let doing = format!("deleting the security group {} ({})", group.name, group.id);
            loop {
                let deleted = self.client.delete_security_group().group_id(&group.id).send().await;
                match deleted.map_err(|error| Ec2Error::sdk(&doing, error)) {
                    Ok(_) => break,
                    Err(error) if error.kind() == Kind::NotFound => break,
                    Err(error) if error.kind() == Kind::InUse && Instant::now() < deadline => {
                        tokio::time::sleep(self.pace.poll).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// How long something new may be unknown: EC2 says minutes, and it is seconds.
    pub(super) fn settling(&self) -> Duration {
        self.pace.poll * 30
    }
}

fn permissions(rules: &BTreeSet<Rule>) -> Vec<IpPermission> {
    rules.iter().map(Rule::permission).collect()
}

fn told(rules: &BTreeSet<Rule>) -> String {
    rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ")
}

fn observed(doing: &str, group: &SecurityGroup) -> Result<ObservedGroup, Ec2Error> {
    let lacks = |what| Ec2Error::lacks(doing, what);
    Ok(ObservedGroup {
        id: group.group_id().ok_or_else(|| lacks("groupId"))?.to_owned(),
        name: group.group_name().unwrap_or_default().to_owned(),
        vpc: group.vpc_id().unwrap_or_default().to_owned(),
        role: role_of(group.tags()),
        rules: group.ip_permissions().iter().flat_map(Rule::all_of).collect(),
    })
}
