//! `ListOrders` and `ListPositions`.

use optivex_engine::command::OrderRef;
use optivex_engine::types::{InstrumentId, Order, OrderId, UserId};
use optivex_engine::{Engine, OrderLookup, wire as engine_wire};
use optivex_proto::v1;

use super::trading::Trading;
use crate::error::Error;
use crate::service::instrument;
use crate::wire;

/// Orders that are looked at in one turn of the sequencer: who has a million of them and asks for a
/// rare instrument holds up only itself.
const SCAN_MAX: usize = 4_096;

/// One page of a user's open orders, or the order of an id, open or not.
pub(super) async fn orders(
    trading: &Trading,
    user: UserId,
    request: &v1::ListOrdersRequest,
) -> Result<v1::ListOrdersResponse, Error> {
    let symbol = wire::optional_symbol(&request.symbol)?;
    let client_order_id = wire::client_order_id(&request.client_order_id)?;
    let page_size = wire::page_size(request.page_size)?;
    let after = wire::after_page_token(&request.page_token)?;
    let instrument = match symbol {
        Some(symbol) => Some(instrument(&trading.exchange, &symbol)?),
        None => None,
    };
    let by_id = match (request.order_id, client_order_id.is_empty()) {
        (0, true) => None,
        (0, false) => Some(OrderRef::Client(client_order_id)),
        (id, _) => Some(OrderRef::Id(OrderId(id))),
    };
    if let Some(order_ref) = by_id {
        let found = one(trading, user, order_ref).await?;
        let fits = |order: &v1::Order| {
            order.order_id > after.0
                && (request.symbol.is_empty() || order.symbol == request.symbol)
                && (client_order_id.is_empty() || order.client_order_id == request.client_order_id)
        };
        return Ok(v1::ListOrdersResponse {
            orders: found.into_iter().filter(fits).collect(),
            next_page_token: String::new(),
        });
    }
    // One more than the page tells whether there is another.
    let mut open = open_orders(trading, user, instrument, after, page_size + 1).await?;
    let has_more = open.len() > page_size;
    open.truncate(page_size);
    let next_page_token = match open.last() {
        Some(last) if has_more => wire::page_token(last.order_id),
        _ => String::new(),
    };
    Ok(v1::ListOrdersResponse {
        orders: open
            .iter()
            .map(|order| engine_wire::order(order, &trading.symbol(order.instrument)))
            .collect(),
        next_page_token,
    })
}

/// A user's first open orders after one, that are of an instrument.
async fn open_orders(
    trading: &Trading,
    user: UserId,
    instrument: Option<InstrumentId>,
    mut after: OrderId,
    wanted: usize,
) -> Result<Vec<Order>, Error> {
    let mut found: Vec<Order> = Vec::new();
    loop {
        let missing = wanted - found.len();
        let read = move |engine: &Engine, _: i64| {
            let mut fitting = Vec::new();
            let mut seen = after;
            let mut scanned = 0;
            for order in engine.open_orders(user, None, after).take(SCAN_MAX) {
                scanned += 1;
                seen = order.order_id;
                if instrument.is_none_or(|instrument| order.instrument == instrument) {
                    fitting.push(order);
                    if fitting.len() == missing {
                        break;
                    }
                }
            }
            (fitting, seen, scanned)
        };
        let (fitting, seen, scanned) = trading.exchange.query(read).await?;
        found.extend(fitting);
        if found.len() == wanted || scanned < SCAN_MAX {
            return Ok(found);
        }
        after = seen;
    }
}

/// One order, open or not.
async fn one(trading: &Trading, user: UserId, order_ref: OrderRef) -> Result<Option<v1::Order>, Error> {
    let (lookup, event_seq) = trading
        .exchange
        .query(move |engine, _| (engine.order(user, order_ref), engine.event_seq()))
        .await?;
    let order_ref = match lookup {
        OrderLookup::Open(order) => {
            return Ok(Some(engine_wire::order(&order, &trading.symbol(order.instrument))));
        }
        // Of several orders with one client id, the engine says which.
        OrderLookup::Done(order_id) => OrderRef::Id(order_id),
        OrderLookup::Unknown => order_ref,
    };
    trading.past.order(user, order_ref, event_seq).await
}

/// All positions of a user.
pub(super) async fn positions(trading: &Trading, user: UserId) -> Result<v1::ListPositionsResponse, Error> {
    let (positions, event_seq) = trading
        .exchange
        .query(move |engine, _| (engine.positions(user), engine.event_seq()))
        .await?;
    let mut positions: Vec<v1::Position> = positions
        .iter()
        .map(|position| engine_wire::position(position, &trading.symbol(position.instrument)))
        .collect();
    positions.sort_unstable_by(|a, b| a.symbol.cmp(&b.symbol));
    Ok(v1::ListPositionsResponse { positions, event_seq })
}
