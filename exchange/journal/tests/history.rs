//! History against a projection that is too simple to be wrong.

mod history_support;

use std::sync::Arc;

use history_support::{Naive, Random, Stream, copy_directory};
use optivex_engine::Event;
use optivex_engine::types::UserId;
use optivex_journal::history::{self, History, HistoryOptions, HistoryWriter};
use optivex_journal::{EventSink, Events};
use proptest::prelude::*;
use tempfile::TempDir;

/// So little that many orders share a bucket of the index, and that checkpoints are made again and again.
fn small() -> HistoryOptions {
    HistoryOptions {
        memory_bytes: 4 << 10,
        checkpoint_bytes: 16 << 10,
        ..HistoryOptions::default()
    }
}

fn open(directory: &TempDir) -> (HistoryWriter, History) {
    history::open(directory.path(), &small()).expect("opens")
}

fn wait(history: &History, event_seq: u64) {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(history.wait_for(event_seq));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    /// Random events in random batches, with restarts in between that publish again what is there.
    #[test]
    fn answers_as_a_simple_projection(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut stream = Stream::new(random.next());
        let mut naive = Naive::default();
        let mut all: Vec<Event> = Vec::new();
        let directory = TempDir::new().expect("a directory");
        for _ in 0..3 {
            let (mut writer, history) = open(&directory);
            prop_assert_eq!(*history.watermark().borrow(), naive.watermark);
            let overlap = random.below(all.len() as u64 + 1) as usize;
            // Some batches reach back over what is there, and on into what is not.
            let known = all.len();
            for event in stream.batch(random.below(3) as usize).iter() {
                naive.add(event);
                all.push(event.clone());
            }
            writer.publish(&Arc::new(all[known - overlap..].to_vec()));
            for _ in 0..random.below(20) {
                let length = if random.chance(20) { random.below(1_000) } else { random.below(5) };
                let events = stream.batch(length as usize);
                writer.publish(&events);
                for event in events.iter() {
                    naive.add(event);
                    all.push(event.clone());
                }
            }
            wait(&history, naive.watermark);
            naive.assert_same(&history, &mut random);
            if random.chance(50) {
                history.sync().expect("durable");
            }
            if random.chance(50) {
                writer.close().expect("closes");
            }
        }
    }
}

/// One batch with far more reports than a chunk takes.
#[test]
fn reads_across_chunks() {
    let directory = TempDir::new().expect("a directory");
    let (mut writer, history) = open(&directory);
    let mut stream = Stream::new(1);
    let mut naive = Naive::default();
    let events = stream.batch(5_000);
    events.iter().for_each(|event| naive.add(event));
    writer.publish(&events);
    wait(&history, 5_000);
    naive.assert_same(&history, &mut Random(1));
}

/// Without a sync and with what the process had in memory gone: what a killed process leaves.
#[test]
fn a_copy_of_the_files_at_any_moment_goes_on() {
    let mut random = Random(7);
    let mut stream = Stream::new(7);
    let directory = TempDir::new().expect("a directory");
    let (mut writer, history) = open(&directory);
    let mut all: Vec<Event> = Vec::new();
    for _ in 0..5 {
        // Some of it is still being written while the files are copied.
        let events: Vec<Event> = (0..400).map(|_| stream.next()).collect();
        for batch in events.chunks(20) {
            writer.publish(&Arc::new(batch.to_vec()));
        }
        all.extend(events);
        let copy = TempDir::new().expect("a directory");
        let before = *history.watermark().borrow();
        copy_directory(directory.path(), copy.path());
        let (mut writer, history) = open(&copy);
        let watermark = *history.watermark().borrow();
        assert!((before..=all.len() as u64).contains(&watermark), "{before} {watermark}");
        let mut naive = Naive::default();
        all[..watermark as usize].iter().for_each(|event| naive.add(event));
        naive.assert_same(&history, &mut random);
        let rest: Events = Arc::new(all[watermark as usize..].to_vec());
        rest.iter().for_each(|event| naive.add(event));
        writer.publish(&rest);
        wait(&history, all.len() as u64);
        naive.assert_same(&history, &mut random);
    }
}

/// Publishing is held up when the writer cannot follow, and everything arrives.
#[test]
fn a_small_queue_loses_nothing() {
    let directory = TempDir::new().expect("a directory");
    let options = HistoryOptions {
        queued_max: 10,
        ..HistoryOptions::default()
    };
    let (mut writer, history) = history::open(directory.path(), &options).expect("opens");
    let mut stream = Stream::new(3);
    let mut naive = Naive::default();
    for _ in 0..500 {
        let events = stream.batch(7);
        events.iter().for_each(|event| naive.add(event));
        writer.publish(&events);
    }
    assert_eq!(history.sync().expect("durable"), 3_500);
    naive.assert_same(&history, &mut Random(3));
    assert_eq!(history.stats().queued, 0);
    assert_eq!(history.stats().failures, 0);
}

/// A disk without room holds events up and loses none; what was written before stays readable.
#[test]
fn without_room_it_waits() {
    let directory = TempDir::new().expect("a directory");
    let mut stream = Stream::new(5);
    let mut naive = Naive::default();
    let first = stream.batch(100);
    let (mut writer, _) = open(&directory);
    writer.publish(&first);
    writer.close().expect("closes");
    first.iter().for_each(|event| naive.add(event));

    let no_disk_has_it = HistoryOptions {
        reserve_bytes: u64::MAX,
        ..HistoryOptions::default()
    };
    let second = stream.batch(100);
    {
        let (mut writer, history) = history::open(directory.path(), &no_disk_has_it).expect("opens");
        writer.publish(&second);
        naive.assert_same(&history, &mut Random(5));
        // Closing does not wait for room.
    }
    second.iter().for_each(|event| naive.add(event));
    let (mut writer, history) = open(&directory);
    assert_eq!(*history.watermark().borrow(), 100);
    writer.publish(&second);
    wait(&history, 200);
    naive.assert_same(&history, &mut Random(5));
}

#[test]
#[should_panic(expected = "those between are missing")]
fn a_gap_is_a_bug() {
    let directory = TempDir::new().expect("a directory");
    let (mut writer, _history) = open(&directory);
    let mut stream = Stream::new(1);
    let _skipped = stream.batch(1);
    writer.publish(&stream.batch(1));
}

/// Watches move with what is readable, and tell a reader that comes later where things stand.
#[tokio::test(flavor = "multi_thread")]
async fn watches_follow() {
    let directory = TempDir::new().expect("a directory");
    let (mut writer, history) = open(&directory);
    let mut stream = Stream::new(11);
    let mut naive = Naive::default();
    let mut early = history.report_watch(UserId(0));
    for _ in 0..50 {
        let events = stream.batch(20);
        events.iter().for_each(|event| naive.add(event));
        writer.publish(&events);
    }
    let last = naive.reports[&UserId(0)].len() as u64;
    early.wait_for(|seen| *seen == last).await.expect("moves on");
    history.wait_for(1_000).await;
    let reader = history.clone();
    let reports = tokio::task::spawn_blocking(move || reader.reports(UserId(0), last - 1, 10))
        .await
        .expect("ran")
        .expect("readable");
    assert_eq!(reports.len(), 1);
    assert_eq!(*history.report_watch(UserId(0)).borrow(), last);
}
