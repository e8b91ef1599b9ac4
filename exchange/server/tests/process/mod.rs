//! The real binary, as an operator runs it.

#![allow(dead_code)] // Each test file uses its part.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use optivex_proto::v1::LoginRequest;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Longest that anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Users of the tests; each one's password is its name.
pub const USERS: &str = "users:
  - {username: alice, password: alice, roles: [trader]}
  - {username: bob, password: bob, roles: [trader, viewer]}
  - {username: viewer, password: viewer, roles: [viewer]}
  - {username: admin, password: admin, roles: [admin]}
";

/// A directory for the data and the files of one exchange.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        place.write("users.yaml", USERS);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// `optivex` with arguments, without the environment's settings.
    pub fn optivex<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_optivex"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OPTIVEX_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.dir.path()).args(args);
        command
    }

    /// `optivex serve` on a free port, with the users of the tests and further arguments.
    pub fn serve<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.optivex(["serve", "--listen", "127.0.0.1:0", "--users", "users.yaml"]);
        command.args(["--data-dir", "data"]).args(args);
        command
    }

    /// Starts `optivex serve` and waits until it serves.
    pub fn start<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Exchange {
        Exchange::start(&mut self.serve(args))
    }

    /// Runs `optivex serve`, which must end by itself.
    pub fn fails<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        self.serve(args).output().unwrap()
    }
}

/// A running exchange; killed when dropped.
pub struct Exchange {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its line about itself.
    pub greeting: String,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Exchange {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut greeting)
            .unwrap();
        let address = greeting
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once(": ")?.0.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let log: Vec<_> = log.iter().collect();
            panic!("no greeting but {greeting:?}; log:\n{}", log.join("\n"));
        };
        Self {
            child,
            address,
            greeting,
            log,
            seen: Vec::new(),
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line of the log.
    pub fn logged(&mut self, what: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(what)) {
            return line.clone();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self
                .log
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line.contains(what) => {
                    self.seen.push(line.clone());
                    return line;
                }
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("not logged: {what:?}; log:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// Waits for the end, and gives the rest of the log.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.seen.extend(self.log.iter());
                return (status, self.seen.join("\n"));
            }
            assert!(
                Instant::now() < deadline,
                "does not end; log:\n{}",
                self.seen.join("\n")
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to stop, and expects a good end.
    pub fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "log:\n{log}");
        log
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    pub async fn connect(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Logs in a user whose password is its name.
pub async fn login(channel: &Channel, name: &str) -> Token {
    let request = LoginRequest {
        username: name.to_owned(),
        password: name.to_owned(),
    };
    let mut client = AuthServiceClient::new(channel.clone());
    Token(client.login(request).await.unwrap().into_inner().token)
}

/// A token of a session.
#[derive(Clone)]
pub struct Token(pub String);

impl Token {
    /// A request that bears it.
    pub fn with<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    }
}

/// What a program that ended by itself said on standard error.
pub fn stderr(output: &Output) -> String {
    let mut text = String::new();
    output.stderr.as_slice().read_to_string(&mut text).unwrap();
    text
}
