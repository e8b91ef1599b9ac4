//! Clients that mean no good.

use optivex_bundle::digest::Digest;
use optivex_bundle::wire::Ask;
use proptest::prelude::*;

use crate::fuzz_one::fuzz_one;
use crate::room::{Room, contract, id_of, request, submission};

#[test]
fn what_is_no_request() {
    let long = vec![b'x'; 5000];
    let deep = ["[".repeat(4000).into_bytes(), b"\n".to_vec()].concat();
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", "does not end in a newline"),
        (b"\n", "Malformed"),
        (b"ls -la /\n", "Malformed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "Malformed"),
        (b"\x00\x00\x00\x05\x01\x00\x00\x00\x03\n", "Malformed"),
        (b"\xff\xfe\n", "Malformed"),
        (b"{}\n", "Malformed"),
        (b"{\"v\":1}\n", "Malformed"),
        (b"{\"v\":-1,\"ask\":{\"status\":{}}}\n", "Malformed"),
        (b"{\"v\":2,\"ask\":{\"teleport\":{}}}\n", "Version"),
        (b"{\"v\":1,\"ask\":{\"shell\":{}}}\n", "Malformed"),
        (
            b"{\"v\":1,\"ask\":{\"status\":{}},\"participant\":\"bob\"}\n",
            "Malformed",
        ),
        (
            b"{\"v\":1,\"ask\":{\"status\":{\"participant\":\"bob\"}}}\n",
            "Malformed",
        ),
        (
            b"{\"v\":1,\"ask\":{\"results\":{\"id\":\"../../bob/x\"}}}\n",
            "Malformed",
        ),
        (
            b"{\"v\":1,\"ask\":{\"results\":{\"id\":\"\\u001b[2J\"}}}\n",
            "Malformed",
        ),
        (b"{\"v\":1,\"ask\":{\"logs\":{\"from\":-1}}}\n", "Malformed"),
        (
            b"{\"v\":1,\"ask\":{\"submit\":{\"sha256\":\"/etc/passwd\",\"size\":1,\"contract\":\"\"}}}\n",
            "Malformed",
        ),
        (
            b"{\"v\":1,\"ask\":{\"submit\":{\"sha256\":\"0\",\"size\":1e99,\"contract\":\"\"}}}\n",
            "Malformed",
        ),
        (&long, "longer than 4096 bytes"),
        (&deep, "Malformed"),
    ];
    for (input, told) in cases {
        fuzz_one(input);
        let room = Room::new();
        let heard = room.serve("alice", input);
        let refusal = heard.refusal();
        assert!(refusal.contains(told), "{}: {refusal}", String::from_utf8_lossy(input));
        assert!(!refusal.chars().any(char::is_control), "{refusal:?}");
        assert_eq!(heard.answers.len(), 1);
    }
}

#[test]
fn what_is_somebody_elses_does_not_exist() {
    let room = Room::new();
    let id = id_of(b"bob's");
    room.serve("bob", &submission(b"bob's", 0)).receipt();
    for ask in [
        Ask::Status {
            id: Some(id),
            follow: None,
        },
        Ask::Status {
            id: Some(id),
            follow: Some(0),
        },
        Ask::Status {
            id: None,
            follow: Some(u64::MAX),
        },
        Ask::Logs { id: Some(id), from: 0 },
        Ask::Results { id: Some(id) },
        Ask::Cancel { id },
    ] {
        let refusal = room.ask("alice", ask.clone()).refusal();
        assert!(refusal.starts_with("Unknown"), "{ask:?}: {refusal}");
    }
    assert_eq!(room.waiting("bob").len(), 1);
}

/// Requests that are nearly right, and then bytes.
fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let bundle = prop::collection::vec(any::<u8>(), 1..2000);
    let id = prop_oneof![Just(None), Just(Some(id_of(b"bob 1"))), Just(Some(id_of(b"bob 2")))];
    let ask = (id, any::<u64>(), any::<bool>(), 0..4_u8).prop_map(|(id, number, follow, which)| {
        request(match which {
            0 => Ask::Status {
                id,
                follow: follow.then_some(number),
            },
            1 => Ask::Logs { id, from: number },
            2 => Ask::Results { id },
            _ => Ask::Cancel {
                id: id.unwrap_or_else(|| id_of(b"bob 1")),
            },
        })
    });
    let lying = (bundle.clone(), any::<u16>(), any::<bool>()).prop_map(|(bundle, size, lies)| {
        let sha256 = if lies {
            Digest::of(b"other")
        } else {
            Digest::of(&bundle)
        };
        let mut input = request(Ask::Submit {
            sha256,
            size: u64::from(size),
            contract: contract(),
        });
        input.extend(bundle);
        input
    });
    let right = bundle.prop_map(|bundle| submission(&bundle, 0));
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let changed = (
        prop_oneof![right, lying, ask],
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    )
        .prop_map(|(mut input, changes)| {
            for (place, byte) in changes {
                let place = place.index(input.len());
                input[place] = byte;
            }
            input
        });
    prop_oneof![1 => noise, 6 => changed]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_client_says(input in any_input()) {
        fuzz_one(&input);
    }
}
