//! Arguments of bubblewrap: what a cell and what a submission can see.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::spec::{APP, DATA, in_cell};

/// The users file, inside of a sandbox.
pub(crate) const USERS: &str = "/optivex/users.yaml";
/// The program that starts the submission, inside of its sandbox.
pub(crate) const INNER: &str = "/optivex/inner";

/// What of /etc an unprivileged server needs; what there is of it. Nothing of it tells about the machine's people.
const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/java",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];
/// In a merged /usr these are links; elsewhere folders.
const OUTSIDE_USR: &[&str] = &["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add<const N: usize>(&mut self, words: [&dyn AsRef<std::ffi::OsStr>; N]) {
        self.0.extend(words.iter().map(|word| word.as_ref().to_owned()));
    }

    /// A private file system of at most so many bytes.
    fn memory(&mut self, bytes: u64, at: &Path) {
        if has_size() {
            self.add([&"--size", &bytes.to_string()]);
        }
        self.add([&"--tmpfs", &at]);
    }
}

/// bubblewrap before 0.6 cannot bound a private file system: then the watch alone does.
fn has_size() -> bool {
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *HAS.get_or_init(|| {
        std::process::Command::new("bwrap")
            .arg("--help")
            .output()
            .is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--size"))
    })
}

/// The folders that a cell is made of, outside of it.
pub(crate) struct CellFolders<'a> {
    pub(crate) app: &'a Path,
    pub(crate) tests: &'a Path,
    pub(crate) out: &'a Path,
    pub(crate) program: &'a Path,
    pub(crate) cgroup: Option<&'a Path>,
}

/// A cell: the tests and what starts submissions; its own network with nothing but a loopback, its own processes, and
/// of the machine's files nothing to write to.
pub(crate) fn cell(folders: &CellFolders<'_>, data_bytes: u64) -> Vec<OsString> {
    let mut arguments = Arguments::default();
    for word in [
        "--unshare-user",
        "--unshare-net",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--die-with-parent",
        "--new-session",
        "--as-pid-1",
    ] {
        arguments.add([&word]);
    }
    arguments.add([&"--hostname", &"uat", &"--cap-drop", &"ALL"]);
    arguments.add([&"--ro-bind", &"/", &"/", &"--dev", &"/dev", &"--proc", &"/proc"]);
    // Mounted over /tmp: the one folder that every machine has, and in which nothing of this is visible outside.
    arguments.add([&"--tmpfs", &"/tmp", &"--dir", &in_cell("")]);
    for (what, name) in [
        (folders.app, "app"),
        (folders.tests, "tests"),
        (folders.program, "uat-daemon"),
    ] {
        arguments.add([&"--ro-bind", &what, &in_cell(name)]);
    }
    arguments.add([&"--bind", &folders.out, &in_cell("out")]);
    arguments.memory(data_bytes, &in_cell("homes"));
    arguments.memory(data_bytes, &in_cell("tmp"));
    if let Some(cgroup) = folders.cgroup {
        arguments.add([&"--bind", &cgroup, &cgroup]);
    }
    arguments.add([&"--chdir", &in_cell("")]);
    arguments.0
}

/// A submission: a system to run programs on, its bundle, its data, its users file.
pub(crate) fn submission(scratch: &Path, data: &Path, users: &Path, filter: i32, info: i32) -> Result<Vec<OsString>> {
    let mut arguments = Arguments::default();
    for word in [
        "--unshare-user",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--die-with-parent",
        "--new-session",
        "--as-pid-1",
    ] {
        arguments.add([&word]);
    }
    arguments.add([
        &"--uid",
        &"1000",
        &"--gid",
        &"1000",
        &"--hostname",
        &"uat",
        &"--cap-drop",
        &"ALL",
    ]);
    arguments.add([&"--ro-bind", &"/usr", &"/usr"]);
    for folder in OUTSIDE_USR {
        match fs::read_link(folder) {
            Ok(target) => arguments.add([&"--symlink", &target, folder]),
            Err(_) if Path::new(folder).is_dir() => arguments.add([&"--ro-bind", folder, folder]),
            Err(_) => {}
        }
    }
    for file in ETC {
        arguments.add([&"--ro-bind-try", file, file]);
    }
    for (name, text) in [
        ("passwd", "submission:x:1000:1000::/tmp:/usr/sbin/nologin\n"),
        ("group", "submission:x:1000:\n"),
        ("hosts", "127.0.0.1 localhost uat\n::1 localhost uat\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ] {
        let file = scratch.join(name);
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        arguments.add([&"--ro-bind", &file, &format!("/etc/{name}")]);
    }
    arguments.add([&"--proc", &"/proc", &"--dev", &"/dev"]);
    arguments.add([&"--bind", &scratch.join("tmp"), &"/tmp"]);
    arguments.add([&"--bind", &scratch.join("shm"), &"/dev/shm"]);
    arguments.add([&"--ro-bind", &in_cell("app"), &APP]);
    arguments.add([&"--ro-bind", &in_cell("uat-daemon"), &INNER]);
    arguments.add([&"--ro-bind", &users, &USERS]);
    arguments.add([&"--bind", &data, &DATA]);
    // What bubblewrap made on the way is memory that no limit counts.
    arguments.add([&"--remount-ro", &"/dev", &"--remount-ro", &"/"]);
    arguments.add([&"--chdir", &APP]);
    arguments.add([&"--seccomp", &filter.to_string(), &"--info-fd", &info.to_string()]);
    Ok(arguments.0)
}

/// The programs that a machine must have to run cells.
pub(crate) fn missing_programs() -> Vec<&'static str> {
    let has = |name: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder: PathBuf| folder.join(name).is_file())
    };
    ["bwrap", "ssh-keygen"].into_iter().filter(|name| !has(name)).collect()
}
