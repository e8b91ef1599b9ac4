//! Kills the real program under load, again and again, and looks for what was lost or doubled.
//!
//! `OPTIVEX_CRASH_ROUNDS` says how often (5 if not set; 100 is a good evening), `OPTIVEX_CRASH_SEED`
//! repeats the choices of a run; its timing is the machine's.

#[path = "../e2e/exchange.rs"]
mod exchange;
mod ledger;
mod load;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use optivex_proto::v1::admin_service_client::AdminServiceClient;
use optivex_proto::v1::{CancelAllOrdersRequest, CreateInstrumentRequest};
use tokio::sync::Notify;
use tonic::transport::Channel;

use crate::exchange::Exchange;
use crate::ledger::Ledger;
use crate::load::{Session, Worker};

const SYMBOLS: [&str; 2] = ["ACME", "ZINC"];
const TRADERS: [&str; 3] = ["alice", "bob", "carol"];

/// Counts answers, so that a kill comes in the midst of the load, on a fast and on a slow machine.
#[derive(Default)]
struct Answers {
    count: AtomicU64,
    more: Notify,
}

impl Answers {
    fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.more.notify_one();
    }

    async fn reach(&self, target: u64) {
        while self.count.load(Ordering::Relaxed) < target {
            self.more.notified().await;
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

async fn connect(exchange: &Exchange) -> Channel {
    Channel::from_shared(exchange.url())
        .expect("a URL")
        .connect()
        .await
        .expect("the exchange listens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load_lose_and_double_nothing() {
    let rounds = setting("OPTIVEX_CRASH_ROUNDS").unwrap_or(5);
    let seed = setting("OPTIVEX_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    // Past the test runner, which keeps it to itself until the test fails.
    writeln!(std::io::stderr(), "\n{rounds} kills, OPTIVEX_CRASH_SEED={seed}").expect("standard error is open");
    let mut rng = Rng::with_seed(seed);

    let mut exchange = Exchange::start();
    create_instruments(&connect(&exchange).await).await;
    let mut ledger = Ledger::new(&TRADERS, &SYMBOLS);
    for round in 1..=rounds {
        let channel = connect(&exchange).await;
        let mut sessions = Vec::new();
        for name in TRADERS {
            sessions.push(Session::login(&channel, name).await);
        }
        let live = ledger.follow(&sessions).await;
        let answers = Arc::new(Answers::default());
        let mut workers = Vec::new();
        for (index, name) in TRADERS.into_iter().enumerate() {
            for lane in 0..4 {
                // Connections of their own: a kill finds them in different states.
                let session = Session::login(&connect(&exchange).await, name).await;
                let worker = Worker::new(session, &format!("{round}-{lane}"), rng.fork(), Arc::clone(&answers));
                let unary = lane % 2 == 0;
                workers.push((
                    index,
                    tokio::spawn(async move {
                        if unary {
                            worker.unary().await
                        } else {
                            worker.stream().await
                        }
                    }),
                ));
            }
        }
        answers.reach(rng.u64(1..3_000)).await;
        // Anywhere in a batch, not just after an answer.
        for _ in 0..rng.u64(..5_000) {
            tokio::task::yield_now().await;
        }
        let exchange = &mut exchange;
        tokio::task::block_in_place(|| {
            exchange.child.kill().expect("the exchange runs");
            exchange.child.wait().expect("the exchange ends");
        });
        let mut records = vec![Vec::new(); TRADERS.len()];
        for (index, worker) in workers {
            records[index].extend(worker.await.expect("a worker does not panic"));
        }
        ledger.hear(live).await;

        let home = exchange.home.path();
        (exchange.child, exchange.address) = tokio::task::block_in_place(|| exchange::spawn(home));
        let channel = connect(exchange).await;
        let mut sessions = Vec::new();
        for name in TRADERS {
            sessions.push(Session::login(&channel, name).await);
        }
        ledger.check(&mut sessions, &records).await;
        writeln!(std::io::stderr(), "kill {round}: {}", ledger.said(&records)).expect("standard error is open");
        // The next round starts with empty books.
        for session in &mut sessions {
            session
                .execution
                .cancel_all_orders(session.with(CancelAllOrdersRequest::default()))
                .await
                .expect("can cancel");
        }
    }
    let channel = connect(&exchange).await;
    let mut sessions = Vec::new();
    for name in TRADERS {
        sessions.push(Session::login(&channel, name).await);
    }
    ledger.check_from_the_beginning(&mut sessions).await;
}

async fn create_instruments(channel: &Channel) {
    let admin = Session::login(channel, "admin").await;
    let mut service = AdminServiceClient::new(channel.clone());
    for symbol in SYMBOLS {
        let create = CreateInstrumentRequest {
            symbol: symbol.to_owned(),
            currency: "EUR".to_owned(),
            multiplier: 3,
            tick_size_e4: 100,
            ..CreateInstrumentRequest::default()
        };
        service.create_instrument(admin.with(create)).await.expect("can create");
    }
}
