//! The client: pairs of users, one who sells and one who buys, each on a connection of its own. The
//! same code talks to the exchange and to the echo.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{InsertOrderResponse, OrderEntryRequest, OrderEntryResponse, Side};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::order::{Made, Maker, Placed};
use crate::client::{Refusal, Session, chain};
use crate::verdict::{Stop, Verdict};

const INSERT: &str = "/optivex.v1.ExecutionService/InsertOrder";
const ORDER_ENTRY: &str = "/optivex.v1.ExecutionService/OrderEntry";
/// Orders of a pair in flight at most, whatever is due: servers that guard themselves against floods of small frames
/// (hyper's allows some thousand that it has not read yet) end the connection of a client that sends on while a busy
/// machine does not let them run.
const IN_FLIGHT_MAX: usize = 1_000;
/// Latencies up to so much are told apart.
const LATENCY_MAX: Duration = Duration::from_secs(3_600);

/// How orders are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Calls,
    Stream,
}

/// What a round came to.
#[derive(Debug)]
pub(super) struct Round {
    /// In nanoseconds, from when an order was due to when its answer came.
    pub(super) latencies: Histogram<u64>,
    /// From the first order to the last answer.
    pub(super) took: Duration,
}

impl Round {
    pub(super) fn new() -> Verdict<Self> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3)
            .map_err(|error| Stop::trouble(format!("a histogram: {error}")))?;
        Ok(Self {
            latencies,
            took: Duration::ZERO,
        })
    }

    fn came(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(nanoseconds.max(1));
    }

    /// Both, as if they were one.
    pub(super) fn add(&mut self, other: &Round) -> Verdict {
        self.latencies
            .add(&other.latencies)
            .map_err(|error| Stop::trouble(format!("a histogram: {error}")))
    }
}

/// When a closed loop sends no more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Sent(u64),
    Over(Instant),
}

/// One user: the orders that were acknowledged, and where they went.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) session: Session,
    pub(super) placed: Vec<Placed>,
    client: ExecutionServiceClient<Channel>,
    symbol: String,
    maker: Maker,
}

/// An answer, or none.
struct Came {
    lane: usize,
    made: Made,
    due: Instant,
    at: Instant,
    /// On a stream.
    request_id: Option<u64>,
    answer: Answer,
}

/// As it came: told as such if it is wrong.
enum Answer {
    Call(Box<InsertOrderResponse>),
    Stream(Box<OrderEntryResponse>),
    Refused(Status),
    Ended,
    Silence,
}

/// Orders on their way.
enum Flight {
    Calls(JoinSet<Came>),
    Streams(Box<[Wire; 2]>),
}

/// A seller and a buyer.
pub(super) struct Pair {
    pub(super) lanes: [Lane; 2],
    flight: Flight,
    in_flight: usize,
    sent: u64,
    patience: Duration,
}

impl Pair {
    pub(super) fn new(sessions: [Session; 2], symbol: &str, way: Way) -> Self {
        let patience = sessions[0].patience();
        let mut sides = [Side::Sell, Side::Buy].into_iter();
        let lanes = sessions.map(|session| Lane {
            client: ExecutionServiceClient::new(session.channel()),
            session,
            placed: Vec::new(),
            symbol: symbol.to_owned(),
            maker: Maker::new(sides.next().unwrap_or(Side::Buy)),
        });
        let flight = match way {
            Way::Calls => Flight::Calls(JoinSet::new()),
            Way::Stream => Flight::Streams(Box::new([Wire::open(&lanes[0]), Wire::open(&lanes[1])])),
        };
        Self {
            lanes,
            flight,
            in_flight: 0,
            sent: 0,
            patience,
        }
    }

    /// Keeps so many in flight until it is over; then waits for the last answer.
    pub(super) async fn closed(&mut self, window: usize, until: Until) -> Verdict<Round> {
        let mut round = Round::new()?;
        let mut sent = 0;
        loop {
            while self.in_flight < window {
                let now = Instant::now();
                let over = match until {
                    Until::Sent(orders) => sent == orders,
                    Until::Over(end) => now >= end,
                };
                if over {
                    break;
                }
                self.send(now);
                sent += 1;
            }
            if self.in_flight == 0 {
                return Ok(round);
            }
            self.receive(&mut round).await?;
        }
    }

    /// Sends one whenever one is due, as long as fewer than [`IN_FLIGHT_MAX`] are in flight; then waits for the last
    /// answer. One that has to wait is late from when it was due.
    pub(super) async fn open(&mut self, mut due: UnboundedReceiver<Instant>) -> Verdict<Round> {
        let mut round = Round::new()?;
        let mut more = true;
        while more || self.in_flight > 0 {
            tokio::select! {
                biased;
                next = due.recv(), if more && self.in_flight < IN_FLIGHT_MAX => match next {
                    Some(due) => self.send(due),
                    None => more = false,
                },
                received = self.receive(&mut round), if self.in_flight > 0 => received?,
            }
        }
        Ok(round)
    }

    /// The users take turns: the book stays small, however fast either side is.
    fn send(&mut self, due: Instant) {
        let number = (self.sent % 2) as usize;
        self.sent += 1;
        self.in_flight += 1;
        let lane = &mut self.lanes[number];
        let made = lane.maker.make();
        let order = made.request(&lane.symbol);
        match &mut self.flight {
            Flight::Streams(wires) => wires[number].send(made, due, order),
            Flight::Calls(calls) => {
                let mut client = lane.client.clone();
                let request = lane.session.request(order);
                let patience = self.patience;
                calls.spawn(async move {
                    let answer = match tokio::time::timeout(patience, client.insert_order(request)).await {
                        Ok(Ok(answer)) => Answer::Call(Box::new(answer.into_inner())),
                        Ok(Err(status)) => Answer::Refused(status),
                        Err(_) => Answer::Silence,
                    };
                    Came {
                        lane: number,
                        made,
                        due,
                        at: Instant::now(),
                        request_id: None,
                        answer,
                    }
                });
            }
        }
    }

    /// The next answer. May be dropped: then nothing was taken.
    async fn receive(&mut self, round: &mut Round) -> Verdict {
        let came = match &mut self.flight {
            Flight::Calls(calls) => match calls.join_next().await {
                Some(Ok(came)) => came,
                Some(Err(error)) => return Err(Stop::trouble(format!("a call of the load broke: {error}"))),
                None => return Err(Stop::trouble("the load lost count of its calls")),
            },
            Flight::Streams(wires) => {
                let [sells, buys] = &mut **wires;
                tokio::select! {
                    came = sells.next(0, self.patience) => came,
                    came = buys.next(1, self.patience) => came,
                }
            }
        };
        self.in_flight -= 1;
        let lane = &mut self.lanes[came.lane];
        let placed = lane.take(&came)?;
        lane.placed.push(placed);
        round.came(came.at.saturating_duration_since(came.due));
        Ok(())
    }

    /// Says that nothing more comes: streams end with OK, and tell nothing that nobody asked for.
    pub(super) async fn finish(&mut self) -> Verdict {
        if let Flight::Streams(wires) = &mut self.flight {
            for (wire, lane) in wires.iter_mut().zip(&self.lanes) {
                wire.finish(lane, self.patience).await?;
            }
        }
        Ok(())
    }
}

impl Lane {
    /// The side that the user stands on.
    pub(super) fn side(&self) -> Side {
        self.maker.side()
    }

    /// The order as acknowledged; anything else is a failure that shows the order and its answer.
    fn take(&self, came: &Came) -> Verdict<Placed> {
        let (told, expected) = match self.judge(came) {
            Ok(placed) => return Ok(placed),
            Err(wrong) => wrong,
        };
        let request = came.made.request(&self.symbol);
        let at = match came.request_id {
            Some(request_id) => {
                let at = self.session.note(ORDER_ENTRY);
                at.sent(&command(request_id, request));
                at
            }
            None => {
                let at = self.session.note(INSERT);
                at.sent(&request);
                at
            }
        };
        match &came.answer {
            Answer::Call(reply) => at.came(&**reply),
            Answer::Stream(reply) => at.came(&**reply),
            Answer::Refused(status) => drop(at.refused(status)),
            Answer::Ended | Answer::Silence => at.came_other(format!("({told})")),
        }
        Err(at.fail(told, expected))
    }

    /// The order as acknowledged; or what came, and what was expected.
    fn judge(&self, came: &Came) -> Result<Placed, (String, String)> {
        let (told, expected) = match &came.answer {
            Answer::Call(reply) => return came.made.judge(reply),
            Answer::Stream(reply) if Some(reply.request_id) != came.request_id => (
                format!("request_id is {}", reply.request_id),
                "commands to be answered in the order sent, each once",
            ),
            Answer::Stream(reply) => match &reply.result {
                Some(Outcome::Insert(insert)) => return came.made.judge(insert),
                _ => ("another result".to_owned(), "result insert"),
            },
            Answer::Refused(status) => (Refusal::of(status).to_string(), "the order to be taken"),
            Answer::Ended => ("the stream ended with OK".to_owned(), "an answer to each command"),
            Answer::Silence => (
                format!("no answer within {} s", self.session.patience().as_secs()),
                "an answer to each command",
            ),
        };
        Err((told, expected.to_owned()))
    }
}

fn command(request_id: u64, order: optivex_proto::v1::InsertOrderRequest) -> OrderEntryRequest {
    OrderEntryRequest {
        request_id,
        command: Some(Command::Insert(order)),
    }
}

/// A command stream, and what was sent on it and not answered yet.
struct Wire {
    sender: Option<UnboundedSender<OrderEntryRequest>>,
    answers: Answers,
    waiting: VecDeque<(u64, Made, Instant)>,
    request_id: u64,
}

enum Answers {
    /// Some servers answer nothing before their first message.
    Opening(JoinHandle<Result<Streaming<OrderEntryResponse>, Status>>),
    Open(Box<Streaming<OrderEntryResponse>>),
}

impl Wire {
    fn open(lane: &Lane) -> Self {
        let (sender, receiver) = unbounded_channel();
        let request = lane.session.request(UnboundedReceiverStream::new(receiver));
        let mut client = lane.client.clone();
        let opening = tokio::spawn(async move { Ok(client.order_entry(request).await?.into_inner()) });
        Self {
            sender: Some(sender),
            answers: Answers::Opening(opening),
            waiting: VecDeque::new(),
            request_id: 0,
        }
    }

    fn send(&mut self, made: Made, due: Instant, order: optivex_proto::v1::InsertOrderRequest) {
        self.request_id += 1;
        self.waiting.push_back((self.request_id, made, due));
        if let Some(sender) = &self.sender {
            // A stream that is closed says so when it is read.
            let _ = sender.send(command(self.request_id, order));
        }
    }

    /// The answer to what was sent first; for ever if nothing was.
    async fn next(&mut self, lane: usize, patience: Duration) -> Came {
        let Some((request_id, made, due)) = self.waiting.front().copied() else {
            return std::future::pending().await;
        };
        let answer = match tokio::time::timeout_at((due + patience).into(), self.read()).await {
            Ok(Ok(Some(reply))) => Answer::Stream(Box::new(reply)),
            Ok(Ok(None)) => Answer::Ended,
            Ok(Err(status)) => Answer::Refused(status),
            Err(_) => Answer::Silence,
        };
        self.waiting.pop_front();
        Came {
            lane,
            made,
            due,
            at: Instant::now(),
            request_id: Some(request_id),
            answer,
        }
    }

    async fn read(&mut self) -> Result<Option<OrderEntryResponse>, Status> {
        loop {
            match &mut self.answers {
                Answers::Open(stream) => return stream.message().await,
                Answers::Opening(opening) => {
                    let opened = opening.await.map_err(|error| Status::internal(chain(&error)))?;
                    self.answers = Answers::Open(Box::new(opened?));
                }
            }
        }
    }

    async fn finish(&mut self, lane: &Lane, patience: Duration) -> Verdict {
        self.sender = None;
        let expected = "the end of the stream with OK: every command was answered once";
        let read = tokio::time::timeout(patience, self.read()).await;
        let at = lane.session.note(ORDER_ENTRY);
        match read {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(more))) => {
                at.came(&more);
                Err(at.fail("one more answer after the half-close", expected))
            }
            Ok(Err(status)) => {
                let refusal = at.refused(&status);
                Err(at.fail(format!("the stream ended: {refusal}"), expected))
            }
            Err(_) => Err(at.fail(
                format!("the stream did not end within {} s", patience.as_secs()),
                expected,
            )),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Answers::Opening(opening) = &self.answers {
            opening.abort();
        }
    }
}
