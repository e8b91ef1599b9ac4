//! Self-trade prevention: the incoming order's choice counts, and earlier fills stand.

use expect_test::{Expect, expect};
use optivex_engine::Refusal;
use optivex_engine::types::{CancelReason, OrderStatus, SelfTradePrevention};

use crate::market::*;

use SelfTradePrevention::{CancelBoth, CancelIncoming, CancelResting};

/// B offers 2, then A 3, then C 4, all at 100; A buys 6.
fn queue() -> Market {
    let mut m = Market::open();
    m.ok(sell(B, 2, 100));
    m.ok(sell(A, 3, 100));
    m.ok(sell(C, 4, 100));
    m
}

#[test]
fn the_three_choices() {
    let cases: [(SelfTradePrevention, Expect, &str); 3] = [
        (
            CancelIncoming,
            expect![[r#"
                A #4 buy 6@100: accepted
                B #1 sell 2@100: trades 2@100, whole
                A #4 buy 6@100: takes 2@100
                A #4 buy 6@100: Cancelled(SelfTrade), 2 filled
            "#]],
            " | A2 3@100, C3 4@100",
        ),
        (
            CancelResting,
            expect![[r#"
                A #4 buy 6@100: accepted
                B #1 sell 2@100: trades 2@100, whole
                A #4 buy 6@100: takes 2@100
                A #2 sell 3@100: Cancelled(SelfTrade), 0 filled
                C #3 sell 4@100: trades 4@100, whole
                A #4 buy 6@100: takes 4@100, whole
            "#]],
            " | ",
        ),
        (
            CancelBoth,
            expect![[r#"
                A #4 buy 6@100: accepted
                B #1 sell 2@100: trades 2@100, whole
                A #4 buy 6@100: takes 2@100
                A #2 sell 3@100: Cancelled(SelfTrade), 0 filled
                A #4 buy 6@100: Cancelled(SelfTrade), 2 filled
            "#]],
            " | C3 4@100",
        ),
    ];
    for (choice, reports, book) in cases {
        let mut m = queue();
        m.ok(buy(A, 6, 100).stp(choice));
        reports.assert_eq(&m.reports());
        assert_eq!(m.book(X), book, "{choice:?}");
    }
}

#[test]
fn the_resting_orders_choice_does_not_count() {
    let mut m = Market::open();
    m.ok(sell(A, 3, 100).stp(CancelResting));
    m.ok(buy(A, 6, 100).stp(CancelIncoming));
    assert_eq!(m.stands(), (OrderStatus::Cancelled(CancelReason::SelfTrade), 0, 0));
    assert_eq!(m.book(X), " | A1 3@100");
    assert!(m.event.books.is_empty(), "nothing visible changed");
}

#[test]
fn an_order_that_is_filled_before_it_meets_its_own_is_not_stopped() {
    for choice in [CancelIncoming, CancelResting, CancelBoth] {
        let mut m = queue();
        m.ok(buy(A, 2, 100).stp(choice));
        assert_eq!(m.stands(), (OrderStatus::Filled, 2, 0), "{choice:?}");
        assert_eq!(m.book(X), " | A2 3@100, C3 4@100", "{choice:?}");
    }
}

#[test]
fn what_is_left_after_cancelling_resting_orders_rests() {
    let mut m = queue();
    m.ok(buy(A, 10, 100).stp(CancelResting));
    assert_eq!(m.stands(), (OrderStatus::Open, 6, 4));
    assert_eq!(m.book(X), "A4 4@100 | ");
}

#[test]
fn fill_or_kill_does_not_count_own_orders() {
    // (lots, choice, whether it can be filled): B offers 2, A 3, C 4.
    let cases = [
        (2, CancelIncoming, true),
        (2, CancelBoth, true),
        (3, CancelIncoming, false),
        (3, CancelBoth, false),
        (6, CancelResting, true),
        (7, CancelResting, false),
    ];
    for (quantity, choice, fills) in cases {
        let mut m = queue();
        let order = buy(A, quantity, 100).fok().stp(choice);
        if fills {
            m.ok(order);
            assert_eq!(m.stands(), (OrderStatus::Filled, quantity, 0), "{quantity} {choice:?}");
        } else {
            assert_eq!(m.refused(order), Refusal::CannotFill, "{quantity} {choice:?}");
        }
    }
}

#[test]
fn an_amend_trades_by_its_inserts_choice() {
    let cases = [
        (
            CancelIncoming,
            OrderStatus::Cancelled(CancelReason::SelfTrade),
            " | A2 3@100",
        ),
        (CancelResting, OrderStatus::Open, "A1 6@100 | "),
        (CancelBoth, OrderStatus::Cancelled(CancelReason::SelfTrade), " | "),
    ];
    for (choice, status, book) in cases {
        let mut m = Market::open();
        let order = m.rest(buy(A, 6, 95).stp(choice));
        m.ok(sell(A, 3, 100));
        m.ok(amend(A, order, None, 100));
        assert_eq!(m.stands().0, status, "{choice:?}");
        assert_eq!(m.book(X), book, "{choice:?}");
    }
}

#[test]
fn a_post_only_order_crosses_own_orders_too() {
    let mut m = queue();
    assert_eq!(m.refused(buy(A, 1, 100).post_only()), Refusal::WouldCross);
}
