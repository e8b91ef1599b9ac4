//! The program itself, as a manager starts it, against moto: what it must not do.

#[path = "ec2/support.rs"]
#[allow(dead_code, reason = "the other tests need the rest of it")]
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use optivex_bundle::inventory::RoleName;
use optivex_bundle::lock::{Lock, LockedMachine};
use optivex_exit::Exit;
use optivex_rehearse::ec2::Ec2 as Outside;
use optivex_rehearse::moto::{Moto, target_dir};
use support::{KEY, name};

const REGION: &str = "eu-central-1";

/// A manager's machine: a home of its own, an inventory, and moto in place of AWS.
struct Desk {
    moto: Moto,
    home: tempfile::TempDir,
    aws: String,
}

impl Desk {
    fn new() -> Self {
        let moto = Moto::start(&target_dir().expect("built by cargo"), None).expect("moto starts");
        let outside = Outside::new(moto.address(), REGION);
        let one = |action: &str, element: &str| {
            let all = outside.call(action, &[], element).expect("answers");
            all.into_iter().next().expect("there is one by default")
        };
        let aws = format!(
            "ami: {}, subnet: {}, ingress: [203.0.113.0/24], connect: private, login: admin",
            one("DescribeImages", "imageId"),
            one("DescribeSubnets", "subnetId"),
        );
        let home = tempfile::tempdir().expect("a folder");
        let desk = Self { moto, home, aws };
        desk.inventory(Some(REGION));
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// With UAT on EC2, or all of it elsewhere.
    fn inventory(&self, region: Option<&str>) {
        let (aws, uat) = match region {
            Some(region) => (format!("aws: {{region: {region}, {}}}\n", self.aws), String::new()),
            None => (
                String::new(),
                format!(", machine: {{address: 192.0.2.1, login: admin, host_key: {KEY}}}"),
            ),
        };
        let text = format!(
            "program: {{id: spring, end: 2099-01-01T00:00:00Z, budget_usd: 1000000}}\n{aws}roles: {{dev: {{instance_type: \
             t3.medium, disk_gib: 40}}, uat: {{instance_type: t3.large, disk_gib: 40, slots: 1}}}}\nuat: [{{id: \
             uat{uat}}}]\ntemplate: {{url: https://example.org/template.git}}\nparticipants: []\n"
        );
        fs::write(self.file("inventory.yaml"), text).expect("written");
    }

    /// Two instances of the program: UAT, and somebody who left. The lock file knows UAT.
    fn with_machines(&self) -> [String; 2] {
        let outside = Outside::new(self.moto.address(), REGION);
        let [uat, gone] = ["uat", "gone"].map(|machine| {
            let tags = [
                ("optivex-program", "spring"),
                ("optivex-machine", machine),
                ("optivex-role", if machine == "uat" { "uat" } else { "dev" }),
                ("optivex-generation", "1"),
            ];
            let mut fields = vec![
                ("ImageId".to_owned(), "ami-12c6146b".to_owned()),
                ("InstanceType".to_owned(), "t3.medium".to_owned()),
                ("MinCount".to_owned(), "1".to_owned()),
                ("MaxCount".to_owned(), "1".to_owned()),
                ("TagSpecification.1.ResourceType".to_owned(), "instance".to_owned()),
            ];
            for (number, (key, value)) in (1..).zip(tags) {
                fields.push((format!("TagSpecification.1.Tag.{number}.Key"), key.to_owned()));
                fields.push((format!("TagSpecification.1.Tag.{number}.Value"), value.to_owned()));
            }
            let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (&**key, &**value)).collect();
            let ids = outside.call("RunInstances", &fields, "instanceId").expect("made");
            ids.into_iter().next().expect("one")
        });
        let mut lock = Lock::new(name("spring"));
        lock.region = Some(REGION.parse().expect("a region"));
        let locked = LockedMachine {
            client_token: Some("token".to_owned()),
            instance: Some(uat.clone()),
            host_key_handed_over: true,
            ..LockedMachine::new(RoleName::Uat)
        };
        lock.machines.insert(name("uat"), locked);
        lock.save(&self.file("inventory.lock.yaml")).expect("written");
        [uat, gone]
    }

    fn provision(&self, words: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_provision"))
            .args(words)
            .arg("--inventory")
            .arg(self.file("inventory.yaml"))
            .env("HOME", self.home.path())
            .envs(self.moto.environment(REGION))
            .output()
            .expect("it starts");
        let told = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        (status.code().expect("no signal"), told.join("\n"))
    }

    fn running(&self) -> usize {
        let outside = Outside::new(self.moto.address(), REGION);
        let all = outside.instances().expect("answers");
        all.iter().filter(|one| one.state == "running").count()
    }
}

const DESTROY: [&str; 4] = ["destroy", "--yes", "--program", "spring"];

#[test]
fn destroy_forgets_no_instance_that_it_does_not_see() {
    let desk = Desk::new();
    let [uat, _] = desk.with_machines();
    // Elsewhere the same program has nothing; nor has one without AWS.
    for (region, says) in [(Some("eu-west-1"), "says eu-west-1"), (None, "has no aws:")] {
        desk.inventory(region);
        for words in [&DESTROY[..], &["destroy", "--dry-run"]] {
            let (code, told) = desk.provision(words);
            assert_eq!(code, Exit::Failed as i32, "{words:?} {told}");
            assert!(told.contains(&format!("uat stand in {REGION}")), "{told}");
            assert!(told.contains(says), "{told}");
        }
        let lock = Lock::load(&desk.file("inventory.lock.yaml"), &name("spring")).expect("read");
        assert_eq!(lock.machines[&name("uat")].instance.as_ref(), Some(&uat));
    }
    desk.inventory(Some(REGION));
    let (code, told) = desk.provision(&DESTROY);
    assert_eq!(code, Exit::Ok as i32, "{told}");
    assert_eq!(desk.running(), 0);
    let (code, told) = desk.provision(&DESTROY);
    assert_eq!(code, Exit::Ok as i32, "{told}");
    assert!(told.contains("Nothing is there."), "{told}");
}

/// As it is with the credentials of another account: nothing of the program is there.
#[test]
fn destroy_forgets_nothing_where_ec2_shows_nothing() {
    let desk = Desk::new();
    let mut lock = Lock::new(name("spring"));
    lock.region = Some(REGION.parse().expect("a region"));
    let locked = LockedMachine {
        instance: Some("i-0123456789abcdef0".to_owned()),
        ..LockedMachine::new(RoleName::Uat)
    };
    lock.machines.insert(name("uat"), locked);
    let file = desk.file("inventory.lock.yaml");
    lock.save(&file).expect("written");
    for words in [&DESTROY[..], &["destroy", "--dry-run"]] {
        let (code, told) = desk.provision(words);
        assert_eq!(code, Exit::Failed as i32, "{words:?} {told}");
        assert!(told.contains("uat and others may still be paid for"), "{told}");
        assert!(told.contains("AWS_PROFILE"), "{told}");
    }
    assert_eq!(Lock::load(&file, &name("spring")).expect("read"), lock);
}

#[test]
fn what_a_command_cannot_honour_it_refuses() {
    let desk = Desk::new();
    desk.with_machines();
    let refused: [(&[&str], &str); 11] = [
        // What is lost does not come back: somebody has to say so.
        (&["apply"], "nobody is there to ask: say --yes"),
        (&[], "nobody is there to ask: say --yes"),
        (&["rotate-keys", "--yes"], "uat is not set up"),
        (&["destroy", "--on", "uat", "--yes", "--program", "spring"], "--on"),
        (&["destroy", "--role", "uat", "--yes", "--program", "spring"], "--role"),
        (&["destroy", "--yes"], "--program spring"),
        (&["rotate-keys", "--on", "uat"], "--on"),
        (&["rotate-keys", "--role", "uat"], "--role"),
        (&["rotate-keys", "--dry-run"], "--dry-run"),
        (&["doctor", "--dry-run"], "--dry-run"),
        (&["ssh", "uat", "--role", "uat"], "--role"),
    ];
    for (words, why) in refused {
        let (code, told) = desk.provision(words);
        assert_eq!(code, Exit::Usage as i32, "{words:?} {told}");
        assert!(told.contains(why), "{words:?} {told}");
    }
    let (code, told) = desk.provision(&["destroy", "--yes", "--program", "autumn"]);
    assert_eq!(code, Exit::Failed as i32, "{told}");
    assert_eq!(desk.running(), 2, "nothing was done");
}

#[test]
fn status_tells_of_whatever_is_paid_for() {
    let desk = Desk::new();
    let [uat, gone] = desk.with_machines();
    let (code, told) = desk.provision(&["status"]);
    assert_eq!(code, Exit::Ok as i32, "{told}");
    assert!(told.contains(&uat), "{told}");
    assert!(told.contains(&format!("{gone} is gone, which")), "{told}");
    let (code, told) = desk.provision(&["status", "--json"]);
    assert_eq!(code, Exit::Ok as i32, "{told}");
    assert!(told.contains(&gone), "{told}");
    desk.inventory(Some("eu-west-1"));
    let (code, told) = desk.provision(&["status"]);
    assert_eq!(code, Exit::Failed as i32, "{told}");
    assert!(told.contains(&format!("uat stand in {REGION}")), "{told}");
}
