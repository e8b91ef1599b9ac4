//! A disk that gets full.

use optivex_proto::v1;
use optivex_proto::v1::info_service_client::InfoServiceClient;
use rustix::process::Signal;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt;

use crate::ledger::{Health, Ledger, Trader, list_abc};
use crate::process::{Place, stderr};
use crate::tmpfs::{Tmpfs, with_own_mounts};

/// Room for two segments of the journal, the reserve that it wants free, and a history.
const DISK_MEBIBYTES: u64 = 320;
/// What the journal wants free.
const RESERVE: u64 = 64 << 20;

#[test]
fn no_room_no_orders_and_on_it_goes() {
    with_own_mounts(async || {
        let place = Place::new();
        let disk = Tmpfs::mount(place.path("data"), DISK_MEBIBYTES);
        let exchange = place.start([]);
        list_abc(&exchange).await;
        let mut trader = Trader::login(&exchange).await;
        let mut health = Health::watch(&trader.channel).await;
        health.becomes(ServingStatus::Serving).await;
        let mut ledger = Ledger::default();
        ledger.insert(&mut trader, 100).await;

        // Little is left, and history takes it with its first thousands of orders.
        let ballast = disk.ballast(disk.free_bytes() - RESERVE - (1 << 20));
        ledger.insert_until_refused(&mut trader).await;
        health.becomes(ServingStatus::NotServing).await;
        assert!(ledger.len() >= 100);
        let request = v1::CancelAllOrdersRequest::default();
        let status = trader.execution.cancel_all_orders(trader.token.with(request)).await;
        let status = status.expect_err("a cancel wants room too");
        let info = status.get_details_error_info().expect("ErrorInfo");
        assert_eq!((status.code(), &*info.reason), (tonic::Code::Unavailable, "NOT_READY"));
        // Everything that only reads goes on.
        ledger.check(&mut trader).await;
        let request = v1::GetOrderBookRequest {
            symbol: "ABC".to_owned(),
            depth: 0,
        };
        let mut info = InfoServiceClient::new(trader.channel.clone());
        let book = info
            .get_order_book(trader.token.with(request))
            .await
            .expect("queries go on");
        let bids = book.into_inner().book.expect("a book").bids;
        assert_eq!(bids[0].quantity, i64::try_from(ledger.len()).expect("few"));
        Trader::login(&exchange).await;

        // Somebody makes room.
        drop(ballast);
        health.becomes(ServingStatus::Serving).await;
        assert_eq!(ledger.insert(&mut trader, 1_000).await, 1_000);

        exchange.signal(Signal::KILL);
        exchange.ended();
        let exchange = place.start([]);
        let mut trader = Trader::login(&exchange).await;
        ledger.check(&mut trader).await;
        ledger.retry_all(&mut trader).await;
        exchange.stop();
    });
}

#[test]
fn not_one_byte_left() {
    with_own_mounts(async || {
        let place = Place::new();
        let disk = Tmpfs::mount(place.path("data"), DISK_MEBIBYTES);
        let exchange = place.start([]);
        list_abc(&exchange).await;
        let mut trader = Trader::login(&exchange).await;
        let mut health = Health::watch(&trader.channel).await;
        let mut ledger = Ledger::default();
        // In the midst of orders.
        ledger.insert(&mut trader, 2_000).await;
        let ballast = disk.ballast(u64::MAX);
        ledger.insert_until_refused(&mut trader).await;
        health.becomes(ServingStatus::NotServing).await;
        ledger.check(&mut trader).await;
        exchange.signal(Signal::KILL);
        exchange.ended();

        // A start without any room: all that was acknowledged can be read, and nothing is taken.
        let exchange = place.start([]);
        let mut trader = Trader::login(&exchange).await;
        let mut health = Health::watch(&trader.channel).await;
        health.becomes(ServingStatus::NotServing).await;
        ledger.check(&mut trader).await;
        assert_eq!(ledger.insert(&mut trader, 10).await, 0);
        drop(ballast);
        health.becomes(ServingStatus::Serving).await;
        ledger.insert(&mut trader, 10).await;
        exchange.signal(Signal::KILL);
        exchange.ended();

        let exchange = place.start([]);
        let mut trader = Trader::login(&exchange).await;
        ledger.check(&mut trader).await;
        ledger.retry_all(&mut trader).await;
        exchange.stop();
    });
}

#[test]
fn a_disk_that_only_reads() {
    with_own_mounts(async || {
        let place = Place::new();
        let disk = Tmpfs::mount(place.path("data"), DISK_MEBIBYTES);
        let exchange = place.start([]);
        list_abc(&exchange).await;
        let mut trader = Trader::login(&exchange).await;
        let mut ledger = Ledger::default();
        ledger.insert(&mut trader, 10).await;
        exchange.stop();

        disk.set_read_only(true);
        let output = place.fails([]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let error = told
            .lines()
            .find(|line| line.starts_with("optivex: "))
            .expect("one line that says why");
        assert!(
            error.contains("data directory data") && error.contains("Read-only file system"),
            "{error}"
        );
        assert!(!told.contains("panicked"), "{told}");

        disk.set_read_only(false);
        let exchange = place.start([]);
        ledger.check(&mut Trader::login(&exchange).await).await;
        exchange.stop();
    });
}
