//! Orders in few words: `InsertOrderRequest { post_only: true, ..buy(&acme, 100, 5) }`.

use optivex_proto::v1::{InsertOrderRequest, OrderType, Side, TimeInForce};

/// A limit order to buy.
pub fn buy(symbol: &str, price_e4: i64, quantity: i64) -> InsertOrderRequest {
    limit(symbol, Side::Buy, price_e4, quantity)
}

/// A limit order to sell.
pub fn sell(symbol: &str, price_e4: i64, quantity: i64) -> InsertOrderRequest {
    limit(symbol, Side::Sell, price_e4, quantity)
}

/// A limit order that rests until filled or cancelled.
pub fn limit(symbol: &str, side: Side, price_e4: i64, quantity: i64) -> InsertOrderRequest {
    InsertOrderRequest {
        symbol: symbol.to_owned(),
        side: side.into(),
        price_e4,
        quantity,
        ..InsertOrderRequest::default()
    }
}

/// A market order.
pub fn market(symbol: &str, side: Side, quantity: i64) -> InsertOrderRequest {
    InsertOrderRequest {
        r#type: OrderType::Market.into(),
        ..limit(symbol, side, 0, quantity)
    }
}

/// A limit order that trades what it can at once.
pub fn ioc(symbol: &str, side: Side, price_e4: i64, quantity: i64) -> InsertOrderRequest {
    InsertOrderRequest {
        time_in_force: TimeInForce::ImmediateOrCancel.into(),
        ..limit(symbol, side, price_e4, quantity)
    }
}

/// A limit order that trades whole or not at all.
pub fn fok(symbol: &str, side: Side, price_e4: i64, quantity: i64) -> InsertOrderRequest {
    InsertOrderRequest {
        time_in_force: TimeInForce::FillOrKill.into(),
        ..limit(symbol, side, price_e4, quantity)
    }
}
