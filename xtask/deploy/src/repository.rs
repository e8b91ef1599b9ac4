//! What is in the repository: commit, changes, contract, toolchain.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use duct::cmd;
use optivex_bundle::contract::contract_of;
use optivex_bundle::digest::Digest;
use optivex_bundle::manifest::printable;
use optivex_exit::{Exit, Failure};

/// The participant's repository.
pub struct Repository {
    /// Its top.
    pub root: PathBuf,
}

fn usage(message: impl Into<String>) -> anyhow::Error {
    Failure::new(Exit::Usage, message).into()
}

impl Repository {
    /// The one that a folder is in.
    pub fn find(from: &Path) -> Result<Self> {
        let output = cmd!("git", "rev-parse", "--show-toplevel")
            .dir(from)
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
            .map_err(|error| Failure::new(Exit::Infrastructure, format!("cannot start git: {error}")))?;
        if !output.status.success() {
            return Err(usage(format!(
                "{} is not in a git repository (git says: {}). A result must name a commit: git init, git add ., git commit",
                from.display(),
                printable(String::from_utf8_lossy(&output.stderr).trim())
            )));
        }
        let root = String::from_utf8(output.stdout).context("git's answer")?;
        Ok(Self {
            root: root.trim_end_matches('\n').into(),
        })
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        cmd("git", arguments)
            .dir(&self.root)
            .stderr_capture()
            .read()
            .with_context(|| format!("git {}", arguments.join(" ")))
    }

    /// The commit that is checked out.
    pub fn commit(&self) -> Result<String> {
        self.git(&["rev-parse", "--verify", "HEAD"])
            .map_err(|_| usage("there is no commit yet, and a result must name one: git add . && git commit"))
    }

    /// What is not committed, a line each.
    pub fn changes(&self) -> Result<Vec<String>> {
        let text = self.git(&["status", "--porcelain"])?;
        Ok(text.lines().map(printable).collect())
    }

    /// Commit and files that are under version control, as they are now: what a build must not change.
    pub fn state(&self) -> Result<(String, String)> {
        Ok((
            self.commit()?,
            self.git(&["status", "--porcelain", "--untracked-files=no"])?,
        ))
    }

    /// Hash of the contract in `proto`.
    pub fn contract(&self) -> Result<Digest> {
        contract_of(&self.root.join("proto"))
            .context("the contract, proto/")?
            .ok_or_else(|| {
                usage("there is no .proto file below proto/: UAT wants to know which contract this is built against")
            })
    }

    /// What it is built with, in one line.
    pub fn toolchain(&self) -> String {
        cmd!("rustc", "--version")
            .dir(&self.root)
            .stderr_null()
            .read()
            .ok()
            .and_then(|text| text.lines().next().map(printable))
            .unwrap_or_else(|| "no rustc".to_owned())
    }

    /// Cargo's target directory; where there is no cargo, `target`.
    pub fn target(&self) -> Result<PathBuf> {
        #[derive(serde::Deserialize)]
        struct Metadata {
            target_directory: PathBuf,
        }
        if !self.root.join("Cargo.toml").exists() {
            return Ok(self.root.join("target"));
        }
        let text = cmd!("cargo", "metadata", "--no-deps", "--offline", "--format-version", "1")
            .dir(&self.root)
            .stderr_capture()
            .read()
            .map_err(|error| Failure::new(Exit::BuildFailed, format!("cargo metadata: {error}")))?;
        let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
        Ok(metadata.target_directory)
    }
}
