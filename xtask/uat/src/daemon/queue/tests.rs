use std::collections::{BTreeMap, BTreeSet};

use optivex_bundle::digest::Digest;
use proptest::prelude::*;

use super::*;

fn name(number: usize) -> Name {
    format!("p{number}").parse().expect("a name")
}

fn id(text: &str) -> SubmissionId {
    SubmissionId::from(&Digest::of(text.as_bytes()))
}

fn job(text: &str, received: u32) -> Job {
    Job::new(id(text), format!("{received:09}"), 1)
}

fn ended(number: usize, text: &str, used: u64, trouble: bool) -> Event {
    Event::Ended {
        participant: name(number),
        id: id(text),
        used: Duration::from_secs(used),
        trouble,
    }
}

#[test]
fn a_newer_one_takes_the_place_of_the_one_that_waits() {
    let mut queue = Queue::new(1);
    assert_eq!(
        queue.take(Event::Arrived(name(1), job("a", 1))),
        [Decision::Start(name(1), job("a", 1))]
    );
    assert_eq!(queue.take(Event::Arrived(name(1), job("b", 2))), []);
    assert_eq!(
        queue.take(Event::Arrived(name(1), job("b", 2))),
        [],
        "it was seen before"
    );
    assert_eq!(
        queue.take(Event::Arrived(name(1), job("c", 3))),
        [Decision::Supersede(name(1), job("b", 2), id("c"))]
    );
    // After a restart they may come in any order.
    assert_eq!(
        queue.take(Event::Arrived(name(1), job("b", 2))),
        [Decision::Supersede(name(1), job("b", 2), id("c"))]
    );
    assert_eq!(
        queue.take(ended(1, "a", 5, false)),
        [Decision::Start(name(1), job("c", 3))]
    );
}

#[test]
fn what_is_seen_at_the_same_time_is_known_before_anything_starts() {
    let mut queue = Queue::new(2);
    let events = [
        Event::Arrived(name(1), job("a", 1)),
        Event::Arrived(name(1), job("b", 2)),
        Event::Arrived(name(2), job("c", 3)),
        Event::Cancelled(name(2), id("c")),
    ];
    assert_eq!(
        queue.take_all(events),
        [
            Decision::Supersede(name(1), job("a", 1), id("b")),
            Decision::Drop(name(2), job("c", 3)),
            Decision::Start(name(1), job("b", 2)),
        ]
    );
}

#[test]
fn who_has_used_the_least_goes_next() {
    let mut queue = Queue::new(1);
    queue.has_used(name(1), Duration::from_secs(100));
    queue.has_used(name(2), Duration::from_secs(10));
    queue.take(Event::Arrived(name(3), job("x", 1)));
    queue.take(Event::Arrived(name(1), job("a", 2)));
    queue.take(Event::Arrived(name(2), job("b", 3)));
    assert_eq!(
        queue
            .waiting()
            .into_iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>(),
        [name(2), name(1)]
    );
    assert_eq!(
        queue.take(ended(3, "x", 50, false)),
        [Decision::Start(name(2), job("b", 3))]
    );
    // 3 has used 50 by now, and is before 1.
    queue.take(Event::Arrived(name(3), job("y", 4)));
    assert_eq!(
        queue.take(ended(2, "b", 1, false)),
        [Decision::Start(name(3), job("y", 4))]
    );
}

#[test]
fn trouble_is_tried_twice_again_and_costs_no_turn() {
    let mut queue = Queue::new(1);
    queue.take(Event::Arrived(name(1), job("a", 1)));
    for number in 2..=3 {
        let again = Job {
            try_number: number,
            claimed: true,
            ..job("a", 1)
        };
        assert_eq!(queue.take(ended(1, "a", 9, true)), [Decision::Start(name(1), again)]);
    }
    let last = Job {
        try_number: 3,
        claimed: true,
        ..job("a", 1)
    };
    assert_eq!(queue.take(ended(1, "a", 9, true)), [Decision::GiveUp(name(1), last)]);
    assert_eq!(queue.used(&name(1)), Duration::ZERO);
    assert_eq!(queue.running().count(), 0);
}

#[test]
fn a_held_queue_starts_nothing_and_lets_go_on_what_runs() {
    let mut queue = Queue::new(2);
    queue.take(Event::Arrived(name(1), job("a", 1)));
    assert_eq!(queue.take(Event::Hold(true)), []);
    assert_eq!(queue.take(Event::Arrived(name(2), job("b", 2))), []);
    assert_eq!(queue.take(ended(1, "a", 1, false)), []);
    assert_eq!(queue.take(Event::Hold(false)), [Decision::Start(name(2), job("b", 2))]);
}

#[test]
fn cancelled() {
    let mut queue = Queue::new(1);
    queue.take(Event::Arrived(name(1), job("a", 1)));
    queue.take(Event::Arrived(name(2), job("b", 2)));
    assert_eq!(queue.take(Event::Cancelled(name(1), id("b"))), [], "another's");
    assert_eq!(
        queue.take(Event::Cancelled(name(2), id("b"))),
        [Decision::Drop(name(2), job("b", 2))]
    );
    assert_eq!(queue.take(Event::Cancelled(name(2), id("b"))), [], "it is gone");
    assert_eq!(
        queue.take(Event::Cancelled(name(1), id("a"))),
        [Decision::Stop(name(1), id("a"))]
    );
    assert_eq!(queue.take(ended(1, "a", 1, false)), []);
}

/// Runs a queue to its end on virtual time: a job runs for as many seconds as its participant's number tells.
struct World {
    queue: Queue,
    now: u64,
    ends: BTreeSet<(u64, usize, u32)>,
    /// Per participant: seconds used, deployments that are still to come.
    people: BTreeMap<usize, (u64, u32)>,
    started: Vec<(u64, usize)>,
}

impl World {
    fn seconds(number: usize) -> u64 {
        1 + number as u64 % 7 * 3
    }

    fn arrive(&mut self, number: usize) {
        let left = self.people.get(&number).expect("known").1;
        let job = job(&format!("{number}/{left}"), self.now as u32);
        let decisions = self.queue.take(Event::Arrived(name(number), job));
        self.decided(decisions);
    }

    fn decided(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            let Decision::Start(participant, _) = decision else {
                panic!("{decision:?}");
            };
            let number: usize = participant.as_str()[1..].parse().expect("a number");
            // Fair: nobody who waits now has used less.
            let used = self.people[&number].0;
            let waiting = self.queue.waiting();
            let running: BTreeSet<&Name> = self.queue.running().map(|(name, _)| name).collect();
            for (other, _) in waiting.iter().filter(|(other, _)| !running.contains(other)) {
                let other: usize = other.as_str()[1..].parse().expect("a number");
                assert!(self.people[&other].0 >= used, "{other} has used less than {number}");
            }
            self.started.push((self.now, number));
            self.ends
                .insert((self.now + Self::seconds(number), number, self.people[&number].1));
        }
    }
}

/// 40 deployments of 8 participants, each with 5 of very different lengths, each handed over when the one before is
/// done.
#[test]
fn a_queue_of_40_deployments_with_2_slots_drains_fairly() {
    let mut world = World {
        queue: Queue::new(2),
        now: 0,
        ends: BTreeSet::new(),
        people: (0..8).map(|number| (number, (0, 5))).collect(),
        started: Vec::new(),
    };
    (0..8).for_each(|number| world.arrive(number));
    while let Some((now, number, left)) = world.ends.pop_first() {
        assert!(world.ends.len() < 2, "two slots");
        world.now = now;
        let person = world.people.get_mut(&number).expect("known");
        person.0 += World::seconds(number);
        person.1 -= 1;
        let event = ended(number, &format!("{number}/{left}"), World::seconds(number), false);
        // Who is done hands over the next one before the slot is given on.
        if left > 1 {
            let next = job(&format!("{number}/{}", left - 1), now as u32);
            let decisions = world.queue.take(Event::Arrived(name(number), next));
            world.decided(decisions);
        }
        let decisions = world.queue.take(event);
        world.decided(decisions);
    }
    assert_eq!(world.started.len(), 40);
    assert!(world.people.values().all(|(_, left)| *left == 0));
    // Whoever has short jobs is through with all five before the longest ones have had three.
    let nth = |number: usize, nth: usize| {
        let starts = world.started.iter().filter(|(_, other)| *other == number);
        starts.map(|(at, _)| *at).nth(nth).expect("started")
    };
    assert!(nth(0, 4) < nth(6, 2) && nth(7, 4) < nth(6, 2), "{:?}", world.started);
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(usize),
    Cancel(usize),
    End(usize, bool),
    Hold(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5_usize).prop_map(Step::Arrive),
        1 => (0..5_usize).prop_map(Step::Cancel),
        4 => (0..5_usize, any::<bool>()).prop_map(|(number, trouble)| Step::End(number, trouble)),
        1 => any::<bool>().prop_map(Step::Hold),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    /// Whatever happens: every deployment comes to exactly one end, none runs twice at a time, no participant has two
    /// running, slots are not exceeded, and none is idle while somebody could run.
    #[test]
    fn nothing_is_lost_and_nothing_runs_twice(slots in 1..4_usize, steps in steps()) {
        let mut queue = Queue::new(slots);
        let mut held = false;
        let mut open: BTreeSet<SubmissionId> = BTreeSet::new();
        let mut tries: BTreeMap<SubmissionId, u32> = BTreeMap::new();
        let mut running: BTreeMap<Name, SubmissionId> = BTreeMap::new();
        let mut tail = Vec::new();
        for _ in 0..12 { tail.extend((0..5).map(|number| Step::End(number, false))); }
        let all = steps.into_iter().chain([Step::Hold(false)]).chain(tail);
        for (now, step) in all.enumerate() {
            let event = match step {
                Step::Arrive(number) => {
                    let job = job(&format!("{now}"), now as u32);
                    open.insert(job.id);
                    Event::Arrived(name(number), job)
                }
                Step::Cancel(number) => {
                    let waiting = queue.waiting().into_iter().find(|(other, _)| **other == name(number));
                    let Some(id) = waiting.map(|(_, job)| job.id).or(running.get(&name(number)).copied()) else { continue };
                    Event::Cancelled(name(number), id)
                }
                Step::End(number, trouble) => {
                    let Some(id) = running.remove(&name(number)) else { continue };
                    if !trouble { prop_assert!(open.remove(&id)); }
                    Event::Ended { participant: name(number), id, used: Duration::from_secs(1), trouble }
                }
                Step::Hold(hold) => { held = hold; Event::Hold(hold) }
            };
            for decision in queue.take(event) {
                match decision {
                    Decision::Start(participant, job) => {
                        prop_assert!(!held);
                        prop_assert!(open.contains(&job.id));
                        prop_assert_eq!(running.insert(participant, job.id), None, "two of one participant");
                        let tries = tries.entry(job.id).or_default();
                        *tries += 1;
                        prop_assert!(*tries == job.try_number && *tries <= TRIES);
                    }
                    Decision::Supersede(_, job, _) | Decision::Drop(_, job) | Decision::GiveUp(_, job) => {
                        prop_assert!(open.remove(&job.id), "two ends");
                    }
                    Decision::Stop(participant, id) => prop_assert_eq!(running.get(&participant), Some(&id)),
                }
            }
            prop_assert!(running.len() <= slots);
            let could = queue.waiting().into_iter().any(|(name, _)| !running.contains_key(name));
            prop_assert!(held || running.len() == slots || !could, "idle");
        }
        prop_assert!(open.is_empty(), "lost: {:?}", open);
    }
}
