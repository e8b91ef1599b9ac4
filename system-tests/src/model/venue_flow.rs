//! A random flow of commands, compared with the reference model one by one.

use std::collections::BTreeMap;

use optivex_proto::v1::{
    CancelOrderRequest, ErrorReason, InsertOrderRequest, InstrumentRiskLimits, ListPositionsRequest, OrderType,
    SelfTradePrevention, Side, TimeInForce, UserRiskLimits, cancel_order_request,
};

use crate::check::{Looks, Outcome, amend};
use crate::client::{Answer, Session};
use crate::context::Context;
use crate::model::venue::{Life, Refused, Terms, Venue};
use crate::verdict::Verdict;

/// Commands of one flow.
const COMMANDS: usize = 250;
/// After so many commands everything is compared: book, open orders, positions.
const COMPARED_EACH: usize = 10;
/// Users of a flow.
pub const USERS: usize = 3;
const MULTIPLIER: i64 = 3;

/// Limits of one user of a flow.
pub type Limits = (UserRiskLimits, InstrumentRiskLimits);

/// What the commands of a flow are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Limit orders that rest or are IMMEDIATE_OR_CANCEL and meet no order of their own user, and cancels: what
    /// every exchange of the core stages has.
    Core,
    /// All types, amends, self-trade prevention.
    All,
}

/// Sends random commands, and compares every answer, the book, open orders and positions.
pub async fn drive(context: &Context, kinds: Kinds, limits: &[Limits]) -> Verdict {
    let mut random = context.random();
    let symbol = context
        .instrument_with(|request| request.multiplier = MULTIPLIER)
        .await?
        .symbol;
    context
        .log()
        .note(&format!("the seed of this case is {}", context.seed()));
    let mut venue = Venue::new(MULTIPLIER);
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(context.trader().await?);
    }
    let admin = context.admin().await?;
    for ((owner, user), (of_user, of_instrument)) in users.iter().enumerate().zip(limits) {
        admin.limit_user(user, *of_user).await?;
        admin.limit(user, &symbol, *of_instrument).await?;
        venue.limit(owner, *of_user, *of_instrument);
    }
    // By key: whose, and the exchange's id.
    let mut orders: Vec<(usize, u64)> = Vec::new();
    for number in 0..COMMANDS {
        let event_seq = match random.u8(..10) {
            draw if draw < 6 || draw < 8 && kinds == Kinds::Core => {
                insert(&mut random, kinds, &symbol, &users, &mut venue, &mut orders).await?
            }
            6..9 if kinds == Kinds::All => change(&mut random, &users, &mut venue, &orders).await?,
            _ => cancel(&mut random, &users, &mut venue, &orders).await?,
        };
        if let Some(event_seq) = event_seq
            && number % COMPARED_EACH == 0
        {
            let (bids, asks) = (venue.levels(Side::Buy), venue.levels(Side::Sell));
            users[0].book_shows(&symbol, event_seq, &bids, &asks).await?;
            hold(&users, &symbol, &venue, &orders).await?;
        }
    }
    hold(&users, &symbol, &venue, &orders).await?;
    let (bids, asks) = (venue.levels(Side::Buy), venue.levels(Side::Sell));
    users[0].book_shows(&symbol, u64::MAX, &bids, &asks).await?;
    Ok(())
}

/// Every user's open orders and position come to what the model says: who of two at a price traded
/// shows here.
async fn hold(users: &[Session], symbol: &str, venue: &Venue, orders: &[(usize, u64)]) -> Verdict {
    for (owner, user) in users.iter().enumerate() {
        let expected: BTreeMap<u64, i64> = venue
            .open_orders(owner)
            .into_iter()
            .map(|(key, open)| (orders[key].1, open))
            .collect();
        holds(user, symbol, &expected, venue, owner).await?;
    }
    Ok(())
}

/// The model and the exchange agree on one command; its event if it was accepted.
fn compare<T>(answer: Answer<T>, expected: Result<Outcome, Refused>) -> Verdict<Option<T>>
where
    for<'a> Outcome: From<&'a T>,
{
    match expected {
        Ok(outcome) => {
            let reply = answer.accepted()?;
            reply.came_to(outcome)?;
            Ok(Some(reply.into_inner()))
        }
        Err(Refused::Book(reason)) => answer.refused(reason, &[]).map(|_| None),
        Err(Refused::Limits(names)) => {
            let expected = format!("a refusal for one of the limits {names:?}");
            let refusal = match answer.either() {
                Ok(reply) => return Err(reply.fail("the call succeeded", expected)),
                Err(refusal) => refusal,
            };
            let named = refusal
                .metadata
                .get("limit_name")
                .map(String::as_str)
                .unwrap_or_default();
            let reason = match named.ends_with("_rolling_limit") {
                true => ErrorReason::RateLimit,
                false => ErrorReason::RiskLimit,
            };
            refusal
                .is(reason, &[])
                .map_err(|came| refusal.fail(came, expected.as_str()))?;
            if !names.contains(&named) {
                return Err(refusal.fail(format!("limit_name is {named:?}"), expected));
            }
            Ok(None)
        }
    }
}

async fn insert(
    random: &mut fastrand::Rng,
    kinds: Kinds,
    symbol: &str,
    users: &[Session],
    venue: &mut Venue,
    orders: &mut Vec<(usize, u64)>,
) -> Verdict<Option<u64>> {
    let owner = random.usize(..users.len());
    let side = if random.bool() { Side::Buy } else { Side::Sell };
    let core = kinds == Kinds::Core;
    let market = !core && random.u8(..8) == 0;
    let life = match random.u8(..6) {
        0 if !core => Life::Whole,
        1 => Life::Immediate,
        _ if market => Life::Immediate,
        _ => Life::Rests,
    };
    let choice = match random.u8(..3) {
        1 if !core => SelfTradePrevention::CancelResting,
        2 if !core => SelfTradePrevention::CancelBoth,
        _ => SelfTradePrevention::CancelIncoming,
    };
    // Around zero, the sides overlapping in part.
    let price = random.i64(-6..7) + if side == Side::Buy { -2 } else { 2 };
    let terms = Terms {
        owner,
        side,
        price_e4: (!market).then_some(price),
        quantity: random.i64(1..10),
        life,
        post_only: !core && life == Life::Rests && random.u8(..4) == 0,
        choice,
    };
    if core && venue.meets_own(&terms) {
        return Ok(None);
    }
    let request = InsertOrderRequest {
        symbol: symbol.to_owned(),
        side: side.into(),
        price_e4: terms.price_e4.unwrap_or_default(),
        quantity: terms.quantity,
        r#type: if market { OrderType::Market } else { OrderType::Limit }.into(),
        time_in_force: match life {
            Life::Rests => TimeInForce::GoodTillCancelled,
            Life::Immediate => TimeInForce::ImmediateOrCancel,
            Life::Whole => TimeInForce::FillOrKill,
        }
        .into(),
        post_only: terms.post_only,
        self_trade_prevention: choice.into(),
        client_order_id: String::new(),
    };
    let answer = users[owner].try_insert(request).await;
    let reply = compare(answer, venue.insert(orders.len(), terms))?;
    Ok(reply.map(|reply| {
        orders.push((owner, reply.order_id));
        reply.event_seq
    }))
}

/// An order, mostly one that rests.
fn pick(random: &mut fastrand::Rng, venue: &Venue, orders: &[(usize, u64)]) -> Option<usize> {
    let resting: Vec<usize> = (0..USERS)
        .flat_map(|owner| venue.open_orders(owner).into_keys())
        .collect();
    if resting.is_empty() || random.u8(..10) == 0 {
        return (!orders.is_empty()).then(|| random.usize(..orders.len()));
    }
    Some(resting[random.usize(..resting.len())])
}

async fn change(
    random: &mut fastrand::Rng,
    users: &[Session],
    venue: &mut Venue,
    orders: &[(usize, u64)],
) -> Verdict<Option<u64>> {
    let Some(key) = pick(random, venue, orders) else {
        return Ok(None);
    };
    let (owner, order_id) = orders[key];
    let price = random.bool().then(|| random.i64(-8..9));
    let quantity = (price.is_none() || random.bool()).then(|| random.i64(0..12));
    let answer = users[owner].try_amend(amend(order_id, price, quantity)).await;
    match venue.amend(key, price, quantity) {
        Some(expected) => Ok(compare(answer, expected)?.map(|reply| reply.event_seq)),
        None => answer.refused(ErrorReason::OrderDone, &[]).map(|_| None),
    }
}

async fn cancel(
    random: &mut fastrand::Rng,
    users: &[Session],
    venue: &mut Venue,
    orders: &[(usize, u64)],
) -> Verdict<Option<u64>> {
    let Some(key) = pick(random, venue, orders) else {
        return Ok(None);
    };
    let (owner, order_id) = orders[key];
    let request = CancelOrderRequest {
        order: Some(cancel_order_request::Order::OrderId(order_id)),
    };
    let answer = users[owner].try_cancel(request).await;
    match venue.cancel(key) {
        Some(open) => {
            let reply = answer.accepted()?;
            reply.has("cancelled_quantity", |reply| reply.cancelled_quantity, open)?;
            Ok(Some(reply.event_seq))
        }
        None => answer.refused(ErrorReason::OrderDone, &[]).map(|_| None),
    }
}

/// Open orders and position come to what the model says.
async fn holds(user: &Session, symbol: &str, expected: &BTreeMap<u64, i64>, venue: &Venue, owner: usize) -> Verdict {
    let position = (
        venue.position(owner),
        venue.open_quantity(owner, Side::Buy),
        venue.open_quantity(owner, Side::Sell),
    );
    let mut looks = Looks::new(user);
    loop {
        let open: BTreeMap<u64, i64> = user
            .open_orders(symbol)
            .await?
            .iter()
            .map(|order| (order.order_id, order.quantity - order.filled_quantity))
            .collect();
        let positions = user.positions(ListPositionsRequest {}).await?;
        let held = positions.positions.iter().find(|position| position.symbol == symbol);
        let held = held.map_or((0, 0, 0), |position| {
            (
                position.quantity,
                position.open_buy_quantity,
                position.open_sell_quantity,
            )
        });
        if held == position && open == *expected {
            return Ok(());
        }
        if !looks.again().await {
            let told = "order ids with their open lots; position, open_buy_quantity and open_sell_quantity";
            return Err(positions.fail(
                format!("{open:?}; {held:?} ({told})"),
                format!("{expected:?}; {position:?}"),
            ));
        }
    }
}
