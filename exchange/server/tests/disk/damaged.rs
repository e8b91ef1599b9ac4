//! Disks that do not hold what was written, and two that want the same.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::ledger::{Ledger, Trader, list_abc};
use crate::process::{Place, stderr};

/// As the journal's documentation says: a segment's header, then records of a frame and a payload, the
/// payload's length and the event's number in the frame.
const HEADER_BYTES: u64 = 4096;
const FRAME_BYTES: u64 = 20;

/// One record in a segment.
#[derive(Clone, Copy, Debug)]
struct Record {
    event_seq: u64,
    offset: u64,
    bytes: u64,
}

/// The newest segment, and its records.
fn records(place: &Place) -> (PathBuf, Vec<Record>) {
    let entries = fs::read_dir(place.path("data/journal")).expect("a journal");
    let segments = entries.map(|entry| entry.expect("an entry").path());
    let segments = segments.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let path = segments.max().expect("a segment");
    let bytes = fs::read(&path).expect("a segment");
    let mut records = Vec::new();
    let mut at = HEADER_BYTES as usize;
    while let Some(frame) = bytes.get(at..at + FRAME_BYTES as usize) {
        let length = u32::from_le_bytes(frame[4..8].try_into().expect("4 bytes"));
        let event_seq = u64::from_le_bytes(frame[8..16].try_into().expect("8 bytes"));
        if event_seq == 0 {
            break;
        }
        let bytes = FRAME_BYTES + u64::from(length);
        records.push(Record {
            event_seq,
            offset: at as u64,
            bytes,
        });
        at += bytes as usize;
    }
    (path, records)
}

/// Commits of a killed exchange, at least.
const COMMITS: u64 = 10;

/// An exchange that took orders, in many commits, and was killed.
async fn killed(place: &Place) -> Ledger {
    let exchange = place.start([]);
    list_abc(&exchange).await;
    let mut ledger = Ledger::default();
    let mut trader = Trader::login(&exchange).await;
    for _ in 0..COMMITS {
        assert_eq!(ledger.insert(&mut trader, 10).await, 10);
    }
    exchange.signal(Signal::KILL);
    exchange.ended();
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_damaged_record_stops_the_start_with_its_position() {
    let place = Place::new();
    let mut ledger = killed(&place).await;
    let (path, records) = records(&place);
    let file = File::options().read(true).write(true).open(&path).expect("a segment");
    // Of a commit that others follow.
    let damaged = records[records.len() / 2];
    // Each part of a record: checksum, length, number, payload.
    for at in [0, 4, 8, 16, FRAME_BYTES, damaged.bytes - 1] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, damaged.offset + at).expect("a byte");
        file.write_all_at(&[byte[0] ^ 0x10], damaged.offset + at)
            .expect("can write");
        let output = place.fails([]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let error = told
            .lines()
            .find(|line| line.starts_with("optivex: "))
            .expect("one line that says why");
        let position = format!(
            "the journal is damaged at byte {} of data/journal/{} (event {})",
            damaged.offset,
            path.file_name().expect("a name").to_string_lossy(),
            damaged.event_seq
        );
        assert!(error.contains(&position), "byte {at}: no {position:?} in {error:?}");
        assert!(!told.contains("panicked"), "{told}");
        file.write_all_at(&byte, damaged.offset + at).expect("can write");
    }
    // As it was, it starts: the attempts have changed nothing.
    let exchange = place.start([]);
    let mut trader = Trader::login(&exchange).await;
    ledger.check(&mut trader).await;
    ledger.retry_all(&mut trader).await;
    exchange.stop();
}

/// In the journal alone, damage to its last record looks like a torn write; history has seen the event.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn damage_at_the_very_end_is_no_torn_tail() {
    let place = Place::new();
    let exchange = place.start([]);
    list_abc(&exchange).await;
    let mut ledger = Ledger::default();
    let mut trader = Trader::login(&exchange).await;
    ledger.insert(&mut trader, 10).await;
    trader.read_history().await;
    exchange.signal(Signal::KILL);
    exchange.ended();

    let (path, records) = records(&place);
    let last = records[records.len() - 1];
    let file = File::options().read(true).write(true).open(&path).expect("a segment");
    let at = last.offset + last.bytes - 1;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], at).expect("can write");
    // Again and again: the first attempt does not make the second one believe that nothing is missing.
    for _ in 0..2 {
        let output = place.fails([]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let error = told
            .lines()
            .find(|line| line.starts_with("optivex: "))
            .expect("one line that says why");
        let proof = format!(
            "history (to be removed if it is of another exchange, or to accept the loss) shows that event {} was durable",
            last.event_seq
        );
        let place = format!("(event {})", last.event_seq);
        assert!(error.contains(&proof) && error.contains(&place), "{error}");
        assert!(!told.contains("panicked"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_torn_tail_is_cut_and_told() {
    let place = Place::new();
    let mut ledger = killed(&place).await;
    let (path, records) = records(&place);
    let last = records[records.len() - 1];
    let file = File::options().read(true).write(true).open(&path).expect("a segment");
    // What a crash leaves in the middle of a write: the begin of a record that was not acknowledged.
    let mut torn = vec![0; last.bytes as usize];
    file.read_exact_at(&mut torn, last.offset).expect("a record");
    torn[8..16].copy_from_slice(&(last.event_seq + 1).to_le_bytes());
    torn.truncate(torn.len() / 2);
    file.write_all_at(&torn, last.offset + last.bytes).expect("can write");

    let mut exchange = place.start([]);
    assert!(exchange.greeting.contains("torn tail cut"), "{}", exchange.greeting);
    let told = exchange.logged("torn tail was cut");
    let position = format!("offset={}", last.offset + last.bytes);
    assert!(told.contains(&position), "no {position} in {told}");
    let mut trader = Trader::login(&exchange).await;
    ledger.check(&mut trader).await;
    ledger.insert(&mut trader, 10).await;
    exchange.signal(Signal::KILL);
    exchange.ended();
    let exchange = place.start([]);
    assert!(!exchange.greeting.contains("cut"), "cut once: {}", exchange.greeting);
    let mut trader = Trader::login(&exchange).await;
    ledger.check(&mut trader).await;
    ledger.retry_all(&mut trader).await;
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_process_is_refused_and_harms_nothing() {
    let place = Place::new();
    let exchange = place.start([]);
    list_abc(&exchange).await;
    let mut trader = Trader::login(&exchange).await;
    let mut ledger = Ledger::default();
    ledger.insert(&mut trader, 10).await;
    let output = place.fails([]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("another process uses the data directory data"), "{told}");
    ledger.insert(&mut trader, 10).await;
    // However the first one ends, its lock ends with it.
    exchange.signal(Signal::KILL);
    exchange.ended();
    let exchange = place.start([]);
    ledger.check(&mut Trader::login(&exchange).await).await;
    exchange.stop();
}
