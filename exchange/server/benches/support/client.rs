//! Clients that keep a server busy over `OrderEntry`, and count what it answers.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use hdrhistogram::Histogram;
use optivex_proto::v1;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use tonic::Request;

use super::flow::Flow;
use super::process::Server;
use super::{PATIENCE, Result};

/// Commands that one stream has in flight.
pub const IN_FLIGHT: u64 = 4_096;
/// Orders near the market that each user starts with: others trade with them.
const NEAR_AT_FIRST: u64 = 2_000;
/// Answers after which the sender hears of the room that they made.
const TOLD_AT_A_TIME: u64 = 128;

/// A token of a session.
#[derive(Clone)]
pub struct Token(pub String);

impl Token {
    /// A request that bears it.
    pub fn with<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(value) = format!("Bearer {}", self.0).parse() {
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
}

/// Which commands a client sends when.
#[derive(Clone, Copy)]
pub enum Pace {
    /// As many as may be in flight.
    Closed,
    /// One every so many nanoseconds, whatever the server does; latency counts from when a command was
    /// due, so that a server that stalls does not also stall the measurement.
    Open { interval_ns: u64 },
    /// As many as [`Load::give`] lets go.
    Given,
}

/// Streams that are being served, and what they count.
pub struct Load {
    links: Vec<Arc<Link>>,
    tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
    stop: Arc<AtomicBool>,
    events: Arc<EventTimes>,
}

/// When which event was answered.
#[derive(Default)]
pub struct EventTimes(Mutex<Vec<(u64, Instant)>>);

impl EventTimes {
    fn answered(&self, event_seq: u64) {
        let mut times = self.times();
        // Of several streams, the one that is ahead tells the time.
        if times.last().is_none_or(|(last, _)| *last < event_seq) {
            times.push((event_seq, Instant::now()));
        }
    }

    fn times(&self) -> MutexGuard<'_, Vec<(u64, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When an event was answered, or one soon after it; none if that is still to come.
    pub fn of(&self, event_seq: u64) -> Option<Instant> {
        let times = self.times();
        let index = times.partition_point(|(seq, _)| *seq < event_seq);
        times.get(index).map(|(_, time)| *time)
    }
}

/// Between the two directions of one stream.
struct Link {
    /// Commands answered.
    answered: AtomicU64,
    /// Commands sent.
    sent: AtomicU64,
    /// When the first command of an open loop is due.
    epoch: OnceLock<Instant>,
    shared: Mutex<Shared>,
    latency: Mutex<Histogram<u64>>,
}

#[derive(Default)]
struct Shared {
    /// Commands that may be sent.
    room: u64,
    /// Orders that rest since the sender last looked.
    resting: Vec<u64>,
    waker: Option<Waker>,
    is_stopping: bool,
}

impl Link {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, room: u64, resting: &mut Vec<u64>) {
        let mut shared = self.shared();
        shared.room += room;
        shared.resting.append(resting);
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn stop(&self) {
        let mut shared = self.shared();
        shared.is_stopping = true;
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The requests of one stream.
struct Commands {
    link: Arc<Link>,
    flow: Flow,
    room: u64,
    number: u64,
    resting: Vec<u64>,
    /// The first commands insert so many orders near the market, and so many away from it that stay.
    near: u64,
    stay: u64,
}

impl Stream for Commands {
    type Item = v1::OrderEntryRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.room == 0 {
            let mut shared = this.link.shared();
            if shared.is_stopping {
                return Poll::Ready(None);
            }
            this.room = std::mem::take(&mut shared.room);
            std::mem::swap(&mut this.resting, &mut shared.resting);
            if this.room == 0 {
                shared.waker = Some(cx.waker().clone());
            }
            drop(shared);
            this.flow.rests(&mut this.resting);
            this.link.sent.store(this.number, Ordering::Relaxed);
            if this.room == 0 {
                return Poll::Pending;
            }
        }
        this.room -= 1;
        let number = this.number;
        this.number += 1;
        let at_first = match number {
            n if n < this.near => this.flow.near(),
            n if n < this.near + this.stay => this.flow.away(),
            _ => return Poll::Ready(Some(this.flow.next(number))),
        };
        Poll::Ready(Some(v1::OrderEntryRequest {
            request_id: number,
            command: Some(at_first),
        }))
    }
}

/// What a load looks like.
#[derive(Clone)]
pub struct Shape {
    pub connections: usize,
    /// On each connection; each stream is another user's.
    pub streams: usize,
    pub instruments: usize,
    /// Commands that one stream has in flight.
    pub in_flight: u64,
    /// Orders that rest from the beginning, over all users.
    pub resting: u64,
    /// Whether orders trade.
    pub trades: bool,
    pub pace: Pace,
}

impl Shape {
    pub fn closed(connections: usize) -> Self {
        Self {
            connections,
            streams: 2,
            instruments: 1,
            in_flight: IN_FLIGHT,
            resting: 0,
            trades: true,
            pace: Pace::Closed,
        }
    }
}

impl Load {
    /// Opens the streams; commands flow from now on.
    pub async fn start(server: &Server, shape: &Shape) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let events = Arc::new(EventTimes::default());
        let mut links = Vec::new();
        let mut tasks = Vec::new();
        for connection in 0..shape.connections {
            let channel = server.connect().await?;
            for stream in 0..shape.streams {
                let user = connection * shape.streams + stream;
                let token = server.login(&channel, &format!("user{user}")).await?;
                let near = match shape.pace {
                    Pace::Closed => NEAR_AT_FIRST.min(shape.in_flight),
                    Pace::Open { .. } | Pace::Given => 0,
                };
                let link = Arc::new(Link {
                    answered: AtomicU64::new(0),
                    sent: AtomicU64::new(0),
                    epoch: OnceLock::new(),
                    shared: Mutex::new(Shared {
                        room: match shape.pace {
                            Pace::Closed => shape.in_flight,
                            Pace::Open { .. } | Pace::Given => 0,
                        },
                        ..Shared::default()
                    }),
                    latency: Mutex::new(Histogram::new_with_bounds(1, 60_000_000_000, 3)?),
                });
                let commands = Commands {
                    link: link.clone(),
                    flow: Flow::new(user, 0..shape.instruments, shape.trades),
                    room: 0,
                    number: 0,
                    resting: Vec::new(),
                    near,
                    stay: shape.resting / (shape.connections * shape.streams) as u64,
                };
                let pace = shape.pace;
                let reader = link.clone();
                let events = events.clone();
                let channel = channel.clone();
                links.push(link);
                tasks.push(tokio::spawn(async move {
                    let mut client = ExecutionServiceClient::new(channel);
                    let answers = client.order_entry(token.with(commands)).await?.into_inner();
                    read(answers, &reader, pace, &events).await
                }));
            }
        }
        if let Pace::Open { interval_ns } = shape.pace {
            let (links, stop) = (links.clone(), stop.clone());
            std::thread::spawn(move || keep_pace(&links, interval_ns, &stop));
        }
        Ok(Self {
            links,
            tasks,
            stop,
            events,
        })
    }

    /// Lets so many more commands go on each stream.
    pub fn give(&self, room: u64) {
        for link in &self.links {
            link.give(room, &mut Vec::new());
        }
    }

    /// When which event was answered.
    pub fn events(&self) -> Arc<EventTimes> {
        self.events.clone()
    }

    /// When command `number` of the first stream was due.
    pub fn due(&self, number: u64, interval_ns: u64) -> Option<Instant> {
        let epoch = self.links.first()?.epoch.get()?;
        Some(*epoch + Duration::from_nanos(number * interval_ns))
    }

    /// Waits for so many answers.
    pub async fn reached(&self, answers: u64) -> Result<()> {
        let begun = Instant::now();
        while self.answered() < answers {
            if begun.elapsed() > PATIENCE {
                return Err(format!("only {} answers of {answers}", self.answered()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.links
            .iter()
            .map(|link| link.answered.load(Ordering::Relaxed))
            .sum()
    }

    /// Answers per second over a while, after another while.
    pub async fn rate(&self, warm_up: Duration, measured: Duration) -> Result<f64> {
        tokio::time::sleep(warm_up).await;
        let (begun, before) = (Instant::now(), self.answered());
        tokio::time::sleep(measured).await;
        let rate = (self.answered() - before) as f64 / begun.elapsed().as_secs_f64();
        if self.tasks.iter().any(tokio::task::JoinHandle::is_finished) {
            return Err("a stream ended while it was measured".into());
        }
        Ok(rate)
    }

    /// Begins to count latency anew.
    pub fn reset_latency(&self) {
        for link in &self.links {
            link.latency.lock().unwrap_or_else(PoisonError::into_inner).reset();
        }
    }

    /// Latency of all streams, in nanoseconds.
    pub fn latency(&self) -> Result<Histogram<u64>> {
        let mut all = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        for link in &self.links {
            all.add(&*link.latency.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        Ok(all)
    }

    /// Sends no more, and waits for every answer.
    pub async fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for link in &self.links {
            link.stop();
        }
        for task in self.tasks {
            tokio::time::timeout(PATIENCE, task).await???;
        }
        for link in &self.links {
            let (sent, answered) = (link.sent.load(Ordering::Relaxed), link.answered.load(Ordering::Relaxed));
            if answered < sent {
                return Err(format!("{sent} commands were sent, {answered} answered").into());
            }
        }
        Ok(())
    }
}

async fn read(
    mut answers: tonic::Streaming<v1::OrderEntryResponse>,
    link: &Link,
    pace: Pace,
    events: &EventTimes,
) -> Result<()> {
    let mut resting = Vec::new();
    let (mut answered, mut untold) = (0, 0);
    loop {
        let next = match futures_util::poll!(answers.next()) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                link.answered.store(answered, Ordering::Relaxed);
                tell(link, &mut untold, &mut resting, pace);
                answers.next().await
            }
        };
        let Some(response) = next else {
            link.answered.store(answered, Ordering::Relaxed);
            return Ok(());
        };
        let response = response?;
        let number = Flow::answered(&response, &mut resting)?;
        if number != answered {
            return Err(format!("answer {answered} is for request {number}").into());
        }
        answered += 1;
        untold += 1;
        if let Pace::Open { interval_ns } = pace {
            let since = link.epoch.get().map_or(Duration::ZERO, Instant::elapsed);
            let latency = since.saturating_sub(Duration::from_nanos(number * interval_ns));
            let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
            let mut histogram = link.latency.lock().unwrap_or_else(PoisonError::into_inner);
            histogram.saturating_record(nanoseconds.max(1));
        }
        if untold >= TOLD_AT_A_TIME {
            events.answered(event_seq(&response));
            link.answered.store(answered, Ordering::Relaxed);
            tell(link, &mut untold, &mut resting, pace);
        }
    }
}

/// Event of an accepted command.
pub fn event_seq(response: &v1::OrderEntryResponse) -> u64 {
    use v1::order_entry_response::Result as Outcome;
    match &response.result {
        Some(Outcome::Insert(insert)) => insert.event_seq,
        Some(Outcome::Cancel(cancel)) => cancel.event_seq,
        _ => 0,
    }
}

fn tell(link: &Link, untold: &mut u64, resting: &mut Vec<u64>, pace: Pace) {
    let room = match pace {
        Pace::Closed => std::mem::take(untold),
        // The clock gives it, or the measurement.
        Pace::Open { .. } | Pace::Given => {
            *untold = 0;
            0
        }
    };
    if room > 0 || !resting.is_empty() {
        link.give(room, resting);
    }
}

/// Lets commands go when they are due. A thread: the timers of a runtime are too coarse.
fn keep_pace(links: &[Arc<Link>], interval_ns: u64, stop: &AtomicBool) {
    let begun = Instant::now();
    let mut given = vec![0; links.len()];
    // One after another, not all at the same moment.
    let epochs: Vec<Instant> = (0..links.len() as u64)
        .map(|index| begun + Duration::from_nanos(index * interval_ns / links.len() as u64))
        .collect();
    for (link, epoch) in links.iter().zip(&epochs) {
        // Set once, here.
        let _ = link.epoch.set(*epoch);
    }
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        for ((link, epoch), given) in links.iter().zip(&epochs).zip(&mut given) {
            let Some(since) = now.checked_duration_since(*epoch) else {
                continue;
            };
            let due = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) / interval_ns + 1;
            if due > *given {
                link.give(due - *given, &mut Vec::new());
                *given = due;
            }
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}
