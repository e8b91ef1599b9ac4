//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::Shell;

/// The repository and its build directory.
pub(crate) struct Workspace {
    /// Top of the repository; every program is started here.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, wherever it was told to put it.
    pub(crate) target: PathBuf,
    /// What we install for tests and checks.
    pub(crate) tools: PathBuf,
}

impl Workspace {
    /// Cargo built this program into `<target>/<profile>/xtask` from `<root>/xtask`.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is a folder of the repository")?
            .to_path_buf();
        let exe = std::env::current_exe().context("where this program is")?;
        let target = exe
            .ancestors()
            .nth(2)
            .with_context(|| format!("{} is not in a target directory", exe.display()))?
            .to_path_buf();
        let tools = target.join("tools");
        Ok(Self { root, target, tools })
    }

    /// A shell in the root. (xshell's word for it: no shell is started.)
    pub(crate) fn shell(&self) -> Result<Shell> {
        let sh = Shell::new().context("no current directory")?;
        sh.change_dir(&self.root);
        Ok(sh)
    }
}
