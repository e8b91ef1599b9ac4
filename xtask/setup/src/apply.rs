//! Applies what differs, and looks again.

use crate::facts::{self, Asks, Facts};
use crate::operations::{self, Operations, Plan, key};
use crate::spec::{Learned, Links, Role, Spec};
use crate::ssh::{self, Connection, Stdin};
use crate::step::{Action, Content, Step};

/// What happens, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The machine is being asked what it is.
    Looking,
    /// A step begins.
    Step {
        /// From 1.
        number: usize,
        /// So many there are.
        of: usize,
        /// What it does, in a few words.
        what: String,
    },
}

/// Called from the thread that sets the machine up.
pub type Progress<'a> = dyn Fn(Event) + 'a;

/// Why a machine is not what it shall be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be spoken to, or a command failed.
    #[error(transparent)]
    Ssh(#[from] ssh::Error),
    /// Only a person can change that.
    #[error("{name}: {}", reasons.join("; "))]
    Blocked {
        /// The machine.
        name: String,
        /// Each a sentence.
        reasons: Vec<String>,
    },
    /// Every command succeeded, and yet it is not what it shall be.
    #[error("{name}: every step succeeded, and yet these are not done: {}", left.join("; "))]
    Differs {
        /// The machine.
        name: String,
        /// What would have to be done still.
        left: Vec<String>,
    },
    /// A machine's answer makes no sense.
    #[error("{name}: {what}")]
    Answer {
        /// The machine.
        name: String,
        /// What is wrong with it.
        what: String,
    },
}

/// What a set-up would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Steps, in a few words each.
    pub steps: Vec<String>,
    /// What is not as usual, and no fault.
    pub notes: Vec<String>,
    /// What only a person can change.
    pub blocked: Vec<String>,
}

/// What a set-up did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Steps that were run; 0 where nothing differed.
    pub steps: usize,
    /// What is not as usual, and no fault.
    pub notes: Vec<String>,
    /// Keys of the machine's own.
    pub learned: Learned,
}

/// Makes a machine what it is by itself. Idempotent, and safe to run again after it was cut off anywhere.
///
/// # Errors
/// See [`Error`]; what was done until then stays done.
pub fn machine(connection: &Connection<'_>, spec: &Spec, progress: &Progress<'_>) -> Result<Outcome, Error> {
    apply(connection, &operations::alone(spec), spec, progress)
}

/// Ties a machine to others, once their keys are known. As [`machine`].
///
/// # Errors
/// As [`machine`].
pub fn link(
    connection: &Connection<'_>,
    spec: &Spec,
    links: &Links,
    progress: &Progress<'_>,
) -> Result<Outcome, Error> {
    apply(connection, &operations::linked(spec, links), spec, progress)
}

impl Changes {
    /// Reads what differs, and changes nothing.
    ///
    /// # Errors
    /// The machine cannot be spoken to.
    pub fn read(connection: &Connection<'_>, spec: &Spec, links: Option<&Links>) -> Result<Self, Error> {
        let mut operations = operations::alone(spec);
        operations.extend(links.map(|links| operations::linked(spec, links)).into_iter().flatten());
        let (_, plan) = look(connection, &operations, spec)?;
        Ok(Self {
            steps: plan.steps.into_iter().map(|step| step.what).collect(),
            notes: plan.notes,
            blocked: plan.blocked,
        })
    }
}

fn apply(
    connection: &Connection<'_>,
    operations: &Operations,
    spec: &Spec,
    progress: &Progress<'_>,
) -> Result<Outcome, Error> {
    let name = || connection.host().name.clone();
    progress(Event::Looking);
    let (facts, plan) = look(connection, operations, spec)?;
    if !plan.blocked.is_empty() {
        return Err(Error::Blocked {
            name: name(),
            reasons: plan.blocked,
        });
    }
    let of = plan.steps.len();
    let outcome = |facts: &Facts, notes| {
        Ok(Outcome {
            steps: of,
            notes,
            learned: learned(facts, spec).map_err(|what| Error::Answer { name: name(), what })?,
        })
    };
    if of == 0 {
        return outcome(&facts, plan.notes);
    }
    for (index, step) in plan.steps.iter().enumerate() {
        progress(Event::Step {
            number: index + 1,
            of,
            what: step.what.clone(),
        });
        run(connection, step)?;
    }
    progress(Event::Looking);
    let (facts, left) = look(connection, operations, spec)?;
    let left: Vec<String> = left
        .steps
        .into_iter()
        .map(|step| step.what)
        .chain(left.blocked)
        .collect();
    if !left.is_empty() {
        return Err(Error::Differs { name: name(), left });
    }
    outcome(&facts, plan.notes)
}

fn look(connection: &Connection<'_>, operations: &Operations, spec: &Spec) -> Result<(Facts, Plan), Error> {
    let facts = facts::read(connection, |base| {
        let mut asks = Asks::default();
        operations.iter().for_each(|operation| operation.asks(base, &mut asks));
        key::ask(spec, base, &mut asks);
        asks
    })?;
    let mut plan = Plan::default();
    operations
        .iter()
        .for_each(|operation| operation.plan(&facts, &mut plan));
    Ok((facts, plan))
}

/// Runs one step.
pub(crate) fn run(connection: &Connection<'_>, step: &Step) -> Result<(), Error> {
    let login = &connection.host().login;
    let text = step.action.text(login, step.limit).map_err(ssh::Error::from)?;
    let stdin = match &step.action {
        Action::Put { content, .. } => match content {
            Content::Text(text) => Stdin::Bytes(text.as_bytes()),
            Content::Local { file, .. } => Stdin::File(file),
        },
        Action::Run(_) | Action::Either(..) => Stdin::Nothing,
    };
    // The command ends itself at its limit; longer than that only a broken connection takes.
    let limit = step.limit + std::time::Duration::from_secs(30);
    connection.run(&step.what, &text, stdin, limit)?;
    Ok(())
}

fn learned(facts: &Facts, spec: &Spec) -> Result<Learned, String> {
    let read = |path: &str| {
        let answer = facts.answers.get(&key::answer(path));
        answer
            .map(|text| text.parse().map_err(|error| format!("{path}: {error}")))
            .transpose()
    };
    Ok(match spec.role {
        Role::Dev { .. } => Learned {
            uat_key: read(key::UAT)?,
            results_key: None,
        },
        Role::Uat { .. } => Learned {
            uat_key: None,
            results_key: read(key::RESULTS)?,
        },
    })
}
