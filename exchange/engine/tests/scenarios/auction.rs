//! The call auction: which price, who trades, what is told meanwhile.

use expect_test::expect;
use optivex_engine::types::{Indicative, PRICE_E4_MAX, TradingPhase};
use optivex_engine::{Command, Limits};

use crate::market::*;

fn set(phase: TradingPhase) -> Command {
    Command::SetTradingPhase { instrument: X, phase }
}

/// X in an auction after a trade at `last`, with B's bids and C's offers of (lots, price).
fn call(last: Option<i64>, bids: &[(i64, i64)], offers: &[(i64, i64)]) -> Market {
    let mut m = Market::open();
    if let Some(price_e4) = last {
        m.ok(buy(A, 1, price_e4));
        m.ok(sell(D, 1, price_e4));
    }
    m.ok(set(TradingPhase::Auction));
    for (quantity, price_e4) in bids {
        m.ok(buy(B, *quantity, *price_e4));
    }
    for (quantity, price_e4) in offers {
        m.ok(sell(C, *quantity, *price_e4));
    }
    m
}

#[test]
fn the_price() {
    /// (last trade, bids, offers, (price, lots), why)
    type Case<'a> = (
        Option<i64>,
        &'a [(i64, i64)],
        &'a [(i64, i64)],
        Option<(i64, i64)>,
        &'a str,
    );
    let cases: &[Case] = &[
        (None, &[], &[], None, "an empty book"),
        (None, &[(5, 100)], &[], None, "one side only"),
        (Some(100), &[(5, 95)], &[(5, 100)], None, "nothing crosses"),
        (None, &[(5, 100)], &[(5, 100)], Some((100, 5)), "one price"),
        (
            None,
            &[(5, 110), (5, 105)],
            &[(7, 100), (9, 105)],
            Some((105, 10)),
            "the most volume: 5 at 110, 10 at 105, 7 at 100",
        ),
        (
            None,
            &[(10, 110), (5, 100)],
            &[(10, 100)],
            Some((105, 10)),
            "10 lots from 100 to 110; 5 are left behind at 100, none from 105 on",
        ),
        (
            Some(200),
            &[(10, 110)],
            &[(10, 100)],
            Some((110, 10)),
            "nearest to a last trade above",
        ),
        (
            Some(50),
            &[(10, 110)],
            &[(10, 100)],
            Some((100, 10)),
            "nearest to a last trade below",
        ),
        (
            Some(105),
            &[(10, 110)],
            &[(10, 100)],
            Some((105, 10)),
            "the last trade's own price",
        ),
        (
            None,
            &[(10, 110)],
            &[(10, 100)],
            Some((100, 10)),
            "without a last trade the lowest",
        ),
        (
            Some(105),
            &[(10, 115), (4, 100)],
            &[(10, 100), (4, 115)],
            Some((105, 10)),
            "as much is left at 100 as at 115, and none between: the last price there",
        ),
        (
            None,
            &[(12, 110)],
            &[(10, 95), (4, 110)],
            Some((110, 12)),
            "volume before surplus",
        ),
        (
            None,
            &[(4, 105), (6, 100)],
            &[(4, 95), (6, 105)],
            Some((95, 4)),
            "6 are left behind at any price, of one side or the other: the lowest",
        ),
        (
            Some(105),
            &[(4, 105), (6, 100)],
            &[(4, 95), (6, 105)],
            Some((105, 4)),
            "the same after a trade at 105",
        ),
        (Some(-20), &[(3, -10)], &[(3, -30)], Some((-20, 3)), "negative prices"),
        (
            None,
            &[(1, 10)],
            &[(1, -10)],
            Some((-10, 1)),
            "from one sign to the other",
        ),
        (
            Some(0),
            &[(1, PRICE_E4_MAX)],
            &[(1, -PRICE_E4_MAX)],
            Some((0, 1)),
            "from one end of prices to the other",
        ),
        (
            None,
            &[(2, PRICE_E4_MAX)],
            &[(1, PRICE_E4_MAX)],
            Some((PRICE_E4_MAX, 1)),
            "at the highest price",
        ),
        (
            None,
            &[(1, -PRICE_E4_MAX)],
            &[(2, -PRICE_E4_MAX)],
            Some((-PRICE_E4_MAX, 1)),
            "at the lowest price",
        ),
    ];
    for (last, bids, offers, price, why) in cases {
        let m = call(*last, bids, offers);
        let expected = price.map(|(price_e4, quantity)| Indicative { price_e4, quantity });
        assert_eq!(m.engine.indicative(X), expected, "{why}");
    }
}

#[test]
fn at_most_one_side_is_left_at_the_price_and_time_decides_who() {
    let mut m = call(None, &[(4, 100), (4, 100), (2, 105)], &[(5, 95), (2, 100)]);
    m.ok(set(TradingPhase::Continuous));
    expect![[r#"
        B #3 buy 2@105: trades 2@100, whole
        C #4 sell 5@95: trades 2@100
        B #1 buy 4@100: trades 3@100
        C #4 sell 5@95: trades 3@100, whole
        B #1 buy 4@100: trades 1@100, whole
        C #5 sell 2@100: trades 1@100
        B #2 buy 4@100: trades 1@100
        C #5 sell 2@100: trades 1@100, whole
    "#]]
    .assert_eq(&m.reports());
    assert_eq!(m.book(X), "B2 3@100 | ");
    assert_eq!(m.changes(), "0x0@105, 3x1@100 | 0x0@95, 0x0@100");
    assert!(m.event.trades.iter().all(|trade| trade.aggressor_side.is_none()));
    assert_eq!(m.event.books.len(), 1);
    assert_eq!(m.event.books[0].phase, Some(TradingPhase::Continuous));
}

#[test]
fn an_uncross_knows_no_self_trade_prevention() {
    let mut m = Market::with(TradingPhase::Auction, Limits::default());
    m.ok(buy(A, 5, 100));
    m.ok(sell(A, 5, 100));
    m.ok(set(TradingPhase::Continuous));
    assert_eq!(m.event.trades.len(), 1);
    let position = m.engine.positions(A);
    assert!(position.is_empty(), "bought from oneself: {position:?}");
}

#[test]
fn every_book_change_of_an_auction_tells_the_indicative_price_and_no_other_does() {
    let mut m = call(None, &[(5, 105)], &[]);
    let told = |m: &Market| m.event.books[0].indicative.map(|told| (told.price_e4, told.quantity));
    assert_eq!(told(&m), None);
    m.ok(sell(C, 3, 100));
    assert_eq!(told(&m), Some((100, 3)));
    m.ok(sell(C, 9, 105));
    assert_eq!(told(&m), Some((105, 5)));
    m.ok(set(TradingPhase::Halted));
    assert_eq!(told(&m), None);
    assert_eq!(m.engine.indicative(X), None);
    m.ok(set(TradingPhase::Auction));
    assert_eq!(told(&m), Some((105, 5)), "the auction goes on");
}

#[test]
fn a_crossed_book_that_was_halted_uncrosses_when_it_opens() {
    let mut m = call(Some(110), &[(5, 105)], &[(3, 100)]);
    m.ok(set(TradingPhase::Halted));
    m.ok(set(TradingPhase::Continuous));
    assert_eq!(m.event.trades.len(), 1);
    assert_eq!((m.event.trades[0].price_e4, m.event.trades[0].quantity), (105, 3));
    assert_eq!(m.engine.last_trade_price_e4(X), Some(105));
    assert_eq!(m.book(X), "B3 2@105 | ");
}

#[test]
fn amends_and_cancels_move_the_indicative_price() {
    let mut m = call(None, &[(5, 105)], &[]);
    let offer = m.rest(sell(C, 5, 100));
    let told = |m: &Market| m.engine.indicative(X).map(|told| (told.price_e4, told.quantity));
    assert_eq!(told(&m), Some((100, 5)));
    m.ok(amend(C, offer, 2, None));
    assert_eq!(told(&m), Some((100, 2)), "3 are left behind at any price");
    m.ok(amend(C, offer, 5, 105));
    assert_eq!(told(&m), Some((105, 5)));
    m.ok(cancel(C, offer));
    assert_eq!(told(&m), None);
}
