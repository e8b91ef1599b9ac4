//! What a bundle says of itself: its first entry, `manifest.json`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, NotThat, serde_as_text};
use crate::limits::Limits;

/// Name of the manifest in the bundle.
pub const MANIFEST: &str = "manifest.json";

/// The form of the manifest that this crate writes and reads.
pub const SCHEMA: u32 = 1;

/// The manifest. Nothing in it depends on when or where it was made: the same build gives the same bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Commit of the participant's repository, as git names it.
    pub commit: String,
    /// Whether there were changes that the commit does not have.
    pub dirty: bool,
    /// What it was built with, such as `rustc 1.95.0 (…)`; free text of one line.
    pub toolchain: String,
    /// The contract that it was built against: [`contract_digest`].
    pub contract: Digest,
    /// How it is started, in the directory that the bundle is unpacked into.
    pub start: Vec<String>,
    /// The files, by path in ascending order.
    pub files: Vec<FileEntry>,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it is.
    pub path: BundlePath,
    /// Bytes.
    pub size: u64,
    /// Permissions.
    pub mode: Mode,
    /// Hash of its bytes.
    pub sha256: Digest,
}

/// What starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program<'a> {
    /// A file of the bundle.
    Bundled(&'a BundlePath),
    /// A program that the machine is expected to have, such as `python3`.
    OfTheMachine(&'a str),
}

/// Why a manifest is not sound. Told to the participant as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Made by another version of `cargo xtask deploy`.
    #[error(
        "the manifest has schema {0}, and this machine knows {SCHEMA}: take xtask/deploy and xtask/bundle from the current template"
    )]
    Schema(u32),
    /// A field that is not what it should be.
    #[error("the manifest's {0}")]
    Field(String),
    /// A path twice, or a path that is a file and a folder, or paths out of order.
    #[error("the manifest's files are not in ascending order of path, each once: {0}")]
    Order(BundlePath),
    /// A file where another path wants a folder.
    #[error("{0} is both a file and a folder")]
    FileAndFolder(BundlePath),
    /// More than [`Limits`] allow.
    #[error("{what}: {is}, and {allowed} are allowed")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there is.
        is: u64,
        /// How much may be.
        allowed: u64,
    },
}

impl Manifest {
    /// Checks all that can be checked without the files.
    pub fn check(&self, limits: &Limits) -> Result<(), ManifestError> {
        if self.schema != SCHEMA {
            return Err(ManifestError::Schema(self.schema));
        }
        let field = |right: bool, told: &str| right.then_some(()).ok_or_else(|| ManifestError::Field(told.to_owned()));
        let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        field(
            matches!(self.commit.len(), 40 | 64) && hex(&self.commit),
            "commit is not a commit's hash",
        )?;
        field(is_line(&self.toolchain, 200), "toolchain is not one line of text")?;
        at_most(
            "words in the start command",
            self.start.len() as u64,
            limits.start_words,
        )?;
        let bytes = self.start.iter().map(|word| word.len() as u64 + 1).sum();
        at_most("bytes in the start command", bytes, limits.start_bytes)?;
        field(
            self.start.first().is_some_and(|word| !word.is_empty()),
            "start command is empty",
        )?;
        field(
            self.start.iter().all(|word| !word.contains('\0')),
            "start command has a NUL character",
        )?;
        self.check_files(limits)?;
        match self.program() {
            Program::Bundled(path) => {
                let executable = |file: &FileEntry| file.path == *path && file.mode == Mode::Executable;
                field(
                    self.files.iter().any(executable),
                    &format!("start command begins with {path}, which is not executable"),
                )
            }
            Program::OfTheMachine(name) => field(
                !name.contains('/'),
                &format!(
                    "start command begins with {}, which is not a file of the bundle",
                    printable(name)
                ),
            ),
        }
    }

    fn check_files(&self, limits: &Limits) -> Result<(), ManifestError> {
        at_most("files", self.files.len() as u64, limits.files)?;
        let mut total = 0_u64;
        let mut folders = BTreeSet::new();
        for (index, file) in self.files.iter().enumerate() {
            if index > 0 && self.files[index - 1].path >= file.path {
                return Err(ManifestError::Order(file.path.clone()));
            }
            at_most("bytes in a path", file.path.0.len() as u64, limits.path_bytes)?;
            at_most("names in a path", file.path.names().count() as u64, limits.path_depth)?;
            total = total.saturating_add(file.size);
            at_most("bytes of all files", total, limits.unpacked_bytes)?;
            folders.extend(file.path.folders());
        }
        match self.files.iter().find(|file| folders.contains(file.path.as_str())) {
            Some(file) => Err(ManifestError::FileAndFolder(file.path.clone())),
            None => Ok(()),
        }
    }

    /// What the start command starts.
    pub fn program(&self) -> Program<'_> {
        let name = self.start.first().map_or("", String::as_str);
        let plain = name.strip_prefix("./").unwrap_or(name);
        match self.files.iter().find(|file| file.path.as_str() == plain) {
            Some(file) => Program::Bundled(&file.path),
            None => Program::OfTheMachine(name),
        }
    }

    /// Bytes of all files.
    pub fn unpacked_bytes(&self) -> u64 {
        self.files.iter().fold(0, |total, file| total.saturating_add(file.size))
    }
}

fn at_most(what: &'static str, is: u64, allowed: u64) -> Result<(), ManifestError> {
    if is <= allowed {
        Ok(())
    } else {
        Err(ManifestError::TooMuch { what, is, allowed })
    }
}

/// One line of text that no terminal takes for a command.
pub fn is_line(text: &str, bytes: usize) -> bool {
    text.len() <= bytes && !text.chars().any(char::is_control)
}

/// Foreign text as a terminal and a log may have it: without control characters.
pub fn printable(text: &str) -> String {
    let wrong = |character: char| character.is_control() && !matches!(character, '\t' | '\n');
    text.chars()
        .map(|character| if wrong(character) { '\u{fffd}' } else { character })
        .collect()
}

/// Permissions of a file in a bundle; there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `0644`
    Plain,
    /// `0755`
    Executable,
}

impl Mode {
    /// As chmod has it.
    pub const fn bits(self) -> u32 {
        match self {
            Mode::Plain => 0o644,
            Mode::Executable => 0o755,
        }
    }

    /// Of a file whose owner may or may not run it.
    pub const fn of_executable(executable: bool) -> Self {
        if executable { Mode::Executable } else { Mode::Plain }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.bits())
    }
}

impl FromStr for Mode {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        match text {
            "0644" => Ok(Mode::Plain),
            "0755" => Ok(Mode::Executable),
            _ => Err(NotThat("mode 0644 or 0755")),
        }
    }
}

/// A relative path that stays where it is put: names joined by `/`, none of them empty, `.` or `..`, without
/// backslashes and control characters, and not [`MANIFEST`] itself. Names have up to 100 bytes, which fits
/// into a plain tar header.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundlePath(String);

impl BundlePath {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its names, outermost first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The folders that it is in, outermost first.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(end, _)| &self.0[..end])
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BundlePath {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        const WRONG: NotThat =
            NotThat("a relative path without \".\", \"..\", empty names, backslashes and control characters");
        let name_is_right = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= 100 && !name.contains('\\');
        let right = text.split('/').all(name_is_right) && !text.chars().any(char::is_control) && text != MANIFEST;
        right.then(|| Self(text.to_owned())).ok_or(WRONG)
    }
}

serde_as_text!(Mode, BundlePath);

/// The contract's hash, by which deploy and UAT tell whether they mean the same contract: SHA-256 over all proto files
/// in ascending order of path; of each its path below the proto folder and its text, both preceded by their length in
/// bytes as decimal digits and a newline.
pub fn contract_digest<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Digest {
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_unstable();
    let mut hasher = crate::digest::Hasher::default();
    for (path, text) in files {
        for part in [path.as_bytes(), text] {
            hasher.update(format!("{}\n", part.len()).as_bytes());
            hasher.update(part);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LIMITS;

    fn path(text: &str) -> BundlePath {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn file(text: &str) -> FileEntry {
        FileEntry {
            path: path(text),
            size: 1,
            mode: Mode::Executable,
            sha256: Digest::of(b"x"),
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            schema: SCHEMA,
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            dirty: false,
            toolchain: "rustc 1.95.0".to_owned(),
            contract: Digest::of(b"contract"),
            start: vec!["bin/exchange".to_owned()],
            files: vec![file("bin/exchange"), file("data/users.yaml")],
        }
    }

    #[test]
    fn paths() {
        for right in ["a", "bin/exchange", "a b", "ä/ö", "..a/b..", "x/manifest.json", "-rf"] {
            assert_eq!(path(right).as_str(), right);
        }
        let long = "x".repeat(101);
        for wrong in [
            "",
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            ".",
            "..",
            "./a",
            "a/.",
            "a/../b",
            "../a",
            "a/..",
            "a\\b",
            "a\0",
            "a\nb",
            "\u{1b}[2J",
            "manifest.json",
            &long,
        ] {
            assert!(wrong.parse::<BundlePath>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_manifest_is_json_and_sound() {
        let manifest = manifest();
        assert_eq!(manifest.check(&LIMITS), Ok(()));
        assert_eq!(manifest.program(), Program::Bundled(&path("bin/exchange")));
        let text = serde_json::to_string(&manifest).expect("JSON");
        assert!(text.contains(r#""mode":"0755""#), "{text}");
        assert_eq!(serde_json::from_str::<Manifest>(&text).expect("read"), manifest);
    }

    #[test]
    fn unsound_manifests() {
        type Break = fn(&mut Manifest);
        let cases: [(&str, Break, &str); 14] = [
            ("schema", |m| m.schema = 2, "schema 2"),
            ("commit", |m| m.commit = "HEAD".to_owned(), "commit"),
            ("toolchain", |m| m.toolchain = "\u{1b}[2J".to_owned(), "toolchain"),
            ("no start", |m| m.start.clear(), "start command is empty"),
            (
                "empty start",
                |m| m.start = vec![String::new()],
                "start command is empty",
            ),
            ("NUL", |m| m.start.push("a\0b".to_owned()), "NUL"),
            ("words", |m| m.start = vec!["a".to_owned(); 65], "words"),
            (
                "bytes",
                |m| m.start.push("a".repeat(5000)),
                "bytes in the start command",
            ),
            (
                "a shell of the machine",
                |m| m.start = vec!["/bin/sh".to_owned()],
                "not a file of the bundle",
            ),
            ("not executable", |m| m.files[0].mode = Mode::Plain, "not executable"),
            ("twice", |m| m.files[1] = m.files[0].clone(), "ascending order"),
            (
                "file and folder",
                |m| m.files[1] = file("bin/exchange/x"),
                "both a file and a folder",
            ),
            ("size", |m| m.files[0].size = u64::MAX, "bytes of all files"),
            ("depth", |m| m.files[1] = file(&["c"; 17].join("/")), "names in a path"),
        ];
        for (name, change, told) in cases {
            let mut manifest = manifest();
            change(&mut manifest);
            let error = manifest.check(&LIMITS).expect_err(name).to_string();
            assert!(error.contains(told), "{name}: {error}");
        }
    }

    #[test]
    fn the_contracts_hash_knows_names_and_borders() {
        let a: (&str, &[u8]) = ("a.proto", b"one");
        let b: (&str, &[u8]) = ("b.proto", b"two");
        let digest = contract_digest([a, b]);
        assert_eq!(contract_digest([b, a]), digest);
        let others: [Vec<(&str, &[u8])>; 4] = [
            vec![a],
            vec![("a.proto", b"on"), ("eb.proto", b"two")],
            vec![("a.proto", b"two"), ("b.proto", b"one")],
            vec![("c.proto", b"one"), b],
        ];
        for other in others {
            assert_ne!(contract_digest(other.clone()), digest, "{other:?}");
        }
    }
}
