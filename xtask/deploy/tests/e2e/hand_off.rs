//! Receipts.

use std::fs::{self, File};
use std::sync::atomic::Ordering;

use optivex_bundle::archive;
use optivex_bundle::digest::Digest;
use optivex_bundle::limits::LIMITS;
use optivex_bundle::spool::{BUNDLE, Receipt, UatMode};

use crate::machine::Machine;

/// Bytes that do not compress.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

/// The one deployment that waits.
fn waiting(machine: &Machine) -> Receipt {
    let receipts = machine
        .spool
        .waiting_receipts(&"alice".parse().expect("a name"))
        .expect("read");
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    receipts.into_iter().next().expect("one")
}

#[test]
fn a_deployment_gets_a_receipt_and_the_same_again_the_same() {
    let machine = Machine::new();
    machine.repository(b"#!program\n");
    let (code, told) = machine.deployed(&[]);
    assert_eq!(code, Some(0), "{told}");
    let receipt = waiting(&machine);
    let commit = machine.git(&["rev-parse", "HEAD"]);
    for part in [
        format!("submitted  {}", receipt.id),
        format!("  sha256   {}", receipt.sha256),
        format!("  commit   {commit}\n"),
        "  now      waits, and is next\n".to_owned(),
    ] {
        assert!(told.contains(&part), "{part} is not in {told}");
    }

    // What waits is what was built, and says where it comes from.
    let folder = machine.spool.waiting_job(&receipt.participant, receipt.id);
    let mut bundle = File::open(folder.join(BUNDLE)).expect("there");
    let into = machine.path("unpacked");
    let manifest = archive::unpack(&mut bundle, &receipt.sha256, &into, &LIMITS).expect("sound");
    assert_eq!((manifest.commit, manifest.dirty), (commit, false));
    assert_eq!(fs::read(into.join("exchange")).expect("there"), b"#!program\n");

    let (code, told) = machine.deployed(&["--no-wait"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains(&format!("submitted  {}", receipt.id)) && told.contains("was here before"),
        "{told}"
    );
    assert_eq!(waiting(&machine), receipt);

    let (code, told) = machine.deployed(&["status"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains(&receipt.id.to_string()) && told.contains("waits, and is next"),
        "{told}"
    );
    let (code, told) = machine.deployed(&["cancel", &receipt.id.to_string()]);
    assert_eq!(code, Some(0), "{told}");
    assert!(machine.spool.cancel(&receipt.participant, receipt.id).exists());
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_broke() {
    let machine = Machine::new();
    machine.repository(&noise(3 << 20));
    // In the middle of the bytes, twice; and before a word was said.
    machine.cut(&[1 << 20, 100, 1 << 20]);
    let (code, told) = machine.deployed(&["--patience", "60"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("trying again"), "{told}");
    let resumed = told.matches("that are there already").count();
    assert_eq!(resumed, 2, "{told}");
    assert_eq!(machine.connections.load(Ordering::SeqCst), 4, "{told}");
    let receipt = waiting(&machine);
    let bundle = machine.spool.waiting_job(&receipt.participant, receipt.id).join(BUNDLE);
    assert_eq!(Digest::of(&fs::read(bundle).expect("there")), receipt.sha256);
}

#[test]
fn how_uat_is_is_told() {
    let machine = Machine::new();
    machine.repository(b"#!program\n");
    machine.heartbeat(UatMode::Paused {
        why: "the reference exchange fails".to_owned(),
    });
    let (code, told) = machine.deployed(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("  note     UAT is paused: the reference exchange fails."),
        "{told}"
    );
    let (_, told) = machine.deployed(&["status"]);
    assert!(told.contains("note: UAT is paused"), "{told}");
}
