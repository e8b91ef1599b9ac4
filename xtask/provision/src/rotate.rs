//! `rotate-keys`: every key of the program replaced, no machine out of reach at any moment. Whoever is cut off runs it
//! again: each step sees how far the last run came.

use anyhow::{Context, Result};
use optivex_bundle::inventory::Machine;
use optivex_exit::Exit;
use optivex_setup::ssh::{Settings, Ssh};
use optivex_setup::{keys, rotate};

use crate::apply::Apply;
use crate::hands::{self, OverSsh};
use crate::plan::Wanted;
use crate::session::Session;

/// All keys of all machines.
pub(crate) fn all(session: &Session, apply: &Apply<'_>, over_ssh: &OverSsh) -> Result<Exit> {
    let machines: Vec<Machine<'_>> = apply.inventory.machines().collect();
    for machine in &machines {
        let locked = apply.notes.of(machine.id)?;
        locked
            .setup
            .with_context(|| format!("{} is not set up: cargo xtask provision first", machine.id))?;
    }
    let home = std::env::home_dir().context("no home directory")?;
    let (next_file, next) = keys::next_manager(&home)?;
    let with_next = Ssh::new(Settings {
        stop: session.stop.clone(),
        ..Settings::new(next_file)
    })?;
    for machine in &machines {
        (apply.tell)(machine.id, "admitting the manager's next key");
        rotate::manager(
            &over_ssh.connect(apply, machine)?,
            &[session.manager.clone(), next.clone()],
            &[],
        )?;
        let host = hands::host(apply.inventory, machine, &apply.notes.of(machine.id)?)?;
        // Only what was tried out lets the old one go.
        with_next.connect(&host, &over_ssh.log(machine.id)?)?;
    }
    for machine in &machines {
        let host = hands::host(apply.inventory, machine, &apply.notes.of(machine.id)?)?;
        let connection = with_next.connect(&host, &over_ssh.log(machine.id)?)?;
        rotate::manager(
            &connection,
            std::slice::from_ref(&next),
            std::slice::from_ref(&session.manager),
        )?;
    }
    keys::adopt(&home)?;
    if session.inventory.aws.is_some() {
        apply.cloud.import_key(&next)?;
    }
    let over_ssh = OverSsh {
        ssh: Ssh::new(Settings {
            stop: session.stop.clone(),
            ..Settings::new(session.identity.clone())
        })?,
        logs: over_ssh.logs.clone(),
    };
    for machine in &machines {
        (apply.tell)(
            machine.id,
            "having it make its next host key and its account's next key",
        );
        over_ssh.replace_host_key(apply, machine)?;
        let learned = rotate::prepare(&over_ssh.connect(apply, machine)?, &apply.terms.spec(machine))?;
        let key = learned.uat_key.or(learned.results_key);
        apply.notes.machine(machine.id, |locked| {
            if key.is_some() {
                locked.account_key = key;
            }
        })?;
    }
    for machine in &machines {
        (apply.tell)(machine.id, "telling it of the others' keys");
        let links = apply.terms.links_of(machine, &apply.notes.read());
        let links = links.with_context(|| format!("what {} is told is not known", machine.id))?;
        let connection = over_ssh.connect(apply, machine)?;
        optivex_setup::link(&connection, &apply.terms.spec(machine), &links, &|_| {})?;
        let links = apply.terms.links(machine, &apply.notes.read());
        apply.notes.machine(machine.id, |locked| locked.links = links)?;
    }
    for machine in &machines {
        rotate::swap(&over_ssh.connect(apply, machine)?, &apply.terms.spec(machine))?;
        (apply.tell)(machine.id, "done");
    }
    Ok(Exit::Ok)
}
