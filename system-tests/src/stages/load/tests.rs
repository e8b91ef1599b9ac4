//! The client of the load against servers that are wrong on purpose: each is caught, and told as what
//! it is; and against one that is slow on purpose, which must not slow the open loop down.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{
    CommandError, Fill, InsertOrderRequest, InsertOrderResponse, OrderEntryRequest, OrderEntryResponse, OrderStatus,
    Side,
};
use tokio::sync::Barrier;
use tonic::{Status, Streaming};

use super::desk::Desk;
use super::echo::{Answers, Echo, Inserts, acknowledge, only_inserts};
use super::lane::{Pair, Round, Until, Way};
use super::order::Maker;
use crate::client::Session;
use crate::record::Log;
use crate::verdict::{Stop, Verdict};

/// Orders before something goes wrong: the first ones open streams.
const GOOD: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Refuses,
    NeverAnswers,
    LosesLots,
    FillsFarAway,
    /// On streams only.
    Twice,
    Swaps,
    EndsEarly,
    CommandError,
    OneMoreAtTheEnd,
}

struct Fake {
    fault: Fault,
    orders: Arc<AtomicU64>,
    /// Nobody is answered before so many asked.
    together: Arc<Barrier>,
}

impl Fake {
    fn new(fault: Fault, together: usize) -> Self {
        Self {
            fault,
            orders: Arc::default(),
            together: Arc::new(Barrier::new(together)),
        }
    }
}

async fn insert(fault: Fault, orders: &AtomicU64, order: &InsertOrderRequest) -> Result<InsertOrderResponse, Status> {
    let mut reply = acknowledge(orders, order);
    if reply.order_id > GOOD {
        match fault {
            Fault::Refuses => return Err(Status::unavailable("gone fishing")),
            Fault::NeverAnswers => std::future::pending().await,
            Fault::LosesLots => reply.open_quantity -= 1,
            Fault::FillsFarAway => {
                reply.open_quantity -= 1;
                reply.filled_quantity = 1;
                if reply.open_quantity == 0 {
                    reply.set_status(OrderStatus::Filled);
                }
                reply.fills.push(Fill {
                    trade_id: 1,
                    price_e4: if order.side() == Side::Sell { 1 } else { 99_999 },
                    quantity: 1,
                });
            }
            _ => {}
        }
    }
    Ok(reply)
}

async fn answers(
    fault: Fault,
    orders: &AtomicU64,
    request: OrderEntryRequest,
) -> Vec<Result<OrderEntryResponse, Status>> {
    let Some(Command::Insert(order)) = &request.command else {
        return vec![Err(only_inserts())];
    };
    let reply = match insert(fault, orders, order).await {
        Ok(reply) => reply,
        Err(status) => return vec![Err(status)],
    };
    let late = reply.order_id > GOOD;
    let mut answer = OrderEntryResponse {
        request_id: request.request_id,
        result: Some(Outcome::Insert(reply)),
    };
    match fault {
        Fault::Twice if late => vec![Ok(answer.clone()), Ok(answer)],
        Fault::Swaps if late => {
            answer.request_id += 1;
            vec![Ok(answer)]
        }
        Fault::CommandError if late => {
            answer.result = Some(Outcome::Error(CommandError::default()));
            vec![Ok(answer)]
        }
        _ => vec![Ok(answer)],
    }
}

impl Inserts for Fake {
    async fn insert(&self, order: &InsertOrderRequest) -> Result<InsertOrderResponse, Status> {
        self.together.wait().await;
        insert(self.fault, &self.orders, order).await
    }

    fn entry(&self, requests: Streaming<OrderEntryRequest>) -> Answers<OrderEntryResponse> {
        let (fault, orders) = (self.fault, Arc::clone(&self.orders));
        let all = requests.then(move |request| {
            let orders = Arc::clone(&orders);
            async move {
                match request {
                    Ok(request) => answers(fault, &orders, request).await,
                    Err(status) => vec![Err(status)],
                }
            }
        });
        let all = all.flat_map(stream::iter);
        match fault {
            Fault::EndsEarly => Box::pin(all.take(GOOD as usize)),
            Fault::OneMoreAtTheEnd => Box::pin(all.chain(stream::iter([Ok(OrderEntryResponse::default())]))),
            _ => Box::pin(all),
        }
    }
}

/// Two pairs at this server.
async fn desk(server: &Echo, way: Way, patience: Duration) -> Verdict<Desk> {
    let mut desk = Desk::new(false);
    for _ in 0..2 {
        let log = Log::default();
        let session = || Session::connect(&server.url, "somebody", &log, patience);
        desk.pairs
            .push(Pair::new([session().await?, session().await?], "ACME", way));
    }
    Ok(desk)
}

async fn closed_then_open(fault: Fault, way: Way, patience: Duration) -> Verdict<Round> {
    let server = Echo::serve(Fake::new(fault, 1))?;
    let mut desk = desk(&server, way, patience).await?;
    let mut sum = desk.closed(4, Until::Sent(30)).await?;
    sum.add(&desk.open(10_000.0, 50).await?)?;
    desk.finish().await?;
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_a_sound_server_is_answered_and_measured_once() {
    for way in [Way::Calls, Way::Stream] {
        let round = closed_then_open(Fault::None, way, Duration::from_secs(30)).await;
        assert_eq!(round.expect("a sound server").latencies.len(), 2 * 30 + 50, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_server_is_caught() {
    use Way::{Calls, Stream};
    let long = Duration::from_secs(30);
    let cases = [
        (
            Fault::Refuses,
            Calls,
            long,
            "the status is Unavailable: gone fishing; expected: the order to be taken",
        ),
        (
            Fault::Refuses,
            Stream,
            long,
            "the status is Unavailable: gone fishing; expected: the order to be taken",
        ),
        (
            Fault::NeverAnswers,
            Calls,
            Duration::from_secs(1),
            "no answer within 1 s; expected: an answer to each command",
        ),
        (
            Fault::NeverAnswers,
            Stream,
            Duration::from_secs(1),
            "no answer within 1 s; expected: an answer to each command",
        ),
        (Fault::LosesLots, Calls, long, "what did not trade of the "),
        (Fault::LosesLots, Stream, long, "what did not trade of the "),
        (Fault::FillsFarAway, Calls, long, " or better"),
        (Fault::FillsFarAway, Stream, long, " or better"),
        (
            Fault::Twice,
            Stream,
            long,
            "expected: commands to be answered in the order sent, each once",
        ),
        (
            Fault::Swaps,
            Stream,
            long,
            "expected: commands to be answered in the order sent, each once",
        ),
        (
            Fault::EndsEarly,
            Stream,
            long,
            "the stream ended with OK; expected: an answer to each command",
        ),
        (
            Fault::CommandError,
            Stream,
            long,
            "another result; expected: result insert",
        ),
        (
            Fault::OneMoreAtTheEnd,
            Stream,
            long,
            "one more answer after the half-close; expected: the end",
        ),
    ];
    for (fault, way, patience, told) in cases {
        match closed_then_open(fault, way, patience).await {
            Err(Stop::Failed(failure)) if failure.to_string().contains(told) => {}
            other => panic!(
                "{fault:?} {way:?}: {:?}, not {told:?}",
                other.map(|round| round.latencies.len())
            ),
        }
    }
}

/// A closed loop would wait for ever here; an open loop sends on, and the wait counts for every order
/// from when it was due: the first one waited for the last one.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_delays_no_order_and_hides_no_wait() {
    const ORDERS: u64 = 50;
    const PER_SECOND: f64 = 1_000.0;
    let server = Echo::serve(Fake::new(Fault::None, ORDERS as usize)).expect("an echo");
    let mut desk = desk(&server, Way::Calls, Duration::from_secs(30))
        .await
        .expect("it serves");
    let round = desk.open(PER_SECOND, ORDERS).await.expect("all answered");
    assert_eq!(round.latencies.len(), ORDERS);
    // Not how fast it was: the clock that says when the last order is due cannot run faster.
    let last_due = Duration::from_secs_f64((ORDERS - 1) as f64 / PER_SECOND);
    // The histogram keeps three digits.
    assert!(round.latencies.max() as f64 >= last_due.as_nanos() as f64 * 0.998);
}

/// What the audit rests on: each sell reaches each buy, except those that nobody reaches; and both
/// sides send the same lots.
#[test]
fn orders_cross_all_or_none() {
    let of = |side| {
        let mut maker = Maker::new(side);
        (0..10_000).map(|_| maker.make()).collect::<Vec<_>>()
    };
    let (sells, buys) = (of(Side::Sell), of(Side::Buy));
    for far in [false, true] {
        let prices = |orders: &[super::order::Made]| -> Vec<i64> {
            orders
                .iter()
                .filter(|made| made.far == far)
                .map(|made| made.price_e4)
                .collect()
        };
        let (sells, buys) = (prices(&sells), prices(&buys));
        let best = |prices: &[i64], best: fn(i64, i64) -> i64| prices.iter().copied().reduce(best).expect("some");
        if far {
            assert!(sells.len() == 200 && best(&sells, i64::min) > best(&buys, i64::max) + 5_000);
        } else {
            assert!(best(&sells, i64::max) < best(&buys, i64::min));
        }
    }
    let lots = |orders: &[super::order::Made]| orders.iter().map(|made| made.quantity).collect::<Vec<_>>();
    assert_eq!(lots(&sells), lots(&buys));
}
