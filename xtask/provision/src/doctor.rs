//! `doctor`: the participant's path on each machine, walked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use optivex_bundle::inventory::{Machine, RoleName};
use optivex_bundle::names::Name;
use optivex_exit::{Exit, Failure};
use optivex_setup::Changes;
use optivex_setup::ssh::quote::Text;
use optivex_setup::ssh::{Connection, Host, Settings, Ssh, Stdin};

use crate::apply::Apply;
use crate::hands::{self, OverSsh};

/// A first build of the template on a small machine.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
/// Longer than a whole run of the system tests behind a queue.
const DEPLOY_MAX: Duration = Duration::from_secs(60 * 60);
const SHORT: Duration = Duration::from_secs(60);

/// Every machine that is meant; what is wrong with one is told, and the others are looked at all the same.
pub(crate) fn all(
    apply: &Apply<'_>,
    over_ssh: &OverSsh,
    scope: Option<&[Name]>,
    key: Option<&Path>,
    canary: bool,
) -> Result<Exit> {
    let mut wrong = 0;
    for machine in apply.inventory.machines() {
        if scope.is_some_and(|scope| !scope.contains(machine.id)) {
            continue;
        }
        let mut walk = Walk {
            apply,
            over_ssh,
            machine: &machine,
            is_well: true,
        };
        walk.walk(key, canary);
        wrong += usize::from(!walk.is_well);
    }
    match wrong {
        0 => Ok(Exit::Ok),
        _ => Err(Failure::new(Exit::SomeHostsFailed, format!("{wrong} machines are not well")).into()),
    }
}

struct Walk<'a> {
    apply: &'a Apply<'a>,
    over_ssh: &'a OverSsh,
    machine: &'a Machine<'a>,
    is_well: bool,
}

impl Walk<'_> {
    fn walk(&mut self, key: Option<&Path>, canary: bool) {
        let connected = self.over_ssh.connect(self.apply, self.machine);
        let Some(connection) = self.step("the manager logs in by the pinned host key", connected) else {
            return;
        };
        let looked = self.differences(&connection);
        self.step("it is as it was set up", looked);
        if self.machine.role == RoleName::Uat {
            return;
        }
        if let Some(key) = key {
            let logged_in = self.logs_in(key);
            self.step("the participant logs in", logged_in);
        }
        let name = self.machine.id.as_str();
        let home = format!("/home/{name}/optivex");
        let mut run = |what: &str, words: &[&str], limit| {
            let said = self.as_participant(&connection, what, words, limit);
            self.step(what, said).is_some()
        };
        let built = run(
            "the participant's repository builds",
            &["env", "-C", &home, "cargo", "build", "--locked"],
            BUILD_MAX,
        );
        run(
            "UAT answers the participant's key",
            &["env", "-C", &home, "cargo", "xtask", "deploy", "status"],
            BUILD_MAX,
        );
        if canary && built {
            run(
                "a deployment comes back with a result",
                &[
                    "env",
                    "-C",
                    &home,
                    "cargo",
                    "xtask",
                    "deploy",
                    "--allow-dirty",
                    "--wait",
                ],
                DEPLOY_MAX,
            );
        }
    }

    /// Tells what came of a step; what it gave, if it is well.
    fn step<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                println!("{:<13} ok      {what}", self.machine.id);
                Some(value)
            }
            Err(error) => {
                self.is_well = false;
                println!("{:<13} WRONG   {what}: {error:#}", self.machine.id);
                None
            }
        }
    }

    fn differences(&self, connection: &Connection<'_>) -> Result<()> {
        let links = self.apply.terms.links_of(self.machine, &self.apply.notes.read());
        let changes = Changes::read(connection, &self.apply.terms.spec(self.machine), links.as_ref())?;
        let differs: Vec<String> = changes.steps.into_iter().chain(changes.blocked).collect();
        match differs.is_empty() {
            true => Ok(()),
            false => Err(anyhow::anyhow!(
                "{} (cargo xtask provision mends what it can)",
                differs.join("; ")
            )),
        }
    }

    fn logs_in(&self, key: &Path) -> Result<()> {
        let locked = self.apply.notes.of(self.machine.id)?;
        let host = Host {
            login: self.machine.id.to_string(),
            ..hands::host(self.apply.inventory, self.machine, &locked)?
        };
        let settings = Settings {
            patience: SHORT,
            ..Settings::new(key.to_owned())
        };
        let ssh = Ssh::new(settings)?;
        let connection = ssh.connect(&host, &self.over_ssh.log(self.machine.id)?)?;
        connection.run("logging in", &Text::words(&["true"])?, Stdin::Nothing, SHORT)?;
        Ok(())
    }

    /// With the environment of the participant's own login.
    fn as_participant(&self, connection: &Connection<'_>, what: &str, words: &[&str], limit: Duration) -> Result<()> {
        let name = self.machine.id.as_str();
        let start: &[&str] = match connection.host().login.as_str() {
            "root" => &["runuser", "-l", name, "-c"],
            _ => &["sudo", "-n", "runuser", "-l", name, "-c"],
        };
        let command = Text::words(words)?.to_string();
        let all: Vec<&str> = start.iter().copied().chain([command.as_str()]).collect();
        connection
            .run(what, &Text::words(&all)?, Stdin::Nothing, limit)
            .map(drop)
            .with_context(|| format!("its log: {}", self.over_ssh.logs.display()))
    }
}
