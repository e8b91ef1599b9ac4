//! Refusals as the contract tells them: a status code, `google.rpc.ErrorInfo`, and the trailer
//! `optivex-reason`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use optivex_engine::Refusal;
use optivex_engine::refusal::LimitBreach;
use optivex_engine::types::InstrumentId;
use optivex_proto::v1::{self, CommandError, ErrorReason};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain`.
pub const DOMAIN: &str = "optivex";
/// The trailer that repeats the reason for clients that do not decode details.
pub const REASON_TRAILER: &str = "optivex-reason";

/// One refusal, on its way to a status or to a `CommandError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Reason.
    pub reason: ErrorReason,
    /// For people.
    pub message: String,
    /// `ErrorInfo.metadata`.
    pub metadata: HashMap<String, String>,
    /// `RetryInfo`.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// A refusal without metadata.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            retry_after: None,
        }
    }

    /// Adds one entry of metadata.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds `RetryInfo`.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// `INVALID_FIELD`.
    pub fn invalid_field(field: &str, why: &str) -> Self {
        Self::new(ErrorReason::InvalidField, format!("{field}: {why}")).with("field", field)
    }

    /// `UNKNOWN_INSTRUMENT`.
    pub fn unknown_instrument(symbol: &str) -> Self {
        Self::new(ErrorReason::UnknownInstrument, format!("no instrument {symbol}")).with("symbol", symbol)
    }

    /// `NOT_READY`.
    pub fn not_ready(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::NotReady, message)
    }

    /// The reason's status code (contract: the comment of each `ErrorReason`).
    pub fn code(&self) -> Code {
        code(self.reason)
    }

    /// The reason's name as `ErrorInfo` and the trailer carry it, without its prefix.
    pub fn reason_name(&self) -> &'static str {
        reason_name(self.reason)
    }

    /// What the engine refused; `symbol` names instruments. An order that is not open is told as
    /// unknown: whether it is done, only history can say.
    pub fn refused(refusal: Refusal, symbol: impl Fn(InstrumentId) -> Option<Arc<str>>) -> Self {
        let error = Self::new(reason(&refusal), refusal.to_string());
        let breached = |error: Self, breach: &LimitBreach| {
            let error = match breach.instrument.and_then(symbol) {
                Some(symbol) => error.with("symbol", symbol),
                None => error,
            };
            error
                .with("limit_name", breach.limit_name)
                .with("limit", breach.limit)
                .with("current", breach.current)
                .with("attempted", breach.attempted)
        };
        match refusal {
            Refusal::InvalidField(invalid) => invalid.into(),
            Refusal::InvalidTick { tick_size_e4 } => error.with("tick_size_e4", tick_size_e4),
            Refusal::PhaseForbids { phase } => error.with("phase", v1::TradingPhase::from(phase).as_str_name()),
            Refusal::UserSuspended { comment } => error.with("comment", comment),
            Refusal::RiskLimit(breach) => breached(error, &breach),
            Refusal::RateLimit { breach, retry_after_ns } => {
                // Less than nothing would be a defect of the engine; at once is the safe reading.
                let delay = Duration::from_nanos(u64::try_from(retry_after_ns).unwrap_or(0));
                breached(error, &breach).retry_after(delay)
            }
            Refusal::Capacity { limit_name, limit } => error.with("limit_name", limit_name).with("limit", limit),
            Refusal::NotionalTooLarge
            | Refusal::UnknownInstrument
            | Refusal::UnknownUser
            | Refusal::OrderNotOpen
            | Refusal::DuplicateSymbol
            | Refusal::ClientIdReused
            | Refusal::WouldCross
            | Refusal::CannotFill => error,
        }
    }
}

/// A reason's name without its prefix.
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// The contract's reason of a refusal.
pub fn reason(refusal: &Refusal) -> ErrorReason {
    match refusal {
        Refusal::InvalidField(_) => ErrorReason::InvalidField,
        Refusal::InvalidTick { .. } => ErrorReason::InvalidTick,
        Refusal::NotionalTooLarge => ErrorReason::NotionalTooLarge,
        Refusal::UnknownInstrument => ErrorReason::UnknownInstrument,
        Refusal::UnknownUser => ErrorReason::UnknownUser,
        Refusal::OrderNotOpen => ErrorReason::UnknownOrder,
        Refusal::DuplicateSymbol => ErrorReason::DuplicateSymbol,
        Refusal::ClientIdReused => ErrorReason::ClientIdReused,
        Refusal::PhaseForbids { .. } => ErrorReason::PhaseForbids,
        Refusal::WouldCross => ErrorReason::WouldCross,
        Refusal::CannotFill => ErrorReason::CannotFill,
        Refusal::UserSuspended { .. } => ErrorReason::UserSuspended,
        Refusal::RiskLimit(_) => ErrorReason::RiskLimit,
        Refusal::RateLimit { .. } => ErrorReason::RateLimit,
        Refusal::Capacity { .. } => ErrorReason::Capacity,
    }
}

fn code(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::Unspecified => Code::Unknown,
        ErrorReason::InvalidField | ErrorReason::InvalidTick | ErrorReason::NotionalTooLarge => Code::InvalidArgument,
        ErrorReason::InvalidToken | ErrorReason::InvalidCredentials => Code::Unauthenticated,
        ErrorReason::MissingRole => Code::PermissionDenied,
        ErrorReason::UnknownInstrument | ErrorReason::UnknownOrder | ErrorReason::UnknownUser => Code::NotFound,
        ErrorReason::DuplicateSymbol | ErrorReason::ClientIdReused => Code::AlreadyExists,
        ErrorReason::PhaseForbids
        | ErrorReason::OrderDone
        | ErrorReason::WouldCross
        | ErrorReason::CannotFill
        | ErrorReason::UserSuspended
        | ErrorReason::RiskLimit => Code::FailedPrecondition,
        ErrorReason::RateLimit | ErrorReason::TooSlow | ErrorReason::Throttled | ErrorReason::Capacity => {
            Code::ResourceExhausted
        }
        ErrorReason::CannotResume => Code::OutOfRange,
        ErrorReason::NotReady => Code::Unavailable,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let name = error.reason_name();
        let mut details = ErrorDetails::with_error_info(name, DOMAIN, error.metadata.clone());
        if let Some(delay) = error.retry_after {
            details.set_retry_info(Some(delay));
        }
        let mut status = Status::with_error_details(error.code(), error.message, details);
        status
            .metadata_mut()
            .insert(REASON_TRAILER, MetadataValue::from_static(name));
        status
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        CommandError {
            code: error.code() as i32,
            reason: error.reason as i32,
            message: error.message,
            metadata: error.metadata,
            retry_after_ns: error
                .retry_after
                .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)),
        }
    }
}

impl From<optivex_engine::command::InvalidField> for Error {
    fn from(invalid: optivex_engine::command::InvalidField) -> Self {
        Self::invalid_field(invalid.field, invalid.why)
    }
}
