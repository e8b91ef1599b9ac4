//! A private sshd: own configuration, own host key, a port of 127.0.0.1, for the user who runs the tests.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use optivex_setup::keys::{KeyPair, PublicKey};
use optivex_setup::ssh::{Host, Settings};

const MISSING: &str =
    "sshd cannot be started: install the package openssh-server (apt and dnf), or run cargo xtask test";

/// A directory with keys and configuration, and sshd once it is started.
pub struct Sshd {
    pub directory: tempfile::TempDir,
    pub port: u16,
    pub user: String,
    pub host_key: PublicKey,
    process: Option<Child>,
}

impl Sshd {
    /// Everything but the process.
    pub fn prepare() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let manager = KeyPair::make("manager").expect("ssh-keygen works");
        private(&at("identity"), manager.private.expose());
        fs::write(at("authorized_keys"), format!("{}\n", manager.public)).expect("written");
        let host_key = set_host_key(directory.path());
        // Free now; nobody else takes it in the moment until sshd does.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a port")
            .port();
        let user = String::from_utf8(Command::new("id").arg("-un").output().expect("id runs").stdout)
            .expect("a user's name")
            .trim()
            .to_owned();
        let configuration = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\n\
             PidFile {0}/pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n",
            directory.path().display()
        );
        fs::write(at("sshd_config"), configuration).expect("written");
        Self {
            directory,
            port,
            user,
            host_key,
            process: None,
        }
    }

    /// Up and listening.
    pub fn start() -> Self {
        let mut sshd = Self::prepare();
        sshd.run();
        sshd
    }

    pub fn run(&mut self) {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect(MISSING);
        if self.user == "root" {
            // Where it separates privileges; the service makes it where sshd is one.
            fs::create_dir_all("/run/sshd").expect("root can make it");
        }
        let process = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(self.directory.path().join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(self.directory.path().join("sshd.log")).expect("a log"))
            .spawn()
            .expect(MISSING);
        self.process = Some(process);
    }

    /// The same address, another host key.
    pub fn another_host_key(&mut self) -> PublicKey {
        self.stop();
        let key = set_host_key(self.directory.path());
        self.run();
        key
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it ends");
        }
    }

    pub fn settings(&self) -> Settings {
        Settings::new(self.identity())
    }

    pub fn identity(&self) -> PathBuf {
        self.directory.path().join("identity")
    }

    /// What has to be known to log in.
    pub fn host(&self) -> Host {
        Host {
            name: "alice".to_owned(),
            address: "127.0.0.1".to_owned(),
            port: self.port,
            login: self.user.clone(),
            host_keys: vec![self.host_key.clone()],
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("sshd.log")).expect("a log")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn set_host_key(directory: &Path) -> PublicKey {
    let pair = KeyPair::make("host").expect("ssh-keygen works");
    private(&directory.join("host_key"), pair.private.expose());
    pair.public
}

fn private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("written");
}
