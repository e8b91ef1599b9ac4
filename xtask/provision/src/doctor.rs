//! `doctor`: the participant's path on each machine, walked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use optivex_bundle::inventory::{Machine, RoleName};
use optivex_bundle::names::Name;
use optivex_exit::{Exit, Failure};
use optivex_setup::Changes;
use optivex_setup::ssh::quote::Text;
use optivex_setup::ssh::{Connection, Host, Settings, Ssh, Stdin};

use crate::apply::Apply;
use crate::each::each;
use crate::hands::{self, OverSsh};

/// A first build of the template on a small machine.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
/// Longer than a whole run of the system tests behind a queue.
const DEPLOY_MAX: Duration = Duration::from_secs(60 * 60);
const SHORT: Duration = Duration::from_secs(60);

/// A deployment of what is on the participant's branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canary {
    /// As participants deploy.
    Release,
    /// Built without optimisations: where only the way counts.
    Debug,
}

/// Every machine that is meant; what is wrong with one is told, and the others are looked at all the same.
pub(crate) fn all(
    apply: &Apply<'_>,
    over_ssh: &OverSsh,
    scope: Option<&[Name]>,
    key: Option<&Path>,
    canary: Option<Canary>,
) -> Result<Exit> {
    let machines = apply.inventory.machines();
    let machines: Vec<Machine<'_>> = machines
        .filter(|machine| scope.is_none_or(|scope| scope.contains(machine.id)))
        .collect();
    let well = each(&machines, apply.parallel, |machine| {
        let mut walk = Walk {
            apply,
            over_ssh,
            machine,
            is_well: true,
        };
        walk.walk(key, canary);
        walk.is_well
    });
    apply.go_on()?;
    match well.iter().filter(|is_well| !**is_well).count() {
        0 => Ok(Exit::Ok),
        wrong => Err(Failure::new(Exit::SomeHostsFailed, format!("{wrong} machines are not well")).into()),
    }
}

struct Walk<'a> {
    apply: &'a Apply<'a>,
    over_ssh: &'a OverSsh,
    machine: &'a Machine<'a>,
    is_well: bool,
}

impl Walk<'_> {
    fn walk(&mut self, key: Option<&Path>, canary: Option<Canary>) {
        let connected = self.over_ssh.connect(self.apply, self.machine);
        let Some(connection) = self.step("the manager logs in by the pinned host key", connected) else {
            return;
        };
        let looked = self.differences(&connection);
        self.step("it is as it was set up", looked);
        if self.machine.role == RoleName::Uat {
            let judges = self.judges(&connection);
            self.step("its daemon judges", judges);
            return;
        }
        if let Some(key) = key {
            let logged_in = self.logs_in(key);
            self.step("the participant logs in", logged_in);
        }
        // From the account's home, wherever that is: a login begins there.
        let at = "optivex";
        let mut run = |what: &str, words: &[&str], limit| {
            let said = self.as_account(&connection, what, words, limit);
            self.step(what, said).is_some()
        };
        let built = run(
            "the participant's repository builds",
            &["env", "-C", at, "cargo", "build", "--locked"],
            BUILD_MAX,
        );
        run(
            "UAT answers the participant's key",
            &["env", "-C", at, "cargo", "xtask", "deploy", "status"],
            BUILD_MAX,
        );
        if let Some(canary) = canary
            && built
        {
            let what = "a deployment comes back with a result";
            let deploy = ["cargo", "xtask", "deploy", "--allow-dirty", "--wait"];
            let mut words = [&["env", "-C", at], &deploy[..]].concat();
            words.extend((canary == Canary::Debug).then_some("--debug"));
            let deployed = match self.as_account(&connection, what, &words, DEPLOY_MAX) {
                // What came of it is the participant's affair.
                Err(error) if code(&error) == Some(Exit::TestsFailed as i32) => Ok(String::new()),
                other => other,
            };
            self.step(what, deployed);
        }
    }

    /// Whether UAT would judge what is handed over now.
    fn judges(&self, connection: &Connection<'_>) -> Result<()> {
        let words = ["/opt/optivex/bin/uat-daemon", "status"];
        let said = self.as_account(connection, "asking UAT's daemon", &words, SHORT)?;
        let first = said.lines().next().unwrap_or_default();
        match first.strip_prefix("daemon").map(str::trim) {
            Some("judging") => Ok(()),
            Some(mode) => Err(anyhow!("{mode}")),
            None => Err(anyhow!("{first}")),
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
        if differs.is_empty() {
            return Ok(());
        }
        // By what was noted, there would be nothing to do.
        self.apply
            .notes
            .machine(self.machine.id, |locked| (locked.setup, locked.links) = (None, None))?;
        Err(anyhow!(
            "{} (the next cargo xtask provision sets it up again)",
            differs.join("; ")
        ))
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

    /// With the environment of the account's own login; gives what it says.
    fn as_account(&self, connection: &Connection<'_>, what: &str, words: &[&str], limit: Duration) -> Result<String> {
        let name = self.machine.id.as_str();
        let start: &[&str] = match connection.host().login.as_str() {
            "root" => &["runuser", "-l", name, "-c"],
            _ => &["sudo", "-n", "runuser", "-l", name, "-c"],
        };
        let command = Text::words(words)?.to_string();
        let all: Vec<&str> = start.iter().copied().chain([command.as_str()]).collect();
        let output = connection
            .run(what, &Text::words(&all)?, Stdin::Nothing, limit)
            .with_context(|| format!("its log: {}", self.over_ssh.logs.display()))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The exit code of the command that failed, if that is what it is.
fn code(error: &anyhow::Error) -> Option<i32> {
    match error.downcast_ref() {
        Some(optivex_setup::ssh::Error::Failed { code, .. }) => *code,
        _ => None,
    }
}
