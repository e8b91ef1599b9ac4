//! What cloud-init would do at an instance's first boot, as far as provisioning uses it.
//!
//! Strict: a key that is not known here is an error, so that nothing that provisioning asks of a first boot is left out
//! in silence. The one exception is said in the log: a host has no systemd, so commands of `systemctl` are left out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::machine::Machine;
use super::root::{directory, write};

/// Written at the end of a first boot; a machine that was killed in the middle of it starts it over.
const DONE: &str = "/var/lib/cloud/instance/boot-finished";
/// sshd's user environment and the rest of the image that a Debian AMI has.
const SUDOERS: &str = "/etc/sudoers.d/90-cloud-init-users";

/// The part of cloud-config that is known here.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CloudConfig {
    hostname: Option<String>,
    fqdn: Option<String>,
    preserve_hostname: Option<bool>,
    manage_etc_hosts: Option<bool>,
    ssh_pwauth: Option<bool>,
    disable_root: Option<bool>,
    ssh_deletekeys: Option<bool>,
    ssh_genkeytypes: Option<Vec<String>>,
    no_ssh_fingerprints: Option<bool>,
    package_update: Option<bool>,
    package_upgrade: Option<bool>,
    ssh_keys: BTreeMap<String, String>,
    ssh_authorized_keys: Vec<String>,
    write_files: Vec<WriteFile>,
    bootcmd: Vec<Vec<String>>,
    runcmd: Vec<Vec<String>>,
    final_message: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteFile {
    path: PathBuf,
    #[serde(default)]
    content: String,
    encoding: Option<String>,
    permissions: Option<String>,
    owner: Option<String>,
    #[serde(default)]
    append: bool,
    #[serde(default)]
    defer: bool,
}

impl WriteFile {
    fn bytes(&self) -> Result<Vec<u8>> {
        match self.encoding.as_deref() {
            None | Some("text/plain") => Ok(self.content.clone().into_bytes()),
            Some("b64" | "base64") => {
                let text: String = self.content.chars().filter(|c| !c.is_whitespace()).collect();
                BASE64_STANDARD.decode(text).context("not base64")
            }
            Some(other) => bail!("the encoding {other:?} is not known here"),
        }
    }

    fn mode(&self) -> Result<u32> {
        let text = self.permissions.as_deref().unwrap_or("0644");
        u32::from_str_radix(text.trim_start_matches("0o"), 8).with_context(|| format!("permissions {text:?}"))
    }
}

/// Makes the freshly laid image this machine. Runs in the host, as its root.
pub(super) fn run(machine: &Machine) -> Result<()> {
    if Path::new(DONE).exists() {
        return name(machine, None);
    }
    let config = parse(&machine.user_data)?;
    name(machine, config.hostname.as_deref().or(config.fqdn.as_deref()))?;
    write(
        Path::new("/etc/machine-id"),
        &format!("{}\n", machine_id(&machine.id)),
        0o444,
    )?;
    for command in &config.bootcmd {
        ask(command)?;
    }
    for file in config.write_files.iter().filter(|file| !file.defer) {
        write_file(file)?;
    }
    host_keys(&config)?;
    login_user(machine, &config)?;
    for file in config.write_files.iter().filter(|file| file.defer) {
        write_file(file)?;
    }
    for command in &config.runcmd {
        ask(command)?;
    }
    directory(Path::new("/var/lib/cloud/instance"), 0o755)?;
    write(Path::new(DONE), "", 0o644)
}

fn parse(user_data: &str) -> Result<CloudConfig> {
    if user_data.is_empty() {
        return Ok(CloudConfig::default());
    }
    if user_data.lines().next().map(str::trim_end) != Some("#cloud-config") {
        bail!("user data of a kind that the rehearsal's first boot does not know: its first line is not #cloud-config");
    }
    let body = user_data.split_once('\n').map_or("", |(_, body)| body);
    if body.lines().all(|line| line.is_empty() || line.starts_with('#')) {
        return Ok(CloudConfig::default());
    }
    serde_yaml::from_str(body).context("user data that the rehearsal's first boot does not know")
}

/// At every boot: what the kernel forgets.
fn name(machine: &Machine, wanted: Option<&str>) -> Result<()> {
    let kept = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = match (wanted, kept.trim()) {
        (Some(name), _) => name.to_owned(),
        (None, "") => machine.host_name(),
        (None, name) => name.to_owned(),
    };
    rustix::system::sethostname(name.as_bytes()).context("cannot set the host's name")?;
    write(Path::new("/etc/hostname"), &format!("{name}\n"), 0o644)?;
    if !Path::new("/etc/hosts").exists() {
        let hosts = format!("127.0.0.1 localhost\n{} {name}\n::1 localhost\n", machine.address);
        write(Path::new("/etc/hosts"), &hosts, 0o644)?;
    }
    Ok(())
}

/// 32 hex digits, the same for the same instance.
fn machine_id(id: &str) -> String {
    let hex: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    let mut text = hex.to_ascii_lowercase();
    text.truncate(32);
    format!("{text:0>32}")
}

fn write_file(file: &WriteFile) -> Result<()> {
    use std::io::Write;
    let path = &file.path;
    let told = || format!("write_files: {}", path.display());
    if !path.is_absolute() {
        bail!("{}: not absolute", told());
    }
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        directory(parent, 0o755)?;
    }
    let bytes = file.bytes().with_context(told)?;
    fs::File::options()
        .create(true)
        .write(true)
        .append(file.append)
        .truncate(!file.append)
        .open(path)
        .and_then(|mut open| open.write_all(&bytes))
        .with_context(told)?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode().with_context(told)?)).with_context(told)?;
    if let Some(owner) = &file.owner {
        command(Command::new("chown").arg(owner).arg("--").arg(path)).with_context(told)?;
    }
    Ok(())
}

/// The keys that were handed over, or new ones where none were.
fn host_keys(config: &CloudConfig) -> Result<()> {
    for (name, key) in &config.ssh_keys {
        let Some((kind, half)) = name.rsplit_once('_') else {
            bail!("ssh_keys: {name:?}");
        };
        let path = format!("/etc/ssh/ssh_host_{kind}_key");
        let key = format!("{}\n", key.trim_end());
        match half {
            "private" => write(Path::new(&path), &key, 0o600)?,
            "public" => write(Path::new(&format!("{path}.pub")), &key, 0o644)?,
            _ => bail!("ssh_keys: {name:?}"),
        }
    }
    if config.ssh_keys.is_empty() {
        command(Command::new("ssh-keygen").arg("-A"))?;
    }
    Ok(())
}

/// The image's login user: with the key pair's key, root through sudo, no password.
fn login_user(machine: &Machine, config: &CloudConfig) -> Result<()> {
    let login = &machine.login;
    let home = if login == "root" {
        PathBuf::from("/root")
    } else {
        if command(Command::new("id").arg(login)).is_err() {
            command(Command::new("useradd").args(["--create-home", "--shell", "/bin/bash", login]))?;
            // No password, and not locked either: sshd without PAM refuses locked accounts.
            command(Command::new("usermod").args(["--password", "*", login]))?;
        }
        directory(Path::new("/etc/sudoers.d"), 0o750)?;
        write(Path::new(SUDOERS), &format!("{login} ALL=(ALL) NOPASSWD:ALL\n"), 0o440)?;
        Path::new("/home").join(login)
    };
    let keys: Vec<&str> = machine
        .login_keys
        .iter()
        .chain(&config.ssh_authorized_keys)
        .map(|key| key.trim())
        .collect();
    let dir = home.join(".ssh");
    directory(&dir, 0o700)?;
    write(&dir.join("authorized_keys"), &format!("{}\n", keys.join("\n")), 0o600)?;
    command(Command::new("chown").args(["-R", &format!("{login}:")]).arg(&dir))
}

fn ask(words: &[String]) -> Result<()> {
    let [program, arguments @ ..] = words else {
        bail!("an empty command");
    };
    if program.rsplit('/').next() == Some("systemctl") && !Path::new("/run/systemd/system").exists() {
        eprintln!("first boot: no systemd here, left out: {}", words.join(" "));
        return Ok(());
    }
    command(Command::new(program).args(arguments))
}

/// Runs it; its output goes to the host's log.
fn command(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, stderr.trim_end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data() {
        let config = parse(
            "#cloud-config\nssh_keys:\n  ed25519_private: |\n    -----BEGIN\n  ed25519_public: ssh-ed25519 AAAA\n\
             ssh_authorized_keys: [ssh-ed25519 BBBB]\n\
             write_files:\n- {path: /etc/a, content: aGk=, encoding: b64, permissions: '0600', owner: 'root:root'}\n\
             runcmd:\n- [systemctl, enable, --now, optivex-end.timer]\n",
        )
        .expect("sound");
        assert_eq!(config.ssh_keys.len(), 2);
        assert_eq!(config.write_files[0].bytes().expect("base64"), b"hi");
        assert_eq!(config.write_files[0].mode().expect("octal"), 0o600);
        assert_eq!(config.runcmd[0][0], "systemctl");
        for nothing in ["", "#cloud-config\n", "#cloud-config\n# nothing\n"] {
            assert_eq!(
                parse(nothing).expect("nothing asked"),
                CloudConfig::default(),
                "{nothing}"
            );
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let cases = [
            ("#!/usr/bin/perl\n", "of a kind"),
            ("#cloud-config\nswap: {size: 1}\n", "swap"),
            ("#cloud-config\nruncmd: [touch /x]\n", "runcmd"),
            ("#cloud-config\nwrite_files: [{path: /x, source: {uri: y}}]\n", "source"),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn machine_ids() {
        assert_eq!(
            machine_id("i-0123456789abcdef0"),
            format!("{}0123456789abcdef0", "0".repeat(15))
        );
    }
}
