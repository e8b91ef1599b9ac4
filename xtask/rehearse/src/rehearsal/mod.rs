//! The rehearsal itself: what a manager does in a program, in order, and what must come of it.

mod care;
mod deploys;
mod inventory;
mod manager;
mod people;
mod provisioning;
mod standing;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};

use anyhow::{Context, Result, bail};
use optivex_bundle::inventory::Inventory;
use optivex_exit::Exit;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Options;
use crate::ec2::Ec2;
use crate::hosts::{self, Bridge, Hosts, Image, Places};
use crate::moto::{Moto, target_dir};
use crate::packages;
use crate::steps::Steps;
use crate::world::Dirs;

pub use standing::Standing;

/// The argument with which this program is the first process of the rehearsal's world.
pub const INSIDE: &str = "inside";
/// The argument with which that starts the rehearsal.
pub const PERFORM: &str = "perform";

/// As the inventory names it.
const REGION: &str = "eu-central-1";
/// The login user of the image.
const LOGIN: &str = "admin";

/// The inventory, but for what only EC2 tells: by it, all that is needed can be built beforehand.
pub fn inventory() -> Result<Inventory> {
    let text = inventory::sample().text();
    Ok(Inventory::parse(&text, Path::new("inventory.yaml"))?)
}

/// What a rehearsal happens in.
struct Stage<'a> {
    dirs: &'a Dirs,
    options: &'a Options,
    hosts: Hosts,
    manager: manager::Manager,
}

/// Runs it, in a world of its own.
pub fn perform(dirs: &Dirs, options: &Options) -> Result<Exit> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let interruption = listen(Arc::clone(&interrupted))?;
    let mut steps = Steps::new(Arc::clone(&interrupted));
    let result = play(dirs, options, &mut steps, &interrupted, &interruption);
    println!("\n{}", steps.table());
    match result {
        Ok(()) => Ok(Exit::Ok),
        Err(error) if interrupted.load(Ordering::SeqCst) => {
            eprintln!("interrupted: {error:#}");
            Ok(Exit::Failed)
        }
        Err(error) => Err(error).with_context(|| format!("the rehearsal failed; logs: {}", dirs.logs.display())),
    }
}

/// Sets the flag at the first signal, and ends the receiver's wait.
fn listen(interrupted: Arc<AtomicBool>) -> Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            interrupted.store(true, Ordering::SeqCst);
            let _ = tell.send(());
        }
    });
    Ok(told)
}

fn play(
    dirs: &Dirs,
    options: &Options,
    steps: &mut Steps,
    interrupted: &Arc<AtomicBool>,
    interruption: &Receiver<()>,
) -> Result<()> {
    let target = target_dir()?;
    let (moto, hosts) = steps.step("EC2's API, and a network for its machines", || {
        let moto = Moto::start(&target, Some(&dirs.logs.join("moto.log")))?;
        let mut image = Image {
            packages: packages::repository(&dirs.run.join("packages"))?,
            ..Image::of_this_machine()
        };
        if let Some(registry) = &mut image.registry {
            let at = dirs.run.join("crates");
            hosts::for_everybody(registry, &at, &dirs.shared())?;
            *registry = at;
        }
        let places = Places {
            program: std::env::current_exe().context("where this program is")?,
            system: dirs.system(),
            disk: dirs.disk(),
            logs: dirs.logs.clone(),
            login: LOGIN.to_owned(),
            image,
        };
        let hosts = Hosts::watch(Ec2::new(moto.address(), REGION), Bridge::build()?, places)?;
        let note = moto.url();
        Ok(((moto, hosts), note))
    })?;
    let manager = manager::Manager::new(dirs, &moto, Arc::clone(interrupted))?;
    let mut stage = Stage {
        dirs,
        options,
        hosts,
        manager,
    };
    let result = provisioning::build_up(&mut stage, steps).and_then(|()| deploys::rehearse(&mut stage, steps));
    let problems = stage.hosts.problems();
    for problem in &problems {
        eprintln!("hosts: {problem}");
    }
    if options.keep && !interrupted.load(Ordering::SeqCst) {
        stage.stand(interruption)?;
        return result;
    }
    result?;
    if !problems.is_empty() {
        bail!("hosts: {}", problems.join("; "));
    }
    provisioning::tear_down(&mut stage, steps)
}

impl Stage<'_> {
    /// Leaves it standing until somebody says that it is enough.
    fn stand(&self, interruption: &Receiver<()>) -> Result<()> {
        let standing = Standing {
            directory: self.manager.directory().to_path_buf(),
            environment: self.manager.environment(),
            hosts: self
                .hosts
                .running()
                .into_iter()
                .map(|host| (host.name, host.first_process))
                .collect(),
        };
        standing.write(self.dirs)?;
        println!("\nIt stands. In another terminal, as root:\n");
        println!("    cargo xtask rehearse enter                # where the manager sits: run provision there");
        for name in standing.hosts.keys() {
            println!("    cargo xtask rehearse enter {name}");
        }
        println!("\nCtrl-C here takes it all away.");
        let _ = interruption.recv();
        Ok(())
    }
}
