//! Who goes next: a pure state machine, without a clock, files or processes. What happens goes in as an [`Event`],
//! what is to be done comes out as [`Decision`]s.
//!
//! One running job a participant; of those who wait, who has used the least time goes next; a participant's newer
//! deployment takes the place of the one that waits; a job that we could not judge waits again, at most
//! [`TRIES`] times in all.

use std::collections::BTreeMap;
use std::time::Duration;

use optivex_bundle::digest::SubmissionId;
use optivex_bundle::names::Name;

/// Times that a job is tried at most: once, and twice again after trouble of ours.
pub const TRIES: u32 = 3;

/// A deployment in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which.
    pub id: SubmissionId,
    /// When its receipt was given: of a participant's deployments the newest is meant.
    pub received: String,
    /// The receipt's attempt.
    pub attempt: u32,
    /// Which try at it comes, from 1.
    pub try_number: u32,
    /// Whether it was taken out of `waiting` already.
    pub claimed: bool,
}

impl Job {
    /// As it arrives.
    pub fn new(id: SubmissionId, received: impl Into<String>, attempt: u32) -> Self {
        Self {
            id,
            received: received.into(),
            attempt,
            try_number: 1,
            claimed: false,
        }
    }
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deployment waits: seen for the first time, or again after a restart.
    Arrived(Name, Job),
    /// A participant wants a deployment to end.
    Cancelled(Name, SubmissionId),
    /// A job is over.
    Ended {
        /// Whose.
        participant: Name,
        /// Which.
        id: SubmissionId,
        /// What it took of a slot.
        used: Duration,
        /// Whether we failed, and not the submission.
        trouble: bool,
    },
    /// Start nothing more for now, or go on.
    Hold(bool),
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run it.
    Start(Name, Job),
    /// It never ran: a newer one took its place.
    Supersede(Name, Job, SubmissionId),
    /// It never ran: its participant does not want it any more.
    Drop(Name, Job),
    /// It runs: end it.
    Stop(Name, SubmissionId),
    /// It was tried often enough: tell that it is our fault.
    GiveUp(Name, Job),
}

#[derive(Clone, Debug, Default)]
struct Person {
    used: Duration,
    waiting: Option<Job>,
    running: Option<Job>,
}

/// The queue.
#[derive(Clone, Debug)]
pub struct Queue {
    slots: usize,
    held: bool,
    people: BTreeMap<Name, Person>,
}

impl Queue {
    /// An empty one, which runs so many jobs at a time.
    pub fn new(slots: usize) -> Self {
        Self {
            slots,
            held: false,
            people: BTreeMap::new(),
        }
    }

    /// What a participant used before, as the ledger has it.
    pub fn has_used(&mut self, participant: Name, used: Duration) {
        self.people.entry(participant).or_default().used += used;
    }

    /// What a participant used so far.
    pub fn used(&self, participant: &Name) -> Duration {
        self.people
            .get(participant)
            .map_or(Duration::ZERO, |person| person.used)
    }

    /// Jobs that run.
    pub fn running(&self) -> impl Iterator<Item = (&Name, &Job)> {
        self.people
            .iter()
            .filter_map(|(name, person)| Some((name, person.running.as_ref()?)))
    }

    /// Jobs that wait, next first, were all slots to become free one after the other.
    pub fn waiting(&self) -> Vec<(&Name, &Job)> {
        let mut waiting: Vec<_> = self
            .people
            .iter()
            .filter_map(|(name, person)| Some((name, person.waiting.as_ref()?)))
            .collect();
        waiting.sort_by_key(|(name, job)| self.rank(name, job));
        waiting
    }

    /// Takes an event, and tells what is to be done for it, in this order.
    pub fn take(&mut self, event: Event) -> Vec<Decision> {
        self.take_all([event])
    }

    /// Takes what was seen at the same time: nothing is started before all of it is known.
    pub fn take_all(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for event in events {
            decisions.extend(match event {
                Event::Arrived(participant, job) => self.arrived(participant, job),
                Event::Cancelled(participant, id) => self.cancelled(participant, id),
                Event::Ended {
                    participant,
                    id,
                    used,
                    trouble,
                } => self.ended(participant, id, used, trouble),
                Event::Hold(held) => {
                    self.held = held;
                    Vec::new()
                }
            });
        }
        decisions.extend(self.start());
        decisions
    }

    fn arrived(&mut self, participant: Name, job: Job) -> Vec<Decision> {
        let person = self.people.entry(participant.clone()).or_default();
        let same = |other: &Option<Job>| {
            other
                .as_ref()
                .is_some_and(|other| (other.id, other.attempt) == (job.id, job.attempt))
        };
        if same(&person.waiting) || same(&person.running) {
            return Vec::new();
        }
        let (older, newer) = match person.waiting.take() {
            None => (None, job),
            Some(other) if other.received <= job.received => (Some(other), job),
            Some(other) => (Some(job), other),
        };
        let by = newer.id;
        person.waiting = Some(newer);
        older
            .map(|older| Decision::Supersede(participant, older, by))
            .into_iter()
            .collect()
    }

    fn cancelled(&mut self, participant: Name, id: SubmissionId) -> Vec<Decision> {
        let Some(person) = self.people.get_mut(&participant) else {
            return Vec::new();
        };
        if let Some(job) = person.waiting.take_if(|job| job.id == id) {
            return vec![Decision::Drop(participant, job)];
        }
        match &person.running {
            Some(job) if job.id == id => vec![Decision::Stop(participant, id)],
            _ => Vec::new(),
        }
    }

    fn ended(&mut self, participant: Name, id: SubmissionId, used: Duration, trouble: bool) -> Vec<Decision> {
        let Some(person) = self.people.get_mut(&participant) else {
            return Vec::new();
        };
        let Some(job) = person.running.take_if(|job| job.id == id) else {
            return Vec::new();
        };
        match trouble {
            // Our trouble costs nobody their turn.
            true if job.try_number < TRIES => {
                let again = Job {
                    try_number: job.try_number + 1,
                    claimed: true,
                    ..job
                };
                self.arrived(participant, again)
            }
            true => vec![Decision::GiveUp(participant, job)],
            false => {
                person.used += used;
                Vec::new()
            }
        }
    }

    fn start(&mut self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        while !self.held && self.running().count() < self.slots {
            let next = self
                .people
                .iter()
                .filter(|(_, person)| person.running.is_none())
                .filter_map(|(name, person)| Some((name, person.waiting.as_ref()?)))
                .min_by_key(|(name, job)| self.rank(name, job))
                .map(|(name, _)| name.clone());
            let Some(name) = next else { break };
            let person = self.people.entry(name.clone()).or_default();
            let Some(job) = person.waiting.take() else { break };
            person.running = Some(job.clone());
            decisions.push(Decision::Start(name, job));
        }
        decisions
    }

    fn rank(&self, name: &Name, job: &Job) -> (Duration, String, Name) {
        (self.used(name), job.received.clone(), name.clone())
    }
}

#[cfg(test)]
mod tests;
