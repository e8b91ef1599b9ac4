//! `cargo xtask template DIR`: the repository that participants start from is whole, builds, boots, and is judged by
//! the system tests as it should be.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use expect_test::expect;
use serde_json::Value;

/// Top of this repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the repository")
        .to_owned()
}

/// The command itself.
fn template(directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("template")
        .arg(directory)
        .output()
        .expect("it runs")
}

fn told(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Writes the template into a new directory.
fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let output = template(directory.path());
    assert!(output.status.success(), "{}", told(&output));
    directory
}

/// Files below a folder by their paths, without build directories and git's own.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            if ["target", ".git", "data"].contains(&name.as_str()) {
                continue;
            }
            let place = format!("{prefix}{name}");
            if entry.file_type().expect("a type").is_dir() {
                collect(&entry.path(), &format!("{place}/"), found);
            } else if let Ok(bytes) = fs::read(entry.path()) {
                found.insert(place, bytes);
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, "", &mut found);
    found
}

#[test]
fn the_written_repository_is_whole() {
    let (ours, theirs) = (files(&root()), files(written().path()));
    // These grow: all of their sources are there, whatever they are.
    let growing = |path: &&String| {
        let folders = [
            "system-tests/src/",
            "xtask/bundle/src/",
            "xtask/deploy/src/",
            "xtask/exit/src/",
        ];
        folders.iter().any(|folder| path.starts_with(folder))
    };
    let (sources, others): (Vec<&String>, Vec<&String>) = theirs.keys().partition(growing);
    let our_sources: Vec<&String> = ours.keys().filter(growing).collect();
    assert_eq!(sources, our_sources);
    let others: Vec<&str> = others.into_iter().map(String::as_str).collect();
    expect![[r#"
        .cargo/config.toml
        .gitignore
        Cargo.lock
        Cargo.toml
        README.md
        exchange/Cargo.toml
        exchange/src/config.rs
        exchange/src/lib.rs
        exchange/src/logging.rs
        exchange/src/main.rs
        exchange/src/server.rs
        exchange/src/services/admin.rs
        exchange/src/services/auth.rs
        exchange/src/services/execution.rs
        exchange/src/services/info.rs
        exchange/src/services/mod.rs
        exchange/src/services/risk_limits.rs
        exchange/src/users.rs
        exchange/src/venue.rs
        exchange/tests/boot.rs
        proto/Cargo.toml
        proto/README.md
        proto/buf.yaml
        proto/build.rs
        proto/optivex/v1/admin.proto
        proto/optivex/v1/auth.proto
        proto/optivex/v1/common.proto
        proto/optivex/v1/execution.proto
        proto/optivex/v1/info.proto
        proto/optivex/v1/risk_limits.proto
        proto/src/lib.rs
        rust-toolchain.toml
        rustfmt.toml
        system-tests/Cargo.toml
        system-tests/README.md
        users.yaml
        xtask/Cargo.toml
        xtask/bundle/Cargo.toml
        xtask/deploy/Cargo.toml
        xtask/exit/Cargo.toml
        xtask/src/main.rs"#]]
    .assert_eq(&others.join("\n"));
    // What is not the participants' own is as it is here, but for dependencies of tests that stay here.
    let own = |path: &str| {
        ["exchange/", "xtask/src/"]
            .iter()
            .any(|folder| path.starts_with(folder))
    };
    let made = [
        "Cargo.lock",
        "Cargo.toml",
        "README.md",
        "system-tests/Cargo.toml",
        "users.yaml",
        "xtask/Cargo.toml",
    ];
    for (path, text) in theirs {
        if !own(&path) && !made.contains(&path.as_str()) {
            assert!(ours.get(&path) == Some(&text), "{path} is not as it is here");
        }
    }
}

#[test]
fn every_link_between_its_pages_leads_somewhere() {
    let directory = written();
    let theirs = files(directory.path());
    let mut links = 0;
    for (path, text) in theirs.iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = directory.path().join(path).parent().expect("a folder").to_owned();
        for part in String::from_utf8_lossy(text).split("](").skip(1) {
            let (link, _) = part.split_once(')').expect("an end");
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !link.contains("://") {
                assert!(folder.join(file).exists(), "{path} links to {link}");
                links += 1;
            }
        }
    }
    assert!(links > 2, "only {links} links");
}

#[test]
fn its_libraries_are_those_that_this_repository_is_tested_with() {
    let packages = |lock: &str| -> Vec<String> {
        let parts = lock.split("[[package]]\n").skip(1);
        // Name, version, source, checksum; not what it depends on here.
        let head = |part: &str| {
            part.lines()
                .take_while(|line| line.contains(" = \""))
                .collect::<Vec<_>>()
                .join(" ")
        };
        parts.map(head).filter(|head| head.contains("checksum")).collect()
    };
    let ours = packages(&fs::read_to_string(root().join("Cargo.lock")).expect("ours"));
    let theirs = packages(&fs::read_to_string(written().path().join("Cargo.lock")).expect("theirs"));
    assert!(theirs.len() > 50, "{theirs:?}");
    for package in theirs {
        assert!(ours.contains(&package), "{package} is not in our Cargo.lock");
    }
}

/// What the repository has elsewhere is taken from there.
#[test]
fn no_file_of_the_template_is_a_copy() {
    let all = files(&root());
    let (theirs, ours): (BTreeMap<_, _>, BTreeMap<_, _>) =
        all.iter().partition(|(path, _)| path.starts_with("infra/template/"));
    assert!(theirs.len() > 10, "{:?}", theirs.keys());
    for (path, text) in theirs {
        let same = ours.iter().find(|(_, other)| **other == text);
        assert!(same.is_none(), "{path} is the same as {:?}", same.map(|(path, _)| path));
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("thesis.txt");
    fs::write(&file, "a year's work").expect("written");
    for (place, why) in [(directory.path(), "is not empty"), (&file, "Not a directory")] {
        let output = template(place);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains(why) && told.contains(place.to_str().expect("UTF-8")),
            "{told}"
        );
    }
    assert_eq!(
        files(directory.path()),
        [("thesis.txt".to_owned(), b"a year's work".to_vec())].into()
    );
}

/// Where the written repository is built: the same place each time, so that only what changed is compiled.
struct Built {
    repository: PathBuf,
    target: PathBuf,
    /// One run of these tests at a time.
    _lock: File,
}

impl Built {
    fn new() -> Self {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("template");
        fs::create_dir_all(&home).expect("a directory");
        let lock = File::create(home.join("lock")).expect("a file");
        lock.lock().expect("a lock");
        let repository = home.join("repository");
        let theirs = files(written().path());
        for path in files_or_none(&repository).keys() {
            if !theirs.contains_key(path) {
                fs::remove_file(repository.join(path)).expect("removed");
            }
        }
        for (path, text) in theirs {
            let place = repository.join(path);
            if fs::read(&place).is_ok_and(|is| is == text) {
                continue;
            }
            fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
            fs::write(place, text).expect("written");
        }
        Self {
            repository,
            target: home.join("target"),
            _lock: lock,
        }
    }

    /// `cargo xtask …` there.
    fn xtask<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        Command::new("cargo")
            .arg("xtask")
            .args(arguments)
            .current_dir(&self.repository)
            .env("CARGO_TARGET_DIR", &self.target)
            .env_remove("CK_UAT_HOST")
            .env_remove("CK_UAT_USER")
            .output()
            .expect("cargo runs")
    }
}

fn files_or_none(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    if folder.exists() {
        files(folder)
    } else {
        BTreeMap::new()
    }
}

#[test]
fn the_bare_exchange_passes_boot_and_nothing_that_it_does_not_implement() {
    let built = Built::new();
    let output = built.xtask(["test", "--", "--json", "--seed", "1"]);
    let told = told(&output);
    // Failed cases, and neither a failed build nor trouble of ours.
    assert_eq!(output.status.code(), Some(100), "{told}");
    let events: Vec<Value> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON, and nothing else, on standard output"))
        .collect();
    let summary = events.last().expect("events");
    let stages = summary["stages"].as_array().expect("stages");
    assert_eq!(stages[0]["stage"], "boot");
    for stage in stages {
        let count = |key: &str| stage[key].as_u64().expect("a count");
        assert_eq!((count("errors"), count("skipped")), (0, 0), "{stage}");
        let all = count("passed") + count("failed") + count("blocked");
        let passed = if stage["stage"] == "boot" { all } else { 0 };
        assert!(all > 0 && count("passed") == passed, "{stage}");
    }

    // A participant's first hints lead to the line where the answer came from.
    let failed: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "case_finished" && event["outcome"] == "failed" && event["hidden"] == false)
        .collect();
    assert!(!failed.is_empty(), "{told}");
    for case in failed {
        let answer = case["hint"].to_string();
        let (rpc, place) = not_written(&answer).unwrap_or_else(|| panic!("leads nowhere: {case}"));
        let (file, line) = place.split_once(':').expect("file and line");
        let text = fs::read_to_string(built.repository.join(file)).expect("the file that is named");
        let line: usize = line.parse().expect("a number");
        let named = text.lines().nth(line - 1).expect("the line that is named");
        assert!(
            named.contains(&format!("not_yet(\"{rpc}\")")),
            "{place} is {named:?}: {case}"
        );
        assert!(
            !answer.contains("panicked") && !answer.contains("RUST_BACKTRACE"),
            "{case}"
        );
    }
}

/// Of "… AuthService.Login is not written yet: exchange/src/services/auth.rs:15 …", the rpc and the place.
fn not_written(answer: &str) -> Option<(String, String)> {
    let (before, after) = answer.split_once(" is not written yet: ")?;
    let name = |character: char| character.is_ascii_alphanumeric() || "./_:".contains(character);
    let rpc = before.rsplit(|character| !name(character)).next()?;
    let place = after.split(|character| !name(character)).next()?;
    Some((rpc.to_owned(), place.trim_end_matches([':', '.']).to_owned()))
}

#[test]
fn its_other_commands_say_what_they_do() {
    let built = Built::new();
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--help"], 0, "Exit codes:"),
        (&["deploy", "--help"], 0, "repro"),
        (&["deploy"], 102, "CK_UAT_USER is not set"),
        (
            &["deploy", "status", "fly"],
            2,
            "the 16 hex digits of a submission's id",
        ),
        (&["fly"], 2, "unrecognized subcommand"),
        (&["test", "--", "--stage", "flying"], 2, "no stage \"flying\""),
    ];
    for (arguments, code, expected) in cases {
        let output = built.xtask(arguments);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
