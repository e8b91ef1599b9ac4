//! The program's part of EC2: its key pair, its two security groups, its machines.
//!
//! All of it carries the tag [`TAG_PROGRAM`] from the call that makes it, and is found by that tag alone: what the lock
//! file lost is still found, and what is not tagged is never touched.
//!
//! [moto](https://docs.getmoto.org) 5, on which the rehearsal runs, differs from EC2 in this: it makes a second instance
//! for a client token that it knows; it makes instances of images that it does not know; it resolves no public
//! parameters, so that an image has to be given by its id; it deletes key pairs by name only; and its instances run at
//! once. The requests are the same, and tested against a server of the tests' own where moto does not look at them.

mod errors;
mod groups;
mod images;
mod instances;
mod keys;
mod observed;
mod rules;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::SharedHttpClient;
use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use optivex_bundle::inventory::{Aws, RoleName};
use optivex_bundle::names::Name;

pub use errors::{Ec2Error, Kind};
pub use groups::Groups;
pub use images::Image;
pub use instances::{Addresses, Launch, USER_DATA_BYTES};
pub use observed::{Observed, ObservedGroup, ObservedInstance, ObservedKey, State, Unknown};
pub use rules::{EXCHANGE_PORT, Rule, SSH_PORT, Source, desired};

/// Whose it is: the program's id.
pub const TAG_PROGRAM: &str = "optivex-program";
/// The machine's name.
pub const TAG_MACHINE: &str = "optivex-machine";
/// What a machine or a security group is for.
pub const TAG_ROLE: &str = "optivex-role";
/// How often the machine was made.
pub const TAG_GENERATION: &str = "optivex-generation";
/// What the machine must show as its host key: who may read tags may know it, and nobody else may write them.
pub const TAG_HOST_KEY: &str = "optivex-host-key";
/// What the console shows.
pub const TAG_NAME: &str = "Name";

/// How often and how fast requests are repeated, and how often is asked whether something has come about.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Attempts of one request: throttling, lost connections, faults of AWS's own and missing capacity are tried again.
    pub attempts: u32,
    /// Before the first repetition at most; twice that before each further one, up to 20 s.
    pub backoff: Duration,
    /// Between two questions at first; it grows to five times that.
    pub poll: Duration,
}

impl Default for Pace {
    /// Eight attempts are a minute in all: long enough for a throttled account's budget to fill again, and short enough
    /// for somebody who waits.
    fn default() -> Self {
        Self {
            attempts: 8,
            backoff: Duration::from_secs(1),
            poll: Duration::from_secs(2),
        }
    }
}

/// The program's part of EC2 in one region.
#[derive(Clone, Debug)]
pub struct Ec2 {
    client: Client,
    program: Name,
    aws: Aws,
    pace: Pace,
}

impl Ec2 {
    /// With the user's configuration: environment, profiles, SSO, roles, `AWS_ENDPOINT_URL`, proxies. The region is the
    /// inventory's. Asks for nothing yet: credentials that are missing or expired come up with the first request.
    pub async fn connect(aws: &Aws, program: &Name) -> Self {
        let loader = aws_config::defaults(BehaviorVersion::latest());
        Self::connect_with(loader, aws, program, Pace::default()).await
    }

    /// With a configuration that is given in part.
    pub async fn connect_with(loader: ConfigLoader, aws: &Aws, program: &Name, pace: Pace) -> Self {
        let retry = RetryConfig::standard()
            .with_max_attempts(pace.attempts)
            .with_initial_backoff(pace.backoff)
            .with_max_backoff(Duration::from_secs(20));
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(10))
            .operation_attempt_timeout(Duration::from_secs(60))
            .build();
        let config = loader
            .region(Region::new(aws.region.as_str().to_owned()))
            .retry_config(retry)
            .timeout_config(timeouts)
            .http_client(http_client(ProxyConfig::from_env()))
            .load()
            .await;
        // A server on this very machine is not behind a proxy, and no proxy would find it.
        let config = match config.endpoint_url().is_some_and(is_local) {
            true => config
                .into_builder()
                .http_client(http_client(ProxyConfig::disabled()))
                .build(),
            false => config,
        };
        Self {
            client: Client::new(&config),
            program: program.clone(),
            aws: aws.clone(),
            pace,
        }
    }

    /// `optivex-PROGRAM`, and names that start with it.
    fn name(&self, part: Option<&str>) -> String {
        match part {
            None => format!("optivex-{}", self.program),
            Some(part) => format!("optivex-{}-{part}", self.program),
        }
    }

    /// Finds what is the program's.
    fn ours(&self) -> Filter {
        filter(&format!("tag:{TAG_PROGRAM}"), self.program.as_str())
    }

    /// For something new.
    fn tagged(&self, resource: ResourceType, more: &[(&str, &str)]) -> TagSpecification {
        let program = [(TAG_PROGRAM, self.program.as_str())];
        let tags = program
            .iter()
            .chain(more)
            .map(|(key, value)| Tag::builder().key(*key).value(*value).build());
        TagSpecification::builder()
            .resource_type(resource)
            .set_tags(Some(tags.collect()))
            .build()
    }

    /// Whether tags are the program's. The filter said so, too; what is removed by it is worth looking twice.
    fn is_ours(&self, tags: &[Tag]) -> bool {
        tag(tags, TAG_PROGRAM) == Some(self.program.as_str())
    }
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

fn role_of(tags: &[Tag]) -> Option<RoleName> {
    tag(tags, TAG_ROLE)?.parse().ok()
}

/// The SDK's own client would bring a second cryptography along; and it knows no proxies.
fn http_client(proxies: ProxyConfig) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .proxy_config(proxies.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    })
}

fn is_local(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An instance's id: `i-…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(String);

/// Text that is no instance's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no instance's id: i-…")]
pub struct NoInstanceId;

impl InstanceId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for InstanceId {
    type Err = NoInstanceId;

    fn from_str(text: &str) -> Result<Self, NoInstanceId> {
        let hex = text.strip_prefix("i-").filter(|hex| !hex.is_empty() && hex.len() <= 32);
        hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .map(|_| Self(text.to_owned()))
            .ok_or(NoInstanceId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_this_machine() {
        for (url, local) in [
            ("http://127.0.0.1:5000", true),
            ("http://127.1.2.3/", true),
            ("http://localhost:1/x", true),
            ("http://[::1]:5000", true),
            ("http://localhost.example.com", false),
            ("https://ec2.eu-central-1.amazonaws.com", false),
            ("http://10.0.0.1:5000", false),
            ("127.0.0.1:5000", false),
        ] {
            assert_eq!(is_local(url), local, "{url}");
        }
    }

    #[test]
    fn ids() {
        for right in ["i-0123456789abcdef0", "i-1a2b3c4d"] {
            assert_eq!(
                right.parse::<InstanceId>().map(|id| id.to_string()),
                Ok(right.to_owned())
            );
        }
        for wrong in ["", "i-", "i-xyz", "ami-0123", "i-0 1"] {
            assert!(wrong.parse::<InstanceId>().is_err(), "{wrong:?}");
        }
    }
}
