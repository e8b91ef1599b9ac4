//! The daemon itself: what happens goes into the queue, what the queue decides is done.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use notify::{RecursiveMode, Watcher};
use optivex_bundle::digest::SubmissionId;
use optivex_bundle::durable;
use optivex_bundle::names::Name;
use optivex_bundle::spool::{Spool, UatMode, UatStatus};
use optivex_bundle::verdict::Verdict;
use optivex_exit::{Exit, Failure};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::context::Context;
use super::job::{Job as Deployment, Place, Try};
use super::queue::{Decision, Event, Job, Queue};
use super::state::write_json;
use super::{disk, metrics, outbox, scoreboard, self_test};
use crate::sandbox::Cancel;

/// Time between two scans of the spool; notifications make it shorter.
const SCAN: Duration = Duration::from_millis(500);

/// How long to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// SIGTERM.
    Told,
    /// Nothing waits any more.
    Empty,
}

/// Something that wakes the daemon.
enum Wake {
    Spool,
    Drain,
    Ended(Name, SubmissionId, Duration, Result<Try, String>),
    SelfTested(Option<String>),
}

struct Daemon {
    context: Arc<Context>,
    queue: Queue,
    sender: Sender<Wake>,
    running: BTreeMap<(Name, SubmissionId), (u32, Cancel)>,
    free_slots: Vec<u32>,
    draining: bool,
    held: Option<String>,
    self_test: self_test::Standing,
    counts: metrics::Counts,
    told: Option<(Instant, UatStatus)>,
    until: Until,
}

/// Takes the spool: there is one daemon at a time.
pub fn lock(context: &Context) -> Result<File> {
    let path = context.state.file("daemon.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)?;
    match file.try_lock() {
        Ok(()) => {
            std::fs::write(&path, format!("{}\n", std::process::id()))?;
            Ok(file)
        }
        Err(std::fs::TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            let message = format!("another daemon has this spool: process {}", holder.trim());
            Err(Failure::new(Exit::Locked, message).into())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Runs until told.
pub fn run(context: Context, until: Until) -> Result<()> {
    let _lock = lock(&context)?;
    let context = Arc::new(context);
    let (sender, wakes) = channel();
    listen_to_signals(&sender)?;
    // Notifications are a comfort: without them the next scan finds it.
    let _watcher = watch(&context, &sender)
        .inspect_err(|error| tracing::warn!("no notifications: {error:#}"))
        .ok();
    let slots = context.config.slots();
    let mut daemon = Daemon {
        queue: Queue::new(slots as usize),
        sender,
        running: BTreeMap::new(),
        free_slots: (0..slots).rev().collect(),
        draining: false,
        held: None,
        self_test: self_test::Standing::new(&context.config.self_test),
        counts: metrics::Counts::default(),
        told: None,
        until,
        context,
    };
    daemon.recover()?;
    let sending = outbox::start(Arc::clone(&daemon.context));
    let ended = daemon.work(&wakes);
    daemon.tell(Some(UatMode::Stopped))?;
    sending.stop(until == Until::Empty);
    ended
}

impl Daemon {
    /// What a daemon before this one left: what was decided is told, what was not waits again.
    fn recover(&mut self) -> Result<()> {
        let read = self.context.ledger.read()?;
        for entry in &read.entries {
            self.queue
                .has_used(entry.participant.clone(), Duration::from_millis(entry.used_millis));
            self.counts.judged(&entry.verdict);
        }
        let context = Arc::clone(&self.context);
        let spool = &context.state.spool;
        // Nothing starts before all is looked through.
        let mut interrupted = vec![Event::Hold(true)];
        for participant in spool.participants_claimed()? {
            for receipt in spool.claimed_receipts(&participant)? {
                let job = Deployment::claimed(&context, &participant, receipt.id)?;
                match spool.read_result(&participant, receipt.id)? {
                    Some(result) if result.attempt >= receipt.attempt => {
                        tracing::info!(%participant, id = %receipt.id, "decided before the daemon ended: telling it");
                        job.finish(false)?;
                    }
                    _ => {
                        tracing::info!(%participant, id = %receipt.id, "interrupted: it waits again");
                        let tries = context.state.tries(&participant, receipt.id)?;
                        let job = Job {
                            try_number: tries.begun + 1,
                            claimed: true,
                            ..Job::new(receipt.id, receipt.received, receipt.attempt)
                        };
                        interrupted.push(Event::Arrived(participant.clone(), job));
                    }
                }
            }
        }
        self.held = Some("starting".to_owned());
        self.take_all(interrupted)
    }

    fn work(&mut self, wakes: &Receiver<Wake>) -> Result<()> {
        loop {
            self.look()?;
            let idle = self.running.is_empty() && !self.self_test.runs();
            // A self-test judges nobody: it ends with this process.
            if self.draining && self.running.is_empty() {
                return Ok(());
            }
            if self.until == Until::Empty && idle && (self.held.is_some() || self.queue.waiting().is_empty()) {
                return match &self.held {
                    Some(why) if !self.queue.waiting().is_empty() => {
                        Err(Failure::new(Exit::Infrastructure, format!("the queue is held: {why}")).into())
                    }
                    _ => Ok(()),
                };
            }
            match wakes.recv_timeout(SCAN) {
                Ok(wake) => self.woken(wake)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            // All that came meanwhile is one scan.
            while let Ok(wake) = wakes.try_recv() {
                self.woken(wake)?;
            }
        }
    }

    fn woken(&mut self, wake: Wake) -> Result<()> {
        match wake {
            Wake::Spool => {}
            Wake::Drain => {
                tracing::info!(running = self.running.len(), "draining: nothing more is started");
                self.draining = true;
            }
            Wake::SelfTested(trouble) => {
                match &trouble {
                    Some(why) => tracing::error!("self-test: {why}"),
                    None => tracing::info!("self-test: the reference exchange passes, the faulty one fails"),
                }
                self.self_test.ended(trouble);
            }
            Wake::Ended(participant, id, used, ended) => self.ended(participant, id, used, ended)?,
        }
        Ok(())
    }

    fn ended(&mut self, participant: Name, id: SubmissionId, used: Duration, ended: Result<Try, String>) -> Result<()> {
        if let Some((slot, _)) = self.running.remove(&(participant.clone(), id)) {
            self.free_slots.push(slot);
        }
        let trouble = match ended {
            Ok(Try::Over(verdict)) => {
                self.counts.judged(&verdict);
                false
            }
            Ok(Try::Trouble(why)) => {
                self.counts.troubles += 1;
                tracing::warn!(%participant, %id, "our trouble: {why}");
                true
            }
            // Nothing could be written: to go on would be to lose what comes next.
            Err(error) => return Err(anyhow::anyhow!("{participant} {id}: {error}")),
        };
        self.take(Event::Ended {
            participant,
            id,
            used,
            trouble,
        })
    }

    /// Looks at everything that may have changed: the spool, an operator's words, the disk, the clock.
    fn look(&mut self) -> Result<()> {
        let why = self.why_held()?;
        let held = self.held_by(why);
        let context = Arc::clone(&self.context);
        let spool = &context.state.spool;
        // First: what is cancelled was there before, so it is seen below.
        let cancelled = cancelled(spool)?;
        let mut events = Vec::new();
        for participant in spool.participants_waiting()? {
            for receipt in spool.waiting_receipts(&participant)? {
                let job = Job::new(receipt.id, receipt.received, receipt.attempt);
                events.push(Event::Arrived(participant.clone(), job));
            }
        }
        let asked = cancelled.iter().cloned();
        events.extend(asked.map(|(participant, id)| Event::Cancelled(participant, id)));
        events.push(held);
        self.take_all(events)?;
        for (participant, id) in cancelled {
            let waits = self
                .queue
                .waiting()
                .into_iter()
                .any(|(name, job)| *name == participant && job.id == id);
            if !waits && !self.running.contains_key(&(participant.clone(), id)) {
                // It came too late, and must not end a later attempt.
                durable::remove(&spool.cancel(&participant, id))?;
            }
        }
        self.tell(None)
    }

    fn why_held(&mut self) -> Result<Option<String>> {
        if self.draining {
            return Ok(Some("draining".to_owned()));
        }
        if let Some(word) = self.context.state.word("pause")? {
            return Ok(Some(word.why));
        }
        if self.self_test.is_due() {
            self.self_test.begin();
            let (context, sender) = (Arc::clone(&self.context), self.sender.clone());
            std::thread::spawn(move || {
                let trouble = unless_it_panics(|| self_test::run(&context).map_err(|error| format!("{error:#}"))).err();
                // The daemon may have ended.
                let _ = sender.send(Wake::SelfTested(trouble));
            });
        }
        if let Some(why) = self.self_test.holds() {
            return Ok(Some(why));
        }
        if let Err(error) = self.context.tests() {
            return Ok(Some(format!("{error:#}")));
        }
        disk::room(&self.context)
    }

    fn held_by(&mut self, why: Option<String>) -> Event {
        if why != self.held {
            match &why {
                Some(why) => tracing::warn!("nothing is started: {why}"),
                None => tracing::info!("deployments are judged"),
            }
        }
        self.held = why;
        Event::Hold(self.held.is_some())
    }

    fn take(&mut self, event: Event) -> Result<()> {
        self.take_all([event])
    }

    fn take_all(&mut self, events: impl IntoIterator<Item = Event>) -> Result<()> {
        for decision in self.queue.take_all(events) {
            self.decided(decision)?;
        }
        Ok(())
    }

    fn decided(&mut self, decision: Decision) -> Result<()> {
        let context = Arc::clone(&self.context);
        match decision {
            Decision::Start(participant, job) => {
                let slot = self.free_slots.pop().context("the queue keeps to the slots")?;
                self.claim(&participant, &job)?;
                let cancel = Cancel::default();
                self.running
                    .insert((participant.clone(), job.id), (slot, cancel.clone()));
                let sender = self.sender.clone();
                std::thread::spawn(move || {
                    let begun = Instant::now();
                    let place = Place {
                        slot: &format!("slot-{slot}"),
                        account: context.account(slot),
                        cancel: &cancel,
                    };
                    let ended = unless_it_panics(|| {
                        Deployment::claimed(&context, &participant, job.id)
                            .and_then(|deployment| deployment.attempt(&place))
                            .map_err(|error| format!("{error:#}"))
                    });
                    // The daemon may have ended; then the next one finds it claimed.
                    let _ = sender.send(Wake::Ended(participant, job.id, begun.elapsed(), ended));
                });
            }
            Decision::Supersede(participant, job, by) => {
                self.tell_untested(&participant, &job, Verdict::Superseded { by })?;
            }
            Decision::Drop(participant, job) => self.tell_untested(&participant, &job, Verdict::Cancelled)?,
            Decision::GiveUp(participant, job) => {
                let tries = context.state.tries(&participant, job.id)?;
                let why = tries
                    .troubles
                    .last()
                    .cloned()
                    .unwrap_or_else(|| "UAT was interrupted".to_owned());
                self.tell_untested(&participant, &job, Verdict::Infrastructure { why })?;
            }
            Decision::Stop(participant, id) => {
                if let Some((_, cancel)) = self.running.get(&(participant, id)) {
                    cancel.cancel();
                }
            }
        }
        Ok(())
    }

    fn claim(&self, participant: &Name, job: &Job) -> Result<()> {
        if !job.claimed && self.context.state.spool.waiting_job(participant, job.id).exists() {
            self.context.state.claim(participant, job.id)?;
            self.context.steps.reached("claimed");
        }
        Ok(())
    }

    fn tell_untested(&mut self, participant: &Name, job: &Job, verdict: Verdict) -> Result<()> {
        self.claim(participant, job)?;
        self.counts.judged(&verdict);
        Deployment::claimed(&self.context, participant, job.id)?.publish_untested(verdict)
    }

    /// Tells the gate, the scoreboard and the metrics, if there is something new or the time has come.
    fn tell(&mut self, mode: Option<UatMode>) -> Result<()> {
        let tests = self.context.tests().ok();
        let mode = mode.unwrap_or_else(|| match (&self.held, self.draining) {
            (_, true) => UatMode::Draining,
            (Some(why), _) => UatMode::Paused { why: why.clone() },
            (None, _) => UatMode::Running,
        });
        let status = UatStatus {
            written: 0,
            mode,
            slots: self.context.config.slots(),
            tests: tests.as_ref().map(|tests| tests.digest),
            contract: tests.as_ref().map(|tests| tests.contract),
            queue: self
                .queue
                .waiting()
                .into_iter()
                .map(|(name, job)| (name.clone(), job.id))
                .collect(),
        };
        let heartbeat = Duration::from_secs(UatStatus::HEARTBEAT_SECONDS);
        if let Some((when, told)) = &self.told
            && *told == status
            && when.elapsed() < heartbeat
        {
            return Ok(());
        }
        let written = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        write_json(
            &self.context.state.spool.status_file(),
            &UatStatus {
                written,
                ..status.clone()
            },
        )?;
        // Pages and numbers are no reason to stop judging.
        for told in [
            scoreboard::write(&self.context),
            metrics::write(&self.context, &self.counts, &status, self.running.len()),
        ] {
            if let Err(error) = told {
                tracing::warn!("{error:#}");
            }
        }
        self.told = Some((Instant::now(), status));
        Ok(())
    }
}

/// A thread that panics would never tell its end: its slot would stay taken, and the daemon could not drain.
fn unless_it_panics<T>(what: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(what))
        .unwrap_or_else(|_| Err("a defect of the daemon's own: it panicked, see its log".to_owned()))
}

/// What participants want to end.
fn cancelled(spool: &Spool) -> Result<Vec<(Name, SubmissionId)>> {
    let mut cancelled = Vec::new();
    for folder in std::fs::read_dir(spool.root().join("cancel"))?.flatten() {
        let Some(participant) = folder.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
            continue;
        };
        for file in std::fs::read_dir(folder.path())?.flatten() {
            if let Some(id) = file.file_name().to_str().and_then(|name| name.parse().ok()) {
                cancelled.push((participant.clone(), id));
            }
        }
    }
    Ok(cancelled)
}

fn listen_to_signals(sender: &Sender<Wake>) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).context("signals")?;
    let sender = sender.clone();
    std::thread::spawn(move || {
        let mut told = false;
        for _ in &mut signals {
            if told {
                // Impatience costs nothing: whatever runs is tried again by the next daemon.
                tracing::warn!("ended without draining");
                std::process::exit(Exit::Failed as i32);
            }
            told = true;
            let _ = sender.send(Wake::Drain);
        }
    });
    Ok(())
}

fn watch(context: &Context, sender: &Sender<Wake>) -> Result<notify::RecommendedWatcher> {
    let sender = std::sync::Mutex::new(sender.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // That somebody looks is no news: it is us, and each look would wake us for the next.
        if event.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        if let Ok(sender) = sender.lock() {
            let _ = sender.send(Wake::Spool);
        }
    })?;
    let root = context.state.spool.root();
    for folder in ["waiting", "cancel"] {
        watcher.watch(&root.join(folder), RecursiveMode::Recursive)?;
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_end_too() {
        assert_eq!(unless_it_panics(|| Ok(1)), Ok(1));
        let told = unless_it_panics(|| -> Result<(), String> { panic!("a defect") });
        assert!(told.is_err_and(|why| why.contains("panicked")));
    }
}
