//! Signatures of results, as `ssh-keygen -Y` makes and checks them: anybody with the public key can.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use optivex_bundle::durable;

/// What the signatures are for: one made for something else is none of ours.
pub const NAMESPACE: &str = "optivex-result";
/// Who signs.
pub const SIGNER: &str = "uat";

/// Signs results.
#[derive(Clone, Debug)]
pub struct Signer {
    key: PathBuf,
}

impl Signer {
    /// By this private key; a new one if there is none.
    pub fn new(key: &Path) -> Result<Self> {
        if !key.exists() {
            if let Some(folder) = key.parent() {
                durable::create_folders(folder)?;
            }
            make(key)?;
        }
        let signer = Self { key: key.to_owned() };
        signer.allow(&signer.public_key()?)?;
        Ok(signer)
    }

    /// Puts a new key in the place of the one that signs. What was signed by those before can be checked as ever: they
    /// stay among the [allowed](Self::allowed) signers, and sign nothing any more. May be done while a daemon runs.
    pub fn rotate(&self) -> Result<()> {
        let (key, next) = (&self.key, beside(&self.key, "next"));
        for half in [&next, &beside(&next, "pub")] {
            remove(half)?;
        }
        make(&next)?;
        // Nobody sees a signature by a key that is not allowed.
        self.allow(&public_of(&next)?)?;
        // ssh-keygen takes a public part beside the private one for its own: without one it looks into the private one.
        remove(&beside(key, "pub"))?;
        for (from, to) in [(&next, key), (&beside(&next, "pub"), &beside(key, "pub"))] {
            std::fs::rename(from, to).with_context(|| to.display().to_string())?;
        }
        Ok(())
    }

    /// Adds a key to those whose signatures are good.
    fn allow(&self, public: &str) -> Result<()> {
        let file = self.allowed();
        let line = format!("{SIGNER} namespaces=\"{NAMESPACE}\" {public}");
        let before = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        if before.lines().any(|there| there == line) {
            return Ok(());
        }
        let lines = before.lines().chain([line.as_str()]);
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        durable::write(&file, text.as_bytes(), 0o644).with_context(|| file.display().to_string())
    }

    /// To check signatures with, and to be handed to others for that.
    pub fn public_key(&self) -> Result<String> {
        public_of(&self.key)
    }

    /// The file of allowed signers beside the key: all keys that ever signed.
    pub fn allowed(&self) -> PathBuf {
        beside(&self.key, "allowed")
    }

    /// The signature of these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(&self.key);
        let output = fed(&mut command, bytes)?;
        done(&output, "ssh-keygen -Y sign")?;
        Ok(output.stdout)
    }

    /// Whether the signature in this file is ours, and of these bytes.
    pub fn verify(&self, bytes: &[u8], signature: &Path) -> Result<()> {
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-Y", "verify", "-n", NAMESPACE, "-I", SIGNER, "-f"])
            .arg(self.allowed());
        command.arg("-s").arg(signature);
        done(&fed(&mut command, bytes)?, "the signature")
    }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}.{suffix}", file.display()))
}

fn remove(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| file.display().to_string()),
        _ => Ok(()),
    }
}

fn make(key: &Path) -> Result<()> {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", NAMESPACE, "-f"])
        .arg(key)
        .stdin(Stdio::null())
        .output()
        .context("cannot start ssh-keygen")?;
    done(&output, "ssh-keygen")
}

/// Of the private key itself: the file beside it may be gone.
fn public_of(key: &Path) -> Result<String> {
    let output = Command::new("ssh-keygen")
        .args(["-y", "-P", "", "-f"])
        .arg(key)
        .stdin(Stdio::null())
        .output()
        .context("cannot start ssh-keygen")?;
    done(&output, &key.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn fed(command: &mut Command, bytes: &[u8]) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ssh-keygen")?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(bytes));
    let output = child.wait_with_output().context("ssh-keygen")?;
    // If it did not read, its own words say why.
    if output.status.success() {
        written.transpose().context("ssh-keygen")?;
    }
    Ok(output)
}

fn done(output: &Output, what: &str) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let told = [&output.stderr[..], &output.stdout[..]].concat();
    bail!("{what}: {} ({})", String::from_utf8_lossy(&told).trim(), output.status);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let signer = Signer::new(&at("key")).expect("a key");
        std::fs::write(at("sig"), signer.sign(b"result").expect("signed")).expect("written");
        signer.verify(b"result", &at("sig")).expect("ours");
        signer.verify(b"another", &at("sig")).expect_err("of other bytes");
        let other = Signer::new(&at("other")).expect("a key");
        std::fs::write(at("sig"), other.sign(b"result").expect("signed")).expect("written");
        signer.verify(b"result", &at("sig")).expect_err("of somebody else");
        std::fs::write(at("sig"), signer.sign(b"result").expect("signed")).expect("written");
        assert_eq!(
            Signer::new(&at("key")).expect("the same").public_key().expect("read"),
            signer.public_key().expect("read")
        );
    }

    #[test]
    fn a_new_key_signs_and_the_old_ones_signatures_stay_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let signer = Signer::new(&at("key")).expect("a key");
        std::fs::write(at("old"), signer.sign(b"result").expect("signed")).expect("written");
        let before = signer.public_key().expect("read");
        signer.rotate().expect("rotated");
        assert_ne!(signer.public_key().expect("read"), before);
        // As a daemon that starts, and as one that runs.
        for signer in [Signer::new(&at("key")).expect("the same"), signer.clone()] {
            std::fs::write(at("new"), signer.sign(b"result").expect("signed")).expect("written");
            signer.verify(b"result", &at("old")).expect("ours");
            signer.verify(b"result", &at("new")).expect("ours");
        }
        // Cut off anywhere: the key signs without its public part, and another one's next is none of ours.
        std::fs::remove_file(at("key.pub")).expect("removed");
        std::fs::write(at("key.next"), "half of a key").expect("written");
        signer.sign(b"result").expect("signed");
        signer.rotate().expect("rotated");
        signer.verify(b"result", &at("old")).expect("ours");
        let allowed = std::fs::read_to_string(signer.allowed()).expect("read");
        assert_eq!(allowed.lines().count(), 3, "{allowed}");
    }
}
