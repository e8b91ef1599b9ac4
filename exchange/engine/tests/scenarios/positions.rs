//! Positions and cash.

use optivex_engine::Position;

use crate::market::*;

#[test]
fn what_both_sides_hold_after_a_trade() {
    let mut m = Market::open();
    m.ok(sell(B, 7, 100).of(Y));
    m.ok(buy(A, 5, 110).of(Y));
    m.ok(buy(A, 2, 90).of(Y));
    let bought = Position {
        instrument: Y,
        quantity: 5,
        cash_e4: -5 * 100 * 10,
        market_value_e4: 5 * 100 * 10,
        open_buy_quantity: 2,
        open_sell_quantity: 0,
    };
    assert_eq!(m.engine.positions(A), [bought]);
    let sold = Position {
        quantity: -5,
        cash_e4: 5000,
        market_value_e4: -5000,
        open_buy_quantity: 0,
        open_sell_quantity: 2,
        ..bought
    };
    assert_eq!(m.engine.positions(B), [sold]);
    assert_eq!(m.engine.positions(C), []);
}

#[test]
fn the_market_value_follows_the_last_trade_of_anybody() {
    let mut m = Market::open();
    m.ok(sell(B, 5, 100));
    m.ok(buy(A, 5, 100));
    m.ok(sell(C, 1, -20));
    m.ok(buy(D, 1, -20));
    let position = m.engine.positions(A)[0];
    assert_eq!((position.cash_e4, position.market_value_e4), (-500, -100));
}

#[test]
fn a_seller_at_a_negative_price_pays() {
    let mut m = Market::open();
    m.ok(buy(A, 5, -100));
    m.ok(sell(B, 5, -100));
    assert_eq!(m.engine.positions(A)[0].cash_e4, 500);
    assert_eq!(m.engine.positions(B)[0].cash_e4, -500);
}

#[test]
fn a_position_that_is_closed_at_a_profit_still_shows_its_cash() {
    let mut m = Market::open();
    m.ok(sell(B, 5, 100));
    m.ok(buy(A, 5, 100));
    m.ok(buy(B, 5, 120));
    m.ok(sell(A, 5, 120));
    let position = m.engine.positions(A)[0];
    assert_eq!(
        (position.quantity, position.cash_e4, position.market_value_e4),
        (0, 100, 0)
    );
}

#[test]
fn sums_that_leave_int64_stop_at_its_end() {
    let mut m = Market::open();
    // 92,234 times 10^14.
    for _ in 0..92_234 / 2 {
        let input = |order: Insert| optivex_engine::Input {
            time_unix_ns: m.now,
            command: order.of(Y).into(),
        };
        let (offer, bid) = (
            input(sell(B, 1_000_000_000, 10_000)),
            input(buy(A, 1_000_000_000, 10_000)),
        );
        for _ in 0..2 {
            for input in [&offer, &bid] {
                m.engine.apply(input, &mut m.event).expect("taken");
                m.accepted.push(input.clone());
            }
        }
    }
    assert_eq!(m.engine.positions(A)[0].cash_e4, i64::MIN);
    assert_eq!(m.engine.positions(B)[0].cash_e4, i64::MAX);
    assert_eq!(m.engine.positions(A)[0].market_value_e4, i64::MAX);
}
