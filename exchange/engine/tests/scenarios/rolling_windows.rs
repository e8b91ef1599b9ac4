//! Rolling windows: true sliding, from the first limit of their kind on.

use optivex_engine::types::*;
use optivex_engine::{Command, Limits, Refusal};

use crate::market::*;

fn messages(limit: i64, window_in_seconds: i32) -> Command {
    Command::SetUserRiskLimits {
        user: A,
        limits: UserRiskLimits {
            message_rate: Some(RollingWindowLimit {
                limit,
                window_in_seconds,
            }),
            ..UserRiskLimits::default()
        },
    }
}

fn no_limits() -> Command {
    Command::SetUserRiskLimits {
        user: A,
        limits: UserRiskLimits::default(),
    }
}

fn in_x(change: impl FnOnce(&mut InstrumentRiskLimits)) -> Command {
    let mut limits = InstrumentRiskLimits::default();
    change(&mut limits);
    Command::SetInstrumentRiskLimits {
        user: A,
        instrument: X,
        limits,
    }
}

/// What the limit had counted, and for how long to wait.
#[track_caller]
fn rate_limit(refusal: Refusal, limit_name: &str) -> (i128, i128, i64) {
    match refusal {
        Refusal::RateLimit { breach, retry_after_ns } if breach.limit_name == limit_name => {
            (breach.current, breach.attempted, retry_after_ns)
        }
        other => panic!("{other:?}"),
    }
}

const MESSAGES: &str = "message_rate_rolling_limit";

#[test]
fn a_message_counts_until_its_window_is_over_to_the_nanosecond() {
    let mut m = Market::open();
    m.ok(messages(2, 1));
    m.ok(buy(A, 1, 100));
    m.now += SECOND / 2;
    m.ok(buy(A, 1, 100));
    assert_eq!(rate_limit(m.refused(buy(A, 1, 100)), MESSAGES), (2, 1, SECOND / 2));
    m.now += SECOND / 2 - 1;
    assert_eq!(rate_limit(m.refused(buy(A, 1, 100)), MESSAGES), (2, 1, 1));
    m.now += 1;
    m.ok(buy(A, 1, 100));
    assert_eq!(rate_limit(m.refused(buy(A, 1, 100)), MESSAGES), (2, 1, SECOND / 2));
}

#[test]
fn no_window_wherever_it_starts_holds_more_than_the_limit() {
    let mut m = Market::open();
    m.ok(messages(3, 1));
    let mut taken: Vec<i64> = Vec::new();
    for step in 0..200 {
        m.now += SECOND / 16 + step;
        if m.apply(buy(A, 1, 100)).is_ok() {
            taken.push(m.now);
        }
    }
    assert!(taken.len() > 30);
    for from in &taken {
        let held = taken
            .iter()
            .filter(|time| (*from..from + SECOND).contains(*time))
            .count();
        assert!(held <= 3);
    }
}

#[test]
fn what_counts_as_a_message() {
    let limit_is = |m: &Market| {
        let usages = m.engine.risk_usage(A, m.now);
        let usage = usages.into_iter().find(|usage| usage.limit_name == MESSAGES);
        usage.map(|usage| usage.current)
    };
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100));
    m.ok(messages(100, 10));
    assert_eq!(limit_is(&m), Some(0), "from the first limit on");
    let cancel_all = Command::CancelAllOrders {
        user: A,
        instrument: None,
        side: None,
    };
    let (user, after) = (A, OrderId(0));
    let comment = String::new();
    let steps: Vec<(Command, i64)> = vec![
        (buy(A, 5, 95).id("id").into(), 1),
        (buy(A, 5, 95).id("id").into(), 1),
        (amend(A, order, 4, None), 2),
        (amend(A, order, 4, None), 3),
        (amend(A, order, 0, None), 4),
        (cancel(A, order), 4),
        (buy(A, 5, 95).fok().into(), 4),
        (buy(A, 5, 95).ioc().into(), 5),
        (cancel_all.clone(), 6),
        (cancel_all, 7),
        (buy(A, 5, 95).into(), 8),
        (Command::CancelOnDisconnect { user, after }, 8),
        (buy(B, 5, 95).into(), 8),
        (Command::SuspendUser { user, comment }, 8),
    ];
    for (command, count) in steps {
        let _ = m.apply(command.clone());
        assert_eq!(limit_is(&m), Some(count), "{command:?}");
    }
}

#[test]
fn cancels_count_and_are_never_refused() {
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100));
    m.ok(messages(1, 1));
    m.ok(amend(A, order, 4, None));
    assert_eq!(
        rate_limit(m.refused(amend(A, order, 3, None)), MESSAGES),
        (1, 1, SECOND)
    );
    m.ok(cancel(A, order));
    m.now += SECOND / 4;
    m.ok(Command::CancelAllOrders {
        user: A,
        instrument: None,
        side: None,
    });
    let (current, _, wait) = rate_limit(m.refused(buy(A, 1, 100)), MESSAGES);
    assert_eq!((current, wait), (3, SECOND), "all three have to go");
    m.now += SECOND;
    m.ok(buy(A, 1, 100));
}

#[test]
fn an_amend_that_ends_its_order_is_judged_as_a_message() {
    let mut m = Market::open();
    m.ok(messages(1, 1));
    let order = m.rest(buy(A, 5, 100));
    rate_limit(m.refused(amend(A, order, 0, None)), MESSAGES);
}

#[test]
fn lifting_and_replacing_keep_counting() {
    let mut m = Market::open();
    m.ok(messages(5, 1));
    m.ok(buy(A, 1, 100));
    m.ok(no_limits());
    m.now += SECOND;
    m.ok(buy(A, 1, 100));
    m.ok(messages(2, 86_400));
    assert_eq!(rate_limit(m.refused(buy(A, 1, 100)), MESSAGES), (2, 1, 86_399 * SECOND));
    m.now += 86_399 * SECOND;
    m.ok(buy(A, 1, 100));
}

#[test]
fn what_never_passes_waits_a_whole_window() {
    let mut m = Market::open();
    m.ok(in_x(|limits| {
        limits.order_quantity = Some(RollingWindowLimit {
            limit: 5,
            window_in_seconds: 3,
        });
    }));
    let name = "order_quantity_rolling_limit";
    assert_eq!(rate_limit(m.refused(buy(A, 6, 100)), name), (0, 6, 3 * SECOND));
    m.ok(buy(A, 5, 100));
}

#[test]
fn quantities_and_amounts_count_whole_inserts_and_what_amends_add() {
    let window = |limit| {
        Some(RollingWindowLimit {
            limit,
            window_in_seconds: 10,
        })
    };
    let mut m = Market::open();
    m.ok(in_x(|limits| {
        limits.order_quantity = window(20);
        limits.order_amount = window(2000);
    }));
    let (lots, money) = ("order_quantity_rolling_limit", "order_amount_rolling_limit");
    m.ok(buy(A, 5, 100).ioc());
    let order = m.rest(buy(A, 5, -100));
    m.ok(amend(A, order, 2, None));
    m.ok(amend(A, order, 4, None));
    // 12 lots; 500 + 500 + 200.
    m.ok(amend(A, order, 2, -150));
    m.ok(amend(A, order, None, -100));
    m.now += SECOND;
    assert_eq!(rate_limit(m.refused(buy(A, 9, 0)), lots), (12, 9, 9 * SECOND));
    assert_eq!(rate_limit(m.refused(buy(A, 1, 805)), money), (1200, 805, 9 * SECOND));
    m.ok(buy(A, 8, 100));
    assert_eq!(rate_limit(m.refused(buy(A, 1, 5)), lots), (20, 1, 9 * SECOND));
    m.ok(buy(A, 100, 100).of(Y));
    m.ok(buy(B, 100, 100));
}

#[test]
fn a_time_before_the_last_event_counts_as_that_events() {
    let mut m = Market::open();
    m.ok(messages(2, 1));
    m.now = 100 * SECOND;
    m.ok(buy(A, 1, 100));
    m.now = 99 * SECOND;
    m.ok(buy(A, 1, 100));
    assert_eq!(m.event.time_unix_ns, 100 * SECOND);
    let (_, _, wait) = rate_limit(m.refused(buy(A, 1, 100)), MESSAGES);
    assert_eq!(wait, SECOND);
    // A refused command's time is no event's.
    m.now = 200 * SECOND;
    assert_eq!(m.refused(cancel(A, OrderId(0))), Refusal::OrderNotOpen);
    assert_eq!(m.engine.time_unix_ns(), 100 * SECOND);
}

#[test]
fn a_window_of_few_moments_counts_too_long_never_too_short() {
    let limits = Limits {
        rolling_window_moments_max: 4,
        ..Limits::default()
    };
    let mut m = Market::with(TradingPhase::Continuous, limits);
    m.ok(messages(6, 10));
    let start = m.now;
    for second in 0..6 {
        m.now = start + second * SECOND;
        m.ok(buy(A, 1, 100));
    }
    let (current, ..) = rate_limit(m.refused(buy(A, 1, 100)), MESSAGES);
    assert_eq!(current, 6);
    // Exactly, the first would be gone by now; merged with the second it still counts.
    m.now = start + 10 * SECOND;
    assert_eq!(rate_limit(m.refused(buy(A, 1, 100)), MESSAGES).0, 6);
    m.now = start + 15 * SECOND;
    m.ok(buy(A, 1, 100));
}
