//! The engine's types as messages of the contract, and the contract's enums as engine types, defaults
//! filled in. Where the contract names an instrument by its symbol, the caller gives it.

use optivex_proto::v1;

use crate::command::InvalidField;
use crate::engine::{Position, RiskUsage};
use crate::event::{Event, Report, ReportKind, Trade};
use crate::types::{
    CancelReason, Indicative, Instrument, InstrumentRiskLimits, Level, Order, OrderStatus, OrderType,
    RollingWindowLimit, SelfTradePrevention, Side, TimeInForce, TradingPhase, UserRiskLimits,
};

impl From<Side> for v1::Side {
    fn from(side: Side) -> Self {
        match side {
            Side::Buy => Self::Buy,
            Side::Sell => Self::Sell,
        }
    }
}

impl From<OrderType> for v1::OrderType {
    fn from(order_type: OrderType) -> Self {
        match order_type {
            OrderType::Limit => Self::Limit,
            OrderType::Market => Self::Market,
        }
    }
}

impl From<TimeInForce> for v1::TimeInForce {
    fn from(time_in_force: TimeInForce) -> Self {
        match time_in_force {
            TimeInForce::GoodTillCancelled => Self::GoodTillCancelled,
            TimeInForce::ImmediateOrCancel => Self::ImmediateOrCancel,
            TimeInForce::FillOrKill => Self::FillOrKill,
        }
    }
}

impl From<SelfTradePrevention> for v1::SelfTradePrevention {
    fn from(prevention: SelfTradePrevention) -> Self {
        match prevention {
            SelfTradePrevention::CancelIncoming => Self::CancelIncoming,
            SelfTradePrevention::CancelResting => Self::CancelResting,
            SelfTradePrevention::CancelBoth => Self::CancelBoth,
        }
    }
}

impl From<TradingPhase> for v1::TradingPhase {
    fn from(phase: TradingPhase) -> Self {
        match phase {
            TradingPhase::Auction => Self::Auction,
            TradingPhase::Continuous => Self::Continuous,
            TradingPhase::Halted => Self::Halted,
            TradingPhase::Closed => Self::Closed,
        }
    }
}

impl From<OrderStatus> for v1::OrderStatus {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Open => Self::Open,
            OrderStatus::Filled => Self::Filled,
            OrderStatus::Cancelled(_) => Self::Cancelled,
        }
    }
}

impl From<CancelReason> for v1::CancelReason {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::User => Self::User,
            CancelReason::TimeInForce => Self::TimeInForce,
            CancelReason::SelfTrade => Self::SelfTrade,
            CancelReason::Disconnect => Self::Disconnect,
            CancelReason::Suspended => Self::Suspended,
            CancelReason::Closed => Self::Closed,
        }
    }
}

/// Why an order ended untraded; unspecified if it did not.
pub fn cancel_reason(status: OrderStatus) -> v1::CancelReason {
    match status {
        OrderStatus::Cancelled(reason) => reason.into(),
        OrderStatus::Open | OrderStatus::Filled => v1::CancelReason::Unspecified,
    }
}

impl From<&ReportKind> for v1::ExecutionKind {
    fn from(kind: &ReportKind) -> Self {
        match kind {
            ReportKind::Accepted => Self::Accepted,
            ReportKind::Fill { .. } => Self::Fill,
            ReportKind::Amended => Self::Amended,
            ReportKind::Cancelled => Self::Cancelled,
        }
    }
}

impl From<&Level> for v1::PriceLevel {
    fn from(level: &Level) -> Self {
        Self {
            price_e4: level.price_e4,
            quantity: level.quantity,
            // A level holds at most 2^24 orders (`ORDER_SLOTS_MAX`).
            order_count: i32::try_from(level.order_count).unwrap_or(i32::MAX),
        }
    }
}

impl From<&Indicative> for v1::IndicativeUncross {
    fn from(indicative: &Indicative) -> Self {
        Self {
            price_e4: indicative.price_e4,
            quantity: indicative.quantity,
        }
    }
}

impl From<&Instrument> for v1::Instrument {
    fn from(instrument: &Instrument) -> Self {
        Self {
            symbol: instrument.symbol.to_string(),
            description: instrument.description.clone(),
            currency: instrument.currency.to_string(),
            multiplier: instrument.multiplier,
            tick_size_e4: instrument.tick_size_e4,
            order_book_id: instrument.id.order_book_id(),
            phase: v1::TradingPhase::from(instrument.phase).into(),
            created_unix_ns: instrument.created_unix_ns,
        }
    }
}

/// An order; `symbol` is its instrument's.
pub fn order(order: &Order, symbol: &str) -> v1::Order {
    v1::Order {
        order_id: order.order_id.0,
        client_order_id: order.client_order_id.to_string(),
        symbol: symbol.to_owned(),
        side: v1::Side::from(order.side).into(),
        price_e4: order.price_e4,
        quantity: order.quantity,
        filled_quantity: order.filled_quantity,
        status: v1::OrderStatus::from(order.status).into(),
        created_unix_ns: order.created_unix_ns,
        r#type: v1::OrderType::from(order.order_type).into(),
        time_in_force: v1::TimeInForce::from(order.time_in_force).into(),
        post_only: order.post_only,
        self_trade_prevention: v1::SelfTradePrevention::from(order.self_trade_prevention).into(),
        cancel_reason: cancel_reason(order.status).into(),
        event_seq: order.event_seq,
    }
}

/// A report of `event`; `symbol` is its order's instrument's.
pub fn execution_report(event: &Event, report: &Report, symbol: &str) -> v1::ExecutionReport {
    let (fill, is_aggressor) = match report.kind {
        ReportKind::Fill {
            trade_id,
            price_e4,
            quantity,
            aggressor,
        } => {
            let fill = v1::Fill {
                trade_id: trade_id.0,
                price_e4,
                quantity,
            };
            (Some(fill), aggressor)
        }
        ReportKind::Accepted | ReportKind::Amended | ReportKind::Cancelled => (None, false),
    };
    let reason = match report.kind {
        ReportKind::Cancelled => cancel_reason(report.order.status),
        ReportKind::Accepted | ReportKind::Amended | ReportKind::Fill { .. } => v1::CancelReason::Unspecified,
    };
    v1::ExecutionReport {
        report_seq: report.report_seq,
        kind: v1::ExecutionKind::from(&report.kind).into(),
        order: Some(order(&report.order, symbol)),
        fill,
        aggressor: is_aggressor,
        cancel_reason: reason.into(),
        event_seq: event.event_seq,
        time_unix_ns: event.time_unix_ns,
    }
}

/// A trade of `event`; `symbol` is its instrument's.
pub fn trade(event: &Event, trade: &Trade, symbol: &str) -> v1::Trade {
    v1::Trade {
        trade_id: trade.trade_id.0,
        symbol: symbol.to_owned(),
        price_e4: trade.price_e4,
        quantity: trade.quantity,
        aggressor_side: trade
            .aggressor_side
            .map_or(v1::Side::Unspecified, v1::Side::from)
            .into(),
        event_seq: event.event_seq,
        time_unix_ns: event.time_unix_ns,
    }
}

impl From<&Trade> for v1::Fill {
    fn from(trade: &Trade) -> Self {
        Self {
            trade_id: trade.trade_id.0,
            price_e4: trade.price_e4,
            quantity: trade.quantity,
        }
    }
}

/// A position; `symbol` is its instrument's.
pub fn position(position: &Position, symbol: &str) -> v1::Position {
    v1::Position {
        symbol: symbol.to_owned(),
        quantity: position.quantity,
        cash_e4: position.cash_e4,
        market_value_e4: position.market_value_e4,
        open_buy_quantity: position.open_buy_quantity,
        open_sell_quantity: position.open_sell_quantity,
    }
}

/// How much of a limit is used; `symbol` is its instrument's, empty for a limit over all.
pub fn risk_usage(usage: &RiskUsage, symbol: &str) -> v1::RiskUsage {
    v1::RiskUsage {
        limit_name: usage.limit_name.to_owned(),
        symbol: symbol.to_owned(),
        current: usage.current,
        limit: usage.limit,
    }
}

impl From<RollingWindowLimit> for v1::RollingWindowLimit {
    fn from(window: RollingWindowLimit) -> Self {
        Self {
            limit: window.limit,
            window_in_seconds: window.window_in_seconds,
        }
    }
}

/// The form is not checked here: [`crate::command::validate_user_limits`] does.
impl From<v1::RollingWindowLimit> for RollingWindowLimit {
    fn from(window: v1::RollingWindowLimit) -> Self {
        Self {
            limit: window.limit,
            window_in_seconds: window.window_in_seconds,
        }
    }
}

impl From<&UserRiskLimits> for v1::UserRiskLimits {
    fn from(limits: &UserRiskLimits) -> Self {
        Self {
            message_rate_rolling_limit: limits.message_rate.map(Into::into),
            max_outstanding_quantity: limits.max_outstanding_quantity,
            max_outstanding_amount_e4: limits.max_outstanding_amount_e4,
        }
    }
}

/// The form is not checked here: [`crate::command::validate_user_limits`] does.
impl From<&v1::UserRiskLimits> for UserRiskLimits {
    fn from(limits: &v1::UserRiskLimits) -> Self {
        Self {
            message_rate: limits.message_rate_rolling_limit.map(Into::into),
            max_outstanding_quantity: limits.max_outstanding_quantity,
            max_outstanding_amount_e4: limits.max_outstanding_amount_e4,
        }
    }
}

impl From<&InstrumentRiskLimits> for v1::InstrumentRiskLimits {
    fn from(limits: &InstrumentRiskLimits) -> Self {
        Self {
            order_quantity_rolling_limit: limits.order_quantity.map(Into::into),
            order_amount_rolling_limit: limits.order_amount.map(Into::into),
            max_outstanding_quantity: limits.max_outstanding_quantity,
            max_outstanding_amount_e4: limits.max_outstanding_amount_e4,
            max_order_quantity: limits.max_order_quantity,
            max_position: limits.max_position,
        }
    }
}

/// The form is not checked here: [`crate::command::validate_instrument_limits`] does.
impl From<&v1::InstrumentRiskLimits> for InstrumentRiskLimits {
    fn from(limits: &v1::InstrumentRiskLimits) -> Self {
        Self {
            order_quantity: limits.order_quantity_rolling_limit.map(Into::into),
            order_amount: limits.order_amount_rolling_limit.map(Into::into),
            max_outstanding_quantity: limits.max_outstanding_quantity,
            max_outstanding_amount_e4: limits.max_outstanding_amount_e4,
            max_order_quantity: limits.max_order_quantity,
            max_position: limits.max_position,
        }
    }
}

fn known<E: TryFrom<i32>>(field: &'static str, number: i32) -> Result<E, InvalidField> {
    E::try_from(number).map_err(|_| InvalidField::new(field, "no such value"))
}

/// The side of an order: field `side`, which must be set.
pub fn side(number: i32) -> Result<Side, InvalidField> {
    optional_side(number)?.ok_or_else(|| InvalidField::new("side", "must be set"))
}

/// The side of a cancel-all: field `side`; `None` if not set, for both.
pub fn optional_side(number: i32) -> Result<Option<Side>, InvalidField> {
    Ok(match known("side", number)? {
        v1::Side::Unspecified => None,
        v1::Side::Buy => Some(Side::Buy),
        v1::Side::Sell => Some(Side::Sell),
    })
}

/// Field `type` of an insert; LIMIT if not set.
pub fn order_type(number: i32) -> Result<OrderType, InvalidField> {
    Ok(match known("type", number)? {
        v1::OrderType::Unspecified | v1::OrderType::Limit => OrderType::Limit,
        v1::OrderType::Market => OrderType::Market,
    })
}

/// Field `time_in_force` of an insert; if not set GOOD_TILL_CANCELLED for a limit order,
/// IMMEDIATE_OR_CANCEL for a market order.
pub fn time_in_force(number: i32, order_type: OrderType) -> Result<TimeInForce, InvalidField> {
    Ok(match known("time_in_force", number)? {
        v1::TimeInForce::Unspecified => match order_type {
            OrderType::Limit => TimeInForce::GoodTillCancelled,
            OrderType::Market => TimeInForce::ImmediateOrCancel,
        },
        v1::TimeInForce::GoodTillCancelled => TimeInForce::GoodTillCancelled,
        v1::TimeInForce::ImmediateOrCancel => TimeInForce::ImmediateOrCancel,
        v1::TimeInForce::FillOrKill => TimeInForce::FillOrKill,
    })
}

/// Field `self_trade_prevention` of an insert; CANCEL_INCOMING if not set.
pub fn self_trade_prevention(number: i32) -> Result<SelfTradePrevention, InvalidField> {
    Ok(match known("self_trade_prevention", number)? {
        v1::SelfTradePrevention::Unspecified | v1::SelfTradePrevention::CancelIncoming => {
            SelfTradePrevention::CancelIncoming
        }
        v1::SelfTradePrevention::CancelResting => SelfTradePrevention::CancelResting,
        v1::SelfTradePrevention::CancelBoth => SelfTradePrevention::CancelBoth,
    })
}

/// Field `phase` of a phase change, which must be set.
pub fn trading_phase(number: i32) -> Result<TradingPhase, InvalidField> {
    optional_phase("phase", number)?.ok_or_else(|| InvalidField::new("phase", "must be set"))
}

/// Field `initial_phase` of a creation; CONTINUOUS if not set.
pub fn initial_phase(number: i32) -> Result<TradingPhase, InvalidField> {
    Ok(optional_phase("initial_phase", number)?.unwrap_or(TradingPhase::Continuous))
}

fn optional_phase(field: &'static str, number: i32) -> Result<Option<TradingPhase>, InvalidField> {
    Ok(match known(field, number)? {
        v1::TradingPhase::Unspecified => None,
        v1::TradingPhase::Auction => Some(TradingPhase::Auction),
        v1::TradingPhase::Continuous => Some(TradingPhase::Continuous),
        v1::TradingPhase::Halted => Some(TradingPhase::Halted),
        v1::TradingPhase::Closed => Some(TradingPhase::Closed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClientOrderId, InstrumentId, OrderId, TradeId, UserId};

    #[test]
    fn enums_and_their_defaults() {
        assert_eq!(side(1), Ok(Side::Buy));
        assert_eq!(side(2), Ok(Side::Sell));
        assert_eq!(side(0).map_err(|e| e.field), Err("side"));
        assert_eq!(side(3).map_err(|e| e.field), Err("side"));
        assert_eq!(optional_side(0), Ok(None));
        assert_eq!(order_type(0), Ok(OrderType::Limit));
        assert_eq!(order_type(-1).map_err(|e| e.field), Err("type"));
        assert_eq!(time_in_force(0, OrderType::Limit), Ok(TimeInForce::GoodTillCancelled));
        assert_eq!(time_in_force(0, OrderType::Market), Ok(TimeInForce::ImmediateOrCancel));
        assert_eq!(time_in_force(3, OrderType::Market), Ok(TimeInForce::FillOrKill));
        assert_eq!(
            time_in_force(4, OrderType::Limit).map_err(|e| e.field),
            Err("time_in_force")
        );
        assert_eq!(self_trade_prevention(0), Ok(SelfTradePrevention::CancelIncoming));
        assert_eq!(initial_phase(0), Ok(TradingPhase::Continuous));
        assert_eq!(initial_phase(9).map_err(|e| e.field), Err("initial_phase"));
        assert_eq!(trading_phase(0).map_err(|e| e.field), Err("phase"));
    }

    #[test]
    fn every_value_comes_back() {
        for value in [OrderType::Limit, OrderType::Market] {
            assert_eq!(order_type(v1::OrderType::from(value).into()), Ok(value));
        }
        for value in [
            TimeInForce::GoodTillCancelled,
            TimeInForce::ImmediateOrCancel,
            TimeInForce::FillOrKill,
        ] {
            assert_eq!(
                time_in_force(v1::TimeInForce::from(value).into(), OrderType::Limit),
                Ok(value)
            );
        }
        for value in [
            SelfTradePrevention::CancelIncoming,
            SelfTradePrevention::CancelResting,
            SelfTradePrevention::CancelBoth,
        ] {
            assert_eq!(
                self_trade_prevention(v1::SelfTradePrevention::from(value).into()),
                Ok(value)
            );
        }
        for value in [
            TradingPhase::Auction,
            TradingPhase::Continuous,
            TradingPhase::Halted,
            TradingPhase::Closed,
        ] {
            assert_eq!(trading_phase(v1::TradingPhase::from(value).into()), Ok(value));
        }
    }

    #[test]
    fn reports_say_what_happened_to_the_order() {
        let filled = Order {
            order_id: OrderId(7),
            user: UserId(1),
            client_order_id: ClientOrderId::from("c").expect("short"),
            instrument: InstrumentId(0),
            side: Side::Sell,
            price_e4: -5,
            quantity: 10,
            filled_quantity: 4,
            status: OrderStatus::Open,
            created_unix_ns: 11,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancelled,
            post_only: true,
            self_trade_prevention: SelfTradePrevention::CancelBoth,
            event_seq: 3,
        };
        let event = Event {
            event_seq: 3,
            time_unix_ns: 12,
            ..Event::default()
        };
        let kind = ReportKind::Fill {
            trade_id: TradeId(9),
            price_e4: -4,
            quantity: 4,
            aggressor: true,
        };
        let report = Report {
            report_seq: 2,
            kind,
            order: filled,
        };
        let mut expected = v1::ExecutionReport {
            report_seq: 2,
            kind: v1::ExecutionKind::Fill.into(),
            order: Some(v1::Order {
                order_id: 7,
                client_order_id: "c".to_owned(),
                symbol: "ACME".to_owned(),
                side: v1::Side::Sell.into(),
                price_e4: -5,
                quantity: 10,
                filled_quantity: 4,
                status: v1::OrderStatus::Open.into(),
                created_unix_ns: 11,
                r#type: v1::OrderType::Limit.into(),
                time_in_force: v1::TimeInForce::GoodTillCancelled.into(),
                post_only: true,
                self_trade_prevention: v1::SelfTradePrevention::CancelBoth.into(),
                cancel_reason: 0,
                event_seq: 3,
            }),
            fill: Some(v1::Fill {
                trade_id: 9,
                price_e4: -4,
                quantity: 4,
            }),
            aggressor: true,
            cancel_reason: 0,
            event_seq: 3,
            time_unix_ns: 12,
        };
        assert_eq!(execution_report(&event, &report, "ACME"), expected);

        let status = OrderStatus::Cancelled(CancelReason::SelfTrade);
        let report = Report {
            report_seq: 3,
            kind: ReportKind::Cancelled,
            order: Order { status, ..filled },
        };
        expected.report_seq = 3;
        expected.kind = v1::ExecutionKind::Cancelled.into();
        expected.fill = None;
        expected.aggressor = false;
        expected.cancel_reason = v1::CancelReason::SelfTrade.into();
        let order = expected.order.as_mut().expect("set above");
        order.status = v1::OrderStatus::Cancelled.into();
        order.cancel_reason = v1::CancelReason::SelfTrade.into();
        assert_eq!(execution_report(&event, &report, "ACME"), expected);
    }
}
