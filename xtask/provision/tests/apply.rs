//! Plans carried out against moto, with a set-up that only counts in SSH's place.

#[path = "ec2/support.rs"]
#[allow(dead_code, reason = "the other tests need the rest of it")]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use optivex_bundle::inventory::{Inventory, Machine};
use optivex_bundle::lock::Lock;
use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;
use optivex_provision::apply::{Apply, Done, Notes};
use optivex_provision::cloud::Cloud;
use optivex_provision::cloud_ec2::Ec2Cloud;
use optivex_provision::ec2::Ec2;
use optivex_provision::hands::Hands;
use optivex_provision::place::Place;
use optivex_provision::plan::{Action, Input, Plan, plan};
use optivex_provision::prices::Prices;
use optivex_provision::wanted::Terms;
use optivex_rehearse::ec2::Ec2 as Outside;
use optivex_rehearse::moto::{Moto, target_dir};
use optivex_setup::spec::{Learned, Links, Spec};
use optivex_setup::{Outcome, Supplies};
use support::{FAST, KEY, key, loader, name};

/// Longer than moto takes to make a few machines on a machine that has other things to do.
const CROWD_MAX: Duration = Duration::from_secs(120);

/// Sets nothing up: counts how many are at it at once, and fails where it is told to.
#[derive(Default)]
struct Counting {
    now: AtomicUsize,
    most: AtomicUsize,
    set_up: Mutex<Vec<Name>>,
    fails: BTreeSet<Name>,
    /// Set when the first machine is being set up: as Ctrl-C does.
    interrupts: bool,
    /// Nobody is done before so many are at it at once.
    crowd: usize,
    gathered: Condvar,
    gate: Mutex<bool>,
}

impl Counting {
    /// Waits until the crowd is there. Where it never comes, the test fails instead of standing for ever.
    fn gather(&self, now: usize) {
        let mut is_open = self.gate.lock().expect("nobody panics");
        if now >= self.crowd {
            *is_open = true;
            self.gathered.notify_all();
        }
        let waited = self
            .gathered
            .wait_timeout_while(is_open, CROWD_MAX, |is_open| !*is_open);
        let (is_open, _) = waited.expect("nobody panics");
        assert!(*is_open, "never {} in set-up at once", self.crowd);
    }
}

impl Hands for Counting {
    fn set_up(&self, apply: &Apply<'_>, machine: &Machine<'_>, _: &Spec) -> Result<Outcome> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.gather(now);
        // Others get their chance to be there at the same time.
        (0..100).for_each(|_| std::thread::yield_now());
        self.set_up.lock().expect("nobody panics").push(machine.id.clone());
        let locked = apply.notes.of(machine.id)?;
        assert!(locked.host_key.is_some(), "nobody is spoken to without a pinned key");
        assert!(locked.address.is_some(), "nobody is spoken to without an address");
        if self.interrupts {
            apply.stop.store(true, Ordering::SeqCst);
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        if self.fails.contains(machine.id) {
            bail!("it does not let us in");
        }
        let own = Some(key(KEY));
        Ok(Outcome {
            learned: match machine.participant {
                Some(_) => Learned {
                    uat_key: own,
                    results_key: None,
                },
                None => Learned {
                    uat_key: None,
                    results_key: own,
                },
            },
            ..Outcome::default()
        })
    }

    fn link(&self, _: &Apply<'_>, _: &Machine<'_>, _: &Spec, _: &Links) -> Result<Outcome> {
        Ok(Outcome::default())
    }
}

/// A program on a server of its own.
struct World {
    moto: Moto,
    place: Place,
    supplies: Supplies,
    aws: String,
    /// Holds the lock file.
    _home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let target = target_dir().expect("built by cargo");
        let moto = Moto::start(&target, None).expect("moto starts");
        let outside = Outside::new(moto.address(), "eu-central-1");
        let one = |action: &str, element: &str| {
            let all = outside.call(action, &[], element).expect("answers");
            all.into_iter().next().expect("there is one by default")
        };
        let aws = format!(
            "{{region: eu-central-1, ami: {}, subnet: {}, ingress: [203.0.113.0/24], connect: private, login: admin}}",
            one("DescribeImages", "imageId"),
            one("DescribeSubnets", "subnetId"),
        );
        let home = tempfile::tempdir().expect("a folder");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .expect("the repository");
        let place = Place {
            root: root.to_owned(),
            target: home.path().join("target"),
            inventory: home.path().join("inventory.yaml"),
        };
        let world = Self {
            supplies: Self::supplies(&place),
            moto,
            place,
            aws,
            _home: home,
        };
        world.inventory(&[]);
        world
    }

    fn supplies(place: &Place) -> Supplies {
        let text = "program: {id: spring, end: 2099-01-01T00:00:00Z, budget_usd: 1}
roles: {dev: {instance_type: t3.large, disk_gib: 40}, uat: {instance_type: t3.large, disk_gib: 40, slots: 1}}
uat: [{id: uat, machine: {address: 192.0.2.1, login: admin, host_key: KEY}}]
template: {url: https://example.org/template.git}
";
        let inventory = Inventory::parse(&text.replace("KEY", KEY), Path::new("x")).expect("an inventory");
        let into: PathBuf = place.supplies();
        Supplies::prepare(&inventory, &place.root, &place.target, &into, true).expect("an archive of the sources")
    }

    fn inventory(&self, people: &[String]) -> Inventory {
        let people: String = people
            .iter()
            .map(|id| format!("  - {{id: {id}, keys: [{KEY}]}}\n"))
            .collect();
        let people = if people.is_empty() {
            " []".to_owned()
        } else {
            format!("\n{people}")
        };
        let text = format!(
            "program: {{id: spring, end: 2099-01-01T00:00:00Z, budget_usd: 1000000}}
aws: {}
roles: {{dev: {{instance_type: t3.medium, disk_gib: 40}}, uat: {{instance_type: t3.large, disk_gib: 40, slots: 1}}}}
uat: [{{id: uat}}]
template: {{url: https://example.org/template.git}}
participants:{people}",
            self.aws
        );
        Inventory::parse(&text, &self.place.inventory).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As a new process would: nothing but the lock file is known from before.
    fn run(&self, people: &[String], hands: &Counting) -> (Plan, Vec<Done>) {
        let inventory = self.inventory(people);
        let program = &inventory.program.id;
        let aws = inventory.aws.as_ref().expect("it has one");
        let ec2 = Ec2::connect_with(loader(&self.moto.url()), aws, program, FAST);
        let cloud = Ec2Cloud::new(aws, ec2).expect("threads");
        let manager = key(KEY);
        let world = cloud.observe(&manager, &[]).expect("answers");
        let lock = Lock::load(&self.place.lock(), program).expect("a lock file");
        let terms = Terms {
            inventory: &inventory,
            supplies: &self.supplies,
        };
        let prices = Prices::load(&self.place.prices()).expect("prices");
        let plan = plan(&Input {
            inventory: &inventory,
            prices: &prices,
            lock: &lock,
            world: &world,
            wanted: &terms,
            now: Moment::from_unix_s(4_070_000_000),
            scope: None,
        })
        .expect("a plan");
        let apply = Apply {
            inventory: &inventory,
            terms,
            place: &self.place,
            cloud: &cloud,
            hands,
            manager: &manager,
            world: &world,
            notes: Notes::new(self.place.lock(), lock),
            parallel: 8,
            stop: Arc::new(AtomicBool::new(false)),
            tell: &|_, _| {},
        };
        let done = apply.run(&plan.actions).expect("what all of them need");
        (plan, done)
    }

    fn running(&self) -> usize {
        let outside = Outside::new(self.moto.address(), "eu-central-1");
        let all = outside.instances().expect("answers");
        all.iter().filter(|one| one.state == "running").count()
    }
}

fn people(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("person-{number}")).collect()
}

#[test]
fn forty_participants_at_most_eight_at_a_time_and_nothing_is_left_to_do() {
    let world = World::new();
    // The first eight stay until they are eight: were they fewer at a time, nobody would get on.
    let hands = Counting {
        crowd: 8,
        ..Counting::default()
    };
    let (_, done) = world.run(&people(40), &hands);
    assert!(done.iter().all(|one| one.error.is_none()), "{done:?}");
    assert_eq!(hands.set_up.lock().expect("nobody panics").len(), 41);
    assert_eq!(hands.most.load(Ordering::SeqCst), 8, "at once");
    assert_eq!(world.running(), 41);
    let (plan, _) = world.run(&people(40), &hands);
    assert!(plan.is_empty(), "{plan}");
    let (plan, _) = world.run(&people(2), &hands);
    let ended = plan
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Terminate { .. }))
        .count();
    assert_eq!(ended, 38, "{plan}");
    assert_eq!(world.running(), 3);
    let (plan, _) = world.run(&people(2), &hands);
    assert!(plan.is_empty(), "{plan}");
}

#[test]
fn one_that_fails_stops_nobody_else_and_is_done_by_the_next_run() {
    let world = World::new();
    let hands = Counting {
        fails: [name("person-1")].into(),
        ..Counting::default()
    };
    let (_, done) = world.run(&people(3), &hands);
    let failed: Vec<&Name> = done
        .iter()
        .filter(|one| one.error.is_some())
        .map(|one| &one.machine)
        .collect();
    // UAT is told of all, so it waits for all.
    assert!(failed.contains(&&name("person-1")), "{done:?}");
    assert!(
        !failed.contains(&&name("person-0")) && !failed.contains(&&name("person-2")),
        "{done:?}"
    );
    let hands = Counting::default();
    let (_, done) = world.run(&people(3), &hands);
    assert!(done.iter().all(|one| one.error.is_none()), "{done:?}");
    assert_eq!(*hands.set_up.lock().expect("nobody panics"), [name("person-1")]);
    assert_eq!(world.running(), 4, "nothing was made twice");
    assert!(world.run(&people(3), &hands).0.is_empty());
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let world = World::new();
    let hands = Counting {
        interrupts: true,
        ..Counting::default()
    };
    let (_, done) = world.run(&people(12), &hands);
    assert!(done.iter().any(|one| one.error.is_some()), "it was interrupted");
    let (_, done) = world.run(&people(12), &Counting::default());
    assert!(done.iter().all(|one| one.error.is_none()), "{done:?}");
    assert_eq!(world.running(), 13, "nothing was made twice");
    assert!(world.run(&people(12), &Counting::default()).0.is_empty());
}

#[test]
fn a_lost_lock_file_is_made_of_tags() {
    let world = World::new();
    world.run(&people(2), &Counting::default());
    std::fs::remove_file(world.place.lock()).expect("it was there");
    let (plan, done) = world.run(&people(2), &Counting::default());
    let adopted = plan
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Adopt { .. }))
        .count();
    assert_eq!(adopted, 3, "{plan}");
    assert!(done.iter().all(|one| one.error.is_none()), "{done:?}");
    assert_eq!(world.running(), 3);
    assert!(world.run(&people(2), &Counting::default()).0.is_empty());
}
