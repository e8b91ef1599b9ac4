//! Results that come in: whole or not at all, and nothing but results.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::Path;

use optivex_bundle::delivery::{self, LATEST, ReceiveError, SendError, Stored};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::limits::{LIMITS, Limits};
use optivex_bundle::spool::{Receipt, ResultFile, State, write_json};
use optivex_bundle::verdict::{JobResult, Verdict};
use optivex_bundle::wire::{Answer, Reason};

fn receipt(number: u8) -> Receipt {
    let sha256 = Digest::of(&[number]);
    Receipt {
        participant: "alice".parse().expect("a name"),
        id: SubmissionId::from(&sha256),
        sha256,
        size: 1,
        received: format!("2026-11-23T00:00:{number:02}.000000000Z"),
        attempt: 1,
    }
}

fn result(number: u8) -> JobResult {
    let receipt = receipt(number);
    JobResult {
        schema: JobResult::SCHEMA,
        participant: receipt.participant,
        id: receipt.id,
        attempt: 1,
        verdict: Verdict::Failed,
        submission: receipt.sha256,
        size: receipt.size,
        tests: None,
        contract: None,
        commit: None,
        dirty: false,
        seed: Some(u64::MAX),
        received: receipt.received,
        finished: "2026-11-23T00:01:00Z".to_owned(),
        waited_seconds: 0.0,
        ran_seconds: 1.5,
        stages: Vec::new(),
        cases: Vec::new(),
        note: None,
        troubles: Vec::new(),
        score: Vec::new(),
        timings: BTreeMap::new(),
    }
}

fn state() -> State {
    State::Done {
        verdict: Verdict::Failed,
    }
}

/// What the daemon sends of a result.
fn sent(number: u8) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    write_json(&folder.path().join("result.json"), &result(number)).expect("written");
    fs::write(folder.path().join("log.txt"), [0xff; 1000]).expect("written");
    fs::write(folder.path().join("private.txt"), "ours").expect("written");
    let mut bytes = Vec::new();
    delivery::send(&mut bytes, &receipt(number), &state(), folder.path(), &LIMITS).expect("sent");
    delivery::tell(&mut bytes, &Answer::Done).expect("told");
    bytes
}

fn received(bytes: &[u8], home: &Path) -> Result<Stored, ReceiveError> {
    delivery::receive(&mut BufReader::with_capacity(7, bytes), home, &LIMITS)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_sent_is_stored_and_the_newest_is_the_latest() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path().join("optivex-results");
    for number in [2, 1, 3, 3] {
        let stored = received(&sent(number), &home).expect("stored");
        assert_eq!(stored.result, result(number));
        assert_eq!(stored.folder, home.join(receipt(number).id.to_string()));
        assert_eq!(names(&stored.folder), ["log.txt", "result.json"]);
        assert_eq!(fs::read(stored.folder.join("log.txt")).expect("read"), [0xff; 1000]);
        let latest = fs::read_link(home.join(LATEST)).expect("a link");
        assert_eq!(latest.to_str(), Some(&*receipt(number.max(2)).id.to_string()));
    }
    assert_eq!(names(&home).len(), 4, "three results and the link: {:?}", names(&home));
}

/// Broken off anywhere, nothing of it is there, and what was there still is.
#[test]
fn a_result_is_there_whole_or_not_at_all() {
    let home = tempfile::tempdir().expect("a folder");
    received(&sent(1), home.path()).expect("stored");
    let before = names(home.path());
    for number in [1, 2] {
        let bytes = sent(number);
        for end in (0..bytes.len()).step_by(13).chain([bytes.len() - 1]) {
            let error = received(&bytes[..end], home.path()).expect_err("broken off");
            assert!(matches!(error, ReceiveError::Broken(_)), "{error}");
            assert_eq!(names(home.path()), before);
        }
    }
    assert_eq!(
        names(&home.path().join(receipt(1).id.to_string())),
        ["log.txt", "result.json"]
    );
}

#[test]
fn hostile_senders() {
    let job = |number| Answer::Job {
        receipt: receipt(number),
        state: state(),
    };
    let file = |name, text: &str| {
        let mut bytes = Vec::new();
        let sha256 = Digest::of(text.as_bytes());
        let size = text.len() as u64;
        delivery::tell(&mut bytes, &Answer::File { name, size, sha256 }).expect("told");
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    let line = |answer: &Answer| {
        let mut bytes = Vec::new();
        delivery::tell(&mut bytes, answer).expect("told");
        bytes
    };
    let json = serde_json::to_string(&result(1)).expect("JSON");
    let right = file(ResultFile::Result, &json);
    let named = |name: &str| {
        String::from_utf8(file(ResultFile::Log, "text"))
            .expect("UTF-8")
            .replace("log.txt", name)
            .into_bytes()
    };
    let huge = Answer::File {
        name: ResultFile::Log,
        size: u64::MAX,
        sha256: Digest::of(b""),
    };
    let wrong = Answer::File {
        name: ResultFile::Log,
        size: 1,
        sha256: Digest::of(b"other"),
    };
    let done = line(&Answer::Done);
    let cases: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("nothing", vec![done.clone()], "nothing came"),
        ("no result", vec![line(&job(1)), done.clone()], "no result.json"),
        ("a file first", vec![right.clone(), done.clone()], "does not belong"),
        (
            "another's",
            vec![line(&job(2)), right.clone(), done.clone()],
            "and not of",
        ),
        ("two", vec![line(&job(1)), line(&job(2))], "does not belong"),
        (
            "twice",
            vec![line(&job(1)), right.clone(), right.clone()],
            "comes twice",
        ),
        (
            "a path",
            vec![line(&job(1)), named("../.ssh/authorized_keys")],
            "not an answer",
        ),
        (
            "a name of its own",
            vec![line(&job(1)), named("run.sh")],
            "not an answer",
        ),
        ("huge", vec![line(&job(1)), line(&huge)], "more than may be"),
        (
            "other bytes",
            vec![line(&job(1)), line(&wrong), b"x".to_vec()],
            "another SHA-256",
        ),
        (
            "no JSON",
            vec![line(&job(1)), file(ResultFile::Result, "{"), done.clone()],
            "cannot be read",
        ),
        ("noise", vec![b"\x1b]0;title\x07\n".to_vec()], "not an answer"),
        ("an endless line", vec![vec![b'x'; 1 << 20]], "does not end"),
        (
            "a no",
            vec![line(&Answer::Refused {
                reason: Reason::Unknown,
                message: "no".to_owned(),
            })],
            "no",
        ),
    ];
    for (name, parts, told) in cases {
        let home = tempfile::tempdir().expect("a folder");
        let error = received(&parts.concat(), home.path()).expect_err(name).to_string();
        assert!(error.contains(told), "{name}: {error}");
        assert!(!error.chars().any(char::is_control), "{name}: {error:?}");
        assert!(names(home.path()).is_empty(), "{name}");
    }
}

#[test]
fn the_oldest_results_go_and_what_is_no_result_stays() {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("notes.txt"), "mine").expect("written");
    fs::create_dir(home.path().join("kept")).expect("made");
    let limits = Limits {
        results_kept: 2,
        ..LIMITS
    };
    for number in 1..=4 {
        delivery::receive(&mut &*sent(number), home.path(), &limits).expect("stored");
    }
    let mut expected = vec![
        receipt(3).id.to_string(),
        receipt(4).id.to_string(),
        "kept".to_owned(),
        "latest".to_owned(),
        "notes.txt".to_owned(),
    ];
    expected.sort();
    assert_eq!(names(home.path()), expected);
}

/// Whoever is killed in the middle of it sweeps nothing away: a later one does, once nobody can be at it any more.
#[test]
fn what_killed_receivers_left_goes() {
    let home = tempfile::tempdir().expect("a folder");
    let at = |name: &str| home.path().join(name);
    for name in [".result-old.tmp", ".result-young.tmp", ".mine.tmp"] {
        fs::create_dir(at(name)).expect("a folder");
        fs::write(at(name).join("log.txt"), "half").expect("written");
    }
    let long_ago = std::time::SystemTime::now() - 3 * LIMITS.connection();
    for name in [".result-old.tmp", ".mine.tmp"] {
        let folder = fs::File::open(at(name)).expect("a folder");
        folder.set_modified(long_ago).expect("set");
    }
    received(&sent(1), home.path()).expect("stored");
    let mut wanted = vec![
        ".mine.tmp".to_owned(),
        ".result-young.tmp".to_owned(),
        receipt(1).id.to_string(),
        LATEST.to_owned(),
    ];
    wanted.sort();
    assert_eq!(names(home.path()), wanted);
}

#[test]
fn links_and_folders_are_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("log.txt")).expect("linked");
    let error = delivery::send(&mut Vec::new(), &receipt(1), &state(), folder.path(), &LIMITS).expect_err("a link");
    assert!(matches!(error, SendError::Read(_)), "{error}");
}
