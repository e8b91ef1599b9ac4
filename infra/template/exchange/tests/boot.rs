//! The program from outside: started by the launch convention, asked, stopped. `Venue::start` is a way to begin your
//! own tests with.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const USERS: &str = "users: [{username: alice, password: alice, roles: [trader]}]";

/// A running exchange with a data directory of its own.
struct Venue {
    process: Child,
    log: BufReader<ChildStderr>,
    url: String,
    _home: TempDir,
}

/// How it is started, with what it is to find there.
fn command(users: &str) -> (Command, TempDir) {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("users.yaml"), users).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_exchange"));
    command
        .env("OPTIVEX_LISTEN", "127.0.0.1:0")
        .env("OPTIVEX_USERS", home.path().join("users.yaml"))
        .env("OPTIVEX_DATA_DIR", home.path().join("data"))
        .env("OPTIVEX_LOG", "info")
        .stderr(Stdio::piped());
    (command, home)
}

impl Venue {
    fn start() -> Self {
        let (mut command, home) = command(USERS);
        let mut process = command.spawn().expect("it starts");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe"));
        let mut told = String::new();
        // Its log tells the port that it was given.
        let address = loop {
            let before = told.len();
            assert!(log.read_line(&mut told).expect("a line") > 0, "it ended: {told}");
            if let Some((_, address)) = told[before..].split_once("serving address=") {
                break address.trim().to_owned();
            }
        };
        Self {
            process,
            log,
            url: format!("http://{address}"),
            _home: home,
        }
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        // It may be gone by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_serves_and_ends_when_asked_to() {
    let mut venue = Venue::start();
    let endpoint = Endpoint::from_shared(venue.url.clone()).expect("a URL");
    let mut health = HealthClient::new(endpoint.connect().await.expect("it listens"));
    for service in ["", "optivex.v1.AuthService", "optivex.v1.RiskLimitsService"] {
        let service = service.to_owned();
        let answer = health.check(HealthCheckRequest { service }).await.expect("an answer");
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let watched = health.watch(HealthCheckRequest::default()).await.expect("an answer");
    let mut watched = watched.into_inner();
    let first = watched.message().await.expect("a message").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);

    kill_process(Pid::from_child(&venue.process), Signal::TERM).expect("signalled");
    let last = watched.message().await.expect("a message").expect("a status");
    assert_eq!(last.status(), ServingStatus::NotServing);
    // It waits for this stream, though not for ever.
    drop((watched, health));
    let status = venue.process.wait().expect("it ends");
    let told: Vec<String> = venue.log.by_ref().lines().map(|line| line.expect("a line")).collect();
    assert_eq!(status.code(), Some(0), "{told:#?}");
    assert!(told.iter().any(|line| line.ends_with("venue is closed")), "{told:#?}");
}

#[test]
fn what_it_cannot_start_with_it_says() {
    let (mut command, _home) = command("users: [{username: alice, roles: [trader]}]");
    let Output { status, stderr, .. } = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("users.yaml: \"alice\" needs a password"), "{told}");
}
