//! The columns of exports. Names, units and enum values are the contract's; a column that does not apply
//! is empty in CSV and null in JSON. Numbers are exact integers: readers of JSON that know only doubles
//! lose digits of times and ids.

use optivex_engine::command::OrderRef;
use optivex_engine::event::{Outcome, Trade};
use optivex_engine::types::{InstrumentId, Order, OrderStatus, UserId};
use optivex_engine::{Command, Event, Input, wire};
use optivex_proto::v1;
use serde::Serialize;

/// One trade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TradeRow<'a> {
    /// Trade id.
    pub trade_id: u64,
    /// Event.
    pub event_seq: u64,
    /// When.
    pub time_unix_ns: i64,
    /// Instrument.
    pub symbol: &'a str,
    /// Price, in 1e-4.
    pub price_e4: i64,
    /// Lots.
    pub quantity: i64,
    /// `SIDE_BUY`, `SIDE_SELL`, or `SIDE_UNSPECIFIED` in an uncross.
    pub aggressor_side: &'static str,
    /// The buy order's id.
    pub buy_order_id: u64,
    /// Its owner.
    pub buyer: &'a str,
    /// The sell order's id.
    pub sell_order_id: u64,
    /// Its owner.
    pub seller: &'a str,
}

/// One order as it ended, or as it is open at the end of the export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderRow<'a> {
    /// Order id.
    pub order_id: u64,
    /// Client order id; empty for none.
    pub client_order_id: &'a str,
    /// Owner.
    pub username: &'a str,
    /// Instrument.
    pub symbol: &'a str,
    /// Side.
    pub side: &'static str,
    /// Order type.
    pub r#type: &'static str,
    /// Time in force.
    pub time_in_force: &'static str,
    /// Post-only.
    pub post_only: bool,
    /// Self-trade prevention.
    pub self_trade_prevention: &'static str,
    /// Limit price, in 1e-4.
    pub price_e4: i64,
    /// Total lots.
    pub quantity: i64,
    /// Lots traded.
    pub filled_quantity: i64,
    /// Status.
    pub status: &'static str,
    /// Why it ended untraded.
    pub cancel_reason: &'static str,
    /// When it was inserted.
    pub created_unix_ns: i64,
    /// Last event that changed it.
    pub event_seq: u64,
}

/// One event: what was asked for, and how much it caused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventRow<'a> {
    /// Event.
    pub event_seq: u64,
    /// When.
    pub time_unix_ns: i64,
    /// Name of the command, as in the journal's record: `insert_order`, …
    pub command: &'static str,
    /// Whose command it was, or whom it is about.
    pub username: Option<&'a str>,
    /// Instrument.
    pub symbol: Option<&'a str>,
    /// The order.
    pub order_id: Option<u64>,
    /// The order's client id.
    pub client_order_id: Option<&'a str>,
    /// Side.
    pub side: Option<&'static str>,
    /// Order type.
    pub r#type: Option<&'static str>,
    /// Time in force.
    pub time_in_force: Option<&'static str>,
    /// Post-only.
    pub post_only: Option<bool>,
    /// Self-trade prevention.
    pub self_trade_prevention: Option<&'static str>,
    /// Price that was asked for, in 1e-4.
    pub price_e4: Option<i64>,
    /// Quantity that was asked for, in lots.
    pub quantity: Option<i64>,
    /// Phase that was asked for.
    pub phase: Option<&'static str>,
    /// Status of the order after an insert, amend or cancel.
    pub status: Option<&'static str>,
    /// Lots of the order that traded over its life.
    pub filled_quantity: Option<i64>,
    /// How many trades it caused.
    pub trades: usize,
    /// How many execution reports it caused.
    pub reports: usize,
    /// Comment of a suspension, description of an instrument, limits.
    pub detail: Option<String>,
}

/// Something that has columns, and them in the order in which it serializes.
pub(super) trait Row: Serialize {
    const COLUMNS: &'static [&'static str];
}

impl Row for TradeRow<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "trade_id",
        "event_seq",
        "time_unix_ns",
        "symbol",
        "price_e4",
        "quantity",
        "aggressor_side",
        "buy_order_id",
        "buyer",
        "sell_order_id",
        "seller",
    ];
}

impl Row for OrderRow<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "order_id",
        "client_order_id",
        "username",
        "symbol",
        "side",
        "type",
        "time_in_force",
        "post_only",
        "self_trade_prevention",
        "price_e4",
        "quantity",
        "filled_quantity",
        "status",
        "cancel_reason",
        "created_unix_ns",
        "event_seq",
    ];
}

impl Row for EventRow<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "event_seq",
        "time_unix_ns",
        "command",
        "username",
        "symbol",
        "order_id",
        "client_order_id",
        "side",
        "type",
        "time_in_force",
        "post_only",
        "self_trade_prevention",
        "price_e4",
        "quantity",
        "phase",
        "status",
        "filled_quantity",
        "trades",
        "reports",
        "detail",
    ];
}

/// Names of users and instruments, by their ids.
pub(super) struct Names {
    pub(super) usernames: Vec<String>,
    pub(super) symbols: Vec<String>,
}

impl Names {
    pub(super) fn user(&self, user: UserId) -> &str {
        self.usernames.get(user.0 as usize).map_or("", String::as_str)
    }

    pub(super) fn symbol(&self, instrument: InstrumentId) -> &str {
        self.symbols.get(instrument.0 as usize).map_or("", String::as_str)
    }

    /// Takes in what an event makes known.
    pub(super) fn learn(&mut self, input: &Input, event: &Event) {
        match (&event.outcome, &input.command) {
            (Outcome::InstrumentCreated(instrument), _) => self.symbols.push(instrument.symbol.to_string()),
            (Outcome::UserRegistered(user), Command::RegisterUser { username })
                if user.0 as usize == self.usernames.len() =>
            {
                self.usernames.push(username.to_string());
            }
            _ => {}
        }
    }
}

impl<'a> TradeRow<'a> {
    pub(super) fn new(event: &Event, trade: &Trade, names: &'a Names) -> Self {
        Self {
            trade_id: trade.trade_id.0,
            event_seq: event.event_seq,
            time_unix_ns: event.time_unix_ns,
            symbol: names.symbol(trade.instrument),
            price_e4: trade.price_e4,
            quantity: trade.quantity,
            aggressor_side: trade
                .aggressor_side
                .map_or(v1::Side::Unspecified, v1::Side::from)
                .as_str_name(),
            buy_order_id: trade.buy_order.0,
            buyer: names.user(trade.buyer),
            sell_order_id: trade.sell_order.0,
            seller: names.user(trade.seller),
        }
    }
}

impl<'a> OrderRow<'a> {
    pub(super) fn new(order: &'a Order, names: &'a Names) -> Self {
        Self {
            order_id: order.order_id.0,
            client_order_id: &order.client_order_id,
            username: names.user(order.user),
            symbol: names.symbol(order.instrument),
            side: v1::Side::from(order.side).as_str_name(),
            r#type: v1::OrderType::from(order.order_type).as_str_name(),
            time_in_force: v1::TimeInForce::from(order.time_in_force).as_str_name(),
            post_only: order.post_only,
            self_trade_prevention: v1::SelfTradePrevention::from(order.self_trade_prevention).as_str_name(),
            price_e4: order.price_e4,
            quantity: order.quantity,
            filled_quantity: order.filled_quantity,
            status: status(order.status),
            cancel_reason: wire::cancel_reason(order.status).as_str_name(),
            created_unix_ns: order.created_unix_ns,
            event_seq: order.event_seq,
        }
    }
}

fn status(status: OrderStatus) -> &'static str {
    v1::OrderStatus::from(status).as_str_name()
}

impl<'a> EventRow<'a> {
    pub(super) fn new(input: &'a Input, event: &'a Event, names: &'a Names) -> Self {
        let mut row = EventRow {
            event_seq: event.event_seq,
            time_unix_ns: event.time_unix_ns,
            trades: event.trades.len(),
            reports: event.reports.len(),
            ..EventRow::default()
        };
        row.fill_in_command(&input.command, names);
        match &event.outcome {
            Outcome::Inserted(outcome) | Outcome::Amended(outcome) => {
                row.order_id = Some(outcome.order_id.0);
                row.status = Some(status(outcome.status));
                row.filled_quantity = Some(outcome.filled_quantity);
            }
            Outcome::Cancelled(order_id, _) => {
                row.order_id = Some(order_id.0);
                row.status = Some(v1::OrderStatus::Cancelled.as_str_name());
                row.filled_quantity = event.reports.last().map(|report| report.order.filled_quantity);
            }
            Outcome::None
            | Outcome::UserRegistered(_)
            | Outcome::InstrumentCreated(_)
            | Outcome::PhaseSet(..)
            | Outcome::UserSuspended(..)
            | Outcome::UserResumed(_)
            | Outcome::UserRiskLimitsSet(_)
            | Outcome::InstrumentRiskLimitsSet(..)
            | Outcome::AllCancelled(_) => {}
        }
        // The order's own fields, where the command only named it.
        if row.order_id.is_some()
            && let Some(report) = event.reports.last()
        {
            row.symbol = Some(names.symbol(report.order.instrument));
        }
        row
    }

    fn fill_in_command(&mut self, command: &'a Command, names: &'a Names) {
        let phase_name = |phase| Some(v1::TradingPhase::from(phase).as_str_name());
        let side_name = |side| v1::Side::from(side).as_str_name();
        match command {
            Command::RegisterUser { username } => {
                self.command = "register_user";
                self.username = Some(username);
            }
            Command::CreateInstrument(create) => {
                self.command = "create_instrument";
                self.username = Some(names.user(create.user));
                self.symbol = Some(&create.symbol);
                self.phase = phase_name(create.initial_phase);
                self.detail = Some(format!(
                    "currency {}, multiplier {}, tick_size_e4 {}: {}",
                    create.currency, create.multiplier, create.tick_size_e4, create.description
                ));
            }
            Command::SetTradingPhase { instrument, phase } => {
                self.command = "set_trading_phase";
                self.symbol = Some(names.symbol(*instrument));
                self.phase = phase_name(*phase);
            }
            Command::SuspendUser { user, comment } => {
                self.command = "suspend_user";
                self.username = Some(names.user(*user));
                self.detail = Some(comment.clone());
            }
            Command::ResumeUser { user } => {
                self.command = "resume_user";
                self.username = Some(names.user(*user));
            }
            Command::SetUserRiskLimits { user, limits } => {
                self.command = "set_user_risk_limits";
                self.username = Some(names.user(*user));
                self.detail = Some(format!("{limits:?}"));
            }
            Command::SetInstrumentRiskLimits {
                user,
                instrument,
                limits,
            } => {
                self.command = "set_instrument_risk_limits";
                self.username = Some(names.user(*user));
                self.symbol = Some(names.symbol(*instrument));
                self.detail = Some(format!("{limits:?}"));
            }
            Command::InsertOrder(insert) => {
                let terms = &insert.terms;
                self.command = "insert_order";
                self.username = Some(names.user(insert.user));
                self.symbol = Some(names.symbol(insert.instrument));
                self.client_order_id = Some(insert.client_order_id.as_str()).filter(|id| !id.is_empty());
                self.side = Some(side_name(terms.side));
                self.r#type = Some(v1::OrderType::from(terms.order_type).as_str_name());
                self.time_in_force = Some(v1::TimeInForce::from(terms.time_in_force).as_str_name());
                self.post_only = Some(terms.post_only);
                self.self_trade_prevention =
                    Some(v1::SelfTradePrevention::from(terms.self_trade_prevention).as_str_name());
                self.price_e4 = Some(terms.price_e4);
                self.quantity = Some(terms.quantity);
            }
            Command::AmendOrder(amend) => {
                self.command = "amend_order";
                self.username = Some(names.user(amend.user));
                self.fill_in_order(&amend.order);
                self.price_e4 = amend.price_e4;
                self.quantity = amend.quantity;
            }
            Command::CancelOrder { user, order } => {
                self.command = "cancel_order";
                self.username = Some(names.user(*user));
                self.fill_in_order(order);
            }
            Command::CancelAllOrders { user, instrument, side } => {
                self.command = "cancel_all_orders";
                self.username = Some(names.user(*user));
                self.symbol = instrument.map(|instrument| names.symbol(instrument));
                self.side = side.map(side_name);
            }
            Command::CancelOnDisconnect { user, after } => {
                self.command = "cancel_on_disconnect";
                self.username = Some(names.user(*user));
                self.detail = Some(format!("orders after {}", after.0));
            }
        }
    }

    fn fill_in_order(&mut self, order: &'a OrderRef) {
        match order {
            OrderRef::Id(id) => self.order_id = Some(id.0),
            OrderRef::Client(id) => self.client_order_id = Some(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns_of<R: Row>(row: &R) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(row).expect("serializes");
        let text = String::from_utf8(writer.into_inner().expect("flushes")).expect("text");
        assert_eq!(text.lines().next(), Some(R::COLUMNS.join(",").as_str()));
    }

    #[test]
    fn the_names_are_those_of_the_fields() {
        columns_of(&EventRow::default());
        columns_of(&TradeRow {
            trade_id: 1,
            event_seq: 1,
            time_unix_ns: 1,
            symbol: "",
            price_e4: 1,
            quantity: 1,
            aggressor_side: "",
            buy_order_id: 1,
            buyer: "",
            sell_order_id: 1,
            seller: "",
        });
        columns_of(&OrderRow {
            order_id: 1,
            client_order_id: "",
            username: "",
            symbol: "",
            side: "",
            r#type: "",
            time_in_force: "",
            post_only: false,
            self_trade_prevention: "",
            price_e4: 1,
            quantity: 1,
            filled_quantity: 0,
            status: "",
            cancel_reason: "",
            created_unix_ns: 1,
            event_seq: 1,
        });
    }
}
