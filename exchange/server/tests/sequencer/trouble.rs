//! Full and failing disks, more commands than the exchange can take, and threads that die.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use optivex_engine::types::{OrderId, UserId};
use optivex_engine::{Command, Event};
use optivex_journal::{EventSink, Events};
use optivex_server::sequencer::{Answer, Options, ShutdownError, State};

use crate::{Answers, PATIENCE, Venue, insert, insert_as, options, order_id, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_before_the_engine_sees() {
    let venue = Venue::start(options()).await;
    venue.disk.set_full(true);
    venue.wait_for_state(|state| matches!(state, State::NotReady(_))).await;
    assert!(matches!(venue.exchange.submit(insert(1)).await, Answer::NotReady(_)));
    let mut answers = Answers::new();
    answers.submit(&venue, insert(1));
    assert!(matches!(answers.take(0, 1)[0].0, Answer::NotReady(_)));
    assert_eq!(
        venue.exchange.query(|engine, _| engine.event_seq()).await,
        Ok(2),
        "queries go on; nothing was applied"
    );
    venue.disk.set_full(false);
    venue.wait_until_ready().await;
    assert!(matches!(venue.exchange.submit(insert(1)).await, Answer::Event(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_loses_nothing() {
    let venue = Venue::start(options()).await;
    let begun = venue.disk.attempts();
    venue.disk.set_failing(true);
    venue.disk.hold();
    let mut answers = Answers::new();
    answers.submit(&venue, insert_as(5, "first"));
    venue.disk.wait_for_attempts(begun + 1);
    answers.submit(&venue, insert_as(6, "second"));
    answers.submit(&venue, insert_as(6, "second"));
    answers.submit(&venue, refused());
    let exchange = venue.exchange.clone();
    let query = tokio::spawn(async move { exchange.query(|engine, _| engine.event_seq()).await });
    venue.wait_for_turn();
    venue.disk.release();

    let told: Vec<Answer> = answers.take(0, 4).into_iter().map(|(answer, _)| answer).collect();
    assert!(
        matches!(
            told.as_slice(),
            [
                Answer::Unknown(_),
                Answer::Unknown(_),
                Answer::Unknown(_),
                Answer::NotReady(_)
            ]
        ),
        "{told:?}"
    );
    let error = venue.exchange.error(told[0].clone());
    assert_eq!(error.reason_name(), "NOT_READY");
    assert_eq!(error.metadata["outcome"], "unknown");
    let shown = query.await.expect("no panic").expect_err("what it saw may be lost");
    assert_eq!(shown.reason_name(), "NOT_READY");
    venue.wait_for_state(|state| matches!(state, State::NotReady(_))).await;
    assert!(matches!(venue.exchange.submit(insert(7)).await, Answer::NotReady(_)));
    assert_eq!(venue.witness.seen(), [1, 2], "nothing was shown");
    // It is tried again and again.
    venue.disk.wait_for_attempts(begun + 4);

    venue.disk.set_failing(false);
    venue.wait_until_ready().await;
    assert_eq!(venue.witness.seen(), [1, 2, 3, 4], "nothing was lost or doubled");
    let retried = venue.exchange.submit(insert_as(5, "first")).await;
    assert!(
        matches!(retried, Answer::OrderRepeated { event_seq: 3, .. }),
        "{retried:?}"
    );
    assert!(matches!(venue.exchange.submit(insert(7)).await, Answer::Event(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_keeps_nothing_of_what_was_answered() {
    let venue = Venue::start(options()).await;
    venue.disk.set_failing(true);
    let unknown = venue.exchange.submit(insert(5)).await;
    assert!(matches!(unknown, Answer::Unknown(_)), "{unknown:?}");
    for _ in 0..100 {
        let shown = venue.exchange.query(|engine, _| engine.event_seq()).await;
        assert!(shown.is_err(), "what it saw may be lost");
    }
    venue.disk.wait_for_attempts(venue.disk.attempts() + 1);
    assert_eq!(venue.exchange.in_flight(), 3, "the insert, its report and its level");
    venue.disk.set_failing(false);
    venue.wait_until_ready().await;
    assert_eq!(venue.witness.seen(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_does_not_answer_is_told() {
    let venue = Venue::start(Options {
        stall_after: Duration::from_millis(20),
        ..options()
    })
    .await;
    venue.disk.hold();
    let mut answers = Answers::new();
    answers.submit(&venue, insert(5));
    let state = venue.wait_for_state(|state| matches!(state, State::NotReady(_))).await;
    assert!(
        matches!(&state, State::NotReady(why) if why.contains("not answer")),
        "{state:?}"
    );
    assert!(matches!(venue.exchange.submit(insert(6)).await, Answer::NotReady(_)));
    let shown = venue.exchange.query(|engine, _| engine.event_seq()).await;
    assert!(shown.is_err(), "nobody could tell its answer");
    assert!(answers.none_yet(), "nothing is told that is not durable");
    venue.disk.release();
    venue.wait_until_ready().await;
    assert!(matches!(answers.take(0, 1)[0].0, Answer::Event(_)), "nothing was lost");
    assert!(matches!(venue.exchange.submit(insert(7)).await, Answer::Event(_)));
    assert_eq!(venue.witness.seen(), [1, 2, 3, 4]);
}

/// Takes no order until its sender is dropped, as history does whose disk is full.
struct Gate(Option<Receiver<()>>);

impl EventSink for Gate {
    fn publish(&mut self, events: &Events) {
        if events.iter().any(|event| !event.reports.is_empty())
            && let Some(closed) = self.0.take()
        {
            let _ = closed.recv();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_takes_nothing_is_told() {
    let (open, closed) = channel();
    let options = Options {
        stall_after: Duration::from_millis(20),
        in_flight_max: 4,
        ..options()
    };
    let venue = Venue::start_with(options, vec![Box::new(Gate(Some(closed)))]).await;
    let mut answers = Answers::new();
    // More than may be in flight: the sequencer waits for room, and must not wait for ever.
    for price_e4 in 1..=6 {
        answers.submit(&venue, insert(price_e4));
    }
    venue.wait_for_state(|state| matches!(state, State::NotReady(_))).await;
    drop(open);
    venue.wait_until_ready().await;
    let told = (0..6).map(|_| answers.receiver.recv_timeout(PATIENCE).expect("an answer").1);
    let accepted = told.filter(|answer| matches!(answer, Answer::Event(_))).count();
    assert_eq!(venue.witness.seen().len(), 2 + accepted);
    assert!(matches!(venue.exchange.submit(insert(7)).await, Answer::Event(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_streams_are_put_off_not_forgotten() {
    let venue = Venue::start(options()).await;
    let kept = order_id(&venue.exchange.submit(insert(1)).await);
    let guarded = order_id(&venue.exchange.submit(insert(2)).await);
    order_id(&venue.exchange.submit(insert(3)).await);
    venue.disk.set_full(true);
    venue.wait_for_state(|state| matches!(state, State::NotReady(_))).await;
    // Two streams of the same user: the lower threshold covers both.
    venue.exchange.disconnect(UserId(0), guarded).await;
    venue.exchange.disconnect(UserId(0), kept).await;
    venue.exchange.disconnect(UserId(0), guarded).await;
    let open = |engine: &optivex_engine::Engine, _| {
        let orders = engine.open_orders(UserId(0), None, OrderId(0));
        orders.map(|order| order.order_id).collect::<Vec<_>>()
    };
    assert_eq!(venue.exchange.query(open).await.map(|orders| orders.len()), Ok(3));
    venue.disk.set_full(false);
    venue.wait_until_ready().await;
    let later = order_id(&venue.exchange.submit(insert(4)).await);
    assert_eq!(venue.exchange.query(open).await, Ok(vec![kept, later]));
    let inputs = venue.disk.inputs();
    let expected = Command::CancelOnDisconnect {
        user: UserId(0),
        after: kept,
    };
    assert_eq!(inputs[inputs.len() - 2].command, expected, "before any other command");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_it_can_take_waits_or_is_not_ready() {
    let venue = Venue::start(Options {
        input_max: 4,
        patience: Duration::from_millis(1),
        ..options()
    })
    .await;
    let unblock = venue.block();
    let mut answers = Answers::new();
    for price_e4 in 1..=4 {
        answers.submit(&venue, insert(price_e4));
    }
    assert!(answers.none_yet());
    let (told, busy) = std::sync::mpsc::channel();
    venue.exchange.submit_with(insert(5), move |answer| {
        let _ = told.send(answer);
    });
    assert!(matches!(busy.try_recv(), Ok(Answer::NotReady(_))), "told in the call");
    assert!(matches!(venue.exchange.submit(insert(6)).await, Answer::NotReady(_)));
    assert!(venue.exchange.query(|_, _| ()).await.is_err());
    let exchange = venue.exchange.clone();
    let patient = tokio::spawn(async move { exchange.submit_queued(insert(7), |answer| answer).await.told().await });
    drop(unblock);
    assert!(
        matches!(patient.await, Ok(Some(Answer::Event(_)))),
        "a stream waits for its place"
    );
    for (answer, _) in answers.take(0, 4) {
        assert!(matches!(answer, Answer::Event(_)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_future_does_not_undo_its_command() {
    let venue = Venue::start(options()).await;
    let unblock = venue.block();
    let exchange = venue.exchange.clone();
    {
        let mut submit = Box::pin(exchange.submit(insert_as(9, "dropped")));
        let polled = futures_util::poll!(&mut submit);
        assert!(polled.is_pending());
    }
    drop(unblock);
    let again = venue.exchange.submit(insert_as(9, "dropped")).await;
    assert!(matches!(again, Answer::OrderRepeated { .. }), "{again:?}");
}

/// Kills the thread that shows it an order.
struct Trap;

impl EventSink for Trap {
    fn publish(&mut self, events: &Events) {
        let springs = |event: &Event| !event.reports.is_empty();
        assert!(!events.iter().any(springs), "the trap of the test");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_journal_thread_is_no_silent_zombie() {
    let venue = Venue::start_with(options(), vec![Box::new(Trap)]).await;
    let mut answers = Answers::new();
    answers.submit(&venue, insert(1));
    assert!(matches!(answers.take(0, 1)[0].0, Answer::Unknown(_)));
    let state = venue.wait_for_state(|state| matches!(state, State::Failed(_))).await;
    assert!(matches!(state, State::Failed(why) if why.contains("journal")));
    answers.submit(&venue, insert(1));
    assert!(matches!(answers.take(1, 1)[0].0, Answer::NotReady(_)));
    assert!(venue.exchange.query(|_, _| ()).await.is_err());
    let end = venue.running.shutdown(PATIENCE).await;
    assert!(matches!(end, Err(ShutdownError::Failed(_))), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_sequencer_thread_is_no_silent_zombie() {
    let venue = Venue::start(options()).await;
    let unblock = venue.block();
    let mut answers = Answers::new();
    venue.exchange.submit_with(insert(1), |_| ());
    let exchange = venue.exchange.clone();
    let mut query = Box::pin(exchange.query(|_, _| -> () { panic!("the trap of the test") }));
    assert!(futures_util::poll!(&mut query).is_pending(), "the sequencer is blocked");
    answers.submit(&venue, insert(2));
    drop(unblock);
    assert!(query.await.is_err());
    let behind = &answers.take(0, 1)[0].0;
    assert!(matches!(behind, Answer::Unknown(_)), "{behind:?}");
    venue.wait_for_state(|state| matches!(state, State::Failed(_))).await;
    assert!(matches!(venue.exchange.submit(insert(1)).await, Answer::NotReady(_)));
    let end = venue.running.shutdown(PATIENCE).await;
    assert!(matches!(end, Err(ShutdownError::Failed(_))), "{end:?}");
}
