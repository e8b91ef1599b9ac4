//! The one writer: takes commands in one order, gives them their time and number, and releases their
//! answers when they are durable.

use std::sync::Arc;

use optivex_engine::types::{InstrumentId, UserId};
use optivex_engine::{Command, Engine, Event, Refusal};
use optivex_journal::Events;

use crate::error::Error;

/// A way to the sequencer; cheap to clone.
#[derive(Clone, Debug)]
pub struct Exchange {}

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
        order_id: optivex_engine::types::OrderId,
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
    /// Not taken, or its outcome cannot be told: `NOT_READY`.
    NotReady(String),
}

#[allow(clippy::todo, unused_variables)]
impl Exchange {
    /// Decides a command; the answer comes when it is durable.
    pub async fn submit(&self, command: Command) -> Answer {
        todo!()
    }

    /// As [`Exchange::submit`] with a callback instead of a future, for streams with many commands in
    /// flight: called in the order of submission, on the release thread, so it must not block.
    pub fn submit_with(&self, command: Command, answer: impl FnOnce(Answer) + Send + 'static) {
        todo!()
    }

    /// Reads the state in the sequencer's turn; the answer comes when everything that it shows is
    /// durable. `read` gets the engine and the current time, and must be short.
    pub async fn query<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine, i64) -> T + Send + 'static,
    ) -> Result<T, Error> {
        todo!()
    }

    /// The instrument of a symbol: known from the moment that the engine knows it.
    pub fn instrument(&self, symbol: &str) -> Option<InstrumentId> {
        todo!()
    }

    /// The symbol of an instrument.
    pub fn symbol(&self, instrument: InstrumentId) -> Option<Arc<str>> {
        todo!()
    }

    /// The user of a name, if the engine knows it.
    pub fn user(&self, username: &str) -> Option<UserId> {
        todo!()
    }
}
