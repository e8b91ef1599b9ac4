//! The list of instruments.

use optivex_proto::v1::subscribe_instruments_response::Event;
use optivex_proto::v1::{self, TradingPhase};

use crate::venue::{Client, Venue, told};

async fn list(client: &mut Client, page_size: i32, page_token: &str) -> (Vec<String>, String) {
    let request = v1::ListInstrumentsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let response = client
        .info
        .list_instruments(request)
        .await
        .expect("a page")
        .into_inner();
    let symbols = response.instruments.iter().map(|instrument| instrument.symbol.clone());
    (symbols.collect(), response.next_page_token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_by_symbol_page_by_page() {
    let venue = Venue::start().await;
    venue.list(&["C", "A.1", "B", "D", "A"]).await;
    let mut carol = venue.login("carol").await;
    assert_eq!(
        list(&mut carol, 0, "").await,
        (["A", "A.1", "B", "C", "D"].map(String::from).to_vec(), String::new())
    );
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let (page, next) = list(&mut carol, 2, &token).await;
        pages.push(page);
        token = next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec!["A", "A.1"], vec!["B", "C"], vec!["D"]]);
    // More than the bound is the bound.
    assert_eq!(list(&mut carol, i32::MAX, "").await.0.len(), 5);
    for (field, page_size, page_token) in [
        ("page_size", -1, ""),
        ("page_token", 0, "no symbol"),
        ("page_token", 0, "SEVENTEEN-LETTERS"),
    ] {
        let request = v1::ListInstrumentsRequest {
            page_size,
            page_token: page_token.to_owned(),
        };
        let status = carol.info.list_instruments(request).await.expect_err(field);
        assert_eq!(
            told(&status),
            format!("InvalidArgument INVALID_FIELD {{\"field\": \"{field}\"}}")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_then_every_new_one_and_every_phase() {
    let venue = Venue::start().await;
    let mut root = venue.list(&["B", "A"]).await;
    let subscription = root
        .info
        .subscribe_instruments(v1::SubscribeInstrumentsRequest {})
        .await;
    let mut subscription = subscription.expect("a subscription").into_inner();
    let mut next = async || {
        let message = subscription.message().await.expect("an open stream");
        message.expect("an open stream").event.expect("an event")
    };
    let is = |event: Event, symbol: &str, phase: TradingPhase| match event {
        Event::Instrument(instrument) => {
            assert_eq!((instrument.symbol.as_str(), instrument.phase()), (symbol, phase));
            instrument
        }
        event => panic!("{event:?}"),
    };
    is(next().await, "A", TradingPhase::Continuous);
    let listed = is(next().await, "B", TradingPhase::Continuous);
    assert_eq!(
        (listed.order_book_id, listed.tick_size_e4, listed.multiplier),
        (1, 100, 10)
    );
    let Event::SnapshotCompleteEventSeq(complete) = next().await else {
        panic!("no mark")
    };
    let created = root.create("C").await;
    assert_eq!(created.event_seq, complete + 1);
    assert_eq!(
        Some(is(next().await, "C", TradingPhase::Continuous)),
        created.instrument
    );
    // The same phase again is no news.
    root.phase("A", TradingPhase::Continuous).await;
    root.phase("A", TradingPhase::Halted).await;
    let last = root.phase("A", TradingPhase::Auction).await;
    is(next().await, "A", TradingPhase::Halted);
    is(next().await, "A", TradingPhase::Auction);
    let Event::HeartbeatEventSeq(heartbeat) = next().await else {
        panic!("no heartbeat")
    };
    assert_eq!(heartbeat, last.event_seq);
}
