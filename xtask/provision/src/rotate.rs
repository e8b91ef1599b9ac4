//! `rotate-keys`: every key of the program replaced, no machine out of reach at any moment, and no deployment refused:
//! what is new is admitted beside the old before anybody shows it, and the old goes once nobody does. Whoever is cut off
//! runs it again: each step sees how far the last run came.

use std::path::PathBuf;

use anyhow::{Context, Result};
use optivex_bundle::inventory::{Machine, RoleName};
use optivex_exit::{Exit, Failure};
use optivex_setup::ssh::{Settings, Ssh};
use optivex_setup::{host_key, keys, rotate};

use crate::apply::Apply;
use crate::each::each;
use crate::hands::OverSsh;
use crate::session::Session;

/// All keys of all machines.
pub(crate) fn all(session: &Session, apply: &Apply<'_>, over_ssh: &OverSsh) -> Result<Exit> {
    let rotation = Rotation {
        apply,
        machines: apply.inventory.machines().collect(),
    };
    let home = std::env::home_dir().context("no home directory")?;
    let over_ssh = rotation.managers_key(session, over_ssh, &home)?;
    rotation.each("making its next keys", |machine| prepare(apply, &over_ssh, machine))?;
    rotation.each("telling it of the others' next keys", |machine| {
        link(apply, &over_ssh, machine)
    })?;
    rotation.each("putting its next keys in place", |machine| {
        over_ssh.replace_host_key(apply, machine)?;
        rotate::swap(&over_ssh.connect(apply, machine)?, &apply.terms.spec(machine))?;
        apply.notes.machine(machine.id, |locked| {
            locked.account_key = locked.next_account_key.take().or(locked.account_key.take());
        })
    })?;
    rotation.each("having it forget the others' old keys", |machine| {
        link(apply, &over_ssh, machine)
    })?;
    rotation.each("replacing the key that signs results", |machine| match machine.role {
        RoleName::Dev => Ok(()),
        RoleName::Uat => Ok(rotate::signing(
            &over_ssh.connect(apply, machine)?,
            &apply.terms.spec(machine),
        )?),
    })?;
    Ok(Exit::Ok)
}

/// Refuses what can be seen to fail before anything is replaced.
pub(crate) fn ready(session: &Session) -> Result<()> {
    let lock = session.lock()?;
    let is_set_up = |machine: &Machine<'_>| {
        lock.machines
            .get(machine.id)
            .is_some_and(|locked| locked.setup.is_some())
    };
    let mut missing = session.inventory.machines().filter(|machine| !is_set_up(machine));
    match missing.next() {
        None => Ok(()),
        Some(machine) => {
            let told = format!("{} is not set up: cargo xtask provision first", machine.id);
            Err(Failure::new(Exit::Usage, told).into())
        }
    }
}

struct Rotation<'a> {
    apply: &'a Apply<'a>,
    machines: Vec<Machine<'a>>,
}

impl Rotation<'_> {
    /// A step of all machines. The next one may count on it: it is not begun unless this one is done everywhere.
    fn each(&self, what: &str, work: impl Fn(&Machine<'_>) -> Result<()> + Sync) -> Result<()> {
        let apply = self.apply;
        let results = each(&self.machines, apply.parallel, |machine| {
            apply.go_on()?;
            (apply.tell)(machine.id, what);
            let result = work(machine);
            if let Err(error) = &result {
                (apply.tell)(machine.id, &format!("FAILED: {error:#}"));
            }
            result.with_context(|| format!("{}: {what}", machine.id))
        });
        let failed: Vec<anyhow::Error> = results.into_iter().filter_map(Result::err).collect();
        let count = failed.len();
        match failed.into_iter().next() {
            None => Ok(()),
            Some(first) => {
                let told = format!(
                    "{first:#}. {count} machines failed; nobody is locked out: run it again once that is mended"
                );
                Err(Failure::new(Exit::SomeHostsFailed, told).into())
            }
        }
    }

    /// Replaces the manager's own; gives connections by the new one.
    fn managers_key(&self, session: &Session, over_ssh: &OverSsh, home: &std::path::Path) -> Result<OverSsh> {
        let apply = self.apply;
        let by = |identity: PathBuf| -> Result<OverSsh> {
            Ok(OverSsh {
                ssh: Ssh::new(Settings {
                    stop: session.stop.clone(),
                    ..Settings::new(identity)
                })?,
                logs: over_ssh.logs.clone(),
            })
        };
        let (next_file, next) = keys::next_manager(home)?;
        let with_next = by(next_file)?;
        self.each("admitting the manager's next key", |machine| {
            let both = [session.manager.clone(), next.clone()];
            rotate::manager(&over_ssh.connect(apply, machine)?, &both, &[])?;
            // Only what was tried out lets the old one go.
            with_next.connect(apply, machine).map(drop)
        })?;
        keys::adopt(home)?;
        if session.inventory.aws.is_some() {
            apply.cloud.import_key(&next)?;
        }
        let over_ssh = by(session.identity.clone())?;
        let gone = keys::replaced(home)?;
        self.each("no longer admitting the manager's old key", |machine| {
            let connection = over_ssh.connect(apply, machine)?;
            Ok(rotate::manager(&connection, std::slice::from_ref(&next), &gone)?)
        })?;
        keys::forget_replaced(home)?;
        Ok(over_ssh)
    }
}

/// Has a machine make its next keys, and notes them: from here on others are told of both.
fn prepare(apply: &Apply<'_>, over_ssh: &OverSsh, machine: &Machine<'_>) -> Result<()> {
    let locked = apply.notes.of(machine.id)?;
    let connection = over_ssh.connect(apply, machine)?;
    let mut host = host_key::prepare(&connection)?;
    if host.shown != locked.host_key {
        // A run that was cut off has put it in place, and not come to note it.
        over_ssh.replace_host_key(apply, machine)?;
        host = host_key::prepare(&over_ssh.connect(apply, machine)?)?;
    }
    let own = rotate::prepare(&connection, &apply.terms.spec(machine))?;
    apply.notes.machine(machine.id, |locked| {
        locked.next_host_key = Some(host.next);
        // What is in use counts, whatever a run that was cut off has noted.
        locked.account_key = own.used.or(locked.account_key.take());
        locked.next_account_key = Some(own.next);
    })
}

fn link(apply: &Apply<'_>, over_ssh: &OverSsh, machine: &Machine<'_>) -> Result<()> {
    let links = apply.terms.links_of(machine, &apply.notes.read());
    let links = links.with_context(|| format!("what {} is told is not known", machine.id))?;
    let connection = over_ssh.connect(apply, machine)?;
    optivex_setup::link(&connection, &apply.terms.spec(machine), &links, &|_| {})?;
    apply
        .notes
        .machine(machine.id, |locked| locked.links = Some(links.hash()))
}
