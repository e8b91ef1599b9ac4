//! The thread that owns the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use optivex_engine::types::{OrderId, UserId};
use optivex_engine::{Applied, Command, Engine, Event, Input};
use optivex_journal::record;
use tokio::sync::mpsc;

use super::reply::Reply;
use super::shared::{Release, Shared, Work};
use super::snapshot_thread::Snapshots;
use super::{Answer, Request};

/// Requests of one turn: small enough that the disk starts early, large enough to be worth a hand-over.
const TURN_MAX: usize = 256;

pub(super) struct SequencerThread {
    shared: Arc<Shared>,
    engine: Engine,
    requests: mpsc::Receiver<Request>,
    snapshots: Snapshots,
    last_snapshot_seq: u64,
    /// Time of the last input: the clock may go backwards, the exchange does not.
    time_unix_ns: i64,
    /// Broken streams that the disk puts off. For a user, the lowest threshold covers the others.
    disconnected: BTreeMap<UserId, OrderId>,
    work: Work,
}

impl SequencerThread {
    pub(super) fn new(
        shared: Arc<Shared>,
        engine: Engine,
        requests: mpsc::Receiver<Request>,
        snapshots: Snapshots,
    ) -> Self {
        Self {
            shared,
            requests,
            snapshots,
            last_snapshot_seq: engine.event_seq(),
            time_unix_ns: engine.time_unix_ns(),
            engine,
            disconnected: BTreeMap::new(),
            work: Work::default(),
        }
    }

    pub(super) fn run(mut self) {
        let mut requests = Vec::with_capacity(TURN_MAX);
        let mut is_stopping = false;
        while !is_stopping && self.requests.blocking_recv_many(&mut requests, TURN_MAX) > 0 {
            self.shared.telemetry.input_depth(self.requests.len());
            self.shared.wait_for_room();
            self.finish_disconnects();
            for request in requests.drain(..) {
                match request {
                    // Behind the last one: its reply tells that nothing was taken.
                    Request::Command(_, _, reply) if is_stopping => reply.tell(self.not_ready()),
                    Request::Command(command, received, reply) => self.command(command, received, reply),
                    // A dropped query tells its client that the exchange is gone.
                    Request::Query(_) if is_stopping => {}
                    // Nobody would tell its answer; the same for its client.
                    Request::Query(_) if self.shared.is_stalled() => {}
                    Request::Query(query) => {
                        self.tick();
                        let tell = query(&self.engine, self.time_unix_ns);
                        self.release(Release::Query(tell));
                    }
                    Request::Wake => {}
                    Request::Stop => is_stopping = true,
                }
            }
            self.hand_over();
            if self.engine.event_seq() - self.last_snapshot_seq >= self.shared.options.snapshot_every
                && self.snapshots.is_idle()
            {
                self.snapshot();
            }
        }
        self.requests.close();
        while let Some(request) = self.requests.blocking_recv() {
            if let Request::Command(_, _, reply) = request {
                reply.tell(self.not_ready());
            }
        }
        if self.engine.event_seq() > self.last_snapshot_seq {
            self.snapshot();
        }
        // The snapshot thread, which ends without its sender, closes the queue to the journal thread.
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

    fn command(&mut self, command: Command, received: Instant, reply: Reply) {
        if self.shared.disk_ready() {
            self.apply(command, received, reply);
        } else if let Command::CancelOnDisconnect { user, after } = command {
            let threshold = self.disconnected.entry(user).or_insert(after);
            *threshold = (*threshold).min(after);
        } else {
            reply.tell(self.not_ready());
        }
    }

    /// What the disk put off goes before everything else.
    fn finish_disconnects(&mut self) {
        while self.shared.disk_ready() {
            let Some((user, after)) = self.disconnected.pop_first() else {
                return;
            };
            self.apply(
                Command::CancelOnDisconnect { user, after },
                Instant::now(),
                Reply::none(),
            );
        }
    }

    fn apply(&mut self, command: Command, received: Instant, reply: Reply) {
        self.tick();
        #[cfg(feature = "faults")]
        let command = crate::faults::command(command, &self.engine);
        let input = Input {
            time_unix_ns: self.time_unix_ns,
            command,
        };
        let mut event = Event::default();
        let expected_seq = self.engine.event_seq() + 1;
        match self.engine.apply(&input, &mut event) {
            Ok(Applied::Event) => {
                // Record N is event N: everything on disk rests on it.
                assert_eq!(event.event_seq, expected_seq, "events are numbered without gaps");
                #[cfg(feature = "faults")]
                crate::faults::event(&input, &mut event);
                let username = match &input.command {
                    Command::RegisterUser { username } => Some(username.as_str()),
                    _ => None,
                };
                self.shared.directory.learn(&event.outcome, username);
                self.shared.telemetry.event(&event);
                self.work
                    .batch
                    .push_with(event.event_seq, |out| record::encode(&input, out));
                self.work.weight += 1 + event.reports.len() + event.trades.len() + event.levels.len();
                self.work
                    .releases
                    .push(Release::Event(reply, self.work.events.len(), received));
                self.work.events.push(event);
            }
            Ok(Applied::OrderRepeated {
                order_id,
                event_seq,
                report_seq,
            }) => {
                let answer = Answer::OrderRepeated {
                    order_id,
                    event_seq,
                    report_seq,
                };
                self.release(Release::Answer(reply, answer));
            }
            Ok(Applied::InstrumentRepeated { instrument, event_seq }) => {
                let answer = Answer::InstrumentRepeated { instrument, event_seq };
                self.release(Release::Answer(reply, answer));
            }
            Err(refusal) => {
                self.shared.telemetry.refusal(&refusal);
                let answer = Answer::Refused(refusal, self.engine.event_seq());
                self.release(Release::Answer(reply, answer));
            }
        }
    }

    /// An answer that adds nothing to the journal: told at once if nothing is in flight that it could
    /// rest on or overtake.
    fn release(&mut self, release: Release) {
        if self.work.is_empty() && self.shared.is_idle() {
            match release {
                Release::Answer(reply, answer) => reply.tell(answer),
                Release::Query(tell) => tell(Ok(())),
                Release::Event(..) => unreachable!("events go through the journal"),
            }
        } else {
            self.work.weight += 1;
            self.work.releases.push(release);
        }
    }

    fn hand_over(&mut self) {
        if !self.work.is_empty() {
            self.shared.hand_over(std::mem::take(&mut self.work));
        }
    }

    fn snapshot(&mut self) {
        let begun = Instant::now();
        let snapshot = self.engine.snapshot();
        self.last_snapshot_seq = self.engine.event_seq();
        self.shared.telemetry.snapshot_taken(snapshot.len(), begun.elapsed());
        self.snapshots.store(self.last_snapshot_seq, snapshot);
    }
}
