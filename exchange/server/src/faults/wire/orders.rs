//! What passes between a trader and the exchange.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use optivex_proto::v1 as pb;
use pb::cancel_order_request::Order as Which;

use super::{Call, Lens};

/// The session that inserted an order, by its token.
static SESSIONS: LazyLock<Mutex<HashMap<u64, Option<String>>>> = LazyLock::new(Mutex::default);
/// Orders that an insert was answered with, and its event.
static ANSWERED: LazyLock<Mutex<HashMap<u64, u64>>> = LazyLock::new(Mutex::default);

/// Inserts as they were sent first, by session and client id.
static SENT: LazyLock<Mutex<HashMap<Sent, pb::InsertOrderRequest>>> = LazyLock::new(Mutex::default);
/// Orders that were given the name of their session.
static SESSION_ORDERS: AtomicU64 = AtomicU64::new(0);

type Sent = (Option<String>, String);

const PRICE_MAX: i64 = 10_000_000_000_000;
const QUANTITY_MAX: i64 = 1_000_000_000;
const CLIENT_ID_MAX: usize = 36;
/// Levels of a side that an answer has room for.
const LEVELS_MAX: usize = 1_000;

/// Whether an order is of another session than this call.
fn is_of_other_session(call: &Call, order_id: u64) -> bool {
    let sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.get(&order_id).is_some_and(|token| *token != call.token)
}

/// Faults of requests.
pub(super) fn request(call: &Call) -> Option<Lens> {
    Some(match call.rpc.as_str() {
        "InsertOrder" => {
            let call = call.clone();
            Lens::each(move |request: &mut pb::InsertOrderRequest| {
                insert(request);
                by_order_type(&call, request);
            })
        }
        "CancelOrder" if fault!(OrdersOfSession) => {
            let call = call.clone();
            Lens::each(move |request: &mut pb::CancelOrderRequest| {
                if let Some(Which::OrderId(id)) = &mut request.order
                    && is_of_other_session(&call, *id)
                {
                    *id = u64::MAX;
                }
            })
        }
        "ListOrders" if fault!(ClientIdFilterIgnored) => {
            Lens::each(|request: &mut pb::ListOrdersRequest| request.client_order_id.clear())
        }
        "CreateInstrument" if fault!(ZeroMultiplierIsOne) => Lens::each(|request: &mut pb::CreateInstrumentRequest| {
            if request.multiplier == 0 {
                request.multiplier = 1;
            }
        }),
        _ => return None,
    })
}

fn insert(request: &mut pb::InsertOrderRequest) {
    if fault!(IdsCountedInCharacters) && request.client_order_id.chars().count() <= CLIENT_ID_MAX {
        while request.client_order_id.len() > CLIENT_ID_MAX {
            request.client_order_id.pop();
        }
    }
    if fault!(LargestQuantityRefused) && request.quantity == QUANTITY_MAX {
        request.quantity += 1;
    }
    if fault!(SymbolsWithoutCase) {
        request.symbol.make_ascii_uppercase();
    }
    if fault!(PricesClamped) {
        request.price_e4 = request.price_e4.clamp(-PRICE_MAX, PRICE_MAX);
    }
    if fault!(QuantitiesIn32Bits) {
        request.quantity = i64::from(request.quantity as i32);
    }
}

fn by_order_type(call: &Call, request: &mut pb::InsertOrderRequest) {
    let is_market = request.r#type() == pb::OrderType::Market;
    let may_rest = matches!(
        request.time_in_force(),
        pb::TimeInForce::GoodTillCancelled | pb::TimeInForce::Unspecified
    );
    if fault!(MarketPriceIgnored) && is_market {
        request.price_e4 = 0;
    }
    if fault!(MarketMayRest) && is_market && may_rest {
        request.time_in_force = pb::TimeInForce::ImmediateOrCancel.into();
    }
    if fault!(PostOnlyIgnored) || fault!(PostOnlyFormIgnored) && (is_market || !may_rest) {
        request.post_only = false;
    }
    if fault!(SelfTradeDefaultIsResting) && request.self_trade_prevention == 0 {
        request.self_trade_prevention = pb::SelfTradePrevention::CancelResting.into();
    }
    if fault!(RetryComparedAsSent) && !request.client_order_id.is_empty() {
        let key = (call.token.clone(), request.client_order_id.clone());
        let mut sent = SENT.lock().unwrap_or_else(PoisonError::into_inner);
        let first = sent.entry(key).or_insert_with(|| request.clone());
        if *first != *request && spelt_out(first) == spelt_out(request) {
            // Another content to who compares it later.
            request.quantity += 1;
        }
    }
    if fault!(SelfTradesOverSessions) && request.client_order_id.is_empty() {
        let token = call.token.as_deref().unwrap_or_default();
        let session: String = token.chars().rev().take(12).collect();
        let number = SESSION_ORDERS.fetch_add(1, Ordering::Relaxed);
        request.client_order_id = format!("{session}#{number}");
    }
}

fn spelt_out(request: &pb::InsertOrderRequest) -> pb::InsertOrderRequest {
    let mut request = request.clone();
    let is_market = request.r#type() == pb::OrderType::Market;
    if request.r#type == 0 {
        request.r#type = pb::OrderType::Limit.into();
    }
    if request.time_in_force == 0 {
        request.time_in_force = match is_market {
            true => pb::TimeInForce::ImmediateOrCancel.into(),
            false => pb::TimeInForce::GoodTillCancelled.into(),
        };
    }
    if request.self_trade_prevention == 0 {
        request.self_trade_prevention = pb::SelfTradePrevention::CancelIncoming.into();
    }
    request
}

/// Faults of answers.
pub(super) fn response(call: &Call) -> Option<Lens> {
    let call = call.clone();
    Some(match call.rpc.as_str() {
        "InsertOrder" => Lens::each(move |answer: &mut pb::InsertOrderResponse| inserted(&call, answer)),
        "CancelOrder" if fault!(CancelTellsInsertsEvent) => Lens::each(|answer: &mut pb::CancelOrderResponse| {
            let answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(event_seq) = answered.get(&answer.order_id) {
                answer.event_seq = *event_seq;
            }
        }),
        "CancelAllOrders" if fault!(EmptyCancelAllIsNoEvent) => {
            Lens::each(|answer: &mut pb::CancelAllOrdersResponse| {
                if answer.cancelled_orders == 0 {
                    answer.event_seq = 0;
                }
            })
        }
        "ListOrders" => Lens::each(move |page: &mut pb::ListOrdersResponse| listed(&call, page)),
        "ListPositions" => Lens::each(|answer: &mut pb::ListPositionsResponse| {
            answer.positions.iter_mut().for_each(position);
        }),
        "GetOrderBook" if fault!(LargeBooksCut) => Lens::each(|answer: &mut pb::GetOrderBookResponse| {
            if let Some(book) = &mut answer.book {
                book.bids.truncate(LEVELS_MAX);
                book.asks.truncate(LEVELS_MAX);
            }
        }),
        _ => return None,
    })
}

fn inserted(call: &Call, answer: &mut pb::InsertOrderResponse) {
    if fault!(OrdersOfSession) {
        let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(answer.order_id, call.token.clone());
    }
    let mut answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
    if answered.insert(answer.order_id, answer.event_seq).is_some() && fault!(RetryWithoutFills) {
        answer.fills.clear();
    }
    if fault!(OpenQuantityWhole) && answer.status() == pb::OrderStatus::Open {
        answer.open_quantity += answer.filled_quantity;
    }
}

fn listed(call: &Call, page: &mut pb::ListOrdersResponse) {
    if fault!(OrdersOfSession) {
        page.orders.retain(|order| !is_of_other_session(call, order.order_id));
    }
    if fault!(PagesLoseTheirLast) && !page.next_page_token.is_empty() {
        page.orders.pop();
    }
    for order in &mut page.orders {
        if fault!(SelfTradesOverSessions) && order.client_order_id.contains('#') {
            order.client_order_id.clear();
        }
        if fault!(MarketShownAsResting) && order.r#type() == pb::OrderType::Market {
            order.time_in_force = pb::TimeInForce::GoodTillCancelled.into();
        }
    }
    if fault!(DefaultsNotFilledIn) {
        for order in &mut page.orders {
            order.r#type = order.r#type() as i32 - pb::OrderType::Limit as i32;
            if order.self_trade_prevention() == pb::SelfTradePrevention::CancelIncoming {
                order.self_trade_prevention = 0;
            }
        }
    }
}

fn position(position: &mut pb::Position) {
    if fault!(PositionsUnsigned) {
        position.quantity = i64::from(position.quantity as u32);
    }
    if fault!(FlatPositionsForgotten) && position.quantity == 0 {
        position.cash_e4 = 0;
    }
    if fault!(OpenSellsForgotten) {
        position.open_sell_quantity = 0;
    }
    if fault!(CashInFloat) {
        position.cash_e4 = position.cash_e4 as f64 as i64;
    }
}
