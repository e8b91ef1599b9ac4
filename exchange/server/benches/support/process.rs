//! The exchange and its baselines as processes of their own, as clients meet them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use optivex_proto::v1;
use optivex_proto::v1::admin_service_client::AdminServiceClient;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::client::Token;
use super::{Result, directory};

/// A server that is killed when dropped.
pub struct Server {
    child: Child,
    address: String,
    data: Option<TempDir>,
}

/// What an exchange is started with.
pub struct Venue<'a> {
    /// `user0`, `user1`, …: traders.
    pub users: usize,
    /// `SYM0`, `SYM1`, …
    pub instruments: usize,
    /// More arguments of `optivex serve`.
    pub args: &'a [&'a str],
}

impl Server {
    /// `optivex serve` with an empty journal on the disk that the build is on.
    pub async fn exchange(venue: &Venue<'_>) -> Result<Self> {
        let data = tempfile::tempdir_in(directory("data")?)?;
        let mut users = "users:\n- {username: admin, password: admin, roles: [admin]}\n".to_owned();
        for user in 0..venue.users {
            writeln!(
                users,
                "- {{username: user{user}, password: user{user}, roles: [trader, viewer]}}"
            )?;
        }
        let users_file = data.path().join("users.yaml");
        std::fs::write(&users_file, users)?;
        let mut command = Command::new(exchange_binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OPTIVEX_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--users"]);
        command.arg(&users_file).arg("--data-dir").arg(data.path().join("data"));
        command.args(venue.args);
        let mut server = Self::start(command)?;
        server.data = Some(data);
        let channel = server.connect().await?;
        let admin = server.login(&channel, "admin").await?;
        let mut client = AdminServiceClient::new(channel);
        for instrument in 0..venue.instruments {
            let request = v1::CreateInstrumentRequest {
                symbol: symbol(instrument),
                currency: "EUR".to_owned(),
                multiplier: 1,
                tick_size_e4: 100,
                initial_phase: v1::TradingPhase::Continuous.into(),
                ..v1::CreateInstrumentRequest::default()
            };
            client.create_instrument(admin.with(request)).await?;
        }
        Ok(server)
    }

    /// This program again, as one of its baselines.
    pub fn baseline(name: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(format!("--serve={name}"));
        Self::start(command)
    }

    /// Starts a server and waits for its line that ends with or contains its address.
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line
            .split_once("://")
            .and_then(|(_, rest)| rest.split([' ', '\n']).next())
            .map(|address| address.trim_end_matches(':').to_owned());
        let Some(address) = address else {
            child.kill()?;
            child.wait()?;
            return Err(format!("the server says {line:?}").into());
        };
        Ok(Self {
            child,
            address: format!("http://{address}"),
            data: None,
        })
    }

    pub async fn connect(&self) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(self.address.clone())?.tcp_nodelay(true);
        Ok(endpoint.connect().await?)
    }

    /// A session; a baseline takes every token.
    pub async fn login(&self, channel: &Channel, name: &str) -> Result<Token> {
        if self.data.is_none() {
            return Ok(Token("a token of as many bytes as the exchange gives".to_owned()));
        }
        let request = v1::LoginRequest {
            username: name.to_owned(),
            password: name.to_owned(),
        };
        let mut client = AuthServiceClient::new(channel.clone());
        Ok(Token(client.login(request).await?.into_inner().token))
    }

    /// Event of the first order on an exchange that was started with so many users and instruments.
    pub fn first_event(&self, users: usize, instruments: usize) -> u64 {
        // The admin is a user too.
        (users + 1 + instruments + 1) as u64
    }

    /// Processor time of the process so far, by the names of its threads.
    pub fn processor_time(&self) -> Result<ProcessorTime> {
        let mut threads = BTreeMap::<String, Duration>::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            let name = std::fs::read_to_string(task.join("comm"))?;
            let schedstat = std::fs::read_to_string(task.join("schedstat"))?;
            let nanoseconds = schedstat.split(' ').next().unwrap_or_default().parse()?;
            *threads.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(nanoseconds);
        }
        Ok(ProcessorTime(threads))
    }

    /// Memory of the process that is resident, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .ok_or("no VmRSS")?
            .trim()
            .parse()?;
        Ok(kib * 1024)
    }
}

/// Processor time by the names of threads. None of a server's threads that work ends while it is measured.
pub struct ProcessorTime(BTreeMap<String, Duration>);

impl ProcessorTime {
    pub fn total(&self) -> Duration {
        self.0.values().sum()
    }

    /// What was spent since an earlier look.
    pub fn since(mut self, earlier: &Self) -> Self {
        for (name, spent) in &mut self.0 {
            *spent = spent.saturating_sub(earlier.0.get(name).copied().unwrap_or_default());
        }
        self
    }

    /// Nanoseconds of each thread for each of so many commands, most first.
    pub fn by_thread(&self, commands: f64) -> String {
        let mut threads: Vec<_> = self.0.iter().map(|(name, spent)| (spent.as_nanos(), name)).collect();
        threads.sort_unstable_by(|a, b| b.cmp(a));
        let mut line = String::new();
        for (nanoseconds, name) in threads {
            let each = nanoseconds as f64 / commands;
            if each >= 1.0 {
                // Writing to a String cannot fail.
                let _ = write!(line, " {name} {each:.0}");
            }
        }
        line
    }
}

/// Of this build, or another one to compare with: `--exchange=PATH`.
fn exchange_binary() -> PathBuf {
    std::env::args()
        .find_map(|arg| arg.strip_prefix("--exchange=").map(PathBuf::from))
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_optivex").into())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Symbol of an instrument by its number.
pub fn symbol(instrument: usize) -> String {
    format!("SYM{instrument}")
}
