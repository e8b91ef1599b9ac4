//! What became of a deployment.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use optivex_bundle::spool::{ResultFile, State, UatMode};
use optivex_bundle::verdict::Verdict;
use optivex_bundle::wire::{Answer, Ask};

use crate::room::{Heard, Room, id_of, name, request, submission};

const BUNDLE: &[u8] = b"a bundle";

fn add(room: &Room, file: ResultFile, text: &str) {
    let path = room.spool.result_file(&name("alice"), id_of(BUNDLE), file);
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

fn events(heard: &Heard) -> Vec<String> {
    let told = |answer: &Answer| match answer {
        Answer::Job { state, .. } => Some(match state {
            State::Waiting { ahead } => format!("waiting {ahead}"),
            State::Running => "running".to_owned(),
            State::Done { verdict } => verdict.to_string(),
        }),
        Answer::Progress { event, .. } => Some(event["event"].to_string()),
        _ => None,
    };
    heard.answers.iter().filter_map(told).collect()
}

#[test]
fn a_deployment_is_followed_to_its_end() {
    let room = Room::new();
    room.serve("bob", &submission(BUNDLE, 0)).receipt();
    room.serve("alice", &submission(BUNDLE, 0)).receipt();
    let id = id_of(BUNDLE);
    let turn = Cell::new(0);
    let mut daemon = |_| {
        turn.set(turn.get() + 1);
        match turn.get() {
            1 => room.claim("bob", id),
            2 => room.claim("alice", id),
            3 => add(
                &room,
                ResultFile::Stages,
                "{\"event\":\"claimed\",\"attempt\":1}\n{\"event\":\"serv",
            ),
            // Half a line is none yet; what is no JSON is no event.
            4 => add(&room, ResultFile::Stages, "ing\",\"millis\":5}\nnoise\n"),
            5 => {
                add(
                    &room,
                    ResultFile::Stages,
                    "{\"event\":\"finished\",\"verdict\":\"passed\"}\n",
                );
                room.finish("alice", id, Verdict::Passed);
            }
            _ => panic!("it is over"),
        }
    };
    let follow = |follow| {
        request(Ask::Status {
            id: None,
            follow: Some(follow),
        })
    };
    let heard = room.serve_with("alice", &follow(0), &mut |_| Ok(()), &mut daemon);
    assert_eq!(
        events(&heard),
        [
            "waiting 1",
            "waiting 0",
            "running",
            "\"claimed\"",
            "\"serving\"",
            "\"finished\"",
            "passed"
        ]
    );
    assert_eq!(heard.answers.last(), Some(&Answer::Done));

    // From where a lost connection was; and from nowhere that there is.
    let next = heard.answers.iter().find_map(|answer| match answer {
        Answer::Progress { next, event } if event["event"] == "claimed" => Some(*next),
        _ => None,
    });
    let heard = room.serve("alice", &follow(next.expect("told")));
    assert_eq!(events(&heard), ["\"serving\"", "\"finished\"", "passed"]);
    let heard = room.serve("alice", &follow(u64::MAX));
    assert_eq!(events(&heard)[0], "\"claimed\"");
}

#[test]
fn a_status_lists_the_newest_first() {
    let mut room = Room::new();
    room.limits.listed = 3;
    for index in 0..5_u8 {
        room.serve("alice", &submission(&[index], 0)).receipt();
        if index < 3 {
            room.claim("alice", id_of(&[index]));
            room.finish("alice", id_of(&[index]), Verdict::Failed);
        }
        room.now.set(room.now.get() + std::time::Duration::from_secs(1));
    }
    room.tell(UatMode::Paused {
        why: "lunch".to_owned(),
    });
    let heard = room.ask("alice", Ask::Status { id: None, follow: None });
    assert_eq!(events(&heard), ["waiting 0", "waiting 0", "failed"]);
    assert!(
        matches!(&heard.answers[0], Answer::Uat { notes } if notes[0].contains("lunch")),
        "{heard:?}"
    );
    let heard = room.ask(
        "alice",
        Ask::Status {
            id: Some(id_of(&[1])),
            follow: None,
        },
    );
    assert_eq!(events(&heard), ["failed"]);
}

#[test]
fn results_and_logs() {
    let room = Room::new();
    room.serve("alice", &submission(BUNDLE, 0)).receipt();
    let id = id_of(BUNDLE);
    let ask_results = || room.ask("alice", Ask::Results { id: None });
    assert!(ask_results().refusal().starts_with("NotYet"), "{:?}", ask_results());
    let logs = |from| room.ask("alice", Ask::Logs { id: Some(id), from });
    assert!(logs(0).refusal().starts_with("NotYet"));
    room.claim("alice", id);
    assert!(ask_results().refusal().starts_with("NotYet"));
    let log = "ä line\n".repeat(10_000);
    add(&room, ResultFile::Log, &log);
    add(&room, ResultFile::Markdown, "# Result\n");
    // Not of the closed set, so not sent.
    fs::write(room.spool.result(&name("alice"), id).join("secret.txt"), "ours").expect("written");
    room.finish("alice", id, Verdict::Failed);

    let heard = ask_results();
    assert_eq!(
        heard.files.keys().copied().collect::<Vec<_>>(),
        [ResultFile::Result, ResultFile::Markdown, ResultFile::Log]
    );
    assert_eq!(heard.files[&ResultFile::Log], log.as_bytes());
    let text = |heard: &Heard| {
        let parts = heard.answers.iter().filter_map(|answer| match answer {
            Answer::Log { text, .. } => Some(text.as_str()),
            _ => None,
        });
        parts.collect::<String>()
    };
    let all = text(&logs(0));
    // A character may fall on the border of two parts.
    assert!(all.starts_with("ä line\n") && all.len() >= log.len(), "{}", all.len());
    assert_eq!(text(&logs(log.len() as u64 - 5)), "line\n");
    assert_eq!(text(&logs(u64::MAX)), "");
}

/// Whoever could write there could have put a link: it leads nowhere.
#[test]
fn links_are_not_followed() {
    let room = Room::new();
    room.serve("alice", &submission(BUNDLE, 0)).receipt();
    room.claim("alice", id_of(BUNDLE));
    let path = room.spool.result_file(&name("alice"), id_of(BUNDLE), ResultFile::Log);
    std::os::unix::fs::symlink("/etc/passwd", path).expect("linked");
    let refusal = room.ask("alice", Ask::Logs { id: None, from: 0 }).refusal();
    assert!(refusal.starts_with("Ours"), "{refusal}");
}

#[test]
fn cancelling() {
    let room = Room::new();
    let id = id_of(BUNDLE);
    room.serve("alice", &submission(BUNDLE, 0)).receipt();
    for expected in ["waiting 0", "running"] {
        if expected == "running" {
            room.claim("alice", id);
        }
        let heard = room.ask("alice", Ask::Cancel { id });
        assert_eq!(events(&heard), [expected]);
        assert!(room.spool.cancel(&name("alice"), id).is_file());
    }
    room.finish("alice", id, Verdict::Cancelled);
    assert!(room.ask("alice", Ask::Cancel { id }).refusal().starts_with("Over: "));
}

/// A client that does not listen any more.
#[test]
fn a_client_that_went_away() {
    struct Deaf(usize);
    impl Write for Deaf {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = bytes.len().min(self.0);
            self.0 -= count;
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let input = submission(BUNDLE, 0);
    for heard in 0..200 {
        let room = Room::new();
        room.serve_raw("alice", &mut &*input, &mut Deaf(heard), &mut |_| Ok(()), &mut |_| {
            panic!("waits")
        });
        // It heard nothing of the receipt, and finds it when it asks again.
        room.waiting("alice");
        let offset = room.serve("alice", &submission(BUNDLE, BUNDLE.len())).offset();
        let from = offset.map_or(BUNDLE.len(), |offset| usize::try_from(offset).expect("small"));
        room.serve("alice", &submission(BUNDLE, from)).receipt();
        assert_eq!(room.waiting("alice"), [BUNDLE]);
    }
}
