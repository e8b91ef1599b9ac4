//! Cases and stages as plain data.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::context::Context;
use crate::verdict::Verdict;

/// What a case does: made from an `async fn(Context) -> Verdict` by [`crate::run!`].
pub type Run = fn(Context) -> BoxFuture<'static, Verdict>;

/// Makes a [`Run`] of an `async fn(Context) -> Verdict`.
#[macro_export]
macro_rules! run {
    ($function:path) => {
        |context| ::std::boxed::Box::pin($function(context))
    };
}

/// Cases that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Name on the command line.
    pub slug: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Place among the stages.
    pub number: u32,
    /// Core of the program, or extension.
    pub core: bool,
    /// Slugs of stages without whose base cases nothing here can work.
    pub builds_on: &'static [&'static str],
    /// The cases: independent of one another, in any order, at the same time.
    pub cases: &'static [Case],
}

/// One clause of the contract, checked.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Name on the command line, unique in its stage.
    pub slug: &'static str,
    /// One sentence in the words of the contract.
    pub title: &'static str,
    /// File and message, field or rpc.
    pub clause: &'static str,
    /// After which it has failed; generous, since a correct exchange may be slow.
    pub timeout: Duration,
    /// Tells only its title when it fails.
    pub hidden: bool,
    /// Stages that build on this one are blocked if it fails.
    pub base: bool,
    /// No other case runs at the same time.
    pub alone: bool,
    /// Only with `--launch`: the case starts exchanges of its own.
    pub launches: bool,
    /// Extensions that a case needs besides what its stage builds on: where the exchange says UNIMPLEMENTED,
    /// the case is skipped.
    pub wants: &'static [&'static str],
    /// It measures for as long as `--load-time` says, and tells a score.
    pub measures: bool,
    /// What it does.
    pub run: Run,
}

impl Case {
    /// A case with the usual timeout (120 s), visible, that later stages do not build on.
    pub const fn new(slug: &'static str, title: &'static str, clause: &'static str, run: Run) -> Self {
        Self {
            slug,
            title,
            clause,
            timeout: Duration::from_secs(120),
            hidden: false,
            base: false,
            alone: false,
            launches: false,
            wants: &[],
            measures: false,
            run,
        }
    }

    /// Stages that build on this one are blocked if it fails.
    pub const fn base(mut self) -> Self {
        self.base = true;
        self
    }

    /// Tells only its title when it fails.
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// No other case runs at the same time.
    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Starts exchanges of its own: skipped without `--launch`.
    pub const fn launches(mut self) -> Self {
        self.launches = true;
        self
    }

    /// Needs these extension stages too, as the core is to pass without them: skipped where the exchange
    /// answers UNIMPLEMENTED.
    pub const fn wants(mut self, stages: &'static [&'static str]) -> Self {
        self.wants = stages;
        self
    }

    /// Measures, alone, for as long as `--load-time` says: that comes on top of the timeout.
    pub const fn measures(mut self) -> Self {
        self.measures = true;
        self.alone()
    }

    /// Fails after so many seconds.
    pub const fn within(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }
}
