//! Exchanges that the tests start themselves, by the launch convention of a submission.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::users::UsersFile;
use crate::verdict::{Stop, Verdict};

/// A submission answers health SERVING within this time.
pub const BOOT: Duration = Duration::from_secs(10);
/// How long one that does not listen any more may take to end.
const ENDING: Duration = Duration::from_secs(2);
/// Lines of its output that are kept: the newest.
const LINES_MAX: usize = 40;
/// Bytes of one line that are kept.
const LINE_MAX: u64 = 2_000;

/// How to start a submission.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// Program and arguments.
    pub command: Vec<String>,
}

/// Where a submission keeps its data: outlives its processes.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
}

impl Home {
    /// A new, empty data directory, and this users file.
    pub fn new(users: &UsersFile) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("system-tests-").tempdir()?;
        std::fs::create_dir(directory.path().join("data"))?;
        users.write(&directory.path().join("users.yaml"))?;
        Ok(Self { directory })
    }

    /// `OPTIVEX_DATA_DIR`.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// `OPTIVEX_USERS`.
    pub fn users(&self) -> PathBuf {
        self.directory.path().join("users.yaml")
    }
}

/// A running submission: a process group of its own, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Option<Pid>,
    port: u16,
    url: String,
    output: Output,
}

/// The newest lines that a submission wrote.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<VecDeque<String>>>);

impl Output {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.is_empty() {
            true => "it wrote nothing".to_owned(),
            false => format!("its last lines:\n{}", Vec::from(lines.clone()).join("\n")),
        }
    }

    fn follow(&self, stream: Option<impl AsyncRead + Unpin + Send + 'static>) {
        let Some(stream) = stream else { return };
        let output = self.clone();
        tokio::spawn(async move {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            loop {
                line.clear();
                // Longer lines come in pieces: nothing that a submission prints grows our memory.
                match (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => output.push(String::from_utf8_lossy(&line).trim_end().to_owned()),
                }
            }
        });
    }
}

impl Launcher {
    /// Starts it, and waits until it serves. A submission that does not is theirs; a command that
    /// cannot be started at all is ours.
    pub async fn start(&self, home: &Home) -> Verdict<Process> {
        loop {
            let mut process = self.spawn(home)?;
            match process.wait_serving().await {
                Ok(()) => return Ok(process),
                // Somebody else took the port between our look and its bind: not its fault.
                Err(_) if process.exited().is_some() && taken(process.port) => {}
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Starts it at a port that is free, without waiting.
    pub(crate) fn spawn(&self, home: &Home) -> Verdict<Process> {
        let port = free_port().map_err(|error| Stop::trouble(format!("no free port: {error}")))?;
        let listen = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let (program, arguments) = self
            .command
            .split_first()
            .ok_or_else(|| Stop::trouble("no command to launch"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("OPTIVEX_LISTEN", &listen)
            .env("OPTIVEX_USERS", home.users())
            .env("OPTIVEX_DATA_DIR", home.data())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Stop::trouble(format!("cannot start {program:?}: {error}")))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let output = Output::default();
        output.follow(child.stdout.take());
        output.follow(child.stderr.take());
        Ok(Process {
            child,
            group,
            port,
            url: format!("http://{listen}"),
            output,
        })
    }
}

impl Process {
    /// Where it serves.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Whether it did not end. One that does not listen any more is about to, as a rule: behind a launcher of its own
    /// its end takes a moment to be seen, and the next case is not to pay for it.
    pub(crate) async fn lives(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            if self.exited().is_some() {
                return false;
            }
            let listens = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok();
            if listens || begun.elapsed() > ENDING {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its newest output, for people.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Kills the whole group at once, as a power cut would, and waits until it is gone.
    pub async fn kill(&mut self) -> Verdict {
        self.signal(Signal::KILL);
        self.gone().await
    }

    /// Asks the group to end (SIGTERM), and waits until it is gone; kills it after a minute.
    pub async fn terminate(&mut self) -> Verdict {
        self.signal(Signal::TERM);
        if tokio::time::timeout(Duration::from_secs(60), self.child.wait())
            .await
            .is_err()
        {
            return self.kill().await;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may be gone by itself.
            let _ = kill_process_group(group, signal);
        }
    }

    async fn gone(&mut self) -> Verdict {
        match self.child.wait().await {
            Ok(_) => Ok(()),
            Err(error) => Err(Stop::trouble(format!("cannot wait for the exchange: {error}"))),
        }
    }

    /// Waits until it serves, for the time that the convention gives it.
    pub(crate) async fn wait_serving(&mut self) -> Verdict {
        let expected = format!("grpc.health.v1 SERVING within {} s of its start", BOOT.as_secs());
        let started = Instant::now();
        let mut seen = "nothing listens".to_owned();
        while started.elapsed() < BOOT {
            if let Some(status) = self.exited() {
                // Its last words may still be on their way.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Err(Stop::failed(
                    format!("the exchange ended by itself ({status}); {}", self.output()),
                    expected,
                ));
            }
            match health(&self.url, "", BOOT.saturating_sub(started.elapsed())).await {
                Ok(ServingStatus::Serving) => return Ok(()),
                Ok(status) => seen = format!("health says {}", status.as_str_name()),
                Err(error) => seen = error,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Stop::failed(format!("{seen}; {}", self.output()), expected))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only while the child is not reaped is the number of the group certainly its.
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

/// Asks `grpc.health.v1.Health/Check` on a connection of its own.
pub async fn health(url: &str, service: &str, within: Duration) -> Result<ServingStatus, String> {
    let asking = async {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| crate::client::chain(&error))?;
        let channel = endpoint.connect().await.map_err(|error| crate::client::chain(&error))?;
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        match HealthClient::new(channel).check(request).await {
            Ok(answer) => Ok(answer.into_inner().status()),
            Err(status) => Err(format!("health answers {:?}: {}", status.code(), status.message())),
        }
    };
    tokio::time::timeout(within.max(Duration::from_millis(1)), asking)
        .await
        .unwrap_or_else(|_| Err("health does not answer".to_owned()))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}
