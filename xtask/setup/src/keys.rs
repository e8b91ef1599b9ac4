//! Keys of OpenSSH: new pairs by ssh-keygen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use optivex_bundle::durable;
use optivex_bundle::secret::Secret;
pub use optivex_bundle::ssh_key::PublicKey;
use xshell::{Shell, cmd};

/// Beside the manager's key: public parts of those before it.
const REPLACED: &str = "id_optivex.replaced";

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

/// Puts the new manager's key in the old one's place, once every machine admits it. The old one is noted before: see
/// [`replaced`].
///
/// # Errors
/// It cannot be renamed.
pub fn adopt(home: &Path) -> Result<()> {
    let directory = home.join(".ssh");
    let old = read_public(&directory.join("id_optivex"))?;
    let mut all = replaced(home)?;
    if !all.contains(&old) {
        all.push(old);
        let lines: String = all.iter().map(|key| format!("{key}\n")).collect();
        let file = directory.join(REPLACED);
        durable::write(&file, lines.as_bytes(), 0o600).with_context(|| file.display().to_string())?;
    }
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

/// Public parts of keys that [`adopt`] has replaced, and that machines may admit still: until [`forget_replaced`].
///
/// # Errors
/// They cannot be read.
pub fn replaced(home: &Path) -> Result<Vec<PublicKey>> {
    let file = home.join(".ssh").join(REPLACED);
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| file.display().to_string())?,
    };
    let keys = text.lines().map(str::parse).collect::<Result<_, _>>();
    keys.with_context(|| file.display().to_string())
}

/// Whether a replacement of the manager's key did not come to its end: machines may admit another one beside `identity`.
pub fn is_between(identity: &Path) -> bool {
    let beside = ["id_optivex.new", REPLACED].map(|name| identity.with_file_name(name));
    beside.iter().any(|file| file.exists())
}

/// No machine admits them any more.
///
/// # Errors
/// The disk's.
pub fn forget_replaced(home: &Path) -> Result<()> {
    let file = home.join(".ssh").join(REPLACED);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(|| file.display().to_string()),
        _ => Ok(()),
    }
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
        assert!(!is_between(&file));
        let (_, next) = next_manager(home.path()).expect("made");
        assert_eq!(next_manager(home.path()).expect("there").1, next);
        assert!(is_between(&file));
        assert_eq!(manager(home.path()).expect("there").1, first);
        adopt(home.path()).expect("renamed");
        assert_eq!(manager(home.path()).expect("there").1, next);
        // Machines may admit the first one until somebody has seen to all of them.
        assert_eq!(replaced(home.path()).expect("read"), std::slice::from_ref(&first));
        assert!(is_between(&file));
        next_manager(home.path()).expect("made");
        adopt(home.path()).expect("renamed");
        assert_eq!(replaced(home.path()).expect("read"), [first, next]);
        forget_replaced(home.path()).expect("removed");
        assert_eq!(replaced(home.path()).expect("read"), []);
        assert!(!is_between(&file));
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
