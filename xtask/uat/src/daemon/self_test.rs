//! The daemon's test of itself: in a sandbox as everybody's, the reference exchange must pass and a faulty one must
//! fail. Otherwise nothing is judged: a result that is wrong because of us is worse than a late one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use optivex_bundle::verdict::Verdict;

use super::config::SelfTest;
use super::context::{Account, Context};
use super::judge::{Subject, Tests, Trial};
use super::state::fresh;
use crate::sandbox::Cancel;

/// How the self-test stands.
#[derive(Debug)]
pub(crate) struct Standing {
    enabled: bool,
    every: Duration,
    began: Option<Instant>,
    runs: bool,
    passed_once: bool,
    trouble: Option<String>,
}

impl Standing {
    pub(crate) fn new(config: &SelfTest) -> Self {
        Self {
            enabled: config.enabled,
            every: Duration::from_secs(config.every_minutes.max(1) * 60),
            began: None,
            runs: false,
            passed_once: false,
            trouble: None,
        }
    }

    /// At the start, then from time to time; sooner after trouble, which may have passed.
    pub(crate) fn is_due(&self) -> bool {
        let every = if self.trouble.is_some() {
            self.every.min(Duration::from_secs(60))
        } else {
            self.every
        };
        self.enabled && !self.runs && self.began.is_none_or(|began| began.elapsed() >= every)
    }

    pub(crate) fn begin(&mut self) {
        self.began = Some(Instant::now());
        self.runs = true;
    }

    pub(crate) fn ended(&mut self, trouble: Option<String>) {
        self.runs = false;
        self.passed_once |= trouble.is_none();
        self.trouble = trouble;
    }

    /// With other tests nothing is known; one that runs comes to its end.
    pub(crate) fn other_tests(&mut self) {
        self.began = None;
        self.passed_once = false;
        self.trouble = None;
    }

    /// What it came to is of no use any more.
    pub(crate) fn ended_in_vain(&mut self) {
        self.runs = false;
        self.began = None;
    }

    pub(crate) fn runs(&self) -> bool {
        self.runs
    }

    /// Why nothing may be started.
    pub(crate) fn holds(&self) -> Option<String> {
        match &self.trouble {
            Some(why) => Some(format!("self-test: {why}")),
            None if self.enabled && !self.passed_once => Some("self-test runs".to_owned()),
            None => None,
        }
    }
}

/// Runs it once.
pub(crate) fn run(context: &Context, tests: &Tests) -> Result<()> {
    let missing = crate::sandbox::missing_programs();
    if !missing.is_empty() {
        bail!("{} is not installed", missing.join(", "));
    }
    let config = &context.config.self_test;
    let sound = trial(
        context,
        tests,
        "self-test-reference",
        &config.reference,
        BTreeMap::new(),
    )?;
    if sound.0 != Verdict::Passed {
        bail!("the reference exchange does not pass: {}{}", sound.0, sound.1);
    }
    let fault = BTreeMap::from([("OPTIVEX_FAULT".to_owned(), config.fault.clone())]);
    let faulty = trial(context, tests, "self-test-faulty", &config.faulty, fault)?;
    if faulty.0 != Verdict::Failed {
        bail!(
            "the exchange with the fault {} does not fail: {}{}",
            config.fault,
            faulty.0,
            faulty.1
        );
    }
    Ok(())
}

fn trial(
    context: &Context,
    tests: &Tests,
    name: &str,
    program: &Path,
    env: BTreeMap<String, String>,
) -> Result<(Verdict, String)> {
    let config = &context.config.self_test;
    let work = context.state.work(name);
    fresh(&work)?;
    let app = work.join("app");
    fresh(&app)?;
    fs::copy(context.pinned(program)?, app.join("exchange")).with_context(|| program.display().to_string())?;
    let arguments: Vec<String> = config
        .stages
        .iter()
        .flat_map(|stage| ["--stage".to_owned(), stage.clone()])
        .collect();
    let subject = Subject {
        app,
        start: vec!["exchange".to_owned(), "serve".to_owned()],
        env,
    };
    let trial = Trial {
        bench: &context.bench,
        tests,
        arguments: &arguments,
        subject: &subject,
        work: &work,
        account: context.account(Account::SelfTest),
        cancel: &Cancel::default(),
    };
    let judged = trial.run(|_| Ok(()));
    let failed = judged.record.first("failed");
    let detail = failed.map_or(String::new(), |case| {
        format!(
            ": {}/{}: {}",
            case.stage,
            case.case,
            case.message.as_deref().unwrap_or("hidden")
        )
    });
    Ok((judged.verdict, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_holds() {
        let mut standing = Standing::new(&SelfTest::default());
        assert!(
            standing.is_due() && standing.holds().is_some(),
            "before the first one nothing is judged"
        );
        standing.begin();
        assert!(!standing.is_due() && standing.runs());
        standing.ended(None);
        assert_eq!((standing.holds(), standing.is_due()), (None, false));
        standing.begin();
        assert_eq!(
            standing.holds(),
            None,
            "a later one does not stop the queue while it runs"
        );
        standing.ended(Some("why".to_owned()));
        assert_eq!(standing.holds().as_deref(), Some("self-test: why"));
        standing.other_tests();
        assert!(
            standing.is_due() && standing.holds().is_some(),
            "nothing is known of others"
        );
        standing.begin();
        standing.other_tests();
        assert!(!standing.is_due(), "never two at a time");
        standing.ended_in_vain();
        assert!(standing.is_due() && standing.holds().is_some());
        let disabled = Standing::new(&SelfTest {
            enabled: false,
            ..SelfTest::default()
        });
        assert!(!disabled.is_due() && disabled.holds().is_none());
    }
}
