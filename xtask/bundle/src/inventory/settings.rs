//! What UAT's daemon is told beside slots and participants: of the words of its own settings, `uat.yaml`, those that are
//! a program manager's to choose.

use serde::{Deserialize, Serialize, Serializer};

use super::fields::{AbsolutePath, Argument};
use crate::limits::{LIMITS, Limits};

/// Most further arguments of the system tests.
const ARGUMENTS_MAX: usize = 64;

/// As in the daemon's settings; what is not said is the program's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UatSettings {
    /// Bounds of submissions that differ from the program's.
    #[serde(skip_serializing_if = "is_default", serialize_with = "what_differs")]
    pub limits: Limits,
    /// What is tested.
    #[serde(skip_serializing_if = "is_default")]
    pub tests: TestSettings,
    /// Where the scoreboard is written; in the spool if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scoreboard: Option<AbsolutePath>,
    /// Where metrics are written; in the spool if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<AbsolutePath>,
}

/// What is tested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TestSettings {
    /// Further arguments of `system-tests`, such as `--load-time`, `10s`.
    pub arguments: Vec<Argument>,
}

impl UatSettings {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        is_default(self)
    }

    /// What is wrong with it: the field, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if let Some(fault) = self.limits.faults() {
            return Some(("limits", fault.to_owned()));
        }
        let count = self.tests.arguments.len();
        (count > ARGUMENTS_MAX).then(|| ("tests", format!("{count} arguments: at most {ARGUMENTS_MAX}")))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The rest is the program's, whatever that will be.
fn what_differs<S: Serializer>(limits: &Limits, serializer: S) -> Result<S::Ok, S::Error> {
    let fields = |limits: &Limits| serde_json::to_value(limits).map_err(serde::ser::Error::custom);
    let (mut ours, program) = (fields(limits)?, fields(&LIMITS)?);
    if let Some(ours) = ours.as_object_mut() {
        ours.retain(|name, value| program.get(name) != Some(value));
    }
    ours.serialize(serializer)
}
