//! Orders that do not rest, orders that only rest, and market orders.

use optivex_engine::types::{CancelReason, OrderStatus, TradingPhase};
use optivex_engine::{Command, Refusal};

use crate::market::*;

const CANCELLED: OrderStatus = OrderStatus::Cancelled(CancelReason::TimeInForce);

/// B offers 3 at 100 and 4 at 105.
fn offered() -> Market {
    let mut m = Market::open();
    m.ok(sell(B, 3, 100));
    m.ok(sell(B, 4, 105));
    m
}

#[test]
fn what_comes_of_an_order() {
    // (order, (status, filled, open), the book afterwards)
    let cases = [
        (buy(A, 5, 100), (OrderStatus::Open, 3, 2), "A3 2@100 | B2 4@105"),
        (buy(A, 5, 100).ioc(), (CANCELLED, 3, 0), " | B2 4@105"),
        (buy(A, 5, 95).ioc(), (CANCELLED, 0, 0), " | B1 3@100, B2 4@105"),
        (buy(A, 3, 100).ioc(), (OrderStatus::Filled, 3, 0), " | B2 4@105"),
        (buy(A, 3, 100).fok(), (OrderStatus::Filled, 3, 0), " | B2 4@105"),
        (buy(A, 7, 105).fok(), (OrderStatus::Filled, 7, 0), " | "),
        (buy(A, 5, 0).market(), (OrderStatus::Filled, 5, 0), " | B2 2@105"),
        (buy(A, 9, 0).market(), (CANCELLED, 7, 0), " | "),
        (buy(A, 7, 0).market().fok(), (OrderStatus::Filled, 7, 0), " | "),
        (sell(A, 1, 0).market(), (CANCELLED, 0, 0), " | B1 3@100, B2 4@105"),
        (
            buy(A, 5, 95).post_only(),
            (OrderStatus::Open, 0, 5),
            "A3 5@95 | B1 3@100, B2 4@105",
        ),
    ];
    for (order, stands, book) in cases {
        let mut m = offered();
        m.ok(order);
        assert_eq!(m.stands(), stands, "{order:?}");
        assert_eq!(m.book(X), book, "{order:?}");
    }
}

#[test]
fn what_is_refused_by_the_book() {
    let cases = [
        (buy(A, 4, 100).fok(), Refusal::CannotFill),
        (buy(A, 8, 105).fok(), Refusal::CannotFill),
        (buy(A, 8, 0).market().fok(), Refusal::CannotFill),
        (sell(A, 1, 0).market().fok(), Refusal::CannotFill),
        (buy(A, 1, 100).post_only(), Refusal::WouldCross),
        (buy(A, 1, 110).post_only(), Refusal::WouldCross),
    ];
    for (order, refusal) in cases {
        assert_eq!(offered().refused(order), refusal, "{order:?}");
    }
}

#[test]
fn a_market_order_is_reported_with_price_zero_and_trades_at_resting_prices() {
    let mut m = offered();
    m.ok(buy(A, 5, 0).market());
    let prices: Vec<i64> = m.event.trades.iter().map(|trade| trade.price_e4).collect();
    assert_eq!(prices, [100, 105]);
    assert!(m.reports().starts_with("A #3 buy 5@market: accepted\n"));
}

#[test]
fn a_post_only_amend_that_would_trade_is_refused_and_keeps_its_place() {
    let mut m = offered();
    let order = m.rest(buy(A, 5, 95).post_only());
    m.ok(buy(C, 5, 95));
    assert_eq!(m.refused(amend(A, order, None, 100)), Refusal::WouldCross);
    assert_eq!(m.book(X), "A3 5@95, C4 5@95 | B1 3@100, B2 4@105");
    m.ok(amend(A, order, None, 90));
    assert_eq!(m.book(X), "C4 5@95, A3 5@90 | B1 3@100, B2 4@105");
}

#[test]
fn a_post_only_order_may_trade_when_it_rests() {
    let mut m = Market::open();
    m.ok(buy(A, 5, 95).post_only());
    m.ok(sell(B, 2, 95));
    assert_eq!(m.book(X), "A1 3@95 | ");
}

#[test]
fn in_an_auction_only_orders_that_may_rest_are_taken() {
    let mut m = offered();
    m.ok(Command::SetTradingPhase {
        instrument: X,
        phase: TradingPhase::Auction,
    });
    m.ok(buy(A, 1, 110).post_only());
    assert_eq!(
        m.book(X),
        "A3 1@110 | B1 3@100, B2 4@105",
        "post-only may cross in an auction"
    );
    let phase = TradingPhase::Auction;
    for order in [buy(A, 1, 110).ioc(), buy(A, 1, 110).fok(), buy(A, 1, 0).market()] {
        assert_eq!(m.refused(order), Refusal::PhaseForbids { phase }, "{order:?}");
    }
}
