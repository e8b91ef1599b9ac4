//! How the contract refuses: a status code, a reason in the details and in a trailer, metadata.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use optivex_proto::v1::ErrorReason;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A status that is not OK, or no answer at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Status code; `Unavailable` where nothing came.
    pub code: Code,
    /// For people.
    pub message: String,
    /// `ErrorInfo.domain`.
    pub domain: Option<String>,
    /// `ErrorInfo.reason`.
    pub reason: Option<String>,
    /// The trailer `optivex-reason`.
    pub trailer: Option<String>,
    /// `ErrorInfo.metadata`.
    pub metadata: BTreeMap<String, String>,
    /// `RetryInfo.retry_delay`.
    pub retry_after: Option<Duration>,
    /// No status came: the connection broke, or nothing came in time.
    pub broken: Option<String>,
}

impl Refusal {
    pub(crate) fn of(status: &Status) -> Self {
        let info = status.get_details_error_info();
        let trailer = status.metadata().get("optivex-reason");
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            trailer: trailer.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
            broken: broken(status),
            domain: info.as_ref().map(|info| info.domain.clone()),
            reason: info.as_ref().map(|info| info.reason.clone()),
            metadata: info.map(|info| info.metadata.into_iter().collect()).unwrap_or_default(),
        }
    }

    pub(crate) fn silent(patience: Duration) -> Self {
        Self {
            code: Code::Unavailable,
            message: String::new(),
            domain: None,
            reason: None,
            trailer: None,
            metadata: BTreeMap::new(),
            retry_after: None,
            broken: Some(format!("nothing came within {} s", patience.as_secs())),
        }
    }

    /// The refusal is for this reason and told as the contract says; else what is wrong with it.
    pub fn is(&self, reason: ErrorReason, metadata: &[(&str, &str)]) -> Result<(), String> {
        let name = name_of(reason);
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if self.code != code_of(reason) {
            return Err(format!("the status is {:?}{}", self.code, self.of_reason()));
        }
        match &self.reason {
            None => return Err("the status has no google.rpc.ErrorInfo in its details".to_owned()),
            Some(told) if told != name => return Err(format!("the reason in google.rpc.ErrorInfo is {told:?}")),
            Some(_) => {}
        }
        if self.domain.as_deref() != Some("optivex") {
            return Err(format!(
                "the domain in google.rpc.ErrorInfo is {:?}",
                self.domain.as_deref().unwrap_or_default()
            ));
        }
        match &self.trailer {
            None => return Err("there is no trailer optivex-reason".to_owned()),
            Some(told) if told != name => return Err(format!("the trailer optivex-reason is {told:?}")),
            Some(_) => {}
        }
        for (key, value) in metadata {
            match self.metadata.get(*key) {
                None => return Err(format!("the metadata of google.rpc.ErrorInfo has no {key:?}")),
                Some(told) if told != value => return Err(format!("the metadata {key:?} is {told:?}")),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Whether it names this reason, however well it tells it.
    pub fn names(&self, reason: ErrorReason) -> bool {
        [&self.reason, &self.trailer]
            .iter()
            .any(|told| told.as_deref() == Some(name_of(reason)))
    }

    fn of_reason(&self) -> String {
        let reason = self.reason.as_ref().or(self.trailer.as_ref());
        reason.map(|reason| format!(", reason {reason}")).unwrap_or_default()
    }

    /// For the record.
    pub(crate) fn json(&self) -> Value {
        if let Some(broken) = &self.broken {
            return format!("({broken})").into();
        }
        let mut status = json!({ "status": format!("{:?}", self.code) });
        let optional = [
            ("message", (!self.message.is_empty()).then(|| json!(self.message))),
            ("reason", self.reason.as_ref().map(|value| json!(value))),
            ("domain", self.domain.as_ref().map(|value| json!(value))),
            ("metadata", (!self.metadata.is_empty()).then(|| json!(self.metadata))),
            (
                "retryDelay",
                self.retry_after.map(|delay| json!(format!("{}s", delay.as_secs_f64()))),
            ),
            (
                "trailer optivex-reason",
                self.trailer.as_ref().map(|value| json!(value)),
            ),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                status[key] = value;
            }
        }
        status
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.broken {
            Some(broken) => f.write_str(broken),
            None => write!(f, "the status is {:?}{}: {}", self.code, self.of_reason(), self.message),
        }
    }
}

/// A status that our own client made, because no answer came.
fn broken(status: &Status) -> Option<String> {
    let source = std::error::Error::source(status)?;
    Some(format!("the connection broke: {}", super::chain(source)))
}

/// `ErrorInfo.reason`.
pub(crate) fn name_of(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// The status code that the contract gives each reason.
pub(crate) fn code_of(reason: ErrorReason) -> Code {
    use ErrorReason as Reason;
    match reason {
        Reason::Unspecified => Code::Unknown,
        Reason::InvalidField | Reason::InvalidTick | Reason::NotionalTooLarge => Code::InvalidArgument,
        Reason::InvalidToken | Reason::InvalidCredentials => Code::Unauthenticated,
        Reason::MissingRole => Code::PermissionDenied,
        Reason::UnknownInstrument | Reason::UnknownOrder | Reason::UnknownUser => Code::NotFound,
        Reason::DuplicateSymbol | Reason::ClientIdReused => Code::AlreadyExists,
        Reason::PhaseForbids
        | Reason::OrderDone
        | Reason::WouldCross
        | Reason::CannotFill
        | Reason::UserSuspended
        | Reason::RiskLimit => Code::FailedPrecondition,
        Reason::RateLimit | Reason::TooSlow | Reason::Throttled | Reason::Capacity => Code::ResourceExhausted,
        Reason::CannotResume => Code::OutOfRange,
        Reason::NotReady => Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str, domain: &str, trailer: Option<&str>, metadata: &[(&str, &str)]) -> Status {
        let metadata: Vec<(String, String)> = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut details = ErrorDetails::new();
        details.set_error_info(
            reason,
            domain,
            metadata.into_iter().collect::<std::collections::HashMap<_, _>>(),
        );
        let mut trailers = MetadataMap::new();
        if let Some(trailer) = trailer {
            trailers.insert("optivex-reason", trailer.parse().expect("ASCII"));
        }
        Status::with_error_details_and_metadata(code, "told", details, trailers)
    }

    #[test]
    fn every_way_to_tell_a_reason_wrongly() {
        let right = [("role", "ROLE_ADMIN")];
        let name = "MISSING_ROLE";
        let cases = [
            (status(Code::PermissionDenied, name, "optivex", Some(name), &right), ""),
            (
                status(
                    Code::PermissionDenied,
                    name,
                    "optivex",
                    Some(name),
                    &[("role", "ROLE_ADMIN"), ("more", "x")],
                ),
                "",
            ),
            (
                status(Code::Unauthenticated, name, "optivex", Some(name), &right),
                "the status is Unauthenticated",
            ),
            (
                status(Code::PermissionDenied, "NO_ROLE", "optivex", Some(name), &right),
                "\"NO_ROLE\"",
            ),
            (
                status(Code::PermissionDenied, name, "ours", Some(name), &right),
                "the domain",
            ),
            (
                status(Code::PermissionDenied, name, "optivex", None, &right),
                "no trailer",
            ),
            (
                status(Code::PermissionDenied, name, "optivex", Some("OTHER"), &right),
                "the trailer optivex-reason is",
            ),
            (
                status(Code::PermissionDenied, name, "optivex", Some(name), &[]),
                "has no \"role\"",
            ),
            (
                status(
                    Code::PermissionDenied,
                    name,
                    "optivex",
                    Some(name),
                    &[("role", "ADMIN")],
                ),
                "\"role\" is \"ADMIN\"",
            ),
            (Status::new(Code::PermissionDenied, "told"), "no google.rpc.ErrorInfo"),
        ];
        for (status, wanted) in cases {
            let told = Refusal::of(&status).is(ErrorReason::MissingRole, &right);
            match told {
                Ok(()) => assert!(wanted.is_empty(), "{status:?} is not {wanted:?}"),
                Err(told) => assert!(
                    !wanted.is_empty() && told.contains(wanted),
                    "{told:?} is not {wanted:?}"
                ),
            }
        }
    }

    #[test]
    fn nothing_that_came_is_no_refusal() {
        let refusal = Refusal::silent(Duration::from_secs(3));
        assert_eq!(
            refusal.is(ErrorReason::NotReady, &[]),
            Err("nothing came within 3 s".to_owned())
        );
    }
}
