//! Orders that are taken, booked, looked up and told wrongly.

use optivex_engine::command::{InsertOrder, OrderRef};
use optivex_engine::event::Outcome;
use optivex_engine::types::{InstrumentId, OrderId, OrderType, PRICE_E4_MAX, Side, UserId};
use optivex_engine::{Command, Engine, Event, OrderLookup};

use super::order_types;

/// A command as a wrong exchange takes it.
pub(super) fn command(command: Command, engine: &Engine) -> Command {
    match command {
        Command::InsertOrder(order) => Command::InsertOrder(order_types::insert(insert(order, engine), engine)),
        Command::AmendOrder(order) => Command::AmendOrder(order_types::amend(order, engine)),
        Command::CancelOrder {
            order: OrderRef::Id(id),
            ..
        } if fault!(CancelOfOthers) && owner(engine, id).is_some() => Command::CancelOrder {
            user: owner(engine, id).unwrap_or(UserId(0)),
            order: OrderRef::Id(id),
        },
        Command::CancelAllOrders { user, instrument, .. } if fault!(CancelAllIgnoresSide) => Command::CancelAllOrders {
            user,
            instrument,
            side: None,
        },
        Command::CancelAllOrders {
            user,
            instrument: Some(instrument),
            side,
        } if fault!(CancelAllOfEverybody)
            && engine.open_orders(user, Some(instrument), OrderId(0)).next().is_none() =>
        {
            Command::CancelAllOrders {
                user: anybody(engine, instrument).unwrap_or(user),
                instrument: Some(instrument),
                side,
            }
        }
        command => command,
    }
}

fn insert(mut order: InsertOrder, engine: &Engine) -> InsertOrder {
    let known = engine.order(order.user, OrderRef::Client(order.client_order_id));
    let is_done = matches!(known, OrderLookup::Done(_));
    if fault!(RetryInsertsAgain) && matches!(known, OrderLookup::Open(_)) || fault!(RetryOfDoneInsertsAgain) && is_done
    {
        order.client_order_id.clear();
    }
    if let OrderLookup::Open(open) = known
        && fault!(ClientIdWithoutQuantity)
        && !order.client_order_id.is_empty()
    {
        order.terms.quantity = open.quantity;
    }
    if let OrderLookup::Open(open) = known
        && fault!(ClientIdWithoutTerms)
        && !order.client_order_id.is_empty()
    {
        order.terms.time_in_force = open.time_in_force;
        order.terms.post_only = open.post_only;
        order.terms.self_trade_prevention = open.self_trade_prevention;
    }
    if fault!(BooksShareTheirPrices) {
        order.instrument = elsewhere(&order, engine).unwrap_or(order.instrument);
    }
    let tick_size_e4 = engine.instrument(order.instrument).map_or(1, |at| at.tick_size_e4);
    let terms = &mut order.terms;
    if fault!(PricesRounded) {
        terms.price_e4 -= terms.price_e4 % tick_size_e4;
    }
    if fault!(PricesInFloat) && terms.order_type == OrderType::Limit {
        let price = terms.price_e4 as f32 / 1e4;
        terms.price_e4 = ((f64::from(price) * 1e4).round() as i64).clamp(-PRICE_E4_MAX, PRICE_E4_MAX);
    }
    order
}

/// A book whose first and only order, of somebody else, has the same size and price as the first of this book.
fn elsewhere(order: &InsertOrder, engine: &Engine) -> Option<InstrumentId> {
    let terms = &order.terms;
    let mut books = engine.instruments().map(|instrument| instrument.id);
    if engine.book_seq(order.instrument) > 0 {
        return None;
    }
    books.find(|book| {
        if engine.book_seq(*book) != 1 {
            return false;
        }
        let best = engine.resting_orders(*book, terms.side.opposite()).next();
        best.is_some_and(|best| {
            best.user != order.user && (best.price_e4, best.quantity) == (terms.price_e4, terms.quantity)
        })
    })
}

/// Whose open order this is.
pub(super) fn owner(engine: &Engine, id: OrderId) -> Option<UserId> {
    let users = (0..engine.usernames().len() as u32).map(UserId);
    users
        .into_iter()
        .find(|user| matches!(engine.order(*user, OrderRef::Id(id)), OrderLookup::Open(_)))
}

/// Somebody with an order in this book.
fn anybody(engine: &Engine, instrument: InstrumentId) -> Option<UserId> {
    let orders = [Side::Buy, Side::Sell].into_iter();
    let mut orders = orders.flat_map(|side| engine.resting_orders(instrument, side));
    orders.next().map(|order| order.user)
}

/// An event as a wrong exchange tells it.
pub(super) fn event(event: &mut Event) {
    order_types::event(event);
    for level in &mut event.levels {
        if fault!(OrdersOfLevelNotCounted) {
            level.order_count = level.order_count.min(1);
        }
        if fault!(LostDecrement) && level.quantity > 0 {
            let here = event.trades.iter().filter(|trade| trade.price_e4 == level.price_e4);
            level.quantity += here.map(|trade| trade.quantity).sum::<i64>();
        }
        if fault!(LevelsIn32Bits) {
            level.quantity = i64::from(level.quantity as u32);
        }
    }
    if let Outcome::Cancelled(_, quantity) = &mut event.outcome {
        if fault!(CancelTellsWhole) {
            *quantity = event.reports.first().map_or(0, |report| report.order.quantity);
        }
        if fault!(CancelNotShown) {
            for book in &mut event.books {
                (book.bids, book.asks) = (0..0, 0..0);
            }
        }
    }
}
