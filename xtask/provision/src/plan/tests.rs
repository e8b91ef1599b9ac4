//! Plans against a model of EC2 and of the set-up that does what actions say, and may stop anywhere.

use std::collections::BTreeMap;
use std::path::Path;

use expect_test::{Expect, expect};
use optivex_bundle::lock::{Lock, LockedMachine};
use proptest::prelude::*;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqa2x6";
const PRICES: &str = include_str!("../../../../infra/prices.yaml");

fn prices() -> Prices {
    serde_yaml::from_str(PRICES).expect("a table")
}

fn now() -> Moment {
    "2027-03-05T18:00:00Z".parse().expect("a moment")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A program of these participants, of whom those after `/` have machines of their own.
fn inventory(participants: &str, packages: &str, uats: &[&str]) -> Inventory {
    let (made, standing) = participants.split_once('/').unwrap_or((participants, ""));
    let uat: String = uats.iter().map(|id| format!("  - id: {id}\n")).collect();
    let person = |id: &str, machine: &str| format!("  - {{id: {id}, uat: {}, keys: [{KEY}]{machine}}}\n", uats[0]);
    let standing_at = format!(", machine: {{address: 192.0.2.7, login: admin, host_key: {KEY}}}");
    let people: String = made
        .split_whitespace()
        .map(|id| person(id, ""))
        .chain(standing.split_whitespace().map(|id| person(id, &standing_at)))
        .collect();
    let people = if people.is_empty() {
        " []".to_owned()
    } else {
        format!("\n{people}")
    };
    let text = format!(
        "program: {{id: spring, end: 2027-03-12T18:00:00Z, budget_usd: 10000}}
aws: {{region: eu-central-1, ami: ami-01234567, subnet: subnet-01234567, ingress: [203.0.113.0/24], login: admin}}
roles:
  dev: {{instance_type: t3.large, disk_gib: 40, packages: [{packages}]}}
  uat: {{instance_type: c7i.2xlarge, disk_gib: 80, slots: 2}}
uat:
{uat}participants:{people}
"
    );
    Inventory::parse(&text, Path::new("inventory.yaml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What machines are to be like, by inventory and lock alone.
struct Hashes<'a>(&'a Inventory);

impl Wanted for Hashes<'_> {
    fn setup(&self, machine: &Machine<'_>) -> Digest {
        let packages = self.0.packages(machine.role);
        Digest::of(format!("{} {packages:?} {}", machine.id, self.0.program.end).as_bytes())
    }

    fn links(&self, machine: &Machine<'_>, lock: &Lock) -> Option<Digest> {
        let known = |id: &Name| {
            let locked = lock.machines.get(id)?;
            Some(format!(
                "{id} {:?} {}\n",
                locked.address.as_ref()?,
                locked.account_key.as_ref()?
            ))
        };
        let told: Option<String> = match machine.participant {
            Some(participant) => known(&self.0.uat_of(participant).id),
            None => {
                let theirs = self
                    .0
                    .participants
                    .iter()
                    .filter(|one| self.0.uat_of(one).id == *machine.id);
                theirs.map(|one| known(&one.id)).collect()
            }
        };
        told.map(|told| Digest::of(told.as_bytes()))
    }
}

/// EC2, the machines, and the lock file.
#[derive(Clone, Debug)]
struct Model {
    world: World,
    lock: Lock,
    tokens: BTreeMap<String, String>,
    made: u32,
}

impl Model {
    fn new() -> Self {
        Self {
            world: World::default(),
            lock: Lock::new(name("spring")),
            tokens: BTreeMap::new(),
            made: 0,
        }
    }

    fn plan(&self, inventory: &Inventory) -> Plan {
        self.try_plan(inventory, now(), None).expect("a plan")
    }

    fn try_plan(&self, inventory: &Inventory, now: Moment, scope: Option<&[Name]>) -> Result<Plan, Refusal> {
        plan(&Input {
            inventory,
            prices: &prices(),
            lock: &self.lock,
            world: &self.world,
            wanted: &Hashes(inventory),
            now,
            scope,
        })
    }

    fn locked(&mut self, machine: &Name, role: RoleName) -> &mut LockedMachine {
        let entry = self.lock.machines.entry(machine.clone());
        entry.or_insert_with(|| LockedMachine::new(role))
    }

    fn instance(&mut self, id: &str) -> &mut Instance {
        let found = self.world.instances.iter_mut().find(|instance| instance.id == id);
        found.expect("a plan names what is there")
    }

    /// `noted`: false where the run is killed between EC2's answer and the note of it.
    fn act(&mut self, inventory: &Inventory, action: &Action, noted: bool) {
        let machine_of = |id: &Name| inventory.machines().find(|machine| machine.id == id).expect("wanted");
        match action {
            Action::ImportKey => self.world.key_is_ours = Some(true),
            Action::SetGroups => self.world.groups_are_right = true,
            Action::Terminate { instance, .. } => self.instance(instance).state = State::ShuttingDown,
            Action::Forget { machine } => drop(self.lock.machines.remove(machine)),
            Action::Launch {
                machine,
                role,
                generation,
                instance_type,
                disk_gib,
            } => {
                self.lock.region = inventory.aws.as_ref().map(|aws| aws.region.clone());
                let token = client_token(&self.lock.program, "", machine, *generation);
                // As EC2 does: the same token, the same instance.
                let made = &mut self.made;
                let id = self.tokens.entry(token.clone()).or_insert_with(|| {
                    *made += 1;
                    format!("i-{made:08x}")
                });
                let id = id.clone();
                let is_new = self.world.instances.iter().all(|instance| instance.id != id);
                if is_new {
                    self.world.instances.push(Instance {
                        id: id.clone(),
                        machine: machine.clone(),
                        state: State::Up,
                        generation: *generation,
                        instance_type: Some(instance_type.clone()),
                        host_key: None,
                    });
                }
                let fresh = LockedMachine {
                    generation: *generation,
                    client_token: Some(token),
                    asked: Some(now()),
                    disk_gib: Some(*disk_gib),
                    instance: noted.then_some(id),
                    address: None,
                    setup: None,
                    links: None,
                    account_key: None,
                    ..self.locked(machine, *role).clone()
                };
                *self.locked(machine, *role) = fresh;
            }
            Action::Adopt { machine, instance } => {
                let generation = self.instance(instance).generation;
                let locked = self.locked(machine, machine_of(machine).role);
                (locked.instance, locked.generation) = (Some(instance.clone()), generation);
                (locked.setup, locked.links, locked.address) = (None, None, None);
            }
            Action::Start { instance, .. } => self.instance(instance).state = State::Up,
            Action::Await { machine } => {
                let locked = self.locked(machine, RoleName::Dev);
                locked.address = Some(format!("of {:?}", locked.instance));
            }
            Action::SetUp { machine } => {
                let machine = machine_of(machine);
                let setup = Hashes(inventory).setup(&machine);
                let locked = self.locked(machine.id, machine.role);
                if let Some(standing) = machine.standing
                    && !locked.stands_at(standing)
                {
                    *locked = LockedMachine::standing(machine.role, standing);
                }
                (locked.setup, locked.account_key) = (Some(setup), Some(KEY.parse().expect("a key")));
            }
            Action::Connect { machine } => {
                let machine = machine_of(machine);
                let links = Hashes(inventory).links(&machine, &self.lock);
                self.locked(machine.id, machine.role).links = links;
            }
        }
    }

    fn apply(&mut self, inventory: &Inventory) {
        for action in self.plan(inventory).actions {
            self.act(inventory, &action, true);
        }
        // What was told to go is gone by the next look.
        self.world
            .instances
            .retain(|instance| instance.state != State::ShuttingDown);
    }
}

fn check(model: &Model, inventory: &Inventory, expected: Expect) {
    expected.assert_eq(&model.plan(inventory).to_string());
}

#[test]
fn a_first_program() {
    let model = Model::new();
    check(
        &model,
        &inventory("alice / bob", "vim", &["uat"]),
        expect![[r#"
            + key pair      your ~/.ssh/id_optivex.pub
            + network       security groups and their rules
            + uat           launch uat: c7i.2xlarge, 80 GiB (id known after apply)
            ~ uat           wait until it runs (addresses known after apply)
            ~ uat           set up over SSH
            + alice         launch dev: t3.large, 40 GiB (id known after apply)
            ~ alice         wait until it runs (addresses known after apply)
            ~ alice         set up over SSH
            ~ bob           set up over SSH
            ~ uat           tell it of the others (keys known after apply)
            ~ alice         tell it of the others (keys known after apply)
            ~ bob           tell it of the others (keys known after apply)
            0.53 $/h, 88.88 $ until the end in 168.0 h, of a budget of 10000.00 $ (prices of 2026-11-22)"#]],
    );
}

#[test]
fn changes_of_a_week() {
    let mut model = Model::new();
    model.apply(&inventory("alice bob", "vim", &["uat"]));
    check(
        &model,
        &inventory("alice bob", "vim", &["uat"]),
        expect![[r#"
            Nothing to do.
            0.64 $/h, 106.72 $ until the end in 168.0 h, of a budget of 10000.00 $ (prices of 2026-11-22)"#]],
    );
    check(
        &model,
        &inventory("alice bob carol", "vim", &["uat"]),
        expect![[r#"
            + carol         launch dev: t3.large, 40 GiB (id known after apply)
            ~ carol         wait until it runs (addresses known after apply)
            ~ carol         set up over SSH
            ~ uat           tell it of the others (keys known after apply)
            ~ carol         tell it of the others (keys known after apply)
            0.74 $/h, 124.57 $ until the end in 168.0 h, of a budget of 10000.00 $ (prices of 2026-11-22)"#]],
    );
    check(
        &model,
        &inventory("bob", "vim, tmux", &["uat"]),
        expect![[r#"
            - alice         terminate i-00000002: not in the inventory
            - alice         leaves the lock file
            ~ bob           set up over SSH
            ~ uat           tell it of the others (keys known after apply)
            ~ bob           tell it of the others (keys known after apply)
            0.53 $/h, 88.88 $ until the end in 168.0 h, of a budget of 10000.00 $ (prices of 2026-11-22)"#]],
    );
    // Somebody terminated alice's in the console, and stopped UAT.
    let mut broken = model.clone();
    broken
        .world
        .instances
        .retain(|instance| instance.machine != name("alice"));
    broken.instance("i-00000001").state = State::Stopped;
    check(
        &broken,
        &inventory("alice bob", "vim", &["uat"]),
        expect![[r#"
            ~ uat           start i-00000001
            ~ uat           wait until it runs (addresses known after apply)
            + alice         launch dev: t3.large, 40 GiB, made again (id known after apply)
            ~ alice         wait until it runs (addresses known after apply)
            ~ alice         set up over SSH
            ~ uat           tell it of the others (keys known after apply)
            ~ alice         tell it of the others (keys known after apply)
            ~ bob           tell it of the others (keys known after apply)
            0.64 $/h, 106.72 $ until the end in 168.0 h, of a budget of 10000.00 $ (prices of 2026-11-22)"#]],
    );
    // The lock file is lost, and an instance was made twice.
    let mut lost = model.clone();
    lost.lock = Lock::new(name("spring"));
    lost.world.instances.push(Instance {
        id: "i-99999999".to_owned(),
        machine: name("alice"),
        state: State::Up,
        generation: 2,
        instance_type: "t3.large".parse().ok(),
        host_key: None,
    });
    check(
        &lost,
        &inventory("alice bob", "vim", &["uat"]),
        expect![[r#"
            - alice         terminate i-99999999: another instance is this machine
            ~ uat           adopt i-00000001, found by its tag
            ~ uat           wait until it runs (addresses known after apply)
            ~ uat           set up over SSH
            ~ alice         adopt i-00000002, found by its tag
            ~ alice         wait until it runs (addresses known after apply)
            ~ alice         set up over SSH
            ~ bob           adopt i-00000003, found by its tag
            ~ bob           wait until it runs (addresses known after apply)
            ~ bob           set up over SSH
            ~ uat           tell it of the others (keys known after apply)
            ~ alice         tell it of the others (keys known after apply)
            ~ bob           tell it of the others (keys known after apply)
            0.64 $/h, 106.72 $ until the end in 168.0 h, of a budget of 10000.00 $ (prices of 2026-11-22)"#]],
    );
}

#[test]
fn a_plan_can_be_about_some_machines() {
    let scope = [name("bob")];
    let inventory = inventory("alice bob", "", &["uat"]);
    let plan = Model::new().try_plan(&inventory, now(), Some(&scope)).expect("a plan");
    let about: Vec<_> = plan.actions.iter().filter_map(Action::machine).collect();
    assert_eq!(about, [&name("bob"); 4]);
    assert_eq!(plan.actions.len(), 6, "key and groups are shared");
}

#[test]
fn refusals() {
    let model = Model::new();
    let told = |text: &str, now: Moment| {
        let inventory = Inventory::parse(text, Path::new("x")).expect("an inventory");
        model.try_plan(&inventory, now, None).expect_err("refused").to_string()
    };
    let text = |kind: &str, region: &str, budget: &str| {
        format!(
            "program: {{id: spring, end: 2027-03-12T18:00:00Z, budget_usd: {budget}}}
aws: {{region: {region}, ami: ami-01234567, subnet: subnet-01234567, ingress: [203.0.113.0/24], login: admin}}
roles: {{dev: {{instance_type: {kind}, disk_gib: 40}}, uat: {{instance_type: {kind}, disk_gib: 40, slots: 1}}}}
uat: [{{id: uat}}]
"
        )
    };
    let cases = [
        (
            text("t3.large", "eu-central-1", "15"),
            now(),
            "0.11 $/h for 168.0 h until the program's end are 17.84 $, above the budget of 15.00 $",
        ),
        (
            text("x9.huge", "eu-central-1", "15"),
            now(),
            "no price of x9.huge in eu-central-1 in infra/prices.yaml: add it",
        ),
        (
            text("t3.large", "mars-north-1", "15"),
            now(),
            "no prices of mars-north-1",
        ),
        (
            text("t3.large", "eu-central-1", "15"),
            "2027-03-12T18:00:00Z".parse().expect("a moment"),
            "the program ended on 2027-03-12T18:00:00Z",
        ),
    ];
    for (text, now, expected) in cases {
        let told = told(&text, now);
        assert!(told.starts_with(expected), "{told}");
    }
}

/// What stands where the plan does not look would be paid for and forgotten.
#[test]
fn instances_out_of_sight_are_not_forgotten() {
    let mut model = Model::new();
    let here = inventory("alice", "", &["uat"]);
    model.apply(&here);
    let told =
        |inventory: &Inventory, model: &Model| model.try_plan(inventory, now(), None).expect_err("refused").to_string();

    let mut there = here.clone();
    there.aws.as_mut().expect("aws").region = "us-east-1".parse().expect("a region");
    assert_eq!(
        told(&there, &model),
        "alice, uat stand in eu-central-1, and the inventory says us-east-1. Set aws.region back, and: cargo xtask provision \
         destroy"
    );
    let mut nowhere = inventory("/ alice", "", &["uat"]);
    nowhere.uat[0].machine = nowhere.participants[0].machine.clone();
    nowhere.aws = None;
    assert_eq!(
        told(&nowhere, &model),
        "alice, uat stand in eu-central-1, and the inventory has no aws: any more. Put it back until an apply has taken \
         them down"
    );
    // Where nothing stands any more, nothing is lost.
    model.lock = Lock::new(name("spring"));
    assert!(model.try_plan(&there, now(), None).is_ok());
    assert!(model.try_plan(&nowhere, now(), None).is_ok());
}

#[test]
fn a_machine_does_not_become_one_of_another_role() {
    let mut model = Model::new();
    model.apply(&inventory("alice", "", &["uat"]));
    let inventory = inventory("bob", "", &["uat", "alice"]);
    let told = model.try_plan(&inventory, now(), None).expect_err("refused");
    assert_eq!(
        told.to_string(),
        "alice was made as dev, and the inventory wants it as uat. Give the new one another id; or take alice out, apply, \
         and put it back: its disk goes with it"
    );
    // Others can be worked on meanwhile.
    assert!(model.try_plan(&inventory, now(), Some(&[name("bob")])).is_ok());
}

/// People work on the one that is noted, whichever is older.
#[test]
fn the_instance_that_is_noted_stays() {
    let wanted = inventory("alice", "", &["uat"]);
    for generation in [0, 1, 2] {
        let mut model = Model::new();
        model.apply(&wanted);
        let noted = model.lock.machines[&name("alice")].instance.clone().expect("made");
        let mut twin = model.instance(&noted).clone();
        // Before and after it in every order.
        for id in ["i-00000000", "i-99999999"] {
            twin = Instance {
                id: id.to_owned(),
                generation,
                ..twin
            };
            model.world.instances.push(twin.clone());
        }
        let ended: Vec<String> = (model.plan(&wanted).actions.iter())
            .map(|action| match action {
                Action::Terminate { instance, .. } => instance.clone(),
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(ended, ["i-00000000", "i-99999999"], "generation {generation}");
    }
}

#[test]
fn a_machine_of_its_own_that_shows_another_key_is_another_one() {
    let mut model = Model::new();
    let before = inventory("/ bob", "", &["uat"]);
    model.apply(&before);
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtZ0MxBq1Kk0n0y3z1mVYw0v8d6g2m1o5c4q7r9s2tB";
    let standing = |change: &dyn Fn(&mut optivex_bundle::inventory::Standing)| {
        let mut inventory = before.clone();
        change(inventory.participants[0].machine.as_mut().expect("his own"));
        model.plan(&inventory).to_string()
    };
    let expected = "~ bob           set up over SSH\n~ uat           tell it of the others (keys known after apply)\n";
    let told = standing(&|machine| machine.host_key = other.parse().expect("a key"));
    assert!(told.starts_with(expected), "{told}");
    let told = standing(&|machine| machine.address = "192.0.2.8".parse().expect("an address"));
    assert!(told.starts_with(expected), "{told}");
}

/// `rotate-keys` replaces it on the machine and in the lock file, and people write the inventory.
#[test]
fn a_replaced_host_key_of_a_machine_of_its_own_counts_until_the_inventory_is_changed() {
    let mut model = Model::new();
    let before = inventory("/ bob", "", &["uat"]);
    model.apply(&before);
    let new = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtZ0MxBq1Kk0n0y3z1mVYw0v8d6g2m1o5c4q7r9s2tB";
    model.locked(&name("bob"), RoleName::Dev).host_key = new.parse().ok();
    let plan = model.plan(&before);
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(
        plan.notes,
        [format!(
            "bob: its host key was replaced, and the one in the lock file counts. The inventory has the one before: write \
             host_key: {new}"
        )]
    );
    let mut after = before.clone();
    let machine = after.participants[0].machine.as_mut().expect("his own");
    machine.host_key = new.parse().expect("a key");
    let plan = model.plan(&after);
    assert!(plan.is_empty() && plan.notes.is_empty(), "{plan}");
}

/// Its key may be another one after it was mended: whoever knows it has to be told.
#[test]
fn a_machine_that_the_doctor_found_broken_is_set_up_and_told_of() {
    let mut model = Model::new();
    let wanted = inventory("alice bob", "", &["uat"]);
    model.apply(&wanted);
    let locked = model.locked(&name("alice"), RoleName::Dev);
    (locked.setup, locked.links) = (None, None);
    let told: Vec<String> = model.plan(&wanted).actions.iter().map(Action::to_string).collect();
    assert_eq!(
        told,
        [
            "~ alice         set up over SSH",
            "~ uat           tell it of the others (keys known after apply)",
            "~ alice         tell it of the others (keys known after apply)",
        ]
    );
}

#[test]
fn keys_between_old_and_new_are_told() {
    let mut model = Model::new();
    let wanted = inventory("alice", "", &["uat"]);
    model.apply(&wanted);
    model.locked(&name("alice"), RoleName::Dev).next_account_key = KEY.parse().ok();
    assert_eq!(
        model.plan(&wanted).notes,
        ["rotate-keys was cut off at alice: old keys and new ones are admitted. Run it again"]
    );
}

/// A set-up puts the next host key in place: whoever knows the old one alone would refuse the machine.
#[test]
fn a_set_up_between_keys_is_told_to_the_others() {
    let mut model = Model::new();
    model.apply(&inventory("alice bob", "", &["uat"]));
    model.locked(&name("alice"), RoleName::Dev).next_host_key = KEY.parse().ok();
    let tools = inventory("alice bob", "vim", &["uat"]);
    let plan = model.try_plan(&tools, now(), Some(&[name("alice"), name("uat")]));
    let told: Vec<String> = plan.expect("a plan").actions.iter().map(Action::to_string).collect();
    assert_eq!(
        told,
        [
            "~ alice         set up over SSH",
            "~ uat           tell it of the others (keys known after apply)",
            "~ alice         tell it of the others (keys known after apply)",
        ]
    );
}

/// A run was killed right after its request, and EC2 does not list what it made yet.
#[test]
fn an_instance_that_is_not_listed_yet_is_not_made_twice() {
    let wanted = inventory("alice", "", &["uat"]);
    let mut killed = Model::new();
    for action in killed.plan(&wanted).actions {
        killed.act(&wanted, &action, true);
        if matches!(&action, Action::Launch { machine, .. } if *machine == name("alice")) {
            break;
        }
    }
    let locked = killed.lock.machines[&name("alice")].clone();
    let id = locked.instance.expect("noted");
    killed.world.instances.retain(|instance| instance.id != id);
    let of_alice = |model: &Model, now| {
        let plan = model.try_plan(&wanted, now, None).expect("a plan");
        let first = plan
            .actions
            .into_iter()
            .find(|action| action.machine() == Some(&name("alice")));
        first.expect("it is not ready")
    };
    let await_it = Action::Await { machine: name("alice") };
    assert_eq!(of_alice(&killed, now()), await_it);
    // Listed or not by then, it is the machine's.
    let later = "2027-03-05T19:00:00Z".parse().expect("a moment");
    assert!(matches!(of_alice(&killed, later), Action::Launch { generation: 2, .. }));
    let mut ended = killed.clone();
    ended.world.ended.push(id);
    assert!(matches!(of_alice(&ended, now()), Action::Launch { generation: 2, .. }));
}

#[test]
fn a_disk_of_another_size_is_told_and_costs_what_it_is() {
    let mut model = Model::new();
    let before = inventory("alice", "", &["uat"]);
    model.apply(&before);
    let mut larger = before.clone();
    larger.roles.dev.disk_gib = 80;
    let plan = model.plan(&larger);
    assert!(plan.is_empty());
    assert_eq!(plan.cost, model.plan(&before).cost, "what is there is what costs");
    assert_eq!(
        plan.notes,
        [
            "alice has a disk of 40 GiB, and the inventory says 80: a machine keeps its disk. To have it made again, take \
             alice out, apply, and put it back: what is on the disk goes with it"
        ]
    );
}

#[test]
fn a_machine_of_another_type_is_told_and_costs_what_it_is() {
    let mut model = Model::new();
    let before = inventory("alice", "", &["uat"]);
    model.apply(&before);
    let mut larger = before.clone();
    larger.roles.dev.instance_type = "t3.2xlarge".parse().expect("a type");
    let plan = model.plan(&larger);
    assert!(plan.is_empty());
    assert_eq!(plan.cost, model.plan(&before).cost, "what runs is what costs");
    assert_eq!(
        plan.notes,
        [
            "alice is a t3.large, and the inventory says t3.2xlarge: a machine keeps its type. To have it made again, take \
          alice out, apply, and put it back: its disk goes with it"
        ]
    );
}

#[test]
fn forty_participants() {
    let people: Vec<String> = (0..40).map(|number| format!("person-{number}")).collect();
    let inventory = inventory(&people.join(" "), "vim", &["uat"]);
    let mut model = Model::new();
    assert_eq!(model.plan(&inventory).actions.len(), 2 + 41 * 4);
    model.apply(&inventory);
    assert!(model.plan(&inventory).is_empty());
}

#[test]
fn tokens_differ_where_machines_do() {
    let token = client_token(&name("spring"), "a", &name("alice"), 1);
    assert_eq!(token.len(), 64);
    for (program, salt, machine, generation) in [
        ("autumn", "a", "alice", 1),
        ("spring", "b", "alice", 1),
        ("spring", "a", "bob", 1),
        ("spring", "a", "alice", 2),
    ] {
        assert_ne!(token, client_token(&name(program), salt, &name(machine), generation));
    }
}

/// What may have happened before.
#[derive(Clone, Debug)]
enum Past {
    /// So many actions of a plan were carried out; the last of them maybe without its note.
    Applied {
        people: u8,
        packages: u8,
        actions: usize,
        noted: bool,
    },
    /// Somebody did something to an instance behind our back.
    Stopped(usize),
    Terminated(usize),
    Twice(usize),
    /// The lock file is gone, or tells nothing of a machine's key.
    LockLost,
    KeyLost(usize),
    GroupsChanged,
    KeyReplaced,
}

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn some_inventory(people: u8, packages: u8) -> Inventory {
    let of = |bits: u8| -> String {
        let chosen = PEOPLE.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        chosen.map(|(_, name)| format!("{name} ")).collect()
    };
    let (made, standing) = (people & 0xf, people >> 4 & !people);
    let packages = ["", "vim", "vim, tmux"][usize::from(packages % 3)];
    let uats: &[&str] = if people & 1 == 0 { &["uat"] } else { &["uat", "second"] };
    inventory(&format!("{} / {}", of(made), of(standing)), packages, uats)
}

fn past() -> impl Strategy<Value = Past> {
    prop_oneof![
        6 => (any::<u8>(), any::<u8>(), 0..40_usize, any::<bool>())
            .prop_map(|(people, packages, actions, noted)| Past::Applied { people, packages, actions, noted }),
        1 => any::<usize>().prop_map(Past::Stopped),
        1 => any::<usize>().prop_map(Past::Terminated),
        1 => any::<usize>().prop_map(Past::Twice),
        1 => Just(Past::LockLost),
        1 => any::<usize>().prop_map(Past::KeyLost),
        1 => Just(Past::GroupsChanged),
        1 => Just(Past::KeyReplaced),
    ]
}

fn happen(model: &mut Model, past: &Past) {
    let count = model.world.instances.len();
    match *past {
        Past::Applied {
            people,
            packages,
            actions,
            noted,
        } => {
            let inventory = some_inventory(people, packages);
            let plan = model.plan(&inventory);
            let done = &plan.actions[..actions.min(plan.actions.len())];
            for (at, action) in done.iter().enumerate() {
                model.act(&inventory, action, noted || at + 1 < done.len());
            }
        }
        Past::Stopped(at) if count > 0 => model.world.instances[at % count].state = State::Stopped,
        Past::Terminated(at) if count > 0 => {
            let instance = model.world.instances.remove(at % count);
            model.world.ended.push(instance.id);
        }
        Past::Twice(at) if count > 0 => {
            let mut twin = model.world.instances[at % count].clone();
            model.made += 1;
            twin.id = format!("i-{:08x}", model.made);
            model.world.instances.push(twin);
        }
        Past::LockLost => model.lock = Lock::new(name("spring")),
        Past::KeyLost(at) => {
            let keyed = model.lock.machines.len().max(1);
            if let Some(locked) = model.lock.machines.values_mut().nth(at % keyed) {
                locked.account_key = None;
            }
        }
        Past::GroupsChanged => model.world.groups_are_right = false,
        Past::KeyReplaced => model.world.key_is_ours = Some(false),
        _ => {}
    }
}

proptest! {
    /// Whatever was there: after an apply there is nothing to do, every machine has one instance, and nothing is left.
    #[test]
    fn apply_then_plan_is_empty(pasts in prop::collection::vec(past(), 0..8), people: u8, packages: u8) {
        let mut model = Model::new();
        for past in &pasts {
            happen(&mut model, past);
        }
        let inventory = some_inventory(people, packages);
        model.apply(&inventory);
        let plan = model.plan(&inventory);
        prop_assert!(plan.is_empty(), "{plan}");
        let mut instances: Vec<_> = model.world.instances.iter().map(|instance| &instance.machine).collect();
        let mut wanted: Vec<_> = inventory
            .machines()
            .filter(|machine| machine.standing.is_none())
            .map(|machine| machine.id)
            .collect();
        instances.sort();
        wanted.sort();
        prop_assert_eq!(instances, wanted);
        let mut locked: Vec<_> = model.lock.machines.keys().collect();
        let mut all: Vec<_> = inventory.machines().map(|machine| machine.id).collect();
        locked.sort();
        all.sort();
        prop_assert_eq!(locked, all);
    }
}
