//! The first process of a host: makes it, starts its sshd, buries its dead, and ends with it.
//!
//! Started by [`Host`](super::host::Host) in fresh namespaces. It is told who it is over standard input; when that
//! ends, the host's power is off: the kernel ends everything in it with its first process.

use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, wait};

use super::machine::{MANAGER, Machine, PRIVATE, said};
use super::{first_boot, root};

/// Ends when the host's power goes off, or with why it cannot run.
pub fn run() -> Result<()> {
    match boot() {
        Ok(sshd) => {
            say(said::UP)?;
            std::thread::spawn(|| {
                // Whatever is said, and in the end nothing: that is the switch.
                let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                std::process::exit(0);
            });
            bury(&sshd)
        }
        Err(error) => {
            let text = format!("{error:#}").replace('\n', "; ");
            say(&format!("{}{text}", said::FAILED))?;
            Err(error)
        }
    }
}

fn boot() -> Result<Child> {
    if std::process::id() != 1 {
        bail!("a host starts as the first process of its own namespaces; use cargo xtask rehearse");
    }
    say(said::UNPLUGGED)?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read who this is")?;
    let machine: Machine = serde_json::from_str(&line).context("cannot read who this is")?;
    root::enter(&machine)?;
    network(&machine)?;
    first_boot::run(&machine)?;
    sshd()
}

/// One address, and a way to those that hosts have. There is no default route: nothing else is to be reached.
fn network(machine: &Machine) -> Result<()> {
    let address = format!("{}/32", machine.address);
    let manager = format!("{MANAGER}/32");
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &address, "dev", "eth0"])?;
    ip(&["link", "set", "eth0", "up"])?;
    for range in PRIVATE.into_iter().chain([manager.as_str()]) {
        ip(&["route", "add", range, "dev", "eth0"])?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    super::ip(arguments.iter().copied())
}

fn sshd() -> Result<Child> {
    root::directory(Path::new("/run/sshd"), 0o755)?;
    // Named by its full path: it starts itself anew for every connection.
    let mut sshd = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start sshd: is openssh-server installed?")?;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, 22)).is_err() {
        if let Some(status) = sshd.try_wait().context("cannot wait for sshd")? {
            bail!("sshd does not start: {status}");
        }
        // It says nothing when it listens.
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(sshd)
}

/// Waits for everything that ends, as a first process must. A host whose sshd ended is of no use to anybody.
fn bury(sshd: &Child) -> Result<()> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Pid::from_child(sshd) == pid => bail!("sshd ended: {status:?}"),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("nobody listens")
}
