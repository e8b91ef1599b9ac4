//! The embedded journal as its users see it: order, damage, leftovers, room, retention, readers.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use optivex_journal::{
    Batch, Embedded, Journal, JournalError, MAX_RECORD_BYTES, Opened, Options, Reader, Retention, SnapshotStore, Tail,
};
use proptest::prelude::*;
use support::SimDisk;

const DATA: &str = "/data";
const HEADER: usize = 4096;
const FRAME: usize = 20;

fn small() -> Options {
    Options {
        segment_bytes: 8192,
        reserve_bytes: 1024,
        retention: Retention::All,
        room_check_interval: Duration::ZERO,
        spare_in_background: false,
    }
}

fn open(disk: &SimDisk) -> Result<Opened, JournalError> {
    Embedded::open_on(disk.storage(), Path::new(DATA), &small(), || b"genesis".to_vec())
}

fn payload(event_seq: u64) -> Vec<u8> {
    let mut bytes = format!("event {event_seq} ").into_bytes();
    bytes.resize(300 + (event_seq % 7) as usize * 31, event_seq as u8 | 1);
    bytes
}

fn batch(events: std::ops::RangeInclusive<u64>) -> Batch {
    let mut batch = Batch::default();
    for event_seq in events {
        batch.push_bytes(event_seq, &payload(event_seq));
    }
    batch
}

/// Commits of 1, 2, 3, 1, 2, 3, … records.
fn fill(journal: &mut Embedded, last: u64) {
    let mut next = journal.durable_event_seq() + 1;
    let mut count = 0;
    while next <= last {
        count = count % 3 + 1;
        let until = (next + count - 1).min(last);
        journal.commit(&[batch(next..=until)]).expect("a sound disk");
        next = until + 1;
    }
}

fn sample(last: u64) -> SimDisk {
    let disk = SimDisk::new(7);
    let mut opened = open(&disk).expect("a new journal");
    fill(&mut opened.journal, last);
    drop(opened);
    disk
}

fn segment(first: u64) -> PathBuf {
    Path::new(DATA).join("journal").join(format!("{first:020}.log"))
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.names()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect()
}

/// Where each record stands: segment, offset, event, length with its frame.
fn records(disk: &SimDisk) -> Vec<(PathBuf, u64, u64, usize)> {
    let reader = Reader::open_on(disk.storage(), Path::new(DATA)).expect("open");
    let mut records = reader.read_from(1).expect("from the start");
    let mut all = Vec::new();
    while let Some(record) = records.next().expect("sound") {
        all.push((
            record.position.segment.to_path_buf(),
            record.position.offset,
            record.event_seq,
            record.payload.len() + FRAME,
        ));
    }
    all
}

/// All events from one on that a reader finds, checked against what was written.
fn read_all(disk: &SimDisk, from: u64) -> Result<(u64, Option<Tail>), JournalError> {
    let reader = Reader::open_on(disk.storage(), Path::new(DATA))?;
    let mut records = reader.read_from(from)?;
    let mut last = from - 1;
    while let Some(record) = records.next()? {
        assert_eq!(record.event_seq, last + 1);
        assert_eq!(record.payload, payload(record.event_seq));
        last = record.event_seq;
    }
    Ok((last, records.tail().cloned()))
}

#[track_caller]
fn expect_damage<T>(result: Result<T, JournalError>) -> (PathBuf, u64, u64, String) {
    match result {
        Err(JournalError::Damaged {
            segment,
            offset,
            event_seq,
            why,
        }) => (segment, offset, event_seq, why),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("the damage was not seen"),
    }
}

#[test]
fn on_a_real_disk_everything_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("deep").join("data");
    let options = Options {
        segment_bytes: 64 << 10,
        ..Options::default()
    };
    for round in 1..=3 {
        let mut opened = Embedded::open(&data, &options, || b"limits".to_vec()).expect("opens");
        assert_eq!(opened.report.created, round == 1);
        assert_eq!(opened.report.last_event_seq, (round - 1) * 500);
        assert_eq!(opened.report.cut, None);
        assert_eq!(opened.genesis, b"limits");
        fill(&mut opened.journal, round * 500);
        opened
            .journal
            .store_snapshot(round * 500, &round.to_le_bytes())
            .expect("kept");
    }
    let reader = Reader::open(&data).expect("opens without the lock");
    for from in [1, 2, 499, 1000, 1500, 1501, 9000] {
        let mut records = reader.read_from(from).expect("kept");
        let mut expected = from;
        while let Some(record) = records.next().expect("sound") {
            assert_eq!((record.event_seq, record.payload), (expected, &payload(expected)[..]));
            expected += 1;
        }
        assert_eq!(expected, from.max(1501));
        assert_eq!(records.tail(), None);
    }
    let snapshots = SnapshotStore::open_for_reading(&data).expect("opens");
    assert_eq!(snapshots.list().expect("listed"), [1500, 1000]);
    assert_eq!(
        snapshots.newest_until(1499).expect("read").expect("there").event_seq,
        1000
    );
    assert_eq!(snapshots.newest_until(999).expect("read"), None);
}

#[test]
fn one_process_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options {
        segment_bytes: 8192,
        ..Options::default()
    };
    let first = Embedded::open(directory.path(), &options, Vec::new).expect("opens");
    let error = Embedded::open(directory.path(), &options, Vec::new)
        .err()
        .expect("refused");
    assert!(matches!(&error, JournalError::Locked { directory: named } if named == directory.path()));
    assert!(error.to_string().contains(&directory.path().display().to_string()));
    Reader::open(directory.path()).expect("a reader needs no lock");
    drop(first);
    Embedded::open(directory.path(), &options, Vec::new).expect("given back");
    assert!(matches!(
        Reader::open(&directory.path().join("other")),
        Err(JournalError::NoJournal { .. })
    ));
}

#[test]
fn every_changed_byte_is_seen() {
    let disk = sample(40);
    let (all, files) = (records(&disk), segments(&disk));
    assert!(files.len() >= 3 && all.len() == 40);
    let last_segment = files.last().expect("segments");
    for path in &files {
        let bytes = disk.read(path);
        let ends = all
            .iter()
            .filter(|record| record.0 == *path)
            .map(|record| record.1 as usize + record.3)
            .max();
        let end = ends.unwrap_or(HEADER);
        // Headers have a test of their own, zeros are alike.
        let offsets = (0..64).chain(4080..end).chain((end..bytes.len()).step_by(53));
        for offset in offsets {
            let changed = disk.copy();
            let mut content = bytes.clone();
            content[offset] ^= 1 << (offset % 8);
            changed.overwrite(path, &content);
            let read = read_all(&changed, 1);
            let opened = open(&changed);
            let hit = all.iter().find(|record| {
                record.0 == *path && (record.1 as usize..record.1 as usize + record.3).contains(&offset)
            });
            let context = format!("byte {offset} of {}", path.display());
            match opened {
                Err(JournalError::Damaged {
                    segment,
                    offset: at,
                    event_seq,
                    ..
                }) => {
                    assert_eq!(segment, *path, "{context}");
                    match hit {
                        Some(record) => assert_eq!((at, event_seq), (record.1, record.2), "{context}"),
                        None => assert!(offset < HEADER && at == 0, "{context}"),
                    }
                    expect_damage(read);
                }
                Err(error) => panic!("{context}: {error}"),
                Ok(opened) => {
                    let cut = opened.report.cut.expect("told");
                    assert_eq!(path, last_segment, "{context}");
                    assert!(offset >= HEADER);
                    let kept = hit.map_or(40, |record| record.2 - 1);
                    assert_eq!(
                        (opened.report.last_event_seq, cut.last_event_seq),
                        (kept, kept),
                        "{context}"
                    );
                    // Commits of 1, 2, 3, …: the last one holds events 40 alone.
                    assert!(kept >= 39, "{context}: acknowledged events are cut");
                    assert_eq!(read.expect("only a tail"), (kept, Some(cut)), "{context}");
                    let mut journal = opened.journal;
                    fill(&mut journal, 60);
                    drop(journal);
                    assert_eq!(read_all(&changed, 1).expect("sound again"), (60, None));
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_seen() {
    let disk = sample(30);
    let all = records(&disk);
    let files = segments(&disk);
    for path in &files {
        let bytes = disk.read(path);
        let is_last = Some(path) == files.last();
        for length in (0..HEADER).step_by(97).chain(HEADER..bytes.len()) {
            let shorter = disk.copy();
            shorter.overwrite(path, &bytes[..length]);
            let opened = open(&shorter);
            let context = format!("{length} bytes of {}", path.display());
            if length < HEADER || !is_last {
                let (segment, ..) = expect_damage(opened);
                assert_eq!(segment, *path, "{context}");
                continue;
            }
            let kept = all
                .iter()
                .filter(|record| record.0 != *path || record.1 as usize + record.3 <= length)
                .count();
            let opened = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            let cut = opened.report.cut.expect("told");
            assert_eq!(
                (opened.report.last_event_seq, cut.last_event_seq),
                (kept as u64, kept as u64),
                "{context}"
            );
            assert_eq!(cut.missing_bytes, (bytes.len() - length) as u64, "{context}");
            drop(opened.journal);
            assert_eq!(open(&shorter).expect("opens").report.cut, None, "{context}: told once");
        }
    }
}

#[test]
fn holes_in_the_last_commit_are_a_torn_tail_and_nothing_of_it_returns() {
    let disk = SimDisk::new(3);
    let mut journal = open(&disk).expect("new").journal;
    journal.commit(&[batch(1..=2)]).expect("commits");
    journal.commit(&[batch(3..=8)]).expect("commits");
    drop(journal);
    let all = records(&disk);
    // Zeros in place of the last record are the same as if it had never been written.
    for hole in 3..=7_u64 {
        let torn = disk.copy();
        let (path, offset, _, length) = &all[hole as usize - 1];
        let mut bytes = torn.read(path);
        bytes[*offset as usize..*offset as usize + length].fill(0);
        torn.overwrite(path, &bytes);
        let mut opened = open(&torn).expect("a torn tail");
        let cut = opened.report.cut.clone().expect("told");
        assert_eq!((cut.last_event_seq, cut.position.offset), (hole - 1, *offset));
        assert!(cut.bytes > 0);
        // One record of the same length where the hole was: what stood behind it must not follow it.
        opened.journal.commit(&[batch(hole..=hole)]).expect("commits");
        drop(opened);
        assert_eq!(read_all(&torn, 1).expect("sound"), (hole, None));
        assert_eq!(open(&torn).expect("opens").report.last_event_seq, hole);
    }
    // The same hole is damage when a later commit shows that the event was durable.
    let mut journal = open(&disk).expect("opens").journal;
    journal.commit(&[batch(9..=9)]).expect("commits");
    drop(journal);
    for hole in 1..=8_u64 {
        let damaged = disk.copy();
        let (path, offset, _, length) = &all[hole as usize - 1];
        let mut bytes = damaged.read(path);
        bytes[*offset as usize..*offset as usize + length].fill(0);
        damaged.overwrite(path, &bytes);
        let (segment, at, event_seq, why) = expect_damage(open(&damaged));
        assert_eq!((&segment, at, event_seq), (path, *offset, hole));
        assert!(
            why.starts_with("there are zeros, but it was durable before event"),
            "{why}"
        );
    }
}

#[test]
fn a_snapshot_shows_that_the_last_commit_was_durable() {
    let disk = sample(10);
    let mut opened = open(&disk).expect("opens");
    opened.journal.store_snapshot(10, b"state").expect("kept");
    assert!(matches!(
        opened.snapshots.store(11, b"x"),
        Err(JournalError::NotDurable {
            event_seq: 11,
            durable: 10
        })
    ));
    drop(opened);
    let (path, offset, ..) = records(&disk).pop().expect("records");
    let mut bytes = disk.read(&path);
    bytes[offset as usize + FRAME] ^= 1;
    disk.overwrite(&path, &bytes);
    let (_, at, event_seq, why) = expect_damage(open(&disk));
    assert_eq!((at, event_seq), (offset, 10));
    assert!(why.contains("snapshot"), "{why}");
    for path in segments(&disk) {
        disk.delete(&path);
    }
    expect_damage(open(&disk));
    expect_damage(read_all(&disk, 1));
}

#[test]
fn segments_must_follow_one_another() {
    type Change = fn(&SimDisk, &[PathBuf]);
    let cases: &[(&str, Change)] = &[
        ("a segment is missing", |disk, files| disk.delete(&files[1])),
        ("the first segment is missing", |disk, files| disk.delete(&files[0])),
        ("a segment under another's name", |disk, files| {
            disk.overwrite(&files[1], &disk.read(&files[0]))
        }),
        ("a segment twice", |disk, files| {
            disk.overwrite(&segment(2), &disk.read(&files[0]))
        }),
        ("a segment of another journal", |disk, files| {
            let other = SimDisk::new(99);
            fill(&mut open(&other).expect("new").journal, 40);
            disk.overwrite(&files[1], &other.read(&segments(&other)[1]));
        }),
        ("an empty file", |disk, files| {
            disk.overwrite(files.last().expect("some"), &[])
        }),
        ("an empty file in the middle", |disk, files| {
            disk.overwrite(&files[1], &[])
        }),
        ("an empty file behind", |disk, _| disk.overwrite(&segment(1000), &[])),
        ("no genesis file", |disk, _| {
            disk.delete(&Path::new(DATA).join("journal/genesis"))
        }),
        ("an empty genesis file", |disk, _| {
            disk.overwrite(&Path::new(DATA).join("journal/genesis"), &[])
        }),
    ];
    for (name, change) in cases {
        let disk = sample(40);
        let files = segments(&disk);
        change(&disk, &files);
        match open(&disk) {
            Err(JournalError::Damaged { .. }) => {}
            Err(error) => panic!("{name}: {error}"),
            Ok(opened) => panic!("{name}: {:?}", opened.report),
        }
    }
}

#[test]
fn what_is_left_over_goes_and_what_is_foreign_stays() {
    let disk = sample(5);
    let path = |name: &str| Path::new(DATA).join(name);
    let leftovers = [
        "journal/spare.tmp",
        "journal/genesis.tmp",
        "snapshots/00000000000000000003.snapshot.tmp",
    ];
    let foreign = [
        "journal/notes.txt",
        "journal/1.log",
        "journal/00000000000000000000.log",
        "journal/99999999999999999999.log",
        "snapshots/old.snapshot",
    ];
    for name in leftovers.iter().chain(&foreign) {
        disk.overwrite(&path(name), b"left here");
    }
    disk.overwrite(&path("snapshots/00000000000000000004.snapshot"), &[]);
    let opened = open(&disk).expect("opens");
    assert_eq!(opened.report.last_event_seq, 5);
    assert_eq!(
        opened.snapshots.newest_until(5).expect("read"),
        None,
        "an empty file is no snapshot"
    );
    drop(opened);
    let names = disk.names();
    for name in &leftovers[1..] {
        assert!(!names.contains(&path(name)), "{name}");
    }
    for name in foreign {
        assert_eq!(disk.read(&path(name)), b"left here");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_in_a_file_makes_it_panic(
        which in 0_usize..4,
        place in 0_usize..10_000,
        bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 3 => Just(255), 4 => any::<u8>()], 0..600),
        length in prop::option::of(0_usize..9000),
    ) {
        let disk = sample(24);
        disk.overwrite(&Path::new(DATA).join("snapshots/00000000000000000002.snapshot"), &[0; 80]);
        let mut files = segments(&disk);
        files.extend(disk.names().into_iter().filter(|path| path.ends_with("genesis") || path.starts_with("/data/snapshots")));
        let path = &files[which % files.len()];
        let mut content = disk.read(path);
        for (byte, new) in content.iter_mut().skip(place % 8192).zip(bytes) {
            *byte = new;
        }
        content.resize(length.unwrap_or(content.len()), 0xaa);
        disk.overwrite(path, &content);
        let read = read_all(&disk, 1);
        match open(&disk) {
            Ok(opened) => prop_assert_eq!(read.expect("what opens can be read").0, opened.report.last_event_seq),
            Err(JournalError::Damaged { .. }) => {
                let seen = matches!(read, Err(JournalError::Damaged { .. }));
                prop_assert!(seen);
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

#[test]
fn commits_out_of_order_write_nothing() {
    let disk = sample(5);
    let mut journal = open(&disk).expect("opens").journal;
    for wrong in [vec![batch(5..=6)], vec![batch(7..=7)], vec![batch(6..=6), batch(8..=8)]] {
        assert!(matches!(journal.commit(&wrong), Err(JournalError::OutOfOrder { .. })));
    }
    journal.commit(&[]).expect("nothing to do");
    journal
        .commit(&[Batch::default(), batch(6..=7), Batch::default(), batch(8..=8)])
        .expect("in order");
    assert_eq!(journal.durable_event_seq(), 8);
    drop(journal);
    assert_eq!(read_all(&disk, 1).expect("sound"), (8, None));
}

#[test]
fn records_of_any_length_and_commits_longer_than_a_segment() {
    let disk = SimDisk::new(5);
    let mut journal = open(&disk).expect("new").journal;
    let lengths = [0, 1, 8192, MAX_RECORD_BYTES, 0, 3, MAX_RECORD_BYTES];
    for (event_seq, &length) in (1..).zip(&lengths) {
        let mut batch = Batch::default();
        batch.push_bytes(event_seq, &vec![event_seq as u8; length]);
        journal.commit(&[batch]).expect("commits");
    }
    let mut big = Batch::default();
    for event_seq in 8..=1000 {
        big.push_bytes(event_seq, &[7; 100]);
    }
    journal.commit(&[big]).expect("commits");
    drop(journal);
    assert_eq!(open(&disk).expect("opens").report.last_event_seq, 1000);
    let read: Vec<usize> = records(&disk).iter().map(|record| record.3 - FRAME).collect();
    assert_eq!(&read[..7], lengths);
    assert!(read[7..].iter().all(|&length| length == 100) && read.len() == 1000);
}

#[test]
#[should_panic(expected = "longer than any reader takes")]
fn a_record_that_no_reader_takes_is_a_bug() {
    Batch::default().push_bytes(1, &vec![0; MAX_RECORD_BYTES + 1]);
}

#[test]
fn a_full_disk_is_seen_before_it_matters() {
    let disk = SimDisk::new(11);
    let mut opened = open(&disk).expect("new");
    let journal = &mut opened.journal;
    assert!(journal.has_room());
    disk.set_free(1023);
    assert!(!journal.has_room(), "less than the reserve is free");
    disk.set_free(1024);
    assert!(journal.has_room());
    disk.set_free(0);
    // What was taken while there was room can be written: the rest of this segment and the spare one.
    let mut next = 1;
    while let Ok(()) = journal.commit(&[batch(next..=next)]) {
        next += 1;
        assert!(!journal.has_room());
    }
    assert!(next > 15, "two segments were there: {next}");
    assert_eq!(journal.durable_event_seq(), next - 1);
    let error = journal.commit(&[batch(next..=next)]).expect_err("full");
    assert!(error.is_disk_full(), "{error}");
    assert!(!journal.has_room());
    disk.heal();
    assert!(journal.has_room(), "there is room again");
    journal.commit(&[batch(next..=next)]).expect("goes on");
    drop(opened);
    assert_eq!(read_all(&disk, 1).expect("sound"), (next, None));

    // A disk that is full at the start takes no commands, and does later.
    disk.set_free(0);
    let mut opened = open(&disk).expect("a full disk can be read");
    assert!(!opened.journal.has_room());
    disk.heal();
    assert!(opened.journal.has_room());
    opened.journal.commit(&[batch(next + 1..=next + 1)]).expect("goes on");
}

#[test]
fn a_failed_sync_is_not_trusted_later() {
    let disk = SimDisk::new(13);
    let mut opened = open(&disk).expect("new");
    opened.journal.commit(&[batch(1..=3)]).expect("commits");
    disk.fail_next_sync();
    opened.journal.commit(&[batch(4..=6)]).expect_err("the sync failed");
    assert_eq!(opened.journal.durable_event_seq(), 3);
    assert_eq!(segments(&disk), [segment(1)]);
    opened
        .journal
        .commit(&[batch(4..=6), batch(7..=7)])
        .expect("again, and more");
    assert_eq!(segments(&disk), [segment(1), segment(4)]);
    drop(opened);
    disk.power_cut();
    assert_eq!(read_all(&disk, 1).expect("sound"), (7, None));
    assert_eq!(open(&disk).expect("opens").report.cut, None);
}

#[test]
fn snapshots_the_newest_two_and_damaged_ones_passed_over() {
    let disk = sample(30);
    let opened = open(&disk).expect("opens");
    let snapshots = opened.snapshots.clone();
    for event_seq in [3, 10, 20, 30] {
        snapshots.store(event_seq, &payload(event_seq)).expect("kept");
    }
    assert_eq!(snapshots.list().expect("listed"), [30, 20]);
    let path = Path::new(DATA).join("snapshots").join(format!("{:020}.snapshot", 30));
    let bytes = disk.read(&path);
    assert_eq!(snapshots.load(30).expect("whole").bytes, payload(30));
    for offset in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[offset] ^= 4;
        disk.overwrite(&path, &changed);
        expect_damage(snapshots.load(30));
        assert_eq!(
            snapshots.newest_until(30).expect("read").expect("the older").event_seq,
            20
        );
        disk.overwrite(&path, &bytes[..offset]);
        expect_damage(snapshots.load(30));
    }
    // One that is not sound does not count among the two.
    disk.overwrite(&path, &[]);
    snapshots.store(29, b"state").expect("kept");
    assert_eq!(snapshots.list().expect("listed"), [30, 29, 20]);
}

#[test]
fn segments_go_only_behind_the_older_snapshot_and_durable_history() {
    let disk = SimDisk::new(17);
    let options = Options {
        retention: Retention::BehindSnapshot,
        ..small()
    };
    let mut opened = Embedded::open_on(disk.storage(), Path::new(DATA), &options, Vec::new).expect("new");
    fill(&mut opened.journal, 60);
    let firsts: Vec<u64> = {
        let names = segments(&disk);
        let stem = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        names
            .iter()
            .filter_map(stem)
            .filter_map(|stem| stem.parse().ok())
            .collect()
    };
    assert!(firsts.len() >= 5);
    let journal = &mut opened.journal;
    assert_eq!(journal.retain(u64::MAX).expect("nothing to do"), 0, "no snapshot");
    journal.store_snapshot(firsts[3], b"state").expect("kept");
    assert_eq!(journal.retain(u64::MAX).expect("nothing to do"), 0, "one snapshot");
    journal.store_snapshot(60, b"state").expect("kept");
    assert_eq!(
        journal.retain(firsts[1] - 2).expect("nothing to do"),
        0,
        "history is behind"
    );
    assert_eq!(journal.retain(firsts[1] - 1).expect("drops"), firsts[1] - 1);
    assert_eq!(journal.retain(u64::MAX).expect("drops"), firsts[3] - firsts[1]);
    assert_eq!(segments(&disk)[0], segment(firsts[3]));
    drop(opened);
    assert!(matches!(read_all(&disk, 1), Err(JournalError::NotKept { asked: 1, first }) if first == firsts[3]));
    assert_eq!(read_all(&disk, firsts[3]).expect("sound"), (60, None));
    let opened = Embedded::open_on(disk.storage(), Path::new(DATA), &options, Vec::new).expect("opens");
    assert_eq!(opened.report.first_event_seq, firsts[3]);
    drop(opened);
    for name in disk
        .names()
        .into_iter()
        .filter(|path| path.starts_with("/data/snapshots"))
    {
        disk.delete(&name);
    }
    let (.., why) = expect_damage(open(&disk));
    assert!(why.contains("no snapshot"), "{why}");
}

#[test]
fn a_reader_follows_a_journal_that_is_being_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    };
    let mut opened = Embedded::open(directory.path(), &options, Vec::new).expect("new");
    let last = 1500;
    let writer = std::thread::spawn(move || fill(&mut opened.journal, last));
    let mut records = Reader::open(directory.path())
        .expect("opens")
        .read_from(1)
        .expect("from the start");
    let mut expected = 1;
    while expected <= last {
        let finished = writer.is_finished();
        while let Some(record) = records.next().expect("never damaged") {
            assert_eq!((record.event_seq, record.payload), (expected, &payload(expected)[..]));
            expected += 1;
        }
        assert!(!finished || expected > last, "the journal ends at {expected}");
    }
    writer.join().expect("the writer is done");
}
