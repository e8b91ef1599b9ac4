//! Killed after any step, or failing in it: nothing half is ever seen, and the next try succeeds.

use std::cell::{Cell, RefCell};
use std::io;

use optivex_bundle::verdict::Verdict;
use optivex_bundle::wire::Ask;
use optivex_uat::gate::Step;

use crate::room::{Room, id_of, submission};

fn bundle() -> Vec<u8> {
    // More than one buffer.
    (0..300_000_u32).map(|index| (index % 251) as u8).collect()
}

/// The steps of one transfer.
fn steps() -> Vec<Step> {
    let steps = RefCell::new(Vec::new());
    let mut note = |step| {
        steps.borrow_mut().push(step);
        Ok(())
    };
    let room = Room::new();
    room.serve_with("alice", &submission(&bundle(), 0), &mut note, &mut |_| panic!("waits"))
        .receipt();
    steps.into_inner()
}

/// On disk first, then seen, then promised.
#[test]
fn the_order_of_steps() {
    use Step::*;
    assert_eq!(
        steps(),
        [
            PartMade,
            BytesWritten,
            BytesWritten,
            BytesWritten,
            PartSynced,
            FolderMade,
            BundleMoved,
            ReceiptSynced,
            Published,
            PublishSynced
        ]
    );
}

#[test]
fn killed_after_every_step() {
    let bundle = bundle();
    for attempt in 1..=2 {
        let room = Room::new();
        if attempt == 2 {
            // Beside what is left of an earlier attempt.
            room.serve("alice", &submission(&bundle, 0)).receipt();
            room.ask("alice", Ask::Cancel { id: id_of(&bundle) });
            room.claim("alice", id_of(&bundle));
            room.finish("alice", id_of(&bundle), Verdict::Cancelled);
        }
        let mut killed = Vec::new();
        let mut copy = |step| {
            killed.push((step, room.as_it_is()));
            Ok(())
        };
        room.serve_with("alice", &submission(&bundle, 0), &mut copy, &mut |_| panic!("waits"))
            .receipt();
        assert_eq!(killed.len(), steps().len());
        for (step, room) in killed {
            // `waiting` looks into every folder there, and wants it whole.
            let seen = room.waiting("alice");
            let published = matches!(step, Step::Published | Step::PublishSynced);
            assert_eq!(seen.len(), usize::from(published), "{step:?}");
            let from = match room.serve("alice", &submission(&bundle, bundle.len())).offset() {
                // It is there: nothing is to be sent.
                None => bundle.len(),
                Some(offset) => usize::try_from(offset).expect("small"),
            };
            let receipt = room.serve("alice", &submission(&bundle, from)).receipt();
            assert_eq!(receipt.attempt, attempt, "{step:?}");
            assert_eq!(room.waiting("alice"), std::slice::from_ref(&bundle), "{step:?}");
        }
    }
}

#[test]
fn failing_in_every_step() {
    let bundle = bundle();
    let kinds = [
        (io::ErrorKind::StorageFull, "DiskFull: UAT's disk is full"),
        (io::ErrorKind::PermissionDenied, "Ours: UAT has trouble of its own"),
    ];
    for (kind, told) in kinds {
        for failing in 0..steps().len() {
            let room = Room::new();
            let count = Cell::new(0);
            let mut fail = |_| {
                let now = count.replace(count.get() + 1);
                if now == failing { Err(kind.into()) } else { Ok(()) }
            };
            let heard = room.serve_with("alice", &submission(&bundle, 0), &mut fail, &mut |_| panic!("waits"));
            assert!(heard.refusal().starts_with(told), "{}", heard.refusal());
            // No path of ours in it.
            assert!(!heard.refusal().contains('/'), "{}", heard.refusal());
            room.waiting("alice");
            let from = room.serve("alice", &submission(&bundle, bundle.len())).offset();
            let from = from.map_or(bundle.len(), |offset| usize::try_from(offset).expect("small"));
            room.serve("alice", &submission(&bundle, from)).receipt();
            assert_eq!(room.waiting("alice"), std::slice::from_ref(&bundle));
        }
    }
}
