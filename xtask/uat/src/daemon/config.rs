//! `/etc/optivex/uat.yaml`: written by provisioning, or by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use optivex_bundle::limits::Limits;
use optivex_bundle::names::Name;
use optivex_exit::{Exit, Failure};
use serde::{Deserialize, Serialize};

/// Deployments at a time, at most.
pub const SLOTS_MAX: u32 = 64;

/// Settings of a UAT machine. All have defaults but the participants.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Deployments at a time; 1 if not set.
    pub slots: Option<u32>,
    /// Who may deploy, and where their results go.
    pub participants: BTreeMap<Name, Participant>,
    /// Private key by which results are sent home; `~/.ssh/id_results` if not set.
    pub results_key: Option<PathBuf>,
    /// Private key that signs results; made as `state/id_sign` of the spool if not set.
    pub signing_key: Option<PathBuf>,
    /// Where the scoreboard is written; `public/scoreboard.html` of the spool, which everybody may read, if not set.
    pub scoreboard: Option<PathBuf>,
    /// Where metrics are written, for node_exporter's textfile collector; `public/metrics.prom` of the spool if not set.
    pub metrics: Option<PathBuf>,
    /// Bounds of submissions that differ from the program's.
    pub limits: Limits,
    /// What is tested.
    pub tests: Tests,
    /// The daemon's test of itself.
    pub self_test: SelfTest,
    /// Where submissions run as root's guests, the first of as many user ids as there are slots, that belong to nobody.
    pub first_account: Option<u32>,
}

/// A participant.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Participant {
    /// Host name or address of the dev machine; without it results stay on UAT.
    pub host: Option<String>,
    /// Its SSH port.
    pub port: Option<u16>,
    /// The account there; the participant's name if not set.
    pub user: Option<String>,
    /// Its host key, as `ssh-ed25519 AAAA…`: no other is accepted.
    pub host_key: Option<String>,
}

/// What is tested.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tests {
    /// Further arguments of `system-tests`, such as `--stage`, `boot`.
    pub arguments: Vec<String>,
}

/// The daemon's test of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelfTest {
    /// Whether there is one.
    pub enabled: bool,
    /// The exchange that must pass.
    pub reference: PathBuf,
    /// The exchange that must fail, with [`SelfTest::fault`].
    pub faulty: PathBuf,
    /// A fault, as `optivex-faulty` knows it.
    pub fault: String,
    /// Stages that both are tested with; the fault must show in one of them.
    pub stages: Vec<String>,
    /// Minutes between two.
    pub every_minutes: u64,
}

impl Default for SelfTest {
    fn default() -> Self {
        Self {
            enabled: true,
            reference: "/opt/optivex/bin/optivex".into(),
            faulty: "/opt/optivex/bin/optivex-faulty".into(),
            // Of matching, what every submission is about.
            fault: "aggressor-price".to_owned(),
            stages: ["boot", "orders"].map(str::to_owned).to_vec(),
            every_minutes: 60,
        }
    }
}

impl Config {
    /// Reads it; a file that is not there, or not right, is a mistake of whoever set the machine up.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| path.display().to_string())
            .map_err(|error| Failure::new(Exit::Usage, format!("{error:#}")))?;
        let config: Self = serde_yaml::from_str(&text)
            .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))?;
        match config.fault() {
            Some(fault) => Err(Failure::new(Exit::Usage, format!("{}: {fault}", path.display())).into()),
            None => Ok(config),
        }
    }

    fn fault(&self) -> Option<String> {
        if let Some(fault) = self.limits.faults() {
            return Some(format!("limits: {fault}"));
        }
        if !(1..=SLOTS_MAX).contains(&self.slots()) {
            return Some(format!("slots: from 1 to {SLOTS_MAX}"));
        }
        let person = self
            .participants
            .iter()
            .find(|(_, person)| person.host.is_some() && person.host_key.is_none());
        if let Some((name, _)) = person {
            return Some(format!("participants.{name}: a host needs its host_key"));
        }
        // ssh takes what begins with a dash for an option.
        let odd = |text: &Option<String>| {
            text.as_ref().is_some_and(|text| {
                text.is_empty() || text.starts_with('-') || text.chars().any(|c| c.is_control() || c.is_whitespace())
            })
        };
        let person = self
            .participants
            .iter()
            .find(|(_, person)| odd(&person.host) || odd(&person.user));
        person.map(|(name, _)| format!("participants.{name}: host and user are one word each"))
    }

    /// Deployments at a time.
    pub fn slots(&self) -> u32 {
        self.slots.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let cases = [
            ("participants: {alice: {}}", None),
            ("{slots: 2, limits: {wall_seconds: 60, connection_seconds: 7200}}", None),
            ("slots: 0", Some("slots: from 1 to 64")),
            ("limits: {wall_seconds: 1}", Some("wall_seconds must leave time")),
            ("participants: {alice: {host: dev}}", Some("needs its host_key")),
            (
                "participants: {alice: {host: -oProxyCommand=x, host_key: k}}",
                Some("one word"),
            ),
            ("participants: {Alice: {}}", Some("a name")),
            ("slotz: 2", Some("slotz")),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("uat.yaml");
        for (text, fault) in cases {
            std::fs::write(&path, text).expect("written");
            match (Config::read(&path), fault) {
                (Ok(_), None) => {}
                (Err(error), Some(fault)) => {
                    assert!(error.to_string().contains(fault), "{text}: {error}");
                    assert_eq!(optivex_exit::code_of(&error), Exit::Usage);
                }
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
    }
}
