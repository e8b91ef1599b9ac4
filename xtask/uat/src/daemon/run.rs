//! The daemon itself: what happens goes into the queue, what the queue decides is done.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use notify::{RecursiveMode, Watcher};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::names::Name;
use optivex_bundle::spool::{UatMode, UatStatus};
use optivex_bundle::verdict::Verdict;
use optivex_exit::{Exit, Failure};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::context::{Account, Context};
use super::job::{Job as Deployment, Place, Try};
use super::judge::Tests;
use super::queue::{Decision, Event, Job, Queue};
use super::setbacks::Setbacks;
use super::state::write_json;
use super::{aside, context, metrics, outbox, rejudge, scoreboard, self_test};
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
pub(super) enum Wake {
    Spool,
    Drain,
    Ended(Name, SubmissionId, Duration, Result<Try, String>),
    SelfTested(Digest, Option<String>),
}

/// Why nothing is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) why: String,
    /// It passes by itself in a moment: nobody need be told.
    pub(super) routine: bool,
}

pub(super) struct Daemon {
    pub(super) context: Arc<Context>,
    pub(super) queue: Queue,
    pub(super) sender: Sender<Wake>,
    pub(super) running: BTreeMap<(Name, SubmissionId), (u32, Cancel)>,
    pub(super) free_slots: Vec<u32>,
    pub(super) draining: bool,
    pub(super) held: Option<Held>,
    pub(super) self_test: self_test::Standing,
    /// Those that `current` names.
    pub(super) wanted: Option<Tests>,
    /// Those that deployments are judged by: the same, once the self-test has passed with them.
    pub(super) tests: Option<Tests>,
    pub(super) setbacks: Setbacks,
    /// Participants whose folders cannot be looked at, and why.
    pub(super) unseen: BTreeMap<Name, String>,
    pub(super) counts: metrics::Counts,
    told: Option<(Instant, UatStatus)>,
    until: Until,
}

/// Takes the spool: there is one daemon at a time.
pub fn lock(context: &Context) -> Result<File> {
    context.state.try_lock("daemon", "another daemon")
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
        wanted: None,
        tests: None,
        setbacks: Setbacks::default(),
        unseen: BTreeMap::new(),
        counts: metrics::Counts::default(),
        told: None,
        until,
        context,
    };
    daemon.recover()?;
    let sending = outbox::start(Arc::clone(&daemon.context));
    let ended = daemon.work(&wakes);
    if let Err(error) = daemon.tell(Some(UatMode::Stopped)) {
        tracing::error!("the gate is not told that this ends: {error:#}");
    }
    sending.stop(until == Until::Empty);
    ended
}

impl Daemon {
    /// What daemons before this one left.
    fn recover(&mut self) -> Result<()> {
        // Whole: what was changed meanwhile is found out before anything is written behind it.
        self.context.ledger.read()?;
        // Of these nothing depends on: whatever they cannot do is told, and done by a later daemon.
        for done in [
            context::forget_programs(&self.context.state),
            rejudge::recover(&self.context),
            aside::tell_all(&self.context),
        ] {
            done.unwrap_or_else(|error| tracing::error!("{error:#}"));
        }
        for entry in &self.context.ledger.entries()?.entries {
            self.queue
                .has_used(entry.participant.clone(), Duration::from_millis(entry.used_millis));
            self.counts.judged(&entry.verdict);
        }
        // Nothing starts before all is looked through.
        self.held = Some(Held {
            why: "starting".to_owned(),
            routine: true,
        });
        self.take(Event::Hold(true));
        Ok(())
    }

    fn work(&mut self, wakes: &Receiver<Wake>) -> Result<()> {
        let mut unseen: Option<String> = None;
        loop {
            match self.look() {
                Ok(()) => unseen = None,
                Err(error) if self.until == Until::Empty => return Err(error),
                Err(error) => {
                    // Others may be judged meanwhile, and it may pass: the next scan tells.
                    let error = format!("{error:#}");
                    if unseen.as_ref() != Some(&error) {
                        tracing::error!("the spool cannot be looked at: {error}");
                    }
                    unseen = Some(error);
                }
            }
            let idle = self.running.is_empty() && !self.self_test.runs();
            // A self-test judges nobody: it ends with this process.
            if self.draining && self.running.is_empty() {
                return Ok(());
            }
            if self.until == Until::Empty && idle && (self.held.is_some() || self.queue.waiting().is_empty()) {
                match &self.held {
                    Some(held) if !self.queue.waiting().is_empty() => {
                        let why = format!("the queue is held: {}", held.why);
                        return Err(Failure::new(Exit::Infrastructure, why).into());
                    }
                    _ if self.setbacks.is_empty() => return Ok(()),
                    _ if self.setbacks.hopeless() => {
                        let why = "there are deployments that can neither be judged nor be set aside";
                        return Err(Failure::new(Exit::Infrastructure, why).into());
                    }
                    _ => {}
                }
            }
            match wakes.recv_timeout(SCAN) {
                Ok(wake) => self.woken(wake),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            // All that came meanwhile is one scan.
            while let Ok(wake) = wakes.try_recv() {
                self.woken(wake);
            }
        }
    }

    fn woken(&mut self, wake: Wake) {
        match wake {
            Wake::Spool => {}
            Wake::Drain => {
                tracing::info!(running = self.running.len(), "draining: nothing more is started");
                self.draining = true;
            }
            Wake::SelfTested(tests, trouble) => self.self_tested(tests, trouble),
            Wake::Ended(participant, id, used, ended) => self.ended(participant, id, used, ended),
        }
    }

    fn self_tested(&mut self, tests: Digest, trouble: Option<String>) {
        let Some(wanted) = self.wanted.as_ref().filter(|wanted| wanted.digest == tests) else {
            // Other tests were installed meanwhile: what these came to is no matter.
            self.self_test.ended_in_vain();
            return;
        };
        match &trouble {
            Some(why) => tracing::error!("self-test: {why}"),
            None => {
                tracing::info!(%tests, "self-test: the reference exchange passes, the faulty one fails");
                self.tests = Some(wanted.clone());
            }
        }
        self.self_test.ended(trouble);
    }

    fn ended(&mut self, participant: Name, id: SubmissionId, used: Duration, ended: Result<Try, String>) {
        if let Some((slot, _)) = self.running.remove(&(participant.clone(), id)) {
            self.free_slots.push(slot);
        }
        let trouble = match ended {
            Ok(Try::Over(verdict)) => {
                self.counts.judged(&verdict);
                false
            }
            Ok(Try::Trouble(why)) | Err(why) => {
                self.counts.troubles += 1;
                tracing::warn!(%participant, %id, "our trouble: {why}");
                true
            }
        };
        self.take(Event::Ended {
            participant,
            id,
            used,
            trouble,
        });
    }

    fn take(&mut self, event: Event) {
        self.take_all([event]);
    }

    pub(super) fn take_all(&mut self, events: impl IntoIterator<Item = Event>) {
        for decision in self.queue.take_all(events) {
            self.decided(decision);
        }
    }

    fn decided(&mut self, decision: Decision) {
        match decision {
            Decision::Start(participant, job) => self.start(participant, job),
            Decision::Supersede(participant, job, by) => {
                self.tell_untested(&participant, &job, Verdict::Superseded { by });
            }
            Decision::Drop(participant, job) => self.tell_untested(&participant, &job, Verdict::Cancelled),
            Decision::GiveUp(participant, job) => {
                let tries = self.context.state.tries(&participant, job.id);
                let why = tries
                    .ok()
                    .and_then(|tries| tries.troubles.last().cloned())
                    .unwrap_or_else(|| "UAT was interrupted".to_owned());
                self.tell_untested(&participant, &job, Verdict::Infrastructure { why });
            }
            Decision::Stop(participant, id) => {
                if let Some((_, cancel)) = self.running.get(&(participant, id)) {
                    cancel.cancel();
                }
            }
        }
    }

    fn start(&mut self, participant: Name, job: Job) {
        let (context, sender) = (Arc::clone(&self.context), self.sender.clone());
        let failed = |why: String| Wake::Ended(participant.clone(), job.id, Duration::ZERO, Err(why));
        let (Some(slot), Some(tests)) = (self.free_slots.pop(), self.tests.clone()) else {
            // The queue keeps to the slots, and is held without tests: a defect, and no reason to lose anything.
            let _ = sender.send(failed("there is no slot, or there are no tests".to_owned()));
            return;
        };
        let cancel = Cancel::default();
        self.running
            .insert((participant.clone(), job.id), (slot, cancel.clone()));
        if let Err(error) = self.claim(&participant, &job) {
            let _ = sender.send(failed(format!("{error:#}")));
            return;
        }
        std::thread::spawn(move || {
            let begun = Instant::now();
            let place = Place {
                slot: &format!("slot-{slot}"),
                account: context.account(Account::Slot(slot)),
                cancel: &cancel,
                tests: &tests,
            };
            let ended = unless_it_panics(|| {
                let deployment = Deployment::claimed(&context, &participant, job.id).map_err(told)?;
                let ended = deployment.attempt(&place).map_err(told);
                ended.inspect_err(|why| deployment.lost(why))
            });
            // The daemon may have ended; then the next one finds it claimed.
            let _ = sender.send(Wake::Ended(participant, job.id, begun.elapsed(), ended));
        });
    }

    fn claim(&self, participant: &Name, job: &Job) -> Result<()> {
        if !job.claimed && self.context.state.spool.waiting_job(participant, job.id).exists() {
            self.context.state.claim(participant, job.id)?;
            self.context.steps.reached("claimed");
        }
        Ok(())
    }

    fn tell_untested(&mut self, participant: &Name, job: &Job, verdict: Verdict) {
        if let Err(error) = self.untested(participant, job, &verdict) {
            let why = format!("{error:#}");
            self.set_back((participant.clone(), job.id), &why, Some((job.clone(), verdict)));
        }
    }

    pub(super) fn untested(&mut self, participant: &Name, job: &Job, verdict: &Verdict) -> Result<()> {
        self.claim(participant, job)?;
        Deployment::claimed(&self.context, participant, job.id)?.publish_untested(verdict.clone())?;
        self.counts.judged(verdict);
        Ok(())
    }

    /// Tells the gate, the scoreboard and the metrics, if there is something new or the time has come.
    pub(super) fn tell(&mut self, mode: Option<UatMode>) -> Result<()> {
        let tests = self.tests.as_ref().or(self.wanted.as_ref());
        let mode = mode.unwrap_or_else(|| match (&self.held, self.draining) {
            (_, true) => UatMode::Draining,
            (Some(held), _) if !held.routine => UatMode::Paused { why: held.why.clone() },
            _ => UatMode::Running,
        });
        let status = UatStatus {
            written: 0,
            mode,
            slots: self.context.config.slots(),
            tests: tests.map(|tests| tests.digest),
            contract: tests.map(|tests| tests.contract),
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
pub(super) fn unless_it_panics<T>(what: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(what))
        .unwrap_or_else(|_| Err("a defect of the daemon's own: it panicked, see its log".to_owned()))
}

fn told(error: anyhow::Error) -> String {
    format!("{error:#}")
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
