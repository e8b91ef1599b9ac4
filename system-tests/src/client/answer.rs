//! What came of a call, and the assertions about it.

use std::fmt::Debug;
use std::ops::Deref;
use std::time::Duration;

use optivex_proto::v1::ErrorReason;
use prost::Message;
use tonic::{Code, Status};

use super::refusal::{Refusal, code_of, name_of};
use crate::record::Log;
use crate::verdict::{Stop, Verdict};

/// A step of the record, to which failures point.
#[derive(Clone, Debug)]
pub struct At {
    log: Log,
    step: u64,
}

impl At {
    pub(crate) fn new(log: Log, step: u64) -> Self {
        Self { log, step }
    }

    pub(crate) fn is_stream(&self) {
        self.log.is_stream(self.step);
    }

    pub(crate) fn sent(&self, message: &impl Message) {
        self.log.sent(self.step, message.encode_to_vec());
    }

    pub(crate) fn came(&self, message: &impl Message) {
        self.log.came(self.step, message.encode_to_vec());
    }

    pub(crate) fn refused(&self, status: &Status) -> Refusal {
        let refusal = Refusal::of(status);
        if refusal.code == Code::Unimplemented {
            self.log.unimplemented();
        }
        self.log.came_other(self.step, refusal.json());
        refusal
    }

    pub(crate) fn silent(&self, patience: Duration) -> Refusal {
        let refusal = Refusal::silent(patience);
        self.log.came_other(self.step, refusal.json());
        refusal
    }

    /// Something came that is no message of the contract.
    pub fn came_other(&self, what: impl Into<serde_json::Value>) {
        self.log.came_other(self.step, what);
    }

    pub(crate) fn ended(&self) {
        self.log.came_other(self.step, "(the stream ended with OK)");
    }

    /// A failure that points to this step.
    pub fn fail(&self, came: impl Into<String>, expected: impl Into<String>) -> Stop {
        Stop::at(Some(self.step), came, expected)
    }

    /// `name` is what was expected.
    pub fn same<T: PartialEq + Debug>(&self, name: &str, actual: T, expected: T) -> Verdict {
        if actual == expected {
            return Ok(());
        }
        Err(self.fail(format!("{name} is {actual:?}"), format!("{name} {expected:?}")))
    }

    /// What was expected, in words, holds; `came` says what came instead.
    pub fn holds(&self, holds: bool, came: impl Into<String>, expected: impl Into<String>) -> Verdict {
        if holds { Ok(()) } else { Err(self.fail(came, expected)) }
    }
}

/// A message, and the step at which it came.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    message: T,
    at: At,
}

impl<T> Reply<T> {
    pub(crate) fn new(message: T, at: At) -> Self {
        Self { message, at }
    }

    /// The step at which it came.
    pub fn at(&self) -> &At {
        &self.at
    }

    /// The message alone.
    pub fn into_inner(self) -> T {
        self.message
    }

    /// The field has this value.
    pub fn has<V: PartialEq + Debug>(&self, field: &str, get: impl FnOnce(&T) -> V, expected: V) -> Verdict<&Self> {
        self.at.same(field, get(&self.message), expected)?;
        Ok(self)
    }

    /// What is expected, in words, holds.
    pub fn shows(&self, expected: &str, holds: impl FnOnce(&T) -> bool) -> Verdict<&Self> {
        self.at
            .holds(holds(&self.message), "the answer does not show that", expected)?;
        Ok(self)
    }

    /// A failure that points here.
    pub fn fail(&self, came: impl Into<String>, expected: impl Into<String>) -> Stop {
        self.at.fail(came, expected)
    }
}

impl<T> Deref for Reply<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}

/// An answer to a call: a message or a refusal. One of [`Answer::accepted`], [`Answer::refused`] and
/// [`Answer::either`] says which the case expects.
#[must_use]
#[derive(Clone, Debug)]
pub struct Answer<T> {
    at: At,
    result: Result<T, Refusal>,
}

impl<T> Answer<T> {
    pub(crate) fn new(at: At, result: Result<T, Refusal>) -> Self {
        Self { at, result }
    }

    /// The step of the call.
    pub fn at(&self) -> &At {
        &self.at
    }

    /// The call was to succeed.
    pub fn accepted(self) -> Verdict<Reply<T>> {
        match self.result {
            Ok(message) => Ok(Reply::new(message, self.at)),
            Err(refusal) => Err(self.at.fail(refusal.to_string(), "the call to succeed")),
        }
    }

    /// The call was to be refused for this reason: with its status code, `google.rpc.ErrorInfo` of
    /// domain `optivex`, the trailer `optivex-reason`, and this metadata (more is allowed).
    pub fn refused(self, reason: ErrorReason, metadata: &[(&str, &str)]) -> Verdict<Reply<Refusal>> {
        let expected = || {
            let told: Vec<String> = metadata.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
            format!("{:?} {} {}", code_of(reason), name_of(reason), told.join(" "))
                .trim_end()
                .to_owned()
        };
        match self.result {
            Ok(_) => Err(self.at.fail("the call succeeded", format!("a refusal: {}", expected()))),
            Err(refusal) => {
                refusal
                    .is(reason, metadata)
                    .map_err(|came| self.at.fail(came, format!("a refusal: {}", expected())))?;
                Ok(Reply::new(refusal, self.at))
            }
        }
    }

    /// The call was to be refused with this status code, whatever the reason.
    pub fn refused_code(self, code: Code) -> Verdict<Reply<Refusal>> {
        match self.result {
            Err(refusal) if refusal.broken.is_none() && refusal.code == code => Ok(Reply::new(refusal, self.at)),
            Err(refusal) => Err(self.at.fail(refusal.to_string(), format!("a refusal with {code:?}"))),
            Ok(_) => Err(self.at.fail("the call succeeded", format!("a refusal with {code:?}"))),
        }
    }

    /// Either may be right; the case decides.
    pub fn either(self) -> Result<Reply<T>, Box<Reply<Refusal>>> {
        match self.result {
            Ok(message) => Ok(Reply::new(message, self.at)),
            Err(refusal) => Err(Box::new(Reply::new(refusal, self.at))),
        }
    }
}
