//! Settings of `optivex serve`: flags, then environment, then a YAML file, then defaults.
//!
//! Each setting is declared once, below: its flag, its variable, its key in the file and its help
//! come from there.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use optivex_journal::Retention;
use serde_yaml::Value;

/// A setting that cannot be used: exit code 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Declares the settings as clap arguments and as keys of the YAML file.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:literal, $value:literal, $env:literal $(, [$($arg:tt)+])?;)+) => {
        /// The settings as they were given, before defaults.
        #[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
        pub struct Given {
            /// YAML file with settings: the names of the flags with '_' for '-'
            #[arg(long, value_name = "FILE", env = "OPTIVEX_CONFIG")]
            config: Option<PathBuf>,
            $(
                #[doc = concat!($($doc, "\n"),+)]
                #[arg(long, value_name = $value, env = $env, help = help(concat!($($doc),+), $default) $(, $($arg)+)?)]
                $name: Option<$type>,
            )+
        }

        impl Given {
            /// Reads the YAML file's text.
            fn from_yaml(yaml: &str) -> Result<Self, ConfigError> {
                let mut given = Self::default();
                let file: Value = serde_yaml::from_str(yaml).map_err(|error| ConfigError::new(format!("not YAML: {error}")))?;
                let fields = match file {
                    Value::Null => return Ok(given),
                    Value::Mapping(fields) => fields,
                    _ => return Err(ConfigError::new("must be a list of settings, one a line: listen: 127.0.0.1:50051")),
                };
                for (key, value) in &fields {
                    match key.as_str().unwrap_or_default() {
                        $(stringify!($name) => given.$name = from_scalar(stringify!($name), value)?,)+
                        _ => {
                            let key = key.as_str().unwrap_or("(not a string)");
                            return Err(ConfigError::new(format!("unknown setting {key:?}; known are: {}", KEYS.join(", "))));
                        }
                    }
                }
                Ok(given)
            }

            /// What is given here, and otherwise what is given there.
            fn or(self, other: Self) -> Self {
                Self { config: self.config, $($name: self.$name.or(other.$name)),+ }
            }

            /// With the defaults filled in.
            fn or_defaults(self) -> Result<Self, ConfigError> {
                Ok(Self { config: self.config, $($name: match self.$name {
                    None if !$default.is_empty() => Some(parse(stringify!($name), $default)?),
                    given => given,
                }),+ })
            }
        }

        /// Keys of the YAML file.
        const KEYS: &[&str] = &[$(stringify!($name)),+];
    };
}

settings! {
    /// Address to serve gRPC on
    listen: Address = "127.0.0.1:50051", "HOST:PORT", "OPTIVEX_LISTEN";
    /// Directory of the journal, its snapshots and the history; one process at a time
    data_dir: PathBuf = "optivex-data", "DIR", "OPTIVEX_DATA_DIR";
    /// Users file (YAML); read again on SIGHUP. Needed unless --demo
    users: PathBuf = "", "FILE", "OPTIVEX_USERS";
    /// Address to serve Prometheus metrics on, at /metrics; none if not given
    metrics_listen: Address = "", "HOST:PORT", "OPTIVEX_METRICS_LISTEN";
    /// Certificate chain for TLS (PEM), with --tls-key; read again on SIGHUP
    tls_cert: PathBuf = "", "FILE", "OPTIVEX_TLS_CERT";
    /// Private key of --tls-cert (PEM)
    tls_key: PathBuf = "", "FILE", "OPTIVEX_TLS_KEY";
    /// Authorities (PEM), one of which must have signed the certificate that every client then needs
    tls_client_ca: PathBuf = "", "FILE", "OPTIVEX_TLS_CLIENT_CA";
    /// Serve without TLS on an address that is not loopback: passwords travel in the clear
    insecure: Switch = "false", "BOOL", "OPTIVEX_INSECURE", [num_args = 0..=1, require_equals = true, default_missing_value = "true"];
    /// Demo users (alice, bob, viewer, admin: the password is the name) and instruments; loopback only
    demo: Switch = "false", "BOOL", "OPTIVEX_DEMO", [num_args = 0..=1, require_equals = true, default_missing_value = "true"];
    /// What to log: error, warn, info, debug, trace, or directives such as info,optivex_server=debug
    log: String = "info", "FILTER", "OPTIVEX_LOG";
    /// Form of the log on standard error
    log_format: LogFormat = "human", "FORMAT", "OPTIVEX_LOG_FORMAT", [value_enum];
    /// Events between two snapshots of the state, 1000 or more: a restart replays at most so many
    snapshot_every: u64 = "250000", "EVENTS", "OPTIVEX_SNAPSHOT_EVERY";
    /// How much of the journal stays: all of it, or what the older of two snapshots and history still need
    journal_keep: JournalKeep = "all", "WHAT", "OPTIVEX_JOURNAL_KEEP", [value_enum];
    /// How long a token works without being used, 1s or more
    token_idle_timeout: Span = "12h", "DURATION", "OPTIVEX_TOKEN_IDLE_TIMEOUT";
    /// Sessions that one user may have at a time; beyond, the one that was idle longest ends
    max_sessions_per_user: u32 = "256", "COUNT", "OPTIVEX_MAX_SESSIONS_PER_USER";
    /// Largest request message, 1KiB to 64MiB
    max_message_size: Size = "1MiB", "SIZE", "OPTIVEX_MAX_MESSAGE_SIZE";
    /// Largest request headers, 1KiB to 1MiB
    max_header_list_size: Size = "16KiB", "SIZE", "OPTIVEX_MAX_HEADER_LIST_SIZE";
    /// Requests and streams that one connection may have open at a time
    max_concurrent_streams: u32 = "1024", "COUNT", "OPTIVEX_MAX_CONCURRENT_STREAMS";
    /// Connections at a time; beyond, new ones are closed
    max_connections: u32 = "4096", "COUNT", "OPTIVEX_MAX_CONNECTIONS";
    /// Market data subscriptions at a time, over all connections
    max_subscriptions: u32 = "10000", "COUNT", "OPTIVEX_MAX_SUBSCRIPTIONS";
    /// After how long a silent connection is asked whether it is alive, 100ms or more
    keepalive_interval: Span = "5s", "DURATION", "OPTIVEX_KEEPALIVE_INTERVAL";
    /// How long it may take to answer that, or to say its first word, 100ms or more
    keepalive_timeout: Span = "5s", "DURATION", "OPTIVEX_KEEPALIVE_TIMEOUT";
    /// How long clients may take to read the rest after SIGTERM, until they are cut off
    shutdown_grace: Span = "4s", "DURATION", "OPTIVEX_SHUTDOWN_GRACE";
}

fn help(doc: &str, default: &str) -> String {
    let doc = doc.trim();
    if default.is_empty() || default == "false" {
        doc.to_owned()
    } else {
        format!("{doc} [default: {default}]")
    }
}

/// The settings of `optivex serve`, complete and consistent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Documented where they are declared, above.
pub struct Settings {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub users: Users,
    pub metrics_listen: Option<SocketAddr>,
    pub tls: Option<Tls>,
    pub log: String,
    pub log_format: LogFormat,
    pub snapshot_every: u64,
    pub journal_keep: JournalKeep,
    pub token_idle_timeout: Duration,
    pub max_sessions_per_user: usize,
    pub max_message_size: usize,
    pub max_header_list_size: u32,
    pub max_concurrent_streams: u32,
    pub max_connections: usize,
    pub max_subscriptions: usize,
    pub keepalive_interval: Duration,
    pub keepalive_timeout: Duration,
    pub shutdown_grace: Duration,
}

/// Where the users come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// From a file.
    File(PathBuf),
    /// The demo's.
    Demo,
}

/// Files for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs clients' certificates, if clients need one.
    pub client_ca: Option<PathBuf>,
}

impl Given {
    /// The demo's settings.
    #[cfg(test)]
    pub(crate) fn demo() -> Self {
        Self {
            demo: Some(Switch(true)),
            ..Self::default()
        }
    }

    /// Adds the file and the defaults, and checks the whole.
    pub fn resolve(self) -> Result<Settings, ConfigError> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Self::default(),
        };
        self.or(file).or_defaults()?.check()
    }

    fn check(self) -> Result<Settings, ConfigError> {
        let listen = needed("listen", self.listen)?.0;
        let demo = self.demo.unwrap_or_default().0;
        let users = match (demo, self.users) {
            (false, Some(file)) => Users::File(file),
            (true, None) => Users::Demo,
            (true, Some(_)) => return Err(ConfigError::new("demo: has its own users; leave out users")),
            (false, None) => {
                return Err(ConfigError::new(
                    "users: is missing; name a users file with --users FILE or OPTIVEX_USERS, or try --demo",
                ));
            }
        };
        if demo && !listen.ip().is_loopback() {
            return Err(ConfigError::new(format!(
                "demo: its passwords are known to all, so it serves loopback only, not {listen}"
            )));
        }
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some(Tls {
                cert,
                key,
                client_ca: self.tls_client_ca,
            }),
            (None, None) if self.tls_client_ca.is_some() => {
                return Err(ConfigError::new("tls_client_ca: needs tls_cert and tls_key"));
            }
            (None, None) => None,
            (Some(_), None) => return Err(ConfigError::new("tls_cert: needs tls_key")),
            (None, Some(_)) => return Err(ConfigError::new("tls_key: needs tls_cert")),
        };
        if tls.is_none() && !listen.ip().is_loopback() && !self.insecure.unwrap_or_default().0 {
            return Err(ConfigError::new(format!(
                "listen: {listen} is not loopback, and without TLS passwords would travel in the clear; \
                 give tls_cert and tls_key, or --insecure if the network is trusted"
            )));
        }
        Ok(Settings {
            listen,
            data_dir: needed("data_dir", self.data_dir)?,
            users,
            metrics_listen: self.metrics_listen.map(|address| address.0),
            tls,
            log: needed("log", self.log)?,
            log_format: needed("log_format", self.log_format)?,
            snapshot_every: at_least("snapshot_every", needed("snapshot_every", self.snapshot_every)?, 1000)?,
            journal_keep: needed("journal_keep", self.journal_keep)?,
            token_idle_timeout: span("token_idle_timeout", self.token_idle_timeout, 1000)?,
            max_sessions_per_user: count("max_sessions_per_user", self.max_sessions_per_user)? as usize,
            max_message_size: size("max_message_size", self.max_message_size, 64 << 20)? as usize,
            max_header_list_size: size("max_header_list_size", self.max_header_list_size, 1 << 20)?,
            max_concurrent_streams: count("max_concurrent_streams", self.max_concurrent_streams)?,
            max_connections: count("max_connections", self.max_connections)? as usize,
            max_subscriptions: count("max_subscriptions", self.max_subscriptions)? as usize,
            keepalive_interval: span("keepalive_interval", self.keepalive_interval, 100)?,
            keepalive_timeout: span("keepalive_timeout", self.keepalive_timeout, 100)?,
            shutdown_grace: span("shutdown_grace", self.shutdown_grace, 0)?,
        })
    }
}

/// A setting that has a default, or was checked.
fn needed<T>(name: &str, value: Option<T>) -> Result<T, ConfigError> {
    value.ok_or_else(|| ConfigError::new(format!("{name}: is missing")))
}

fn at_least(name: &str, value: u64, least: u64) -> Result<u64, ConfigError> {
    if value < least {
        return Err(ConfigError::new(format!(
            "{name}: {value} is too little; at least {least}"
        )));
    }
    Ok(value)
}

fn count(name: &str, value: Option<u32>) -> Result<u32, ConfigError> {
    let value = needed(name, value)?;
    at_least(name, u64::from(value), 1)?;
    Ok(value)
}

fn size(name: &str, value: Option<Size>, most: u32) -> Result<u32, ConfigError> {
    let bytes = needed(name, value)?.0;
    match u32::try_from(bytes) {
        Ok(bytes @ 1024..) if bytes <= most => Ok(bytes),
        _ => Err(ConfigError::new(format!(
            "{name}: {} is out of range; 1KiB to {}",
            Size(bytes),
            Size(u64::from(most))
        ))),
    }
}

fn span(name: &str, value: Option<Span>, least_ms: u64) -> Result<Duration, ConfigError> {
    const MOST: Duration = Duration::from_secs(366 * 86_400);
    let least = Duration::from_millis(least_ms);
    let Span(span) = needed(name, value)?;
    if !(least..=MOST).contains(&span) {
        return Err(ConfigError::new(format!(
            "{name}: {} is out of range; {} to a year",
            Span(span),
            Span(least)
        )));
    }
    Ok(span)
}

fn read(path: &Path) -> Result<Given, ConfigError> {
    let at = |what: &dyn fmt::Display| ConfigError::new(format!("{}: {what}", path.display()));
    let yaml = std::fs::read_to_string(path).map_err(|error| at(&error))?;
    Given::from_yaml(&yaml).map_err(|error| at(&error))
}

fn from_scalar<T: Parse>(name: &str, value: &Value) -> Result<Option<T>, ConfigError> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        _ => return Err(ConfigError::new(format!("{name}: must be a single value"))),
    };
    parse(name, &text).map(Some)
}

fn parse<T: Parse>(name: &str, text: &str) -> Result<T, ConfigError> {
    T::parse(text).map_err(|why| ConfigError::new(format!("{name}: {text:?}: {why}")))
}

/// What a value of the file is read with: as the flag is.
trait Parse: Sized {
    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! parse_as_from_str {
    ($($type:ty),+) => {
        $(impl Parse for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|error| format!("{error}"))
            }
        })+
    };
}

parse_as_from_str!(Address, PathBuf, Switch, String, u32, u64, Span, Size);

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Parse for LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false).map_err(|_| "human or json".to_owned())
    }
}

/// How much of the journal stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JournalKeep {
    /// Everything: history can be rebuilt, and any moment of the past.
    All,
    /// What is needed to go on: segments go once two snapshots and durable history are past them.
    Needed,
}

impl Parse for JournalKeep {
    fn parse(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false).map_err(|_| "all or needed".to_owned())
    }
}

impl From<JournalKeep> for Retention {
    fn from(keep: JournalKeep) -> Self {
        match keep {
            JournalKeep::All => Self::All,
            JournalKeep::Needed => Self::BehindSnapshot,
        }
    }
}

/// An address to listen on; a name stands for the first address that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let mut addresses = text
            .to_socket_addrs()
            .map_err(|error| format!("not an address such as 127.0.0.1:50051 ({error})"))?;
        addresses
            .next()
            .map(Self)
            .ok_or_else(|| "the name has no address".to_owned())
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switch(bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "true" | "yes" | "on" | "1" => Ok(Self(true)),
            "false" | "no" | "off" | "0" => Ok(Self(false)),
            _ => Err("true or false".to_owned()),
        }
    }
}

/// A duration as people write it: 500ms, 12h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("not a duration such as 500ms or 12h ({error})"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes: 65536, 64KiB, 1MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, shift) = match text.trim() {
            text if text.ends_with("KiB") => (&text[..text.len() - 3], 10),
            text if text.ends_with("MiB") => (&text[..text.len() - 3], 20),
            text => (text, 0),
        };
        let number: u64 = number
            .trim()
            .parse()
            .map_err(|_| "not a size such as 65536, 64KiB or 1MiB".to_owned())?;
        number
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or_else(|| "too large".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            mib if mib != 0 && mib.is_multiple_of(1 << 20) => write!(f, "{}MiB", mib >> 20),
            kib if kib != 0 && kib.is_multiple_of(1 << 10) => write!(f, "{}KiB", kib >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests;
