//! A package repository for hosts that have no network: one package, which does nothing but be installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The package.
pub const PACKAGE: &str = "optivex-rehearsal";
const CONTROL: &str = "\
Package: optivex-rehearsal
Version: 1
Architecture: all
Maintainer: Optivex <optivex@localhost>
Description: shows that a package that an inventory names is installed
";

/// Builds it in `dir`, where apt finds it as `deb [trusted=yes] file:DIR ./`. None on systems whose packages are not
/// Debian's.
pub fn repository(dir: &Path) -> Result<Option<PathBuf>> {
    if read("dpkg-deb", &["--version"]).is_err() {
        return Ok(None);
    }
    let tree = dir.join("tree");
    let name = format!("{PACKAGE}.deb");
    let repository = dir.join("repository");
    for dir in [tree.join("DEBIAN"), repository.clone()] {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::write(tree.join("DEBIAN/control"), CONTROL).context("cannot write a package")?;
    let file = repository.join(&name);
    let (from, to) = (tree.display().to_string(), file.display().to_string());
    read("dpkg-deb", &["--root-owner-group", "--build", &from, &to])?;
    let size = fs::metadata(&file).context("the package")?.len();
    let sum = read("sha256sum", &[&to])?;
    let sum = sum.split_whitespace().next().context("sha256sum tells a sum")?;
    let index = format!("{CONTROL}Filename: ./{name}\nSize: {size}\nSHA256: {sum}\n");
    fs::write(repository.join("Packages"), index).context("cannot write the packages' index")?;
    Ok(Some(repository))
}

fn read(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
