use super::*;
use crate::inventory::{Ami, RoleName};

const EXAMPLE: &str = include_str!("../../../../../infra/inventory.example.yaml");

fn parse(text: &str) -> Result<Inventory, String> {
    Inventory::parse(text, Path::new("inventory.yaml")).map_err(|error| error.to_string())
}

#[test]
fn the_example_is_one() {
    let inventory = parse(EXAMPLE).expect("an inventory");
    let machines: Vec<_> = inventory
        .machines()
        .map(|machine| (machine.id.as_str(), machine.role, machine.standing.is_some()))
        .collect();
    let expected = [
        ("uat", RoleName::Uat, false),
        ("alice", RoleName::Dev, false),
        ("bob", RoleName::Dev, true),
    ];
    assert_eq!(machines, expected);
    assert!(matches!(inventory.aws.as_ref().expect("there").ami, Ami::Ssm(_)));
    assert_eq!(inventory.participants[1].branch(), "bob");
    assert_eq!(inventory.uat_of(&inventory.participants[1]).id.as_str(), "uat");
}

/// What is changed in the example, and how the refusal starts.
#[test]
fn what_is_refused_is_told_with_its_line() {
    let cases = [
        (
            "budget_usd: 900",
            "budget: 900",
            "inventory.yaml:8:3: program: unknown field `budget`, expected one of",
        ),
        (
            "budget_usd: 900",
            "budget_usd: -1",
            "inventory.yaml:8:15: program.budget_usd: not 0 to 1,000,000 US dollars",
        ),
        (
            "  id: spring-2027",
            "  id: Spring_2027",
            "inventory.yaml:6:7: program.id: not a name: [a-z][a-z0-9-]{0,30}",
        ),
        (
            "end: 2027-03-12T18:00:00Z",
            "end: 12 March",
            "inventory.yaml:7:8: program.end: not a moment in UTC such as",
        ),
        (
            "eu-central-1",
            "frankfurt",
            "inventory.yaml:11:11: aws.region: not a region of AWS",
        ),
        (
            "{ssm: /aws/service/debian/release/12/latest/amd64}",
            "ubuntu",
            "inventory.yaml:12:8: aws.ami: not an image of EC2",
        ),
        (
            "subnet-0123456789abcdef0",
            "vpc-1",
            "inventory.yaml:13:11: aws.subnet: not a subnet of EC2",
        ),
        (
            "[203.0.113.0/24]",
            "[203.0.113.0/33]",
            "inventory.yaml:14:13: aws.ingress[0]: not a network such as 203.0.113.0/24",
        ),
        (
            "[203.0.113.0/24]",
            "[]",
            "inventory.yaml:14:12: aws.ingress: nobody may connect",
        ),
        (
            "connect: public",
            "connect: vpn",
            "inventory.yaml:15:12: aws.connect: unknown variant `vpn`",
        ),
        (
            "disk_gib: 40",
            "disk_gib: 4",
            "inventory.yaml:21:15: roles.dev.disk_gib: not a disk of 8 to 16384 GiB",
        ),
        (
            "[vim, tmux]",
            "[vim, --force]",
            "inventory.yaml:22:21: roles.dev.packages[1]: not the name of a package",
        ),
        (
            "slots: 2",
            "slots: 0",
            "inventory.yaml:26:12: roles.uat.slots: not 1 to 64 slots",
        ),
        (
            "settings: {}",
            "settings: {limits: {wall_seconds: 1}}",
            "inventory.yaml:28:24: roles.uat.settings.limits: wall_seconds must leave time",
        ),
        (
            "settings: {}",
            "settings: {limits: {wall_secs: 600}}",
            "inventory.yaml:28:25: roles.uat.settings.limits: unknown field `wall_secs`",
        ),
        (
            "settings: {}",
            "settings: {tests: {arguments: [--stage, \"a\\nb\"]}}",
            "inventory.yaml:28:45: roles.uat.settings.tests.arguments[1]: not an argument",
        ),
        (
            "settings: {}",
            "settings: {scoreboard: index.html}",
            "inventory.yaml:28:28: roles.uat.settings.scoreboard: not a whole path",
        ),
        (
            "  - id: bob",
            "  - id: Bob",
            "inventory.yaml:39:9: participants[1].id: not a name",
        ),
        (
            "  - id: bob",
            "  - id: root;id",
            "inventory.yaml:39:9: participants[1].id: not a name",
        ),
        (
            "  - id: bob",
            "  - id: alice",
            "inventory.yaml:39:9: participants[1].id: the id alice is taken by participants[0]",
        ),
        (
            "  - id: bob",
            "  - id: uat",
            "inventory.yaml:39:9: participants[1].id: the id uat is taken by uat[0]",
        ),
        // Who could be root with their keys.
        (
            "  - id: bob",
            "  - id: root",
            "inventory.yaml:39:9: participants[1].id: root is an account that systems have",
        ),
        (
            "  - id: bob",
            "  - id: ec2-user",
            "inventory.yaml:39:9: participants[1].id: ec2-user is an account that systems have",
        ),
        (
            "      login: debian",
            "      login: bob",
            "inventory.yaml:39:9: participants[1].id: bob is who sets the machine up",
        ),
        (
            "  login: admin ",
            "  login: alice ",
            "inventory.yaml:34:9: participants[0].id: alice is who sets the machine up",
        ),
        (
            "      host_key: ssh-ed25519",
            "      # ssh-ed25519",
            "inventory.yaml:42:7: participants[1].machine: missing field `host_key`, and no machine is trusted blindly: ask",
        ),
        (
            "[203.0.113.0/24]",
            "[203.0.113.0/24, 203.0.113.7/24]",
            "inventory.yaml:14:29: aws.ingress[1]: 203.0.113.7/24 is an address in a network: write 203.0.113.0/24, or \
             203.0.113.7/32 for that address alone",
        ),
        (
            "[203.0.113.0/24]",
            "[203.0.113.0/24, 203.0.113.0/24]",
            "inventory.yaml:14:29: aws.ingress[1]: 203.0.113.0/24 stands there already",
        ),
        (
            "    uat: uat ",
            "    uat: prod ",
            "inventory.yaml:38:10: participants[0].uat: alice deploys to prod, which is no id under uat:",
        ),
        (
            "[ssh-ed25519 AAAA",
            "[ssh-ed448 AAAA",
            "inventory.yaml:40:12: participants[1].keys[0]: no public key of OpenSSH",
        ),
        (
            "branch: alice",
            "branch: a..b",
            "inventory.yaml:37:13: participants[0].branch: not the name of a branch",
        ),
        (
            "address: 192.0.2.7",
            "address: -oProxyCommand=id",
            "inventory.yaml:42:16: participants[1].machine.address: not an IP",
        ),
        (
            "template: {}",
            "template: {url: ftp://x}",
            "inventory.yaml:46:17: template.url: not the URL of a git repository",
        ),
        (
            "template: {}",
            "template: {}\nuat: []",
            "inventory.yaml:5:1: duplicate field `uat`",
        ),
    ];
    for (from, to, expected) in cases {
        assert_eq!(EXAMPLE.matches(from).count(), 1, "{from}");
        let told = parse(&EXAMPLE.replace(from, to)).expect_err(to);
        assert!(
            told.starts_with(expected),
            "{to}\n  told:     {told}\n  expected: {expected}"
        );
    }
}

#[test]
fn machines_need_a_place() {
    let start = EXAMPLE.find("aws: ").expect("there");
    let end = EXAMPLE.find("roles:").expect("there");
    let told = parse(&format!("{}{}", &EXAMPLE[..start], &EXAMPLE[end..])).expect_err("no place for uat");
    assert!(told.contains("uat has no machine"), "{told}");
}

#[test]
fn several_uats_are_told_apart() {
    let text = EXAMPLE.replace("uat:\n  - id: uat ", "uat:\n  - id: second\n  - id: uat ");
    let told = parse(&text).expect_err("bob does not say which");
    assert!(told.ends_with("bob needs uat: there are several"), "{told}");
}

#[test]
fn what_cannot_be_read_names_the_example() {
    let told = Inventory::load(Path::new("/nowhere/inventory.yaml"))
        .expect_err("not there")
        .to_string();
    assert!(told.contains("infra/inventory.example.yaml"), "{told}");
}
