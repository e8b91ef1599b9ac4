//! What is brought to machines from this one: the template, our sources, our programs.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use optivex_bundle::digest::Digest;
use xshell::{Shell, cmd};

use crate::operations::needed_tools;
use crate::spec::{Role, Template, Tests, Tool, Tools};

/// The template as a git bundle, made of the repository at `root`, below `into`: a file that git clones like any
/// origin. The same template is the same commit, whoever makes it and when.
///
/// # Errors
/// `cargo xtask template` or git fails.
pub fn own_template(root: &Path, into: &Path) -> Result<Template> {
    let sh = Shell::new()?;
    let scratch = tempfile::tempdir().context("a directory for the template")?;
    let directory = scratch.path().join("template");
    {
        let _at = sh.push_dir(root);
        cmd!(sh, "cargo xtask template {directory}")
            .quiet()
            .ignore_stdout()
            .run()?;
    }
    let _at = sh.push_dir(&directory);
    bundle(&sh, into)
}

fn bundle(sh: &Shell, into: &Path) -> Result<Template> {
    // Nothing of the manager's own git settings, name or clock.
    let _env = [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "Optivex"),
        ("GIT_AUTHOR_EMAIL", "optivex@localhost"),
        ("GIT_AUTHOR_DATE", "2000-01-01T00:00:00Z"),
        ("GIT_COMMITTER_NAME", "Optivex"),
        ("GIT_COMMITTER_EMAIL", "optivex@localhost"),
        ("GIT_COMMITTER_DATE", "2000-01-01T00:00:00Z"),
    ]
    .map(|(name, value)| sh.push_env(name, value));
    cmd!(sh, "git init --quiet --initial-branch main").quiet().run()?;
    cmd!(sh, "git add --all").quiet().run()?;
    cmd!(sh, "git commit --quiet --message 'Where you start'")
        .quiet()
        .run()?;
    let commit = cmd!(sh, "git rev-parse HEAD").quiet().read()?;
    let file = into.join(format!("template-{commit}.bundle"));
    if !file.exists() {
        sh.create_dir(into)?;
        let beside = into.join(format!("template-{commit}.{}.tmp", std::process::id()));
        cmd!(sh, "git bundle create --quiet {beside} HEAD main").quiet().run()?;
        std::fs::rename(&beside, &file).with_context(|| file.display().to_string())?;
    }
    Ok(Template::Bundle { file, commit })
}

/// What is not built from: a commit that changes nothing else leaves machines as they are.
const NOT_BUILT_FROM: [&str; 3] = [
    ":(exclude,glob)**/*.md",
    ":(exclude,glob)infra/*.yaml",
    ":(exclude).github",
];
/// What the system tests are made of: the crate, the contract, and what they take from others.
const TESTS_OF: [&str; 5] = [
    "system-tests",
    "proto",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

/// The newest commit in which one of these files changed: what is of them is the same in all that come after it.
fn commit_of(sh: &Shell, paths: &[&str]) -> Result<String> {
    let not = NOT_BUILT_FROM;
    let commit = cmd!(sh, "git log -1 --format=%H HEAD -- {paths...} {not...}")
        .quiet()
        .read()?;
    match commit.is_empty() {
        true => bail!("{}: no commit has {}", sh.current_dir().display(), paths.join(", ")),
        false => Ok(commit),
    }
}

/// Our sources at the commit that is checked out at `root`, below `into`: what is built from, and the same bytes for
/// all commits that do not change it.
///
/// # Errors
/// git fails.
pub fn sources(root: &Path, into: &Path) -> Result<Tools> {
    let sh = Shell::new()?;
    sh.create_dir(into)?;
    let _at = sh.push_dir(root);
    let commit = commit_of(&sh, &["."])?;
    let file = into.join(format!("sources-{commit}.tar"));
    let beside = into.join(format!("sources-{commit}.{}.tmp", std::process::id()));
    let not = NOT_BUILT_FROM;
    cmd!(sh, "git archive --format=tar --output {beside} {commit} -- . {not...}")
        .quiet()
        .run()?;
    std::fs::rename(&beside, &file).with_context(|| file.display().to_string())?;
    let (sha256, _) = digest(&file)?;
    Ok(Tools::Sources { file, sha256 })
}

/// A role's programs, built of the repository at `root` on this machine.
///
/// # Errors
/// They do not build.
pub fn built_here(root: &Path, target: &Path, role: &Role, release: bool) -> Result<Tools> {
    let sh = Shell::new()?;
    let _at = sh.push_dir(root);
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    let mut tools = BTreeMap::new();
    for (package, name, features) in needed_tools(role) {
        let features: Vec<&str> = features.iter().flat_map(|features| ["--features", features]).collect();
        cmd!(
            sh,
            "cargo build --quiet --locked {profile...} --target-dir {target} -p {package} --bin {name} {features...}"
        )
        .quiet()
        .run()
        .with_context(|| format!("{name} does not build"))?;
        let file = target.join(if release { "release" } else { "debug" }).join(name);
        tools.insert(name.to_owned(), tool(file)?);
    }
    if tools.is_empty() {
        bail!("no tools for that role");
    }
    Ok(Tools::Manager(tools))
}

/// The newest commit that changed the system tests, and the contract of the repository at `root`.
///
/// # Errors
/// git fails, or there is no contract.
pub fn tests(root: &Path) -> Result<Tests> {
    let sh = Shell::new()?;
    let _at = sh.push_dir(root);
    let commit = commit_of(&sh, &TESTS_OF)?;
    let listed = cmd!(sh, "git ls-files -z -- proto/*.proto").quiet().read()?;
    let mut proto = BTreeMap::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let below = path.strip_prefix("proto/").unwrap_or(path);
        proto.insert(below.to_owned(), tool(root.join(path))?);
    }
    if proto.is_empty() {
        bail!("{}: no .proto files below proto", root.display());
    }
    Ok(Tests { commit, proto })
}

/// A file that is there.
///
/// # Errors
/// It cannot be read.
pub fn tool(file: PathBuf) -> Result<Tool> {
    let (sha256, _) = digest(&file)?;
    Ok(Tool { file, sha256 })
}

fn digest(file: &Path) -> Result<(Digest, u64)> {
    File::open(file)
        .and_then(Digest::of_reader)
        .with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_builds_nothing_else_changes_no_machine() {
        let home = tempfile::tempdir().expect("a directory");
        let (root, into) = (home.path().join("repository"), home.path().join("supplies"));
        let sh = Shell::new().expect("a shell");
        sh.create_dir(&root).expect("made");
        let commit = |files: &[&str]| {
            let _at = sh.push_dir(&root);
            for file in files {
                let before = sh.read_file(file).unwrap_or_default();
                sh.write_file(file, format!("{before}more\n")).expect("written");
            }
            cmd!(sh, "git add --all").quiet().run().expect("git works");
            cmd!(
                sh,
                "git -c user.name=Me -c user.email=me@localhost commit --quiet --message x"
            )
            .quiet()
            .run()
            .expect("git works");
            let Tools::Sources { file, sha256 } = sources(&root, &into).expect("packed") else {
                panic!("sources")
            };
            let listed = cmd!(sh, "tar -tf {file}").quiet().read().expect("tar works");
            assert!(!listed.contains(".md") && !listed.contains("inventory"), "{listed}");
            assert!(listed.contains("infra/template/README.txt"), "{listed}");
            (tests(&root).expect("there are some").commit, sha256)
        };
        cmd!(sh, "git init --quiet --initial-branch main {root}")
            .quiet()
            .run()
            .expect("git works");
        let first = commit(&[
            "Cargo.toml",
            "exchange/lib.rs",
            "infra/template/README.txt",
            "proto/a.proto",
            "README.md",
        ]);
        let same = commit(&[
            "README.md",
            "proto/README.md",
            "infra/inventory.yaml",
            "infra/inventory.lock.yaml",
        ]);
        assert_eq!(same, first);
        // The exchange is built anew, and judged by the same tests.
        let exchange = commit(&["exchange/lib.rs"]);
        assert_eq!(exchange.0, first.0);
        assert_ne!(exchange.1, first.1);
        assert_ne!(commit(&["proto/a.proto"]).0, first.0);
    }

    #[test]
    fn the_same_template_is_the_same_commit_and_can_be_cloned() {
        let home = tempfile::tempdir().expect("a directory");
        let sh = Shell::new().expect("a shell");
        let make = |name: &str| {
            let directory = home.path().join(name);
            sh.write_file(directory.join("src/lib.rs"), "//! It.\n")
                .expect("written");
            let _at = sh.push_dir(&directory);
            bundle(&sh, &home.path().join(format!("{name}-out"))).expect("git works")
        };
        let (Template::Bundle { file, commit }, Template::Bundle { commit: again, .. }) = (make("one"), make("two"))
        else {
            panic!("bundles")
        };
        assert_eq!(commit, again);
        let clone = home.path().join("clone");
        cmd!(sh, "git clone --quiet {file} {clone}")
            .quiet()
            .run()
            .expect("it can be cloned");
        let _at = sh.push_dir(&clone);
        assert_eq!(
            cmd!(sh, "git branch --show-current").quiet().read().expect("git works"),
            "main"
        );
        assert_eq!(
            cmd!(sh, "git rev-parse HEAD").quiet().read().expect("git works"),
            commit
        );
    }
}
