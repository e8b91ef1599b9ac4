//! Recovery of whole data directories, written by a real engine.

mod history_support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use history_support::commands::{Commands, Exchange, options};
use history_support::{Naive, Random, copy_directory};
use optivex_engine::{Engine, Event, Limits};
use optivex_journal::inspect::{VerifyOptions, verify};
use optivex_journal::recover::{HISTORY_DIRECTORY, RecoverError, recover};
use optivex_journal::replay::{Replay, ReplayError};
use optivex_journal::{Batch, Journal, JournalError, Reader, Retention, record};
use tempfile::TempDir;

fn replay_everything(directory: &Path) -> (Engine, Vec<Event>) {
    let mut replay = Replay::from_genesis(&Reader::open(directory).expect("opens")).expect("starts");
    let mut events = Vec::new();
    let mut event = Event::default();
    while replay.step(&mut event).expect("accepted") {
        events.push(event.clone());
    }
    (replay.into_engine(), events)
}

fn check_history(exchange: &Exchange, events: &[Event]) {
    let mut naive = Naive::default();
    events.iter().for_each(|event| naive.add(event));
    let through = exchange.recovered.history.sync().expect("durable");
    assert_eq!(through, naive.watermark);
    naive.assert_same(&exchange.recovered.history, &mut Random(9));
}

fn snapshot_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory.join("snapshots"))
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
}

fn flip_a_byte(file: &Path) {
    let mut bytes = fs::read(file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(file, bytes).expect("writable");
}

#[test]
fn a_new_directory_starts_from_nothing() {
    let directory = TempDir::new().expect("a directory");
    let exchange = Exchange::start(directory.path());
    let report = &exchange.recovered.report;
    assert!(report.created);
    assert_eq!((report.last_event_seq, report.replayed, report.snapshot), (0, 0, None));
    assert_eq!(exchange.digest(), Engine::new(Limits::default()).digest());
}

#[test]
fn restarts_go_on_where_it_stood() {
    let directory = TempDir::new().expect("a directory");
    let mut commands = Commands::new(1);
    let mut events = Vec::new();
    let mut digest = Engine::new(Limits::default()).digest();
    for round in 0..6 {
        let mut exchange = Exchange::start(directory.path());
        assert_eq!(exchange.digest(), digest);
        assert_eq!(exchange.recovered.report.last_event_seq, events.len() as u64);
        assert_eq!(exchange.recovered.report.history_rebuilt, None);
        check_history(&exchange, &events);
        events.extend(exchange.run(&mut commands, 700));
        if round % 2 == 1 {
            exchange.snapshot();
            events.extend(exchange.run(&mut commands, 300));
        }
        digest = exchange.digest();
    }
    let exchange = Exchange::start(directory.path());
    let report = &exchange.recovered.report;
    assert!(report.snapshot.is_some());
    assert_eq!(report.replayed, report.last_event_seq - report.snapshot.expect("used"));
    let (replayed, replayed_events) = replay_everything(directory.path());
    assert_eq!(replayed.digest(), digest);
    assert_eq!(replayed_events, events);
}

#[test]
fn a_damaged_snapshot_is_passed_over() {
    let directory = TempDir::new().expect("a directory");
    let mut commands = Commands::new(2);
    let mut exchange = Exchange::start(directory.path());
    exchange.run(&mut commands, 500);
    let older = exchange.snapshot();
    exchange.run(&mut commands, 500);
    let newer = exchange.snapshot();
    exchange.run(&mut commands, 100);
    let digest = exchange.digest();
    drop(exchange);
    let files = snapshot_files(directory.path());
    assert_eq!(files.len(), 2);
    for (damaged, expected) in [
        (None, Some(newer)),
        (Some(&files[1]), Some(older)),
        (Some(&files[0]), None),
    ] {
        if let Some(file) = damaged {
            flip_a_byte(file);
        }
        let exchange = Exchange::start(directory.path());
        assert_eq!(exchange.recovered.report.snapshot, expected);
        assert_eq!(exchange.digest(), digest);
    }
}

#[test]
fn history_that_is_gone_is_rebuilt() {
    let directory = TempDir::new().expect("a directory");
    let mut commands = Commands::new(3);
    let mut exchange = Exchange::start(directory.path());
    let events = exchange.run(&mut commands, 2_000);
    exchange.snapshot();
    let digest = exchange.digest();
    drop(exchange);

    fs::remove_dir_all(directory.path().join(HISTORY_DIRECTORY)).expect("removed");
    let exchange = Exchange::start(directory.path());
    let report = &exchange.recovered.report;
    // The snapshot is ahead of what history knows: everything is replayed.
    assert_eq!((report.snapshot, report.replayed), (None, 2_000));
    assert_eq!(report.fed_to_history, 2_000);
    assert_eq!(exchange.digest(), digest);
    check_history(&exchange, &events);
}

#[test]
fn history_of_an_earlier_build_is_rebuilt() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let events = exchange.run(&mut Commands::new(15), 500);
    drop(exchange);
    let history = directory.path().join(HISTORY_DIRECTORY);
    fs::remove_dir_all(&history).expect("removed");
    // What the database had that it was kept in.
    fs::create_dir_all(history.join("keyspaces/0")).expect("made");
    fs::write(history.join("0.jnl"), [0; 100]).expect("written");
    let exchange = Exchange::start(directory.path());
    let why = exchange.recovered.report.history_rebuilt.clone().expect("rebuilt");
    assert!(why.contains("version 1"), "{why}");
    check_history(&exchange, &events);
    assert!(!history.join("keyspaces").exists());
}

#[test]
fn history_of_another_exchange_is_replaced() {
    let (one, other) = (
        TempDir::new().expect("a directory"),
        TempDir::new().expect("a directory"),
    );
    let mut exchange = Exchange::start(one.path());
    let events = exchange.run(&mut Commands::new(4), 1_000);
    drop(exchange);
    for (seed, length) in [(5, 800), (6, 1_000)] {
        let mut exchange = Exchange::start(other.path());
        exchange.run(&mut Commands::new(seed), length);
        drop(exchange);
        fs::remove_dir_all(one.path().join(HISTORY_DIRECTORY)).expect("removed");
        copy_directory(
            &other.path().join(HISTORY_DIRECTORY),
            &one.path().join(HISTORY_DIRECTORY),
        );
        let exchange = Exchange::start(one.path());
        assert!(exchange.recovered.report.history_rebuilt.is_some());
        check_history(&exchange, &events);
        drop(exchange);
        fs::remove_dir_all(other.path()).expect("removed");
    }
}

/// What history tells was durable: a journal that lacks it has lost acknowledged events.
#[test]
fn a_journal_behind_its_history_stops_the_start() {
    let (whole, older) = (
        TempDir::new().expect("a directory"),
        TempDir::new().expect("a directory"),
    );
    let mut exchange = Exchange::start(whole.path());
    let mut commands = Commands::new(11);
    exchange.run(&mut commands, 300);
    drop(exchange);
    copy_directory(whole.path(), older.path());
    let mut exchange = Exchange::start(whole.path());
    exchange.run(&mut commands, 200);
    drop(exchange);
    let history = older.path().join(HISTORY_DIRECTORY);
    fs::remove_dir_all(&history).expect("removed");
    copy_directory(&whole.path().join(HISTORY_DIRECTORY), &history);
    let why = damage_of(older.path(), 301);
    assert!(why.contains("history") && why.contains("event 500"), "{why}");
    // An operator may decide to go on without them.
    fs::remove_dir_all(&history).expect("removed");
    assert_eq!(Exchange::start(older.path()).recovered.report.last_event_seq, 300);
}

/// Records are read far ahead of the one that is applied, but nobody sees that.
#[test]
fn a_replay_stands_where_it_was_asked_to_stand_and_goes_on_from_the_end() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let mut commands = Commands::new(21);
    let mut events = exchange.run(&mut commands, 6_000);
    let reader = Reader::open(directory.path()).expect("opens");
    let mut event = Event::default();

    let mut replay = Replay::from_genesis(&reader).expect("starts");
    assert!(replay.input().is_none());
    for expected in &events[..10] {
        assert!(replay.step(&mut event).expect("accepted"));
        assert_eq!(&event, expected);
        assert_eq!(replay.engine().event_seq(), expected.event_seq);
        let input = replay.input().expect("applied");
        assert!(input.time_unix_ns <= expected.time_unix_ns);
    }
    // The thread that reads ahead waits for room, and ends all the same.
    drop(replay);

    let mut replay = Replay::from_genesis(&reader).expect("starts");
    let mut seen = Vec::new();
    for more in [1_500, 1, 0] {
        while replay.step(&mut event).expect("accepted") {
            seen.push(event.clone());
        }
        assert_eq!(seen, events);
        assert!(replay.tail().is_none(), "what is reserved is no torn tail");
        assert!(!replay.step(&mut event).expect("still the end"));
        events.extend(exchange.run(&mut commands, more));
    }
    assert_eq!(replay.engine().digest(), exchange.digest());
}

/// What stops the start, at this event.
fn damage_of(directory: &Path, event: u64) -> String {
    match recover(&options(directory)).map(|recovered| recovered.report) {
        Err(RecoverError::Journal(JournalError::Damaged { event_seq, why, .. })) if event_seq == event => why,
        other => panic!("{other:?}"),
    }
}

/// Damage to the very last commit looks like a torn tail, but history shows that it was durable. Nothing
/// is cut, so that a person can still mend it.
#[test]
fn a_damaged_last_commit_that_history_knows_is_not_cut() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let events = exchange.run(&mut Commands::new(14), 60);
    exchange.recovered.history.sync().expect("durable");
    let digest = exchange.digest();
    drop(exchange);
    let mut records = Reader::open(directory.path())
        .expect("opens")
        .read_from(60)
        .expect("kept");
    let position = records.next().expect("sound").expect("there").position;
    let before = fs::read(&position.segment).expect("readable");
    let mut damaged = before.clone();
    damaged[position.offset as usize + 25] ^= 1;
    fs::write(&position.segment, &damaged).expect("written");

    let why = damage_of(directory.path(), 60);
    assert!(why.contains("history"), "{why}");
    assert_eq!(
        fs::read(&position.segment).expect("readable"),
        damaged,
        "nothing is cut"
    );
    fs::write(&position.segment, &before).expect("written");
    let exchange = Exchange::start(directory.path());
    assert_eq!(exchange.digest(), digest);
    check_history(&exchange, &events);
    drop(exchange);

    // Without its history nothing shows that the event was acknowledged.
    fs::write(&position.segment, &damaged).expect("written");
    fs::remove_dir_all(directory.path().join(HISTORY_DIRECTORY)).expect("removed");
    let exchange = Exchange::start(directory.path());
    assert!(exchange.recovered.report.cut.is_some());
    assert_eq!(exchange.recovered.report.last_event_seq, 59);
    check_history(&exchange, &events[..59]);
}

#[test]
fn damaged_files_of_history_never_stop_the_exchange() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let events = exchange.run(&mut Commands::new(8), 1_500);
    let digest = exchange.digest();
    drop(exchange);
    let mut files = Vec::new();
    list_files(&directory.path().join(HISTORY_DIRECTORY), &mut files);
    assert!(!files.is_empty());
    for file in files {
        for damage in [cut, zero_a_sector] {
            let copy = TempDir::new().expect("a directory");
            copy_directory(directory.path(), copy.path());
            damage(&copy.path().join(file.strip_prefix(directory.path()).expect("inside")));
            let exchange = Exchange::start(copy.path());
            assert_eq!(exchange.digest(), digest);
            check_history(&exchange, &events);
        }
    }
}

/// Takes away the second half of what was written.
fn cut(file: &Path) {
    let length = written_length(file) / 2;
    let open = fs::OpenOptions::new().write(true).open(file).expect("opens");
    open.set_len(length).expect("cut");
}

/// What a machine that lost power may leave: a page that never reached the disk, before one that did.
fn zero_a_sector(file: &Path) {
    let offset = written_length(file) / 2;
    let open = fs::OpenOptions::new().write(true).open(file).expect("opens");
    open.write_all_at(&[0; 512], offset).expect("written");
}

fn written_length(file: &Path) -> u64 {
    let bytes = fs::read(file).expect("readable");
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last as u64 + 1)
}

fn list_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("readable") {
        let entry = entry.expect("readable");
        if entry.file_type().expect("known").is_dir() {
            list_files(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

/// Copies of the directory while the exchange runs are what a killed process leaves.
#[test]
fn copies_at_random_moments_recover_to_a_prefix() {
    let directory = TempDir::new().expect("a directory");
    let mut commands = Commands::new(10);
    let mut exchange = Exchange::start(directory.path());
    let mut events = Vec::new();
    for round in 0..8 {
        events.extend(exchange.run(&mut commands, 400));
        if round % 3 == 2 {
            exchange.snapshot();
        }
        let copy = TempDir::new().expect("a directory");
        copy_directory(directory.path(), copy.path());
        let mut copied = Exchange::start(copy.path());
        // Everything was acknowledged before the copy: all of it must be there.
        assert_eq!(copied.recovered.report.last_event_seq, events.len() as u64);
        assert_eq!(copied.digest(), exchange.digest());
        check_history(&copied, &events);
        // And it goes on.
        copied.run(&mut Commands::new(round), 20);
    }
}

#[test]
fn a_record_that_is_not_accepted_stops_the_start_with_its_place() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let mut commands = Commands::new(11);
    exchange.run(&mut commands, 10);
    // Names a user that nobody registered.
    let input = optivex_engine::Input {
        time_unix_ns: 0,
        command: optivex_engine::Command::ResumeUser {
            user: optivex_engine::types::UserId(99),
        },
    };
    let mut batch = Batch::default();
    batch.push_with(11, |bytes| record::encode(&input, bytes));
    exchange.recovered.journal.commit(&[batch]).expect("durable");
    drop(exchange);
    match recover(&options(directory.path())).map(|recovered| recovered.report) {
        Err(RecoverError::Replay(ReplayError::NotAccepted {
            event_seq, position, ..
        })) => {
            assert_eq!(event_seq, 11);
            assert!(position.segment.exists());
            assert!(position.offset > 0);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_that_are_no_record_stop_the_start_with_their_place() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    exchange.run(&mut Commands::new(12), 10);
    let mut batch = Batch::default();
    batch.push_bytes(11, b"\x08\x09");
    exchange.recovered.journal.commit(&[batch]).expect("durable");
    drop(exchange);
    match recover(&options(directory.path())).map(|recovered| recovered.report) {
        Err(error @ RecoverError::Replay(ReplayError::Record { event_seq: 11, .. })) => {
            assert!(error.to_string().contains("version 9"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_process_at_a_time() {
    let directory = TempDir::new().expect("a directory");
    let _exchange = Exchange::start(directory.path());
    let second = recover(&options(directory.path())).map(|recovered| recovered.report);
    assert!(matches!(
        second,
        Err(RecoverError::Journal(JournalError::Locked { .. }))
    ));
}

#[test]
fn the_limits_of_the_journal_stay() {
    let directory = TempDir::new().expect("a directory");
    drop(Exchange::start(directory.path()));
    let mut options = options(directory.path());
    options.limits.users_max = 1;
    let recovered = recover(&options).expect("recovers");
    assert_eq!(recovered.report.limits, Limits::default());
    assert_eq!(*recovered.engine.limits(), Limits::default());
}

/// With the journal's front gone, history cannot be rebuilt: the start says so, and takes nothing away.
#[test]
fn a_journal_that_was_cut_at_its_front() {
    let directory = TempDir::new().expect("a directory");
    let mut cutting = options(directory.path());
    cutting.journal.retention = Retention::BehindSnapshot;
    let mut exchange = Exchange {
        recovered: recover(&cutting).expect("recovers"),
    };
    let mut commands = Commands::new(13);
    let mut events = Vec::new();
    for _ in 0..4 {
        events.extend(exchange.run(&mut commands, 1_000));
        exchange.snapshot();
        let through = exchange.recovered.history.sync().expect("durable");
        exchange.recovered.journal.retain(through).expect("cut");
    }
    events.extend(exchange.run(&mut commands, 50));
    let digest = exchange.digest();
    drop(exchange);
    let first_event_seq = Reader::open(directory.path())
        .and_then(|reader| reader.first_event_seq())
        .expect("readable");
    assert!(first_event_seq > 1);

    let exchange = Exchange {
        recovered: recover(&cutting).expect("recovers"),
    };
    assert_eq!(exchange.recovered.report.snapshot, Some(4_000));
    assert_eq!(exchange.digest(), digest);
    check_history(&exchange, &events);
    drop(exchange);

    let report = verify(
        &VerifyOptions {
            data_directory: directory.path().to_owned(),
        },
        &mut Vec::new(),
    )
    .expect("readable");
    assert_eq!(
        (report.first_event_seq, report.started_from),
        (first_event_seq, Some(3_000))
    );
    assert_eq!(report.digest, digest);
    assert!(report.is_sound());

    let history = directory.path().join(HISTORY_DIRECTORY);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&history, &elsewhere).expect("moved");
    let lost = recover(&cutting).map(|recovered| recovered.report);
    assert!(matches!(lost, Err(RecoverError::HistoryLost { first_event_seq: first, .. }) if first == first_event_seq));
    // So it does with one of an earlier build, and names it.
    fs::remove_dir_all(&history).expect("removed");
    fs::create_dir_all(history.join("keyspaces")).expect("made");
    let lost = recover(&cutting)
        .map(|recovered| recovered.report)
        .expect_err("lost")
        .to_string();
    assert!(
        lost.contains("version 1") && lost.contains("cannot be rebuilt"),
        "{lost}"
    );
    assert!(history.join("keyspaces").exists());
    // As from a backup.
    fs::remove_dir_all(&history).expect("removed");
    fs::rename(&elsewhere, &history).expect("moved");
    let recovered = recover(&cutting).expect("recovers");
    assert_eq!(recovered.engine.digest(), digest);
}
