//! One SSH connection to UAT's gate, by the system's `ssh`.

use std::fmt;
use std::io::{self, BufReader, PipeWriter, Read, Write};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use duct::ReaderHandle;
use optivex_bundle::delivery::{ReceiveError, read_answer};
use optivex_bundle::limits::LIMITS;
use optivex_bundle::manifest::printable;
use optivex_bundle::wire::{Answer, Ask, Request};
use optivex_exit::{Exit, Failure};

/// Where UAT is, and by which key it knows us.
#[derive(Clone, Debug, clap::Args)]
pub struct Uat {
    /// Account on UAT; provisioning sets it
    #[arg(long, env = "CK_UAT_USER", global = true, hide_env_values = true)]
    uat_user: Option<String>,
    /// Host of UAT, or HOST:PORT; provisioning sets it
    #[arg(long, env = "CK_UAT_HOST", global = true, hide_env_values = true)]
    uat_host: Option<String>,
    /// Key that UAT knows you by [default: ~/.ssh/id_uat]
    #[arg(long, value_name = "FILE", global = true)]
    uat_key: Option<PathBuf>,
}

/// Checked, and ready to be connected to.
#[derive(Clone, Debug)]
pub struct Target {
    user: String,
    host: String,
    port: Option<u16>,
    key: PathBuf,
    known_hosts: PathBuf,
}

fn infrastructure(message: String) -> anyhow::Error {
    Failure::new(Exit::Infrastructure, message).into()
}

/// This user's home folder.
pub fn home() -> anyhow::Result<PathBuf> {
    std::env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or_else(|| infrastructure("HOME is not set".to_owned()))
}

impl Uat {
    /// Checks what can be checked without a connection.
    pub fn target(&self) -> anyhow::Result<Target> {
        let home = home()?;
        let set = |value: &Option<String>, name: &str| {
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| {
                infrastructure(format!(
                    "{name} is not set: this machine does not know its UAT. On your dev machine, provisioning sets it; log \
                     in anew if it was provisioned a moment ago, or ask the program managers"
                ))
            })
        };
        let user = set(&self.uat_user, "CK_UAT_USER")?;
        let place = set(&self.uat_host, "CK_UAT_HOST")?;
        let (host, port) = host_and_port(&place)?;
        if user.starts_with('-') || host.starts_with('-') {
            return Err(infrastructure(format!("{user}@{host} is no place to connect to")));
        }
        let key = self.uat_key.clone().unwrap_or_else(|| home.join(".ssh/id_uat"));
        if !key.is_file() {
            return Err(infrastructure(format!(
                "{} is not there, and UAT knows you by nothing else: run this on your dev machine, or ask the program \
                 managers to provision it again",
                key.display()
            )));
        }
        Ok(Target {
            user,
            host,
            port,
            key,
            known_hosts: home.join(".ssh/known_hosts"),
        })
    }
}

/// `HOST`, `HOST:PORT`, an IPv6 address, or `[ADDRESS]:PORT`.
fn host_and_port(place: &str) -> anyhow::Result<(String, Option<u16>)> {
    let odd = || infrastructure(format!("CK_UAT_HOST is {place:?}: not a host, nor HOST:PORT"));
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or_else(odd)?,
        None => match place.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, port),
            // A name, or an IPv6 address.
            _ => return Ok((place.to_owned(), None)),
        },
    };
    Ok((host.to_owned(), Some(port.parse().map_err(|_| odd())?)))
}

/// Why a conversation did not come to its end.
#[derive(Debug)]
pub enum Trouble {
    /// It may work in a moment.
    Passing(String),
    /// It will not.
    Lasting(anyhow::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Passing(why) => f.write_str(why),
            Trouble::Lasting(error) => write!(f, "{error:#}"),
        }
    }
}

/// A connection that is open, or on its way to be.
pub struct Connection {
    output: BufReader<ReaderHandle>,
    input: PipeWriter,
    errors: Option<JoinHandle<String>>,
}

impl Target {
    /// As people write it.
    pub fn name(&self) -> String {
        match self.port {
            Some(port) => format!("{}@{}:{port}", self.user, self.host),
            None => format!("{}@{}", self.user, self.host),
        }
    }

    /// Connects, and asks.
    pub fn ask(&self, ask: Ask) -> Result<Connection, Trouble> {
        let ours = |error: io::Error| Trouble::Lasting(infrastructure(format!("cannot start ssh: {error}")));
        let (from_us, input) = io::pipe().map_err(ours)?;
        let (mut errors, to_us) = io::pipe().map_err(ours)?;
        let output = duct::cmd("ssh", self.arguments())
            .stdin_file(from_us)
            .stderr_file(to_us)
            .unchecked()
            .reader()
            .map_err(ours)?;
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            // A banner may be long; nobody reads all of it.
            let _ = (&mut errors).take(16 << 10).read_to_end(&mut text);
            let _ = io::copy(&mut errors, &mut io::sink());
            printable(&String::from_utf8_lossy(&text))
        });
        let mut connection = Connection {
            output: BufReader::new(output),
            input,
            errors: Some(errors),
        };
        let mut line = serde_json::to_vec(&Request::new(ask)).map_err(|error| Trouble::Lasting(error.into()))?;
        line.push(b'\n');
        // When it cannot be written, reading tells why.
        let _ = connection.input.write_all(&line);
        Ok(connection)
    }

    fn arguments(&self) -> Vec<String> {
        let path = |path: &PathBuf| format!("\"{}\"", path.display());
        let options = [
            "BatchMode=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("IdentityFile={}", path(&self.key)),
            format!("UserKnownHostsFile={}", path(&self.known_hosts)),
            "ConnectTimeout=10".to_owned(),
            "ServerAliveInterval=5".to_owned(),
            "ServerAliveCountMax=3".to_owned(),
        ];
        // Nobody's own settings: what works for one participant works for all.
        let mut arguments = vec!["-F".to_owned(), "none".to_owned(), "-T".to_owned()];
        for option in options {
            arguments.extend(["-o".to_owned(), option]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["-l".to_owned(), self.user.clone(), "--".to_owned(), self.host.clone()]);
        arguments
    }
}

impl Connection {
    /// The next answer; a refusal is an error.
    pub fn answer(&mut self) -> Result<Answer, Trouble> {
        match read_answer(&mut self.output, &LIMITS) {
            Ok(Answer::Refused { reason, message }) => Err(self.refused(reason, &message)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.trouble(error)),
        }
    }

    fn refused(&self, reason: optivex_bundle::wire::Reason, message: &str) -> Trouble {
        use optivex_bundle::wire::Reason;
        let message = printable(message);
        if reason.passes() {
            return Trouble::Passing(message);
        }
        let exit = match reason {
            Reason::DiskFull | Reason::Ours | Reason::Version | Reason::Malformed => Exit::Infrastructure,
            _ => Exit::Failed,
        };
        Trouble::Lasting(Failure::new(exit, message).into())
    }

    /// What is wrong, as people should hear it.
    pub fn trouble(&mut self, error: ReceiveError) -> Trouble {
        match error {
            ReceiveError::Broken(error) => self.post_mortem(&error),
            ReceiveError::Refused(reason, message) => self.refused(reason, &message),
            ReceiveError::Unsound(why) => {
                Trouble::Lasting(infrastructure(format!("UAT answers what makes no sense: {why}")))
            }
            error @ ReceiveError::Write { .. } => Trouble::Lasting(infrastructure(error.to_string())),
        }
    }

    fn post_mortem(&mut self, error: &io::Error) -> Trouble {
        // Its output has ended, so it has; were it not so, it ends now.
        let _ = self.output.get_ref().kill();
        let code = match self.output.get_ref().try_wait() {
            Ok(Some(output)) => output.status.code(),
            _ => None,
        };
        let errors = self
            .errors
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        diagnosis(code, &errors).unwrap_or_else(|| Trouble::Passing(format!("the connection broke: {error}")))
    }

    /// For the bytes of a bundle.
    pub fn input(&mut self) -> &mut impl Write {
        &mut self.input
    }

    /// For the bytes of a result.
    pub fn output(&mut self) -> &mut BufReader<ReaderHandle> {
        &mut self.output
    }
}

/// What ssh's end means, if anything is known of it.
fn diagnosis(code: Option<i32>, errors: &str) -> Option<Trouble> {
    let said = |texts: &[&str]| texts.iter().any(|text| errors.contains(text));
    let last = errors
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("nothing")
        .trim();
    let lasting = |message: String| Some(Trouble::Lasting(infrastructure(message)));
    if said(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
        return lasting(
            "UAT shows another host key than the one that this machine was given. Somebody may sit in between: nothing was \
             sent. Ask the program managers whether UAT was made anew, and to provision your machine again"
                .to_owned(),
        );
    }
    if said(&["Host key verification failed", "host key is known for"]) {
        return lasting(
            "this machine does not know UAT's host key, so it cannot tell UAT from anybody else: nothing was sent. Ask the \
             program managers to provision your machine again"
                .to_owned(),
        );
    }
    // ssh reads the public half first and the private one when it signs: between the two, keys were replaced.
    if said(&["contents do not match public"]) {
        return Some(Trouble::Passing("your key to UAT has just been replaced".to_owned()));
    }
    if said(&["Permission denied", "Too many authentication failures"]) {
        return lasting(
            "UAT does not know your key: give the program managers ~/.ssh/id_uat.pub, or ask them to provision again"
                .to_owned(),
        );
    }
    if said(&[
        "UNPROTECTED PRIVATE KEY FILE",
        "invalid format",
        "error in libcrypto",
        "Load key",
    ]) {
        return lasting(format!("your key to UAT cannot be used: {last}"));
    }
    if said(&["Could not resolve hostname"]) {
        return Some(Trouble::Passing(format!("UAT's name leads nowhere: {last}")));
    }
    match code {
        Some(255) | None => Some(Trouble::Passing(format!("UAT cannot be reached: {last}"))),
        Some(126 | 127) => lasting(format!(
            "UAT is not set up, its gate is missing: tell the program managers ({last})"
        )),
        Some(0) => None,
        Some(_) => lasting(format!("UAT has trouble of its own: {last}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_day_troubles() {
        let cases = [
            (
                255,
                "ssh: connect to host u port 22: Connection refused",
                false,
                "cannot be reached: ssh: connect",
            ),
            (
                255,
                "ssh: connect to host u port 22: Connection timed out\n\n",
                false,
                "timed out",
            ),
            (255, "Connection closed by 10.0.0.1 port 22", false, "cannot be reached"),
            (255, "Timeout, server u not responding.", false, "not responding"),
            (
                255,
                "ssh: Could not resolve hostname u: Name or service not known",
                false,
                "leads nowhere",
            ),
            (255, "uat@u: Permission denied (publickey).", true, "id_uat.pub"),
            (
                255,
                "identity_sign: private key /k contents do not match public\nuat@u: Permission denied (publickey).",
                false,
                "has just been replaced",
            ),
            (
                255,
                "No ED25519 host key is known for u and you have requested strict checking.\nHost key verification failed.",
                true,
                "does not know UAT's host key",
            ),
            (
                255,
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                true,
                "Somebody may sit in between",
            ),
            (
                255,
                "Load key \"/k\": invalid format\nuat@u: whatever",
                true,
                "cannot be used",
            ),
            (127, "sh: uat-gate: not found", true, "not set up"),
            (
                102,
                "uat-gate: UAT is not set up: it has no spool",
                true,
                "it has no spool",
            ),
        ];
        for (code, errors, lasts, told) in cases {
            let trouble = diagnosis(Some(code), errors).expect("known");
            assert_eq!(matches!(trouble, Trouble::Lasting(_)), lasts, "{errors}: {trouble}");
            assert!(trouble.to_string().contains(told), "{errors}: {trouble}");
        }
        assert!(diagnosis(Some(0), "").is_none());
    }

    #[test]
    fn places() {
        for (place, host, port) in [
            ("uat", "uat", None),
            ("10.0.0.1:2222", "10.0.0.1", Some(2222)),
            ("fe80::1", "fe80::1", None),
            ("[fe80::1]:2222", "fe80::1", Some(2222)),
        ] {
            assert_eq!(host_and_port(place).expect(place), (host.to_owned(), port));
        }
        for wrong in ["uat:ssh", "uat:", "[fe80::1]", "uat:99999"] {
            host_and_port(wrong).expect_err(wrong);
        }
    }
}
