//! Reports and trades as length-delimited messages of the contract, written from the engine's types
//! without making the messages: every accepted command passes here, and half of what history cost was
//! copies of symbols and two walks over each message. The tests compare with prost, byte by byte.

use optivex_engine::Event;
use optivex_engine::event::{Report, ReportKind, Trade};
use optivex_engine::types::{Order, OrderStatus};
use optivex_engine::wire::cancel_reason;
use optivex_proto::v1;

use crate::protobuf::{delimited, enumeration, message, number, signed, text};

/// A length-delimited `optivex.v1.ExecutionReport`.
pub(super) fn report(out: &mut Vec<u8>, event: &Event, report: &Report, symbol: &str) {
    delimited(out, |out| {
        number(out, 1, report.report_seq);
        enumeration(out, 2, v1::ExecutionKind::from(&report.kind));
        message(out, 3, |out| order(out, &report.order, symbol));
        if let ReportKind::Fill {
            trade_id,
            price_e4,
            quantity,
            aggressor,
        } = report.kind
        {
            message(out, 4, |out| {
                number(out, 1, trade_id.0);
                signed(out, 2, price_e4);
                signed(out, 3, quantity);
            });
            number(out, 5, aggressor.into());
        }
        if report.kind == ReportKind::Cancelled {
            enumeration(out, 6, cancel_reason(report.order.status));
        }
        number(out, 7, event.event_seq);
        signed(out, 8, event.time_unix_ns);
    });
}

/// A length-delimited `optivex.v1.Trade`.
pub(super) fn trade(out: &mut Vec<u8>, event: &Event, trade: &Trade, symbol: &str) {
    delimited(out, |out| {
        number(out, 1, trade.trade_id.0);
        text(out, 2, symbol);
        signed(out, 3, trade.price_e4);
        signed(out, 4, trade.quantity);
        if let Some(side) = trade.aggressor_side {
            enumeration(out, 5, v1::Side::from(side));
        }
        number(out, 6, event.event_seq);
        signed(out, 7, event.time_unix_ns);
    });
}

/// A symbol after its length.
pub(super) fn symbol(out: &mut Vec<u8>, symbol: &str) {
    delimited(out, |out| out.extend_from_slice(symbol.as_bytes()));
}

fn order(out: &mut Vec<u8>, order: &Order, symbol: &str) {
    number(out, 1, order.order_id.0);
    text(out, 2, &order.client_order_id);
    text(out, 3, symbol);
    enumeration(out, 4, v1::Side::from(order.side));
    signed(out, 5, order.price_e4);
    signed(out, 6, order.quantity);
    signed(out, 7, order.filled_quantity);
    enumeration(out, 8, v1::OrderStatus::from(order.status));
    signed(out, 9, order.created_unix_ns);
    enumeration(out, 10, v1::OrderType::from(order.order_type));
    enumeration(out, 11, v1::TimeInForce::from(order.time_in_force));
    number(out, 12, order.post_only.into());
    enumeration(out, 13, v1::SelfTradePrevention::from(order.self_trade_prevention));
    if let OrderStatus::Cancelled(_) = order.status {
        enumeration(out, 14, cancel_reason(order.status));
    }
    number(out, 15, order.event_seq);
}

#[cfg(test)]
mod tests {
    use optivex_engine::types::{
        CancelReason, ClientOrderId, InstrumentId, OrderId, OrderType, SelfTradePrevention, Side, TimeInForce, TradeId,
        UserId,
    };
    use optivex_engine::wire;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// Small numbers, large ones, and none.
    fn numbers() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), 1..200_i64, any::<i64>()]
    }

    fn orders() -> impl Strategy<Value = Order> {
        let kinds = (
            prop_oneof![Just(Side::Buy), Just(Side::Sell)],
            prop_oneof![
                Just(OrderStatus::Open),
                Just(OrderStatus::Filled),
                Just(OrderStatus::Cancelled(CancelReason::User)),
                Just(OrderStatus::Cancelled(CancelReason::SelfTrade)),
            ],
            prop_oneof![Just(OrderType::Limit), Just(OrderType::Market)],
            prop_oneof![
                Just(TimeInForce::GoodTillCancelled),
                Just(TimeInForce::ImmediateOrCancel),
                Just(TimeInForce::FillOrKill)
            ],
            prop_oneof![
                Just(SelfTradePrevention::CancelIncoming),
                Just(SelfTradePrevention::CancelResting),
                Just(SelfTradePrevention::CancelBoth)
            ],
            any::<bool>(),
        );
        (
            kinds,
            [numbers(), numbers(), numbers(), numbers(), numbers(), numbers()],
            "[a-z]{0,36}",
        )
            .prop_map(
                |((side, status, order_type, time_in_force, self_trade_prevention, post_only), n, client_id)| Order {
                    order_id: OrderId(n[0].cast_unsigned()),
                    user: UserId(1),
                    client_order_id: ClientOrderId::from(&client_id).expect("it fits"),
                    instrument: InstrumentId(0),
                    side,
                    price_e4: n[1],
                    quantity: n[2],
                    filled_quantity: n[3],
                    status,
                    created_unix_ns: n[4],
                    order_type,
                    time_in_force,
                    post_only,
                    self_trade_prevention,
                    event_seq: n[5].cast_unsigned(),
                },
            )
    }

    proptest! {
        #[test]
        fn reports_as_prost_writes_them(
            order in orders(),
            n in [numbers(), numbers(), numbers(), numbers(), numbers(), numbers()],
            kind in 0..4,
            aggressor in any::<bool>(),
            symbol in "[A-Z]{1,32}",
        ) {
            let event = Event { event_seq: n[0].cast_unsigned(), time_unix_ns: n[1], ..Event::default() };
            let kind = match kind {
                0 => ReportKind::Accepted,
                1 => ReportKind::Amended,
                2 => ReportKind::Cancelled,
                _ => ReportKind::Fill {
                    trade_id: TradeId(n[2].cast_unsigned()),
                    price_e4: n[3],
                    quantity: n[4],
                    aggressor,
                },
            };
            let one = Report { report_seq: n[5].cast_unsigned(), kind, order };
            let mut ours = Vec::new();
            report(&mut ours, &event, &one, &symbol);
            prop_assert_eq!(ours, wire::execution_report(&event, &one, &symbol).encode_length_delimited_to_vec());
        }

        #[test]
        fn trades_as_prost_writes_them(
            n in [numbers(), numbers(), numbers(), numbers(), numbers()],
            aggressor_side in prop_oneof![Just(None), Just(Some(Side::Buy)), Just(Some(Side::Sell))],
            symbol in "[A-Z]{0,32}",
        ) {
            let event = Event { event_seq: n[0].cast_unsigned(), time_unix_ns: n[1], ..Event::default() };
            let one = Trade {
                trade_id: TradeId(n[2].cast_unsigned()),
                instrument: InstrumentId(0),
                price_e4: n[3],
                quantity: n[4],
                aggressor_side,
                buy_order: OrderId(1),
                buyer: UserId(0),
                sell_order: OrderId(2),
                seller: UserId(1),
            };
            let mut ours = Vec::new();
            trade(&mut ours, &event, &one, &symbol);
            prop_assert_eq!(ours, wire::trade(&event, &one, &symbol).encode_length_delimited_to_vec());
        }
    }
}
