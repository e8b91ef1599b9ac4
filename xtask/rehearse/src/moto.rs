//! The EC2 API without an account: [moto](https://docs.getmoto.org)'s server, on a port of its own on loopback.
//!
//! It is Python (`moto[ec2,server]`), installed into a virtual environment in the target directory, every file by
//! its hash (`tools/requirements.txt`): once, and again when that file changes.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use optivex_exit::{Exit, Failure};

const REQUIREMENTS: &str = include_str!("../tools/requirements.txt");
/// A start takes a second; much more on a machine that is busy with compiling.
const START: Duration = Duration::from_secs(120);
/// What is kept of the log, for when it goes wrong.
const LOG_LINES: usize = 40;

/// A running server. Dropped, it is gone; and gone as well when this process is killed.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    /// Kills the server when dropped.
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Moto {
    /// Installs moto if need be, starts it, and returns when it answers. Nothing is in it but what AWS gives
    /// everybody: a default VPC with its subnets, public images. With `log`, its log is written there.
    pub fn start(target: &Path, log: Option<&Path>) -> Result<Self> {
        let server = install(target)?;
        let log = match log {
            Some(path) => Some(File::create(path).with_context(|| format!("cannot create {}", path.display()))?),
            None => None,
        };
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        // The thread that starts the server stays until its end: the kernel ends the server with that thread.
        let keeper = std::thread::Builder::new()
            .name("moto".to_owned())
            .spawn(move || {
                let mut child = match spawn(&server) {
                    Ok(child) => child,
                    Err(error) => return drop(started.send(Err(error))),
                };
                let reader = match child.stderr.take() {
                    Some(stderr) => {
                        let started = started.clone();
                        std::thread::spawn(move || read(stderr, log, &started))
                    }
                    None => return,
                };
                drop(started);
                // Nothing is ever sent: this ends when the owner drops its half.
                let _ = stopped.recv();
                let _ = child.kill();
                let _ = child.wait();
                let _ = reader.join();
            })
            .context("cannot start a thread")?;
        let mut moto = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            stop: Some(stop),
            keeper: Some(keeper),
        };
        moto.address = match start.recv_timeout(START) {
            Ok(address) => address?,
            Err(RecvTimeoutError::Timeout) => bail!("moto did not start within {} s", START.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("moto ended before it started"),
        };
        Ok(moto)
    }

    /// What goes into `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The environment of a program that shall use it in place of AWS: the endpoint, credentials that are none, and
    /// nothing of the user's own configuration.
    pub fn environment(&self, region: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_REGION", region.to_owned()),
            ("AWS_ACCESS_KEY_ID", "rehearsal".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "rehearsal".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ]
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// The target directory that this program was built into, be it a program, a test or an example.
pub fn target_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("where this program is")?;
    // <target>/<profile>/PROGRAM, and one deeper what is not a program.
    let mut dir = exe.parent();
    if let Some(inner) = dir.filter(|dir| dir.ends_with("deps") || dir.ends_with("examples")) {
        dir = inner.parent();
    }
    dir.and_then(Path::parent)
        .map(Path::to_path_buf)
        .with_context(|| format!("{} is not in a target directory", exe.display()))
}

fn spawn(server: &Path) -> Result<Child> {
    let mut command = Command::new(server);
    command
        .args(["-H", "127.0.0.1", "-p", "0"])
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        // SAFETY: between fork and exec, one system call that allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(|| {
                use rustix::process::{Signal, set_parent_process_death_signal};
                Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
            });
        }
    }
    command
        .spawn()
        .with_context(|| format!("cannot start {}", server.display()))
}

/// Reads the log to its end, and tells the address as soon as it is there.
fn read(stderr: ChildStderr, mut log: Option<File>, started: &Sender<Result<SocketAddr>>) {
    let mut told = false;
    let last = Arc::new(Mutex::new(VecDeque::new()));
    for line in BufReader::new(stderr).lines() {
        let Ok(line) = line else { break };
        if let Some(log) = &mut log {
            let _ = writeln!(log, "{line}");
        }
        if !told && let Some(address) = address_in(&line) {
            told = true;
            let _ = started.send(Ok(address));
        }
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LOG_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    if !told {
        let last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = last.iter().map(String::as_str).collect();
        let _ = started.send(Err(anyhow::anyhow!(
            "moto ended before it started:\n{}",
            lines.join("\n")
        )));
    }
}

/// It binds first and says so then, so that it answers from that line on.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("Running on http://")?;
    let end = rest
        .find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// The server's program, in a virtual environment that is as the requirements say.
fn install(target: &Path) -> Result<PathBuf> {
    let tools = target.join("tools");
    let dir = tools.join("moto");
    let server = dir.join("bin/moto_server");
    let stamp = tools.join("moto.stamp");
    // A virtual environment works with the Python that made it.
    let version = run(Command::new("python3").arg("--version")).map_err(|error| {
        Failure::new(
            Exit::Infrastructure,
            format!("the rehearsal needs Python 3.10 or later with venv: {error:#}"),
        )
    })?;
    let wanted = format!("{version}{REQUIREMENTS}");
    let current = || server.exists() && fs::read_to_string(&stamp).is_ok_and(|is| is == wanted);
    if current() {
        return Ok(server);
    }
    fs::create_dir_all(&tools).with_context(|| format!("cannot create {}", tools.display()))?;
    let lock = File::create(tools.join("moto.lock")).context("cannot create the lock of moto's installation")?;
    lock.lock().context("cannot lock moto's installation")?;
    // Another run may have installed it while we waited.
    if current() {
        return Ok(server);
    }
    eprintln!("installing {} into {}", title(), dir.display());
    install_into(&dir)
        .and_then(|()| {
            run(Command::new(&server).arg("--help"))?;
            fs::write(&stamp, &wanted).with_context(|| format!("cannot write {}", stamp.display()))
        })
        .map_err(|error| {
            Failure::new(
                Exit::Infrastructure,
                format!(
                    "cannot install {}: {error:#}\nIt comes from PyPI: is there a network?",
                    title()
                ),
            )
        })?;
    Ok(server)
}

fn install_into(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
        }
        _ => {}
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
    let requirements = dir.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).with_context(|| format!("cannot write {}", requirements.display()))?;
    run(Command::new(dir.join("bin/pip"))
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
        ])
        .arg(&requirements))?;
    Ok(())
}

/// What is installed, for people.
fn title() -> &'static str {
    REQUIREMENTS
        .lines()
        .find(|line| line.starts_with("moto"))
        .and_then(|line| line.split_whitespace().next())
        .unwrap_or("moto")
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{:?}: {}: {}", command.get_program(), output.status, stderr.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_log() {
        let cases = [
            (" * Running on http://127.0.0.1:45421", Some("127.0.0.1:45421")),
            (
                "\u{1b}[33m * Running on http://127.0.0.1:1\u{1b}[0m",
                Some("127.0.0.1:1"),
            ),
            ("Press CTRL+C to quit", None),
            (" * Running on http://somewhere", None),
        ];
        for (line, expected) in cases {
            let address = address_in(line).map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn every_file_that_pip_installs_is_pinned_by_its_hash() {
        let packages: Vec<&str> = REQUIREMENTS.lines().filter(|line| line.contains("==")).collect();
        assert!(packages.len() > 20, "{packages:?}");
        for line in packages {
            assert!(line.ends_with('\\'), "no hash follows {line}");
        }
        assert!(title().contains("=="), "{}", title());
    }
}
