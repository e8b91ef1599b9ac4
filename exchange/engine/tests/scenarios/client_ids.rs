//! Client ids: what makes a retry safe, and how long.

use optivex_engine::command::{CreateInstrument, OrderRef};
use optivex_engine::types::*;
use optivex_engine::{Applied, Command, Limits, OrderLookup, Refusal};

use crate::market::*;

fn client(id: &str) -> OrderRef {
    OrderRef::Client(ClientOrderId::from(id).unwrap())
}

#[test]
fn a_retry_answers_as_the_first_time_and_inserts_nothing() {
    let mut m = Market::open();
    m.ok(buy(B, 1, 50));
    let order = buy(A, 5, 100).id("one");
    let order_id = m.rest(order);
    let event_seq = m.event.event_seq;
    let first = Applied::OrderRepeated {
        order_id,
        event_seq,
        report_seq: 1,
    };
    assert_eq!(m.apply(order), Ok(first.clone()));
    // Whatever happened to the order since, and whatever forbids a new one now.
    m.ok(amend(A, order_id, 9, 95));
    assert_eq!(m.apply(order), Ok(first.clone()), "compared as inserted");
    m.ok(Command::SuspendUser {
        user: A,
        comment: "stop".to_owned(),
    });
    m.phase(TradingPhase::Closed);
    assert_eq!(m.apply(order), Ok(first), "done, suspended, closed");
}

#[test]
fn other_content_is_refused() {
    let first = buy(A, 5, 100).id("one");
    let others = [
        buy(A, 6, 100).id("one"),
        buy(A, 5, 95).id("one"),
        sell(A, 5, 100).id("one"),
        first.of(Y),
        first.ioc(),
        first.post_only(),
        first.stp(SelfTradePrevention::CancelBoth),
    ];
    let mut m = Market::open();
    m.ok(first);
    for other in others {
        assert_eq!(m.refused(other), Refusal::ClientIdReused, "{other:?}");
    }
    m.ok(buy(B, 6, 100).id("one"));
    m.ok(buy(A, 5, 100));
    m.ok(buy(A, 5, 100));
}

#[test]
fn a_refused_insert_does_not_use_its_id_up() {
    let mut m = Market::open();
    m.ok(sell(B, 1, 100));
    assert_eq!(m.refused(buy(A, 5, 100).fok().id("one")), Refusal::CannotFill);
    m.ok(buy(A, 6, 100).id("one"));
}

#[test]
fn an_id_names_its_order_as_long_as_it_is_known() {
    let mut m = Market::open();
    let order = m.rest(buy(A, 5, 100).id("one"));
    assert!(matches!(m.engine.order(A, client("one")), OrderLookup::Open(found) if found.order_id == order));
    assert_eq!(m.engine.order(B, client("one")), OrderLookup::Unknown);
    assert_eq!(
        m.engine.order(B, OrderRef::Id(order)),
        OrderLookup::Unknown,
        "somebody else's"
    );
    let cancel = Command::CancelOrder {
        user: A,
        order: client("one"),
    };
    m.ok(cancel.clone());
    assert_eq!(m.engine.order(A, client("one")), OrderLookup::Done(order));
    assert_eq!(m.refused(cancel), Refusal::OrderNotOpen);
}

#[test]
fn the_last_done_orders_ids_are_kept_and_open_ones_always() {
    let limits = Limits {
        client_order_ids_per_user_max: 2,
        ..Limits::default()
    };
    let mut m = Market::with(TradingPhase::Continuous, limits);
    m.ok(buy(A, 1, 50).id("open"));
    for id in ["one", "two", "three"] {
        m.ok(buy(A, 1, 60).ioc().id(id));
    }
    let known = |m: &Market, id| m.engine.order(A, client(id)) != OrderLookup::Unknown;
    assert_eq!(
        ["open", "one", "two", "three"].map(|id| known(&m, id)),
        [true, false, true, true]
    );
    m.ok(buy(A, 7, 50).id("one"));
    assert!(known(&m, "one"), "used anew");
}

#[test]
fn ids_are_kept_in_the_order_their_orders_got_done() {
    let limits = Limits {
        client_order_ids_per_user_max: 1,
        ..Limits::default()
    };
    let mut m = Market::with(TradingPhase::Continuous, limits);
    let first = m.rest(buy(A, 1, 50).id("first"));
    let second = m.rest(buy(A, 1, 50).id("second"));
    m.ok(cancel(A, second));
    m.ok(cancel(A, first));
    assert_eq!(m.engine.order(A, client("second")), OrderLookup::Unknown);
    assert_eq!(m.engine.order(A, client("first")), OrderLookup::Done(first));
}

#[test]
fn a_stale_or_foreign_order_id_is_no_order() {
    let mut m = Market::open();
    let first = m.rest(buy(A, 5, 100));
    m.ok(cancel(A, first));
    let second = m.rest(buy(A, 5, 100));
    assert_eq!(first.0 & 0xff_ffff, second.0 & 0xff_ffff, "the slot is used again");
    assert!(second > first);
    for order in [
        first,
        OrderId(0),
        OrderId(u64::MAX),
        OrderId(second.0 + (1 << 24)),
        OrderId(second.0 + 1),
    ] {
        assert_eq!(m.refused(cancel(A, order)), Refusal::OrderNotOpen, "{order:?}");
    }
    assert_eq!(m.refused(cancel(B, second)), Refusal::OrderNotOpen);
}

#[test]
fn the_retry_of_a_creation_answers_as_the_first_time() {
    let mut m = Market::open();
    let create = CreateInstrument {
        user: A,
        symbol: Symbol::from("Z").unwrap(),
        description: "zinc".to_owned(),
        currency: "EUR".try_into().unwrap(),
        multiplier: 1,
        tick_size_e4: 1,
        initial_phase: TradingPhase::Auction,
        client_request_id: ClientRequestId::from("request").unwrap(),
    };
    m.ok(Command::CreateInstrument(create.clone()));
    let event_seq = m.event.event_seq;
    let instrument = InstrumentId(2);
    m.ok(Command::SetTradingPhase {
        instrument,
        phase: TradingPhase::Closed,
    });
    match m.apply(Command::CreateInstrument(create.clone())) {
        Ok(Applied::InstrumentRepeated {
            instrument: first,
            event_seq: at,
        }) => {
            assert_eq!((first.id, at), (instrument, event_seq));
            assert_eq!(first.phase, TradingPhase::Auction, "as created");
        }
        other => panic!("{other:?}"),
    }
    let other = CreateInstrument {
        description: "zink".to_owned(),
        ..create.clone()
    };
    assert_eq!(m.refused(Command::CreateInstrument(other)), Refusal::ClientIdReused);
    let same_symbol = CreateInstrument {
        user: B,
        ..create.clone()
    };
    assert_eq!(
        m.refused(Command::CreateInstrument(same_symbol)),
        Refusal::DuplicateSymbol
    );
    let no_id = CreateInstrument {
        client_request_id: ClientRequestId::new(),
        ..create
    };
    assert_eq!(m.refused(Command::CreateInstrument(no_id)), Refusal::DuplicateSymbol);
}
