//! One accepted input as bytes: a versioned protobuf message (`proto/optivex/journal/v1/record.proto`).
//!
//! Decoding trusts nothing: what comes out satisfies what the constructors of commands demand, and a
//! record with anything that this build does not know is refused, since skipping it would change the
//! state that a replay arrives at.

use arrayvec::ArrayString;
use optivex_engine::command::{
    AmendOrder, CreateInstrument, InsertOrder, InvalidField, OrderRef, OrderTerms, validate_instrument_limits,
    validate_user_limits,
};
use optivex_engine::types::{
    InstrumentId, InstrumentRiskLimits, OrderId, RollingWindowLimit, TEXT_BYTES_MAX, UserId, UserRiskLimits,
};
use optivex_engine::{Command, Input, Limits, wire};
use optivex_proto::v1;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, skip_field};

use crate::protobuf;

#[allow(clippy::doc_markdown, clippy::doc_lazy_continuation, missing_docs, unreachable_pub)] // Generated.
mod pb {
    include!(concat!(env!("OUT_DIR"), "/optivex.journal.v1.rs"));
}

/// Version of the records and of the genesis that this build writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes that do not decode to an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the protobuf message that it should be.
    #[error("not a record: {0}")]
    Malformed(String),
    /// Written by another version.
    #[error("version {found}; this build reads version {FORMAT_VERSION}")]
    UnknownVersion {
        /// The record's version.
        found: u64,
    },
    /// A command that this build does not know.
    #[error("unknown command: field {field} of Record")]
    UnknownCommand {
        /// Its field number in `Record`.
        field: u32,
    },
    /// A known command with fields that this build does not know.
    #[error("{bytes} bytes of it are fields that this build does not know")]
    UnknownFields {
        /// How many bytes they take.
        bytes: usize,
    },
    /// A field that no accepted command can have.
    #[error(transparent)]
    InvalidField(#[from] InvalidField),
}

impl From<prost::DecodeError> for RecordError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What a data directory was begun with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Bounds of the state.
    pub limits: Limits,
}

impl Genesis {
    /// The genesis as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let limits = &self.limits;
        pb::Genesis {
            version: FORMAT_VERSION,
            limits: Some(pb::Limits {
                users_max: limits.users_max,
                instruments_max: limits.instruments_max,
                open_orders_max: limits.open_orders_max,
                open_orders_per_user_max: limits.open_orders_per_user_max,
                price_levels_per_side_max: limits.price_levels_per_side_max,
                client_order_ids_per_user_max: limits.client_order_ids_per_user_max,
                rolling_window_moments_max: limits.rolling_window_moments_max,
            }),
        }
        .encode_to_vec()
    }

    /// The genesis that [`Genesis::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        check_version(bytes)?;
        let genesis = pb::Genesis::decode(bytes)?;
        check_all_known(bytes, &genesis)?;
        let limits = genesis
            .limits
            .ok_or_else(|| RecordError::Malformed("no limits".to_owned()))?;
        Ok(Self {
            limits: Limits {
                users_max: limits.users_max,
                instruments_max: limits.instruments_max,
                open_orders_max: limits.open_orders_max,
                open_orders_per_user_max: limits.open_orders_per_user_max,
                price_levels_per_side_max: limits.price_levels_per_side_max,
                client_order_ids_per_user_max: limits.client_order_ids_per_user_max,
                rolling_window_moments_max: limits.rolling_window_moments_max,
            },
        })
    }
}

/// Appends the record of an input to `out`.
pub fn encode(input: &Input, out: &mut Vec<u8>) {
    if !encode_trading(input, out) {
        encode_any(input, out);
    }
}

fn encode_any(input: &Input, out: &mut Vec<u8>) {
    let record = pb::Record {
        version: FORMAT_VERSION,
        time_unix_ns: input.time_unix_ns,
        command: Some(command_to_pb(&input.command)),
    };
    record.encode(out).expect("a Vec has room");
}

/// The same bytes for the commands that come all day, at a quarter of the price; false for others.
fn encode_trading(input: &Input, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    protobuf::number(out, 1, FORMAT_VERSION.into());
    protobuf::fixed(out, 2, input.time_unix_ns);
    match &input.command {
        Command::InsertOrder(insert) => protobuf::message(out, 3, |out| {
            let terms = &insert.terms;
            protobuf::number(out, 1, insert.user.0.into());
            protobuf::number(out, 2, insert.instrument.0.into());
            protobuf::enumeration(out, 3, v1::Side::from(terms.side));
            protobuf::number(out, 4, protobuf::zigzag(terms.price_e4));
            protobuf::signed(out, 5, terms.quantity);
            protobuf::enumeration(out, 6, v1::OrderType::from(terms.order_type));
            protobuf::enumeration(out, 7, v1::TimeInForce::from(terms.time_in_force));
            protobuf::number(out, 8, terms.post_only.into());
            protobuf::enumeration(out, 9, v1::SelfTradePrevention::from(terms.self_trade_prevention));
            protobuf::text(out, 10, &insert.client_order_id);
        }),
        Command::AmendOrder(amend) => protobuf::message(out, 4, |out| {
            protobuf::number(out, 1, amend.user.0.into());
            encode_order_ref(&amend.order, out);
            if let Some(price_e4) = amend.price_e4 {
                protobuf::present(out, 4, protobuf::zigzag(price_e4));
            }
            if let Some(quantity) = amend.quantity {
                protobuf::present(out, 5, quantity.cast_unsigned());
            }
        }),
        Command::CancelOrder { user, order } => protobuf::message(out, 5, |out| {
            protobuf::number(out, 1, user.0.into());
            encode_order_ref(order, out);
        }),
        _ => {
            out.truncate(start);
            return false;
        }
    }
    true
}

/// The `oneof order` of amends and cancels.
fn encode_order_ref(order: &OrderRef, out: &mut Vec<u8>) {
    match order {
        OrderRef::Id(id) => protobuf::present(out, 2, id.0),
        OrderRef::Client(id) => protobuf::present_text(out, 3, id),
    }
}

/// The input of a record.
pub fn decode(bytes: &[u8]) -> Result<Input, RecordError> {
    check_version(bytes)?;
    let record = pb::Record::decode(bytes)?;
    if record.command.is_none() {
        return Err(unknown_command(bytes)?);
    }
    check_all_known(bytes, &record)?;
    let command = record
        .command
        .ok_or_else(|| RecordError::Malformed("no command".to_owned()))?;
    Ok(Input {
        time_unix_ns: record.time_unix_ns,
        command: command_from_pb(command)?,
    })
}

/// The version comes first, so that it can be told of a record that this build cannot read.
fn check_version(mut bytes: &[u8]) -> Result<(), RecordError> {
    match decode_key(&mut bytes)? {
        (1, WireType::Varint) => match decode_varint(&mut bytes)? {
            version if version == u64::from(FORMAT_VERSION) => Ok(()),
            found => Err(RecordError::UnknownVersion { found }),
        },
        (field, _) => Err(RecordError::Malformed(format!(
            "begins with field {field} instead of the version"
        ))),
    }
}

/// prost drops fields that it does not know; then what it kept encodes to fewer bytes.
fn check_all_known(bytes: &[u8], message: &impl Message) -> Result<(), RecordError> {
    match bytes.len().checked_sub(message.encoded_len()) {
        Some(0) => Ok(()),
        Some(bytes) => Err(RecordError::UnknownFields { bytes }),
        None => Err(RecordError::Malformed("not in the canonical form".to_owned())),
    }
}

fn unknown_command(mut bytes: &[u8]) -> Result<RecordError, RecordError> {
    while !bytes.is_empty() {
        let (field, wire_type) = decode_key(&mut bytes)?;
        if field > 2 {
            return Ok(RecordError::UnknownCommand { field });
        }
        skip_field(wire_type, field, &mut bytes, prost::encoding::DecodeContext::default())?;
    }
    Ok(RecordError::Malformed("no command".to_owned()))
}

fn command_to_pb(command: &Command) -> pb::record::Command {
    use pb::record::Command as Pb;
    match command {
        Command::RegisterUser { username } => Pb::RegisterUser(pb::RegisterUser {
            username: username.to_string(),
        }),
        Command::CreateInstrument(create) => Pb::CreateInstrument(pb::CreateInstrument {
            user: create.user.0,
            symbol: create.symbol.to_string(),
            description: create.description.clone(),
            currency: create.currency.to_string(),
            multiplier: create.multiplier,
            tick_size_e4: create.tick_size_e4,
            initial_phase: v1::TradingPhase::from(create.initial_phase).into(),
            client_request_id: create.client_request_id.to_string(),
        }),
        Command::SetTradingPhase { instrument, phase } => Pb::SetTradingPhase(pb::SetTradingPhase {
            instrument: instrument.0,
            phase: v1::TradingPhase::from(*phase).into(),
        }),
        Command::SuspendUser { user, comment } => Pb::SuspendUser(pb::SuspendUser {
            user: user.0,
            comment: comment.clone(),
        }),
        Command::ResumeUser { user } => Pb::ResumeUser(pb::ResumeUser { user: user.0 }),
        Command::SetUserRiskLimits { user, limits } => Pb::SetUserRiskLimits(pb::SetUserRiskLimits {
            user: user.0,
            message_rate: limits.message_rate.map(window_to_pb),
            max_outstanding_quantity: limits.max_outstanding_quantity,
            max_outstanding_amount_e4: limits.max_outstanding_amount_e4,
        }),
        Command::SetInstrumentRiskLimits {
            user,
            instrument,
            limits,
        } => Pb::SetInstrumentRiskLimits(pb::SetInstrumentRiskLimits {
            user: user.0,
            instrument: instrument.0,
            order_quantity: limits.order_quantity.map(window_to_pb),
            order_amount: limits.order_amount.map(window_to_pb),
            max_outstanding_quantity: limits.max_outstanding_quantity,
            max_outstanding_amount_e4: limits.max_outstanding_amount_e4,
            max_order_quantity: limits.max_order_quantity,
            max_position: limits.max_position,
        }),
        Command::InsertOrder(insert) => Pb::InsertOrder(pb::InsertOrder {
            user: insert.user.0,
            instrument: insert.instrument.0,
            side: v1::Side::from(insert.terms.side).into(),
            price_e4: insert.terms.price_e4,
            quantity: insert.terms.quantity,
            r#type: v1::OrderType::from(insert.terms.order_type).into(),
            time_in_force: v1::TimeInForce::from(insert.terms.time_in_force).into(),
            post_only: insert.terms.post_only,
            self_trade_prevention: v1::SelfTradePrevention::from(insert.terms.self_trade_prevention).into(),
            client_order_id: insert.client_order_id.to_string(),
        }),
        Command::AmendOrder(amend) => Pb::AmendOrder(pb::AmendOrder {
            user: amend.user.0,
            order: Some(match amend.order {
                OrderRef::Id(id) => pb::amend_order::Order::OrderId(id.0),
                OrderRef::Client(id) => pb::amend_order::Order::ClientOrderId(id.to_string()),
            }),
            price_e4: amend.price_e4,
            quantity: amend.quantity,
        }),
        Command::CancelOrder { user, order } => Pb::CancelOrder(pb::CancelOrder {
            user: user.0,
            order: Some(match order {
                OrderRef::Id(id) => pb::cancel_order::Order::OrderId(id.0),
                OrderRef::Client(id) => pb::cancel_order::Order::ClientOrderId(id.to_string()),
            }),
        }),
        Command::CancelAllOrders { user, instrument, side } => Pb::CancelAllOrders(pb::CancelAllOrders {
            user: user.0,
            instrument: instrument.map(|instrument| instrument.0),
            side: side.map(|side| v1::Side::from(side).into()),
        }),
        Command::CancelOnDisconnect { user, after } => Pb::CancelOnDisconnect(pb::CancelOnDisconnect {
            user: user.0,
            after_order_id: after.0,
        }),
    }
}

fn command_from_pb(command: pb::record::Command) -> Result<Command, RecordError> {
    use pb::record::Command as Pb;
    Ok(match command {
        Pb::RegisterUser(register) => Command::RegisterUser {
            username: not_empty("username", text("username", &register.username)?)?,
        },
        Pb::CreateInstrument(create) => {
            let create = CreateInstrument {
                user: UserId(create.user),
                symbol: text("symbol", &create.symbol)?,
                description: create.description,
                currency: text("currency", &create.currency)?,
                multiplier: create.multiplier,
                tick_size_e4: create.tick_size_e4,
                initial_phase: wire::initial_phase(set("initial_phase", create.initial_phase)?)?,
                client_request_id: text("client_request_id", &create.client_request_id)?,
            };
            create.validate()?;
            Command::CreateInstrument(create)
        }
        Pb::SetTradingPhase(set_phase) => Command::SetTradingPhase {
            instrument: InstrumentId(set_phase.instrument),
            phase: wire::trading_phase(set_phase.phase)?,
        },
        Pb::SuspendUser(suspend) => {
            if suspend.comment.len() > TEXT_BYTES_MAX {
                return Err(InvalidField::new("comment", "at most 256 bytes").into());
            }
            Command::SuspendUser {
                user: UserId(suspend.user),
                comment: suspend.comment,
            }
        }
        Pb::ResumeUser(resume) => Command::ResumeUser {
            user: UserId(resume.user),
        },
        Pb::SetUserRiskLimits(set_limits) => {
            let limits = UserRiskLimits {
                message_rate: set_limits.message_rate.map(window_from_pb),
                max_outstanding_quantity: set_limits.max_outstanding_quantity,
                max_outstanding_amount_e4: set_limits.max_outstanding_amount_e4,
            };
            validate_user_limits(&limits)?;
            Command::SetUserRiskLimits {
                user: UserId(set_limits.user),
                limits,
            }
        }
        Pb::SetInstrumentRiskLimits(set_limits) => {
            let limits = InstrumentRiskLimits {
                order_quantity: set_limits.order_quantity.map(window_from_pb),
                order_amount: set_limits.order_amount.map(window_from_pb),
                max_outstanding_quantity: set_limits.max_outstanding_quantity,
                max_outstanding_amount_e4: set_limits.max_outstanding_amount_e4,
                max_order_quantity: set_limits.max_order_quantity,
                max_position: set_limits.max_position,
            };
            validate_instrument_limits(&limits)?;
            Command::SetInstrumentRiskLimits {
                user: UserId(set_limits.user),
                instrument: InstrumentId(set_limits.instrument),
                limits,
            }
        }
        Pb::InsertOrder(insert) => {
            let order_type = wire::order_type(set("type", insert.r#type)?)?;
            let terms = OrderTerms {
                side: wire::side(insert.side)?,
                price_e4: insert.price_e4,
                quantity: insert.quantity,
                order_type,
                time_in_force: wire::time_in_force(set("time_in_force", insert.time_in_force)?, order_type)?,
                post_only: insert.post_only,
                self_trade_prevention: wire::self_trade_prevention(set(
                    "self_trade_prevention",
                    insert.self_trade_prevention,
                )?)?,
            };
            terms.validate()?;
            Command::InsertOrder(InsertOrder {
                user: UserId(insert.user),
                instrument: InstrumentId(insert.instrument),
                terms,
                client_order_id: text("client_order_id", &insert.client_order_id)?,
            })
        }
        Pb::AmendOrder(amend) => {
            let amend = AmendOrder {
                user: UserId(amend.user),
                order: match amend.order {
                    Some(pb::amend_order::Order::OrderId(id)) => OrderRef::Id(OrderId(id)),
                    Some(pb::amend_order::Order::ClientOrderId(id)) => client_ref(&id)?,
                    None => return Err(InvalidField::new("order", "must be set").into()),
                },
                price_e4: amend.price_e4,
                quantity: amend.quantity,
            };
            amend.validate()?;
            Command::AmendOrder(amend)
        }
        Pb::CancelOrder(cancel) => Command::CancelOrder {
            user: UserId(cancel.user),
            order: match cancel.order {
                Some(pb::cancel_order::Order::OrderId(id)) => OrderRef::Id(OrderId(id)),
                Some(pb::cancel_order::Order::ClientOrderId(id)) => client_ref(&id)?,
                None => return Err(InvalidField::new("order", "must be set").into()),
            },
        },
        Pb::CancelAllOrders(cancel) => Command::CancelAllOrders {
            user: UserId(cancel.user),
            instrument: cancel.instrument.map(InstrumentId),
            side: cancel.side.map(wire::side).transpose()?,
        },
        Pb::CancelOnDisconnect(cancel) => Command::CancelOnDisconnect {
            user: UserId(cancel.user),
            after: OrderId(cancel.after_order_id),
        },
    })
}

fn window_to_pb(window: RollingWindowLimit) -> pb::RollingWindowLimit {
    pb::RollingWindowLimit {
        limit: window.limit,
        window_in_seconds: window.window_in_seconds,
    }
}

fn window_from_pb(window: pb::RollingWindowLimit) -> RollingWindowLimit {
    RollingWindowLimit {
        limit: window.limit,
        window_in_seconds: window.window_in_seconds,
    }
}

/// The contract fills in defaults for enums that are not set; the journal has none.
fn set(field: &'static str, number: i32) -> Result<i32, InvalidField> {
    match number {
        0 => Err(InvalidField::new(field, "must be set")),
        number => Ok(number),
    }
}

fn text<const N: usize>(field: &'static str, text: &str) -> Result<ArrayString<N>, InvalidField> {
    ArrayString::from(text).map_err(|_| InvalidField::new(field, "too long"))
}

fn not_empty<const N: usize>(field: &'static str, text: ArrayString<N>) -> Result<ArrayString<N>, InvalidField> {
    if text.is_empty() {
        return Err(InvalidField::new(field, "must not be empty"));
    }
    Ok(text)
}

fn client_ref(id: &str) -> Result<OrderRef, InvalidField> {
    let id = not_empty("client_order_id", text("client_order_id", id)?)?;
    Ok(OrderRef::Client(id))
}

#[cfg(test)]
mod tests;
