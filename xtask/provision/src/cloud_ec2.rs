//! The cloud that EC2 is.

use std::time::Duration;

use anyhow::{Context, Result};
use optivex_bundle::inventory::{Ami, Aws, Connect};
use optivex_bundle::names::Name;
use optivex_bundle::ssh_key::PublicKey;
use optivex_exit::{Exit, Failure};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::cloud::{Addresses, Cloud, Launch, TokenTaken};
use crate::ec2::{self, Ec2, Ec2Error, Groups, InstanceId};
use crate::plan::{Instance, State, World};

/// The program's part of EC2, and what runs its requests.
pub struct Ec2Cloud {
    ec2: Ec2,
    aws: Aws,
    runtime: Runtime,
    /// Asked for once a run: a request a machine is throttled sooner, and one that sees groups half made would take
    /// rules away again.
    groups: OnceCell<Groups>,
}

impl Ec2Cloud {
    /// With the user's configuration of AWS.
    ///
    /// # Errors
    /// No threads can be had. What is wrong with the configuration comes up with the first request.
    pub fn connect(aws: &Aws, program: &Name) -> Result<Self> {
        Self::new(aws, Ec2::connect(aws, program))
    }

    /// By a connection of one's own.
    ///
    /// # Errors
    /// As [`Ec2Cloud::connect`].
    pub fn new(aws: &Aws, ec2: impl Future<Output = Ec2>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("no threads for requests")?;
        Ok(Self {
            ec2: runtime.block_on(ec2),
            aws: aws.clone(),
            runtime,
            groups: OnceCell::new(),
        })
    }

    fn wait<T>(&self, request: impl Future<Output = Result<T, Ec2Error>>) -> Result<T> {
        let failed = |error: Ec2Error| Failure::new(Exit::Infrastructure, error.to_string());
        Ok(self.runtime.block_on(request).map_err(failed)?)
    }
}

fn id(text: &str) -> Result<InstanceId> {
    text.parse().with_context(|| format!("{text} in the lock file"))
}

impl Cloud for Ec2Cloud {
    fn observe(&self, manager: &PublicKey, noted: &[String]) -> Result<World> {
        let noted: Vec<InstanceId> = noted.iter().map(|instance| id(instance)).collect::<Result<_>>()?;
        let observed = self.wait(self.ec2.observe(&noted))?;
        let state = |state: ec2::State| match state {
            ec2::State::Pending | ec2::State::Running => State::Up,
            ec2::State::Stopping | ec2::State::Stopped => State::Stopped,
            ec2::State::ShuttingDown => State::ShuttingDown,
        };
        let instances = observed.instances.iter().map(|instance| Instance {
            id: instance.id.to_string(),
            machine: instance.machine.clone(),
            state: state(instance.state),
            generation: instance.generation,
            instance_type: instance.instance_type.parse().ok(),
            host_key: instance.host_key.clone(),
        });
        let unknown = observed.unknown.iter();
        Ok(World {
            key_is_ours: observed.key.as_ref().map(|key| key.public.as_ref() == Some(manager)),
            groups_are_right: observed.groups_are_right(&self.aws),
            has_groups: !observed.groups.is_empty(),
            instances: instances.collect(),
            ended: observed.ended.iter().map(ToString::to_string).collect(),
            unknown: unknown.map(|one| (one.id.to_string(), one.why.clone())).collect(),
        })
    }

    fn import_key(&self, manager: &PublicKey) -> Result<()> {
        self.wait(self.ec2.import_key(manager))
    }

    fn set_groups(&self) -> Result<()> {
        self.wait(self.groups.get_or_try_init(|| self.ec2.ensure_groups()))
            .map(drop)
    }

    fn image(&self, noted: Option<&str>) -> Result<String> {
        match (&self.aws.ami, noted) {
            (Ami::Ssm(_), Some(noted)) => Ok(noted.to_owned()),
            (ami, _) => Ok(self.wait(self.ec2.resolve_image(ami))?.id),
        }
    }

    fn launch(&self, launch: &Launch) -> Result<String> {
        let made = async {
            let image = self.ec2.image(&launch.image).await?;
            let groups = self.groups.get_or_try_init(|| self.ec2.ensure_groups()).await?;
            let wanted = ec2::Launch {
                machine: &launch.machine,
                role: launch.role,
                generation: launch.generation,
                client_token: &launch.client_token,
                image: &image,
                instance_type: launch.instance_type.as_str(),
                disk_gib: launch.disk_gib,
                group: groups.of(launch.role),
                host_key: &launch.host_key,
                user_data: &launch.user_data,
                public_address: self.aws.connect == Connect::Public,
            };
            self.ec2.run_instance(&wanted).await
        };
        match self.runtime.block_on(made) {
            Ok(instance) => Ok(instance.to_string()),
            Err(error) if error.kind() == ec2::Kind::Mismatch => Err(TokenTaken(error.to_string()).into()),
            Err(error) => Err(Failure::new(Exit::Infrastructure, error.to_string()).into()),
        }
    }

    fn await_running(&self, instance: &str, limit: Duration) -> Result<Addresses> {
        let addresses = self.wait(self.ec2.wait_running(&id(instance)?, limit))?;
        let ours = addresses.to_connect(self.aws.connect);
        Ok(Addresses {
            ours: ours
                .with_context(|| format!("{instance} has no public address"))?
                .to_string(),
            private: addresses.private.to_string(),
        })
    }

    fn start(&self, instance: &str) -> Result<()> {
        self.wait(self.ec2.start(&id(instance)?))
    }

    fn tag_host_key(&self, instance: &str, host_key: &PublicKey) -> Result<()> {
        self.wait(self.ec2.tag_host_key(&id(instance)?, host_key))
    }

    fn terminate(&self, instances: &[String], limit: Duration) -> Result<()> {
        let ids: Vec<InstanceId> = instances.iter().map(|instance| id(instance)).collect::<Result<_>>()?;
        self.wait(async {
            self.ec2.terminate(&ids).await?;
            self.ec2.wait_terminated(&ids, limit).await
        })
    }

    fn remove_shared(&self) -> Result<()> {
        self.wait(async {
            self.ec2.delete_groups(Duration::from_secs(300)).await?;
            self.ec2.delete_templates().await?;
            self.ec2.delete_key().await
        })
    }
}
