//! Words of the inventory, each checked where it is read, so that an error names its line.
//!
//! Most of them end up in arguments of programs on other machines. They are quoted there; that none of them starts with
//! a dash or holds a control character is seen to here.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Ami, KEYS_MAX};
use crate::digest::{NotThat, Text, serde_as_text};
use crate::ssh_key::PublicKey;

/// A word with a rule.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident, $rule:expr, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotThat;

            fn from_str(text: &str) -> Result<Self, NotThat> {
                let rule: fn(&str) -> bool = $rule;
                rule(text).then(|| Self(text.to_owned())).ok_or(NotThat($what))
            }
        }

        serde_as_text!($name);
    )*};
}

words! {
    /// A region of AWS.
    Region, |text| {
        let parts: Vec<&str> = text.split('-').collect();
        let right = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        text.len() <= 32 && parts.len() >= 3 && parts.iter().all(right)
    }, "a region of AWS, such as eu-central-1";
    /// An image of EC2.
    AmiId, |text| is_ec2_id(text, "ami-"), "an image of EC2: ami- and 8 or 17 hex digits";
    /// A public parameter that names an image.
    SsmPath, |text| {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte);
        text.starts_with('/') && text.len() <= 1_011 && text.bytes().all(right)
    }, "the path of an SSM parameter, such as /aws/service/debian/release/12/latest/amd64";
    /// A subnet of EC2.
    SubnetId, |text| is_ec2_id(text, "subnet-"), "a subnet of EC2: subnet- and 8 or 17 hex digits";
    /// A type of instance.
    InstanceType, |text| {
        let right = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        text.len() <= 32 && text.split_once('.').is_some_and(|(family, size)| right(family) && right(size))
    }, "a type of instance, such as t3.large";
    /// A package of apt or dnf.
    Package, |text| {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || b"+._-:".contains(&byte);
        text.len() <= 128 && text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(right)
    }, "the name of a package of apt or dnf";
    /// The user that an image has for its first login.
    Login, |text| {
        let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        (1..=32).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && text.bytes().all(right)
    }, "the name of a Unix user: [a-z_][a-z0-9_-]{0,31}";
    /// A branch of git.
    Branch, |text| {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with('.') && !part.ends_with(".lock");
        text.len() <= 100 && text.bytes().all(right) && !text.contains("..") && text.split('/').all(part)
    }, "the name of a branch: letters, digits, / . _ -";
    /// An address, or a host name.
    Address, |text| {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        let is_name = text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(right);
        text.len() <= 253 && (is_name || text.parse::<std::net::IpAddr>().is_ok())
    }, "an IP address or a host name";
    /// A file by its whole path.
    AbsolutePath, |text| {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(right);
        text.len() <= 255 && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
    }, "a whole path of letters, digits, . _ -, such as /var/www/optivex/index.html";
    /// An argument of a program.
    Argument, |text| {
        !text.is_empty() && text.len() <= 200 && !text.chars().any(char::is_control)
    }, "an argument: up to 200 bytes on one line";
    /// A git repository that can be cloned.
    Url, |text| {
        let known = ["https://", "ssh://", "git@", "file:///"];
        text.len() <= 1_000
            && known.iter().any(|start| text.starts_with(start) && text.len() > start.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    }, "the URL of a git repository: https://…, ssh://…, git@…";
}

fn is_ec2_id(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    matches!(digits.len(), 8 | 17)
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Dollars of the United States: 0 to a million.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct Usd(f64);

impl Usd {
    /// As a number.
    pub fn amount(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = deserializer.deserialize_any(Number {
            bounds: 0.0..=1e6,
            what: "0 to 1,000,000 US dollars",
        })?;
        Ok(Self(amount))
    }
}

/// A number within bounds, whose error is at its own place.
struct Number {
    bounds: RangeInclusive<f64>,
    what: &'static str,
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        match self.bounds.contains(&number) {
            true => Ok(number),
            false => Err(E::custom(format_args!("not {}", self.what))),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        self.visit_f64(number as f64)
    }
}

/// A whole one.
struct Count {
    bounds: RangeInclusive<u32>,
    what: &'static str,
}

impl Visitor<'_> for Count {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
        let fits = |number: &u32| self.bounds.contains(number);
        let number = u32::try_from(number).ok().filter(fits);
        number.ok_or_else(|| E::custom(format_args!("not {}", self.what)))
    }
}

pub(super) fn disk_gib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_any(Count {
        bounds: 8..=16_384,
        what: "a disk of 8 to 16384 GiB",
    })
}

pub(super) fn slots<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_any(Count {
        bounds: 1..=64,
        what: "1 to 64 slots",
    })
}

/// How an image is written.
struct AmiForm;

impl<'de> Visitor<'de> for AmiForm {
    type Value = Ami;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an image: ami-0123456789abcdef0, or {ssm: /aws/service/…}")
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<Ami, E> {
        id.parse().map(Ami::Id).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ami, A::Error> {
        let one = |map: &mut A| map.next_entry::<String, SsmPath>();
        match (one(&mut map)?, one(&mut map)?) {
            (Some((key, path)), None) if key == "ssm" => Ok(Ami::Ssm(path)),
            _ => Err(A::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Ami {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmiForm)
    }
}

/// Public keys of one person.
struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<PublicKey>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1 to {KEYS_MAX} public keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::new();
        while let Some(key) = seq.next_element()? {
            keys.push(key);
        }
        match (1..=KEYS_MAX).contains(&keys.len()) {
            true => Ok(keys),
            false => Err(A::Error::invalid_length(keys.len(), &self)),
        }
    }
}

pub(super) fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PublicKey>, D::Error> {
    deserializer.deserialize_seq(Keys)
}

/// A network as EC2 tells it, too: a rule that we asked for is one that we find again.
struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net: IpNet = text
            .parse()
            .map_err(|_| "not a network such as 203.0.113.0/24, or 203.0.113.7/32 for one address".to_owned())?;
        if net.trunc() != net {
            let (whole, one) = (net.trunc(), IpNet::from(net.addr()));
            return Err(format!(
                "{net} is an address in a network: write {whole}, or {one} for that address alone"
            ));
        }
        Ok(Self(net))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(PhantomData))
    }
}

pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks: Vec<Network> = Vec::deserialize(deserializer)?;
    Ok(networks.into_iter().map(|network| network.0).collect())
}

pub(super) fn ssh_port() -> u16 {
    22
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes<T: FromStr>(right: &[&str], wrong: &[&str]) {
        for text in right {
            assert!(text.parse::<T>().is_ok(), "{} {text:?}", std::any::type_name::<T>());
        }
        for text in wrong.iter().chain(&["", "-o", "a b", "a\nb", "$(id)", "a;b", "\u{e9}"]) {
            assert!(text.parse::<T>().is_err(), "{} {text:?}", std::any::type_name::<T>());
        }
    }

    #[test]
    fn words_have_rules() {
        takes::<Region>(&["eu-central-1", "us-gov-west-1"], &["eu", "EU-central-1", "eu--1"]);
        takes::<AmiId>(
            &["ami-01234567", "ami-0123456789abcdef0"],
            &["ami-", "ami-0123456z", "i-01234567"],
        );
        takes::<SsmPath>(&["/aws/service/debian/release/12/latest/amd64"], &["aws/service"]);
        takes::<SubnetId>(&["subnet-01234567"], &["subnet-1"]);
        takes::<InstanceType>(&["t3.large", "c7i.2xlarge", "u-6tb1.metal"], &["t3", "t3.", ".large"]);
        takes::<Package>(&["vim", "g++", "libssl3:amd64", "python3.11"], &["_x", "/etc/x"]);
        takes::<Login>(&["admin", "ec2-user", "_x"], &["Admin", "1a"]);
        takes::<Branch>(
            &["alice", "team/alice-2"],
            &["a..b", "/a", "a/", "a.lock", ".a", "a/.b"],
        );
        takes::<Address>(&["192.0.2.7", "2001:db8::1", "box.example.org"], &["a_b", ":1x"]);
        takes::<AbsolutePath>(
            &["/index.html", "/var/www/optivex/index.html"],
            &["/", "x", "/a/", "/a//b", "/a/../b", "/a/./b"],
        );
        takes::<Url>(
            &["https://example.org/t.git", "git@example.org:t.git"],
            &["http:x", "https://", "ext::sh -c id"],
        );
    }
}
