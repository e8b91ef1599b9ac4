//! What a case sent and what came back: the ground of every hint. Bounded, and turned into JSON only
//! when somebody wants to read it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;

use crate::json::{self, Half};
use crate::verdict::Failure;

/// Steps that are kept: the newest.
const STEPS_MAX: usize = 400;
/// Messages of one stream that are kept: the newest.
const MESSAGES_MAX: usize = 40;
/// Steps that a hint shows.
const SHOWN_STEPS: usize = 12;
/// Messages of one stream that a hint shows.
const SHOWN_MESSAGES: usize = 8;
/// Characters of one message that a hint shows.
const SHOWN_CHARACTERS: usize = 2_000;

/// The record of one case. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    steps: VecDeque<Step>,
    unimplemented: bool,
}

#[derive(Clone, Debug)]
struct Step {
    number: u64,
    who: String,
    call: String,
    /// Kept while others go: it may still have something to tell.
    stream: bool,
    sent: Kept<Vec<u8>>,
    came: Kept<Came>,
}

/// The newest of many, and how many there were.
#[derive(Clone, Debug)]
struct Kept<T> {
    newest: VecDeque<T>,
    count: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            newest: VecDeque::new(),
            count: 0,
        }
    }
}

impl<T> Kept<T> {
    fn push(&mut self, item: T) {
        if self.newest.len() == MESSAGES_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(item);
        self.count += 1;
    }
}

#[derive(Clone, Debug)]
enum Came {
    Message(Vec<u8>),
    Other(Value),
}

impl Log {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a step: a call, or anything else worth telling. Returns its number.
    pub fn begin(&self, who: &str, call: &str) -> u64 {
        let mut inner = self.inner();
        inner.next += 1;
        let number = inner.next;
        if inner.steps.len() == STEPS_MAX {
            let oldest = inner.steps.iter().position(|step| !step.stream).unwrap_or_default();
            inner.steps.remove(oldest);
        }
        inner.steps.push_back(Step {
            number,
            who: who.to_owned(),
            call: call.to_owned(),
            stream: false,
            sent: Kept::default(),
            came: Kept::default(),
        });
        number
    }

    fn with(&self, number: u64, change: impl FnOnce(&mut Step)) {
        if let Some(step) = self.inner().steps.iter_mut().find(|step| step.number == number) {
            change(step);
        }
    }

    /// The step is a stream: it is kept longer.
    pub fn is_stream(&self, step: u64) {
        self.with(step, |step| step.stream = true);
    }

    /// An encoded request went out.
    pub fn sent(&self, step: u64, message: Vec<u8>) {
        self.with(step, |step| step.sent.push(message));
    }

    /// An encoded message came.
    pub fn came(&self, step: u64, message: Vec<u8>) {
        self.with(step, |step| step.came.push(Came::Message(message)));
    }

    /// Something else came: a status, an end, nothing.
    pub fn came_other(&self, step: u64, what: impl Into<Value>) {
        let what = what.into();
        self.with(step, |step| step.came.push(Came::Other(what)));
    }

    /// The exchange said that it does not have something.
    pub fn unimplemented(&self) {
        self.inner().unimplemented = true;
    }

    /// Whether the exchange said that it does not have something.
    pub fn has_unimplemented(&self) -> bool {
        self.inner().unimplemented
    }

    /// Tells something that is no call: "the exchange was killed".
    pub fn note(&self, what: &str) -> u64 {
        self.begin("(the tests)", what)
    }

    /// What a person needs to find the fault.
    pub fn hint(&self, failure: &Failure, clause: &str) -> Hint {
        let inner = self.inner();
        let at = failure.step.or_else(|| inner.steps.back().map(|step| step.number));
        // All of it came before the failure: what a stream says now rests on calls after its own.
        let first = inner.steps.len().saturating_sub(SHOWN_STEPS);
        let begun_before = inner.steps.range(..first).filter(|step| Some(step.number) == at);
        let steps: Vec<ShownStep> = begun_before
            .chain(inner.steps.range(first..))
            .map(|step| shown(step, Some(step.number) == at))
            .collect();
        Hint {
            left_out: inner.next - steps.len() as u64,
            steps,
            came: failure.came.clone(),
            expected: failure.expected.clone(),
            clause: clause.to_owned(),
        }
    }
}

fn shown(step: &Step, here: bool) -> ShownStep {
    ShownStep {
        here,
        number: step.number,
        who: step.who.clone(),
        call: step.call.clone(),
        sent: messages(&step.sent, |bytes| json::of(&step.call, Half::Request, bytes)),
        came: messages(&step.came, |came| match came {
            Came::Message(bytes) => json::of(&step.call, Half::Answer, bytes),
            Came::Other(value) => value.clone(),
        }),
    }
}

fn messages<T>(kept: &Kept<T>, json: impl Fn(&T) -> Value) -> ShownMessages {
    let skip = kept.newest.len().saturating_sub(SHOWN_MESSAGES);
    let newest: Vec<Value> = kept.newest.iter().skip(skip).map(json).map(bounded).collect();
    ShownMessages {
        left_out: kept.count - newest.len(),
        newest,
    }
}

/// The value itself, or the beginning of its text.
fn bounded(value: Value) -> Value {
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARACTERS {
        return value;
    }
    let beginning: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("{beginning}… ({} characters)", text.chars().count()).into()
}

/// What a failed case tells: what was sent, what came back, what was expected, in that order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hint {
    /// Steps that are not shown.
    pub left_out: u64,
    /// The newest steps, and before them the one that shows the failure, if that began earlier.
    pub steps: Vec<ShownStep>,
    /// What came back, in words.
    pub came: String,
    /// What was expected, in words.
    pub expected: String,
    /// File and message, field or rpc.
    pub clause: String,
}

/// One call of a hint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownStep {
    /// It is the one that shows the failure.
    pub here: bool,
    /// Place in the case.
    pub number: u64,
    /// Who called.
    pub who: String,
    /// Path of the rpc, or what else happened.
    pub call: String,
    /// Requests.
    pub sent: ShownMessages,
    /// Answers.
    pub came: ShownMessages,
}

/// Messages of a hint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownMessages {
    /// Messages before the first that is shown.
    pub left_out: usize,
    /// The newest messages as JSON.
    pub newest: Vec<Value>,
}

impl ShownMessages {
    fn write(&self, f: &mut fmt::Formatter<'_>, sign: &str) -> fmt::Result {
        if self.left_out > 0 {
            writeln!(f, "     {sign} ({} earlier messages)", self.left_out)?;
        }
        self.newest
            .iter()
            .try_for_each(|message| writeln!(f, "     {sign} {message}"))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Sent (>) and came back (<), * where it shows:")?;
        if self.left_out > 0 {
            writeln!(f, "  ({} earlier steps)", self.left_out)?;
        }
        for step in &self.steps {
            let sign = if step.here { '*' } else { ' ' };
            writeln!(f, "{sign} {}. {}: {}", step.number, step.who, step.call)?;
            step.sent.write(f, ">")?;
            step.came.write(f, "<")?;
        }
        writeln!(f, "So:       {}", self.came)?;
        writeln!(f, "Expected: {}", self.expected)?;
        write!(f, "Clause:   {}", self.clause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_bounded_and_keeps_the_step_that_shows_the_failure() {
        let log = Log::default();
        let stream = log.begin("viewer", "/a.B/Follow");
        for number in 0..1_000 {
            log.note(&format!("step {number}"));
            log.came_other(stream, "x".repeat(10_000));
        }
        let failure = Failure {
            step: Some(stream),
            came: "a gap".to_owned(),
            expected: "none".to_owned(),
        };
        // The oldest calls are forgotten: then no step is marked.
        let hint = log.hint(&failure, "x");
        assert_eq!(
            (hint.steps.len(), hint.left_out),
            (SHOWN_STEPS, 1_001 - SHOWN_STEPS as u64)
        );
        assert!(hint.steps.iter().all(|step| !step.here));

        let stream = log.begin("viewer", "/a.B/Follow");
        log.is_stream(stream);
        for number in 0..2_000 {
            log.note(&format!("step {number}"));
            log.came_other(stream, "x".repeat(100_000));
        }
        let hint = log.hint(
            &Failure {
                step: Some(stream),
                ..failure
            },
            "x",
        );
        assert_eq!(hint.steps.len(), SHOWN_STEPS + 1);
        assert!(hint.steps[0].here && hint.steps[0].came.left_out == 2_000 - SHOWN_MESSAGES);
        assert!(hint.to_string().len() < 100_000, "{}", hint.to_string().len());
    }
}
