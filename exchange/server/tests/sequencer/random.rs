//! Random commands over a disk that is held, fails and runs full at random: what was acknowledged is
//! there, once; what was not taken is not; the rest is known in the end.

use std::collections::{BTreeMap, BTreeSet};

use optivex_engine::{Command, Refusal};
use optivex_server::sequencer::{Answer, Options, State};
use proptest::prelude::*;

use crate::{Answers, PATIENCE, Venue, insert_as, options, refused};

#[derive(Clone, Debug)]
enum Step {
    Insert,
    /// The insert of so many steps ago again.
    Retry(usize),
    Refused,
    Hold,
    Release,
    Failing(bool),
    Full(bool),
    /// Lets the sequencer catch up.
    Turn,
    /// Lets the disk catch up, if it is well.
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Insert),
        4 => (1_usize..6).prop_map(Step::Retry),
        3 => Just(Step::Refused),
        1 => Just(Step::Hold),
        2 => Just(Step::Release),
        2 => any::<bool>().prop_map(Step::Failing),
        2 => any::<bool>().prop_map(Step::Full),
        2 => Just(Step::Turn),
        1 => Just(Step::Sync),
    ]
}

/// Client ids of the journaled inserts, each with its event.
fn journaled(venue: &Venue) -> BTreeMap<String, u64> {
    let mut ids = BTreeMap::new();
    for (event_seq, input) in (1..).zip(venue.disk.inputs()) {
        if let Command::InsertOrder(insert) = input.command {
            let doubled = ids.insert(insert.client_order_id.to_string(), event_seq);
            assert_eq!(doubled, None, "one client id, one order");
        }
    }
    ids
}

async fn run(steps: Vec<Step>, in_flight_max: usize) {
    let venue = Venue::start(Options {
        in_flight_max,
        ..options()
    })
    .await;
    let mut answers = Answers::new();
    let mut submitted: Vec<Option<String>> = Vec::new();
    let (mut held, mut sick) = (false, false);
    for step in steps {
        match step {
            Step::Insert => {
                let id = format!("order-{}", submitted.len());
                answers.submit(&venue, insert_as(1, &id));
                submitted.push(Some(id));
            }
            Step::Retry(ago) => {
                let id = submitted.iter().rev().flatten().nth(ago).cloned();
                if let Some(id) = id {
                    answers.submit(&venue, insert_as(1, &id));
                    submitted.push(Some(id));
                }
            }
            Step::Refused => {
                answers.submit(&venue, refused());
                submitted.push(None);
            }
            Step::Hold => {
                venue.disk.hold();
                held = true;
            }
            Step::Release => {
                venue.disk.release();
                held = false;
            }
            Step::Failing(failing) => {
                venue.disk.set_failing(failing);
                sick = failing;
            }
            Step::Full(full) => venue.disk.set_full(full),
            // Without the disk, the sequencer may wait for room.
            Step::Turn if !held && !sick => {
                venue.wait_for_turn();
            }
            Step::Sync if !held && !sick => {
                let _ = venue.exchange.query(|_, _| ()).await;
            }
            Step::Turn | Step::Sync => {}
        }
    }
    venue.disk.set_failing(false);
    venue.disk.set_full(false);
    venue.disk.release();
    // A failure of before may still be on its way to be noticed.
    let healthy = async {
        while venue.exchange.query(|_, _| ()).await.is_err() {
            venue.wait_for_state(|state| *state == State::Ready).await;
        }
    };
    tokio::time::timeout(PATIENCE, healthy).await.expect("a healthy disk");
    venue.wait_for_state(|state| *state == State::Ready).await;

    let journaled = journaled(&venue);
    assert_eq!(venue.witness.seen(), (1..=venue.disk.durable()).collect::<Vec<_>>());
    let mut told: Vec<Option<Answer>> = vec![None; submitted.len()];
    for _ in 0..submitted.len() {
        let (number, answer, _) = answers.receiver.recv_timeout(PATIENCE).expect("an answer to each");
        assert!(told[number].replace(answer).is_none(), "one answer to each");
    }
    let mut may_be_there = BTreeSet::new();
    let mut last_event_seq = 0;
    for (id, answer) in submitted.iter().zip(told) {
        match (id, answer.expect("an answer to each")) {
            (Some(id), Answer::Event(event)) => {
                assert_eq!(journaled.get(id), Some(&event.event_seq), "acknowledged and there");
                assert!(event.event_seq > last_event_seq, "in the order of submission");
                last_event_seq = event.event_seq;
            }
            (Some(id), Answer::OrderRepeated { event_seq, .. }) => {
                assert_eq!(journaled.get(id), Some(&event_seq), "acknowledged and there");
            }
            (Some(id), Answer::Unknown(_)) => {
                assert!(journaled.contains_key(id), "what the engine took is kept");
            }
            (Some(id), Answer::NotReady(_)) => {
                may_be_there.insert(id.clone());
            }
            (None, Answer::Refused(Refusal::UnknownInstrument, _) | Answer::NotReady(_)) => {}
            (id, answer) => panic!("{id:?}: {answer:?}"),
        }
    }
    // Of those told NOT_READY only what another try brought in is there.
    let there: BTreeSet<&String> = journaled.keys().collect();
    let known: BTreeSet<&String> = submitted.iter().flatten().collect();
    assert!(there.is_subset(&known));
    let tries = |id: &String| submitted.iter().flatten().filter(|other| *other == id).count();
    for id in may_be_there {
        assert!(
            tries(&id) > 1 || !journaled.contains_key(&id),
            "{id} was not taken, and is there"
        );
    }
    venue.running.shutdown(PATIENCE).await.expect("a clean end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_refused_is_there(
        steps in proptest::collection::vec(step(), 1..120),
        in_flight_max in prop_oneof![Just(1), Just(5), Just(1_000)],
    ) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .expect("a runtime")
            .block_on(run(steps, in_flight_max));
    }
}
