//! Programs that tests and checks need and no package manager of the system gives: installed into
//! `target/tools`, each at one version, once.
//!
//! The versions are in one place: `xtask/tools` for what pip and npm install (every file by its hash),
//! [`CARGO_DENY`] for the rest. A stamp beside each tool says what was installed, so that a second run
//! costs nothing and a changed version is installed anew.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::needs::{self, Role};
use crate::workspace::Workspace;
use optivex_exit::{Exit, Failure};

const REQUIREMENTS: &str = include_str!("../tools/requirements.txt");
const PACKAGE: &str = include_str!("../tools/package.json");
const PACKAGE_LOCK: &str = include_str!("../tools/package-lock.json");
const CARGO_DENY: &str = "0.20.2";

/// One of our tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Python,
    Node,
    CargoDeny,
}

const TOOLS: [Tool; 3] = [Tool::Python, Tool::Node, Tool::CargoDeny];

/// The tools of a role.
pub(crate) fn of(role: Role) -> impl Iterator<Item = Tool> {
    TOOLS.into_iter().filter(move |tool| tool.role() <= role)
}

/// `grpcurl`, where [`Tool::Python`] put it.
pub(crate) fn grpcurl(ws: &Workspace) -> PathBuf {
    ws.tools.join("python/bin/grpcurl")
}

/// `buf`, where [`Tool::Node`] put it.
pub(crate) fn buf(ws: &Workspace) -> PathBuf {
    ws.tools.join("node/node_modules/.bin/buf")
}

/// `cargo-deny`, where [`Tool::CargoDeny`] put it.
pub(crate) fn cargo_deny(ws: &Workspace) -> PathBuf {
    ws.tools.join("cargo-deny/bin/cargo-deny")
}

impl Tool {
    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Tool::Python => "grpcurl 1.8.6 and Python's gRPC",
            Tool::Node => "buf 1.74.0",
            Tool::CargoDeny => "cargo-deny 0.20.2",
        }
    }

    fn role(self) -> Role {
        match self {
            Tool::Python | Tool::Node => Role::Tests,
            Tool::CargoDeny => Role::Ci,
        }
    }

    fn dir(self, ws: &Workspace) -> PathBuf {
        ws.tools.join(match self {
            Tool::Python => "python",
            Tool::Node => "node",
            Tool::CargoDeny => "cargo-deny",
        })
    }

    fn stamp(self, ws: &Workspace) -> PathBuf {
        self.dir(ws).with_extension("stamp")
    }

    /// What is installed is what this text says.
    fn wanted(self, sh: &Shell) -> String {
        match self {
            // A virtual environment works with the Python that made it.
            Tool::Python => {
                let python = cmd!(sh, "python3 --version").quiet().ignore_stderr().read();
                format!("{}\n{REQUIREMENTS}", python.unwrap_or_default())
            }
            Tool::Node => format!("{PACKAGE}{PACKAGE_LOCK}"),
            Tool::CargoDeny => CARGO_DENY.to_owned(),
        }
    }

    fn program(self, ws: &Workspace) -> PathBuf {
        match self {
            Tool::Python => grpcurl(ws),
            Tool::Node => buf(ws),
            Tool::CargoDeny => cargo_deny(ws),
        }
    }

    /// Whether it is there, whole and at our version.
    pub(crate) fn is_current(self, ws: &Workspace, sh: &Shell) -> bool {
        self.program(ws).exists() && fs::read_to_string(self.stamp(ws)).is_ok_and(|is| is == self.wanted(sh))
    }

    fn install(self, ws: &Workspace, sh: &Shell) -> Result<()> {
        let dir = self.dir(ws);
        let wanted = self.wanted(sh);
        remove(&self.stamp(ws))?;
        sh.remove_path(&dir)?;
        sh.create_dir(&dir)?;
        match self {
            Tool::Python => {
                cmd!(sh, "python3 -m venv {dir}").quiet().run()?;
                let requirements = dir.join("requirements.txt");
                sh.write_file(&requirements, REQUIREMENTS)?;
                let pip = dir.join("bin/pip");
                cmd!(
                    sh,
                    "{pip} install --quiet --disable-pip-version-check --require-hashes -r {requirements}"
                )
                .quiet()
                .run()?;
            }
            Tool::Node => {
                sh.write_file(dir.join("package.json"), PACKAGE)?;
                sh.write_file(dir.join("package-lock.json"), PACKAGE_LOCK)?;
                // The packages carry their programs: no package's script need run.
                cmd!(
                    sh,
                    "npm ci --prefix {dir} --ignore-scripts --no-audit --no-fund --loglevel=error"
                )
                .quiet()
                .ignore_stdout()
                .run()?;
            }
            // Debug: compiles three times as fast as release, and checks as fast as anybody needs.
            Tool::CargoDeny => cmd!(
                sh,
                "cargo install --quiet --locked --debug --root {dir} cargo-deny@{CARGO_DENY}"
            )
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .quiet()
            .run()?,
        }
        let program = self.program(ws);
        cmd!(sh, "{program} --version")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()?;
        sh.write_file(self.stamp(ws), wanted)?;
        Ok(())
    }
}

/// Makes the machine have what the role needs: what the system's package manager gives, then our own.
pub(crate) fn ensure(ws: &Workspace, sh: &Shell, role: Role) -> Result<()> {
    if of(role).all(|tool| tool.is_current(ws, sh)) {
        return Ok(());
    }
    needs::ensure(sh, role)?;
    fs::create_dir_all(&ws.tools).with_context(|| format!("cannot create {}", ws.tools.display()))?;
    let lock = ws.tools.join("lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock().context("cannot lock the tools")?;
    // Another run may have installed them while we waited.
    for tool in of(role).filter(|tool| !tool.is_current(ws, sh)).collect::<Vec<_>>() {
        println!("installing {} into {}", tool.title(), shown(&tool.dir(ws)));
        tool.install(ws, sh).map_err(|error| {
            Failure::new(
                Exit::Infrastructure,
                format!(
                    "cannot install {}: {error:#}\nIt comes from a package registry: is there a network?",
                    tool.title()
                ),
            )
        })?;
    }
    Ok(())
}

/// A path as a person would type it.
pub(crate) fn shown(path: &Path) -> String {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `title` is for people, the lock files are for pip and npm: they must say the same.
    #[test]
    fn titles_tell_the_pinned_versions() {
        assert!(REQUIREMENTS.contains("\ngrpcurl-binary-wrapper==1.8.6"));
        assert!(Tool::Python.title().contains("grpcurl 1.8.6"));
        assert!(PACKAGE.contains("\"@bufbuild/buf\": \"1.74.0\""));
        assert_eq!(Tool::Node.title(), "buf 1.74.0");
        assert_eq!(Tool::CargoDeny.title(), format!("cargo-deny {CARGO_DENY}"));
    }

    #[test]
    fn every_file_that_pip_installs_is_pinned_by_its_hash() {
        let packages: Vec<&str> = REQUIREMENTS.lines().filter(|line| line.contains("==")).collect();
        assert!(packages.len() > 4, "{packages:?}");
        for line in packages {
            assert!(line.ends_with('\\'), "no hash follows {line}");
        }
    }

    #[test]
    fn roles_grow() {
        let tools = |role| of(role).collect::<Vec<_>>();
        assert_eq!(tools(Role::Exchange), []);
        assert_eq!(tools(Role::Tests), [Tool::Python, Tool::Node]);
        assert_eq!(tools(Role::Ci), TOOLS);
    }
}
