//! What the threads of the sequencer share: the queue to the disk, how full it is, and the state.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use optivex_engine::Engine;
use optivex_journal::{Batch, Events};
use tokio::sync::{Semaphore, mpsc, watch};

use super::directory::Directory;
use super::reply::Reply;
use super::telemetry::Telemetry;
use super::{Answer, Hear, Options, State, Tell};

/// What one turn of the sequencer did.
pub(super) struct Work {
    /// Records of `events`.
    pub(super) batch: Batch,
    pub(super) events: Events,
    /// Answers, in the order of the commands and queries.
    pub(super) releases: Vec<Release>,
    /// What it counts of [`Options::in_flight_max`].
    pub(super) weight: usize,
}

/// One answer that waits for the disk.
pub(super) enum Release {
    /// The event at this index of the same work, of a command received then.
    Event(Reply, usize, std::time::Instant),
    /// A refusal or a repeat.
    Answer(Reply, Answer),
    /// What came of commands that were submitted at once.
    Batch(BatchRelease),
    Query(Tell),
}

/// The answers to one batch of commands.
pub(super) struct BatchRelease {
    pub(super) hear: Box<dyn Hear>,
    /// In the order of the commands.
    pub(super) decided: Vec<Decided>,
    pub(super) received: std::time::Instant,
}

/// What the engine made of one command.
pub(super) enum Decided {
    /// The event at this index of the same work.
    Event(usize),
    /// A refusal or a repeat: rare, and large.
    Answer(Box<Answer>),
}

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) directory: Directory,
    pub(super) state: watch::Sender<State>,
    pub(super) telemetry: Telemetry,
    /// Room for commands that are submitted in batches.
    pub(super) batched: Semaphore,
    /// Whether the disk takes commands. Apart from `state` because a stopping exchange still finishes
    /// what it has taken.
    disk_ready: AtomicBool,
    /// Weight of what was handed to the journal thread and is not answered yet.
    in_flight: AtomicUsize,
    /// What the journal thread has done, counted.
    steps: AtomicU64,
    /// Whether the journal thread waits for a disk that does not answer: nothing is told meanwhile.
    stalled: AtomicBool,
    queue: Mutex<Queue>,
    /// Signals the journal thread: there is work.
    work: Condvar,
    /// Signals the sequencer: less is in flight, a commit is over, or the disk failed.
    room: Condvar,
    /// Signals the snapshot thread: more is durable.
    durable: Condvar,
    /// Signals the watchdog: nothing will be left to watch.
    closed: Condvar,
}

#[derive(Default)]
struct Queue {
    works: VecDeque<Work>,
    /// The journal thread waits for work. Who signals a condition that nobody waits for pays for a call of the
    /// system all the same.
    is_work_awaited: bool,
    /// The journal thread makes durable what it took last.
    is_committing: bool,
    /// The sequencer waits for the end of that.
    is_commit_awaited: bool,
    /// Threads that wait for more to be durable.
    durable_awaited: usize,
    closed: bool,
    /// A thread died: nobody waits for another any more.
    failed: bool,
    durable_event_seq: u64,
    /// A snapshot was stored, and history is durable up to here.
    retain: Option<u64>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

/// What the journal thread found in the queue.
pub(super) enum Taken {
    Works(VecDeque<Work>),
    /// Nothing came in time.
    Nothing,
    /// Nothing is left, and nothing will come.
    Closed,
}

impl Shared {
    pub(super) fn new(options: Options, engine: &Engine, has_room: bool) -> Self {
        let state = if has_room {
            State::Ready
        } else {
            State::NotReady(NO_ROOM.into())
        };
        Self {
            batched: Semaphore::new(options.input_max),
            options,
            directory: Directory::new(engine),
            state: watch::Sender::new(state),
            telemetry: Telemetry::new(),
            disk_ready: AtomicBool::new(has_room),
            in_flight: AtomicUsize::new(0),
            steps: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            queue: Mutex::new(Queue {
                durable_event_seq: engine.event_seq(),
                ..Queue::default()
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            durable: Condvar::new(),
            closed: Condvar::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Why no command is taken from clients now.
    pub(super) fn refuses_commands(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Ready => None,
            State::NotReady(why) => Some(why.to_string()),
            State::Stopping => Some(STOPPING.to_owned()),
            State::Failed(why) => Some(why.to_string()),
        }
    }

    /// Why neither a command nor a query is taken now.
    pub(super) fn refuses_everything(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Ready | State::NotReady(_) => None,
            State::Stopping => Some(STOPPING.to_owned()),
            State::Failed(why) => Some(why.to_string()),
        }
    }

    pub(super) fn why_gone(&self) -> String {
        self.refuses_commands().unwrap_or_else(|| STOPPING.to_owned())
    }

    /// A stopping exchange does not become ready again, and a failed one does not become anything.
    pub(super) fn set_state(&self, new: State) {
        let rank = |state: &State| match state {
            State::Ready | State::NotReady(_) => 0,
            State::Stopping => 1,
            State::Failed(_) => 2,
        };
        self.state.send_if_modified(|state| {
            let is_change = *state != new && rank(state) <= rank(&new);
            if is_change {
                match &new {
                    State::NotReady(why) => tracing::error!(%why, "taking no commands"),
                    State::Failed(why) => tracing::error!(%why, "the exchange failed"),
                    State::Ready => tracing::info!("taking commands again"),
                    State::Stopping => tracing::info!("taking no more commands"),
                }
                *state = new;
            }
            is_change
        });
    }

    pub(super) fn disk_ready(&self) -> bool {
        self.disk_ready.load(Ordering::Acquire)
    }

    pub(super) fn set_disk(&self, trouble: Option<String>) {
        self.disk_ready.store(trouble.is_none(), Ordering::Release);
        self.set_state(trouble.map_or(State::Ready, |why| State::NotReady(why.into())));
        // The sequencer must see it even while it waits for room; the lock makes sure that it is
        // either before its look at the flag or in its wait.
        drop(self.queue());
        self.room.notify_all();
    }

    /// The journal thread goes on.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::AcqRel);
        self.stalled.store(false, Ordering::Release);
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Acquire)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Takes no more until the journal thread goes on, which then finds out whether the disk is well.
    pub(super) fn set_stalled(&self) {
        self.stalled.store(true, Ordering::Release);
        self.set_disk(Some(STALLED.to_owned()));
    }

    /// Waits for a while; false as soon as nothing is left to watch.
    pub(super) fn watch_for(&self, pause: Duration) -> bool {
        let (queue, _) = self
            .closed
            .wait_timeout_while(self.queue(), pause, |queue| !queue.closed)
            .unwrap_or_else(PoisonError::into_inner);
        !queue.closed
    }

    /// Whether every answer of the past was released: nothing shown now could be lost, nothing
    /// answered now overtakes anything.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight() == 0
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// So many commands of batches wait no more.
    pub(super) fn give_back(&self, commands: usize) {
        self.batched.add_permits(commands.min(self.options.input_max));
    }

    /// Waits until the engine may run further ahead; returns at once when the disk has failed.
    pub(super) fn wait_for_room(&self) {
        if self.in_flight() < self.options.in_flight_max {
            return;
        }
        let mut queue = self.queue();
        while self.in_flight() >= self.options.in_flight_max && self.disk_ready() && !queue.failed {
            queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn hand_over(&self, work: Work) {
        self.in_flight.fetch_add(work.weight, Ordering::AcqRel);
        let mut queue = self.queue();
        // Without a journal thread, its replies are dropped, which tells their clients.
        if !queue.failed {
            queue.works.push_back(work);
            let is_awaited = queue.is_work_awaited;
            drop(queue);
            if is_awaited {
                self.work.notify_one();
            }
        }
    }

    pub(super) fn close_queue(&self) {
        self.queue().closed = true;
        self.work.notify_all();
        self.closed.notify_all();
    }

    /// Everything that is in the queue; waits for it for a while.
    pub(super) fn take(&self, wait: Duration) -> Taken {
        let mut queue = self.queue();
        if queue.works.is_empty() && !queue.closed {
            queue.is_work_awaited = true;
            queue = self
                .work
                .wait_timeout(queue, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            queue.is_work_awaited = false;
        }
        if !queue.works.is_empty() {
            queue.is_committing = true;
            Taken::Works(std::mem::take(&mut queue.works))
        } else if queue.closed {
            Taken::Closed
        } else {
            Taken::Nothing
        }
    }

    /// Waits out a pause between two attempts, or what is left of it when work comes.
    pub(super) fn take_after(&self, pause: Duration) -> VecDeque<Work> {
        std::thread::sleep(pause);
        std::mem::take(&mut self.queue().works)
    }

    /// What was taken is durable.
    pub(super) fn committed(&self) {
        let mut queue = self.queue();
        queue.is_committing = false;
        let is_awaited = queue.is_commit_awaited;
        drop(queue);
        if is_awaited {
            self.room.notify_all();
        }
    }

    /// Waits for the end of the commit that is under way, if there is one, but not longer than that; returns
    /// at once when the disk has failed.
    pub(super) fn wait_for_commit(&self, at_most: Duration) {
        let mut queue = self.queue();
        if !queue.is_committing {
            return;
        }
        queue.is_commit_awaited = true;
        let (mut queue, _) = self
            .room
            .wait_timeout_while(queue, at_most, |queue| {
                queue.is_committing && self.disk_ready() && !queue.failed
            })
            .unwrap_or_else(PoisonError::into_inner);
        queue.is_commit_awaited = false;
    }

    pub(super) fn released(&self, weight: usize) {
        let before = self.in_flight.fetch_sub(weight, Ordering::AcqRel);
        if before >= self.options.in_flight_max {
            drop(self.queue());
            self.room.notify_all();
        }
    }

    pub(super) fn set_durable(&self, event_seq: u64) {
        let mut queue = self.queue();
        queue.durable_event_seq = event_seq;
        let is_awaited = queue.durable_awaited > 0;
        drop(queue);
        if is_awaited {
            self.durable.notify_all();
        }
    }

    /// Tells the journal thread that the journal may drop what snapshots and history make needless.
    pub(super) fn ask_to_retain(&self, history_durable_through: u64) {
        self.queue().retain = Some(history_durable_through);
        self.work.notify_one();
    }

    pub(super) fn take_retain(&self) -> Option<u64> {
        self.queue().retain.take()
    }

    /// Waits until an event is durable and shown to the sinks; false if that will never be.
    pub(super) fn wait_durable(&self, event_seq: u64) -> bool {
        let mut queue = self.queue();
        queue.durable_awaited += 1;
        while queue.durable_event_seq < event_seq && !queue.failed {
            queue = self.durable.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.durable_awaited -= 1;
        queue.durable_event_seq >= event_seq
    }

    /// A thread died: nobody waits for it, and everything answers `NOT_READY`.
    fn fail(&self, why: String) {
        self.disk_ready.store(false, Ordering::Release);
        self.set_state(State::Failed(why.into()));
        let works = {
            let mut queue = self.queue();
            queue.failed = true;
            queue.closed = true;
            std::mem::take(&mut queue.works)
        };
        self.work.notify_all();
        self.room.notify_all();
        self.durable.notify_all();
        self.closed.notify_all();
        drop(works);
    }
}

pub(super) const NO_ROOM: &str = "the disk has no room for more";
const STALLED: &str = "the disk does not answer";
const STOPPING: &str = "the exchange is stopping";

/// Starts a thread whose panic is the end of the exchange; `alive` is held as long as it runs.
pub(super) fn spawn(
    name: &'static str,
    shared: &Arc<Shared>,
    alive: mpsc::Sender<()>,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    struct Obituary(&'static str, Arc<Shared>);
    impl Drop for Obituary {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.1.fail(format!("its {} thread died", self.0));
            }
        }
    }
    let obituary = Obituary(name, shared.clone());
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _alive = alive;
        let _obituary = obituary;
        body();
    })
}

#[cfg(test)]
mod tests {
    use optivex_engine::Limits;

    use super::*;

    /// Far longer than a test may take.
    const LONG: Duration = Duration::from_secs(3600);

    fn shared() -> Shared {
        Shared::new(Options::default(), &Engine::new(Limits::default()), true)
    }

    #[test]
    fn who_gathers_hears_of_all_that_ends_a_commit() {
        shared().wait_for_commit(LONG);
        let ends: [fn(&Shared); 3] = [
            Shared::committed,
            |shared| shared.set_disk(Some("it fails".to_owned())),
            |shared| shared.fail("a thread died".to_owned()),
        ];
        for end in ends {
            let shared = shared();
            shared.hand_over(Work {
                batch: Batch::default(),
                events: Events::default(),
                releases: Vec::new(),
                weight: 1,
            });
            assert!(matches!(shared.take(LONG), Taken::Works(_)));
            std::thread::scope(|scope| {
                let gathers = scope.spawn(|| shared.wait_for_commit(LONG));
                while !shared.queue().is_commit_awaited {
                    std::thread::yield_now();
                }
                assert!(!gathers.is_finished());
                end(&shared);
            });
        }
    }
}
