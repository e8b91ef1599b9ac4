//! Replay, restore and damage, after random commands of every kind, hostile ones among them.

use proptest::prelude::*;

use super::*;
use crate::command::*;
use crate::types::*;
use crate::{Applied, Event, Limits};

const TIGHT: Limits = Limits {
    users_max: 4,
    instruments_max: 3,
    open_orders_max: 12,
    open_orders_per_user_max: 8,
    price_levels_per_side_max: 5,
    client_order_ids_per_user_max: 3,
    rolling_window_moments_max: 4,
};

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn phase() -> impl Strategy<Value = TradingPhase> {
    prop_oneof![
        3 => Just(TradingPhase::Auction),
        6 => Just(TradingPhase::Continuous),
        1 => Just(TradingPhase::Halted),
        1 => Just(TradingPhase::Closed),
    ]
}

fn user() -> impl Strategy<Value = UserId> {
    prop_oneof![20 => 0..3_u32, 1 => any::<u32>()].prop_map(UserId)
}

fn instrument() -> impl Strategy<Value = InstrumentId> {
    prop_oneof![20 => 0..2_u32, 1 => any::<u32>()].prop_map(InstrumentId)
}

fn price() -> impl Strategy<Value = i64> {
    prop_oneof![
        40 => (-4..5_i64).prop_map(|tick| tick * 5),
        1 => any::<i64>(),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(PRICE_E4_MAX), Just(-PRICE_E4_MAX)],
    ]
}

fn quantity() -> impl Strategy<Value = i64> {
    prop_oneof![40 => 0..12_i64, 1 => any::<i64>(), 1 => Just(QUANTITY_MAX)]
}

fn client_id() -> impl Strategy<Value = ClientOrderId> {
    (0..12_u32).prop_map(|id| match id {
        0..4 => ClientOrderId::new(),
        id => ClientOrderId::from(&id.to_string()).expect("short"),
    })
}

/// Which of the engine's open orders, if any; or an id as it comes.
#[derive(Clone, Debug)]
enum Which {
    Open(usize),
    Client(ClientOrderId),
    Any(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    Amend(UserId, Which, Option<i64>, Option<i64>),
    Cancel(UserId, Which),
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        10 => any::<usize>().prop_map(Which::Open),
        4 => client_id().prop_map(Which::Client),
        1 => any::<u64>().prop_map(Which::Any),
        1 => (0..40_u64, 0..14_u64).prop_map(|(sequence, slot)| Which::Any(sequence << 24 | slot)),
    ]
}

fn terms() -> impl Strategy<Value = OrderTerms> {
    let kind = prop_oneof![
        12 => Just((OrderType::Limit, TimeInForce::GoodTillCancelled, false)),
        2 => Just((OrderType::Limit, TimeInForce::GoodTillCancelled, true)),
        2 => Just((OrderType::Limit, TimeInForce::ImmediateOrCancel, false)),
        2 => Just((OrderType::Limit, TimeInForce::FillOrKill, false)),
        1 => Just((OrderType::Market, TimeInForce::ImmediateOrCancel, false)),
        1 => Just((OrderType::Market, TimeInForce::FillOrKill, false)),
    ];
    let stp = prop_oneof![
        Just(SelfTradePrevention::CancelIncoming),
        Just(SelfTradePrevention::CancelResting),
        Just(SelfTradePrevention::CancelBoth),
    ];
    (side(), price(), quantity(), kind, stp).prop_map(
        |(side, price_e4, quantity, (order_type, time_in_force, post_only), self_trade_prevention)| OrderTerms {
            side,
            price_e4: if order_type == OrderType::Market { 0 } else { price_e4 },
            quantity,
            order_type,
            time_in_force,
            post_only,
            self_trade_prevention,
        },
    )
}

fn window() -> impl Strategy<Value = Option<RollingWindowLimit>> {
    prop::option::of((0..60_i64, prop_oneof![Just(1), Just(5), Just(86_400), Just(0)])).prop_map(|window| {
        window.map(|(limit, window_in_seconds)| RollingWindowLimit {
            limit,
            window_in_seconds,
        })
    })
}

fn limit() -> impl Strategy<Value = Option<i64>> {
    prop::option::weighted(0.3, prop_oneof![5 => 10..400_i64, 1 => any::<i64>()])
}

fn step() -> impl Strategy<Value = Step> {
    let insert = (user(), instrument(), terms(), client_id()).prop_map(|(user, instrument, terms, client_order_id)| {
        Command::InsertOrder(InsertOrder {
            user,
            instrument,
            terms,
            client_order_id,
        })
    });
    let create = (user(), 0..3_u32, 1..3_i64, phase(), 0..3_u32).prop_map(|(user, symbol, multiplier, phase, id)| {
        Command::CreateInstrument(CreateInstrument {
            user,
            symbol: Symbol::from(&format!("X{symbol}")).expect("short"),
            description: "an instrument".to_owned(),
            currency: "EUR".try_into().expect("short"),
            multiplier,
            tick_size_e4: 5,
            initial_phase: phase,
            client_request_id: match id {
                0 => ClientRequestId::new(),
                id => ClientRequestId::from(&id.to_string()).expect("short"),
            },
        })
    });
    let instrument_limits = (window(), window(), limit(), limit(), limit(), limit());
    let admin = prop_oneof![
        (0..6_u32).prop_map(|name| Command::RegisterUser {
            username: Username::from(&"u".repeat(name as usize)).expect("short"),
        }),
        create,
        (instrument(), phase()).prop_map(|(instrument, phase)| Command::SetTradingPhase { instrument, phase }),
        (user(), 0..400_usize).prop_map(|(user, length)| Command::SuspendUser {
            user,
            comment: "x".repeat(length),
        }),
        user().prop_map(|user| Command::ResumeUser { user }),
        user().prop_map(|user| Command::ResumeUser { user }),
        (user(), window(), limit(), limit()).prop_map(|(user, message_rate, quantity, amount)| {
            let limits = UserRiskLimits {
                message_rate,
                max_outstanding_quantity: quantity,
                max_outstanding_amount_e4: amount,
            };
            Command::SetUserRiskLimits { user, limits }
        }),
        (user(), instrument(), instrument_limits).prop_map(|(user, instrument, limits)| {
            let limits = InstrumentRiskLimits {
                order_quantity: limits.0,
                order_amount: limits.1,
                max_outstanding_quantity: limits.2,
                max_outstanding_amount_e4: limits.3,
                max_order_quantity: limits.4,
                max_position: limits.5,
            };
            Command::SetInstrumentRiskLimits {
                user,
                instrument,
                limits,
            }
        }),
    ];
    prop_oneof![
        40 => insert.prop_map(Step::Command),
        8 => admin.prop_map(Step::Command),
        10 => (user(), which(), prop::option::of(price()), prop::option::of(quantity()))
            .prop_map(|(user, which, price_e4, quantity)| Step::Amend(user, which, price_e4, quantity)),
        8 => (user(), which()).prop_map(|(user, which)| Step::Cancel(user, which)),
        1 => (user(), prop::option::of(instrument()), prop::option::of(side()))
            .prop_map(|(user, instrument, side)| Command::CancelAllOrders { user, instrument, side })
            .prop_map(Step::Command),
        1 => (user(), any::<u64>()).prop_map(|(user, after)| {
            Step::Command(Command::CancelOnDisconnect { user, after: OrderId(after % (20 << 24)) })
        }),
    ]
}

fn command(engine: &Engine, step: &Step) -> Command {
    let order = |user: UserId, which: &Which| match which {
        Which::Open(at) => {
            let open: Vec<OrderId> = engine
                .open_orders(user, None, OrderId(0))
                .map(|order| order.order_id)
                .collect();
            OrderRef::Id(open.get(at % open.len().max(1)).copied().unwrap_or(OrderId(0)))
        }
        Which::Client(id) => OrderRef::Client(*id),
        Which::Any(id) => OrderRef::Id(OrderId(*id)),
    };
    match step {
        Step::Command(command) => command.clone(),
        Step::Amend(user, which, price_e4, quantity) => Command::AmendOrder(AmendOrder {
            user: *user,
            order: order(*user, which),
            price_e4: *price_e4,
            quantity: *quantity,
        }),
        Step::Cancel(user, which) => Command::CancelOrder {
            user: *user,
            order: order(*user, which),
        },
    }
}

fn market() -> (Engine, Vec<Input>) {
    let mut engine = Engine::new(TIGHT);
    let mut accepted = Vec::new();
    for name in ["u", "uu", "uuu"] {
        let username = Username::from(name).expect("short");
        push(&mut engine, &mut accepted, Command::RegisterUser { username });
    }
    for (symbol, initial_phase) in [("X0", TradingPhase::Continuous), ("X1", TradingPhase::Auction)] {
        let create = CreateInstrument {
            user: UserId(0),
            symbol: Symbol::from(symbol).expect("short"),
            description: String::new(),
            currency: "EUR".try_into().expect("short"),
            multiplier: 2,
            tick_size_e4: 5,
            initial_phase,
            client_request_id: ClientRequestId::new(),
        };
        push(&mut engine, &mut accepted, Command::CreateInstrument(create));
    }
    (engine, accepted)
}

fn push(engine: &mut Engine, accepted: &mut Vec<Input>, command: Command) {
    let input = Input {
        time_unix_ns: 1,
        command,
    };
    engine.apply(&input, &mut Event::default()).expect("accepted");
    accepted.push(input);
}

/// Times go forward, now and then back, and once in a while far.
fn pause() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => Just(0_i64),
        8 => 0..900_000_000_i64,
        1 => Just(-500_000_000),
        1 => Just(86_400_000_000_000),
    ]
}

proptest! {
    /// A refused or repeated command leaves no trace; a replay of the accepted ones, and a restored
    /// state that goes on, give the same events and the same digest; and nothing panics.
    #[test]
    fn the_state_is_the_fold_of_the_accepted_inputs(
        steps in prop::collection::vec((step(), pause()), 1..150),
        restore_at in 0..150_usize,
    ) {
        let (mut engine, mut accepted) = market();
        let mut events = Vec::new();
        let mut restored: Option<Engine> = None;
        let mut event = Event::default();
        let mut other = Event::default();
        let mut now = 1_i64;
        for (at, (step, pause)) in steps.iter().enumerate() {
            if at == restore_at {
                restored = Some(Engine::restore(&engine.snapshot()).expect("its own words"));
            }
            now += pause;
            let input = Input { time_unix_ns: now, command: command(&engine, step) };
            let before = engine.digest();
            let applied = engine.apply(&input, &mut event);
            if let Some(restored) = &mut restored {
                prop_assert_eq!(&restored.apply(&input, &mut other), &applied);
                prop_assert_eq!(&other, &event);
            }
            if applied == Ok(Applied::Event) {
                accepted.push(input);
                events.push(event.clone());
            } else {
                prop_assert_eq!(&event, &Event::default());
                prop_assert_eq!(engine.digest(), before);
            }
        }
        if let Some(restored) = &restored {
            prop_assert_eq!(restored.digest(), engine.digest());
        }
        let mut replayed = Engine::new(TIGHT);
        let mut again = Vec::new();
        for input in &accepted {
            prop_assert_eq!(replayed.apply(input, &mut event), Ok(Applied::Event));
            again.push(event.clone());
        }
        prop_assert_eq!(&again[again.len() - events.len()..], &events[..]);
        prop_assert_eq!(replayed.digest(), engine.digest());
        let snapshot = engine.snapshot();
        let rebuilt = Engine::restore(&snapshot).expect("its own words");
        prop_assert_eq!(rebuilt.snapshot(), snapshot);
        // What is kept beside the snapshot is what its orders come to.
        for user in (0..4).map(UserId) {
            prop_assert_eq!(rebuilt.risk_usage(user, now), engine.risk_usage(user, now));
            prop_assert_eq!(rebuilt.positions(user), engine.positions(user));
            let open = |engine: &Engine| engine.open_orders(user, None, OrderId(0)).collect::<Vec<_>>();
            prop_assert_eq!(open(&rebuilt), open(&engine));
        }
        for instrument in (0..3).map(InstrumentId) {
            prop_assert_eq!(rebuilt.indicative(instrument), engine.indicative(instrument));
            for side in SIDES {
                let levels = |engine: &Engine| engine.levels(instrument, side).collect::<Vec<_>>();
                prop_assert_eq!(levels(&rebuilt), levels(&engine));
            }
        }
    }

    /// Any damage is an error; damage under a new seal is an error or a state that works.
    #[test]
    fn a_damaged_snapshot_never_panics(
        steps in prop::collection::vec((step(), pause()), 1..60),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        more in prop::collection::vec(step(), 1..20),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (mut engine, _) = market();
        let mut event = Event::default();
        let mut now = 1_i64;
        for (step, pause) in &steps {
            now += pause;
            let input = Input { time_unix_ns: now, command: command(&engine, step) };
            let _ = engine.apply(&input, &mut event);
        }
        let mut damaged = engine.snapshot();
        let whole = damaged.clone();
        if let Some(cut) = cut {
            damaged.truncate(cut.index(damaged.len()));
        }
        for (at, byte) in &damages {
            if !damaged.is_empty() {
                let at = at.index(damaged.len());
                damaged[at] = *byte;
            }
        }
        if damaged != whole {
            prop_assert!(Engine::restore(&damaged).is_err());
        }
        damaged.truncate(damaged.len().saturating_sub(SEAL_BYTES));
        let seal = Sha256::digest(&damaged);
        damaged.extend_from_slice(&seal_key());
        damaged.extend_from_slice(&seal);
        if let Ok(mut restored) = Engine::restore(&damaged) {
            for step in &more {
                let input = Input { time_unix_ns: now, command: command(&restored, step) };
                let _ = restored.apply(&input, &mut event);
            }
            let again = restored.snapshot();
            prop_assert_eq!(Engine::restore(&again).expect("its own words").snapshot(), again);
        }
    }
}

#[test]
fn an_empty_exchange_is_a_state() {
    let engine = Engine::new(Limits::default());
    let restored = Engine::restore(&engine.snapshot()).expect("its own words");
    assert_eq!(restored.digest(), engine.digest());
    assert_ne!(Engine::new(TIGHT).digest(), engine.digest(), "limits are state");
    for nothing in [&[][..], &[0; 33], &[0; 34], &[0; 100]] {
        assert!(Engine::restore(nothing).is_err());
    }
}
