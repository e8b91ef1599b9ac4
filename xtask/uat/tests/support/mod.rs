//! What the tests of the daemon share.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use optivex_bundle::archive::{About, Source};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::limits::LIMITS;
use optivex_bundle::names::Name;
use optivex_bundle::spool::{Receipt, ResultFile, Spool};
use optivex_bundle::verdict::JobResult;
use tempfile::TempDir;

/// A user that nobody is, for cells where the tests run as root.
pub(crate) const ACCOUNT: u32 = 61_900;

pub(crate) fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

pub(crate) fn account() -> Option<u32> {
    is_root().then_some(ACCOUNT)
}

/// A folder that the account of a cell may pass through.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path());
    folder
}

pub(crate) fn open(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
}

/// The daemon.
pub(crate) fn daemon() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_uat-daemon"))
}

/// The system tests.
pub(crate) fn system_tests() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "optivex-system-tests", "--bin", "system-tests"], "system-tests"))
}

/// The reference exchange.
pub(crate) fn exchange() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "optivex-server", "--bin", "optivex"], "optivex"))
}

/// The one with faults.
pub(crate) fn faulty() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        build(
            &[
                "-p",
                "optivex-server",
                "--features",
                "faults",
                "--bin",
                "optivex-faulty",
            ],
            "optivex-faulty",
        )
    })
}

/// Tests that are over at once.
pub(crate) fn pretend_tests() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        build(
            &["-p", "optivex-uat", "--example", "pretend_tests"],
            "examples/pretend_tests",
        )
    })
}

/// Submissions that misbehave, by mode.
pub(crate) fn hostile() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "optivex-uat", "--example", "hostile"], "examples/hostile"))
}

fn build(arguments: &[&str], file: &str) -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked"])
        .args(arguments)
        .status()
        .expect("cargo starts");
    assert!(status.success(), "cargo build {arguments:?}: {status}");
    // .../debug/uat-daemon
    let target = daemon().parent().expect("a folder");
    let built = target.join(file);
    assert!(built.is_file(), "{}", built.display());
    built
}

/// A folder with one program in it, by that name.
pub(crate) fn with_program(program: &Path, name: &str, into: &Path) {
    fs::create_dir_all(into).expect("a folder");
    open(into);
    let to = into.join(name);
    if fs::hard_link(program, &to).is_err() {
        fs::copy(program, &to).expect("a copy");
    }
}

/// A UAT machine of its own: a spool, tests, settings.
pub(crate) struct Uat {
    pub(crate) home: TempDir,
    pub(crate) tests: &'static Path,
}

/// Held until it is dropped, against all processes.
pub(crate) fn locked(path: &Path) -> fs::File {
    let file = fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .expect("a file");
    file.lock().expect("a lock");
    file
}

/// Archives of system tests are large: each is made once.
fn installed(program: &Path) -> &'static Path {
    static MADE: Mutex<Vec<(PathBuf, &'static Path)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, folder)) = made.iter().find(|(known, _)| known == program) {
        return folder;
    }
    // Of this test program alone. Its tests may be processes of their own: the first one makes it.
    let own = std::env::current_exe().expect("a path");
    let part = |path: &Path| path.file_stem().expect("a name").display().to_string();
    let name = format!("{}-{}", part(&own), part(program));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    let _lock = locked(&folder.with_extension("lock"));
    let metadata = fs::metadata(program).expect("a program");
    let stamp = format!("{} {:?}", metadata.len(), metadata.modified().expect("a time"));
    let is_made = fs::read_to_string(folder.join("made-of")).is_ok_and(|made_of| made_of == stamp);
    if !is_made && folder.exists() {
        fs::remove_dir_all(&folder).expect("removed");
    }
    let folder: &'static Path = Box::leak(folder.into_boxed_path());
    if !is_made {
        let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/optivex");
        let output = Command::new(daemon())
            .args(["install-tests", "--commit", COMMIT, "--proto"])
            .args([&proto, program])
            .env("CK_TESTS_DIR", folder)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        open(folder);
        fs::write(folder.join("made-of"), stamp).expect("written");
    }
    made.push((program.to_owned(), folder));
    folder
}

impl Uat {
    /// With these settings and the real system tests.
    pub(crate) fn new(settings: &str) -> Self {
        Self::with_tests(settings, system_tests())
    }

    /// With these settings and these tests.
    pub(crate) fn with_tests(settings: &str, tests: &Path) -> Self {
        let home = folder();
        fs::write(home.path().join("uat.yaml"), settings).expect("settings");
        Self {
            home,
            tests: installed(tests),
        }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn spool(&self) -> Spool {
        Spool::new(self.at("spool"))
    }

    /// The daemon, with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(daemon(), arguments)
    }

    /// A daemon that lies elsewhere.
    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("CK_UAT_CONFIG", self.at("uat.yaml"))
            .env("CK_DEPLOYMENT_DIR", self.at("spool"))
            .env("CK_TESTS_DIR", self.tests);
        command
    }

    /// Runs it to its end; what it told.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("it runs");
        let told = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{arguments:?}: {}\n{told}", output.status);
        told
    }

    /// Hands over these bytes, as the gate does.
    pub(crate) fn hand_over(&self, participant: &str, bundle: &[u8]) -> SubmissionId {
        self.hand_over_attempt(participant, bundle, 1)
    }

    /// Hands them over again.
    pub(crate) fn hand_over_attempt(&self, participant: &str, bundle: &[u8], attempt: u32) -> SubmissionId {
        let name: Name = participant.parse().expect("a name");
        let sha256 = Digest::of(bundle);
        let id = SubmissionId::from(&sha256);
        let receipt = Receipt {
            participant: name.clone(),
            id,
            sha256,
            size: bundle.len() as u64,
            received: humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string(),
            attempt,
        };
        let spool = self.spool();
        spool.create().expect("a spool");
        let waiting = spool.waiting_job(&name, id);
        let temporary = waiting.with_extension("tmp");
        fs::create_dir_all(&temporary).expect("a folder");
        fs::write(temporary.join("bundle.tar.zst"), bundle).expect("written");
        fs::write(
            temporary.join("receipt.json"),
            serde_json::to_vec(&receipt).expect("JSON"),
        )
        .expect("written");
        fs::rename(&temporary, &waiting).expect("renamed");
        id
    }

    /// What it came to.
    pub(crate) fn result(&self, participant: &str, id: SubmissionId) -> JobResult {
        let name: Name = participant.parse().expect("a name");
        let result = self.spool().read_result(&name, id).expect("readable");
        result.unwrap_or_else(|| panic!("{participant}/{id}: no result"))
    }

    pub(crate) fn file(&self, participant: &str, id: SubmissionId, file: ResultFile) -> String {
        let name: Name = participant.parse().expect("a name");
        fs::read_to_string(self.spool().result_file(&name, id, file)).expect("a file")
    }
}

/// Waits for something.
pub(crate) fn until(reached: impl Fn() -> bool) {
    while !reached() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A bundle of one program.
pub(crate) fn bundle(program: &Path, words: &[&str]) -> Vec<u8> {
    let start = [&["bin/exchange"], words].concat();
    packed(&start, &[("bin/exchange", program)])
}

/// A bundle of these files.
pub(crate) fn packed(start: &[&str], files: &[(&str, &Path)]) -> Vec<u8> {
    let about = About {
        commit: COMMIT.to_owned(),
        dirty: false,
        toolchain: "rustc".to_owned(),
        contract: Digest::of(b"contract"),
        start: start.iter().map(|word| (*word).to_owned()).collect(),
    };
    let source = |(path, file): &(&str, &Path)| Source {
        path: path.parse().expect("a path"),
        file: (*file).to_owned(),
    };
    let mut bytes = Vec::new();
    let sources = files.iter().map(source).collect();
    optivex_bundle::archive::pack(about, sources, &mut bytes, &LIMITS).expect("packed");
    bytes
}
