//! Commands in one readable line each.

use optivex_engine::command::{Command, Input, OrderRef};
use optivex_engine::event::{Event, Outcome, ReportKind};
use optivex_engine::types::{InstrumentRiskLimits, OrderId, RollingWindowLimit, UserRiskLimits};
use optivex_engine::{Applied, Refusal};

pub(crate) fn input(input: &Input) -> String {
    format!("t={} {}", input.time_unix_ns, command(&input.command))
}

fn command(command: &Command) -> String {
    match command {
        Command::RegisterUser { username } => format!("register {username}"),
        Command::CreateInstrument(c) => format!(
            "u{} create {} tick {} multiplier {} {:?} request {:?}",
            c.user.0, c.symbol, c.tick_size_e4, c.multiplier, c.initial_phase, c.client_request_id
        ),
        Command::SetTradingPhase { instrument, phase } => format!("i{} phase {phase:?}", instrument.0),
        Command::SuspendUser { user, comment } => format!("suspend u{} {comment:?}", user.0),
        Command::ResumeUser { user } => format!("resume u{}", user.0),
        Command::SetUserRiskLimits { user, limits } => format!("limits u{} {}", user.0, user_limits(limits)),
        Command::SetInstrumentRiskLimits {
            user,
            instrument,
            limits,
        } => format!("limits u{} i{} {}", user.0, instrument.0, instrument_limits(limits)),
        Command::InsertOrder(i) => format!(
            "u{} insert i{} {:?} {} @ {} {:?} {:?}{} stp {:?}{}",
            i.user.0,
            i.instrument.0,
            i.terms.side,
            i.terms.quantity,
            i.terms.price_e4,
            i.terms.order_type,
            i.terms.time_in_force,
            if i.terms.post_only { " post-only" } else { "" },
            i.terms.self_trade_prevention,
            if i.client_order_id.is_empty() {
                String::new()
            } else {
                format!(" id {:?}", i.client_order_id)
            }
        ),
        Command::AmendOrder(a) => format!(
            "u{} amend {} price {:?} quantity {:?}",
            a.user.0,
            order_ref(a.order),
            a.price_e4,
            a.quantity
        ),
        Command::CancelOrder { user, order } => format!("u{} cancel {}", user.0, order_ref(*order)),
        Command::CancelAllOrders { user, instrument, side } => format!(
            "u{} cancel all {} {}",
            user.0,
            instrument.map_or("everywhere".to_owned(), |i| format!("i{}", i.0)),
            side.map_or("both sides".to_owned(), |side| format!("{side:?}")),
        ),
        Command::CancelOnDisconnect { user, after } => {
            format!("u{} disconnected, guarded after {}", user.0, order_id(*after))
        }
    }
}

/// An order id as the number of the order and its slot.
pub(crate) fn order_id(order: OrderId) -> String {
    format!("#{}/{}", order.0 >> 24, order.0 & 0xFF_FFFF)
}

fn order_ref(order: OrderRef) -> String {
    match order {
        OrderRef::Id(id) => order_id(id),
        OrderRef::Client(id) => format!("{id:?}"),
    }
}

fn window(name: &str, limit: Option<RollingWindowLimit>) -> Option<String> {
    limit.map(|limit| format!("{name} {} in {} s", limit.limit, limit.window_in_seconds))
}

fn fixed(name: &str, limit: Option<i64>) -> Option<String> {
    limit.map(|limit| format!("{name} {limit}"))
}

fn list(limits: impl IntoIterator<Item = Option<String>>) -> String {
    let set: Vec<String> = limits.into_iter().flatten().collect();
    if set.is_empty() {
        "none".to_owned()
    } else {
        set.join(", ")
    }
}

fn user_limits(limits: &UserRiskLimits) -> String {
    list([
        window("messages", limits.message_rate),
        fixed("outstanding quantity", limits.max_outstanding_quantity),
        fixed("outstanding amount", limits.max_outstanding_amount_e4),
    ])
}

fn instrument_limits(limits: &InstrumentRiskLimits) -> String {
    list([
        window("quantity", limits.order_quantity),
        window("amount", limits.order_amount),
        fixed("outstanding quantity", limits.max_outstanding_quantity),
        fixed("outstanding amount", limits.max_outstanding_amount_e4),
        fixed("order quantity", limits.max_order_quantity),
        fixed("position", limits.max_position),
    ])
}

pub(crate) fn result(result: &Result<Applied, Refusal>, event: &Event) -> String {
    match result {
        Err(refusal) => format!("refused: {refusal}"),
        Ok(Applied::OrderRepeated { order_id: id, .. }) => format!("repeats {}", order_id(*id)),
        Ok(Applied::InstrumentRepeated { instrument, .. }) => format!("repeats {}", instrument.symbol),
        Ok(Applied::Event) => {
            let mut text = format!("event {}", event.event_seq);
            match &event.outcome {
                Outcome::Inserted(o) | Outcome::Amended(o) => {
                    text += &format!(
                        " {} {:?} filled {} open {}",
                        order_id(o.order_id),
                        o.status,
                        o.filled_quantity,
                        o.open_quantity
                    );
                }
                Outcome::Cancelled(id, lots) => text += &format!(" {} cancelled {lots}", order_id(*id)),
                Outcome::AllCancelled(count) | Outcome::UserSuspended(_, count) => {
                    text += &format!(" cancelled {count} orders");
                }
                _ => {}
            }
            for trade in &event.trades {
                text += &format!("; trade {} @ {}", trade.quantity, trade.price_e4);
            }
            for report in &event.reports {
                if report.kind == ReportKind::Cancelled {
                    let id = order_id(report.order.order_id);
                    text += &format!("; {id} {:?}", report.order.status);
                }
            }
            text
        }
    }
}
