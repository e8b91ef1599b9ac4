//! The kept indicative price against the contract's words, tried at every tick.

use proptest::prelude::*;

use super::*;
use crate::command::{Command, CreateInstrument, Input, InsertOrder, OrderRef, OrderTerms};
use crate::types::*;
use crate::{Engine, Event, Limits};

const TICK: i64 = 5;
const X: InstrumentId = InstrumentId(0);
const USER: UserId = UserId(0);
const OTHER: UserId = UserId(1);

fn market() -> (Engine, Event) {
    let mut engine = Engine::new(Limits::default());
    let mut event = Event::default();
    for name in ["A", "B"] {
        let username = Username::from(name).expect("short");
        run(&mut engine, &mut event, Command::RegisterUser { username });
    }
    let create = CreateInstrument {
        user: USER,
        symbol: Symbol::from("X").expect("short"),
        description: String::new(),
        currency: "EUR".try_into().expect("short"),
        multiplier: 3,
        tick_size_e4: TICK,
        initial_phase: TradingPhase::Continuous,
        client_request_id: ClientRequestId::new(),
    };
    run(&mut engine, &mut event, Command::CreateInstrument(create));
    (engine, event)
}

fn run(engine: &mut Engine, event: &mut Event, command: Command) {
    let input = Input {
        time_unix_ns: 1,
        command,
    };
    engine.apply(&input, event).expect("accepted");
}

fn insert(user: UserId, side: Side, quantity: i64, price_e4: i64) -> Command {
    Command::InsertOrder(InsertOrder {
        user,
        instrument: X,
        terms: OrderTerms {
            side,
            price_e4,
            quantity,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancelled,
            post_only: false,
            self_trade_prevention: SelfTradePrevention::CancelIncoming,
        },
        client_order_id: ClientOrderId::new(),
    })
}

fn phase(phase: TradingPhase) -> Command {
    Command::SetTradingPhase { instrument: X, phase }
}

/// The contract, word by word: of all multiples of the tick the one that trades the most; then that
/// leaves the least behind; then nearest to the last trade, the lower of two; without one the lowest.
fn by_the_contract(engine: &Engine, ticks: std::ops::Range<i64>) -> Option<Indicative> {
    let orders = |side| -> Vec<Order> { engine.resting_orders(X, side).collect() };
    let (bids, asks) = (orders(Side::Buy), orders(Side::Sell));
    let last = engine.last_trade_price_e4(X);
    let judged = ticks.map(|tick| {
        let price_e4 = tick * TICK;
        let bid: i64 = bids
            .iter()
            .filter(|bid| bid.price_e4 >= price_e4)
            .map(Order::open_quantity)
            .sum();
        let offered: i64 = asks
            .iter()
            .filter(|ask| ask.price_e4 <= price_e4)
            .map(Order::open_quantity)
            .sum();
        let distance = last.map_or(0, |last| (last - price_e4).abs());
        let quantity = bid.min(offered);
        (
            (-quantity, (bid - offered).abs(), distance, price_e4),
            quantity,
            price_e4,
        )
    });
    let (_, quantity, price_e4) = judged.min_by_key(|(rank, ..)| *rank)?;
    (quantity > 0).then_some(Indicative { price_e4, quantity })
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Side, i64, i64),
    Cancel(usize),
    Amend(usize, Option<i64>, Option<i64>),
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    prop_oneof![
        5 => (side, 1..6_i64, -12..12_i64).prop_map(|(side, quantity, tick)| Step::Insert(side, quantity, tick * TICK)),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => (any::<usize>(), prop::option::of(0..8_i64), prop::option::of(-12..12_i64))
            .prop_map(|(order, quantity, tick)| Step::Amend(order, quantity, tick.map(|tick| tick * TICK))),
    ]
}

proptest! {
    #[test]
    fn the_kept_price_is_the_contracts(
        last in prop::option::of(-15..15_i64),
        steps in prop::collection::vec(step(), 1..40),
        halt in any::<bool>(),
    ) {
        let (mut engine, mut event) = market();
        if let Some(tick) = last {
            run(&mut engine, &mut event, insert(USER, Side::Buy, 1, tick * TICK));
            run(&mut engine, &mut event, insert(OTHER, Side::Sell, 1, tick * TICK));
        }
        run(&mut engine, &mut event, phase(TradingPhase::Auction));
        for step in steps {
            let open: Vec<Order> = engine.open_orders(USER, None, OrderId(0)).collect();
            let command = match step {
                Step::Insert(side, quantity, price_e4) => insert(USER, side, quantity, price_e4),
                Step::Cancel(_) | Step::Amend(..) if open.is_empty() => continue,
                Step::Cancel(at) => Command::CancelOrder {
                    user: USER,
                    order: OrderRef::Id(open[at % open.len()].order_id),
                },
                Step::Amend(_, None, None) => continue,
                Step::Amend(at, quantity, price_e4) => Command::AmendOrder(crate::command::AmendOrder {
                    user: USER,
                    order: OrderRef::Id(open[at % open.len()].order_id),
                    price_e4,
                    quantity,
                }),
            };
            run(&mut engine, &mut event, command);
            let expected = by_the_contract(&engine, -20..20);
            prop_assert_eq!(engine.indicative(X), expected);
            if let Some(change) = event.books.first() {
                prop_assert_eq!(change.indicative, expected);
            }
        }
        let expected = by_the_contract(&engine, -20..20);
        if halt {
            run(&mut engine, &mut event, phase(TradingPhase::Halted));
            prop_assert_eq!(engine.indicative(X), None);
        }
        run(&mut engine, &mut event, phase(TradingPhase::Continuous));
        let traded: i64 = event.trades.iter().map(|trade| trade.quantity).sum();
        prop_assert_eq!(traded, expected.map_or(0, |expected| expected.quantity));
        for trade in &event.trades {
            prop_assert_eq!(Some(trade.price_e4), expected.map(|expected| expected.price_e4));
        }
        let best = |side| engine.levels(X, side).next().map(|level| level.price_e4);
        if let (Some(bid), Some(ask)) = (best(Side::Buy), best(Side::Sell)) {
            prop_assert!(bid < ask, "uncrossed: {bid} {ask}");
        }
    }

    /// The tree alone, over the whole range of prices: sums, turn, and that it empties.
    #[test]
    fn the_tree_sums_what_it_was_given(
        lots in prop::collection::vec((any::<bool>(), -PRICE_E4_MAX..=PRICE_E4_MAX, 1..1000_i64), 1..60),
        near in prop::collection::vec((any::<bool>(), -3..3_i64, 1..5_i64), 0..30),
    ) {
        let lots: Vec<_> = lots.into_iter().chain(near).collect();
        let side = |buy: bool| if buy { Side::Buy } else { Side::Sell };
        let mut tree = AuctionTree::new();
        for (at, (buy, price_e4, quantity)) in lots.iter().enumerate() {
            tree.add(side(*buy), *price_e4, *quantity);
            let given = &lots[..=at];
            let sum = |buy: bool, until: i64| -> i64 {
                given.iter().filter(|lot| lot.0 == buy && lot.1 < until).map(|lot| lot.2).sum()
            };
            let totals = [sum(true, i64::MAX), sum(false, i64::MAX)];
            prop_assert_eq!(tree.totals(), totals);
            if totals[0] > 0 && totals[1] > 0 {
                let turn = tree.turn();
                prop_assert_eq!(turn.below, [sum(true, turn.price_e4), sum(false, turn.price_e4)]);
                let through = [sum(true, turn.price_e4 + 1), sum(false, turn.price_e4 + 1)];
                prop_assert_eq!(turn.here, [through[0] - turn.below[0], through[1] - turn.below[1]]);
                prop_assert!(turn.below[0] + turn.below[1] <= totals[0]);
                prop_assert!(through[0] + through[1] > totals[0]);
            }
        }
        for (buy, price_e4, quantity) in &lots {
            tree.add(side(*buy), *price_e4, -quantity);
        }
        prop_assert_eq!(tree.root, NIL);
        prop_assert_eq!(tree.vacant.len(), tree.nodes.len());
    }
}
