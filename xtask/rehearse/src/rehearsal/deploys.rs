//! Participants deploy: the reference exchange, the bare template, and one with a planted fault.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use optivex_bundle::delivery;
use optivex_bundle::verdict::{JobResult, Verdict};

use super::Stage;
use super::care;
use super::inventory::{self, UAT};
use super::manager::Running;
use super::people::{Person, said};
use crate::steps::Steps;

/// Of `optivex-faulty`, of matching; the stages in which it shows come after those in which it does not.
const FAULT: &str = "aggressor-price";
/// The first stage in which it shows, and the one that the bare template passes.
const FAULT_STAGE: &str = "orders";
const TEMPLATE_STAGE: &str = "boot";
/// All of what is tested, in debug builds, three times on a busy machine.
const JUDGED: Duration = Duration::from_secs(900);
/// Exit code of `deploy --wait` where the exchange fails.
const TESTS_FAILED: i32 = 100;

/// What a participant hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Reference,
    Template,
    Faulty,
}

const EXCHANGES: [Exchange; 3] = [Exchange::Reference, Exchange::Template, Exchange::Faulty];

impl Exchange {
    /// Our program for it, and how it is started.
    fn program(self) -> Option<(&'static str, String)> {
        match self {
            Self::Reference => Some(("optivex", "[./exchange, serve]".to_owned())),
            Self::Template => None,
            Self::Faulty => Some((
                "optivex-faulty",
                // What starts a submission is a file of it.
                format!("[./env, OPTIVEX_FAULT={FAULT}, ./exchange, serve]"),
            )),
        }
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::Reference => Verdict::Passed,
            Self::Template | Self::Faulty => Verdict::Failed,
        }
    }

    /// Whether the stage of this name must be green; before the fault's stage all must.
    fn is_green(self, index: usize, stage: &str, fault_index: usize) -> Option<bool> {
        match self {
            Self::Reference => Some(true),
            Self::Template => Some(stage == TEMPLATE_STAGE),
            Self::Faulty if index < fault_index => Some(true),
            Self::Faulty if index == fault_index => Some(false),
            // It shows in some later ones.
            Self::Faulty => None,
        }
    }
}

/// All of it.
pub(super) fn rehearse(stage: &mut Stage<'_>, steps: &mut Steps) -> Result<()> {
    let people = steps.step("participants at their machines", || people(stage))?;
    let mut daemon = steps.step("UAT's daemon", || {
        let daemon = start_daemon(stage)?;
        Ok((daemon, String::new()))
    })?;
    steps.step("participants deploy", || {
        let note = deploy(stage, &people);
        // Whoever asks why needs them, and the hosts will be gone.
        keep_results(stage, &people)?;
        let note = note?;
        alive(&mut daemon)?;
        Ok(((), note))
    })?;
    steps.step("results have arrived", || {
        let note = results(stage, &people)?;
        Ok(((), note))
    })?;
    steps.step("scoreboard and ledger", || {
        let note = scoreboard(stage, &people)?;
        Ok(((), note))
    })?;
    let names: Vec<String> = people.iter().map(|(person, _)| person.name.clone()).collect();
    care::doctor(stage, steps, &names)?;
    let person = |exchange| people.iter().find(|(_, theirs)| *theirs == exchange);
    let (template, _) = person(Exchange::Template).context("somebody deploys the template")?;
    let daemon = care::rotate(stage, steps, daemon, template)?;
    steps.step("UAT's daemon drains", || {
        drain(stage, daemon)?;
        Ok(((), String::new()))
    })
}

/// Has the daemon end when what it judges is over.
pub(super) fn drain(stage: &Stage<'_>, mut daemon: Running) -> Result<()> {
    alive(&mut daemon)?;
    said(on_host(stage, UAT, &["/opt/optivex/bin/uat-daemon", "drain"])?)?;
    let ended = daemon.wait()?;
    ensure!(
        ended.status.success(),
        "it ended with {}:\n{}",
        ended.status,
        ended.last_words()
    );
    Ok(())
}

/// Those who deploy, each set up as they would be by themselves. Nobody gets where they do not belong.
fn people(stage: &Stage<'_>) -> Result<(Vec<(Person, Exchange)>, String)> {
    let mut people = Vec::new();
    for (index, exchange) in EXCHANGES
        .into_iter()
        .enumerate()
        .take(usize::from(stage.options.participants))
    {
        people.push((Person::participant(&stage.manager, &inventory::name(index))?, exchange));
    }
    for (person, exchange) in &people {
        let (name, branch) = (&person.name, person.ask("git -C optivex branch --show-current")?);
        ensure!(
            branch.trim() == *name,
            "{name} starts on the branch {:?}",
            branch.trim()
        );
        if let Some((program, start)) = exchange.program() {
            person.put(&stripped(stage, program)?, "optivex/exchange-program")?;
            let settings = stage.dirs.run.join("optivex.yaml");
            let artefacts = "artefacts: [env, exchange-program: exchange]";
            fs::write(&settings, format!("build: []\n{artefacts}\nstart: {start}\n"))
                .context("cannot write optivex.yaml")?;
            person.put(&settings, "optivex/optivex.yaml")?;
            person.ask(
                "cd optivex && cp /usr/bin/env . && chmod +x env exchange-program && git add --all && \
                 git -c user.name=Me -c user.email=me@localhost commit --quiet --message 'My exchange'",
            )?;
        }
    }
    apart(&people)?;
    let names: Vec<&str> = people.iter().map(|(person, _)| person.name.as_str()).collect();
    let note = names.join(", ");
    Ok((people, note))
}

/// A key opens its own machine, and on UAT the gate and nothing else.
fn apart(people: &[(Person, Exchange)]) -> Result<()> {
    if let [(first, _), (second, _), ..] = people {
        match first.at(second).ask("id") {
            Ok(_) => bail!("{} can log in to the machine of {}", first.name, second.name),
            Err(error) => ensure!(format!("{error:#}").contains("Permission denied"), "{error:#}"),
        }
    }
    for (person, _) in people {
        let uat = "ssh -o BatchMode=yes -o IdentitiesOnly=yes -i ~/.ssh/id_uat $CK_UAT_USER@$CK_UAT_HOST";
        // The gate answers whatever it is told, and does not do it.
        let answer = person.ask(&format!("{uat} cat /etc/optivex/uat.yaml < /dev/null; true"))?;
        ensure!(
            !answer.contains("participants"),
            "{} reads UAT's settings: {answer}",
            person.name
        );
        let key = person.ask("cat ~/.ssh/id_uat.pub")?;
        ensure!(
            key.starts_with("ssh-ed25519 "),
            "{} has no key of their own: {key}",
            person.name
        );
    }
    Ok(())
}

/// A debug build without what only debuggers read: a fifth of the size.
fn stripped(stage: &Stage<'_>, program: &str) -> Result<PathBuf> {
    let to = stage.dirs.run.join(format!("{program}.stripped"));
    if !to.exists() {
        let mut strip = Command::new("strip");
        strip
            .args(["--strip-debug", "-o"])
            .arg(&to)
            .arg(stage.manager.program(program));
        said(strip).with_context(|| format!("cannot strip {program}"))?;
    }
    Ok(to)
}

/// As its unit would start it, which a host without systemd does not.
pub(super) fn start_daemon(stage: &mut Stage<'_>) -> Result<Running> {
    let command = on_host(stage, UAT, &["/opt/optivex/bin/uat-daemon", "run"])?;
    stage.manager.start_command("uat-daemon", command)
}

/// A command on a host, as its account.
pub(super) fn on_host(stage: &Stage<'_>, name: &str, arguments: &[&str]) -> Result<Command> {
    let hosts = stage.hosts.running();
    let host = hosts.iter().find(|host| host.name == name);
    let host = host.with_context(|| format!("the host {name} is off"))?;
    let mut command = Command::new("nsenter");
    command
        .args(["--all", "--target", &host.first_process.to_string()])
        .args(["setpriv", "--reuid", name, "--regid", name, "--init-groups", "--"])
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", format!("/home/{name}"))
        .env("CK_DEPLOYMENT_DIR", "/var/lib/optivex/spool")
        .env("CK_TESTS_DIR", "/var/lib/optivex/tests")
        .stdin(Stdio::null());
    Ok(command)
}

pub(super) fn alive(daemon: &mut Running) -> Result<()> {
    match daemon.ended()? {
        None => Ok(()),
        Some(status) => bail!("UAT's daemon ended: {status}\n{}", daemon.said()),
    }
}

/// All at once, as on a Friday. The last one does not wait: there the result comes by itself.
fn deploy(stage: &mut Stage<'_>, people: &[(Person, Exchange)]) -> Result<String> {
    let mut running = Vec::new();
    for (index, (person, _)) in people.iter().enumerate() {
        let wait = if index + 1 < people.len() {
            "--wait"
        } else {
            "--no-wait"
        };
        let command = format!("cd optivex && cargo xtask deploy --debug {wait}");
        running.push(person.start(&mut stage.manager, &command)?);
    }
    for ((index, (person, exchange)), running) in people.iter().enumerate().zip(running) {
        let ended = running.wait()?;
        let waits = index + 1 < people.len();
        let expected = match exchange.verdict() {
            Verdict::Failed if waits => TESTS_FAILED,
            _ => 0,
        };
        ensure!(
            ended.status.code() == Some(expected),
            "deploy of {} ended with {}, not with {expected}:\n{}",
            person.name,
            ended.status,
            ended.last_words()
        );
    }
    let last = people.last().context("somebody deploys")?;
    comes_home(stage, &last.0, |_| true)?;
    Ok(format!("{} deployments", people.len()))
}

/// Waits for a result at the participant's machine.
pub(super) fn comes_home(stage: &Stage<'_>, person: &Person, is_it: impl Fn(&JobResult) -> bool) -> Result<()> {
    let start = Instant::now();
    while !result(person).is_ok_and(|result| is_it(&result)) {
        stage.manager.go_on()?;
        ensure!(
            start.elapsed() < JUDGED,
            "the result of {} does not come to the machine",
            person.name
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Copies what has arrived on the hosts to the logs.
fn keep_results(stage: &Stage<'_>, people: &[(Person, Exchange)]) -> Result<()> {
    for host in stage.hosts.running() {
        let home = stage.dirs.disk().join(&host.id).join("home").join(&host.name);
        let results = home.join(delivery::HOME);
        if people.iter().any(|(person, _)| person.name == host.name) && results.is_dir() {
            let mut copy = Command::new("cp");
            copy.args(["-R", "--"])
                .arg(&results)
                .arg(stage.dirs.logs.join(format!("results-{}", host.name)));
            said(copy).context("cannot copy results to the logs")?;
        }
    }
    Ok(())
}

/// As it stands in the participant's home directory.
pub(super) fn result(person: &Person) -> Result<JobResult> {
    let text = person.ask("cat optivex-results/latest/result.json")?;
    serde_json::from_str(&text).with_context(|| format!("the result of {}", person.name))
}

fn results(stage: &Stage<'_>, people: &[(Person, Exchange)]) -> Result<String> {
    let mut notes = Vec::new();
    for (person, exchange) in people {
        stage.manager.go_on()?;
        let name = &person.name;
        let result = result(person)?;
        ensure!(
            result.participant.as_str() == *name && result.verdict == exchange.verdict(),
            "the result of {name} is of {} and says {}, not {}",
            result.participant,
            result.verdict,
            exchange.verdict()
        );
        let fault_index = result.stages.iter().position(|row| row.stage == FAULT_STAGE);
        let fault_index = fault_index.with_context(|| format!("{name}: no stage {FAULT_STAGE}"))?;
        let mut green = 0;
        for (index, row) in result.stages.iter().enumerate() {
            let is_green = row.word() == "passed";
            green += usize::from(is_green);
            if let Some(expected) = exchange.is_green(index, &row.stage, fault_index) {
                ensure!(
                    is_green == expected,
                    "{name}, with {exchange:?}: stage {} is {}",
                    row.stage,
                    row.word()
                );
            }
        }
        for file in ["report.md", "report.html", "junit.xml", "result.json.sig"] {
            person.ask(&format!("test -s optivex-results/latest/{file}"))?;
        }
        notes.push(format!("{name} {} ({green}/{})", result.verdict, result.stages.len()));
    }
    Ok(notes.join(", "))
}

fn scoreboard(stage: &Stage<'_>, people: &[(Person, Exchange)]) -> Result<String> {
    let page = said(on_host(
        stage,
        UAT,
        &["cat", "/var/lib/optivex/spool/public/scoreboard.html"],
    )?)?;
    for (person, _) in people {
        ensure!(page.contains(&person.name), "{} is not on the scoreboard", person.name);
    }
    said(on_host(stage, UAT, &["/opt/optivex/bin/uat-daemon", "status"])?)?;
    let verified = said(on_host(stage, UAT, &["/opt/optivex/bin/uat-daemon", "verify"])?)?;
    Ok(verified.lines().last().unwrap_or_default().trim().to_owned())
}
