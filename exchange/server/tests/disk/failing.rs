//! A disk that refuses writes for a while, also to files that are open.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::process::Signal;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::ledger::{Health, Ledger, Trader, list_abc};
use crate::process::Place;

const NEEDS_IMMUTABLE: &str = "this test makes files immutable (chattr +i): run it as root (sudo -E cargo test) \
                               with TMPDIR on ext4";

/// Makes everything under a directory refuse to be written, or takes that back.
fn set_immutable(path: &Path, immutable: bool) {
    let entries: Vec<_> = if path.is_dir() {
        fs::read_dir(path)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .collect()
    } else {
        Vec::new()
    };
    // The directory first, so that nothing comes to it meanwhile; and last when it is taken back.
    if immutable {
        set_one(path, immutable);
    }
    for entry in entries {
        set_immutable(&entry, immutable);
    }
    if !immutable {
        set_one(path, immutable);
    }
}

fn set_one(path: &Path, immutable: bool) {
    // Removed meanwhile.
    let Ok(file) = File::open(path) else { return };
    let change = ioctl_getflags(&file).and_then(|mut flags| {
        flags.set(IFlags::IMMUTABLE, immutable);
        ioctl_setflags(&file, flags)
    });
    change.unwrap_or_else(|error| panic!("{}: {error}: {NEEDS_IMMUTABLE}", path.display()));
}

/// Takes it back when a test fails too: what is immutable cannot be removed.
struct Failing<'a>(&'a Path);

impl<'a> Failing<'a> {
    fn start(path: &'a Path) -> Self {
        set_immutable(path, true);
        Self(path)
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        set_immutable(self.0, false);
    }
}

/// Some file systems let those write who have the file open.
fn open_files_are_refused_too(place: &Place) {
    let path = place.write("probe", "probe");
    let file = File::options().write(true).open(&path).expect("a file");
    let failing = Failing::start(&path);
    assert!(file.write_at(b"x", 0).is_err(), "{NEEDS_IMMUTABLE}");
    drop(failing);
}

async fn fails_and_recovers(directory: &str) {
    let place = Place::new();
    open_files_are_refused_too(&place);
    let directory = place.path(directory);
    let exchange = place.start([]);
    list_abc(&exchange).await;
    let mut trader = Trader::login(&exchange).await;
    let mut health = Health::watch(&trader.channel).await;
    let mut ledger = Ledger::default();
    for _ in 0..2 {
        health.becomes(ServingStatus::Serving).await;
        ledger.insert(&mut trader, 1_000).await;
        let failing = Failing::start(&directory);
        ledger.insert_until_refused(&mut trader).await;
        health.becomes(ServingStatus::NotServing).await;
        drop(failing);
    }
    health.becomes(ServingStatus::Serving).await;
    ledger.check(&mut trader).await;
    ledger.insert(&mut trader, 10).await;

    let failing = Failing::start(&directory);
    ledger.insert_until_refused(&mut trader).await;
    exchange.signal(Signal::KILL);
    exchange.ended();
    drop(failing);
    let exchange = place.start([]);
    let mut trader = Trader::login(&exchange).await;
    ledger.check(&mut trader).await;
    ledger.retry_all(&mut trader).await;
    exchange.stop();
}

#[tokio::test]
async fn the_journal_cannot_be_written_for_a_while() {
    fails_and_recovers("data/journal").await;
}

#[tokio::test]
async fn nothing_can_be_written_for_a_while() {
    fails_and_recovers("data").await;
}
