//! Machines: made, waited for, started again, ended.

use std::net::IpAddr;
use std::time::Duration;

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, Instance, InstanceMetadataEndpointState,
    InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification, InstanceType, ResourceType,
    ShutdownBehavior, Tag, VolumeType,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use optivex_bundle::inventory::{Connect, RoleName};
use optivex_bundle::names::Name;
use optivex_bundle::secret::Secret;
use optivex_bundle::ssh_key::PublicKey;
use tokio::time::Instant;

use super::observed::State;
use super::{Ec2, Ec2Error, Image, InstanceId, Kind, TAG_GENERATION, TAG_HOST_KEY, TAG_MACHINE, TAG_NAME, TAG_ROLE};

/// Most of user data, before base64: EC2's bound.
pub const USER_DATA_BYTES: usize = 16 << 10;
/// Instances that are ended or asked about in one request.
const BATCH: usize = 100;

/// A machine to be made.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// Its name.
    pub machine: &'a Name,
    /// What it is for.
    pub role: RoleName,
    /// How often it was made, with this one.
    pub generation: u32,
    /// With which it is made once, however often it is asked for: up to 64 characters, in the lock file by now.
    pub client_token: &'a str,
    /// What it is made from.
    pub image: &'a Image,
    /// Such as `t3.large`.
    pub instance_type: &'a str,
    /// Its disk.
    pub disk_gib: u32,
    /// The security group of its role.
    pub group: &'a str,
    /// What it must show as its host key.
    pub host_key: &'a PublicKey,
    /// What it does at its first boot; its private host key is in it.
    pub user_data: &'a Secret,
    /// Whether it is reached from outside.
    pub public_address: bool,
}

/// Where a machine is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// From outside.
    pub public: Option<IpAddr>,
    /// Within its network.
    pub private: IpAddr,
}

impl Addresses {
    /// By the one that the inventory says.
    pub fn to_connect(&self, connect: Connect) -> Option<IpAddr> {
        match connect {
            Connect::Public => self.public,
            Connect::Private => Some(self.private),
        }
    }
}

impl Ec2 {
    /// Asks for a machine, in the inventory's subnet and with the program's key pair. It is not waited for: write the id
    /// down first. It has no instance profile, whatever its role: nothing on it can speak for the account.
    ///
    /// # Errors
    /// EC2's; user data that is too large; a disk that is too small for the image.
    pub async fn run_instance(&self, launch: &Launch<'_>) -> Result<InstanceId, Ec2Error> {
        let machine = launch.machine.as_str();
        let doing = format!("making {machine}");
        let data = launch.user_data.expose().as_bytes();
        if data.len() > USER_DATA_BYTES {
            let why = format!(
                "its user data are {} bytes, and EC2 takes {USER_DATA_BYTES}",
                data.len()
            );
            return Err(Ec2Error::ours(Kind::Request, doing, why));
        }
        if launch.disk_gib < launch.image.disk_gib {
            let why = format!(
                "its role has disk_gib: {}, and the image {} needs {}",
                launch.disk_gib, launch.image.id, launch.image.disk_gib
            );
            return Err(Ec2Error::ours(Kind::Request, doing, why));
        }
        let disk_gib = i32::try_from(launch.disk_gib)
            .map_err(|error| Ec2Error::ours(Kind::Request, &doing, format!("disk_gib: {error}")))?;
        let disk = EbsBlockDevice::builder()
            .volume_type(VolumeType::Gp3)
            .volume_size(disk_gib)
            .encrypted(true)
            .delete_on_termination(true)
            .build();
        let disk = BlockDeviceMapping::builder()
            .device_name(&launch.image.root_device)
            .ebs(disk)
            .build();
        // Sessions only, and not from within containers on it.
        let metadata = InstanceMetadataOptionsRequest::builder()
            .http_endpoint(InstanceMetadataEndpointState::Enabled)
            .http_tokens(HttpTokensState::Required)
            .http_put_response_hop_limit(1)
            .build();
        let network = InstanceNetworkInterfaceSpecification::builder()
            .device_index(0)
            .subnet_id(self.aws.subnet.as_str())
            .groups(launch.group)
            .associate_public_ip_address(launch.public_address)
            .delete_on_termination(true)
            .build();
        let generation = launch.generation.to_string();
        let tags = [
            (TAG_MACHINE, machine),
            (TAG_ROLE, launch.role.as_str()),
            (TAG_GENERATION, &generation),
            (TAG_NAME, machine),
        ];
        let host_key = launch.host_key.to_string();
        let mut request = self
            .client
            .run_instances()
            .min_count(1)
            .max_count(1)
            .client_token(launch.client_token)
            .image_id(&launch.image.id)
            .instance_type(InstanceType::from(launch.instance_type))
            .key_name(self.key_name())
            .user_data(BASE64_STANDARD.encode(data))
            .block_device_mappings(disk)
            .metadata_options(metadata)
            .network_interfaces(network)
            .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate);
        let instance = [&tags[..], &[(TAG_HOST_KEY, &host_key)]].concat();
        request = request.tag_specifications(self.tagged(ResourceType::Instance, &instance));
        for resource in [ResourceType::Volume, ResourceType::NetworkInterface] {
            request = request.tag_specifications(self.tagged(resource, &tags));
        }
        let started = Instant::now();
        let answer = loop {
            match request
                .clone()
                .send()
                .await
                .map_err(|error| Ec2Error::sdk(&doing, error))
            {
                // Key pair or group were made a moment ago, and are not known everywhere yet.
                Err(error) if error.kind() == Kind::NotFound && started.elapsed() < self.settling() => {
                    tokio::time::sleep(self.pace.poll).await;
                }
                answer => break answer?,
            }
        };
        let id = answer.instances().first().and_then(|instance| instance.instance_id());
        id.and_then(|id| id.parse().ok())
            .ok_or_else(|| Ec2Error::lacks(&doing, "instanceId"))
    }

    /// Waits until it runs and has the address by which we connect.
    ///
    /// # Errors
    /// EC2's; it ended instead, with what EC2 says about it; it took too long.
    pub async fn wait_running(&self, id: &InstanceId, bound: Duration) -> Result<Addresses, Ec2Error> {
        let doing = format!("waiting for {id}");
        let deadline = Instant::now() + bound;
        let mut pause = self.pace.poll;
        loop {
            let instance = self.instances(&doing, std::slice::from_ref(id)).await?.pop();
            let last = match &instance {
                // Made a moment ago, it is not known everywhere yet.
                None => "EC2 does not know it".to_owned(),
                Some(instance) => match State::of(instance) {
                    None | Some(State::ShuttingDown) => {
                        return Err(Ec2Error::ours(Kind::Ended, doing, ending(instance)));
                    }
                    Some(State::Running) => match addresses(instance) {
                        Some(addresses) if addresses.to_connect(self.aws.connect).is_some() => return Ok(addresses),
                        Some(_) => "it runs, and has no public address (connect: private in the inventory?)".to_owned(),
                        None => "it runs, and has no address".to_owned(),
                    },
                    Some(state) => format!("it is {state}"),
                },
            };
            if Instant::now() + pause > deadline {
                return Err(Ec2Error::timed_out(doing, bound, &last));
            }
            tokio::time::sleep(pause).await;
            pause = self.longer(pause);
        }
    }

    /// Notes what a machine must show from now on.
    ///
    /// # Errors
    /// EC2's.
    pub async fn tag_host_key(&self, id: &InstanceId, host_key: &PublicKey) -> Result<(), Ec2Error> {
        let tag = Tag::builder().key(TAG_HOST_KEY).value(host_key.to_string()).build();
        let noted = self.client.create_tags().resources(id.as_str()).tags(tag).send().await;
        noted
            .map(drop)
            .map_err(|error| Ec2Error::sdk(format!("noting the host key of {id}"), error))
    }

    /// Starts a machine that is stopped. It is not waited for.
    ///
    /// # Errors
    /// EC2's, such as missing capacity.
    pub async fn start(&self, id: &InstanceId) -> Result<(), Ec2Error> {
        let started = self.client.start_instances().instance_ids(id.as_str()).send().await;
        started
            .map(drop)
            .map_err(|error| Ec2Error::sdk(format!("starting {id}"), error))
    }

    /// Ends machines for good, with their disks. One that is gone is none to complain about.
    ///
    /// # Errors
    /// EC2's.
    pub async fn terminate(&self, ids: &[InstanceId]) -> Result<(), Ec2Error> {
        for ids in ids.chunks(BATCH) {
            match self.terminate_batch(ids).await {
                // One that is unknown keeps EC2 from ending the others.
                Err(error) if error.kind() == Kind::NotFound => {
                    for id in ids {
                        match self.terminate_batch(std::slice::from_ref(id)).await {
                            Err(error) if error.kind() != Kind::NotFound => return Err(error),
                            _ => {}
                        }
                    }
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn terminate_batch(&self, ids: &[InstanceId]) -> Result<(), Ec2Error> {
        let request = self.client.terminate_instances().set_instance_ids(Some(texts(ids)));
        let answer = request.send().await;
        answer
            .map(drop)
            .map_err(|error| Ec2Error::sdk(format!("ending {}", texts(ids).join(", ")), error))
    }

    /// Waits until all of them are gone: only then are their network interfaces, which hold the security groups.
    ///
    /// # Errors
    /// EC2's; it took too long.
    pub async fn wait_terminated(&self, ids: &[InstanceId], bound: Duration) -> Result<(), Ec2Error> {
        let doing = "waiting for machines to end";
        let deadline = Instant::now() + bound;
        let mut pause = self.pace.poll;
        loop {
            let instances = self.instances(doing, ids).await?;
            let left = instances.iter().filter(|instance| State::of(instance).is_some());
            let left: Vec<&str> = left.filter_map(Instance::instance_id).collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() + pause > deadline {
                return Err(Ec2Error::timed_out(
                    doing,
                    bound,
                    &format!("{} are left", left.join(", ")),
                ));
            }
            tokio::time::sleep(pause).await;
            pause = self.longer(pause);
        }
    }

    /// Those of them that EC2 knows. By a filter: asked for by id, one that is unknown would hide all others.
    pub(super) async fn instances(&self, doing: &str, ids: &[InstanceId]) -> Result<Vec<Instance>, Ec2Error> {
        let mut instances = Vec::new();
        for ids in ids.chunks(BATCH) {
            let filter = aws_sdk_ec2::types::Filter::builder()
                .name("instance-id")
                .set_values(Some(texts(ids)));
            let mut pages = self
                .client
                .describe_instances()
                .filters(filter.build())
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| Ec2Error::sdk(doing, error))?;
                let reservations = page.reservations.unwrap_or_default().into_iter();
                instances.extend(reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()));
            }
        }
        Ok(instances)
    }

    fn longer(&self, pause: Duration) -> Duration {
        pause.mul_f64(1.5).min(self.pace.poll * 5)
    }
}

fn texts(ids: &[InstanceId]) -> Vec<String> {
    ids.iter().map(InstanceId::to_string).collect()
}

fn addresses(instance: &Instance) -> Option<Addresses> {
    Some(Addresses {
        public: instance.public_ip_address().and_then(|text| text.parse().ok()),
        private: instance.private_ip_address()?.parse().ok()?,
    })
}

/// Why it ended, as EC2 says it: such as a key that its disk could not be encrypted with.
fn ending(instance: &Instance) -> String {
    let reason = instance.state_reason();
    let message = reason
        .and_then(|reason| reason.message())
        .unwrap_or("EC2 does not say why");
    format!("it ended before it ran: {message}")
}
