//! Trades.

use optivex_engine::types::Side;
use optivex_proto::v1;
use tonic::Streaming;

use crate::venue::{Client, Venue, told};

/// Trades `count` times one lot.
async fn trade(venue: &Venue, symbol: &str, count: usize) {
    for _ in 0..count {
        venue.insert("alice", symbol, Side::Buy, 100, 1).await;
        venue.insert("bob", symbol, Side::Sell, 100, 1).await;
    }
}

async fn list(client: &mut Client, symbol: &str, after_trade_id: u64, page_size: i32) -> (Vec<u64>, bool) {
    let request = v1::ListTradesRequest {
        symbol: symbol.to_owned(),
        after_trade_id,
        page_size,
    };
    let page = client.info.list_trades(request).await.expect("a page").into_inner();
    (page.trades.iter().map(|trade| trade.trade_id).collect(), page.has_more)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_trades_oldest_first() {
    let venue = Venue::start().await;
    venue.list(&["ABC", "XYZ"]).await;
    let mut carol = venue.login("carol").await;
    assert_eq!(list(&mut carol, "", 0, 0).await, (vec![], false));
    for round in 1..=20 {
        trade(&venue, if round % 2 == 1 { "ABC" } else { "XYZ" }, 1).await;
        // As soon as the reply is there.
        let (trades, more) = list(&mut carol, "", 0, 0).await;
        assert_eq!((trades, more), ((1..=round).collect(), false));
    }
    assert_eq!(list(&mut carol, "ABC", 0, 3).await, (vec![1, 3, 5], true));
    assert_eq!(list(&mut carol, "XYZ", 15, 3).await, (vec![16, 18, 20], false));
    assert_eq!(list(&mut carol, "", 18, 2).await, (vec![19, 20], false));
    assert_eq!(list(&mut carol, "", 1_000, 0).await, (vec![], false));
    for (symbol, page_size, expected) in [
        ("", -1, r#"InvalidArgument INVALID_FIELD {"field": "page_size"}"#),
        (
            "SEVENTEEN-LETTERS",
            0,
            r#"InvalidArgument INVALID_FIELD {"field": "symbol"}"#,
        ),
        ("NONE", 0, r#"NotFound UNKNOWN_INSTRUMENT {"symbol": "NONE"}"#),
    ] {
        let request = v1::ListTradesRequest {
            symbol: symbol.to_owned(),
            after_trade_id: 0,
            page_size,
        };
        let status = carol.info.list_trades(request).await.expect_err("a bad request");
        assert_eq!(told(&status), expected);
    }
}

struct Tape(Streaming<v1::SubscribeTradesResponse>);

impl Tape {
    async fn subscribe(client: &mut Client, symbols: &[&str], after_trade_id: Option<u64>) -> Self {
        let request = v1::SubscribeTradesRequest {
            symbols: symbols.iter().map(ToString::to_string).collect(),
            after_trade_id,
        };
        let tape = client.info.subscribe_trades(request).await;
        Self(tape.expect("a subscription").into_inner())
    }

    async fn next(&mut self) -> (Vec<u64>, u64) {
        let message = self.0.message().await.expect("an open stream").expect("an open stream");
        (
            message.trades.iter().map(|trade| trade.trade_id).collect(),
            message.through_trade_id,
        )
    }

    /// Everything up to a trade.
    async fn through(&mut self, trade_id: u64) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let (trades, through) = self.next().await;
            assert!(trades.last().is_none_or(|last| *last <= through));
            all.extend(trades);
            if through >= trade_id {
                return all;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tape_from_any_trade_on() {
    let venue = Venue::start().await;
    venue.list(&["ABC", "XYZ", "QQQ"]).await;
    let mut carol = venue.login("carol").await;
    for _ in 0..4 {
        trade(&venue, "ABC", 1).await;
        trade(&venue, "XYZ", 1).await;
        trade(&venue, "QQQ", 1).await;
    }
    let mut now = Tape::subscribe(&mut carol, &[], None).await;
    let mut all = Tape::subscribe(&mut carol, &[], Some(0)).await;
    let mut one = Tape::subscribe(&mut carol, &["XYZ"], Some(2)).await;
    let mut two = Tape::subscribe(&mut carol, &["QQQ", "ABC"], Some(6)).await;
    assert_eq!(now.next().await, (vec![], 12));
    assert_eq!(all.next().await, (vec![], 0));
    assert_eq!(one.next().await, (vec![], 2));
    assert_eq!(two.next().await, (vec![], 6));
    trade(&venue, "ABC", 1).await;
    trade(&venue, "XYZ", 1).await;
    assert_eq!(now.through(14).await, [13, 14]);
    assert_eq!(all.through(14).await, (1..=14).collect::<Vec<_>>());
    assert_eq!(one.through(14).await, [5, 8, 11, 14]);
    assert_eq!(two.through(14).await, [7, 9, 10, 12, 13]);
    // Silent: an empty message.
    assert_eq!(now.next().await, (vec![], 14));
    for (symbols, after_trade_id, expected) in [
        (
            vec!["ABC", "NONE"],
            None,
            r#"NotFound UNKNOWN_INSTRUMENT {"symbol": "NONE"}"#,
        ),
        (vec![""], None, r#"InvalidArgument INVALID_FIELD {"field": "symbols"}"#),
        (vec![], Some(15), "OutOfRange CANNOT_RESUME {}"),
    ] {
        let request = v1::SubscribeTradesRequest {
            symbols: symbols.into_iter().map(String::from).collect(),
            after_trade_id,
        };
        let status = carol.info.subscribe_trades(request).await.expect_err("a bad request");
        assert_eq!(told(&status), expected);
    }
}

/// More trades than one message holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_tape_comes_whole() {
    let venue = Venue::start().await;
    venue.list(&["ABC"]).await;
    let mut carol = venue.login("carol").await;
    trade(&venue, "ABC", 2_345).await;
    let mut all = Tape::subscribe(&mut carol, &["ABC"], Some(0)).await;
    assert_eq!(all.through(2_345).await, (1..=2_345).collect::<Vec<_>>());
    let (page, more) = list(&mut carol, "ABC", 0, i32::MAX).await;
    assert_eq!((page.len(), more), (1_000, true));
}
