//! The one writer: takes commands in one order, gives them their time and number, and releases their
//! answers when they are durable.
//!
//! Four threads. `sequencer` owns the engine: it drains the input channel, applies, and hands what it
//! applied to `journal`, which makes everything durable that arrived while its last sync ran, shows
//! the events to the sinks and then answers, all in the order of the sequencer's turns. `snapshot`
//! stores snapshots. `watchdog` says when the disk does not answer at all. The engine runs ahead of the
//! disk, but not without bounds: see [`Options`]. Nor where it gains nothing: a few commands that come
//! while a sync runs wait for its end, and share a turn.

mod directory;
mod journal_thread;
mod reply;
mod sequencer_thread;
mod shared;
mod snapshot_thread;
mod telemetry;
mod used;
mod watchdog;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use optivex_engine::types::{InstrumentId, OrderId, UserId, Username};
use optivex_engine::{Command, Engine, Event, Refusal};
use optivex_journal::{EventSink, Events, Journal, JournalError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::error::Error;
use journal_thread::JournalThread;
use reply::Reply;
use sequencer_thread::SequencerThread;
use shared::Shared;
use snapshot_thread::SnapshotThread;
use watchdog::Watchdog;

/// Bounds and habits of the sequencer.
#[derive(Clone, Debug)]
pub struct Options {
    /// Commands and queries that wait for the sequencer's turn, and as many commands in batches; beyond,
    /// clients wait.
    pub input_max: usize,
    /// How far the engine runs ahead of the disk, in commands plus what they did (reports, trades and
    /// changed levels); beyond, the sequencer waits. The last command before that may exceed it.
    pub in_flight_max: usize,
    /// Events between two snapshots; more after one that was large, see the server's README.
    pub snapshot_every: u64,
    /// How long a single command waits for room in the input before it is `NOT_READY`.
    pub patience: Duration,
    /// First pause before a failed commit is tried again; doubles up to `retry_delay_max`.
    pub retry_delay: Duration,
    /// Longest pause before a failed commit is tried again, and between two looks at the disk's room.
    pub retry_delay_max: Duration,
    /// How long nothing that waits for the disk may move before no more commands are taken.
    pub stall_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            input_max: 16_384,
            in_flight_max: 262_144,
            snapshot_every: 1_000_000,
            patience: Duration::from_secs(2),
            retry_delay: Duration::from_millis(20),
            retry_delay_max: Duration::from_secs(1),
            stall_after: Duration::from_secs(5),
        }
    }
}

/// Stores a snapshot of the state after an event. Called on a thread of its own, once that event is
/// durable and was shown to the sinks; whoever keeps history makes it durable up to there first.
/// Gives the event up to which history is durable: the journal need keep nothing before it that the
/// snapshot makes needless ([`Journal::retain`]).
pub type StoreSnapshot = Box<dyn FnMut(u64, &[u8]) -> Result<u64, JournalError> + Send>;

/// What the sequencer works with.
pub struct Parts {
    /// The state as recovery left it.
    pub engine: Engine,
    /// Where inputs become durable.
    pub journal: Box<dyn Journal>,
    /// What follows durable events, in this order.
    pub sinks: Vec<Box<dyn EventSink>>,
    /// Where snapshots go.
    pub store_snapshot: StoreSnapshot,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// Whether the exchange takes commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Ready,
    /// Not for now: the disk is full, fails or does not answer. Queries may be answered; what waits is not
    /// lost.
    NotReady(Arc<str>),
    /// It is on its way down: no new commands, and broken streams cancel nothing.
    Stopping,
    /// A thread of the exchange died. The process must end, with failure.
    Failed(Arc<str>),
}

/// A way to the sequencer; cheap to clone.
#[derive(Clone, Debug)]
pub struct Exchange {
    shared: Arc<Shared>,
    input: mpsc::Sender<Request>,
}

/// The running threads.
#[derive(Debug)]
pub struct Running {
    exchange: Exchange,
    threads: Vec<JoinHandle<()>>,
    /// Closes when the last thread has ended.
    ended: mpsc::Receiver<()>,
}

/// What waits for the sequencer's turn.
enum Request {
    Command(Command, std::time::Instant, Reply),
    Batch(Vec<Command>, std::time::Instant, Box<dyn Hear>),
    Query(Query),
    /// The disk is well again: what was put off can be done.
    Wake,
    /// The last one: nothing is taken after it.
    Stop,
}

impl Request {
    /// What it counts of a turn.
    fn commands(&self) -> usize {
        match self {
            Self::Batch(commands, ..) => commands.len(),
            Self::Command(..) | Self::Query(_) | Self::Wake | Self::Stop => 1,
        }
    }
}

/// Reads the state, and gives what tells the answer once it may be told, or why it cannot.
type Query = Box<dyn FnOnce(&Engine, i64) -> Tell + Send>;
type Tell = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// One durable event.
#[derive(Clone, Debug)]
pub struct EventRef {
    events: Events,
    index: usize,
}

impl std::ops::Deref for EventRef {
    type Target = Event;
    fn deref(&self) -> &Event {
        &self.events[self.index]
    }
}

/// What came of a command, told when everything that it rests on is durable.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A new event.
    Event(EventRef),
    /// A retry of an insert: see [`optivex_engine::Applied::OrderRepeated`].
    OrderRepeated {
        /// The order of the first insert.
        order_id: OrderId,
        /// Event of the first insert.
        event_seq: u64,
        /// Its ACCEPTED report.
        report_seq: u64,
    },
    /// A retry of a creation.
    InstrumentRepeated {
        /// The instrument as first answered.
        instrument: Box<optivex_engine::types::Instrument>,
        /// Event of its creation.
        event_seq: u64,
    },
    /// Refused; the state that refused it ends with this event.
    Refused(Refusal, u64),
    /// Not taken, and never will be: `NOT_READY`.
    NotReady(String),
    /// Taken, but whether it will last cannot be told: `NOT_READY` with metadata "outcome" = "unknown".
    Unknown(String),
}

/// Who hears what came of a batch of commands: once for each command, in their order, on a thread of the
/// sequencer, so it must not block. Dropped before it heard of all, the outcome of the others is unknown.
pub trait Hear: Send + 'static {
    /// The next command is this event, which is durable.
    fn event(&mut self, event: &Event);
    /// What else came of the next command: never an event.
    fn other(&mut self, answer: Answer);
}

/// Most commands of one batch: larger ones share no more, and cost memory that goes from thread to thread.
pub const BATCH_MAX: usize = 64;

/// What is told of an answer that is on its way; see [`Exchange::submit_queued`].
#[derive(Debug)]
pub struct Pending<T>(oneshot::Receiver<T>);

impl<T> Pending<T> {
    /// What is told, when it may be; nothing if the thread died that was to tell it.
    pub async fn told(self) -> Option<T> {
        self.0.await.ok()
    }
}

/// Starts the threads.
pub fn start(parts: Parts, options: Options) -> std::io::Result<Running> {
    let Parts {
        engine,
        mut journal,
        sinks,
        store_snapshot,
    } = parts;
    let (input, requests) = mpsc::channel(options.input_max);
    let has_room = journal.has_room();
    let shared = Arc::new(Shared::new(options, &engine, has_room));
    let exchange = Exchange {
        shared: shared.clone(),
        input: input.clone(),
    };
    let (alive, ended) = mpsc::channel(1);
    let (snapshots, snapshot_thread) = SnapshotThread::new(shared.clone(), store_snapshot);
    let sequencer_thread = SequencerThread::new(shared.clone(), engine, requests, snapshots);
    let journal_thread = JournalThread::new(shared.clone(), journal, sinks, input.downgrade());
    let watchdog = Watchdog::new(shared.clone());
    let threads = vec![
        shared::spawn("snapshot", &shared, alive.clone(), move || snapshot_thread.run())?,
        shared::spawn("journal", &shared, alive.clone(), move || journal_thread.run())?,
        shared::spawn("sequencer", &shared, alive.clone(), move || sequencer_thread.run())?,
        shared::spawn("watchdog", &shared, alive, move || watchdog.run())?,
    ];
    Ok(Running {
        exchange,
        threads,
        ended,
    })
}

/// Why a shutdown was not clean.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// Something is still not durable; its clients were not told that it is.
    #[error("not everything in flight became durable in time")]
    Late,
    /// A thread died before.
    #[error("a thread of the exchange died: {0}")]
    Failed(Arc<str>),
}

impl Running {
    /// A way to the sequencer.
    pub fn exchange(&self) -> Exchange {
        self.exchange.clone()
    }

    /// Takes no more commands, makes everything in flight durable, answers it, stores a last snapshot
    /// and ends the threads. If that takes longer than `patience`, the threads are left to the end of
    /// the process: an error only if something is not durable and answered. A snapshot that comes too
    /// late, or history that does, costs time at the next start and nothing else.
    pub async fn shutdown(mut self, patience: Duration) -> Result<(), ShutdownError> {
        let deadline = Instant::now() + patience;
        self.exchange.begin_stop();
        let stop = self.exchange.input.send(Request::Stop);
        // A closed channel: the sequencer is gone already, and the wait below finds out why.
        let _ = tokio::time::timeout_at(deadline, stop)
            .await
            .map_err(|_| ShutdownError::Late)?;
        let ended = tokio::time::timeout_at(deadline, self.ended.recv()).await;
        if let State::Failed(why) = self.exchange.shared.state() {
            return Err(ShutdownError::Failed(why));
        }
        if ended.is_err() {
            // A closed input: the sequencer has handed over everything that was before the stop.
            if !self.exchange.input.is_closed() || !self.exchange.shared.is_idle() {
                return Err(ShutdownError::Late);
            }
            tracing::warn!("everything is durable, but the last snapshot or history is not stored in time");
            return Ok(());
        }
        for thread in self.threads {
            // They have ended, and not by a panic: that would have been `Failed`.
            let _ = thread.join();
        }
        Ok(())
    }
}

impl Exchange {
    /// Decides a command; the answer comes when it is durable. Dropping the future once the command is
    /// taken does not undo it.
    pub async fn submit(&self, command: Command) -> Answer {
        if let Some(why) = self.shared.refuses_commands() {
            return Answer::NotReady(why);
        }
        match self.permit().await {
            Ok(permit) => {
                let (reply, receiver) = Reply::channel();
                permit.send(Request::Command(command, std::time::Instant::now(), reply));
                receiver
                    .await
                    .unwrap_or_else(|_| Answer::Unknown("the exchange ended before it could tell".to_owned()))
            }
            Err(why) => Answer::NotReady(why),
        }
    }

    /// As [`Exchange::submit`] with a callback instead of a future: called in the order of submission,
    /// on a thread of the sequencer, so it must not block. Only `NotReady` overtakes: a command that is
    /// not taken is told so at once, and without room in the input from this very call.
    pub fn submit_with(&self, command: Command, answer: impl FnOnce(Answer) + Send + 'static) {
        let taken = match self.shared.refuses_commands() {
            Some(why) => Err(why),
            None => self.input.try_reserve().map_err(|_| BUSY.to_owned()),
        };
        match taken {
            Ok(permit) => {
                permit.send(Request::Command(
                    command,
                    std::time::Instant::now(),
                    Reply::callback(answer),
                ));
            }
            Err(why) => answer(Answer::NotReady(why)),
        }
    }

    /// As [`Exchange::submit`] in two steps, for streams with many commands in flight: waits for as
    /// long as it takes until the command has its place in the order, then gives what is to come.
    ///
    /// `tell` makes of the answer what is kept until somebody asks for it, on a thread of the sequencer,
    /// so it must not block. An [`EventRef`] is not to be kept: it holds the events of the whole turn.
    pub async fn submit_queued<T: Send + 'static>(
        &self,
        command: Command,
        tell: impl FnOnce(Answer) -> T + Send + 'static,
    ) -> Pending<T> {
        let (sender, receiver) = oneshot::channel();
        // A client that went away does not need its answer.
        let tell = move |answer| drop(sender.send(tell(answer)));
        match self.shared.refuses_commands() {
            Some(why) => tell(Answer::NotReady(why)),
            None => match self.input.reserve().await {
                Ok(permit) => {
                    let reply = Reply::callback(tell);
                    permit.send(Request::Command(command, std::time::Instant::now(), reply));
                }
                Err(_) => tell(Answer::NotReady(self.shared.why_gone())),
            },
        }
        Pending(receiver)
    }

    /// As [`Exchange::submit_queued`] for at most [`BATCH_MAX`] commands of one stream, which share the
    /// price of the way to the sequencer and back.
    ///
    /// # Panics
    ///
    /// With more commands.
    pub async fn submit_batch(&self, commands: Vec<Command>, mut hear: Box<dyn Hear>) {
        assert!(commands.len() <= BATCH_MAX, "a batch is bounded");
        let count = commands.len();
        let why = match self.shared.refuses_commands() {
            Some(why) => why,
            None => {
                let room = u32::try_from(count.min(self.shared.options.input_max)).unwrap_or(u32::MAX);
                // An error means that the sequencer is gone, as it does below.
                let room = self.shared.batched.acquire_many(room).await;
                match (room, self.input.reserve().await) {
                    (Ok(room), Ok(permit)) => {
                        // The sequencer gives it back when it has taken the batch.
                        room.forget();
                        permit.send(Request::Batch(commands, std::time::Instant::now(), hear));
                        return;
                    }
                    _ => self.shared.why_gone(),
                }
            }
        };
        for _ in 0..count {
            hear.other(Answer::NotReady(why.clone()));
        }
    }

    /// Cancels what a broken report stream guarded, in the exchange's own time: a disk that fails now
    /// only puts it off, before any other command. A stopping exchange cancels nothing.
    pub async fn disconnect(&self, user: UserId, after: OrderId) {
        if matches!(self.shared.state(), State::Stopping | State::Failed(_)) {
            return;
        }
        let command = Command::CancelOnDisconnect { user, after };
        // A closed channel: the exchange has ended meanwhile.
        let _ = self
            .input
            .send(Request::Command(command, std::time::Instant::now(), Reply::none()))
            .await;
    }

    /// Reads the state in the sequencer's turn; the answer comes when everything that it shows is
    /// durable. `read` gets the engine and the current time, and must be short.
    pub async fn query<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine, i64) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.permit().await.map_err(Error::not_ready)?;
        let (sender, receiver) = oneshot::channel();
        permit.send(Request::Query(Box::new(move |engine, now_unix_ns| {
            let value = read(engine, now_unix_ns);
            Box::new(move |may_tell| {
                // A client that went away does not need its answer.
                let _ = sender.send(may_tell.map(|()| value));
            })
        })));
        receiver
            .await
            .unwrap_or_else(|_| Err(Error::not_ready(self.shared.why_gone())))
    }

    /// Room in the input, waited for with patience.
    async fn permit(&self) -> Result<mpsc::Permit<'_, Request>, String> {
        if let Some(why) = self.shared.refuses_everything() {
            return Err(why);
        }
        match self.input.try_reserve() {
            Ok(permit) => Ok(permit),
            Err(mpsc::error::TrySendError::Closed(())) => Err(self.shared.why_gone()),
            Err(mpsc::error::TrySendError::Full(())) => {
                match tokio::time::timeout(self.shared.options.patience, self.input.reserve()).await {
                    Ok(Ok(permit)) => Ok(permit),
                    Ok(Err(_)) => Err(self.shared.why_gone()),
                    Err(_) => Err(BUSY.to_owned()),
                }
            }
        }
    }

    /// Makes users known, those that are not yet.
    pub async fn register_users<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<(), Error> {
        let mut pending = Vec::new();
        for name in names {
            let name = name.as_ref();
            if self.user(name).is_some() {
                continue;
            }
            let username = Username::from(name)
                .ok()
                .filter(|name| !name.is_empty())
                .ok_or_else(|| Error::invalid_field("username", "1 to 64 bytes"))?;
            let failed = |answer| match answer {
                Answer::Event(_) => None,
                other => Some(other),
            };
            let command = Command::RegisterUser { username };
            pending.push(self.submit_queued(command, failed).await);
        }
        for failed in pending {
            match failed.told().await {
                Some(None) => {}
                Some(Some(answer)) => return Err(self.error(answer)),
                None => return Err(Error::not_ready(self.shared.why_gone())),
            }
        }
        Ok(())
    }

    /// The instrument of a symbol: known from the moment that the engine knows it.
    pub fn instrument(&self, symbol: &str) -> Option<InstrumentId> {
        self.shared.directory.instrument(symbol)
    }

    /// The symbol of an instrument.
    pub fn symbol(&self, instrument: InstrumentId) -> Option<Arc<str>> {
        self.shared.directory.symbol(instrument)
    }

    /// The user of a name, if the engine knows it.
    pub fn user(&self, username: &str) -> Option<UserId> {
        self.shared.directory.user(username)
    }

    /// Whether the exchange takes commands, now and from now on.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// What waits for the disk, as [`Options::in_flight_max`] counts it.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight()
    }

    /// Takes no more commands. To be called before connections are closed, so that broken report
    /// streams do not cancel what they guard; [`Running::shutdown`] does the rest.
    pub fn begin_stop(&self) {
        self.shared.set_state(State::Stopping);
    }

    /// The error that an answer other than an accepted command is.
    pub fn error(&self, answer: Answer) -> Error {
        match answer {
            Answer::Refused(refusal, _) => Error::refused(refusal, |instrument| self.symbol(instrument)),
            Answer::NotReady(why) => Error::not_ready(why),
            Answer::Unknown(why) => Error::not_ready(why).with("outcome", "unknown"),
            Answer::Event(_) | Answer::OrderRepeated { .. } | Answer::InstrumentRepeated { .. } => Error::new(
                optivex_proto::v1::ErrorReason::Unspecified,
                "the answer does not fit the command",
            ),
        }
    }
}

const BUSY: &str = "more commands wait than the exchange can take; try again";
