//! The thread that owns the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use optivex_engine::types::{OrderId, UserId};
use optivex_engine::{Applied, Command, Engine, Event, Input};
use optivex_journal::{Batch, record};
use tokio::sync::mpsc;

use super::reply::Reply;
use super::shared::{BatchRelease, Decided, Release, Shared, Work};
use super::snapshot_thread::Snapshots;
use super::used::{self, UsedEvents};
use super::{Answer, Hear, Request};

/// Commands of one turn, with the rest of a batch: small enough that the disk starts early, large enough
/// to be worth a hand-over.
const TURN_MAX: usize = 256;

/// How long commands are left to gather while the disk is busy with earlier ones.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// How far ahead of a command of a batch what the next ones touch is asked for from memory.
const PREFETCH_AHEAD: usize = 7;

/// A snapshot takes some 2 ns a byte, in which no command is decided, and a command about a microsecond: with so many bytes
/// for each event since the one before, it takes a tenth of the time.
const SNAPSHOT_BYTES_PER_EVENT: u64 = 32;

pub(super) struct SequencerThread {
    shared: Arc<Shared>,
    engine: Engine,
    requests: mpsc::Receiver<Request>,
    snapshots: Snapshots,
    last_snapshot_seq: u64,
    /// Events from there to the next one.
    snapshot_after: u64,
    /// Time of the last input: the clock may go backwards, the exchange does not.
    time_unix_ns: i64,
    /// Broken streams that the disk puts off. For a user, the lowest threshold covers the others.
    disconnected: BTreeMap<UserId, OrderId>,
    /// Events whose memory is used again.
    used: UsedEvents,
    turn: Turn,
}

/// What this turn has done so far; becomes a [`Work`].
#[derive(Default)]
struct Turn {
    batch: Batch,
    /// Those that were made, and behind them others that may be used.
    events: Vec<Event>,
    made: usize,
    /// How many commands were waiting when it began.
    expected: usize,
    /// Whether an event is larger than usual.
    has_giant: bool,
    releases: Vec<Release>,
    weight: usize,
    /// Commands and queries.
    requests: usize,
}

impl Turn {
    fn is_empty(&self) -> bool {
        self.made == 0 && self.releases.is_empty()
    }
}

impl SequencerThread {
    pub(super) fn new(
        shared: Arc<Shared>,
        engine: Engine,
        requests: mpsc::Receiver<Request>,
        snapshots: Snapshots,
    ) -> Self {
        Self {
            snapshot_after: shared.options.snapshot_every,
            shared,
            requests,
            snapshots,
            last_snapshot_seq: engine.event_seq(),
            time_unix_ns: engine.time_unix_ns(),
            engine,
            disconnected: BTreeMap::new(),
            used: UsedEvents::default(),
            turn: Turn::default(),
        }
    }

    pub(super) fn run(mut self) {
        let mut requests = Vec::with_capacity(TURN_MAX);
        let mut is_stopping = false;
        while !is_stopping && self.requests.blocking_recv_many(&mut requests, TURN_MAX) > 0 {
            self.gather(&mut requests);
            self.shared.telemetry.input_depth(self.requests.len());
            self.shared.wait_for_room();
            self.finish_disconnects();
            for request in requests.drain(..) {
                if self.turn.requests >= TURN_MAX {
                    self.hand_over();
                    self.shared.wait_for_room();
                    self.finish_disconnects();
                }
                match request {
                    // Behind the last one: its reply tells that nothing was taken.
                    Request::Command(_, _, reply) if is_stopping => reply.tell(self.not_ready()),
                    Request::Command(command, received, reply) => self.command(command, received, reply),
                    Request::Batch(commands, _, hear) if is_stopping => self.refuse(commands.len(), hear),
                    Request::Batch(commands, received, hear) => self.batch(commands, received, hear),
                    // A dropped query tells its client that the exchange is gone.
                    Request::Query(_) if is_stopping => {}
                    // Nobody would tell its answer; the same for its client.
                    Request::Query(_) if self.shared.is_stalled() => {}
                    Request::Query(query) => {
                        self.tick();
                        self.turn.requests += 1;
                        let tell = query(&self.engine, self.time_unix_ns);
                        self.release(Release::Query(tell));
                    }
                    Request::Wake => {}
                    Request::Stop => is_stopping = true,
                }
            }
            self.hand_over();
            if self.engine.event_seq() - self.last_snapshot_seq >= self.snapshot_after && self.snapshots.is_idle() {
                self.snapshot();
            }
        }
        self.requests.close();
        while let Some(request) = self.requests.blocking_recv() {
            match request {
                Request::Command(_, _, reply) => reply.tell(self.not_ready()),
                Request::Batch(commands, _, hear) => self.refuse(commands.len(), hear),
                Request::Query(_) | Request::Wake | Request::Stop => {}
            }
        }
        if self.engine.event_seq() > self.last_snapshot_seq {
            self.snapshot();
        }
        // The snapshot thread, which ends without its sender, closes the queue to the journal thread.
    }

    /// Nothing that comes while the disk is busy is durable before it is done, however early it is decided: a
    /// few commands wait for more, so that there is one turn and one hand-over for all of them.
    fn gather(&mut self, requests: &mut Vec<Request>) {
        let mut commands: usize = requests.iter().map(Request::commands).sum();
        if commands < TURN_MAX {
            self.shared.wait_for_commit(GATHER_MAX);
            while requests.len() < TURN_MAX
                && let Ok(request) = self.requests.try_recv()
            {
                commands += request.commands();
                requests.push(request);
            }
        }
        self.turn.expected = commands.min(TURN_MAX);
    }

    /// The time of this turn, never before the last one's.
    fn tick(&mut self) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
        self.time_unix_ns = self.time_unix_ns.max(now);
    }

    fn not_ready(&self) -> Answer {
        Answer::NotReady(self.shared.why_gone())
    }

    fn refuse(&self, commands: usize, mut hear: Box<dyn Hear>) {
        for _ in 0..commands {
            hear.other(self.not_ready());
        }
    }

    fn command(&mut self, command: Command, received: Instant, reply: Reply) {
        if self.shared.disk_ready() {
            self.tick();
            match self.apply(command) {
                Decided::Event(index) => self.turn.releases.push(Release::Event(reply, index, received)),
                Decided::Answer(answer) => self.release(Release::Answer(reply, *answer)),
            }
        } else if let Command::CancelOnDisconnect { user, after } = command {
            let threshold = self.disconnected.entry(user).or_insert(after);
            *threshold = (*threshold).min(after);
        } else {
            reply.tell(self.not_ready());
        }
    }

    /// All of a batch is decided at one time.
    fn batch(&mut self, commands: Vec<Command>, received: Instant, mut hear: Box<dyn Hear>) {
        self.shared.give_back(commands.len());
        if !self.shared.disk_ready() {
            return self.refuse(commands.len(), hear);
        }
        self.tick();
        let mut decided = Vec::with_capacity(commands.len());
        let mut commands = commands.into_iter();
        while let Some(command) = commands.next() {
            if let Some(ahead) = commands.as_slice().get(PREFETCH_AHEAD) {
                self.engine.prefetch(ahead);
            }
            decided.push(self.apply(command));
        }
        let adds_nothing = self.turn.is_empty() && self.shared.is_idle();
        if !adds_nothing {
            self.turn.weight += decided
                .iter()
                .filter(|decided| matches!(decided, Decided::Answer(_)))
                .count();
            let release = BatchRelease {
                hear,
                decided,
                received,
            };
            return self.turn.releases.push(Release::Batch(release));
        }
        for decided in decided {
            match decided {
                Decided::Answer(answer) => hear.other(*answer),
                Decided::Event(_) => unreachable!("events go through the journal"),
            }
        }
    }

    /// What the disk put off goes before everything else.
    fn finish_disconnects(&mut self) {
        while self.shared.disk_ready() {
            let Some((user, after)) = self.disconnected.pop_first() else {
                return;
            };
            self.command(
                Command::CancelOnDisconnect { user, after },
                Instant::now(),
                Reply::none(),
            );
        }
    }

    fn apply(&mut self, command: Command) -> Decided {
        self.turn.requests += 1;
        #[cfg(feature = "faults")]
        let command = crate::faults::command(command, &self.engine);
        let input = Input {
            time_unix_ns: self.time_unix_ns,
            command,
        };
        let turn = &mut self.turn;
        if turn.events.is_empty() {
            turn.events = self.used.take(turn.expected);
        }
        if turn.made == turn.events.len() {
            turn.events.push(self.used.take_one());
        }
        let event = &mut turn.events[turn.made];
        let expected_seq = self.engine.event_seq() + 1;
        let answer = match self.engine.apply(&input, event) {
            Ok(Applied::Event) => {
                // Record N is event N: everything on disk rests on it.
                assert_eq!(event.event_seq, expected_seq, "events are numbered without gaps");
                #[cfg(feature = "faults")]
                crate::faults::event(&input, event);
                let username = match &input.command {
                    Command::RegisterUser { username } => Some(username.as_str()),
                    _ => None,
                };
                self.shared.directory.learn(&event.outcome, username);
                self.shared.telemetry.event(event);
                #[cfg(feature = "faults")]
                let input = crate::faults::journaled(&input, &self.engine);
                turn.batch.push_with(event.event_seq, |out| record::encode(&input, out));
                turn.weight += 1 + event.reports.len() + event.trades.len() + event.levels.len();
                turn.has_giant |= !used::is_usual(event);
                turn.made += 1;
                return Decided::Event(turn.made - 1);
            }
            Ok(Applied::OrderRepeated {
                order_id,
                event_seq,
                report_seq,
            }) => Answer::OrderRepeated {
                order_id,
                event_seq,
                report_seq,
            },
            Ok(Applied::InstrumentRepeated { instrument, event_seq }) => {
                Answer::InstrumentRepeated { instrument, event_seq }
            }
            Err(refusal) => {
                self.shared.telemetry.refusal(&refusal);
                Answer::Refused(refusal, self.engine.event_seq())
            }
        };
        Decided::Answer(Box::new(answer))
    }

    /// An answer that adds nothing to the journal: told at once if nothing is in flight that it could
    /// rest on or overtake.
    fn release(&mut self, release: Release) {
        if self.turn.is_empty() && self.shared.is_idle() {
            match release {
                Release::Answer(reply, answer) => reply.tell(answer),
                Release::Query(tell) => tell(Ok(())),
                Release::Event(..) | Release::Batch(_) => unreachable!("they go through the journal"),
            }
        } else {
            self.turn.weight += 1;
            self.turn.releases.push(release);
        }
    }

    fn hand_over(&mut self) {
        if self.turn.is_empty() {
            // Its answers were told already.
            self.turn.requests = 0;
            return;
        }
        let next = Turn {
            // The next turn is likely to be as large.
            batch: Batch::with_capacity(self.turn.batch.len(), self.turn.batch.byte_len()),
            expected: self.turn.made,
            ..Turn::default()
        };
        let mut turn = std::mem::replace(&mut self.turn, next);
        self.used.give_rest(&mut turn.events, turn.made);
        let work = Work {
            batch: turn.batch,
            events: Arc::new(turn.events),
            releases: turn.releases,
            weight: turn.weight,
        };
        if !turn.has_giant {
            self.used.lend(&work.events);
        }
        self.shared.hand_over(work);
    }

    fn snapshot(&mut self) {
        let begun = Instant::now();
        let snapshot = self.engine.snapshot();
        self.last_snapshot_seq = self.engine.event_seq();
        self.snapshot_after =
            (snapshot.len() as u64 / SNAPSHOT_BYTES_PER_EVENT).max(self.shared.options.snapshot_every);
        self.shared.telemetry.snapshot_taken(snapshot.len(), begun.elapsed());
        self.snapshots.store(self.last_snapshot_seq, snapshot);
    }
}
