//! The thread that makes inputs durable, and tells what came of them.

use std::sync::Arc;
use std::time::Instant;

use optivex_journal::{Batch, EventSink, Events, Journal};
use tokio::sync::mpsc;

use super::shared::{BatchRelease, Decided, NO_ROOM, Release, Shared, Taken, Work};
use super::{Answer, EventRef, Request};
use crate::error::Error;

pub(super) struct JournalThread {
    shared: Arc<Shared>,
    journal: Box<dyn Journal>,
    sinks: Vec<Box<dyn EventSink>>,
    /// To wake the sequencer. Weak: the journal thread must not keep the input open.
    input: mpsc::WeakSender<Request>,
}

/// One work without its batch.
struct Unreleased {
    events: Events,
    releases: Vec<Release>,
    weight: usize,
}

/// Everything that the next sync makes durable.
#[derive(Default)]
struct Group {
    /// Those that are not empty.
    batches: Vec<Batch>,
    works: Vec<Unreleased>,
}

impl Group {
    fn extend(&mut self, works: impl IntoIterator<Item = Work>) {
        for work in works {
            if !work.batch.is_empty() {
                self.batches.push(work.batch);
            }
            self.works.push(Unreleased {
                events: work.events,
                releases: work.releases,
                weight: work.weight,
            });
        }
    }

    fn events(&self) -> usize {
        self.works.iter().map(|work| work.events.len()).sum()
    }

    /// Drops what holds no event, once it was answered; its weight. A disk may fail for days, and
    /// clients ask all the time.
    fn forget_answered(&mut self) -> usize {
        let mut weight = 0;
        self.works.retain_mut(|work| {
            let is_needed = !work.events.is_empty() || !work.releases.is_empty();
            if !is_needed {
                weight += work.weight;
            }
            work.releases.shrink_to_fit();
            is_needed
        });
        weight
    }
}

impl JournalThread {
    pub(super) fn new(
        shared: Arc<Shared>,
        journal: Box<dyn Journal>,
        sinks: Vec<Box<dyn EventSink>>,
        input: mpsc::WeakSender<Request>,
    ) -> Self {
        Self {
            shared,
            journal,
            sinks,
            input,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            match self.shared.take(self.shared.options.retry_delay_max) {
                Taken::Works(works) => {
                    self.shared.step();
                    let mut group = Group::default();
                    group.extend(works);
                    self.commit(&mut group);
                    // Before the answers: the sequencer decides what has gathered meanwhile.
                    self.shared.committed();
                    self.release(group);
                    self.look_for_room();
                }
                Taken::Nothing => self.look_for_room(),
                Taken::Closed => return self.retain(),
            }
            self.retain();
        }
    }

    /// Drops from the journal what a new snapshot has made needless.
    fn retain(&mut self) {
        let Some(history_durable_through) = self.shared.take_retain() else {
            return;
        };
        match self.journal.retain(history_durable_through) {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "dropped old events from the journal"),
            // Only disk space is at stake; the next snapshot is another chance.
            Err(error) => tracing::warn!(%error, "old events stay in the journal"),
        }
    }

    /// Makes the group durable, and with it what arrives while the disk fails. As long as it fails
    /// nothing is given up, only its clients are told that they cannot know.
    fn commit(&mut self, group: &mut Group) {
        if group.batches.is_empty() {
            return;
        }
        let mut delay = self.shared.options.retry_delay;
        loop {
            let begun = Instant::now();
            let committed = self.journal.commit(&group.batches);
            self.shared.step();
            match committed {
                Ok(()) => {
                    let bytes = group.batches.iter().map(Batch::byte_len).sum();
                    self.shared.telemetry.committed(group.events(), bytes, begun.elapsed());
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, events = group.events(), "the journal cannot be written, trying again");
                    self.shared.telemetry.commit_failed();
                    self.shared
                        .set_disk(Some(format!("the journal cannot be written: {error}")));
                    tell_unknown(group);
                    group.extend(self.shared.take_after(delay));
                    tell_unknown(group);
                    self.shared.released(group.forget_answered());
                    delay = (delay * 2).min(self.shared.options.retry_delay_max);
                }
            }
        }
    }

    /// Shows what is durable to the sinks, then answers.
    fn release(&mut self, group: Group) {
        for work in group.works {
            if let Some(last) = work.events.last() {
                for sink in &mut self.sinks {
                    sink.publish(&work.events);
                    self.shared.step();
                }
                self.shared.set_durable(last.event_seq);
            }
            for release in work.releases {
                match release {
                    Release::Event(reply, index, received) => {
                        let events = work.events.clone();
                        reply.tell(Answer::Event(EventRef { events, index }));
                        self.shared.telemetry.answered(1, received.elapsed());
                    }
                    Release::Answer(reply, answer) => reply.tell(answer),
                    Release::Batch(batch) => self.answer(batch, &work.events),
                    Release::Query(tell) => tell(Ok(())),
                }
            }
            self.shared.released(work.weight);
        }
    }

    fn answer(&self, batch: BatchRelease, events: &Events) {
        let BatchRelease {
            mut hear,
            decided,
            received,
        } = batch;
        let mut count = 0;
        for decided in decided {
            match decided {
                Decided::Event(index) => {
                    count += 1;
                    hear.event(&events[index]);
                }
                Decided::Answer(answer) => hear.other(*answer),
            }
        }
        drop(hear);
        self.shared.telemetry.answered(count, received.elapsed());
    }

    fn look_for_room(&mut self) {
        match (self.journal.has_room(), self.shared.disk_ready()) {
            (false, true) => self.shared.set_disk(Some(NO_ROOM.to_owned())),
            (true, false) => {
                self.shared.set_disk(None);
                if let Some(input) = self.input.upgrade() {
                    // A full input wakes the sequencer by itself.
                    let _ = input.try_send(Request::Wake);
                }
            }
            (true, true) | (false, false) => {}
        }
    }
}

fn tell_unknown(group: &mut Group) {
    const WHY: &str =
        "the disk fails; whether the command took place is not known yet: retry it with the same client id";
    let not_ready = || Answer::NotReady("the disk fails".to_owned());
    for release in group.works.iter_mut().flat_map(|work| work.releases.drain(..)) {
        match release {
            Release::Event(reply, ..)
            | Release::Answer(reply, Answer::OrderRepeated { .. } | Answer::InstrumentRepeated { .. }) => {
                reply.tell(Answer::Unknown(WHY.to_owned()));
            }
            Release::Answer(reply, _) => reply.tell(not_ready()),
            Release::Batch(BatchRelease { mut hear, decided, .. }) => {
                for decided in decided {
                    let rests_on_an_event = match decided {
                        Decided::Event(_) => true,
                        Decided::Answer(answer) => {
                            matches!(
                                *answer,
                                Answer::OrderRepeated { .. } | Answer::InstrumentRepeated { .. }
                            )
                        }
                    };
                    hear.other(if rests_on_an_event {
                        Answer::Unknown(WHY.to_owned())
                    } else {
                        not_ready()
                    });
                }
            }
            Release::Query(tell) => tell(Err(Error::not_ready("the disk fails"))),
        }
    }
}
