//! Where several reasons apply, the first in the contract's order tells.

use optivex_engine::command::{AmendOrder, OrderRef};
use optivex_engine::types::*;
use optivex_engine::{Command, Refusal};

use crate::market::*;

/// The reason's name in the contract.
fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::InvalidField(_) => "INVALID_FIELD",
        Refusal::InvalidTick { .. } => "INVALID_TICK",
        Refusal::NotionalTooLarge => "NOTIONAL_TOO_LARGE",
        Refusal::UnknownInstrument => "UNKNOWN_INSTRUMENT",
        Refusal::UnknownUser => "UNKNOWN_USER",
        Refusal::OrderNotOpen => "UNKNOWN_ORDER",
        Refusal::DuplicateSymbol => "DUPLICATE_SYMBOL",
        Refusal::ClientIdReused => "CLIENT_ID_REUSED",
        Refusal::PhaseForbids { .. } => "PHASE_FORBIDS",
        Refusal::WouldCross => "WOULD_CROSS",
        Refusal::CannotFill => "CANNOT_FILL",
        Refusal::UserSuspended { .. } => "USER_SUSPENDED",
        Refusal::RiskLimit(_) => "RISK_LIMIT",
        Refusal::RateLimit { .. } => "RATE_LIMIT",
        Refusal::Capacity { .. } => "CAPACITY",
    }
}

/// One thing that is wrong with an insert at a time: the earlier ones are wrong no more.
#[test]
fn of_an_insert() {
    const WRONG: [&str; 10] = [
        "INVALID_FIELD",
        "UNKNOWN_INSTRUMENT",
        "INVALID_TICK",
        "NOTIONAL_TOO_LARGE",
        "CLIENT_ID_REUSED",
        "USER_SUSPENDED",
        "PHASE_FORBIDS",
        "WOULD_CROSS",
        "RATE_LIMIT",
        "RISK_LIMIT",
    ];
    for (first_wrong, expected) in WRONG.iter().enumerate() {
        let wrong = |reason: &str| WRONG.iter().position(|one| *one == reason).unwrap() >= first_wrong;
        let mut m = Market::open();
        m.ok(sell(B, 1, 50));
        m.ok(sell(A, 1, 1000).id("used"));
        m.ok(Command::SetUserRiskLimits {
            user: A,
            limits: UserRiskLimits {
                message_rate: wrong("RATE_LIMIT").then_some(RollingWindowLimit {
                    limit: 0,
                    window_in_seconds: 1,
                }),
                max_outstanding_quantity: wrong("RISK_LIMIT").then_some(1),
                max_outstanding_amount_e4: None,
            },
        });
        if wrong("PHASE_FORBIDS") {
            m.phase(TradingPhase::Halted);
        }
        if wrong("USER_SUSPENDED") {
            m.ok(Command::SuspendUser {
                user: A,
                comment: String::new(),
            });
        }
        let mut order = buy(A, 10, 100);
        if wrong("WOULD_CROSS") {
            order = order.post_only();
        }
        if wrong("CLIENT_ID_REUSED") {
            order = order.id("used");
        }
        if wrong("NOTIONAL_TOO_LARGE") {
            order.0.terms.price_e4 = PRICE_E4_MAX;
            order.0.terms.quantity = 11;
        }
        if wrong("INVALID_TICK") {
            order.0.terms.price_e4 -= 1;
        }
        if wrong("UNKNOWN_INSTRUMENT") {
            order = order.of(InstrumentId(9));
        }
        if wrong("INVALID_FIELD") {
            order.0.terms.quantity = QUANTITY_MAX + 1;
        }
        assert_eq!(reason(&m.refused(order)), *expected);
    }
}

/// The same for an amend.
#[test]
fn of_an_amend() {
    const WRONG: [&str; 7] = [
        "INVALID_FIELD",
        "UNKNOWN_ORDER",
        "INVALID_TICK",
        "NOTIONAL_TOO_LARGE",
        "PHASE_FORBIDS",
        "WOULD_CROSS",
        "RISK_LIMIT",
    ];
    for (first_wrong, expected) in WRONG.iter().enumerate() {
        let wrong = |reason: &str| WRONG.iter().position(|one| *one == reason).unwrap() >= first_wrong;
        let mut m = Market::open();
        m.ok(sell(B, 1, 200));
        let order = m.rest(buy(A, 5, 100).post_only());
        m.ok(Command::SetUserRiskLimits {
            user: A,
            limits: UserRiskLimits {
                max_outstanding_quantity: Some(5),
                ..UserRiskLimits::default()
            },
        });
        if wrong("PHASE_FORBIDS") {
            m.phase(TradingPhase::Halted);
        }
        let mut command = AmendOrder {
            user: A,
            order: OrderRef::Id(order),
            price_e4: Some(if wrong("WOULD_CROSS") { 200 } else { 105 }),
            quantity: Some(6),
        };
        if wrong("NOTIONAL_TOO_LARGE") {
            command.price_e4 = Some(PRICE_E4_MAX);
            command.quantity = Some(11);
        }
        if wrong("INVALID_TICK") {
            command.price_e4 = command.price_e4.map(|price_e4| price_e4 - 1);
        }
        if wrong("UNKNOWN_ORDER") {
            command.order = OrderRef::Id(OrderId(7));
        }
        if wrong("INVALID_FIELD") {
            command.quantity = Some(-1);
        }
        assert_eq!(reason(&m.refused(Command::AmendOrder(command))), *expected);
    }
}

#[test]
fn the_book_speaks_before_the_limits_and_these_before_capacity() {
    let limits = optivex_engine::Limits {
        open_orders_per_user_max: 0,
        ..optivex_engine::Limits::default()
    };
    let mut m = Market::with(TradingPhase::Continuous, limits);
    m.ok(Command::SetInstrumentRiskLimits {
        user: A,
        instrument: X,
        limits: InstrumentRiskLimits {
            max_order_quantity: Some(5),
            ..InstrumentRiskLimits::default()
        },
    });
    assert_eq!(reason(&m.refused(buy(A, 6, 100).fok())), "CANNOT_FILL");
    assert_eq!(reason(&m.refused(buy(A, 6, 100))), "RISK_LIMIT");
    assert_eq!(reason(&m.refused(buy(A, 5, 100))), "CAPACITY");
}

#[test]
fn prices_and_amounts_at_their_bounds() {
    // (lots, price, instrument, refusal): the multiplier of Y is 10.
    let cases = [
        (1, PRICE_E4_MAX, X, None),
        (1, -PRICE_E4_MAX, X, None),
        (1, PRICE_E4_MAX + 5, X, Some("INVALID_FIELD")),
        (1, -PRICE_E4_MAX - 5, X, Some("INVALID_FIELD")),
        (1, i64::MIN, X, Some("INVALID_FIELD")),
        (1, i64::MAX, X, Some("INVALID_FIELD")),
        (0, 100, X, Some("INVALID_FIELD")),
        (-1, 100, X, Some("INVALID_FIELD")),
        (i64::MIN, 100, X, Some("INVALID_FIELD")),
        (QUANTITY_MAX, 100_000, X, None),
        (QUANTITY_MAX, -100_000, X, None),
        (QUANTITY_MAX, 100_005, X, Some("NOTIONAL_TOO_LARGE")),
        (QUANTITY_MAX, -100_005, X, Some("NOTIONAL_TOO_LARGE")),
        (QUANTITY_MAX, 10_005, Y, Some("NOTIONAL_TOO_LARGE")),
        (QUANTITY_MAX, 10_000, Y, None),
        (QUANTITY_MAX, PRICE_E4_MAX, Y, Some("NOTIONAL_TOO_LARGE")),
        (1, 101, X, Some("INVALID_TICK")),
        (1, -101, X, Some("INVALID_TICK")),
        (1, 0, X, None),
    ];
    for (quantity, price_e4, instrument, refusal) in cases {
        let mut m = Market::open();
        let applied = m.apply(buy(A, quantity, price_e4).of(instrument));
        assert_eq!(applied.err().as_ref().map(reason), refusal, "{quantity} at {price_e4}");
    }
}

#[test]
fn an_amend_that_ends_its_order_needs_a_tick_and_no_amount() {
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100));
    assert_eq!(reason(&m.refused(amend(A, order, 0, 101))), "INVALID_TICK");
    assert_eq!(
        reason(&m.refused(amend(A, order, 11, PRICE_E4_MAX))),
        "NOTIONAL_TOO_LARGE"
    );
    m.ok(amend(A, order, 0, PRICE_E4_MAX));
}

#[test]
fn unknown_objects() {
    let nobody = UserId(99);
    let nothing = InstrumentId(99);
    let commands: Vec<(Command, &str)> = vec![
        (buy(nobody, 1, 100).into(), "UNKNOWN_USER"),
        (amend(nobody, OrderId(1), 1, None), "UNKNOWN_USER"),
        (cancel(nobody, OrderId(1)), "UNKNOWN_USER"),
        (Command::ResumeUser { user: nobody }, "UNKNOWN_USER"),
        (
            Command::CancelOrder {
                user: A,
                order: OrderRef::Client(ClientOrderId::new()),
            },
            "INVALID_FIELD",
        ),
        (
            Command::SuspendUser {
                user: nobody,
                comment: "x".repeat(257),
            },
            "INVALID_FIELD",
        ),
        (
            Command::CancelOnDisconnect {
                user: nobody,
                after: OrderId(0),
            },
            "UNKNOWN_USER",
        ),
        (
            Command::CancelAllOrders {
                user: A,
                instrument: Some(nothing),
                side: None,
            },
            "UNKNOWN_INSTRUMENT",
        ),
        (
            Command::SetTradingPhase {
                instrument: nothing,
                phase: TradingPhase::Auction,
            },
            "UNKNOWN_INSTRUMENT",
        ),
        (
            Command::SetInstrumentRiskLimits {
                user: A,
                instrument: nothing,
                limits: InstrumentRiskLimits::default(),
            },
            "UNKNOWN_INSTRUMENT",
        ),
        (
            Command::SetUserRiskLimits {
                user: nobody,
                limits: UserRiskLimits {
                    max_outstanding_quantity: Some(-1),
                    ..UserRiskLimits::default()
                },
            },
            "INVALID_FIELD",
        ),
    ];
    let mut m = Market::open();
    for (command, expected) in commands {
        assert_eq!(reason(&m.refused(command.clone())), expected, "{command:?}");
    }
}
