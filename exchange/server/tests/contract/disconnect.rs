//! `cancel_on_disconnect`: what breaks a report stream, and what does not.

use std::net::SocketAddr;

use optivex_proto::v1::subscribe_execution_reports_response::Event;
use optivex_proto::v1::{self, CancelReason, ExecutionKind};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tonic::Streaming;

use crate::venue::{Client, Venue, buy, connect, end, next};

/// How a stream comes to its end.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// The client cancels it.
    Reset,
    /// The client's connection is closed.
    Closed,
    /// The client's machine says nothing any more.
    Silent,
}

/// A wire between a client and the exchange that can be cut without a word to either.
struct Wire {
    address: SocketAddr,
    cut: Option<oneshot::Sender<()>>,
}

impl Wire {
    async fn to(exchange: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (cut, is_cut) = oneshot::channel();
        tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.expect("a client");
            let mut far = TcpStream::connect(exchange).await.expect("the exchange");
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                // Both ends stay open, and nothing goes from one to the other.
                _ = is_cut => std::future::pending().await,
            }
        });
        Self {
            address,
            cut: Some(cut),
        }
    }

    fn cut(&mut self) {
        let cut = self.cut.take().expect("cut once");
        cut.send(()).expect("a wire that is up");
    }
}

async fn report(stream: &mut Streaming<v1::SubscribeExecutionReportsResponse>) -> v1::ExecutionReport {
    loop {
        if let Some(Event::Report(report)) = next(stream).await.event {
            return report;
        }
    }
}

pub(crate) async fn closed_reset_and_silent() {
    // The defaults take 9 of the contract's 10 s; this is only quicker.
    let venue = Venue::start(["--keepalive-interval", "500ms", "--keepalive-timeout", "500ms"]);
    venue.list_abc().await;
    let mut watcher = venue.login("alice").await;
    let mut reports = watcher.reports(None, false).await;
    let before = watcher.insert(buy("ABC", 9_000, 1)).await.order_id;
    report(&mut reports).await;
    for how in [Break::Reset, Break::Closed, Break::Silent] {
        let mut wire = Wire::to(venue.exchange.address).await;
        let mut guarded_client = Client::login_over(&connect(wire.address).await, "alice").await;
        let mut guarded = guarded_client.reports(None, true).await;
        assert!(matches!(
            next(&mut guarded).await.event,
            Some(Event::SubscribedReportSeq(_))
        ));
        // Over this session, and over any other.
        let orders = [
            guarded_client.insert(buy("ABC", 9_100, 1)).await.order_id,
            watcher.insert(buy("ABC", 9_200, 1)).await.order_id,
        ];
        for order_id in orders {
            let accepted = report(&mut reports).await;
            assert_eq!(accepted.order.map(|order| order.order_id), Some(order_id));
        }
        match how {
            Break::Reset => {
                drop(guarded);
                // The connection lives on.
                guarded_client.open_orders().await;
            }
            Break::Closed => drop((guarded, guarded_client)),
            Break::Silent => {
                wire.cut();
                let cancelled = cancelled(&mut reports).await;
                assert_eq!(cancelled, orders, "{how:?}");
                drop((guarded, guarded_client));
                continue;
            }
        }
        assert_eq!(cancelled(&mut reports).await, orders, "{how:?}");
    }
    assert_eq!(
        watcher.open_orders().await,
        [before],
        "what was there before is not guarded"
    );
}

/// The next two reports: cancels by a disconnect, in one event.
async fn cancelled(reports: &mut Streaming<v1::SubscribeExecutionReportsResponse>) -> [u64; 2] {
    let both = [report(reports).await, report(reports).await];
    assert_eq!(both[0].event_seq, both[1].event_seq);
    both.map(|report| {
        assert_eq!(
            (report.kind(), report.cancel_reason()),
            (ExecutionKind::Cancelled, CancelReason::Disconnect)
        );
        report.order.expect("the order").order_id
    })
}

pub(crate) async fn logout_and_restart_keep() {
    let venue = Venue::start([]);
    venue.list_abc().await;
    let mut alice = venue.login("alice").await;
    let mut guarded = alice.reports(None, true).await;
    next(&mut guarded).await;
    let first = alice.insert(buy("ABC", 9_000, 1)).await.order_id;
    alice.auth.logout(v1::LogoutRequest {}).await.expect("a session");
    assert_eq!(end(&mut guarded).await, "Unauthenticated INVALID_TOKEN {}");
    drop((guarded, alice));

    let mut alice = venue.login("alice").await;
    assert_eq!(alice.open_orders().await, [first]);
    let mut guarded = alice.reports(None, true).await;
    next(&mut guarded).await;
    let second = alice.insert(buy("ABC", 9_100, 1)).await.order_id;
    // The exchange goes, not the client.
    let venue = venue.restart_after_kill();
    while guarded.message().await.is_ok() {}
    let mut alice = venue.login("alice").await;
    assert_eq!(alice.open_orders().await, [first, second]);
}
