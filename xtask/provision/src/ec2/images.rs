//! What machines are made from.
//!
//! A public parameter (`aws: {ami: {ssm: …}}`) is resolved by EC2 itself, which does it for launch templates: one is made
//! for that question, and removed. An SDK for Systems Manager would be another minute of compiling for one request; and
//! asking RunInstances to resolve it would leave the name of the root disk unknown, without which a disk can neither be
//! sized nor encrypted.

use aws_sdk_ec2::types::{DeviceType, RequestLaunchTemplateData, ResourceType};
use optivex_bundle::inventory::{Ami, SsmPath};

use super::{Ec2, Ec2Error, Kind, TAG_NAME};

/// What machines are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `ami-…`.
    pub id: String,
    /// What its root disk is called, such as `/dev/xvda`.
    pub root_device: String,
    /// The least that its root disk can have.
    pub disk_gib: u32,
}

impl Ec2 {
    /// The image that the inventory names, now.
    ///
    /// # Errors
    /// EC2's; there is none; its root disk is not one that can be encrypted.
    pub async fn resolve_image(&self, ami: &Ami) -> Result<Image, Ec2Error> {
        match ami {
            Ami::Id(id) => self.image(id.as_str()).await,
            Ami::Ssm(path) => self.image(&self.resolve(path).await?).await,
        }
    }

    /// An image by its id, such as the lock file's.
    ///
    /// # Errors
    /// As [`Ec2::resolve_image`].
    pub async fn image(&self, id: &str) -> Result<Image, Ec2Error> {
        let doing = format!("looking for the image {id}");
        let answer = self.client.describe_images().image_ids(id).send().await;
        let answer = answer.map_err(|error| Ec2Error::sdk(&doing, error))?;
        let Some(image) = answer.images().first() else {
            return Err(Ec2Error::ours(
                Kind::Image,
                doing,
                "there is none in this region for this account",
            ));
        };
        if image.root_device_type().is_some_and(|kind| *kind != DeviceType::Ebs) {
            let why = "its root disk is not on EBS, so that it can be neither sized nor encrypted";
            return Err(Ec2Error::ours(Kind::Image, doing, why));
        }
        let root = image
            .root_device_name()
            .ok_or_else(|| Ec2Error::lacks(&doing, "rootDeviceName"))?;
        let mappings = image.block_device_mappings().iter();
        let size = mappings
            .filter(|mapping| mapping.device_name() == Some(root))
            .find_map(|mapping| mapping.ebs()?.volume_size());
        Ok(Image {
            id: id.to_owned(),
            root_device: root.to_owned(),
            disk_gib: size.and_then(|size| u32::try_from(size).ok()).unwrap_or(0),
        })
    }

    async fn resolve(&self, path: &SsmPath) -> Result<String, Ec2Error> {
        let name = self.name(Some("image"));
        // One that a run which was killed has left there.
        self.delete_templates().await?;
        let resolved = self.resolve_by_template(&name, path).await;
        let deleted = self.delete_templates().await;
        let resolved = resolved?;
        deleted.map(|()| resolved)
    }

    async fn resolve_by_template(&self, name: &str, path: &SsmPath) -> Result<String, Ec2Error> {
        let path = path.as_str();
        let doing = format!("resolving the public parameter {path}");
        let data = RequestLaunchTemplateData::builder()
            .image_id(format!("resolve:ssm:{path}"))
            .build();
        let made = self
            .client
            .create_launch_template()
            .launch_template_name(name)
            .launch_template_data(data)
            .tag_specifications(self.tagged(ResourceType::LaunchTemplate, &[(TAG_NAME, name)]))
            .send()
            .await
            .map_err(|error| Ec2Error::sdk(&doing, error))?;
        let template = made
            .launch_template()
            .and_then(|template| template.launch_template_id());
        let template = template.ok_or_else(|| Ec2Error::lacks(&doing, "launchTemplateId"))?;
        let answer = self
            .client
            .describe_launch_template_versions()
            .launch_template_id(template)
            .versions("$Latest")
            .resolve_alias(true)
            .send()
            .await
            .map_err(|error| Ec2Error::sdk(&doing, error))?;
        let version = answer.launch_template_versions().first();
        let image = version.and_then(|version| version.launch_template_data()?.image_id());
        match image {
            Some(id) if id.starts_with("ami-") => Ok(id.to_owned()),
            _ => Err(Ec2Error::ours(
                Kind::Image,
                doing,
                "EC2 made no image id of it (moto never does: give it one by `ami: ami-…`)",
            )),
        }
    }

    /// Removes what a run that was killed while it resolved a public parameter has left there.
    ///
    /// # Errors
    /// EC2's.
    pub async fn delete_templates(&self) -> Result<(), Ec2Error> {
        let doing = "looking for launch templates";
        let answer = self
            .client
            .describe_launch_templates()
            .filters(self.ours())
            .send()
            .await
            .map_err(|error| Ec2Error::sdk(doing, error))?;
        for template in answer
            .launch_templates()
            .iter()
            .filter(|template| self.is_ours(template.tags()))
        {
            let Some(id) = template.launch_template_id() else {
                continue;
            };
            let deleted = self.client.delete_launch_template().launch_template_id(id).send().await;
            match deleted.map_err(|error| Ec2Error::sdk(format!("deleting the launch template {id}"), error)) {
                Err(error) if error.kind() != Kind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
