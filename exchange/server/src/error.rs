//! Refusals as the contract tells them: a status code, `google.rpc.ErrorInfo`, and the trailer
//! `optivex-reason`.

use std::collections::HashMap;
use std::time::Duration;

use optivex_proto::v1::{CommandError, ErrorReason};
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
        let name = self.reason.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
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
