//! What each phase takes, and what changing it does.

use expect_test::expect;
use optivex_engine::event::Outcome;
use optivex_engine::types::{OrderId, TradingPhase};
use optivex_engine::{Command, Limits, Refusal};

use crate::market::*;

use TradingPhase::{Auction, Closed, Continuous, Halted};

/// Makes a command about an order.
type Make = fn(OrderId) -> Command;

fn set(phase: TradingPhase) -> Command {
    Command::SetTradingPhase { instrument: X, phase }
}

#[test]
fn from_where_to_where() {
    for from in [Auction, Continuous, Halted] {
        for to in [Auction, Continuous, Halted, Closed] {
            let mut m = Market::with(from, Limits::default());
            m.ok(set(to));
            assert_eq!(m.event.outcome, Outcome::PhaseSet(X, to));
            assert_eq!(m.engine.phase(X), Some(to));
            let visible = u64::from(from != to);
            assert_eq!(m.engine.book_seq(X), visible, "{from:?} to {to:?}");
            assert_eq!(m.event.books.len() as u64, visible, "{from:?} to {to:?}");
        }
    }
    let mut m = Market::open();
    m.ok(set(Closed));
    m.ok(set(Closed));
    for to in [Auction, Continuous, Halted] {
        assert_eq!(m.refused(set(to)), Refusal::PhaseForbids { phase: Closed });
    }
}

#[test]
fn what_a_phase_takes() {
    // (phase, insert, amend, cancel, cancel-all of it)
    let cases = [
        (Auction, true, true, true, true),
        (Continuous, true, true, true, true),
        (Halted, false, false, true, true),
    ];
    for (phase, insert, amends, cancels, all) in cases {
        let commands: [(Make, bool); 5] = [
            (|_| buy(A, 1, 95).into(), insert),
            (|order| amend(A, order, 1, None), amends),
            (|order| amend(A, order, 0, None), amends),
            (|order| cancel(A, order), cancels),
            (
                |_| Command::CancelAllOrders {
                    user: A,
                    instrument: Some(X),
                    side: None,
                },
                all,
            ),
        ];
        for (command, taken) in commands {
            let mut m = Market::open();
            let order = m.rest(buy(A, 5, 100));
            m.ok(set(phase));
            let command = command(order);
            if taken {
                m.ok(command);
            } else {
                assert_eq!(m.refused(command), Refusal::PhaseForbids { phase });
            }
        }
    }
}

#[test]
fn closing_cancels_everything_by_order_id() {
    let mut m = Market::open();
    m.ok(sell(B, 5, 110));
    m.ok(buy(A, 5, 100));
    m.ok(buy(A, 4, 95).of(Y));
    m.ok(buy(C, 5, 105));
    m.ok(set(Closed));
    expect![[r#"
        B #1 sell 5@110: Cancelled(Closed), 0 filled
        A #2 buy 5@100: Cancelled(Closed), 0 filled
        C #4 buy 5@105: Cancelled(Closed), 0 filled
    "#]]
    .assert_eq(&m.reports());
    assert_eq!(m.changes(), "0x0@105, 0x0@100 | 0x0@110");
    assert_eq!(m.book(Y), "A3 4@95 | ");
}

#[test]
fn a_closed_book_takes_nothing() {
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100));
    m.ok(set(Closed));
    let phase = Closed;
    assert_eq!(m.refused(buy(A, 5, 100)), Refusal::PhaseForbids { phase });
    assert_eq!(m.refused(amend(A, order, 1, None)), Refusal::OrderNotOpen);
    assert_eq!(m.refused(cancel(A, order)), Refusal::OrderNotOpen);
    let all = |instrument| Command::CancelAllOrders {
        user: A,
        instrument,
        side: None,
    };
    assert_eq!(m.refused(all(Some(X))), Refusal::PhaseForbids { phase });
    m.ok(all(None));
}

#[test]
fn a_halted_book_keeps_its_orders_and_opens_with_them() {
    let mut m = Market::open();
    m.ok(buy(A, 5, 100));
    m.ok(set(Halted));
    m.ok(set(Continuous));
    m.ok(sell(B, 5, 100));
    assert_eq!(m.event.trades.len(), 1);
}
