//! Bundles come in.

use std::fs;
use std::io::{self, Read};
use std::time::Duration;

use optivex_bundle::digest::Digest;
use optivex_bundle::limits::LIMITS;
use optivex_bundle::spool::{State, UatMode};
use optivex_bundle::verdict::Verdict;
use optivex_bundle::wire::{Answer, Ask};

use crate::room::{Room, contract, id_of, name, request, submission};

const BUNDLE: &[u8] = b"a bundle; what is in it is not the gate's business";

#[test]
fn a_bundle_gets_a_receipt_and_the_same_one_the_same() {
    let room = Room::new();
    let heard = room.serve("alice", &submission(BUNDLE, 0));
    assert_eq!(heard.offset(), Some(0));
    let receipt = heard.receipt();
    assert_eq!((receipt.participant.as_str(), receipt.id), ("alice", id_of(BUNDLE)));
    assert_eq!(
        (receipt.sha256, receipt.size),
        (Digest::of(BUNDLE), BUNDLE.len() as u64)
    );
    assert_eq!(
        (receipt.received.as_str(), receipt.attempt),
        ("2026-11-18T11:06:40.000000000Z", 1)
    );
    assert_eq!(room.waiting("alice"), [BUNDLE]);

    // Nothing is to be sent, and it says what became of it.
    let id = id_of(BUNDLE);
    let again = || room.serve("alice", &submission(BUNDLE, 0));
    let state = |heard: &crate::room::Heard| {
        assert_eq!(heard.offset(), None);
        assert_eq!(heard.receipt(), receipt);
        heard.answers.iter().find_map(|answer| match answer {
            Answer::Receipt { state, .. } => Some(state.clone()),
            _ => None,
        })
    };
    assert_eq!(state(&again()), Some(State::Waiting { ahead: 0 }));
    room.claim("alice", id);
    assert_eq!(state(&again()), Some(State::Running));
    room.finish("alice", id, Verdict::Failed);
    assert_eq!(
        state(&again()),
        Some(State::Done {
            verdict: Verdict::Failed
        })
    );

    // Another's same bundle is another deployment.
    assert_eq!(
        room.serve("bob", &submission(BUNDLE, 0)).receipt().participant,
        name("bob")
    );
}

#[test]
fn one_that_was_not_judged_may_come_again() {
    for verdict in [
        Verdict::Cancelled,
        Verdict::Superseded { by: id_of(b"other") },
        Verdict::Infrastructure { why: "disk".to_owned() },
    ] {
        let room = Room::new();
        room.serve("alice", &submission(BUNDLE, 0)).receipt();
        let id = id_of(BUNDLE);
        let cancelled = room.ask("alice", Ask::Cancel { id });
        assert_eq!(cancelled.answers.last(), Some(&Answer::Done));
        assert!(room.spool.cancel(&name("alice"), id).exists());
        room.claim("alice", id);
        room.finish("alice", id, verdict.clone());
        let heard = room.serve("alice", &submission(BUNDLE, 0));
        assert_eq!(heard.receipt().attempt, 2, "{verdict}");
        assert_eq!(room.waiting("alice"), [BUNDLE]);
        // What cancelled the first attempt must not cancel the second.
        assert!(!room.spool.cancel(&name("alice"), id).exists());
    }
}

#[test]
fn the_newest_is_the_newest_even_when_the_clock_goes_back() {
    let room = Room::new();
    let mut received = Vec::new();
    for (index, bundle) in [b"1", b"2", b"3"].iter().enumerate() {
        received.push(room.serve("alice", &submission(*bundle, 0)).receipt().received);
        room.now.set(room.now.get() - Duration::from_secs(3600 * index as u64));
    }
    assert!(received.is_sorted_by(|a, b| a < b), "{received:?}");
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let room = Room::new();
    let mut from = 0;
    for cut in [1, 10, BUNDLE.len() - 1] {
        let whole = submission(BUNDLE, from);
        let heard = room.serve("alice", &whole[..whole.len() - BUNDLE.len() + cut]);
        from = cut;
        assert!(heard.refusal().contains("Silence"), "{}", heard.refusal());
        assert_eq!(room.waiting("alice").len(), 0);
        let heard = room.serve("alice", &submission(BUNDLE, BUNDLE.len()));
        assert_eq!(heard.offset(), Some(cut as u64));
    }
    let heard = room.serve("alice", &submission(BUNDLE, BUNDLE.len() - 1));
    assert_eq!(heard.offset(), Some(BUNDLE.len() as u64 - 1));
    heard.receipt();
    assert_eq!(room.waiting("alice"), [BUNDLE]);
    let left: Vec<_> = fs::read_dir(room.spool.incoming(&name("alice")))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| !name.ends_with(".lock"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The old connection hangs about while a new one goes on with its transfer: it can neither disturb nor publish.
#[test]
fn a_connection_that_was_given_up_does_no_harm() {
    struct Interrupted<'a> {
        room: &'a Room,
        rest: &'a [u8],
        then: Option<Vec<u8>>,
    }
    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.rest.is_empty()
                && let Some(then) = self.then.take()
            {
                // The same participant comes again, before these bytes arrive.
                let heard = self.room.serve("alice", &submission(BUNDLE, 10));
                assert_eq!(heard.offset(), Some(10));
                heard.receipt();
                self.rest = Box::leak(then.into_boxed_slice());
            }
            self.rest.read(buffer)
        }
    }
    let room = Room::new();
    let whole = submission(BUNDLE, 0);
    let cut = whole.len() - BUNDLE.len() + 10;
    // Its last bytes are others than they were to be, or the right ones.
    for then in [whole[cut..].to_vec(), vec![b'x'; BUNDLE.len() - 10]] {
        let mut input = Interrupted {
            room: &room,
            rest: &whole[..cut],
            then: Some(then),
        };
        let mut output = Vec::new();
        room.serve_raw("alice", &mut input, &mut output, &mut |_| Ok(()), &mut |_| {
            panic!("waits")
        });
        assert_eq!(room.waiting("alice"), [BUNDLE]);
        let id = id_of(BUNDLE);
        room.claim("alice", id);
        room.finish("alice", id, Verdict::Cancelled);
    }
}

#[test]
fn what_is_not_taken() {
    let sha256 = Digest::of(BUNDLE);
    let submit = |size: u64| {
        request(Ask::Submit {
            sha256,
            size,
            contract: contract(),
        })
    };
    let mut other = submission(BUNDLE, 0);
    *other.last_mut().expect("bytes") ^= 1;
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("nothing", submit(0), "TooBig"),
        ("more than may be", submit(LIMITS.bundle_bytes + 1), "TooBig"),
        ("as much as there is", submit(u64::MAX), "TooBig"),
        ("other bytes", other, "WrongHash"),
        ("no bytes", submission(BUNDLE, BUNDLE.len()), "Silence"),
    ];
    for (case, input, told) in cases {
        let room = Room::new();
        let heard = room.serve("alice", &input);
        assert!(heard.refusal().contains(told), "{case}: {}", heard.refusal());
        assert!(room.waiting("alice").is_empty(), "{case}");
    }
    // After bytes that were wrong it begins anew.
    let room = Room::new();
    let mut other = submission(BUNDLE, 0);
    *other.last_mut().expect("bytes") ^= 1;
    room.serve("alice", &other);
    assert_eq!(room.serve("alice", &submission(BUNDLE, 0)).offset(), Some(0));
}

#[test]
fn bytes_behind_the_bundle_are_nobodys() {
    let room = Room::new();
    let mut input = submission(BUNDLE, 0);
    input.extend_from_slice(&request(Ask::Status { id: None, follow: None }));
    room.serve("alice", &input).receipt();
    assert_eq!(room.waiting("alice"), [BUNDLE]);
}

#[test]
fn a_full_disk_is_told_before_anything_is_sent() {
    let room = Room::new();
    room.free.set(LIMITS.disk_reserve_bytes + BUNDLE.len() as u64 - 1);
    let heard = room.serve("alice", &submission(BUNDLE, 0));
    assert_eq!(heard.offset(), None);
    assert!(
        heard
            .refusal()
            .starts_with("DiskFull: UAT's disk is full: 2.0 GiB are free"),
        "{}",
        heard.refusal()
    );
    room.free.set(LIMITS.disk_reserve_bytes + BUNDLE.len() as u64);
    room.serve("alice", &submission(BUNDLE, 0)).receipt();
}

#[test]
fn not_everything_may_wait_at_once() {
    let room = Room::new();
    for index in 0..LIMITS.waiting {
        room.serve("alice", &submission(format!("{index}").as_bytes(), 0))
            .receipt();
    }
    let heard = room.serve("alice", &submission(BUNDLE, 0));
    assert!(heard.refusal().contains("TooMany"), "{}", heard.refusal());
    room.serve("bob", &submission(BUNDLE, 0)).receipt();
    // Nor may broken transfers pile up.
    let whole = |index: usize| submission(format!("bundle number {index}").as_bytes(), 0);
    for index in 0..20 {
        let bytes = whole(index);
        room.serve("carol", &bytes[..bytes.len() - 1]).refusal();
    }
    let parts = fs::read_dir(room.spool.incoming(&name("carol")))
        .expect("a folder")
        .filter(|entry| {
            entry
                .as_ref()
                .is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "part"))
        })
        .count();
    assert_eq!(parts as u64, LIMITS.transfers);
}

#[test]
fn connections_at_once_are_counted() {
    let mut room = Room::new();
    room.limits.connections = 2;
    room.limits.transfers = 1;
    let refusals = std::cell::RefCell::new(Vec::new());
    let ask = || room.ask("alice", Ask::Status { id: None, follow: None });
    let input = submission(BUNDLE, 0);
    let mut inside = |_| {
        refusals
            .borrow_mut()
            .push(room.serve("alice", &submission(b"other", 0)).refusal());
        assert_eq!(ask().answers.last(), Some(&Answer::Done));
        // Bob's are his own.
        room.serve("bob", &submission(b"other", 0)).receipt();
        Ok(())
    };
    room.serve_with("alice", &input, &mut inside, &mut |_| panic!("waits"))
        .receipt();
    let refusals = refusals.into_inner();
    assert!(!refusals.is_empty());
    for refusal in refusals {
        assert_eq!(
            refusal,
            "TooMany: 1 of your transfers are under way: wait until one of them is over"
        );
    }
}

#[test]
fn how_uat_is_is_told_with_the_receipt() {
    let notes = |room: &Room, contract: Digest| {
        let mut input = request(Ask::Submit {
            sha256: Digest::of(BUNDLE),
            size: BUNDLE.len() as u64,
            contract,
        });
        input.extend_from_slice(BUNDLE);
        let heard = room.serve("alice", &input);
        heard.receipt();
        let notes = heard.answers.iter().find_map(|answer| match answer {
            Answer::Receipt { notes, .. } => Some(notes.join("\n")),
            _ => None,
        });
        notes.expect("a receipt")
    };
    let room = Room::new();
    assert_eq!(notes(&room, contract()), "");
    assert!(notes(&room, Digest::of(b"older")).contains("not the contract that UAT tests by"));
    room.tell(UatMode::Paused {
        why: "self-test failed".to_owned(),
    });
    assert!(notes(&room, contract()).contains("UAT is paused: self-test failed"));
    room.tell(UatMode::Draining);
    assert!(notes(&room, contract()).contains("ends after what is running"));
    room.tell(UatMode::Running);
    room.now.set(room.now.get() + Duration::from_secs(61));
    assert!(notes(&room, contract()).contains("down since 2026-11-18T11:06:40Z"));
    fs::remove_file(room.spool.status_file()).expect("removed");
    assert!(notes(&room, contract()).contains("has never run"));
}
