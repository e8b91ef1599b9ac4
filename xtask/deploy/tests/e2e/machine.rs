//! UAT and a dev machine on this one: a real sshd before a real gate, and a home folder with what provisioning puts there.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use optivex_bundle::spool::{Spool, UatMode, UatStatus, write_json};

/// Where cargo puts programs.
fn programs() -> PathBuf {
    let deploy = Path::new(env!("CARGO_BIN_EXE_deploy"));
    deploy.parent().expect("a folder").to_owned()
}

/// The gate, built once: it is another package's.
pub(crate) fn gate() -> PathBuf {
    static GATE: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let target = programs().parent().expect("the target directory").to_owned();
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--locked", "-p", "optivex-uat", "--bin", "uat-gate"])
            .env("CARGO_TARGET_DIR", target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the gate does not build");
        programs().join("uat-gate")
    };
    GATE.get_or_init(build).clone()
}

pub(crate) fn told(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Runs something that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", told(&output));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn keygen(path: &Path) -> String {
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path));
    let public = fs::read_to_string(path.with_extension("pub")).expect("a public key");
    public.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Both machines.
pub(crate) struct Machine {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) spool: Spool,
    pub(crate) port: u16,
    user: String,
    /// Connections carry so many bytes from the client, each in its turn; then they break. None left: all.
    cuts: Arc<Mutex<Vec<u64>>>,
    pub(crate) connections: Arc<AtomicU64>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["dev/.ssh", "uat", "spool", "repository"] {
            fs::create_dir_all(path(name)).expect("made");
        }
        let spool = Spool::new(path("spool"));
        spool.create().expect("made");
        let user = run(Command::new("id").arg("-un"));
        let host_key = keygen(&path("uat/host_key"));
        let alice = keygen(&path("dev/.ssh/id_uat"));
        let bob = keygen(&path("uat/id_bob"));
        let results = keygen(&path("uat/id_results"));
        let forced = |key: &str, command: String| format!("restrict,command=\"{command}\" {key}\n");
        let behind = |name: &str| {
            let spool = spool.root().display();
            format!("{} --participant {name} --spool {spool}", gate().display())
        };
        let receive = format!(
            "HOME={} {}",
            path("dev").display(),
            env!("CARGO_BIN_EXE_optivex-receive")
        );
        let authorized = [
            forced(&alice, behind("alice")),
            forced(&bob, behind("bob")),
            forced(&results, receive),
        ];
        fs::write(path("uat/authorized_keys"), authorized.concat()).expect("written");
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\n",
            path("uat/host_key").display(),
            path("uat/authorized_keys").display()
        );
        fs::write(path("uat/sshd_config"), config).expect("written");
        if user == "root" {
            // Without it sshd does not start; systemd makes it elsewhere.
            let _ = fs::create_dir_all("/run/sshd");
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        fs::write(path("dev/.ssh/known_hosts"), format!("[127.0.0.1]:{port} {host_key}\n")).expect("written");
        let machine = Self {
            spool,
            port,
            user,
            cuts: Arc::default(),
            connections: Arc::default(),
            folder,
        };
        machine.heartbeat(UatMode::Running);
        machine.listen(listener);
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn cut(&self, bytes: &[u64]) {
        *self.cuts.lock().expect("nobody panicked") = bytes.iter().rev().copied().collect();
    }

    pub(crate) fn heartbeat(&self, mode: UatMode) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let status = UatStatus {
            written: now.expect("after 1970").as_secs(),
            mode,
            slots: 1,
            tests: None,
            contract: None,
            queue: Vec::new(),
        };
        write_json(&self.spool.status_file(), &status).expect("written");
    }

    /// One sshd a connection, behind a wire that can be cut.
    fn listen(&self, listener: TcpListener) {
        let config = self.path("uat/sshd_config");
        let (cuts, connections) = (Arc::clone(&self.cuts), Arc::clone(&self.connections));
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                // The test is over.
                if !config.exists() {
                    return;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                let cut = cuts.lock().expect("nobody panicked").pop();
                let (ours, theirs) = UnixStream::pair().expect("a pair");
                let (input, output): (OwnedFd, OwnedFd) = (theirs.try_clone().expect("cloned").into(), theirs.into());
                let sshd = Command::new("/usr/sbin/sshd")
                    .args(["-i", "-e", "-f"])
                    .arg(&config)
                    .stdin(input)
                    .stdout(output)
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("sshd is installed: cargo xtask doctor");
                thread::spawn(move || wire(client, ours, cut.unwrap_or(u64::MAX), sshd));
            }
        });
    }

    /// `deploy` on the dev machine.
    pub(crate) fn deploy(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command
            .args(arguments)
            .current_dir(self.path("repository"))
            .env("HOME", self.path("dev"))
            .env("CK_UAT_USER", &self.user)
            .env("CK_UAT_HOST", format!("127.0.0.1:{}", self.port))
            .stdin(Stdio::null());
        command
    }

    /// Its exit code, and what it told.
    pub(crate) fn deployed(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.deploy(arguments).output().expect("it runs");
        (output.status.code(), told(&output))
    }

    /// Any client with a key.
    pub(crate) fn ssh(&self, key: &str, options: &[&str], command: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "LogLevel=ERROR",
        ])
        .arg("-o")
        .arg(format!(
            "UserKnownHostsFile={}",
            self.path("dev/.ssh/known_hosts").display()
        ))
        .arg("-i")
        .arg(self.path(key))
        .args(["-p", &self.port.to_string(), "-l", &self.user])
        .args(options)
        .arg("127.0.0.1")
        .args(command);
        ssh
    }

    /// A repository of a file, with one commit.
    pub(crate) fn repository(&self, program: &[u8]) {
        self.write("proto/optivex/v1/x.proto", b"syntax = \"proto3\";\n");
        self.write(
            "optivex.yaml",
            b"build: [cp, program, built]\nartefacts: [built: exchange]\nstart: [./exchange]\n",
        );
        self.write(".gitignore", b"/built\n/target\n");
        self.write("program", program);
        let program = self.path("repository/program");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("set");
        self.git(&["init", "--quiet"]);
        self.commit();
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path("repository").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        run(Command::new("git")
            .args(["-c", "user.name=Alice", "-c", "user.email=alice@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .current_dir(self.path("repository")))
    }

    pub(crate) fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "Work"]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Lets the listener see that it is over.
        let _ = fs::remove_file(self.path("uat/sshd_config"));
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Carries bytes both ways; so many of the client's, then it breaks as a network does: without a word.
fn wire(client: TcpStream, sshd: UnixStream, bytes: u64, mut process: Child) {
    let back = {
        let (mut from, mut to) = (sshd.try_clone().expect("cloned"), client.try_clone().expect("cloned"));
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        })
    };
    let (mut from, mut to) = (&client, &sshd);
    let _ = io::copy(&mut (&mut from).take(bytes), &mut to);
    let _ = to.flush();
    let _ = client.shutdown(Shutdown::Both);
    let _ = sshd.shutdown(Shutdown::Both);
    let _ = back.join();
    let _ = process.wait();
}
