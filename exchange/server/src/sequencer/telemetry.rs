//! What the sequencer measures. The recorder must be installed before the sequencer is started:
//! handles are taken once, so that a command costs no look-up.

use std::time::Duration;

use metrics::histogram;
use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use optivex_engine::event::Outcome;
use optivex_engine::{Event, Refusal};
use optivex_proto::v1::ErrorReason;

use crate::error;

pub(super) struct Telemetry {
    events: Counter,
    orders_inserted: Counter,
    orders_amended: Counter,
    orders_cancelled: Counter,
    trades: Counter,
    /// The index is the number of the `ErrorReason`.
    refusals: Vec<Counter>,
    input_depth: Gauge,
    journal_bytes: Counter,
    batch_events: Histogram,
    commit_seconds: Histogram,
    commit_failures: Counter,
    answer_seconds: Histogram,
    snapshot_take_seconds: Histogram,
    snapshot_store_seconds: Histogram,
    snapshot_bytes: Gauge,
    snapshot_event_seq: Gauge,
    snapshot_failures: Counter,
}

impl Telemetry {
    pub(super) fn new() -> Self {
        describe();
        let refusals = (0..)
            .map_while(|number| ErrorReason::try_from(number).ok())
            .map(|reason| counter!("optivex_refusals_total", "reason" => error::reason_name(reason)))
            .collect();
        Self {
            events: counter!("optivex_events_total"),
            orders_inserted: counter!("optivex_orders_total", "action" => "insert"),
            orders_amended: counter!("optivex_orders_total", "action" => "amend"),
            orders_cancelled: counter!("optivex_orders_total", "action" => "cancel"),
            trades: counter!("optivex_trades_total"),
            refusals,
            input_depth: gauge!("optivex_input_depth"),
            journal_bytes: counter!("optivex_journal_bytes_total"),
            batch_events: histogram!("optivex_journal_batch_events"),
            commit_seconds: histogram!("optivex_journal_commit_seconds"),
            commit_failures: counter!("optivex_journal_commit_failures_total"),
            answer_seconds: histogram!("optivex_receipt_to_durable_seconds"),
            snapshot_take_seconds: histogram!("optivex_snapshot_take_seconds"),
            snapshot_store_seconds: histogram!("optivex_snapshot_store_seconds"),
            snapshot_bytes: gauge!("optivex_snapshot_bytes"),
            snapshot_event_seq: gauge!("optivex_snapshot_event_seq"),
            snapshot_failures: counter!("optivex_snapshot_failures_total"),
        }
    }

    pub(super) fn event(&self, event: &Event) {
        self.events.increment(1);
        self.trades.increment(event.trades.len() as u64);
        match event.outcome {
            Outcome::Inserted(_) => self.orders_inserted.increment(1),
            Outcome::Amended(_) => self.orders_amended.increment(1),
            Outcome::Cancelled(..) => self.orders_cancelled.increment(1),
            Outcome::AllCancelled(orders) | Outcome::UserSuspended(_, orders) => {
                self.orders_cancelled.increment(orders)
            }
            _ => {}
        }
    }

    pub(super) fn refusal(&self, refusal: &Refusal) {
        if let Some(counter) = self.refusals.get(error::reason(refusal) as usize) {
            counter.increment(1);
        }
    }

    pub(super) fn input_depth(&self, waiting: usize) {
        self.input_depth.set(waiting as f64);
    }

    pub(super) fn committed(&self, events: usize, bytes: usize, elapsed: Duration) {
        self.journal_bytes.increment(bytes as u64);
        self.batch_events.record(events as f64);
        self.commit_seconds.record(elapsed);
    }

    pub(super) fn commit_failed(&self) {
        self.commit_failures.increment(1);
    }

    pub(super) fn answered(&self, commands: usize, elapsed: Duration) {
        self.answer_seconds.record_many(elapsed, commands);
    }

    pub(super) fn snapshot_taken(&self, bytes: usize, elapsed: Duration) {
        self.snapshot_bytes.set(bytes as f64);
        self.snapshot_take_seconds.record(elapsed);
    }

    pub(super) fn snapshot_stored(&self, event_seq: u64, elapsed: Duration) {
        self.snapshot_event_seq.set(event_seq as f64);
        self.snapshot_store_seconds.record(elapsed);
    }

    pub(super) fn snapshot_failed(&self) {
        self.snapshot_failures.increment(1);
    }
}

fn describe() {
    describe_counter!("optivex_events_total", "Accepted commands.");
    describe_counter!(
        "optivex_orders_total",
        "Orders inserted, amended, and cancelled on demand (cancel-alls and suspensions count each order)."
    );
    describe_counter!("optivex_trades_total", "Trades.");
    describe_counter!(
        "optivex_refusals_total",
        "Commands that the engine refused, by reason. An order that is not open counts as UNKNOWN_ORDER."
    );
    describe_gauge!(
        "optivex_input_depth",
        "Commands and queries that wait for the sequencer."
    );
    describe_counter!("optivex_journal_bytes_total", Unit::Bytes, "Records made durable.");
    describe_histogram!("optivex_journal_batch_events", "Events made durable by one commit.");
    describe_histogram!(
        "optivex_journal_commit_seconds",
        Unit::Seconds,
        "Duration of one commit."
    );
    describe_counter!(
        "optivex_journal_commit_failures_total",
        "Commits that failed and were tried again."
    );
    describe_histogram!(
        "optivex_receipt_to_durable_seconds",
        Unit::Seconds,
        "From the receipt of an accepted command to its durable answer."
    );
    describe_histogram!(
        "optivex_snapshot_take_seconds",
        Unit::Seconds,
        "Pause of the sequencer for a snapshot."
    );
    describe_histogram!("optivex_snapshot_store_seconds", Unit::Seconds, "Storing a snapshot.");
    describe_gauge!("optivex_snapshot_bytes", Unit::Bytes, "Size of the last snapshot.");
    describe_gauge!("optivex_snapshot_event_seq", "Event of the last stored snapshot.");
    describe_counter!("optivex_snapshot_failures_total", "Snapshots that could not be stored.");
}
