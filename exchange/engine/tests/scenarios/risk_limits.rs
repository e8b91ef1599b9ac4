//! Each static limit at its edge, on both sides of it.

use optivex_engine::refusal::LimitBreach;
use optivex_engine::types::*;
use optivex_engine::{Command, Refusal, RiskUsage};

use crate::market::*;

fn user_limits(change: impl FnOnce(&mut UserRiskLimits)) -> Command {
    let mut limits = UserRiskLimits::default();
    change(&mut limits);
    Command::SetUserRiskLimits { user: A, limits }
}

fn limits_in(instrument: InstrumentId, change: impl FnOnce(&mut InstrumentRiskLimits)) -> Command {
    let mut limits = InstrumentRiskLimits::default();
    change(&mut limits);
    Command::SetInstrumentRiskLimits {
        user: A,
        instrument,
        limits,
    }
}

fn breach(
    limit_name: &'static str,
    instrument: impl Into<Option<InstrumentId>>,
    limit: i64,
    current: i128,
    attempted: i128,
) -> Refusal {
    Refusal::RiskLimit(LimitBreach {
        limit_name,
        instrument: instrument.into(),
        limit,
        current,
        attempted,
    })
}

#[test]
fn outstanding_quantity_over_all_instruments() {
    let name = "max_outstanding_quantity";
    let mut m = Market::open();
    m.ok(buy(A, 4, 100));
    m.ok(user_limits(|limits| limits.max_outstanding_quantity = Some(10)));
    m.ok(sell(A, 3, 110).of(Y));
    assert_eq!(m.refused(buy(A, 4, 95)), breach(name, None, 10, 7, 4));
    assert_eq!(
        m.refused(buy(A, 4, 95).ioc()),
        breach(name, None, 10, 7, 4),
        "counts whole, whatever its time in force"
    );
    let order = m.rest(buy(A, 3, 95));
    assert_eq!(
        m.refused(amend(A, order, 4, None)),
        breach(name, None, 10, 10, 1),
        "what it adds"
    );
    m.ok(amend(A, order, 2, None));
    m.ok(amend(A, order, 3, 90));
    m.ok(sell(B, 4, 100));
    m.ok(buy(A, 4, 80));
    m.ok(buy(B, 100, 80));
}

#[test]
fn outstanding_amount_over_all_instruments() {
    let name = "max_outstanding_amount_e4";
    let mut m = Market::open();
    m.ok(user_limits(|limits| limits.max_outstanding_amount_e4 = Some(1000)));
    m.ok(buy(A, 4, -100));
    assert_eq!(m.refused(sell(A, 1, 65).of(Y)), breach(name, None, 1000, 400, 650));
    let order = m.rest(sell(A, 1, 60).of(Y));
    assert_eq!(m.refused(amend(A, order, None, 65)), breach(name, None, 1000, 1000, 50));
    m.ok(amend(A, order, None, -60));
    m.ok(amend(A, order, None, 55));
    m.ok(buy(A, 1000, 0));
}

#[test]
fn the_same_in_one_instrument() {
    let mut m = Market::open();
    m.ok(limits_in(Y, |limits| {
        limits.max_outstanding_quantity = Some(5);
        limits.max_outstanding_amount_e4 = Some(4000);
    }));
    m.ok(buy(A, 100, 100));
    m.ok(buy(B, 100, 100).of(Y));
    m.ok(buy(A, 2, 100).of(Y));
    assert_eq!(
        m.refused(sell(A, 4, 5).of(Y)),
        breach("max_outstanding_quantity", Y, 5, 2, 4)
    );
    assert_eq!(
        m.refused(sell(A, 1, 205).of(Y)),
        breach("max_outstanding_amount_e4", Y, 4000, 2000, 2050)
    );
    m.ok(sell(A, 1, 200).of(Y));
}

#[test]
fn order_quantity() {
    let name = "max_order_quantity";
    let mut m = Market::open();
    m.ok(limits_in(X, |limits| limits.max_order_quantity = Some(5)));
    assert_eq!(m.refused(buy(A, 6, 100)), breach(name, X, 5, 0, 6));
    let order = m.rest(buy(A, 5, 100));
    m.ok(sell(B, 2, 100));
    assert_eq!(
        m.refused(amend(A, order, 6, None)),
        breach(name, X, 5, 5, 1),
        "the whole order, what is filled included"
    );
    m.ok(amend(A, order, 4, None));
    m.ok(amend(A, order, 5, None));
}

#[test]
fn position() {
    let name = "max_position";
    let mut m = Market::open();
    m.ok(limits_in(X, |limits| limits.max_position = Some(10)));
    m.ok(sell(B, 4, 100));
    m.ok(buy(A, 4, 100));
    // Long 4.
    assert_eq!(m.refused(buy(A, 7, 90)), breach(name, X, 10, 4, 7));
    let bid = m.rest(buy(A, 6, 90));
    assert_eq!(m.refused(amend(A, bid, 7, None)), breach(name, X, 10, 10, 1));
    assert_eq!(m.refused(sell(A, 15, 110)), breach(name, X, 10, -4, 15));
    m.ok(sell(A, 14, 110));
    assert_eq!(m.refused(sell(A, 1, 110)), breach(name, X, 10, 10, 1));
    m.ok(buy(A, 6, 90).of(Y));
}

#[test]
fn a_position_over_a_new_limit_may_be_reduced() {
    let mut m = Market::open();
    m.ok(sell(B, 8, 100));
    m.ok(buy(A, 8, 100));
    m.ok(limits_in(X, |limits| limits.max_position = Some(5)));
    assert_eq!(m.refused(buy(A, 1, 90)), breach("max_position", X, 5, 8, 1));
    m.ok(sell(A, 13, 110));
}

#[test]
fn a_limit_of_zero_allows_nothing_and_cancels_pass() {
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100));
    m.ok(user_limits(|limits| limits.max_outstanding_quantity = Some(0)));
    assert_eq!(
        m.refused(buy(A, 1, 100)),
        breach("max_outstanding_quantity", None, 0, 5, 1)
    );
    m.ok(amend(A, order, 4, None));
    m.ok(amend(A, order, None, 95));
    m.ok(cancel(A, order));
}

#[test]
fn a_market_order_counts_the_amount_that_it_would_trade() {
    let name = "max_outstanding_amount_e4";
    let mut m = Market::open();
    m.ok(sell(B, 2, 100));
    m.ok(sell(A, 3, 105));
    m.ok(sell(B, 5, 110));
    m.ok(user_limits(|limits| limits.max_outstanding_amount_e4 = Some(1000)));
    // A's own offer is worth 315.
    use SelfTradePrevention::{CancelIncoming, CancelResting};
    let order = buy(A, 7, 0).market();
    let refusal = breach(name, None, 1000, 315, 200 + 550);
    assert_eq!(m.refused(order.stp(CancelResting)), refusal, "own orders are skipped");
    m.ok(order.stp(CancelIncoming));
    assert_eq!(
        m.stands(),
        (OrderStatus::Cancelled(CancelReason::SelfTrade), 2, 0),
        "or stop it"
    );
}

#[test]
fn limits_of_the_user_come_first_and_then_field_order() {
    let window = Some(RollingWindowLimit {
        limit: 0,
        window_in_seconds: 1,
    });
    let all_of_user = UserRiskLimits {
        message_rate: window,
        max_outstanding_quantity: Some(0),
        max_outstanding_amount_e4: Some(0),
    };
    let all_of_instrument = InstrumentRiskLimits {
        order_quantity: window,
        order_amount: window,
        max_outstanding_quantity: Some(0),
        max_outstanding_amount_e4: Some(0),
        max_order_quantity: Some(0),
        max_position: Some(0),
    };
    let mut m = Market::open();
    let mut user = all_of_user;
    let mut instrument = all_of_instrument;
    let mut told = Vec::new();
    // Whatever is told is lifted, until nothing is.
    loop {
        m.ok(Command::SetUserRiskLimits { user: A, limits: user });
        m.ok(Command::SetInstrumentRiskLimits {
            user: A,
            instrument: X,
            limits: instrument,
        });
        let breach = match m.apply(buy(A, 1, 100)) {
            Err(Refusal::RiskLimit(breach) | Refusal::RateLimit { breach, .. }) => breach,
            Ok(_) => break,
            Err(other) => panic!("{other:?}"),
        };
        told.push((breach.instrument.is_some(), breach.limit_name));
        match (breach.instrument, breach.limit_name) {
            (None, "message_rate_rolling_limit") => user.message_rate = None,
            (None, "max_outstanding_quantity") => user.max_outstanding_quantity = None,
            (None, "max_outstanding_amount_e4") => user.max_outstanding_amount_e4 = None,
            (Some(X), "order_quantity_rolling_limit") => instrument.order_quantity = None,
            (Some(X), "order_amount_rolling_limit") => instrument.order_amount = None,
            (Some(X), "max_outstanding_quantity") => instrument.max_outstanding_quantity = None,
            (Some(X), "max_outstanding_amount_e4") => instrument.max_outstanding_amount_e4 = None,
            (Some(X), "max_order_quantity") => instrument.max_order_quantity = None,
            (Some(X), "max_position") => instrument.max_position = None,
            other => panic!("{other:?}"),
        }
    }
    let names = [
        (false, "message_rate_rolling_limit"),
        (false, "max_outstanding_quantity"),
        (false, "max_outstanding_amount_e4"),
        (true, "order_quantity_rolling_limit"),
        (true, "order_amount_rolling_limit"),
        (true, "max_outstanding_quantity"),
        (true, "max_outstanding_amount_e4"),
        (true, "max_order_quantity"),
        (true, "max_position"),
    ];
    assert_eq!(told, names);
}

#[test]
fn usage_tells_every_limit_and_every_sum_that_is_not_zero() {
    let mut m = Market::open();
    assert_eq!(m.engine.risk_usage(A, m.now), []);
    m.ok(buy(A, 3, 100));
    m.ok(limits_in(Y, |limits| {
        limits.max_position = Some(7);
        limits.max_order_quantity = Some(8);
        limits.order_quantity = Some(RollingWindowLimit {
            limit: 9,
            window_in_seconds: 2,
        });
    }));
    m.ok(sell(A, 2, 50).of(Y));
    let usage = |limit_name, instrument, current, limit| RiskUsage {
        limit_name,
        instrument,
        current,
        limit,
    };
    let usages = [
        usage("max_outstanding_amount_e4", None, 1300, None),
        usage("max_outstanding_quantity", None, 5, None),
        usage("max_outstanding_amount_e4", Some(X), 300, None),
        usage("max_outstanding_quantity", Some(X), 3, None),
        usage("max_order_quantity", Some(Y), 0, Some(8)),
        usage("max_outstanding_amount_e4", Some(Y), 1000, None),
        usage("max_outstanding_quantity", Some(Y), 2, None),
        usage("max_position", Some(Y), 2, Some(7)),
        usage("order_quantity_rolling_limit", Some(Y), 2, Some(9)),
    ];
    assert_eq!(m.engine.risk_usage(A, m.now), usages);
    let later = m.engine.risk_usage(A, m.now + 2 * SECOND);
    assert_eq!(
        later.last(),
        Some(&usage("order_quantity_rolling_limit", Some(Y), 0, Some(9)))
    );
}
