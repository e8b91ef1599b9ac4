//! What crashes and bad disks leave of history: never a wrong answer, and never less than was durable.

mod history_support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use history_support::{Naive, Random, Stream, copy_directory};
use optivex_engine::Event;
use optivex_engine::types::OrderId;
use optivex_journal::EventSink;
use optivex_journal::history::{self, History, HistoryError, HistoryOptions, HistoryWriter};
use proptest::prelude::*;
use tempfile::TempDir;

const HEADER_BYTES: u64 = 4096;
/// Of a small history, three to a commit.
const EVENTS: u64 = 12;

fn options(checkpoint_bytes: u64) -> HistoryOptions {
    HistoryOptions {
        memory_bytes: 2 << 10,
        checkpoint_bytes,
        ..HistoryOptions::default()
    }
}

fn publish(writer: &mut HistoryWriter, history: &History, events: &[Event]) {
    writer.publish(&Arc::new(events.to_vec()));
    wait(history, events);
}

fn wait(history: &History, events: &[Event]) {
    let through = events.last().map_or(0, |event| event.event_seq);
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(history.wait_for(through));
}

fn model(events: &[Event]) -> Naive {
    let mut naive = Naive::default();
    events.iter().for_each(|event| naive.add(event));
    naive
}

/// Opens what is left, compares it with the model, publishes what is missing, and compares again, also
/// after another start. The event that was left.
fn goes_on(directory: &Path, options: &HistoryOptions, all: &[Event], random: &mut Random) -> u64 {
    let (mut writer, history) = history::open(directory, options).expect("opens");
    let left = *history.watermark().borrow();
    model(&all[..left as usize]).assert_same(&history, random);
    for part in all[left as usize..].chunks(1 + random.below(50) as usize) {
        writer.publish(&Arc::new(part.to_vec()));
    }
    wait(&history, all);
    let whole = model(all);
    whole.assert_same(&history, random);
    writer.close().expect("closes");
    drop(history);
    let (_writer, history) = history::open(directory, options).expect("opens");
    whole.assert_same(&history, random);
    left
}

/// What a machine that lost power may leave behind the part of the log that was synced.
fn lose_power(log: &Path, durable: u64, random: &mut Random) {
    let length = fs::metadata(log).expect("there").len();
    let file = OpenOptions::new().write(true).open(log).expect("opens");
    let behind = length - durable;
    for _ in 0..=random.below(2) {
        let place = durable + random.below(behind + 1);
        match random.below(4) {
            // It ends anywhere.
            0 => file.set_len(place.max(durable)).expect("cut"),
            // Sectors that never reached the disk, before some that did.
            1 if place < length => {
                let sector = (place & !511).max(durable);
                let bytes = vec![0; (512 - (sector & 511)).min(length - sector) as usize];
                file.write_all_at(&bytes, sector).expect("written");
            }
            // A length that was longer already.
            2 => file.set_len(length + random.below(10_000)).expect("longer"),
            // Whatever the blocks held before.
            _ => {
                let bytes: Vec<u8> = (0..random.below(600)).map(|_| random.next() as u8).collect();
                file.write_all_at(&bytes, place).expect("written");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Again and again: random events in random batches, some synced, then a crash.
    #[test]
    fn a_crash_leaves_a_prefix_with_all_that_was_durable(seed in any::<u64>()) {
        let mut random = Random(seed);
        let options = options(if random.chance(50) { 20_000 } else { u64::MAX });
        let mut stream = Stream::new(random.next());
        let mut all: Vec<Event> = Vec::new();
        let directory = TempDir::new().expect("a directory");
        let log = directory.path().join("log");
        let (mut durable_events, mut durable_bytes) = (0, HEADER_BYTES);
        for _ in 0..4 {
            let (mut writer, history) = history::open(directory.path(), &options).expect("opens");
            let from = *history.watermark().borrow() as usize;
            wait(&history, &all[..from]);
            publish(&mut writer, &history, &all[from..]);
            for _ in 0..random.below(20) {
                let length = if random.chance(20) { random.below(400) } else { random.below(5) };
                let events = stream.batch(length as usize);
                all.extend(events.iter().cloned());
                publish(&mut writer, &history, &events);
                if random.chance(15) {
                    prop_assert_eq!(history.sync().expect("durable"), all.len() as u64);
                    durable_events = all.len() as u64;
                    durable_bytes = fs::metadata(&log).expect("there").len();
                }
            }
            drop((writer, history));
            lose_power(&log, durable_bytes, &mut random);
            let copy = TempDir::new().expect("a directory");
            copy_directory(directory.path(), copy.path());
            let left = goes_on(copy.path(), &options, &all, &mut random);
            prop_assert!(left >= durable_events, "{} {}", left, durable_events);
        }
    }
}

/// A few small commits, and their log.
fn small_history(options: &HistoryOptions, is_synced: bool) -> (TempDir, Vec<Event>, Vec<u8>) {
    let directory = TempDir::new().expect("a directory");
    let mut stream = Stream::new(4);
    let all: Vec<Event> = (0..EVENTS).map(|_| stream.next()).collect();
    let (mut writer, history) = history::open(directory.path(), options).expect("opens");
    for part in all.chunks(3) {
        publish(&mut writer, &history, part);
    }
    if is_synced {
        history.sync().expect("durable");
    }
    drop((writer, history));
    let bytes = fs::read(directory.path().join("log")).expect("readable");
    (directory, all, bytes)
}

#[test]
fn every_truncation_leaves_a_prefix() {
    let options = options(u64::MAX);
    let (directory, all, bytes) = small_history(&options, false);
    let mut last = 0;
    let mut seen = 0;
    for length in HEADER_BYTES as usize..=bytes.len() {
        fs::write(directory.path().join("log"), &bytes[..length]).expect("written");
        let (_writer, history) = history::open(directory.path(), &options).expect("opens");
        let left = *history.watermark().borrow();
        assert!(left >= last && left % 3 == 0, "{left}");
        if left > last || length == bytes.len() {
            model(&all[..left as usize]).assert_same(&history, &mut Random(1));
            seen += 1;
        }
        last = left;
    }
    assert_eq!((last, seen), (EVENTS, 4));
    for length in [0, 1, 4_095] {
        fs::write(directory.path().join("log"), &bytes[..length]).expect("written");
        let opened = history::open(directory.path(), &options).map(|_| ());
        assert!(matches!(opened, Err(HistoryError::Damaged { .. })), "{opened:?}");
    }
}

/// Right, or an error: what was durable and is damaged now is not taken for something else.
fn assert_right_or_damaged(history: &History, naive: &Naive) -> usize {
    let mut damaged = 0;
    let mut check = |is_right: Result<bool, HistoryError>| match is_right {
        Ok(is_right) => assert!(is_right),
        Err(HistoryError::Damaged { .. }) => damaged += 1,
        Err(error) => panic!("{error}"),
    };
    for (user, reports) in &naive.reports {
        for after in 0..=reports.len() {
            let page = history.reports(*user, after as u64, 3);
            check(page.map(|page| page == reports[after..(after + 3).min(reports.len())]));
        }
    }
    for (instrument, trade) in &naive.trades {
        for instrument in [None, Some(*instrument)] {
            let page = history.trades(instrument, trade.trade_id - 1, 1);
            check(page.map(|page| page.first() == Some(trade) && page.len() == 1));
        }
    }
    for (order, expected) in &naive.done {
        check(history.order(*order).map(|order| order.as_ref() == Some(expected)));
    }
    for ((user, id), expected) in &naive.by_client_id {
        let order = history.order_by_client_id(*user, id);
        check(order.map(|order| order.as_ref() == Some(expected)));
    }
    check(history.order(OrderId(u64::MAX)).map(|order| order.is_none()));
    damaged
}

#[test]
fn a_changed_byte_anywhere_is_seen() {
    for is_synced in [false, true] {
        // Synced, there is a checkpoint, and the log is not looked at before it is read.
        let options = options(1);
        let (directory, all, bytes) = small_history(&options, is_synced);
        assert_eq!(directory.path().join("checkpoint").exists(), is_synced);
        let naive = model(&all);
        let mut damaged = 0;
        // Every seventh: each bit, and each byte of what recurs, has its turn.
        for place in (HEADER_BYTES as usize..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            fs::write(directory.path().join("log"), &changed).expect("written");
            match history::open(directory.path(), &options) {
                Ok((_writer, history)) if is_synced => {
                    assert_eq!(*history.watermark().borrow(), EVENTS);
                    damaged += assert_right_or_damaged(&history, &naive);
                }
                Ok((_writer, history)) => {
                    let left = *history.watermark().borrow();
                    assert!(left < EVENTS);
                    if place % 8 == 0 {
                        model(&all[..left as usize]).assert_same(&history, &mut Random(1));
                    }
                }
                // The symbols are read at the start.
                Err(HistoryError::Damaged { .. }) if is_synced => damaged += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(damaged > (bytes.len() - HEADER_BYTES as usize) / 7, is_synced);
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let options = options(1);
    let (directory, all, log) = small_history(&options, true);
    let path = directory.path().join("checkpoint");
    let bytes = fs::read(&path).expect("readable");
    let mut random = Random(1);
    for _ in 0..60 {
        let copy = TempDir::new().expect("a directory");
        fs::write(copy.path().join("log"), &log).expect("written");
        let mut changed = bytes.clone();
        let place = random.below(bytes.len() as u64) as usize;
        changed[place] ^= 1 << random.below(8);
        if random.chance(30) {
            changed.truncate(place);
        }
        fs::write(copy.path().join("checkpoint"), &changed).expect("written");
        assert_eq!(goes_on(copy.path(), &options, &all, &mut random), EVENTS);
    }
    // A checkpoint of a log that is shorter now.
    fs::write(directory.path().join("log"), &log[..log.len() - 1]).expect("written");
    assert_eq!(goes_on(directory.path(), &options, &all, &mut random), EVENTS - 3);
}

#[test]
fn one_process_at_a_time() {
    let directory = TempDir::new().expect("a directory");
    let _open = history::open(directory.path(), &options(1)).expect("opens");
    let second = history::open(directory.path(), &options(1)).map(|_| ());
    assert!(matches!(second, Err(HistoryError::Locked)));
}

#[test]
fn what_another_version_wrote_is_told() {
    let directory = TempDir::new().expect("a directory");
    fs::create_dir(directory.path().join("keyspaces")).expect("made");
    let opened = history::open(directory.path(), &options(1)).map(|_| ());
    assert!(matches!(opened, Err(HistoryError::UnknownVersion { found: 1 })));
    let (directory, _, mut bytes) = small_history(&options(1), false);
    bytes[8] = 9;
    let checksum = crc32c::crc32c(&bytes[..4092]).to_le_bytes();
    bytes[4092..4096].copy_from_slice(&checksum);
    fs::write(directory.path().join("log"), &bytes).expect("written");
    let opened = history::open(directory.path(), &options(1)).map(|_| ());
    assert!(matches!(opened, Err(HistoryError::UnknownVersion { found: 9 })));
}
