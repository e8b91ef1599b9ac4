//! Enough of EC2's query API to see, from outside, what runs: two questions, no SDK.
//!
//! Only for [moto](crate::moto), which takes any signature.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// An answer that takes longer comes from no healthy moto.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client for one region.
#[derive(Debug)]
pub struct Ec2 {
    agent: ureq::Agent,
    url: String,
    authorization: String,
}

/// An instance as EC2 tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping` or `stopped`.
    pub state: String,
    /// Terminated instances have none.
    pub address: Option<Ipv4Addr>,
    /// The tag `Name`.
    pub name: Option<String>,
    /// The key pair that it was started with.
    pub key_name: Option<String>,
}

impl Ec2 {
    /// A client of the moto that listens there.
    pub fn new(moto: SocketAddr, region: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .proxy(None)
            .build()
            .new_agent();
        Self {
            agent,
            url: format!("http://{moto}/"),
            // moto finds service and region in it, and does not check the rest.
            authorization: format!(
                "AWS4-HMAC-SHA256 Credential=rehearsal/20270101/{region}/ec2/aws4_request, SignedHeaders=host, Signature=none"
            ),
        }
    }

    /// All instances, terminated ones too.
    pub fn instances(&self) -> Result<Vec<Instance>> {
        let text = self.ask(&[("Action", "DescribeInstances")])?;
        instances_in(&text).context("moto's answer to DescribeInstances")
    }

    /// What the instance was given for its first boot.
    pub fn user_data(&self, id: &str) -> Result<Vec<u8>> {
        let text = self.ask(&[
            ("Action", "DescribeInstanceAttribute"),
            ("InstanceId", id),
            ("Attribute", "userData"),
        ])?;
        user_data_in(&text).with_context(|| format!("moto's answer for the user data of {id}"))
    }

    /// The public half of a key pair, as instances find it in their metadata. None where EC2 was not given it.
    pub fn public_key(&self, key_name: &str) -> Result<Option<String>> {
        let text = self.ask(&[
            ("Action", "DescribeKeyPairs"),
            ("KeyName.1", key_name),
            ("IncludePublicKey", "true"),
        ])?;
        let document = roxmltree::Document::parse(&text).context("not XML")?;
        Ok(document
            .descendants()
            .find(|node| node.tag_name().name() == "publicKey")
            .and_then(|node| node.text())
            .map(str::to_owned))
    }

    /// Calls any action, and gives the text of all elements of that name in the answer: ids of what is left, say, with
    /// `DescribeKeyPairs` and `keyPairId`.
    pub fn call(&self, action: &str, arguments: &[(&str, &str)], element: &str) -> Result<Vec<String>> {
        let query: Vec<(&str, &str)> = [("Action", action)]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let text = self.ask(&query)?;
        let document = roxmltree::Document::parse(&text).context("not XML")?;
        Ok(document
            .descendants()
            .filter(|node| node.tag_name().name() == element)
            .filter_map(|node| node.text().map(str::to_owned))
            .collect())
    }

    /// Ends an instance behind everybody's back, as a broken machine would end.
    pub fn terminate(&self, id: &str) -> Result<()> {
        self.ask(&[("Action", "TerminateInstances"), ("InstanceId.1", id)])
            .map(drop)
    }

    fn ask(&self, query: &[(&str, &str)]) -> Result<String> {
        let form = [("Version", "2016-11-15")].iter().chain(query).copied();
        let mut answer = self
            .agent
            .post(&self.url)
            .header("Authorization", &self.authorization)
            .config()
            .http_status_as_error(false)
            .build()
            .send_form(form)
            .with_context(|| format!("moto does not answer at {}", self.url))?;
        let text = answer.body_mut().read_to_string().context("moto's answer broke off")?;
        if !answer.status().is_success() {
            bail!("moto: {}: {text}", answer.status());
        }
        Ok(text)
    }
}

fn instances_in(text: &str) -> Result<Vec<Instance>> {
    let document = roxmltree::Document::parse(text).context("not XML")?;
    document
        .descendants()
        .filter(|node| node.tag_name().name() == "item")
        .filter(|node| {
            node.parent()
                .is_some_and(|parent| parent.tag_name().name() == "instancesSet")
        })
        .map(|item| {
            let child = |name: &str| item.children().find(|node| node.tag_name().name() == name);
            let text = |name: &str| child(name).and_then(|node| node.text()).map(str::to_owned);
            let id = text("instanceId").context("an instance without an id")?;
            let state = child("instanceState")
                .and_then(|state| state.children().find(|node| node.tag_name().name() == "name"))
                .and_then(|name| name.text())
                .with_context(|| format!("{id} has no state"))?
                .to_owned();
            let address = match text("privateIpAddress") {
                Some(address) => Some(
                    address
                        .parse()
                        .with_context(|| format!("{id} has the address {address:?}"))?,
                ),
                None => None,
            };
            let tag = |wanted: &str| {
                let set = child("tagSet")?;
                set.children().find_map(|tag| {
                    let part = |name: &str| {
                        tag.children()
                            .find(|node| node.tag_name().name() == name)
                            .and_then(|node| node.text())
                    };
                    (part("key") == Some(wanted)).then(|| part("value").unwrap_or_default().to_owned())
                })
            };
            Ok(Instance {
                name: tag("Name"),
                key_name: text("keyName"),
                id,
                state,
                address,
            })
        })
        .collect()
}

fn user_data_in(text: &str) -> Result<Vec<u8>> {
    let document = roxmltree::Document::parse(text).context("not XML")?;
    let encoded = document
        .descendants()
        .find(|node| node.tag_name().name() == "userData")
        .and_then(|node| node.children().find(|node| node.tag_name().name() == "value"))
        .and_then(|value| value.text())
        .unwrap_or_default();
    let encoded: String = encoded.chars().filter(|c| !c.is_whitespace()).collect();
    BASE64_STANDARD.decode(encoded).context("not base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"<D xmlns="http://ec2.amazonaws.com/doc/2016-11-15"><reservationSet><item><instancesSet>"#;
    const TAIL: &str = "</instancesSet></item></reservationSet></D>";

    #[test]
    fn instances() {
        let one = "<item><instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name></instanceState>\
            <networkInterfaceSet><item><privateIpAddress>10.9.9.9</privateIpAddress></item></networkInterfaceSet>\
            <privateIpAddress>10.1.2.3</privateIpAddress><keyName>k</keyName>\
            <tagSet><item><key>Program</key><value>p</value></item><item><key>Name</key><value>alice</value></item></tagSet></item>";
        let gone = "<item><instanceId>i-2</instanceId><instanceState><name>terminated</name></instanceState></item>";
        let found = instances_in(&format!("{HEAD}{one}{gone}{TAIL}")).expect("sound");
        assert_eq!(
            found,
            [
                Instance {
                    id: "i-1".to_owned(),
                    state: "running".to_owned(),
                    address: Some(Ipv4Addr::new(10, 1, 2, 3)),
                    name: Some("alice".to_owned()),
                    key_name: Some("k".to_owned()),
                },
                Instance {
                    id: "i-2".to_owned(),
                    state: "terminated".to_owned(),
                    address: None,
                    name: None,
                    key_name: None,
                },
            ]
        );
    }

    #[test]
    fn unsound_answers() {
        let cases = [
            ("not XML", "<html>"),
            (
                "without an id",
                "<item><privateIpAddress>10.1.2.3</privateIpAddress></item>",
            ),
            ("no state", "<item><instanceId>i-1</instanceId></item>"),
            (
                "has the address",
                "<item><instanceId>i-1</instanceId><instanceState><name>running</name></instanceState>\
                 <privateIpAddress>::1</privateIpAddress></item>",
            ),
        ];
        for (expected, item) in cases {
            let error = instances_in(&format!("{HEAD}{item}{TAIL}")).expect_err(item);
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }
}
