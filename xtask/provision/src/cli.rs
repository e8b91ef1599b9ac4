//! The commands of `cargo xtask provision`.

use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command as Process, ExitCode};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use optivex_bundle::inventory::{Inventory, RoleName, Standing};
use optivex_bundle::lock::Lock;
use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;
use optivex_bundle::selector::{self, Selector};
use optivex_exit::{self as exit, Exit, Failure};
use optivex_setup::ssh::quote::Text;
use optivex_setup::ssh::{Settings, Ssh, known_hosts};
use optivex_setup::{Supplies, keys};

use crate::apply::{Apply, Done, Notes};
use crate::doctor::Canary;
use crate::hands::{self, Hands, OverSsh};
use crate::place::Place;
use crate::plan::{self, Action, Input, Plan, World};
use crate::session::Session;
use crate::wanted::{self, Terms};

/// Machines on EC2 and their set-up over SSH, from infra/inventory.yaml
///
/// Without a command: plan, ask, apply.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask provision", bin_name = "cargo xtask provision", after_help = exit::table())]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct Common {
    /// The inventory; its lock file lies beside it
    #[arg(long, value_name = "FILE", global = true)]
    inventory: Option<PathBuf>,
    /// Only these machines: names with commas between them, * and ? for parts of names
    #[arg(long, value_name = "SEL", global = true)]
    on: Option<Selector>,
    /// Only machines of this role: dev or uat
    #[arg(long, value_name = "ROLE", global = true)]
    role: Option<RoleName>,
    /// Machines that are worked on at a time
    #[arg(long, value_name = "N", default_value_t = 8, global = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Ask nothing
    #[arg(long, global = true)]
    yes: bool,
    /// Tell the plan or the status as JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Tell what would be done, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
    /// Go on although a run on another machine holds the lock: it must be gone for sure
    #[arg(long, global = true)]
    steal_lock: bool,
    /// Build tools of `tools: manager` without optimisations: the rehearsal's
    #[arg(long, global = true, hide = true)]
    debug_tools: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Tells what would be done, and what it costs
    Plan,
    /// Does it; asks only where it ends machines
    Apply,
    /// What is there
    Status,
    /// Logs in to a machine
    Ssh {
        /// Its name
        name: Name,
        /// What is run there, instead of a shell: a program and its arguments, which arrive as they are given
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Moves the machines' end to the inventory's program.end: change it there first
    Extend,
    /// Replaces the manager's key, all host keys, and the keys of all accounts
    RotateKeys,
    /// Walks the participant's path on each machine
    Doctor {
        /// A participant's private key, to log in as they do
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Deploy what is on the participant's branch, too, and wait for its result
        #[arg(long)]
        canary: bool,
    },
    /// Removes all that was made, and nothing else
    Destroy {
        /// The program's id, where nobody is asked
        #[arg(long, value_name = "ID")]
        program: Option<Name>,
    },
}

/// Runs a command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = run(&cli);
    result
        .unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            exit::code_of(&error)
        })
        .into()
}

fn run(cli: &Cli) -> Result<Exit> {
    let common = &cli.common;
    honours(cli)?;
    let session = Session::open(Place::find(common.inventory.as_deref())?)?;
    match &cli.command {
        None => provision(&session, common, Asks::Always, "apply", &|_| true),
        Some(Command::Plan) => {
            let lock = session.lock()?;
            let world = session.observe(&lock)?;
            let supplies = session.supplies(!common.debug_tools)?;
            tell(&make(&session, common, &lock, &world, &supplies)?, common.json)?;
            Ok(Exit::Ok)
        }
        Some(Command::Apply) => provision(&session, common, Asks::WhereSomethingIsLost, "apply", &|_| true),
        Some(Command::Status) => status(&session, common),
        Some(Command::Ssh { name, command }) => ssh(&session, name, command),
        Some(Command::Extend) => {
            let lock = session.lock()?;
            let end = session.inventory.program.end;
            let made = session
                .inventory
                .machines()
                .filter(|machine| machine.standing.is_none());
            let has_end = |id: &Name| lock.machines.get(id).is_some_and(|locked| locked.end.is_some());
            let unknown: Vec<&str> = made.filter(|one| !has_end(one.id)).map(|one| one.id.as_str()).collect();
            if !unknown.is_empty() {
                let unknown = unknown.join(", ");
                eprintln!("note: not set up yet, and not extended by this: {unknown}. cargo xtask provision does both");
            }
            let moves = |action: &Action| {
                let locked = action.machine().and_then(|machine| lock.machines.get(machine));
                let reaches = matches!(action, Action::Start { .. } | Action::Await { .. });
                let is_set_up = matches!(action, Action::SetUp { .. } | Action::Connect { .. });
                (reaches || is_set_up) && locked.is_some_and(|locked| locked.end.is_some_and(|told| told != end))
            };
            provision(&session, common, Asks::Always, "extend", &moves)
        }
        Some(Command::RotateKeys) => {
            let _held = session.hold("rotate-keys", common.steal_lock)?;
            crate::rotate::ready(&session)?;
            let count = session.inventory.machines().count();
            println!(
                "- your key to {count} machines, {}\n- the host keys of all of them: tell participants the new ones, their \
                 ssh refuses others\n- the keys by which dev machines and UAT know each other\n- the key that signs results: \
                 signatures by the old one stay good\nParticipants' own keys stay: they stand in the inventory.",
                session.identity.display()
            );
            if !common.yes && !confirmed("Replace these?")? {
                println!("Nothing was done.");
                return Ok(Exit::Ok);
            }
            let supplies = session.supplies(!common.debug_tools)?;
            with_apply(&session, common, &supplies, &World::default(), |apply, over_ssh| {
                crate::rotate::all(&session, apply, over_ssh)
            })
        }
        Some(Command::Doctor { key, canary }) => {
            let _held = session.hold("doctor", common.steal_lock)?;
            let supplies = session.supplies(!common.debug_tools)?;
            let chosen = scope(&session, common)?;
            with_apply(&session, common, &supplies, &World::default(), |apply, over_ssh| {
                let canary = canary.then_some(match common.debug_tools {
                    true => Canary::Debug,
                    false => Canary::Release,
                });
                crate::doctor::all(apply, over_ssh, chosen.as_deref(), key.as_deref(), canary)
            })
        }
        Some(Command::Destroy { program }) => destroy(&session, common, program.as_ref()),
    }
}

/// Refuses what a command would not honour: who says `--on` or `--dry-run` counts on it.
fn honours(cli: &Cli) -> Result<()> {
    let (command, scope, dry_run) = match &cli.command {
        None | Some(Command::Plan | Command::Apply | Command::Extend | Command::Status) => return Ok(()),
        Some(Command::Doctor { .. }) => ("doctor", true, false),
        // Keys and machines hang together: all of them, or none.
        Some(Command::RotateKeys) => ("rotate-keys", false, false),
        Some(Command::Destroy { .. }) => ("destroy", false, true),
        Some(Command::Ssh { .. }) => ("ssh", false, false),
    };
    let common = &cli.common;
    let said = [
        ("--on", common.on.is_some() && !scope),
        ("--role", common.role.is_some() && !scope),
        ("--dry-run", common.dry_run && !dry_run),
    ];
    match said.iter().find(|(_, is_said)| *is_said) {
        Some((option, _)) => Err(Failure::new(Exit::Usage, format!("{command} knows no {option}")).into()),
        None => Ok(()),
    }
}

/// The machines that are meant; all if none.
fn scope(session: &Session, common: &Common) -> Result<Option<Vec<Name>>> {
    if common.on.is_none() && common.role.is_none() {
        return Ok(None);
    }
    let chosen = selector::choose(&session.inventory, common.on.as_ref(), common.role)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    Ok(Some(chosen.iter().map(|machine| machine.id.clone()).collect()))
}

fn make(session: &Session, common: &Common, lock: &Lock, world: &World, supplies: &Supplies) -> Result<Plan> {
    let scope = scope(session, common)?;
    let input = Input {
        inventory: &session.inventory,
        prices: &session.prices,
        lock,
        world,
        wanted: &Terms {
            inventory: &session.inventory,
            supplies,
        },
        now: session.started,
        scope: scope.as_deref(),
    };
    let mut plan = plan::plan(&input)?;
    if keys::is_between(&session.identity) {
        let told = "rotate-keys was cut off at your own key: machines may admit the one before, too. Run it again";
        plan.notes.push(told.to_owned());
    }
    Ok(plan)
}

fn tell(plan: &Plan, json: bool) -> Result<()> {
    match json {
        true => println!("{}", serde_json::to_string_pretty(plan)?),
        false => println!("{plan}"),
    }
    Ok(())
}

/// When somebody is asked before a plan is carried out, unless by `--yes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// Always.
    Always,
    /// `apply` is said on purpose: what it makes can be taken back, what it ends cannot.
    WhereSomethingIsLost,
}

/// Plan, ask, apply: of the plan's actions those that `is_meant`.
fn provision(
    session: &Session,
    common: &Common,
    asks: Asks,
    command: &str,
    is_meant: &dyn Fn(&Action) -> bool,
) -> Result<Exit> {
    // A plan for people needs nobody's leave.
    let _held = match common.dry_run {
        true => None,
        false => Some(session.hold(command, common.steal_lock)?),
    };
    let lock = session.lock()?;
    let world = session.observe(&lock)?;
    let supplies = session.supplies(!common.debug_tools)?;
    let mut plan = make(session, common, &lock, &world, &supplies)?;
    plan.actions.retain(is_meant);
    tell(&plan, common.json)?;
    if plan.is_empty() || common.dry_run {
        return Ok(Exit::Ok);
    }
    let asks = match asks {
        Asks::Always => true,
        Asks::WhereSomethingIsLost => plan.ends_machines(),
    };
    if asks && !common.yes && !confirmed("Do this?")? {
        println!("Nothing was done.");
        return Ok(Exit::Ok);
    }
    with_apply(session, common, &supplies, &world, |apply, over_ssh| {
        let done = apply.run(&plan.actions)?;
        report(&done, over_ssh, common.json)?;
        ended(&done)
    })
}

fn ended(done: &[Done]) -> Result<Exit> {
    match done.iter().filter(|done| done.error.is_some()).count() {
        0 => Ok(Exit::Ok),
        failed => {
            let all = done.len();
            let told = format!("{failed} of {all} machines are not done; run it again once that is mended");
            Err(Failure::new(Exit::SomeHostsFailed, told).into())
        }
    }
}

fn with_apply(
    session: &Session,
    common: &Common,
    supplies: &Supplies,
    world: &World,
    work: impl FnOnce(&Apply<'_>, &OverSsh) -> Result<Exit>,
) -> Result<Exit> {
    let settings = settings(session);
    let over_ssh = OverSsh {
        ssh: Ssh::new(settings)?,
        logs: session.place.logs(session.started),
    };
    let begun = Instant::now();
    let output = Mutex::new(());
    let tell = |machine: &Name, what: &str| {
        // A line at a time, whoever tells.
        let _one = output.lock();
        eprintln!("{:>6.1} s  {machine:<13} {what}", begun.elapsed().as_secs_f64());
    };
    let apply = Apply {
        inventory: &session.inventory,
        terms: Terms {
            inventory: &session.inventory,
            supplies,
        },
        place: &session.place,
        cloud: session.cloud.as_ref(),
        hands: &over_ssh as &dyn Hands,
        manager: &session.manager,
        world,
        notes: Notes::new(session.place.lock(), session.lock()?),
        parallel: usize::from(common.parallel),
        stop: session.stop.clone(),
        tell: &tell,
    };
    work(&apply, &over_ssh)
}

fn settings(session: &Session) -> Settings {
    Settings {
        stop: session.stop.clone(),
        ..Settings::new(session.identity.clone())
    }
}

/// The table at the end; beside JSON, which standard output is for then.
fn report(done: &[Done], over_ssh: &OverSsh, json: bool) -> Result<()> {
    let mut output: Box<dyn Write> = match json {
        true => Box::new(std::io::stderr()),
        false => Box::new(std::io::stdout()),
    };
    writeln!(output, "\n{:<14} {:>8} {:>9}", "machine", "steps", "took")?;
    for one in done {
        let verdict = match &one.error {
            None => String::new(),
            Some(error) => format!("  FAILED: {error:#}"),
        };
        let took = one.took.as_secs_f64();
        writeln!(output, "{:<14} {:>8} {took:>7.1} s{verdict}", one.machine, one.actions)?;
        for note in &one.notes {
            writeln!(output, "{:<14} note: {note}", "")?;
        }
    }
    writeln!(output, "logs: {}", over_ssh.logs.display())?;
    Ok(())
}

/// Whether somebody says yes.
fn confirmed(question: &str) -> Result<bool> {
    let answer = ask(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
}

fn ask(question: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        let told = "nobody is there to ask: say --yes";
        return Err(Failure::new(Exit::Usage, told).into());
    }
    eprint!("{question}");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

fn status(session: &Session, common: &Common) -> Result<Exit> {
    let lock = session.lock()?;
    plan::in_sight(&session.inventory, &lock)?;
    let world = session.observe(&lock)?;
    let chosen = selector::choose(&session.inventory, common.on.as_ref(), common.role)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let rows: Vec<StatusRow> = chosen
        .iter()
        .map(|machine| {
            let locked = lock.machines.get(machine.id);
            let instance = locked.and_then(|locked| locked.instance.clone());
            let observed = world.instances.iter().find(|one| one.machine == *machine.id);
            let state = match (machine.standing, observed) {
                (Some(Standing { address, .. }), _) => format!("stands at {address}"),
                (None, Some(observed)) => format!("{:?}", observed.state).to_lowercase(),
                (None, None) => "not there".to_owned(),
            };
            StatusRow {
                machine: machine.id.clone(),
                role: machine.role,
                state,
                instance,
                address: locked.and_then(|locked| locked.address.clone()),
                set_up: locked.is_some_and(|locked| locked.setup.is_some() && locked.links.is_some()),
                end: locked.and_then(|locked| locked.end),
            }
        })
        .collect();
    for note in surplus(&session.inventory, &world) {
        // Beside the table, and beside JSON that is read by programs.
        eprintln!("note: {note}");
    }
    if common.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(Exit::Ok);
    }
    let dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    println!(
        "{:<14} {:<5} {:<12} {:<20} {:<16} {:<7} ends",
        "machine", "role", "state", "instance", "address", "set up"
    );
    for row in rows {
        println!(
            "{:<14} {:<5} {:<12} {:<20} {:<16} {:<7} {}",
            row.machine,
            row.role,
            row.state,
            dash(row.instance),
            dash(row.address),
            if row.set_up { "yes" } else { "no" },
            dash(row.end.map(|end| end.to_string())),
        );
    }
    Ok(Exit::Ok)
}

/// Instances that are paid for and are no machine of the inventory.
fn surplus(inventory: &Inventory, world: &World) -> Vec<String> {
    let made_on_ec2 = |name: &Name| wanted::machine(inventory, name).is_some_and(|machine| machine.standing.is_none());
    let strays = world.instances.iter().filter(|one| !made_on_ec2(&one.machine));
    let strays = strays.map(|one| {
        format!(
            "{} is {}, which the inventory does not have on EC2: the next apply of all machines ends it",
            one.id, one.machine
        )
    });
    let unknown = world.unknown.iter();
    let unknown = unknown.map(|(instance, why)| format!("{instance} carries the program's tag, and {why}"));
    strays.chain(unknown).collect()
}

#[derive(Debug, serde::Serialize)]
struct StatusRow {
    machine: Name,
    role: RoleName,
    state: String,
    instance: Option<String>,
    address: Option<String>,
    set_up: bool,
    end: Option<Moment>,
}

fn ssh(session: &Session, name: &Name, command: &[String]) -> Result<Exit> {
    let lock = session.lock()?;
    let unknown = || Failure::new(Exit::Usage, format!("no machine {name} in the inventory"));
    let machine = wanted::machine(&session.inventory, name).ok_or_else(unknown)?;
    let locked = lock.machines.get(name);
    let locked = locked.with_context(|| format!("{name} was not made yet: cargo xtask provision"))?;
    let host = hands::host(&session.inventory, &machine, locked)?;
    let file = session.place.known_hosts(name);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    known_hosts::write(&file, std::slice::from_ref(&host)).with_context(|| file.display().to_string())?;
    let mut ssh = Process::new("ssh");
    let interactive = Ssh::interactive(&settings(session), &host, &file);
    if command.is_empty() {
        ssh.arg("-t").args(interactive);
    } else {
        ssh.args(interactive).arg(Text::words(command)?.as_str());
    }
    // It takes our place: its terminal and its exit code are ours.
    let error = ssh.exec();
    Err(error).context("ssh cannot be started")
}

fn destroy(session: &Session, common: &Common, program: Option<&Name>) -> Result<Exit> {
    let ours = &session.inventory.program.id;
    let _held = session.hold("destroy", common.steal_lock)?;
    let lock = session.lock()?;
    plan::in_sight(&session.inventory, &lock)?;
    let world = session.observe(&lock)?;
    let sees_any =
        !world.instances.is_empty() || !world.unknown.is_empty() || world.key_is_ours.is_some() || world.has_groups;
    let is_unseen = |id: &String| !world.ended.contains(id);
    if !sees_any
        && let Some((machine, _)) = (lock.machines.iter()).find(|(_, one)| one.instance.as_ref().is_some_and(is_unseen))
    {
        // With other credentials nothing is there, and the lock file would be emptied.
        bail!(
            "{machine} and others may still be paid for: the lock file notes them, and EC2 shows nothing of {ours}. Are these \
             the right account's credentials (AWS_PROFILE)? If all is gone for sure, remove {}",
            session.place.lock().display()
        );
    }
    for instance in &world.instances {
        println!("- {:<13} terminate {}", instance.machine, instance.id);
    }
    for (instance, why) in &world.unknown {
        println!("- {:<13} terminate {instance} ({why})", "?");
    }
    if world.key_is_ours.is_some() {
        println!("- key pair");
    }
    if world.has_groups {
        println!("- security groups");
    }
    for machine in session
        .inventory
        .machines()
        .filter(|machine| machine.standing.is_some())
    {
        println!("  {:<13} stays as it is: it is not ours", machine.id);
    }
    if !sees_any && lock.machines.is_empty() {
        println!("Nothing is there.");
        return Ok(Exit::Ok);
    }
    if common.dry_run {
        return Ok(Exit::Ok);
    }
    let said = match (common.yes, program) {
        (true, Some(program)) => program.to_string(),
        (true, None) => {
            let told = format!("--yes wants --program {ours} here: what is destroyed does not come back");
            return Err(Failure::new(Exit::Usage, told).into());
        }
        (false, _) => ask(&format!(
            "All that is on these machines is lost. To destroy it, type the program's id ({ours}): "
        ))?,
    };
    if said != ours.as_str() {
        bail!("{said:?} is not {ours}: nothing was destroyed");
    }
    let ids: Vec<String> = world
        .instances
        .iter()
        .map(|instance| instance.id.clone())
        .chain(world.unknown.iter().map(|(id, _)| id.clone()))
        .collect();
    if !ids.is_empty() {
        eprintln!("ending {} instances", ids.len());
        session.cloud.terminate(&ids, std::time::Duration::from_secs(900))?;
    }
    session.cloud.remove_shared()?;
    for (machine, locked) in &lock.machines {
        let file = session.place.first_boot(ours, machine, locked.generation);
        // Of a machine that is no more.
        let _ = std::fs::remove_file(file);
    }
    Lock::new(ours.clone()).save(&session.place.lock())?;
    println!("Nothing of {ours} is left on EC2.");
    Ok(Exit::Ok)
}
