//! A public parameter is looked up once for all machines: EC2 has one launch template of that name at a time.

#[path = "ec2/support.rs"]
#[allow(dead_code, reason = "the other tests need the rest of it")]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use optivex_bundle::inventory::{Inventory, Machine};
use optivex_bundle::lock::Lock;
use optivex_bundle::moment::Moment;
use optivex_bundle::ssh_key::PublicKey;
use optivex_provision::apply::{Apply, Notes};
use optivex_provision::cloud::{Addresses, Cloud, Launch};
use optivex_provision::hands::Hands;
use optivex_provision::place::Place;
use optivex_provision::plan::{Input, World, plan};
use optivex_provision::prices::Prices;
use optivex_provision::wanted::Terms;
use optivex_setup::spec::{Learned, Links, Spec};
use optivex_setup::{Outcome, Supplies};
use support::{KEY, key};

/// Tells a new image at each question, and refuses one that is asked while another one is: as EC2 does.
#[derive(Default)]
struct OneAtATime {
    asking: AtomicUsize,
    asked: AtomicUsize,
    made_of: Mutex<Vec<String>>,
    /// Requests that change something.
    begun: AtomicUsize,
    unknown: bool,
}

impl Cloud for OneAtATime {
    fn observe(&self, _: &PublicKey, _: &[String]) -> Result<World> {
        Ok(World::default())
    }

    fn import_key(&self, _: &PublicKey) -> Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn set_groups(&self) -> Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn image(&self, noted: Option<&str>) -> Result<String> {
        if let Some(noted) = noted {
            return Ok(noted.to_owned());
        }
        if self.unknown {
            bail!("no such parameter");
        }
        let others = self.asking.fetch_add(1, Ordering::SeqCst);
        // Others get their chance to be there at the same time.
        (0..1000).for_each(|_| std::thread::yield_now());
        self.asking.fetch_sub(1, Ordering::SeqCst);
        if others > 0 {
            bail!("InvalidLaunchTemplateName.AlreadyExistsException");
        }
        Ok(format!("ami-{:08x}", self.asked.fetch_add(1, Ordering::SeqCst)))
    }

    fn launch(&self, launch: &Launch) -> Result<String> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut made = self.made_of.lock().expect("nobody panics");
        made.push(launch.image.clone());
        Ok(format!("i-{:08x}", made.len()))
    }

    fn await_running(&self, _: &str, _: Duration) -> Result<Addresses> {
        Ok(Addresses {
            ours: "10.0.0.1".to_owned(),
            private: "10.0.0.1".to_owned(),
        })
    }

    fn start(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn tag_host_key(&self, _: &str, _: &PublicKey) -> Result<()> {
        Ok(())
    }

    fn terminate(&self, _: &[String], _: Duration) -> Result<()> {
        Ok(())
    }

    fn remove_shared(&self) -> Result<()> {
        Ok(())
    }
}

struct Idle;

impl Hands for Idle {
    fn set_up(&self, _: &Apply<'_>, _: &Machine<'_>, _: &Spec) -> Result<Outcome> {
        let learned = Learned {
            uat_key: Some(key(KEY)),
            results_key: None,
        };
        Ok(Outcome {
            learned,
            ..Outcome::default()
        })
    }

    fn link(&self, _: &Apply<'_>, _: &Machine<'_>, _: &Spec, _: &Links) -> Result<Outcome> {
        Ok(Outcome::default())
    }
}

/// A first apply of twelve participants.
fn apply(cloud: &OneAtATime) -> Result<()> {
    let home = tempfile::tempdir()?;
    let people: String = (0..12)
        .map(|number| format!("  - {{id: person-{number}, keys: [{KEY}]}}\n"))
        .collect();
    let text = format!(
        "program: {{id: spring, end: 2099-01-01T00:00:00Z, budget_usd: 1000000}}
aws: {{region: eu-central-1, ami: {{ssm: /aws/service/debian/release/13/latest/amd64}}, subnet: subnet-0123456789abcdef0,
  ingress: [203.0.113.0/24], connect: private, login: admin}}
roles: {{dev: {{instance_type: t3.medium, disk_gib: 40}}, uat: {{instance_type: t3.large, disk_gib: 40, slots: 1}}}}
uat: [{{id: uat}}]
template: {{url: https://example.org/template.git}}
participants:
{people}"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let place = Place {
        root: root.expect("the repository").to_owned(),
        target: home.path().join("target"),
        inventory: home.path().join("inventory.yaml"),
    };
    let inventory = Inventory::parse(&text, &place.inventory)?;
    let supplies = Supplies::prepare(&inventory, &place.root, &place.target, &place.supplies(), true)?;
    let terms = Terms {
        inventory: &inventory,
        supplies: &supplies,
    };
    let lock = Lock::load(&place.lock(), &inventory.program.id)?;
    let world = World::default();
    let plan = plan(&Input {
        inventory: &inventory,
        prices: &Prices::load(&place.prices())?,
        lock: &lock,
        world: &world,
        wanted: &terms,
        now: Moment::from_unix_s(4_070_000_000),
        scope: None,
    })?;
    let apply = Apply {
        inventory: &inventory,
        terms,
        place: &place,
        cloud,
        hands: &Idle,
        manager: &key(KEY),
        world: &world,
        notes: Notes::new(place.lock(), lock),
        parallel: 8,
        stop: Arc::default(),
        tell: &|_, _| {},
    };
    for one in apply.run(&plan.actions)? {
        if let Some(error) = one.error {
            return Err(error.context(one.machine.to_string()));
        }
    }
    let noted = apply.notes.read().image;
    let made: BTreeSet<String> = cloud.made_of.lock().expect("nobody panics").iter().cloned().collect();
    assert_eq!(made, noted.into_iter().collect(), "all of one image, and that noted");
    Ok(())
}

#[test]
fn all_machines_are_made_of_one_image_that_is_looked_up_once() {
    let cloud = OneAtATime::default();
    apply(&cloud).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(cloud.made_of.lock().expect("nobody panics").len(), 13);
    assert_eq!(cloud.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn without_an_image_nothing_is_begun() {
    let cloud = OneAtATime {
        unknown: true,
        ..OneAtATime::default()
    };
    let error = apply(&cloud).expect_err("there is none");
    // Of all machines, not of one: no machine's name before it.
    assert_eq!(format!("{error:#}"), "no such parameter");
    assert_eq!(cloud.begun.load(Ordering::SeqCst), 0);
}
