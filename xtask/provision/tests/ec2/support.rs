//! What all tests of EC2 start from.

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_credential_types::Credentials;
use optivex_bundle::inventory::{Aws, RoleName};
use optivex_bundle::names::Name;
use optivex_bundle::secret::Secret;
use optivex_bundle::ssh_key::PublicKey;
use optivex_provision::ec2::{Ec2, Ec2Error, Image, InstanceId, Launch, Pace};

pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqa2x6";
pub(crate) const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMRrOSfhmOEdUeHwLtGXnQqXR1b+HMi4jr1NpSlzxOLr";

/// A pace at which nobody waits.
pub(crate) const FAST: Pace = Pace {
    attempts: 3,
    backoff: Duration::from_millis(1),
    poll: Duration::from_millis(2),
};

/// Long enough for whatever comes in the end.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn key(text: &str) -> PublicKey {
    text.parse().expect("a public key")
}

pub(crate) fn aws(subnet: &str, ingress: &str) -> Aws {
    let yaml = format!(
        "{{region: eu-central-1, ami: ami-0123456789abcdef0, subnet: {subnet}, ingress: [{ingress}], connect: private, \
         login: admin}}"
    );
    serde_yaml::from_str(&yaml).expect("an inventory's aws:")
}

/// A configuration of nobody's: with credentials that any server takes that does not look.
pub(crate) fn loader(url: &str) -> ConfigLoader {
    let credentials = Credentials::new("test", "test", None, None, "test");
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(url)
        .credentials_provider(credentials)
}

/// The program `spring` at a server.
pub(crate) async fn ec2(url: &str) -> Ec2 {
    let aws = aws("subnet-0123456789abcdef0", "203.0.113.0/24");
    Ec2::connect_with(loader(url), &aws, &name("spring"), FAST).await
}

pub(crate) fn image() -> Image {
    Image {
        id: "ami-0123456789abcdef0".to_owned(),
        root_device: "/dev/xvda".to_owned(),
        disk_gib: 8,
    }
}

/// Asks for alice's machine.
pub(crate) async fn run(
    ec2: &Ec2,
    image: &Image,
    group: &str,
    change: impl FnOnce(&mut Launch<'_>),
) -> Result<InstanceId, Ec2Error> {
    let (machine, host_key) = (name("alice"), key(KEY));
    let user_data = Secret::new("#cloud-config\n".to_owned());
    let mut launch = Launch {
        machine: &machine,
        role: RoleName::Dev,
        generation: 1,
        client_token: "spring-alice-1",
        image,
        instance_type: "t3.large",
        disk_gib: 40,
        group,
        host_key: &host_key,
        user_data: &user_data,
        public_address: true,
    };
    change(&mut launch);
    ec2.run_instance(&launch).await
}
