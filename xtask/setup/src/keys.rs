//! Keys of OpenSSH: public ones as a type, new pairs by ssh-keygen.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use optivex_bundle::secret::Secret;
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

/// A public key: algorithm and base64, as in an `authorized_keys` line without options. The comment is dropped: it is
/// text that people choose, and it decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    algorithm: &'static str,
    base64: String,
}

/// Why text is no public key.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("no public key of OpenSSH (such as `ssh-ed25519 AAAA…`, as ssh-keygen writes it to *.pub): {0}")]
pub struct NoPublicKey(&'static str);

/// Algorithms of keys, and of the signatures that can be made with each.
const ALGORITHMS: [(&str, &[&str]); 7] = [
    ("ssh-ed25519", &["ssh-ed25519"]),
    ("sk-ssh-ed25519@openssh.com", &["sk-ssh-ed25519@openssh.com"]),
    ("ecdsa-sha2-nistp256", &["ecdsa-sha2-nistp256"]),
    ("ecdsa-sha2-nistp384", &["ecdsa-sha2-nistp384"]),
    ("ecdsa-sha2-nistp521", &["ecdsa-sha2-nistp521"]),
    (
        "sk-ecdsa-sha2-nistp256@openssh.com",
        &["sk-ecdsa-sha2-nistp256@openssh.com"],
    ),
    ("ssh-rsa", &["rsa-sha2-512", "rsa-sha2-256"]),
];

impl PublicKey {
    /// Such as `ssh-ed25519`.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The key itself.
    pub fn base64(&self) -> &str {
        &self.base64
    }

    /// What `HostKeyAlgorithms` calls the signatures of such a key.
    pub(crate) fn signature_algorithms(&self) -> &'static [&'static str] {
        ALGORITHMS
            .iter()
            .find(|(algorithm, _)| *algorithm == self.algorithm)
            .map_or(&[], |(_, signatures)| signatures)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.base64)
    }
}

impl FromStr for PublicKey {
    type Err = NoPublicKey;

    fn from_str(text: &str) -> Result<Self, NoPublicKey> {
        if text.trim_end_matches('\n').contains(['\n', '\r', '\0']) {
            return Err(NoPublicKey("it has more than one line"));
        }
        let mut words = text.split_ascii_whitespace();
        let word = words.next().unwrap_or_default();
        let Some((algorithm, _)) = ALGORITHMS.iter().find(|(algorithm, _)| *algorithm == word) else {
            return Err(NoPublicKey("it does not start with the name of an algorithm"));
        };
        let base64 = words.next().unwrap_or_default();
        let digits = base64.trim_end_matches('=');
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        if !base64.len().is_multiple_of(4) || base64.len() - digits.len() > 2 || !digits.bytes().all(right) {
            return Err(NoPublicKey("the key is not in base64"));
        }
        // The key starts with its algorithm's name again, after a length of four bytes; ed25519 has one length only.
        if !base64.starts_with("AAAA") || base64.len() < 64 || (*algorithm == "ssh-ed25519" && base64.len() != 68) {
            return Err(NoPublicKey("the key is cut off"));
        }
        Ok(Self {
            algorithm,
            base64: base64.to_owned(),
        })
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NoPublicKey;

    fn try_from(text: String) -> Result<Self, NoPublicKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// A new key.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// As in a private key file of OpenSSH.
    pub private: Secret,
    /// What others may know.
    pub public: PublicKey,
}

impl KeyPair {
    /// An ed25519 pair without a passphrase. It stands in a directory of its own, on a disk of nobody else's, while it
    /// is being made.
    ///
    /// # Errors
    /// No ssh-keygen, or no place for its files.
    pub fn make(comment: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("a directory for a new key")?;
        let file = directory.path().join("key");
        keygen(&file, comment)?;
        let private = fs::read_to_string(&file).context("the new private key")?;
        Ok(Self {
            private: Secret::new(private),
            public: read_public(&file)?,
        })
    }
}

/// The manager's key: `~/.ssh/id_optivex`, made where it is not there yet. It never leaves this machine.
///
/// # Errors
/// It cannot be made or read; a private key stands there that has no public part beside it.
pub fn manager(home: &Path) -> Result<(PathBuf, PublicKey)> {
    use std::os::unix::fs::DirBuilderExt;
    let directory = home.join(".ssh");
    let file = directory.join("id_optivex");
    match fs::metadata(&file) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .with_context(|| directory.display().to_string())?;
            keygen(&file, "optivex manager")?;
        }
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    }
    let public = read_public(&file)?;
    Ok((file, public))
}

/// A new manager's key beside the one in use: `~/.ssh/id_optivex.new`, or the one that a run which did not come to
/// its end has left there. [`adopt`] puts it in the other one's place.
///
/// # Errors
/// As [`manager`].
pub fn next_manager(home: &Path) -> Result<(PathBuf, PublicKey)> {
    let file = home.join(".ssh").join("id_optivex.new");
    if !file.exists() {
        keygen(&file, "optivex manager")?;
    }
    let public = read_public(&file)?;
    Ok((file, public))
}

/// Puts the new manager's key in the old one's place, once every machine admits it.
///
/// # Errors
/// It cannot be renamed.
pub fn adopt(home: &Path) -> Result<()> {
    let directory = home.join(".ssh");
    // The private part last: until then the old pair works.
    for (from, to) in [
        ("id_optivex.new.pub", "id_optivex.pub"),
        ("id_optivex.new", "id_optivex"),
    ] {
        match fs::rename(directory.join(from), directory.join(to)) {
            Ok(()) => {}
            // Done by a run that did not come to its end.
            Err(error) if error.kind() == io::ErrorKind::NotFound && from.ends_with(".pub") => {}
            Err(error) => return Err(error).with_context(|| format!("{from} to {to}")),
        }
    }
    Ok(())
}

fn keygen(file: &Path, comment: &str) -> Result<()> {
    let sh = Shell::new()?;
    cmd!(sh, "ssh-keygen -q -t ed25519 -N '' -C {comment} -f {file}")
        .quiet()
        .ignore_stdout()
        .run()
        .context("ssh-keygen (package openssh-client on apt, openssh on dnf)")
}

/// The public part of a private key file: from the file itself, for a `.pub` beside it may be gone or another's.
fn read_public(file: &Path) -> Result<PublicKey> {
    let sh = Shell::new()?;
    let public = cmd!(sh, "ssh-keygen -y -P '' -f {file}")
        .quiet()
        .ignore_stderr()
        .read()
        .with_context(|| {
            format!(
                "{}: no private key without a passphrase that only you can read",
                file.display()
            )
        })?;
    public.parse().with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqa2x6";

    #[test]
    fn public_keys() {
        for (text, expected) in [
            (ED25519.to_owned(), Ok(ED25519)),
            (format!("{ED25519} alice@laptop\n"), Ok(ED25519)),
            (String::new(), Err("it does not start with the name of an algorithm")),
            (
                format!("command=\"rm\" {ED25519}"),
                Err("it does not start with the name of an algorithm"),
            ),
            (format!("{ED25519}\n{ED25519}"), Err("it has more than one line")),
            ("ssh-ed25519 AAAA$(id)".to_owned(), Err("the key is not in base64")),
            ("ssh-ed25519".to_owned(), Err("the key is cut off")),
            (ED25519[..72].to_owned(), Err("the key is cut off")),
        ] {
            let parsed = text.parse::<PublicKey>();
            match expected {
                Ok(expected) => assert_eq!(parsed.map(|key| key.to_string()), Ok(expected.to_owned()), "{text}"),
                Err(why) => assert_eq!(parsed, Err(NoPublicKey(why)), "{text}"),
            }
        }
    }

    #[test]
    fn a_new_pair_is_a_pair_and_does_not_print() {
        let pair = KeyPair::make("a comment").expect("ssh-keygen works");
        assert!(pair.private.expose().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert!(!format!("{pair:?}").contains("BEGIN"));
        let other = KeyPair::make("").expect("ssh-keygen works");
        assert_ne!(pair.public, other.public);
    }

    #[test]
    fn the_managers_key_is_made_once_and_replaced_on_demand() {
        let home = tempfile::tempdir().expect("a directory");
        let (file, first) = manager(home.path()).expect("made");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(manager(home.path()).expect("there").1, first);
        let (_, next) = next_manager(home.path()).expect("made");
        assert_eq!(next_manager(home.path()).expect("there").1, next);
        assert_eq!(manager(home.path()).expect("there").1, first);
        adopt(home.path()).expect("renamed");
        assert_eq!(manager(home.path()).expect("there").1, next);
    }

    #[test]
    fn a_file_that_is_no_key_is_said() {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(home.path().join(".ssh")).expect("made");
        fs::write(home.path().join(".ssh/id_optivex"), "no key").expect("written");
        let error = manager(home.path()).expect_err("no key");
        assert!(format!("{error:#}").contains("id_optivex: no private key"), "{error:#}");
    }
}
