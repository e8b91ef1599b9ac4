//! The kill switch.

use expect_test::expect;
use optivex_engine::event::Outcome;
use optivex_engine::{Command, Refusal};

use crate::market::*;

fn suspend(user: optivex_engine::types::UserId, comment: &str) -> Command {
    Command::SuspendUser {
        user,
        comment: comment.to_owned(),
    }
}

#[test]
fn it_cancels_everything_by_order_id_in_one_event() {
    let mut m = Market::open();
    m.ok(buy(A, 5, 100).of(Y));
    m.ok(buy(B, 5, 100));
    m.ok(sell(A, 5, 110));
    m.ok(suspend(A, "enough"));
    expect![[r#"
        A #1 buy 5@100: Cancelled(Suspended), 0 filled
        A #3 sell 5@110: Cancelled(Suspended), 0 filled
    "#]]
    .assert_eq(&m.reports());
    assert_eq!(m.event.outcome, Outcome::UserSuspended(A, 2));
    let books: Vec<_> = m.event.books.iter().map(|change| change.instrument).collect();
    assert_eq!(books, [X, Y], "each book once");
    assert_eq!(m.book(X), "B2 5@100 | ");
}

#[test]
fn a_suspended_user_may_only_cancel() {
    let mut m = Market::open();
    m.ok(suspend(A, "enough"));
    let comment = "enough".to_owned();
    assert_eq!(m.refused(buy(A, 5, 100)), Refusal::UserSuspended { comment });
    m.ok(Command::CancelAllOrders {
        user: A,
        instrument: None,
        side: None,
    });
    m.ok(buy(B, 5, 100));
}

#[test]
fn suspending_again_replaces_the_comment_and_resuming_lets_back_in() {
    let mut m = Market::open();
    m.ok(suspend(A, "first"));
    m.ok(suspend(A, "second"));
    assert_eq!(m.engine.suspension(A), Some("second"));
    m.ok(Command::ResumeUser { user: A });
    m.ok(Command::ResumeUser { user: A });
    assert_eq!(m.engine.suspension(A), None);
    m.ok(buy(A, 5, 100));
}

#[test]
fn a_broken_stream_cancels_what_came_after_it_began() {
    let mut m = Market::open();
    m.ok(buy(A, 1, 90));
    let after = m.rest(buy(B, 1, 90));
    m.ok(buy(A, 1, 95));
    m.ok(buy(B, 1, 95));
    m.ok(sell(A, 1, 110).of(Y));
    m.ok(Command::CancelOnDisconnect { user: A, after });
    expect![[r#"
        A #3 buy 1@95: Cancelled(Disconnect), 0 filled
        A #5 sell 1@110: Cancelled(Disconnect), 0 filled
    "#]]
    .assert_eq(&m.reports());
    assert_eq!(m.event.outcome, Outcome::AllCancelled(2));
    assert_eq!(m.book(X), "B4 1@95, A1 1@90, B2 1@90 | ");
}

#[test]
fn cancel_all_takes_what_fits() {
    use optivex_engine::types::Side::{Buy, Sell};
    // (instrument, side, numbers of the orders that end)
    let cases = [
        (None, None, vec![1, 2, 3, 4]),
        (Some(X), None, vec![1, 2]),
        (Some(Y), Some(Sell), vec![4]),
        (None, Some(Buy), vec![1, 3]),
    ];
    for (instrument, side, ended) in cases {
        let mut m = Market::open();
        for order in [
            buy(A, 1, 90),
            sell(A, 1, 110),
            buy(A, 1, 90).of(Y),
            sell(A, 1, 110).of(Y),
        ] {
            m.ok(order);
        }
        m.ok(buy(B, 1, 90));
        m.ok(Command::CancelAllOrders {
            user: A,
            instrument,
            side,
        });
        let numbers: Vec<u64> = m
            .event
            .reports
            .iter()
            .map(|report| report.order.order_id.0 >> 24)
            .collect();
        assert_eq!(numbers, ended);
        assert_eq!(m.event.outcome, Outcome::AllCancelled(ended.len() as u64));
    }
}
