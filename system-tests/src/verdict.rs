//! How a case ends: whose fault it is decides the kind.

/// What a step of a case comes to; `?` ends the case.
pub type Verdict<T = ()> = Result<T, Stop>;

/// Why a case ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The exchange broke the contract: theirs.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The tests could not do their work (no file, no user left, no port): ours.
    #[error("{0}")]
    Trouble(String),
    /// The case does not apply to this run.
    #[error("{0}")]
    Skipped(String),
}

/// What broke the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{came}; expected: {expected}")]
pub struct Failure {
    /// Step of the record that shows it; the last one if not known.
    pub step: Option<u64>,
    /// What came back, in words.
    pub came: String,
    /// What the contract asks for, in words.
    pub expected: String,
}

impl Stop {
    /// The exchange broke the contract, shown by no step in particular.
    pub fn failed(came: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::at(None, came, expected)
    }

    /// The exchange broke the contract, as this step shows.
    pub fn at(step: Option<u64>, came: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Failed(Box::new(Failure {
            step,
            came: came.into(),
            expected: expected.into(),
        }))
    }

    /// Says more of what was expected: why it was.
    #[must_use]
    pub fn because(self, why: &str) -> Self {
        match self {
            Self::Failed(mut failure) => {
                failure.expected = format!("{}: {why}", failure.expected);
                Self::Failed(failure)
            }
            other => other,
        }
    }

    /// The tests could not do their work.
    pub fn trouble(what: impl Into<String>) -> Self {
        Self::Trouble(what.into())
    }

    /// The case does not apply to this run.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped(why.into())
    }
}
