//! The sequencer over a journal that a test holds, breaks and fills up.

mod durability;
#[allow(dead_code)] // The other test uses the rest.
mod journal;
mod random;
mod trouble;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use optivex_engine::command::{CreateInstrument, InsertOrder, OrderTerms};
use optivex_engine::event::Outcome;
use optivex_engine::types::{
    ClientOrderId, InstrumentId, OrderId, OrderType, SelfTradePrevention, Side, Symbol, TimeInForce, TradingPhase,
    UserId, Username,
};
use optivex_engine::{Command, Engine, Limits};
use optivex_journal::EventSink;
use optivex_server::sequencer::{self, Answer, Exchange, Options, Parts, Running, State};

use journal::{Disk, Witness};

/// Long enough for a machine that does ten other things; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sequencer with user 0, and instrument 0 in continuous trading with tick 1 and multiplier 1.
struct Venue {
    disk: Disk,
    witness: Witness,
    exchange: Exchange,
    running: Running,
    /// Event and journal position of each stored snapshot.
    snapshots: Arc<Mutex<Vec<(u64, u64)>>>,
}

fn options() -> Options {
    Options {
        retry_delay: Duration::from_millis(1),
        retry_delay_max: Duration::from_millis(5),
        ..Options::default()
    }
}

impl Venue {
    async fn start(options: Options) -> Self {
        Self::start_with(options, Vec::new()).await
    }

    async fn start_with(options: Options, more_sinks: Vec<Box<dyn EventSink>>) -> Self {
        let disk = Disk::default();
        let witness = Witness::new(&disk);
        let snapshots = Arc::new(Mutex::new(Vec::new()));
        let mut sinks: Vec<Box<dyn EventSink>> = vec![Box::new(witness.clone())];
        sinks.extend(more_sinks);
        let parts = Parts {
            engine: Engine::new(Limits::default()),
            journal: Box::new(disk.clone()),
            sinks,
            store_snapshot: {
                let (disk, snapshots) = (disk.clone(), snapshots.clone());
                Box::new(move |event_seq, _| {
                    snapshots.lock().expect("no panic").push((event_seq, disk.durable()));
                    Ok(event_seq - 1)
                })
            },
        };
        let running = sequencer::start(parts, options).expect("threads");
        let exchange = running.exchange();
        exchange.register_users(["alice"]).await.expect("room for a user");
        assert!(matches!(exchange.submit(create("ABC")).await, Answer::Event(_)));
        Self {
            disk,
            witness,
            exchange,
            running,
            snapshots,
        }
    }

    /// Runs in the sequencer's turn until the sender is dropped.
    fn block(&self) -> Sender<()> {
        let (unblock, blocked) = channel::<()>();
        let (begun, has_begun) = channel();
        let exchange = self.exchange.clone();
        tokio::spawn(async move {
            exchange
                .query(move |_, _| {
                    let _ = begun.send(());
                    let _ = blocked.recv();
                })
                .await
        });
        has_begun.recv_timeout(PATIENCE).expect("the sequencer's turn");
        unblock
    }

    /// Waits until the sequencer has applied what was submitted before; does not wait for the disk.
    fn wait_for_turn(&self) -> u64 {
        let (sender, receiver) = channel();
        let exchange = self.exchange.clone();
        tokio::spawn(async move { exchange.query(move |engine, _| sender.send(engine.event_seq())).await });
        receiver.recv_timeout(PATIENCE).expect("the sequencer's turn")
    }

    async fn wait_for_state(&self, is_it: impl Fn(&State) -> bool) -> State {
        let mut state = self.exchange.state();
        let state = tokio::time::timeout(PATIENCE, state.wait_for(|state| is_it(state)))
            .await
            .expect("the state in time")
            .expect("an exchange");
        state.clone()
    }

    async fn wait_until_ready(&self) {
        self.wait_for_state(|state| *state == State::Ready).await;
    }
}

fn create(symbol: &str) -> Command {
    Command::CreateInstrument(CreateInstrument {
        user: UserId(0),
        symbol: Symbol::from(symbol).expect("short"),
        description: String::new(),
        currency: "EUR".try_into().expect("three letters"),
        multiplier: 1,
        tick_size_e4: 1,
        initial_phase: TradingPhase::Continuous,
        client_request_id: "".try_into().expect("short"),
    })
}

fn insert(price_e4: i64) -> Command {
    insert_as(price_e4, "")
}

fn insert_as(price_e4: i64, client_order_id: &str) -> Command {
    Command::InsertOrder(InsertOrder {
        user: UserId(0),
        instrument: InstrumentId(0),
        terms: OrderTerms {
            side: Side::Buy,
            price_e4,
            quantity: 1,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancelled,
            post_only: false,
            self_trade_prevention: SelfTradePrevention::CancelIncoming,
        },
        client_order_id: ClientOrderId::from(client_order_id).expect("short"),
    })
}

/// A command that is always refused, whatever the state: an instrument that does not exist.
fn refused() -> Command {
    Command::SetTradingPhase {
        instrument: InstrumentId(1_000_000),
        phase: TradingPhase::Halted,
    }
}

fn register(name: &str) -> Command {
    Command::RegisterUser {
        username: Username::from(name).expect("short"),
    }
}

/// Answers in the order they are told, each with what was durable then.
struct Answers {
    sender: Sender<(usize, Answer, u64)>,
    receiver: Receiver<(usize, Answer, u64)>,
    submitted: usize,
}

impl Answers {
    fn new() -> Self {
        let (sender, receiver) = channel();
        Self {
            sender,
            receiver,
            submitted: 0,
        }
    }

    fn submit(&mut self, venue: &Venue, command: Command) {
        let (sender, disk, number) = (self.sender.clone(), venue.disk.clone(), self.submitted);
        self.submitted += 1;
        venue.exchange.submit_with(command, move |answer| {
            let _ = sender.send((number, answer, disk.durable()));
        });
    }

    fn none_yet(&self) -> bool {
        self.receiver.try_recv().is_err()
    }

    /// The next answers, checked to come in the order of submission.
    fn take(&self, from: usize, count: usize) -> Vec<(Answer, u64)> {
        (from..from + count)
            .map(|expected| {
                let (number, answer, durable) = self.receiver.recv_timeout(PATIENCE).expect("an answer");
                assert_eq!(number, expected, "in the order of submission");
                (answer, durable)
            })
            .collect()
    }
}

fn order_id(answer: &Answer) -> OrderId {
    let Answer::Event(event) = answer else {
        panic!("not accepted: {answer:?}");
    };
    let Outcome::Inserted(order) = &event.outcome else {
        panic!("not an insert: {event:?}");
    };
    order.order_id
}
