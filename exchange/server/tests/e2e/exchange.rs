//! A real `optivex serve` for a test: its own port, its own data, real users.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Each one's password is its name and `-password`.
const USERS: &str = "\
users:
  - {username: alice, password: alice-password, roles: [trader]}
  - {username: bob, password: bob-password, roles: [trader]}
  - {username: carol, password: carol-password, roles: [trader]}
  - {username: viewer, password: viewer-password, roles: [viewer]}
  - {username: admin, password: admin-password, roles: [admin]}
";

/// A running exchange; killed when dropped.
pub(crate) struct Exchange {
    /// Users file, data, log; the test's own files too.
    pub(crate) home: TempDir,
    pub(crate) child: Child,
    /// `127.0.0.1:12345`.
    pub(crate) address: String,
}

impl Exchange {
    /// Starts one with an empty journal.
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        fs::write(home.path().join("users.yaml"), USERS).expect("can write the users file");
        let (child, address) = spawn(home.path());
        Self { home, child, address }
    }

    /// `http://127.0.0.1:12345`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the exchange's last words:\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// Starts the program in a home that has its users file.
pub(crate) fn spawn(home: &Path) -> (Child, String) {
    let log = File::options()
        .create(true)
        .append(true)
        .open(home.join("log"))
        .expect("can write the log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_optivex"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(home.join("data"))
        .arg("--users")
        .arg(home.join("users.yaml"))
        // Few, so that kills meet snapshots too, and a restart begins from one.
        .args(["--snapshot-every", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("optivex starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("optivex speaks text");
    // "optivex 0.1.0 serves http://127.0.0.1:40123: event 0, …"
    let address = line
        .split_once("http://")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map(|(address, _)| address.to_owned());
    let Some(address) = address else {
        child.kill().ok();
        child.wait().ok();
        let log = fs::read_to_string(home.join("log")).unwrap_or_default();
        panic!("optivex serve did not start: {line:?}\n{log}");
    };
    (child, address)
}
