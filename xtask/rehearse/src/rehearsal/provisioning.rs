//! Machines: from an inventory to all of them, through what happens to them, to none.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use optivex_bundle::moment::Moment;

use super::Stage;
use super::inventory::{self, Inventory, PROGRAM, UAT};
use crate::hosts::Seen;
use crate::packages::PACKAGE;
use crate::steps::Steps;

/// Exit code of provisioning: some hosts are done and some are not.
const SOME_FAILED: i32 = 104;
/// Twelve weeks.
const PROGRAM_S: u64 = 12 * 7 * 86_400;
const DAY_S: u64 = 86_400;
/// For what the kernel does in its own time.
const SETTLE: Duration = Duration::from_secs(20);

/// Machines, and what may happen to them until they stand for good.
pub(super) fn build_up(stage: &mut Stage<'_>, steps: &mut Steps) -> Result<()> {
    let all = usize::from(stage.options.participants);
    let mut inventory = steps.step("the inventory", || {
        let ec2 = stage.hosts.ec2();
        let first = |action: &str, arguments: &[(&str, &str)], element: &str| {
            ec2.call(action, arguments, element)?
                .into_iter()
                .next()
                .with_context(|| format!("moto answers {action} without {element}"))
        };
        // Any that moto knows and that could be a machine's: what is on the hosts is not of it.
        let image = [
            ("Filter.1.Name", "name"),
            ("Filter.1.Value.1", "ubuntu/images/hvm-ssd/*"),
            ("Filter.2.Name", "architecture"),
            ("Filter.2.Value.1", "x86_64"),
        ];
        let inventory = Inventory {
            ami: first("DescribeImages", &image, "imageId")?,
            end: Moment::from_unix_s(Moment::now().unix_s() + PROGRAM_S),
            subnet: first("DescribeSubnets", &[], "subnetId")?,
            participants: Vec::new(),
            packages: Vec::new(),
        };
        Ok((inventory, stage.manager.inventory().display().to_string()))
    })?;
    // The last one comes later.
    for index in 0..all - 1 {
        add_participant(stage, &mut inventory, index)?;
    }

    steps.step("apply", || {
        stage.manager.provision(&["apply", "--yes"])?;
        let hosts = expect_hosts(stage, &inventory)?;
        Ok(((), format!("{} hosts", hosts.len())))
    })?;
    steps.step("apply again: nothing to do", || {
        nothing_to_do(stage)?;
        Ok(((), String::new()))
    })?;

    add_participant(stage, &mut inventory, all - 1)?;
    let late = inventory::name(all - 1);
    steps.step("add a participant; the power fails in the set-up", || {
        let note = fail_in_the_middle(stage, &late)?;
        Ok(((), note))
    })?;
    steps.step("power is back: resume", || {
        stage.hosts.restore(&late)?;
        stage.manager.provision(&["apply", "--yes"])?;
        let hosts = expect_hosts(stage, &inventory)?;
        Ok(((), format!("{} hosts", hosts.len())))
    })?;

    steps.step("change a role's packages", || {
        inventory.packages.push(package().to_owned());
        write(stage, &inventory)?;
        stage.manager.provision(&["apply", "--yes"])?;
        expect_hosts(stage, &inventory)?;
        nothing_to_do(stage)?;
        Ok(((), package().to_owned()))
    })?;

    steps.step("move the end", || {
        inventory.end = Moment::from_unix_s(inventory.end.unix_s() + DAY_S);
        write(stage, &inventory)?;
        stage.manager.provision(&["extend", "--yes"])?;
        let lock = stage.manager.lock()?;
        let late = lock
            .machines
            .iter()
            .find(|(_, machine)| machine.end != Some(inventory.end));
        ensure!(late.is_none(), "it does not end when it should: {late:?}");
        nothing_to_do(stage)?;
        Ok(((), inventory.end.to_string()))
    })?;
    steps.step("status, and a shell on a machine", || {
        look_around(stage, &inventory)?;
        Ok(((), String::new()))
    })
}

/// What `status` tells of all machines, and `ssh` of each.
fn look_around(stage: &mut Stage<'_>, inventory: &Inventory) -> Result<()> {
    let hosts = expect_hosts(stage, inventory)?;
    let told = stage.manager.provision(&["status", "--json"])?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&told.stdout).context("status as JSON")?;
    ensure!(rows.len() == hosts.len(), "status tells of {} machines", rows.len());
    for row in &rows {
        let name = row["machine"].as_str().context("a row without a machine")?;
        let is_right = row["state"] == "up" && row["set_up"] == true && row["end"] == inventory.end.to_string();
        ensure!(is_right && hosts.contains_key(name), "status tells {row}");
        let said = stage.manager.provision(&["ssh", name, "--", "hostname"])?;
        ensure!(said.stdout.trim() == name, "{name} is {:?}", said.stdout.trim());
    }
    Ok(())
}

/// Everything goes, and nothing is left.
pub(super) fn tear_down(stage: &mut Stage<'_>, steps: &mut Steps) -> Result<()> {
    steps.last("destroy", || {
        stage.manager.provision(&["destroy", "--yes", "--program", PROGRAM])?;
        Ok(((), String::new()))
    })?;
    steps.last("nothing is left", || {
        let start = Instant::now();
        loop {
            let held = held(stage)?;
            if held.is_empty() {
                return Ok(((), String::new()));
            }
            if start.elapsed() > SETTLE {
                bail!("left: {}", held.join(", "));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    })
}

fn add_participant(stage: &Stage<'_>, inventory: &mut Inventory, index: usize) -> Result<()> {
    let name = inventory::name(index);
    let key = stage.manager.participants_key(&name)?.with_extension("pub");
    let key = fs::read_to_string(&key).with_context(|| format!("cannot read {}", key.display()))?;
    inventory.participants.push((name, key.trim().to_owned()));
    write(stage, inventory)
}

fn write(stage: &Stage<'_>, inventory: &Inventory) -> Result<()> {
    let path = stage.manager.inventory();
    fs::write(&path, inventory.text()).with_context(|| format!("cannot write {}", path.display()))
}

/// There is one host a machine of the inventory, and no other.
fn expect_hosts(stage: &Stage<'_>, inventory: &Inventory) -> Result<BTreeMap<String, Seen>> {
    let hosts: BTreeMap<String, Seen> = stage
        .hosts
        .running()
        .into_iter()
        .map(|host| (host.name.clone(), host))
        .collect();
    let mut wanted: Vec<&str> = inventory.participants.iter().map(|(name, _)| name.as_str()).collect();
    wanted.push(UAT);
    wanted.sort_unstable();
    let are: Vec<&str> = hosts.keys().map(String::as_str).collect();
    ensure!(
        are == wanted,
        "hosts of {}, wanted were {}",
        are.join(", "),
        wanted.join(", ")
    );
    Ok(hosts)
}

/// An apply that changes neither EC2 nor a host.
pub(super) fn nothing_to_do(stage: &mut Stage<'_>) -> Result<()> {
    let before = (stage.hosts.ec2().instances()?, stage.hosts.running());
    let ended = stage.manager.provision(&["apply", "--yes"])?;
    ensure!(
        ended.stdout.contains("Nothing to do."),
        "it does not say that there is nothing to do:\n{}",
        ended.last_words()
    );
    ensure!(
        before == (stage.hosts.ec2().instances()?, stage.hosts.running()),
        "machines are others than before"
    );
    Ok(())
}

/// Starts an apply and cuts a host's power while it is set up: when its user account is there and not all else.
fn fail_in_the_middle(stage: &mut Stage<'_>, name: &str) -> Result<String> {
    let mut apply = stage.manager.start(&["apply", "--yes"])?;
    loop {
        let host = stage.hosts.running().into_iter().find(|host| host.name == name);
        if let Some(host) = host
            && stage.dirs.disk().join(&host.id).join("home").join(name).exists()
        {
            break;
        }
        if let Some(status) = apply.ended()? {
            bail!(
                "apply ended before {name} was set up: {status}\n{}",
                apply.wait()?.last_words()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    stage.hosts.cut_power(name)?;
    let ended = apply.wait()?;
    ensure!(
        ended.status.code() == Some(SOME_FAILED),
        "apply with a dead host ends with {}, not with {SOME_FAILED}:\n{}",
        ended.status,
        ended.last_words()
    );
    ensure!(
        ended.last_words().contains(name),
        "apply does not tell which host failed:\n{}",
        ended.last_words()
    );
    Ok(name.to_owned())
}

/// One that has to be installed, where packages are Debian's; elsewhere one that every system has.
fn package() -> &'static str {
    if std::path::Path::new("/usr/bin/dpkg-deb").exists() {
        PACKAGE
    } else {
        "bash"
    }
}

/// What EC2 and the kernel still have of the program.
fn held(stage: &Stage<'_>) -> Result<Vec<String>> {
    let ec2 = stage.hosts.ec2();
    let mut held: Vec<String> = ec2
        .instances()?
        .into_iter()
        .filter(|instance| instance.state != "terminated")
        .map(|instance| format!("{} ({})", instance.id, instance.state))
        .collect();
    held.extend(ec2.call("DescribeKeyPairs", &[], "keyPairId")?);
    held.extend(ec2.call("DescribeVolumes", &[], "volumeId")?);
    held.extend(ec2.call("DescribeAddresses", &[], "allocationId")?);
    let groups = ec2.call("DescribeSecurityGroups", &[], "groupName")?;
    held.extend(groups.into_iter().filter(|name| name != "default"));
    held.extend(stage.hosts.held()?);
    held.extend(processes()?);
    Ok(held)
}

/// Processes of the rehearsal's world beside the rehearsal and moto.
fn processes() -> Result<Vec<String>> {
    let mut found = Vec::new();
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc").context("cannot read the processes")? {
        let entry = entry.context("cannot read the processes")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) || name == "1" || name == own {
            continue;
        }
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if !command.contains("moto_server") {
            found.push(format!("process {name} {}", command.replace('\0', " ")));
        }
    }
    Ok(found)
}
