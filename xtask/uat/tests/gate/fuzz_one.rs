//! What must hold whatever a client says. The fuzz target (`fuzz/`) and the tests both call [`fuzz_one`].

use std::time::Duration;

use optivex_bundle::spool::ResultFile;
use optivex_bundle::verdict::Verdict;
use optivex_bundle::wire::Answer;

use crate::room::{Room, fingerprint, heard, id_of, name, submission};

const SECRET: &str = "bob's secret";

/// One conversation of `alice`, beside a `bob` who has everything that one can have.
pub(crate) fn fuzz_one(input: &[u8]) {
    let mut room = Room::new();
    // Small, so that each bound is reached by short inputs.
    room.limits.bundle_bytes = 2048;
    room.limits.transfers = 2;
    for (bundle, over) in [(b"bob 1", false), (b"bob 2", true)] {
        room.serve("bob", &submission(bundle, 0)).receipt();
        if over {
            let id = id_of(bundle);
            room.claim("bob", id);
            for file in [ResultFile::Log, ResultFile::Stages] {
                std::fs::write(room.spool.result_file(&name("bob"), id, file), SECRET).expect("written");
            }
            room.finish("bob", id, Verdict::Crashed { how: SECRET.to_owned() });
        }
    }
    let before = fingerprint(room.home.path());
    let mut output = Vec::new();
    let mut looks = 0;
    room.serve_raw(
        "alice",
        &mut &*input,
        &mut output,
        &mut |_| Ok(()),
        &mut |_: Duration| {
            looks += 1;
            // It may follow a deployment that nobody runs: the daemon would say that it is down.
            assert!(looks < 10_000);
            if looks == 3 {
                for bundle in room.waiting("alice") {
                    room.claim("alice", id_of(&bundle));
                    room.finish("alice", id_of(&bundle), Verdict::Cancelled);
                }
            }
        },
    );

    // Nothing of bob's is told or touched, and nothing is made that has no place.
    assert!(!output.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
    assert!(!String::from_utf8_lossy(&output).contains("\"bob\""));
    let mut after = fingerprint(room.home.path());
    for (path, print) in before {
        // Folders change when something of alice's comes into them.
        let now = after
            .remove(&path)
            .unwrap_or_else(|| panic!("{} is gone", path.display()));
        if path.is_file() {
            assert_eq!(now, print, "{} has changed", path.display());
        }
    }
    for path in after.keys() {
        let place = path.strip_prefix(room.home.path()).expect("below");
        let mut parts = place.iter().map(|part| part.to_str().expect("UTF-8"));
        let (first, second) = (parts.next(), parts.next());
        let places = ["incoming", "waiting", "claimed", "results", "cancel"];
        assert!(
            first.is_some_and(|first| places.contains(&first)) && second == Some("alice"),
            "{} was made",
            place.display()
        );
    }
    // Whoever sees one sees it whole.
    let waiting = room.waiting("alice");
    // Answers are answers, bounded, and the last one is the last.
    assert!(output.len() < 64 << 10);
    let heard = heard(&output);
    for (index, answer) in heard.answers.iter().enumerate() {
        let last = matches!(answer, Answer::Done | Answer::Refused { .. } | Answer::Again);
        assert_eq!(last, index + 1 == heard.answers.len(), "{:?}", heard.answers);
        if let Answer::Receipt { receipt, .. } = answer {
            assert!(
                waiting.iter().any(|bundle| id_of(bundle) == receipt.id),
                "a promise not kept"
            );
        }
    }
}
