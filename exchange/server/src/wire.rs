//! Requests of the contract as commands: what the contract calls the form of a request is checked
//! here, before anything is looked up.

use arrayvec::ArrayString;
use optivex_engine::command::{self, AmendOrder, CreateInstrument, InvalidField, OrderRef, OrderTerms};
use optivex_engine::types::{
    ClientOrderId, ClientRequestId, InstrumentRiskLimits, OrderId, Side, Symbol, TEXT_BYTES_MAX, TradingPhase, UserId,
    UserRiskLimits, Username,
};
use optivex_engine::wire;
use optivex_proto::v1;

/// Most items of one page, and what 0 asks for.
pub const PAGE_SIZE_MAX: usize = 1_000;

/// A well-formed insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertForm {
    /// Where.
    pub symbol: Symbol,
    /// What.
    pub terms: OrderTerms,
    /// Empty for none.
    pub client_order_id: ClientOrderId,
}

impl TryFrom<&v1::InsertOrderRequest> for InsertForm {
    type Error = InvalidField;

    fn try_from(request: &v1::InsertOrderRequest) -> Result<Self, InvalidField> {
        let symbol = symbol(&request.symbol)?;
        let order_type = wire::order_type(request.r#type)?;
        let terms = OrderTerms {
            side: wire::side(request.side)?,
            price_e4: request.price_e4,
            quantity: request.quantity,
            order_type,
            time_in_force: wire::time_in_force(request.time_in_force, order_type)?,
            post_only: request.post_only,
            self_trade_prevention: wire::self_trade_prevention(request.self_trade_prevention)?,
        };
        terms.validate()?;
        Ok(Self {
            symbol,
            terms,
            client_order_id: client_order_id(&request.client_order_id)?,
        })
    }
}

/// A well-formed amend of a user's order.
pub fn amend(user: UserId, request: &v1::AmendOrderRequest) -> Result<AmendOrder, InvalidField> {
    use v1::amend_order_request::Order;
    let order = match &request.order {
        Some(Order::OrderId(id)) => order_by_id(*id)?,
        Some(Order::ClientOrderId(id)) => order_by_client_id(id)?,
        None => return Err(NO_ORDER),
    };
    let amend = AmendOrder {
        user,
        order,
        price_e4: request.price_e4,
        quantity: request.quantity,
    };
    amend.validate()?;
    Ok(amend)
}

/// The order that a well-formed cancel names.
pub fn cancel(request: &v1::CancelOrderRequest) -> Result<OrderRef, InvalidField> {
    use v1::cancel_order_request::Order;
    match &request.order {
        Some(Order::OrderId(id)) => order_by_id(*id),
        Some(Order::ClientOrderId(id)) => order_by_client_id(id),
        None => Err(NO_ORDER),
    }
}

/// What a well-formed cancel-all narrows itself to.
pub fn cancel_all(request: &v1::CancelAllOrdersRequest) -> Result<(Option<Symbol>, Option<Side>), InvalidField> {
    Ok((optional_symbol(&request.symbol)?, wire::optional_side(request.side)?))
}

const NO_ORDER: InvalidField = InvalidField {
    field: "order",
    why: "one of order_id and client_order_id",
};

fn order_by_id(id: u64) -> Result<OrderRef, InvalidField> {
    if id == 0 {
        return Err(InvalidField::new("order_id", "an order id is at least 1"));
    }
    Ok(OrderRef::Id(OrderId(id)))
}

fn order_by_client_id(id: &str) -> Result<OrderRef, InvalidField> {
    if id.is_empty() {
        return Err(InvalidField::new("client_order_id", "must not be empty"));
    }
    Ok(OrderRef::Client(client_order_id(id)?))
}

/// A client's id of an order; may be empty.
pub fn client_order_id(id: &str) -> Result<ClientOrderId, InvalidField> {
    ClientOrderId::from(id).map_err(|_| InvalidField::new("client_order_id", "at most 36 bytes"))
}

/// A symbol, which must be given.
pub fn symbol(symbol: &str) -> Result<Symbol, InvalidField> {
    command::parse_symbol("symbol", symbol)
}

/// A symbol that may be empty, for all.
pub fn optional_symbol(symbol: &str) -> Result<Option<Symbol>, InvalidField> {
    if symbol.is_empty() {
        return Ok(None);
    }
    self::symbol(symbol).map(Some)
}

/// How many items a page may have.
pub fn page_size(page_size: i32) -> Result<usize, InvalidField> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(PAGE_SIZE_MAX),
        Ok(size) => Ok(size.min(PAGE_SIZE_MAX)),
        Err(_) => Err(InvalidField::new("page_size", "at least 0")),
    }
}

/// The page token of what follows an order.
pub fn page_token(after: OrderId) -> String {
    format!("{:016x}", after.0)
}

/// Reads a page token; an empty one starts at the beginning.
pub fn after_page_token(token: &str) -> Result<OrderId, InvalidField> {
    if token.is_empty() {
        return Ok(OrderId(0));
    }
    u64::from_str_radix(token, 16)
        .map(OrderId)
        .ok()
        // Only what was given out: no sign, no capitals, no other length.
        .filter(|after| page_token(*after) == token)
        .ok_or_else(|| InvalidField::new("page_token", "not a token of a previous answer"))
}

/// A well-formed new instrument.
pub fn create_instrument(user: UserId, request: v1::CreateInstrumentRequest) -> Result<CreateInstrument, InvalidField> {
    let create = CreateInstrument {
        user,
        symbol: symbol(&request.symbol)?,
        description: request.description,
        currency: ArrayString::from(&request.currency)
            .map_err(|_| InvalidField::new("currency", "an ISO 4217 code: three letters A-Z"))?,
        multiplier: request.multiplier,
        tick_size_e4: request.tick_size_e4,
        initial_phase: wire::initial_phase(request.initial_phase)?,
        client_request_id: ClientRequestId::from(&request.client_request_id)
            .map_err(|_| InvalidField::new("client_request_id", "at most 64 bytes"))?,
    };
    create.validate()?;
    Ok(create)
}

/// A well-formed phase change.
pub fn set_trading_phase(request: &v1::SetTradingPhaseRequest) -> Result<(Symbol, TradingPhase), InvalidField> {
    Ok((symbol(&request.symbol)?, wire::trading_phase(request.phase)?))
}

/// A user's name, which must be given.
pub fn username(username: &str) -> Result<Username, InvalidField> {
    Username::from(username)
        .ok()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| InvalidField::new("username", "1 to 64 bytes"))
}

/// The comment of a suspension.
pub fn comment(comment: String) -> Result<String, InvalidField> {
    if comment.len() > TEXT_BYTES_MAX {
        return Err(InvalidField::new("comment", "at most 256 bytes"));
    }
    Ok(comment)
}

/// A user's well-formed limits, which must be given.
pub fn user_limits(limits: Option<&v1::UserRiskLimits>) -> Result<UserRiskLimits, InvalidField> {
    let limits = UserRiskLimits::from(limits.ok_or(NO_LIMITS)?);
    command::validate_user_limits(&limits)?;
    Ok(limits)
}

/// A user's well-formed limits in an instrument, which must be given.
pub fn instrument_limits(limits: Option<&v1::InstrumentRiskLimits>) -> Result<InstrumentRiskLimits, InvalidField> {
    let limits = InstrumentRiskLimits::from(limits.ok_or(NO_LIMITS)?);
    command::validate_instrument_limits(&limits)?;
    Ok(limits)
}

const NO_LIMITS: InvalidField = InvalidField {
    field: "limits",
    why: "must be given; without any limit in it, it lifts them all",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_tokens_come_back_and_garbage_does_not() {
        for id in [1, 0xfeed, u64::MAX] {
            assert_eq!(after_page_token(&page_token(OrderId(id))), Ok(OrderId(id)));
        }
        assert_eq!(after_page_token(""), Ok(OrderId(0)));
        for garbage in [
            "x",
            "1",
            "+00000000000000a",
            "000000000000000A",
            "00000000000000001",
            "ünïcödé",
        ] {
            assert_eq!(
                after_page_token(garbage).map_err(|invalid| invalid.field),
                Err("page_token"),
                "{garbage}"
            );
        }
    }

    #[test]
    fn page_sizes() {
        assert_eq!(page_size(0), Ok(1_000));
        assert_eq!(page_size(7), Ok(7));
        assert_eq!(page_size(i32::MAX), Ok(1_000));
        assert_eq!(page_size(-1).map_err(|invalid| invalid.field), Err("page_size"));
    }
}
