//! What the daemon looks at between two events: the spool, an operator's words, the tests, the disk, the clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use optivex_bundle::digest::SubmissionId;
use optivex_bundle::durable;
use optivex_bundle::names::Name;
use optivex_bundle::spool::{Deployments, Receipt, Spool};

use super::job::Job as Deployment;
use super::queue::{Event, Job};
use super::run::{Daemon, Held, Wake, unless_it_panics};
use super::setbacks::{Key, Untold};
use super::{aside, disk, pinned, self_test};

impl Daemon {
    /// Looks at everything that may have changed.
    pub(super) fn look(&mut self) -> Result<()> {
        let context = Arc::clone(&self.context);
        let spool = &context.state.spool;
        self.tell_again()?;
        let why = self.why_held()?;
        // First: what is cancelled was there before, so it is seen below.
        let cancelled = cancelled(spool)?;
        let mut events = Vec::new();
        let mut unreadable = BTreeSet::new();
        for participant in spool.participants_claimed()? {
            let found = self.seen(&participant, spool.claimed_deployments(&participant));
            for receipt in self.readable(&participant, found, &mut unreadable) {
                events.extend(self.adopt(&participant, receipt, &mut unreadable));
            }
        }
        for participant in spool.participants_waiting()? {
            let found = self.seen(&participant, spool.waiting_deployments(&participant));
            for receipt in self.readable(&participant, found, &mut unreadable) {
                if !self.setbacks.is_untold(&(participant.clone(), receipt.id)) {
                    let job = Job::new(receipt.id, receipt.received, receipt.attempt);
                    events.push(Event::Arrived(participant.clone(), job));
                }
            }
        }
        self.setbacks.only(&unreadable);
        let asked = cancelled.iter().cloned();
        events.extend(asked.map(|(participant, id)| Event::Cancelled(participant, id)));
        events.push(self.held_by(why));
        self.take_all(events);
        for (participant, id) in cancelled {
            let key = (participant, id);
            if !self.waits(&key) && !self.running.contains_key(&key) {
                // It came too late, and must not end a later attempt.
                let path = spool.cancel(&key.0, id);
                durable::remove(&path).unwrap_or_else(|error| tracing::warn!("{}: {error}", path.display()));
            }
        }
        self.tell(None)
    }

    /// A participant whose folder cannot be looked at is nobody else's trouble.
    fn seen(&mut self, participant: &Name, found: std::io::Result<Deployments>) -> Deployments {
        found.unwrap_or_else(|error| {
            let error = error.to_string();
            if self.unseen.get(participant) != Some(&error) {
                tracing::error!(%participant, "their deployments cannot be looked at: {error}");
                self.unseen.insert(participant.clone(), error);
            }
            Deployments::default()
        })
    }

    fn waits(&self, (participant, id): &Key) -> bool {
        let waiting = self.queue.waiting();
        waiting
            .into_iter()
            .any(|(name, job)| name == participant && job.id == *id)
    }

    /// Those that can be read; the others are set back.
    fn readable(&mut self, participant: &Name, found: Deployments, unreadable: &mut BTreeSet<Key>) -> Vec<Receipt> {
        for (id, why) in found.broken {
            let key = (participant.clone(), id);
            // One that runs was read when it was started.
            if !self.running.contains_key(&key) {
                unreadable.insert(key.clone());
                self.set_back(key, &why, None);
            }
        }
        found.receipts
    }

    /// One that is claimed, and that nobody here has: a daemon before this one left it, or could not read it. What was
    /// decided is told, what was not waits again.
    fn adopt(&mut self, participant: &Name, receipt: Receipt, unreadable: &mut BTreeSet<Key>) -> Option<Event> {
        let key = (participant.clone(), receipt.id);
        if self.running.contains_key(&key) || self.waits(&key) || self.setbacks.is_untold(&key) {
            return None;
        }
        let id = receipt.id;
        let tries = match self.told_if_decided(participant, id) {
            Ok(true) => return None,
            Ok(false) => self.context.state.tries(participant, id),
            Err(error) => Err(error),
        };
        match tries {
            Ok(tries) => {
                tracing::info!(%participant, %id, "interrupted: it waits again");
                let job = Job {
                    try_number: tries.begun + 1,
                    claimed: true,
                    ..Job::new(id, receipt.received, receipt.attempt)
                };
                Some(Event::Arrived(participant.clone(), job))
            }
            Err(error) => {
                unreadable.insert(key.clone());
                self.set_back(key, &format!("{error:#}"), None);
                None
            }
        }
    }

    fn told_if_decided(&self, participant: &Name, id: SubmissionId) -> Result<bool> {
        let job = Deployment::claimed(&self.context, participant, id)?;
        if job.decided()?.is_none() {
            return Ok(false);
        }
        tracing::info!(%participant, %id, "decided before the daemon ended: telling it");
        job.finish()?;
        Ok(true)
    }

    /// Tells again what could not be told, unless it is for want of room: then that has to come first.
    fn tell_again(&mut self) -> Result<()> {
        let due = self.setbacks.due(Instant::now());
        if due.is_empty() || disk::room(&self.context)?.is_some() {
            return Ok(());
        }
        for (key, (job, verdict)) in due {
            match self.untested(&key.0, &job, &verdict) {
                Ok(()) => self.setbacks.over(&key),
                Err(error) => self.set_back(key, &format!("{error:#}"), None),
            }
        }
        Ok(())
    }

    /// One cannot be got on with; after a few times it is set aside.
    pub(super) fn set_back(&mut self, key: Key, why: &str, untold: Option<Untold>) {
        let (participant, id) = &key;
        match self.setbacks.count(key.clone(), untold, Instant::now()) {
            None => {}
            Some(false) => tracing::error!(%participant, %id, "tried again in a moment: {why}"),
            Some(true) => match aside::set_aside(&self.context, participant, *id, why) {
                Ok(()) => self.setbacks.over(&key),
                Err(error) => tracing::error!(%participant, %id, "cannot be set aside ({why}): {error:#}"),
            },
        }
    }

    fn why_held(&mut self) -> Result<Option<Held>> {
        let for_people = |why: String| Ok(Some(Held { why, routine: false }));
        let routine = |why: &str| {
            let why = why.to_owned();
            Ok(Some(Held { why, routine: true }))
        };
        if self.draining {
            return for_people("draining".to_owned());
        }
        match self.context.state.word("pause") {
            Ok(None) => {}
            Ok(Some(word)) => return for_people(word.why),
            // Somebody wanted it to be still.
            Err(error) => return for_people(format!("paused, and why cannot be read: {error:#}")),
        }
        if let Err(error) = self.look_at_tests() {
            return for_people(format!("{error:#}"));
        }
        // Never beside a deployment: it would be felt by load scores, and they by it.
        if self.self_test.is_due() && self.running.is_empty() {
            self.begin_self_test();
        }
        if let Some(why) = self.self_test.holds() {
            return for_people(why);
        }
        if self.self_test.runs() {
            return routine("self-test runs");
        }
        if self.self_test.is_due() {
            return routine("the self-test waits for what runs");
        }
        match disk::room(&self.context)? {
            Some(why) => for_people(why),
            None => Ok(None),
        }
    }

    /// Takes the tests that `current` names, once they are sound: those that were begun with are never mixed with them.
    fn look_at_tests(&mut self) -> Result<()> {
        let digest = pinned::current(&self.context.tests_folder)?;
        if self.wanted.as_ref().is_some_and(|wanted| wanted.digest == digest) {
            return Ok(());
        }
        let tests = pinned::unpacked(&self.context.tests_folder, digest, &self.context.state)?;
        tracing::info!(tests = %digest, "tests");
        if !self.context.config.self_test.enabled {
            self.tests = Some(tests.clone());
        }
        self.wanted = Some(tests);
        self.self_test.other_tests();
        Ok(())
    }

    fn begin_self_test(&mut self) {
        let Some(tests) = self.wanted.clone() else { return };
        self.self_test.begin();
        let (context, sender) = (Arc::clone(&self.context), self.sender.clone());
        std::thread::spawn(move || {
            let run = || self_test::run(&context, &tests).map_err(|error| format!("{error:#}"));
            // The daemon may have ended.
            let _ = sender.send(Wake::SelfTested(tests.digest, unless_it_panics(run).err()));
        });
    }

    fn held_by(&mut self, held: Option<Held>) -> Event {
        if held != self.held {
            match &held {
                Some(Held { why, routine: false }) => tracing::warn!("nothing is started: {why}"),
                Some(Held { why, .. }) => tracing::info!("nothing is started: {why}"),
                None => tracing::info!("deployments are judged"),
            }
        }
        self.held = held;
        Event::Hold(self.held.is_some())
    }
}

/// What participants want to end.
fn cancelled(spool: &Spool) -> Result<Vec<Key>> {
    let mut cancelled = Vec::new();
    let root = spool.root().join("cancel");
    for folder in std::fs::read_dir(&root)
        .with_context(|| root.display().to_string())?
        .flatten()
    {
        let Some(participant) = folder.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
            continue;
        };
        // It may be no folder: nothing of it is asked for.
        for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            if let Some(id) = file.file_name().to_str().and_then(|name| name.parse().ok()) {
                cancelled.push((participant.clone(), id));
            }
        }
    }
    Ok(cancelled)
}
