//! Random sequences of commits, faults, crashes and restarts against a model: what was acknowledged is
//! there, what was not is there at most as a prefix, nothing twice, no gap, and the journal goes on.

mod support;

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use optivex_journal::{Batch, Embedded, Journal, JournalError, Options, Reader, Retention, SnapshotStore};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::SimDisk;

const DATA: &str = "/data";

fn options(segment_bytes: u64, retention: Retention) -> Options {
    Options {
        segment_bytes,
        reserve_bytes: 1024,
        retention,
        room_check_interval: Duration::ZERO,
        spare_in_background: false,
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many records of such lengths, in one or two batches.
    Commit(Vec<u16>),
    /// Faults from now on, of 1000 operations.
    Faults(u64),
    FailNextSync,
    /// So much room is left.
    Full(u64),
    Heal,
    AskForRoom,
    Snapshot,
    Retain(u64),
    Kill,
    PowerCut,
}

/// Often the same: a stale record then stands exactly where a new one ends.
fn record_length() -> impl Strategy<Value = u16> {
    prop_oneof![12 => Just(100_u16), 4 => 0_u16..200, 1 => 200_u16..6000]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => prop::collection::vec(record_length(), 1..12).prop_map(Step::Commit),
        2 => (0_u64..600).prop_map(Step::Faults),
        2 => Just(Step::FailNextSync),
        1 => (0_u64..40_000).prop_map(Step::Full),
        3 => Just(Step::Heal),
        2 => Just(Step::AskForRoom),
        2 => Just(Step::Snapshot),
        1 => (0_u64..200).prop_map(Step::Retain),
        2 => Just(Step::Kill),
        3 => Just(Step::PowerCut),
    ]
}

/// What must be on the disk.
#[derive(Default)]
struct Model {
    /// Acknowledged records; event N is at N - 1.
    acknowledged: Vec<Vec<u8>>,
    /// Given to the journal and not acknowledged.
    pending: Vec<Batch>,
    /// No two records are ever the same: a stale one would show.
    made: u64,
    /// Acknowledged snapshots.
    snapshots: Vec<u64>,
    first_kept: u64,
}

struct Run {
    disk: SimDisk,
    options: Options,
    journal: Option<Embedded>,
    snapshots: Option<SnapshotStore>,
    model: Model,
}

impl Run {
    fn new(seed: u64, options: Options) -> Self {
        let disk = SimDisk::new(seed);
        let mut run = Self {
            disk,
            options,
            journal: None,
            snapshots: None,
            model: Model {
                first_kept: 1,
                ..Model::default()
            },
        };
        run.start();
        run
    }

    fn pending_records(&self) -> Vec<Vec<u8>> {
        self.model
            .pending
            .iter()
            .flat_map(|batch| batch.records().map(|(_, bytes)| bytes.to_vec()))
            .collect()
    }

    /// Starts the process, with the faults of the moment; without them if it does not start.
    fn start(&mut self) {
        let open = || {
            Embedded::open_on(self.disk.storage(), Path::new(DATA), &self.options, || {
                b"genesis".to_vec()
            })
        };
        let opened = match open() {
            Ok(opened) => opened,
            Err(JournalError::File { .. } | JournalError::Io(_)) => {
                self.disk.heal();
                open().expect("a sound disk starts")
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(opened.genesis, b"genesis");
        assert_eq!(opened.report.first_event_seq, self.model.first_kept);
        let last = opened.report.last_event_seq as usize;
        let mut all = self.model.acknowledged.clone();
        all.extend(self.pending_records());
        assert!(
            last >= self.model.acknowledged.len(),
            "acknowledged records are lost: {last} are left"
        );
        assert!(
            last <= all.len(),
            "there are {last} records, and {} were written",
            all.len()
        );
        all.truncate(last);
        self.model.acknowledged = all;
        self.model.pending.clear();
        self.journal = Some(opened.journal);
        self.snapshots = Some(opened.snapshots);
        self.check();
    }

    /// Reads everything.
    fn check(&self) {
        let reader = Reader::open_on(self.disk.storage(), Path::new(DATA)).expect("a journal is there");
        let first = self.model.first_kept;
        let mut records = reader.read_from(first).expect("the first record is there");
        let mut expected = first;
        while let Some(record) = records.next().expect("nothing is damaged") {
            assert_eq!(record.event_seq, expected);
            if let Some(bytes) = self.model.acknowledged.get(expected as usize - 1) {
                assert_eq!(record.payload, bytes, "event {expected}");
            }
            expected += 1;
        }
        assert!(
            expected > self.model.acknowledged.len() as u64,
            "event {expected} is missing"
        );
        if let Some(&newest) = self.model.snapshots.last() {
            let snapshots = self.snapshots.as_ref().expect("open");
            let snapshot = snapshots
                .newest_until(u64::MAX)
                .expect("readable")
                .expect("a snapshot was stored");
            assert!(snapshot.event_seq >= newest, "the snapshot of event {newest} is lost");
            assert!(snapshot.event_seq <= self.model.acknowledged.len() as u64);
            assert_eq!(snapshot.bytes, state(snapshot.event_seq));
        }
    }

    fn commit(&mut self, lengths: &[u16]) -> bool {
        let next = self.model.acknowledged.len() + self.pending_records().len() + 1;
        let mut batch = Batch::default();
        for (event_seq, &length) in (next as u64..).zip(lengths) {
            self.model.made += 1;
            let mut bytes = self.model.made.to_le_bytes().to_vec();
            bytes.resize(8 + usize::from(length), (self.model.made % 251) as u8);
            batch.push_bytes(event_seq, &bytes);
        }
        self.model.pending.push(batch);
        let journal = self.journal.as_mut().expect("open");
        let done = journal.commit(&self.model.pending);
        if done.is_ok() {
            let records = self.pending_records();
            self.model.acknowledged.extend(records);
            self.model.pending.clear();
        }
        let journal = self.journal.as_ref().expect("open");
        assert_eq!(journal.durable_event_seq(), self.model.acknowledged.len() as u64);
        done.is_ok()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit(lengths) => {
                self.commit(lengths);
            }
            Step::Faults(rate) => self.disk.set_fault_rate(*rate),
            Step::FailNextSync => self.disk.fail_next_sync(),
            Step::Full(free) => self.disk.set_free(*free),
            Step::Heal => self.disk.heal(),
            Step::AskForRoom => {
                self.journal.as_mut().expect("open").has_room();
            }
            Step::Snapshot => {
                let event_seq = self.model.acknowledged.len() as u64;
                let journal = self.journal.as_mut().expect("open");
                assert!(matches!(
                    journal.store_snapshot(event_seq + 1, b"too early"),
                    Err(JournalError::NotDurable { .. })
                ));
                if event_seq > 0 && journal.store_snapshot(event_seq, &state(event_seq)).is_ok() {
                    self.model.snapshots.push(event_seq);
                }
            }
            Step::Retain(through) => {
                let journal = self.journal.as_mut().expect("open");
                let _ = journal.retain(*through);
                let first = Reader::open_on(self.disk.storage(), Path::new(DATA))
                    .expect("open")
                    .first_event_seq();
                let first = first.expect("listed");
                assert!(
                    first >= self.model.first_kept && first <= through.saturating_add(1).max(self.model.first_kept)
                );
                if first > self.model.first_kept {
                    assert_eq!(self.options.retention, Retention::BehindSnapshot);
                    let sound = self.snapshots.as_ref().expect("open").list().expect("listed");
                    assert!(sound.len() >= 2 && first <= sound[1] + 1);
                }
                self.model.first_kept = first;
            }
            Step::Kill => {
                self.journal = None;
                self.disk.kill();
                self.start();
            }
            Step::PowerCut => {
                self.journal = None;
                self.disk.power_cut();
                // A removal that was not synced may be undone.
                let reader = Reader::open_on(self.disk.storage(), Path::new(DATA)).expect("open");
                self.model.first_kept = reader.first_event_seq().expect("listed").min(self.model.first_kept);
                self.start();
            }
        }
    }

    /// When the disk is sound again, so is the journal.
    fn finish(&mut self) {
        self.step(&Step::Heal);
        let _ = self.journal.as_mut().expect("open").has_room();
        assert!(self.commit(&[10, 20]), "the journal does not go on");
        assert!(self.journal.as_mut().expect("open").has_room());
        assert!(self.commit(&[30]));
        let records = self.model.acknowledged.len();
        self.step(&Step::PowerCut);
        assert_eq!(self.model.acknowledged.len(), records);
    }
}

fn state(event_seq: u64) -> Vec<u8> {
    event_seq.to_le_bytes().repeat(100 + (event_seq % 400) as usize)
}

/// How many faults there were.
fn run(seed: u64, steps: &[Step], segment_bytes: u64, retention: Retention) -> u64 {
    let mut run = Run::new(seed, options(segment_bytes, retention));
    for step in steps {
        run.step(step);
    }
    run.finish();
    run.disk.faults()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_comes_twice() {
    let config = ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let segment_bytes = prop_oneof![Just(8_192_u64), Just(12_000), Just(40_000)];
    let steps = prop::collection::vec(step(), 1..40);
    let faults = Cell::new(0);
    let result = TestRunner::new(config).run(
        &(any::<u64>(), steps, segment_bytes, any::<bool>()),
        |(seed, steps, segment_bytes, drops)| {
            let retention = if drops {
                Retention::BehindSnapshot
            } else {
                Retention::All
            };
            faults.set(faults.get() + run(seed, &steps, segment_bytes, retention));
            Ok(())
        },
    );
    if let Err(failure) = result {
        panic!("{failure}");
    }
    // A disk that never failed would have shown nothing.
    assert!(faults.get() > 400, "only {} faults", faults.get());
}

/// A cut whose sync failed may be forgotten as a write may: made again, it must not be taken for done.
#[test]
fn a_cut_that_the_disk_forgot_is_made_again() {
    let steps = [
        Step::Faults(493),
        Step::FailNextSync,
        Step::AskForRoom,
        Step::Commit(vec![30; 3]),
        Step::Full(17_057),
        Step::Commit(vec![30]),
        Step::AskForRoom,
        Step::Kill,
        Step::PowerCut,
    ];
    let faults: u64 = (0..4_000).map(|seed| run(seed, &steps, 8_192, Retention::All)).sum();
    assert!(faults > 4_000, "only {faults} faults");
}
