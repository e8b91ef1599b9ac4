//! Signatures of results, as `ssh-keygen -Y` makes and checks them: anybody with the public key can.

use std::io::Write;
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
            let output = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", NAMESPACE, "-f"])
                .arg(key)
                .stdin(Stdio::null())
                .output()
                .context("cannot start ssh-keygen")?;
            done(&output, "ssh-keygen")?;
        }
        let signer = Self { key: key.to_owned() };
        let public = signer.public_key()?;
        let line = format!("{SIGNER} namespaces=\"{NAMESPACE}\" {public}\n");
        durable::write(&signer.allowed(), line.as_bytes(), 0o644)?;
        Ok(signer)
    }

    /// To check signatures with, and to be handed to others for that.
    pub fn public_key(&self) -> Result<String> {
        let path = PathBuf::from(format!("{}.pub", self.key.display()));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// The file of allowed signers beside the key.
    pub fn allowed(&self) -> PathBuf {
        PathBuf::from(format!("{}.allowed", self.key.display()))
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
        assert_eq!(
            Signer::new(&at("key")).expect("the same").public_key().expect("read"),
            signer.public_key().expect("read")
        );
    }
}
