//! Nothing is told before it is durable, everything in order, and the engine does not wait for the disk.

use std::sync::{Arc, Mutex, Weak};

use optivex_engine::types::UserId;
use optivex_engine::{Event, Refusal};
use optivex_journal::{EventSink, Events};
use optivex_server::sequencer::{Answer, Options, State};

use crate::journal::Disk;
use crate::{Answers, PATIENCE, Venue, create, insert, insert_as, options, order_id, refused, register};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_before_it_is_durable() {
    let venue = Venue::start(options()).await;
    let begun = venue.disk.attempts();
    let durable = venue.disk.durable();
    venue.disk.hold();
    let mut answers = Answers::new();
    answers.submit(&venue, insert_as(5, "mine"));
    venue.disk.wait_for_attempts(begun + 1);
    answers.submit(&venue, refused());
    answers.submit(&venue, insert_as(5, "mine"));
    answers.submit(&venue, insert(6));
    answers.submit(&venue, refused());
    let shown = venue.exchange.clone();
    let query = tokio::spawn(async move { shown.query(|engine, _| engine.event_seq()).await });
    assert_eq!(venue.wait_for_turn(), durable + 2, "the engine is ahead of the disk");
    assert!(answers.none_yet());
    assert!(!query.is_finished());
    assert_eq!(venue.witness.seen().len() as u64, durable, "not shown either");

    venue.disk.release();
    let told = answers.take(0, 5);
    for (answer, durable_then) in &told {
        let rests_on = match answer {
            Answer::Event(event) => event.event_seq,
            Answer::OrderRepeated { event_seq, .. } | Answer::Refused(_, event_seq) => *event_seq,
            other => panic!("{other:?}"),
        };
        assert!(rests_on <= *durable_then, "told before it was durable: {answer:?}");
    }
    assert!(matches!(told[0].0, Answer::Event(_)));
    assert!(matches!(told[1].0, Answer::Refused(Refusal::UnknownInstrument, _)));
    assert!(matches!(told[2].0, Answer::OrderRepeated { .. }));
    assert!(matches!(told[3].0, Answer::Event(_)));
    assert!(matches!(told[4].0, Answer::Refused(..)));
    let seen = query.await.expect("no panic").expect("an answer");
    assert_eq!(seen, durable + 2);
    assert_eq!(venue.witness.seen().last(), Some(&seen));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_during_a_sync_is_the_next_batch() {
    let venue = Venue::start(options()).await;
    let before = venue.disk.commits().len();
    venue.disk.hold();
    let mut answers = Answers::new();
    answers.submit(&venue, insert(1));
    venue.disk.wait_for_attempts(before + 1);
    for price_e4 in 2..=1_000 {
        answers.submit(&venue, insert(price_e4));
    }
    venue.wait_for_turn();
    venue.disk.release();
    answers.take(0, 1_000);
    let commits = &venue.disk.commits()[before..];
    assert_eq!(commits.iter().sum::<usize>(), 1_000);
    // The first; what was handed over while it was held; the turn of the last one.
    assert!(commits.len() <= 3, "{commits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_exchange_refuses_and_shows_without_a_sync() {
    let venue = Venue::start(options()).await;
    let attempts = venue.disk.attempts();
    venue.disk.hold();
    assert!(matches!(venue.exchange.submit(refused()).await, Answer::Refused(..)));
    assert_eq!(venue.exchange.query(|engine, _| engine.event_seq()).await, Ok(2));
    assert_eq!(venue.disk.attempts(), attempts);
    venue.disk.release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_does_not_run_ahead_without_bounds() {
    let in_flight_max = 50;
    let venue = Venue::start(Options {
        in_flight_max,
        ..options()
    })
    .await;
    let before = venue.disk.commits().len();
    venue.disk.hold();
    let mut answers = Answers::new();
    for price_e4 in 1..=3_000 {
        answers.submit(&venue, insert(price_e4));
    }
    venue.disk.wait_for_attempts(before + 1);
    venue.disk.release();
    answers.take(0, 3_000);
    // At most a whole turn begins when there is still room.
    let largest = venue.disk.commits()[before..].iter().max().copied();
    assert!(
        largest.is_some_and(|events| events <= in_flight_max + 256),
        "{largest:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_has_what_was_applied() {
    let venue = Venue::start(options()).await;
    for command in [insert(7), refused(), create("DEF"), create("DEF"), register("bob")] {
        venue.exchange.submit(command).await;
    }
    let inputs = venue.disk.inputs();
    let commands: Vec<_> = inputs.iter().map(|input| input.command.clone()).collect();
    // The refused ones are not there.
    assert_eq!(
        commands,
        [
            register("alice"),
            create("ABC"),
            insert(7),
            create("DEF"),
            register("bob")
        ]
    );
    assert!(
        inputs
            .windows(2)
            .all(|pair| pair[0].time_unix_ns <= pair[1].time_unix_ns)
    );
    assert_eq!(venue.exchange.user("bob"), Some(UserId(1)));
    let def = venue.exchange.instrument("DEF").expect("known");
    assert_eq!(venue.exchange.symbol(def).as_deref(), Some("DEF"));
    assert_eq!(venue.exchange.instrument("GHI"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_registered_once() {
    let venue = Venue::start(options()).await;
    let names = ["bob", "alice", "carol"];
    venue.exchange.register_users(names).await.expect("room");
    venue.exchange.register_users(names).await.expect("room");
    assert_eq!(venue.exchange.user("carol"), Some(UserId(2)));
    assert_eq!(venue.disk.durable(), 4, "alice, ABC, bob, carol");
    let refused = venue.exchange.register_users([""]).await;
    assert_eq!(refused.expect_err("no name").metadata["field"], "username");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_follow_the_disk() {
    let venue = Venue::start(Options {
        snapshot_every: 10,
        ..options()
    })
    .await;
    let begun = venue.disk.attempts();
    venue.disk.hold();
    let mut answers = Answers::new();
    for price_e4 in 1..=20 {
        answers.submit(&venue, insert(price_e4));
    }
    venue.disk.wait_for_attempts(begun + 1);
    venue.wait_for_turn();
    assert_eq!(
        *venue.snapshots.lock().expect("no panic"),
        [],
        "of events that a crash can undo"
    );
    venue.disk.release();
    answers.take(0, 20);
    let Venue {
        running,
        snapshots,
        disk,
        ..
    } = venue;
    running.shutdown(PATIENCE).await.expect("a clean end");
    let snapshots = snapshots.lock().expect("no panic").clone();
    for (event_seq, durable) in &snapshots {
        assert!(event_seq <= durable);
    }
    assert_eq!(
        snapshots.last().map(|(event_seq, _)| *event_seq),
        Some(22),
        "the last one is of the end"
    );
    let retained = disk.retained();
    assert!(!retained.is_empty(), "the journal was told");
    assert!(
        retained
            .iter()
            .all(|through| snapshots.iter().any(|(event_seq, _)| event_seq - 1 == *through))
    );
}

/// While one is made the exchange stands still: the larger the state, the seldomer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_of_a_growing_state_come_ever_seldomer() {
    const ORDERS: usize = 400;
    let venue = Venue::start(Options {
        snapshot_every: 1,
        ..options()
    })
    .await;
    let mut answers = Answers::new();
    for number in 0..ORDERS {
        answers.submit(&venue, insert(1 + number as i64));
        // Each order is a turn of its own.
        answers.take(number, 1);
    }
    let Venue { running, snapshots, .. } = venue;
    running.shutdown(PATIENCE).await.expect("a clean end");
    let snapshots = snapshots.lock().expect("no panic").clone();
    // Over 32 bytes an order: each is of at least twice as many orders as the one before.
    assert!((3..=20).contains(&snapshots.len()), "{snapshots:?}");
    assert_eq!(
        snapshots.last().map(|(event_seq, _)| *event_seq),
        Some(ORDERS as u64 + 2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_answers_everything_it_has_taken() {
    let venue = Venue::start(options()).await;
    let begun = venue.disk.attempts();
    venue.disk.hold();
    let mut answers = Answers::new();
    for price_e4 in 1..=500 {
        answers.submit(&venue, insert(price_e4));
    }
    venue.disk.wait_for_attempts(begun + 1);
    let Venue {
        running,
        exchange,
        disk,
        witness,
        snapshots,
    } = venue;
    let shutdown = tokio::spawn(running.shutdown(PATIENCE));
    let mut state = exchange.state();
    state
        .wait_for(|state| *state == State::Stopping)
        .await
        .expect("an exchange");
    assert!(
        matches!(exchange.submit(insert(1)).await, Answer::NotReady(_)),
        "no new commands"
    );
    assert!(!shutdown.is_finished(), "the disk is held");
    disk.release();
    shutdown.await.expect("no panic").expect("a clean end");
    for (answer, _) in answers.take(0, 500) {
        assert!(matches!(answer, Answer::Event(_)), "{answer:?}");
    }
    assert_eq!(witness.seen().len(), 502);
    assert_eq!(snapshots.lock().expect("no panic").as_slice(), [(502, 502)]);
    // The handle survives, and says what is.
    assert!(matches!(exchange.submit(insert(1)).await, Answer::NotReady(_)));
    assert!(matches!(
        exchange.submit_queued(insert(1), |answer| answer).await.told().await,
        Some(Answer::NotReady(_))
    ));
    assert!(exchange.query(|engine, _| engine.event_seq()).await.is_err());
    exchange.submit_with(insert(1), |answer| assert!(matches!(answer, Answer::NotReady(_))));
    exchange.disconnect(UserId(0), optivex_engine::types::OrderId(0)).await;
    assert_eq!(disk.durable(), 502);
}

/// Remembers events without keeping them.
#[derive(Clone, Default)]
struct Passing(Arc<Mutex<Vec<Weak<Vec<Event>>>>>);

impl EventSink for Passing {
    fn publish(&mut self, events: &Events) {
        self.0.lock().expect("no panic").push(Arc::downgrade(events));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_takes_keeps_no_events() {
    let passing = Passing::default();
    let venue = Venue::start_with(options(), vec![Box::new(passing.clone())]).await;
    let untaken = venue
        .exchange
        .submit_queued(insert(1), |answer| order_id(&answer))
        .await;
    // The second may share the first's turn, of which the journal's thread lets go before it tells the third;
    // the sequencer itself, which uses events again, lets go of it before it hands the fourth over.
    for price_e4 in [2, 3, 4] {
        assert!(matches!(
            venue.exchange.submit(insert(price_e4)).await,
            Answer::Event(_)
        ));
    }
    let of_first = passing.0.lock().expect("no panic")[2].clone();
    assert!(of_first.upgrade().is_none(), "kept by the answer");
    assert!(untaken.told().await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_does_not_wait_for_a_dead_disk() {
    let venue = Venue::start(options()).await;
    venue.disk.set_failing(true);
    let mut answers = Answers::new();
    answers.submit(&venue, insert(1));
    assert!(matches!(answers.take(0, 1)[0].0, Answer::Unknown(_)));
    let late = venue.running.shutdown(std::time::Duration::from_millis(50)).await;
    assert!(
        matches!(late, Err(optivex_server::sequencer::ShutdownError::Late)),
        "{late:?}"
    );
}

/// The tests' own disk refuses gaps; without it, what they show would be nothing.
#[test]
#[should_panic(expected = "records follow one another")]
fn the_disk_of_the_tests_is_not_blind() {
    use optivex_journal::{Batch, Journal};
    let mut batch = Batch::default();
    batch.push_bytes(2, b"");
    let _ = Disk::default().commit(&[batch]);
}
