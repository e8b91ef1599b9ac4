//! `cargo xtask template DIR`: the repository that participants start from.
//!
//! What is theirs alone is in `infra/template`; everything else (the contract, the system tests, the toolchain, the
//! versions of libraries) is taken from its place in this repository, so that there is one of each.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item, Table};
use xshell::cmd;

use crate::workspace::Workspace;
use optivex_exit::{Exit, Failure};

/// Files and folders, and where they go. Of the system tests all that a subject is tested with, and of `cargo xtask deploy`
/// all that it is made of; their own tests and subjects stay here.
const PARTS: [(&str, &str); 15] = [
    ("infra/template", ""),
    (".cargo/config.toml", ".cargo/config.toml"),
    (".gitignore", ".gitignore"),
    ("proto", "proto"),
    ("rust-toolchain.toml", "rust-toolchain.toml"),
    ("rustfmt.toml", "rustfmt.toml"),
    ("system-tests/Cargo.toml", "system-tests/Cargo.toml"),
    ("system-tests/README.md", "system-tests/README.md"),
    ("system-tests/src", "system-tests/src"),
    ("xtask/bundle/Cargo.toml", "xtask/bundle/Cargo.toml"),
    ("xtask/bundle/src", "xtask/bundle/src"),
    ("xtask/deploy/Cargo.toml", "xtask/deploy/Cargo.toml"),
    ("xtask/deploy/src", "xtask/deploy/src"),
    ("xtask/exit/Cargo.toml", "xtask/exit/Cargo.toml"),
    ("xtask/exit/src", "xtask/exit/src"),
];

/// Libraries of theirs that are optimised in debug builds, too.
const OPTIMISED: [&str; 2] = ["sha2", "zstd-sys"];

const MANIFEST: &str = "Cargo.toml";
const LOCK: &str = "Cargo.lock";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An empty directory, or one that is not there yet.
    directory: PathBuf,
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<Exit> {
    write(ws, &args.directory)?;
    println!(
        "{} is the repository that participants start from; its README.md leads through the first day.\n\
         It is not under version control yet: git init, git add, git commit there.",
        args.directory.display()
    );
    Ok(Exit::Ok)
}

/// Writes it into a directory that is empty or not there.
pub(crate) fn write(ws: &Workspace, to: &Path) -> Result<()> {
    refuse_used(to)?;
    fill(ws, to).with_context(|| format!("{} is not whole: remove it before you try again", to.display()))
}

/// Nothing that is there is ever overwritten.
fn refuse_used(to: &Path) -> Result<()> {
    let refused = |why: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {why}", to.display()));
    match fs::read_dir(to) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(refused(&"is not empty; the template wants an empty or a new directory").into()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(&error).into()),
    }
}

fn fill(ws: &Workspace, to: &Path) -> Result<()> {
    for (from, place) in PARTS {
        copy(&ws.root.join(from), &to.join(place))?;
    }
    let ours = read(&ws.root.join(MANIFEST))?;
    leave_out_what_tests_need(to, &ours)?;
    let manifest = manifest(to, &ours)?;
    fs::write(to.join(MANIFEST), manifest).context(MANIFEST)?;
    // The versions that this repository is tested with; cargo leaves out what is not needed there.
    copy(&ws.root.join(LOCK), &to.join(LOCK))?;
    let sh = ws.shell()?;
    sh.change_dir(std::path::absolute(to).context("no current directory")?);
    let offline = cmd!(sh, "cargo update --quiet --workspace --offline")
        .quiet()
        .ignore_stderr();
    if offline.run().is_ok() {
        return Ok(());
    }
    // A machine that did not build this repository yet.
    cmd!(sh, "cargo update --quiet --workspace")
        .quiet()
        .run()
        .map_err(|error| Failure::new(Exit::Infrastructure, format!("cargo cannot make {LOCK}: {error}")).into())
}

/// A file, or all of a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let place = || from.display().to_string();
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(place)? {
            let entry = entry.with_context(place)?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", place(), to.display()))?;
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Our tests of the system tests stay here, so what only they need does, too.
fn leave_out_what_tests_need(to: &Path, ours: &str) -> Result<()> {
    let path = to.join("system-tests").join(MANIFEST);
    let mut ours: DocumentMut = ours.parse().context(MANIFEST)?;
    let mut theirs: DocumentMut = read(&path)?.parse().with_context(|| path.display().to_string())?;
    let workspace = table(&mut ours, &["workspace", "dependencies"])?;
    table(&mut theirs, &["dev-dependencies"])?.retain(|name, _| {
        let place = workspace.get(name).and_then(|item| item.get("path")?.as_str());
        place.is_none_or(|place| to.join(place).exists())
    });
    fs::write(&path, theirs.to_string()).with_context(|| path.display().to_string())
}

/// The written repository's own manifest, with what its members inherit taken from ours.
fn manifest(to: &Path, ours: &str) -> Result<String> {
    let mut theirs: DocumentMut = read(&to.join(MANIFEST))?.parse().context("infra/template/Cargo.toml")?;
    let mut ours: DocumentMut = ours.parse().context(MANIFEST)?;
    let workspace = table(&mut theirs, &["workspace"])?;
    let mut inherited = BTreeSet::new();
    for member in members(workspace)? {
        let text = read(&to.join(&member).join(MANIFEST))?;
        let member: DocumentMut = text.parse().with_context(|| format!("{member}/{MANIFEST}"))?;
        inherited.extend(inherited_dependencies(&member));
    }
    for key in ["package", "lints", "dependencies"] {
        let mut part = table(&mut ours, &["workspace", key])?.clone();
        if key == "dependencies" {
            part.retain(|name, _| inherited.contains(name));
        }
        workspace.insert(key, Item::Table(part));
    }
    // How debug builds are made; not the settings for packages that are not there, nor for our releases.
    let mut debug = table(&mut ours, &["profile", "dev"])?.clone();
    table_of(&mut debug, "package")?.retain(|name, _| OPTIMISED.contains(&name));
    let mut profile = Table::new();
    profile.set_implicit(true);
    profile.insert("dev", Item::Table(debug));
    theirs.insert("profile", Item::Table(profile));
    Ok(theirs.to_string())
}

fn table<'a>(document: &'a mut DocumentMut, path: &[&str]) -> Result<&'a mut Table> {
    let missing = || format!("no [{}] in {MANIFEST}", path.join("."));
    path.iter().try_fold(document.as_table_mut(), |table, key| {
        table.get_mut(key).and_then(Item::as_table_mut).with_context(missing)
    })
}

fn table_of<'a>(table: &'a mut Table, key: &str) -> Result<&'a mut Table> {
    let found = table.get_mut(key).and_then(Item::as_table_mut);
    found.with_context(|| format!("no table {key} in {MANIFEST}"))
}

fn members(workspace: &Table) -> Result<Vec<String>> {
    let members = workspace
        .get("members")
        .and_then(Item::as_array)
        .context("no members")?;
    let names = members.iter().filter_map(|member| member.as_str());
    Ok(names.map(str::to_owned).collect())
}

/// Names of the dependencies of a crate that come from its workspace.
fn inherited_dependencies(manifest: &DocumentMut) -> Vec<String> {
    ["dependencies", "build-dependencies", "dev-dependencies"]
        .iter()
        .filter_map(|kind| manifest.get(kind)?.as_table())
        .flat_map(Table::iter)
        .filter(|(_, item)| item.get("workspace").and_then(Item::as_bool) == Some(true))
        .map(|(name, _)| name.to_owned())
        .collect()
}
