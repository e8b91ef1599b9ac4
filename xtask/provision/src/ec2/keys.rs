//! The program's key pair: the public half of the manager's key, for first logins.

use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::ResourceType;
use optivex_bundle::ssh_key::PublicKey;

use super::{Ec2, Ec2Error, Kind, ObservedKey, TAG_NAME, filter};

impl Ec2 {
    /// What the program's key pair is called.
    pub fn key_name(&self) -> String {
        self.name(None)
    }

    /// The key pair, if it is there.
    pub(super) async fn observe_key(&self) -> Result<Option<ObservedKey>, Ec2Error> {
        let doing = "looking for the key pair";
        let answer = self
            .client
            .describe_key_pairs()
            .filters(self.ours())
            .filters(filter("key-name", &self.key_name()))
            .include_public_key(true)
            .send()
            .await
            .map_err(|error| Ec2Error::sdk(doing, error))?;
        let name = self.key_name();
        let ours = |key: &&aws_sdk_ec2::types::KeyPairInfo| key.key_name() == Some(&name) && self.is_ours(key.tags());
        let Some(key) = answer.key_pairs().iter().find(ours) else {
            return Ok(None);
        };
        Ok(Some(ObservedKey {
            id: key
                .key_pair_id()
                .ok_or_else(|| Ec2Error::lacks(doing, "keyPairId"))?
                .to_owned(),
            public: key.public_key().and_then(|text| text.trim().parse().ok()),
        }))
    }

    /// Makes the key pair of that key, unless it is there. One of another key is replaced: machines that run keep the key
    /// that they were made with.
    ///
    /// # Errors
    /// EC2's; a key pair of that name is there and not ours.
    pub async fn import_key(&self, key: &PublicKey) -> Result<(), Ec2Error> {
        match self.observe_key().await? {
            Some(there) if there.public.as_ref() == Some(key) => return Ok(()),
            Some(_) => self.delete_key().await?,
            None => {}
        }
        let name = self.key_name();
        let doing = format!("importing the key pair {name}");
        let imported = self
            .client
            .import_key_pair()
            .key_name(&name)
            .public_key_material(Blob::new(key.to_string()))
            .tag_specifications(self.tagged(ResourceType::KeyPair, &[(TAG_NAME, &name)]))
            .send()
            .await
            .map_err(|error| Ec2Error::sdk(&doing, error));
        match imported {
            Ok(_) => Ok(()),
            // Our own request, repeated after its answer was lost.
            Err(error) if error.kind() == Kind::Taken => match self.observe_key().await? {
                Some(there) if there.public.as_ref() == Some(key) => Ok(()),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Removes the key pair, if it is there and ours.
    ///
    /// # Errors
    /// EC2's.
    pub async fn delete_key(&self) -> Result<(), Ec2Error> {
        if self.observe_key().await?.is_none() {
            return Ok(());
        }
        // By its name, for moto knows no other way.
        let deleted = self.client.delete_key_pair().key_name(self.key_name()).send().await;
        match deleted.map_err(|error| Ec2Error::sdk(format!("deleting the key pair {}", self.key_name()), error)) {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
