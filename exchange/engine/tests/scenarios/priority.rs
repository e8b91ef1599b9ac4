//! Price-time priority, the price of a trade, what keeps and what loses a place.

use expect_test::expect;
use optivex_engine::types::{CancelReason, OrderId, OrderStatus, PRICE_E4_MAX};

use crate::market::*;

#[test]
fn better_price_first_then_older_at_the_resting_price() {
    let mut m = Market::open();
    m.ok(sell(A, 5, 105));
    m.ok(sell(B, 5, 100));
    m.ok(sell(C, 5, 100));
    m.ok(buy(D, 12, 110));
    expect![[r#"
        D #4 buy 12@110: accepted
        B #2 sell 5@100: trades 5@100, whole
        D #4 buy 12@110: takes 5@100
        C #3 sell 5@100: trades 5@100, whole
        D #4 buy 12@110: takes 5@100
        A #1 sell 5@105: trades 2@105
        D #4 buy 12@110: takes 2@105, whole
    "#]]
    .assert_eq(&m.reports());
    assert_eq!(m.book(X), " | A1 3@105");
    assert_eq!(m.changes(), " | 0x0@100, 3x1@105");
}

#[test]
fn what_is_left_of_a_limit_order_rests_at_its_own_price() {
    let mut m = Market::open();
    m.ok(buy(A, 5, -100));
    m.ok(sell(B, 8, -105));
    assert_eq!(m.stands(), (OrderStatus::Open, 5, 3));
    assert_eq!(m.book(X), " | B2 3@-105");
    assert_eq!(m.changes(), "0x0@-100 | 3x1@-105");
    assert_eq!(m.event.trades[0].price_e4, -100);
}

#[test]
fn what_an_amend_does_to_its_place() {
    // (new quantity, new price, the queue afterwards)
    let cases = [
        (None, Some(100), "A1 5@100, B2 5@100"),
        (Some(5), None, "A1 5@100, B2 5@100"),
        (Some(2), Some(100), "A1 2@100, B2 5@100"),
        (Some(6), None, "B2 5@100, A1 6@100"),
        (None, Some(105), "A1 5@105, B2 5@100"),
        (None, Some(95), "B2 5@100, A1 5@95"),
        (Some(1), Some(95), "B2 5@100, A1 1@95"),
    ];
    for (quantity, price_e4, queue) in cases {
        let mut m = Market::open();
        let order = m.rest(buy(A, 5, 100));
        m.ok(buy(B, 5, 100));
        m.ok(amend(A, order, quantity, price_e4));
        assert_eq!(m.book(X), format!("{queue} | "), "{quantity:?} {price_e4:?}");
    }
}

#[test]
fn an_amend_that_changes_nothing_is_an_event_without_a_book_change() {
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100));
    m.ok(amend(A, order, 5, 100));
    assert_eq!(m.reports(), "A #1 buy 5@100: amended\n");
    assert!(m.event.books.is_empty());
    assert_eq!(m.engine.book_seq(X), 1);
}

#[test]
fn an_amend_to_more_at_the_same_price_as_the_only_order_changes_one_level() {
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100));
    m.ok(amend(A, order, 7, None));
    assert_eq!(m.changes(), "7x1@100 | ");
}

#[test]
fn an_amended_order_may_trade() {
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100));
    m.ok(sell(B, 3, 105));
    m.ok(amend(A, order, None, 105));
    expect![[r#"
        A #1 buy 5@105: amended
        B #2 sell 3@105: trades 3@105, whole
        A #1 buy 5@105: takes 3@105
    "#]]
    .assert_eq(&m.reports());
    assert_eq!(m.changes(), "2x1@105, 0x0@100 | 0x0@105");
    assert_eq!(m.stands(), (OrderStatus::Open, 3, 2));
}

#[test]
fn an_amend_to_what_is_filled_ends_the_order() {
    for quantity in [0, 2, 3] {
        let mut m = Market::open();
        let order = m.rest(buy(A, 5, 100));
        m.ok(sell(B, 3, 100));
        m.ok(amend(A, order, quantity, None));
        assert_eq!(m.reports(), "A #1 buy 5@100: Cancelled(User), 3 filled\n");
        assert_eq!(m.stands(), (OrderStatus::Cancelled(CancelReason::User), 3, 0));
        assert_eq!(m.book(X), " | ");
    }
}

#[test]
fn a_partial_fill_keeps_its_place() {
    let mut m = Market::open();
    m.ok(buy(A, 5, 100));
    m.ok(buy(B, 5, 100));
    m.ok(sell(C, 3, 100));
    m.ok(sell(C, 3, 100));
    assert_eq!(m.book(X), "B2 4@100 | ");
}

#[test]
fn prices_from_one_end_to_the_other() {
    let mut m = Market::open();
    m.ok(sell(A, 1, PRICE_E4_MAX));
    m.ok(sell(A, 1, -PRICE_E4_MAX));
    m.ok(sell(A, 1, 0));
    m.ok(buy(B, 3, PRICE_E4_MAX));
    let prices: Vec<i64> = m.event.trades.iter().map(|trade| trade.price_e4).collect();
    assert_eq!(prices, [-PRICE_E4_MAX, 0, PRICE_E4_MAX]);
}

#[test]
fn ids_count_up_and_take_the_slot_that_was_freed_last() {
    let mut m = Market::open();
    let orders = [0; 4].map(|_| m.rest(buy(A, 1, 100)));
    let place = |id: OrderId| (id.0 >> 24, id.0 & 0xff_ffff);
    assert_eq!(orders.map(place), [(1, 0), (2, 1), (3, 2), (4, 3)]);
    m.ok(cancel(A, orders[0]));
    m.ok(cancel(A, orders[2]));
    // An order that does not rest takes a slot for its id only.
    m.ok(sell(B, 1, 500).ioc());
    assert_eq!(place(m.engine.last_order_id()), (5, 2));
    let orders = [0; 3].map(|_| m.rest(buy(A, 1, 100)));
    assert_eq!(orders.map(place), [(6, 2), (7, 0), (8, 4)]);
}

#[test]
fn a_book_gives_back_what_many_levels_needed_and_goes_on() {
    let mut m = Market::open();
    let mut event = optivex_engine::Event::default();
    for round in 0..2 {
        for price_e4 in 1..=1500 {
            let input = optivex_engine::Input {
                time_unix_ns: m.now,
                command: buy(A, 1, 5 * price_e4).into(),
            };
            m.engine.apply(&input, &mut event).unwrap();
            m.accepted.push(input);
        }
        m.ok(sell(B, 1500, 5));
        assert_eq!(m.event.trades.len(), 1500, "{round}");
        assert_eq!(m.book(X), " | ");
    }
}

/// A side without orders gives room back, but not while an amend is under way that has emptied it.
#[test]
fn the_last_order_of_a_side_that_was_deep_takes_the_last_one_of_the_other_side() {
    // More levels than a side without orders keeps room for.
    const LEVELS: i64 = 1_100;
    for (quantity, book) in [(1, " | "), (2, "A1100 1@10000 | ")] {
        let mut m = Market::open();
        let orders: Vec<_> = (1..=LEVELS).map(|level| m.rest(buy(A, 1, 5 * level))).collect();
        m.ok(sell(B, 1, 10_000));
        let (last, others) = orders.split_last().expect("some");
        for order in others {
            m.ok(cancel(A, *order));
        }
        m.ok(amend(A, *last, quantity, 10_000));
        assert_eq!(m.book(X), book);
    }
}
