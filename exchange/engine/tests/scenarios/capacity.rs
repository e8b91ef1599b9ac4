//! Bounds of everything that can grow.

use optivex_engine::command::CreateInstrument;
use optivex_engine::types::*;
use optivex_engine::{Command, Limits, Refusal};

use crate::market::*;

fn full(limit_name: &'static str, limit: u64) -> Refusal {
    Refusal::Capacity { limit_name, limit }
}

fn with(change: impl FnOnce(&mut Limits)) -> Market {
    let mut limits = Limits::default();
    change(&mut limits);
    Market::with(TradingPhase::Continuous, limits)
}

#[test]
fn open_orders_of_a_user() {
    let mut m = with(|limits| limits.open_orders_per_user_max = 2);
    let first = m.rest(buy(A, 1, 100));
    m.ok(buy(A, 1, 100).of(Y));
    let refusal = full("open_orders_per_user_max", 2);
    assert_eq!(m.refused(buy(A, 1, 100)), refusal);
    m.ok(buy(A, 1, 100).ioc());
    m.ok(sell(B, 1, 105));
    m.ok(buy(A, 1, 105));
    assert_eq!(m.stands().0, OrderStatus::Filled, "what does not rest needs no room");
    m.ok(sell(B, 1, 105));
    assert_eq!(m.refused(buy(A, 2, 105)), refusal, "what is left would rest");
    m.ok(sell(B, 1, 105));
    m.ok(amend(A, first, 2, 95));
    m.ok(cancel(A, first));
    m.ok(buy(A, 1, 100));
}

#[test]
fn open_orders_of_all() {
    let mut m = with(|limits| limits.open_orders_max = 2);
    m.ok(buy(A, 1, 100));
    let second = m.rest(buy(B, 1, 100));
    assert_eq!(m.refused(buy(C, 1, 100)), full("open_orders_max", 2));
    // An order that does not rest has an id all the same, and one that nobody else gets.
    m.ok(buy(C, 1, 100).ioc());
    let ioc = m.engine.last_order_id();
    assert!(ioc > second);
    m.ok(sell(C, 1, 100));
    assert!(m.engine.last_order_id() > ioc);
    m.ok(buy(C, 1, 100));
    assert_eq!(m.book(X), "B2 1@100, C5 1@100 | ");
}

#[test]
fn price_levels_of_a_side() {
    let mut m = with(|limits| limits.price_levels_per_side_max = 2);
    let alone = m.rest(buy(A, 1, 100));
    let shared = m.rest(buy(A, 1, 95));
    m.ok(buy(B, 1, 95));
    let refusal = full("price_levels_per_side_max", 2);
    assert_eq!(m.refused(buy(A, 1, 90)), refusal);
    m.ok(buy(A, 1, 100));
    assert_eq!(m.refused(amend(A, shared, None, 90)), refusal, "its level stays");
    assert_eq!(
        m.refused(amend(A, alone, None, 90)),
        refusal,
        "two orders are there by now"
    );
    m.ok(sell(B, 1, 110));
    m.ok(sell(B, 1, 115));
    assert_eq!(m.refused(buy(A, 2, 110)), refusal, "one lot would rest at 110");
    m.ok(buy(A, 1, 110));
    m.ok(cancel(A, shared));
    let mut m = with(|limits| limits.price_levels_per_side_max = 1);
    let alone = m.rest(buy(A, 1, 100));
    m.ok(amend(A, alone, None, 90));
    assert_eq!(m.book(X), "A1 1@90 | ", "it takes its level with it");
    m.ok(buy(A, 1, 90).of(Y));
}

#[test]
fn users_and_instruments() {
    let mut m = with(|limits| {
        limits.users_max = 4;
        limits.instruments_max = 2;
    });
    let register = |name| Command::RegisterUser {
        username: Username::from(name).unwrap(),
    };
    assert_eq!(m.refused(register("E")), full("users_max", 4));
    m.ok(register("D"));
    let create = |symbol| {
        Command::CreateInstrument(CreateInstrument {
            user: A,
            symbol: Symbol::from(symbol).unwrap(),
            description: String::new(),
            currency: "EUR".try_into().unwrap(),
            multiplier: 1,
            tick_size_e4: 1,
            initial_phase: TradingPhase::Auction,
            client_request_id: ClientRequestId::new(),
        })
    };
    assert_eq!(m.refused(create("Z")), full("instruments_max", 2));
    assert_eq!(m.refused(create("X")), Refusal::DuplicateSymbol, "told first");
}

#[test]
fn no_room_at_all() {
    let mut m = with(|limits| limits.open_orders_max = 0);
    assert_eq!(m.refused(buy(A, 1, 100)), full("open_orders_max", 0));
    m.ok(buy(A, 1, 100).ioc());
    m.ok(buy(A, 1, 0).market());
    let ids: Vec<u64> = m
        .event
        .reports
        .iter()
        .map(|report| report.order.order_id.0 >> 24)
        .collect();
    assert_eq!(ids, [2, 2]);
}
