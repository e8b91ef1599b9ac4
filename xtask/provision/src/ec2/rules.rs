//! Who may connect to what: the rules of the two security groups, as values that can be compared.

use std::collections::BTreeSet;
use std::fmt;

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair};
use ipnet::IpNet;
use optivex_bundle::inventory::RoleName;

use super::groups::Groups;

/// SSH.
pub const SSH_PORT: u16 = 22;
/// The exchange's, within the program only.
pub const EXCHANGE_PORT: u16 = 50_051;

/// One protocol, one range of ports, one source. EC2 tells and takes several sources at once; rules that are compared
/// have one each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `tcp`, or `-1` for all.
    pub protocol: String,
    /// First and last port, where the protocol has ports.
    pub ports: Option<(i32, i32)>,
    /// Who may connect.
    pub source: Source,
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Addresses.
    Net(IpNet),
    /// Members of a security group.
    Group(String),
    /// A list of addresses that AWS keeps: nothing of ours.
    PrefixList(String),
}

impl Rule {
    fn tcp(port: u16, source: Source) -> Self {
        Self {
            protocol: "tcp".to_owned(),
            ports: Some((port.into(), port.into())),
            source,
        }
    }

    /// Takes EC2's form apart.
    pub(super) fn all_of(permission: &IpPermission) -> Vec<Self> {
        let nets = permission.ip_ranges().iter().filter_map(IpRange::cidr_ip);
        let nets = nets.chain(permission.ipv6_ranges().iter().filter_map(Ipv6Range::cidr_ipv6));
        let nets = nets.filter_map(|text| text.parse::<IpNet>().ok()).map(Source::Net);
        let groups = permission
            .user_id_group_pairs()
            .iter()
            .filter_map(UserIdGroupPair::group_id);
        let lists = permission
            .prefix_list_ids()
            .iter()
            .filter_map(PrefixListId::prefix_list_id);
        let sources = nets
            .chain(groups.map(|id| Source::Group(id.to_owned())))
            .chain(lists.map(|id| Source::PrefixList(id.to_owned())));
        sources
            .map(|source| Self {
                protocol: permission.ip_protocol().unwrap_or("-1").to_owned(),
                ports: permission.from_port().zip(permission.to_port()),
                source,
            })
            .collect()
    }

    /// EC2's form.
    pub(super) fn permission(&self) -> IpPermission {
        let form = IpPermission::builder()
            .ip_protocol(&self.protocol)
            .set_from_port(self.ports.map(|(first, _)| first))
            .set_to_port(self.ports.map(|(_, last)| last));
        let form = match &self.source {
            Source::Net(net @ IpNet::V4(_)) => form.ip_ranges(IpRange::builder().cidr_ip(net.to_string()).build()),
            Source::Net(net @ IpNet::V6(_)) => {
                form.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(net.to_string()).build())
            }
            Source::Group(id) => form.user_id_group_pairs(UserIdGroupPair::builder().group_id(id).build()),
            Source::PrefixList(id) => form.prefix_list_ids(PrefixListId::builder().prefix_list_id(id).build()),
        };
        form.build()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol)?;
        match self.ports {
            Some((first, last)) if first == last => write!(f, " {first}")?,
            Some((first, last)) => write!(f, " {first}-{last}")?,
            None => {}
        }
        match &self.source {
            Source::Net(net) => write!(f, " from {net}"),
            Source::Group(id) | Source::PrefixList(id) => write!(f, " from {id}"),
        }
    }
}

/// All rules of a role's group: SSH from the listed networks and from the other role's machines (dev machines hand
/// submissions over, UAT sends results), the exchange's port only among the program's own machines.
pub fn desired(role: RoleName, ingress: &[IpNet], groups: &Groups) -> BTreeSet<Rule> {
    let group = |id: &str| Source::Group(id.to_owned());
    let other = match role {
        RoleName::Dev => &groups.uat,
        RoleName::Uat => &groups.dev,
    };
    // EC2 drops the bits of the host: rules that kept them would never be what is there.
    let nets = ingress.iter().map(|net| Rule::tcp(SSH_PORT, Source::Net(net.trunc())));
    nets.chain([
        Rule::tcp(SSH_PORT, group(other)),
        Rule::tcp(EXCHANGE_PORT, group(&groups.dev)),
        Rule::tcp(EXCHANGE_PORT, group(&groups.uat)),
    ])
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        Groups {
            dev: "sg-d".to_owned(),
            uat: "sg-u".to_owned(),
        }
    }

    #[test]
    fn nothing_but_ssh_is_open_to_outside() {
        let ingress = ["203.0.113.7/24", "2001:db8::/32"].map(|net| net.parse().expect("a network"));
        let told = |role| {
            desired(role, &ingress, &groups())
                .iter()
                .map(Rule::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            told(RoleName::Dev),
            [
                "tcp 22 from 203.0.113.0/24",
                "tcp 22 from 2001:db8::/32",
                "tcp 22 from sg-u",
                "tcp 50051 from sg-d",
                "tcp 50051 from sg-u",
            ]
        );
        assert_eq!(
            told(RoleName::Uat),
            [
                "tcp 22 from 203.0.113.0/24",
                "tcp 22 from 2001:db8::/32",
                "tcp 22 from sg-d",
                "tcp 50051 from sg-d",
                "tcp 50051 from sg-u",
            ]
        );
    }

    #[test]
    fn a_rule_survives_ec2s_form() {
        let net = |text: &str| Source::Net(text.parse().expect("a network"));
        for source in [
            net("10.0.0.0/8"),
            net("2001:db8::/32"),
            Source::Group("sg-1".to_owned()),
            Source::PrefixList("pl-1".to_owned()),
        ] {
            for (protocol, ports) in [("tcp", Some((1, 9))), ("-1", None), ("icmp", Some((-1, -1)))] {
                let rule = Rule {
                    protocol: protocol.to_owned(),
                    ports,
                    source: source.clone(),
                };
                assert_eq!(Rule::all_of(&rule.permission()), [rule]);
            }
        }
    }
}
