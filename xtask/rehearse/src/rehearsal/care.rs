//! What a manager does for machines that people work on: looks whether they are well, mends one, replaces all keys.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use optivex_bundle::lock::{Lock, LockedMachine};

use super::Stage;
use super::deploys::{self, on_host};
use super::inventory::UAT;
use super::manager::Running;
use super::people::{Person, said};
use super::provisioning::nothing_to_do;
use crate::steps::Steps;

/// Exit code of `doctor` where a machine is not well.
const NOT_WELL: i32 = 104;

/// All is well; then something is broken on purpose, and mended.
pub(super) fn doctor(stage: &mut Stage<'_>, steps: &mut Steps, names: &[String]) -> Result<()> {
    let all = [names, &[UAT.to_owned()]].concat().join(",");
    steps.step("the doctor finds all machines well", || {
        let said = stage.manager.provision(&["doctor", "--on", &all])?;
        let well = said.stdout.lines().filter(|line| line.contains(" ok ")).count();
        // Four of each dev machine, three of UAT.
        let expected = names.len() * 4 + 3;
        ensure!(
            well == expected,
            "{well} of {expected} findings are ok:\n{}",
            said.stdout
        );
        Ok(((), format!("{well} findings")))
    })?;
    let [_, name, ..] = names else {
        bail!("two participants at least")
    };
    steps.step("a machine is broken, found and mended", || {
        let key = format!("/home/{name}/.ssh/id_uat");
        said(on_host(stage, name, &["mv", &key, &format!("{key}.gone")])?)?;
        let ended = stage.manager.start(&["doctor", "--on", name])?.wait()?;
        ensure!(
            ended.status.code() == Some(NOT_WELL),
            "the doctor of a broken machine ends with {}:\n{}",
            ended.status,
            ended.last_words()
        );
        for wrong in [
            format!("WRONG   it is as it was set up: making {key}"),
            "WRONG   UAT answers the participant's key".to_owned(),
        ] {
            ensure!(ended.stdout.contains(&wrong), "not told: {wrong}\n{}", ended.stdout);
        }
        stage.manager.provision(&["apply", "--yes"])?;
        let own = stage.manager.participants_key(name)?.display().to_string();
        stage.manager.provision(&["doctor", "--on", name, "--key", &own])?;
        nothing_to_do(stage)?;
        Ok(((), format!("{key} was gone")))
    })
}

/// All keys are replaced while somebody knocks at UAT, and a deployment still comes home.
pub(super) fn rotate(stage: &mut Stage<'_>, steps: &mut Steps, daemon: Running, person: &Person) -> Result<Running> {
    let before = (stage.manager.lock()?, stage.manager.key()?);
    steps.step("all keys are replaced", || {
        let knocks = knock_while(stage, &person.name, |stage| {
            stage.manager.provision(&["rotate-keys", "--yes"]).map(drop)
        })?;
        replaced(&before, &(stage.manager.lock()?, stage.manager.key()?))?;
        nothing_to_do(stage)?;
        match person.ask("true") {
            Ok(_) => bail!("{} is not told of another host key", person.name),
            Err(error) => ensure!(
                format!("{error:#}").contains("Host key verification failed"),
                "{error:#}"
            ),
        }
        Ok(((), format!("UAT let {} in {knocks} times meanwhile", person.name)))
    })?;
    steps.step("the doctor deploys a canary", || {
        // Its settings tell other host keys, and without systemd nobody starts it anew.
        deploys::drain(stage, daemon)?;
        let mut daemon = deploys::start_daemon(stage)?;
        let person = Person::participant(&stage.manager, &person.name)?;
        let first = deploys::result(&person)?;
        let commit = "git -c user.name=Me -c user.email=me@localhost commit --quiet --allow-empty --message again";
        person.ask(&format!("cd optivex && {commit}"))?;
        let own = stage.manager.participants_key(&person.name)?.display().to_string();
        let canary = ["doctor", "--on", &person.name, "--key", &own, "--canary"];
        let told = stage.manager.provision(&canary)?.stdout;
        ensure!(told.contains("ok      a deployment comes back with a result"), "{told}");
        deploys::comes_home(stage, &person, |result| result.submission != first.submission)?;
        deploys::alive(&mut daemon)?;
        let state = "/var/lib/optivex/spool/state";
        let allowed = said(on_host(stage, UAT, &["cat", &format!("{state}/id_sign.allowed")])?)?;
        ensure!(allowed.lines().count() == 2, "keys that sign: {allowed}");
        let verified = said(on_host(stage, UAT, &["/opt/optivex/bin/uat-daemon", "verify"])?)?;
        ensure!(verified.contains(" 0 wrong"), "{verified}");
        Ok((daemon, verified.lines().next().unwrap_or_default().to_owned()))
    })
}

/// No key is what it was, and all of them are new.
fn replaced(before: &(Lock, String), after: &(Lock, String)) -> Result<()> {
    ensure!(before.1 != after.1, "the manager's key is the old one");
    let keys = |lock: &Lock| -> Vec<Option<String>> {
        let both = |machine: &LockedMachine| [machine.host_key.clone(), machine.account_key.clone()];
        let keys = lock.machines.values().flat_map(both);
        keys.map(|key| key.map(|key| key.to_string())).collect()
    };
    let (old, new) = (keys(&before.0), keys(&after.0));
    let kept: Vec<_> = new.iter().filter(|key| key.is_none() || old.contains(key)).collect();
    ensure!(old.len() == new.len() && kept.is_empty(), "not replaced: {kept:?}");
    ensure!(
        new.iter().collect::<BTreeSet<_>>().len() == new.len(),
        "a key stands twice"
    );
    let between = after.0.machines.values().filter(|machine| machine.is_between_keys());
    ensure!(between.count() == 0, "some are between keys");
    Ok(())
}

/// Has a participant's account ask UAT's gate again and again while something is done: it must be let in each time, by
/// keys and host keys that both sides know. Gives how often it was.
fn knock_while(stage: &mut Stage<'_>, name: &str, work: impl FnOnce(&mut Stage<'_>) -> Result<()>) -> Result<usize> {
    let uat = stage.manager.lock()?;
    let uat = uat.machines.iter().find(|(machine, _)| machine.as_str() == UAT);
    let address = uat.and_then(|(_, machine)| machine.private_address.clone());
    let address = address.context("UAT has no address")?;
    let knock = || -> Result<Command> {
        let key = format!("/home/{name}/.ssh/id_uat");
        let place = format!("{UAT}@{address}");
        let words = [
            "ssh",
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
        ];
        let more = [
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "ConnectTimeout=20",
            "-i",
            &key,
            &place,
        ];
        let mut command = on_host(stage, name, &[&words[..], &more].concat())?;
        command.stdin(Stdio::null());
        Ok(command)
    };
    let mut command = knock()?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let knocks = scope.spawn(|| -> Result<usize> {
            let mut count = 0;
            loop {
                // The last one begins when all is over, and has to get in.
                let last = is_over.load(Ordering::SeqCst);
                let output = command.output().context("cannot start nsenter")?;
                let told = String::from_utf8_lossy(&output.stderr);
                // Its own trouble is what ssh ends with 255; the gate ends otherwise.
                let is_in = output.status.code().is_some_and(|code| code != 255);
                count += usize::from(is_in);
                if last {
                    ensure!(is_in, "{name} does not get in afterwards: {told}");
                    return Ok(count);
                }
                // That sshd starts anew to read its keys takes a moment, and so does it to replace both halves of one's
                // own: whoever deploys has patience for both.
                if told.contains("contents do not match public") {
                    continue;
                }
                for refusal in ["Permission denied", "verification failed"] {
                    ensure!(!told.contains(refusal), "{name} is refused: {told}");
                }
            }
        });
        let worked = work(stage);
        is_over.store(true, Ordering::SeqCst);
        let knocks = knocks.join().map_err(|_| anyhow::anyhow!("the knocking panicked"))?;
        worked.and(knocks)
    })
}
