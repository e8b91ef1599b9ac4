//! Hosts as a manager meets them. They need root, so `cargo test` leaves them out and says so; `cargo xtask ci` runs
//! them.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use std::time::{Duration, Instant};

use optivex_rehearse::ec2::Ec2;
use optivex_rehearse::hosts::{Bridge, Host, Hosts, Image, Machine, Places, scrap};
use optivex_rehearse::moto::{Moto, target_dir};
use optivex_rehearse::packages;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(172, 31, 4, 5);

/// Set in a test's own namespaces.
const INSIDE: &str = "OPTIVEX_TEST_INSIDE";

/// What a test needs, in namespaces of its own.
struct Bench {
    dir: tempfile::TempDir,
    bridge: Bridge,
}

/// Runs the test anew in fresh namespaces; there, gives it a bench.
fn bench(test: &str) -> Option<Bench> {
    if std::env::var_os(INSIDE).is_none() {
        let output = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
            ])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .expect("unshare of util-linux");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains("1 passed"), "{text}");
        return None;
    }
    // The system's part on a tmpfs: an overlay may not be inside of what it lies over.
    let dir = tempfile::tempdir().expect("a directory");
    let system = dir.path().join("system");
    fs::create_dir(&system).expect("a directory");
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "optivex"])
        .arg(&system)
        .status()
        .expect("mount of util-linux");
    assert!(status.success());
    let bridge = Bridge::build().expect("a bridge");
    Some(Bench { dir, bridge })
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A key pair: where the private one is, and the text of the public one.
    fn key(&self, name: &str) -> (PathBuf, String) {
        let path = self.path(name);
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&path)
            .output()
            .expect("ssh-keygen");
        assert!(output.status.success());
        let public = fs::read_to_string(path.with_extension("pub")).expect("a public key");
        (path, public.trim().to_owned())
    }

    fn machine(&self, address: Ipv4Addr, key: &str, user_data: &str) -> Machine {
        let id = format!("i-{:017x}", address.to_bits());
        Machine {
            address,
            system: self.path("system").join(&id),
            disk: self.path("disk").join(&id),
            id,
            login: "admin".to_owned(),
            login_keys: vec![key.to_owned()],
            user_data: user_data.to_owned(),
            image: Image::of_this_machine(),
        }
    }

    fn boot(&self, machine: Machine) -> Host {
        let program = Path::new(env!("CARGO_BIN_EXE_rehearse"));
        let log = self.path("log");
        Host::boot(program, machine, &self.bridge, &log)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", fs::read_to_string(&log).unwrap_or_default()))
    }

    /// Runs a command there, with the host key pinned.
    fn ssh(&self, user: &str, host: Ipv4Addr, key: &Path, host_key: &str, command: &str) -> Output {
        let known = self.path("known_hosts");
        fs::write(&known, format!("{host} {host_key}\n")).expect("written");
        Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10", "-o"])
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .arg("-i")
            .arg(key)
            .arg(format!("{user}@{host}"))
            .arg(command)
            .output()
            .expect("ssh")
    }
}

fn user_data(private: &Path, public: &str) -> String {
    let private = fs::read_to_string(private).expect("a key");
    let private: String = private.lines().map(|line| format!("    {line}\n")).collect();
    format!("#cloud-config\nhostname: host\nssh_keys:\n  ed25519_private: |\n{private}  ed25519_public: {public}\n")
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[test]
#[ignore = "needs root"]
fn a_host_is_a_machine_of_its_own() {
    let Some(bench) = bench("a_host_is_a_machine_of_its_own") else {
        return;
    };
    let (login, login_public) = bench.key("login");
    let (pinned, pinned_public) = bench.key("pinned");
    let (_, wrong_public) = bench.key("wrong");
    let host = bench.boot(bench.machine(ADDRESS, &login_public, &user_data(&pinned, &pinned_public)));
    let ask = |command: &str| {
        let output = bench.ssh("admin", ADDRESS, &login, &pinned_public, command);
        assert!(output.status.success(), "{command}: {}", text(&output));
        text(&output).trim().to_owned()
    };

    // Its own name, people, processes and addresses.
    assert_eq!(ask("hostname"), "host");
    assert_eq!(ask("whoami; sudo -n whoami"), "admin\nroot");
    assert_eq!(ask("ls /home"), "admin");
    let commands = ask("ps -eo comm=");
    assert!(commands.contains("sshd") && !commands.contains("cargo"), "{commands}");
    assert_eq!(
        ask("ip -brief -4 address show dev eth0 scope global")
            .split_whitespace()
            .nth(2),
        Some("10.9.8.7/32")
    );

    // No way out: neither by a default route, nor to anything outside of its network.
    assert_eq!(ask("ip route show default"), "");
    assert!(ask("ip route get 192.0.2.1 2>&1; true").contains("unreachable"));

    // Nothing of the machine it is on.
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).display();
    assert_eq!(
        ask(&format!(
            "sudo ls {repository} 2>/dev/null; sudo ls -A /mnt /srv /var/tmp"
        )),
        "/mnt:\n\n/srv:\n\n/var/tmp:"
    );
    assert_eq!(
        ask("sudo dmesg --help >/dev/null; sudo ls /etc/ssh | grep -c host_.*_key$"),
        "1"
    );

    // What it writes is its own.
    ask("sudo touch /usr/bin/optivex-was-here /etc/optivex-was-here; echo hi > ~/kept");
    assert!(!Path::new("/usr/bin/optivex-was-here").exists());
    assert!(!Path::new("/etc/optivex-was-here").exists());

    // The toolchain and the crates are there to be read.
    assert!(ask("cargo --version").starts_with("cargo 1."));
    assert!(ask("ls /opt/crates").contains("cache"));
    assert!(ask("sudo touch /opt/crates/x /opt/rust/x 2>&1; true").contains("Read-only"));

    let crates = "[package]\\nname = 'x'\\nedition = '2024'\\n[dependencies]\\nanyhow = '1'\\n";
    ask(&format!(
        "mkdir -p x/src && cd x && printf \"{crates}\" > Cargo.toml && echo 'fn main() {{}}' > src/main.rs && cargo run --quiet"
    ));

    // Sandboxes start for plain users, with namespaces inside of these.
    assert_eq!(
        ask("bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp cat /proc/sys/kernel/hostname"),
        "host"
    );

    // Whoever takes another machine for it finds out.
    let output = bench.ssh("admin", ADDRESS, &login, &wrong_public, "true");
    assert!(
        text(&output).contains("Host key verification failed"),
        "{}",
        text(&output)
    );
    let output = bench.ssh("root", ADDRESS, &login, &pinned_public, "true");
    assert!(text(&output).contains("Permission denied"), "{}", text(&output));

    // After a power cut it comes back with its disk, and is the same machine.
    let host = bench.boot(host.power_off());
    assert_eq!(
        ask("cat kept; ls /usr/bin/optivex-was-here; hostname"),
        "hi\n/usr/bin/optivex-was-here\nhost"
    );

    // And goes without a trace.
    let unshare = host.first_process().expect("it runs");
    let machine = host.power_off();
    scrap(&machine).expect("removed");
    assert!(!machine.system.exists() && !machine.disk.exists());
    assert!(!Path::new(&format!("/proc/{unshare}")).exists());
    // The kernel takes cables away in its own time.
    while !bench.bridge.cables().expect("readable").is_empty() {
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs root"]
fn hosts_reach_each_other() {
    let Some(bench) = bench("hosts_reach_each_other") else {
        return;
    };
    let (login, login_public) = bench.key("login");
    let (pinned, pinned_public) = bench.key("pinned");
    let data = user_data(&pinned, &pinned_public);
    let _one = bench.boot(bench.machine(ADDRESS, &login_public, &data));
    let _other = bench.boot(bench.machine(OTHER, &login_public, &data));
    let keys = bench.ssh(
        "admin",
        ADDRESS,
        &login,
        &pinned_public,
        &format!("ssh-keyscan -t ed25519 {OTHER} 2>/dev/null"),
    );
    let key: Vec<&str> = pinned_public.split(' ').take(2).collect();
    assert_eq!(text(&keys).trim(), format!("{OTHER} {}", key.join(" ")));
}

#[test]
#[ignore = "needs root"]
fn a_host_that_cannot_boot_says_why() {
    let Some(bench) = bench("a_host_that_cannot_boot_says_why") else {
        return;
    };
    let machine = bench.machine(ADDRESS, "", "#cloud-config\nswap: {}\n");
    let program = Path::new(env!("CARGO_BIN_EXE_rehearse"));
    let error = Host::boot(program, machine, &bench.bridge, &bench.path("log")).expect_err("refused");
    assert!(format!("{error:#}").contains("swap"), "{error:#}");
}

#[test]
#[ignore = "needs root"]
fn instances_have_hosts_as_long_as_they_run() {
    if std::env::var_os(INSIDE).is_none() {
        // Inside there is no network to install it from.
        Moto::start(&target_dir().expect("built by cargo"), None).expect("starts");
    }
    let Some(bench) = bench("instances_have_hosts_as_long_as_they_run") else {
        return;
    };
    let moto = Moto::start(&target_dir().expect("built by cargo"), None).expect("starts");
    let (login, login_public) = bench.key("login");
    let (pinned, pinned_public) = bench.key("pinned");
    let places = Places {
        program: PathBuf::from(env!("CARGO_BIN_EXE_rehearse")),
        system: bench.path("system"),
        disk: bench.path("disk"),
        logs: bench.path("logs"),
        login: "admin".to_owned(),
        image: Image {
            packages: packages::repository(&bench.path("packages")).expect("built"),
            ..Image::of_this_machine()
        },
    };
    let ec2 = || Ec2::new(moto.address(), "eu-central-1");
    let hosts = Hosts::watch(ec2(), bench.bridge.clone(), places).expect("watches");

    let encoded = |text: &str| {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode(text)
    };
    let key = encoded(&login_public);
    ec2()
        .call(
            "ImportKeyPair",
            &[("KeyName", "k"), ("PublicKeyMaterial", &key)],
            "keyName",
        )
        .expect("imported");
    let image = ec2()
        .call("RegisterImage", &[("Name", "image")], "imageId")
        .expect("registered")
        .remove(0);
    let data = encoded(&user_data(&pinned, &pinned_public));
    let id = ec2()
        .call(
            "RunInstances",
            &[
                ("ImageId", &image),
                ("MinCount", "1"),
                ("MaxCount", "1"),
                ("KeyName", "k"),
                ("UserData", &data),
            ],
            "instanceId",
        )
        .expect("run")
        .remove(0);

    let start = Instant::now();
    let host = loop {
        assert_eq!(hosts.problems(), [""; 0]);
        if let Some(host) = hosts.running().pop() {
            break host;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no host");
        std::thread::yield_now();
    };
    assert_eq!(host.id, id);
    let ask = |command: &str| text(&bench.ssh("admin", host.address, &login, &pinned_public, command));
    assert_eq!(ask("whoami"), "admin\n");
    if packages::repository(&bench.path("packages")).expect("built").is_some() {
        let log = ask("sudo apt-get update && sudo apt-get install --yes optivex-rehearsal");
        assert!(ask("dpkg-query -W optivex-rehearsal").ends_with("\t1\n"), "{log}");
    }

    hosts.cut_power(&host.name).expect("off");
    assert_eq!(hosts.running(), []);
    hosts.restore(&host.name).expect("on");
    assert_eq!(ask("whoami"), "admin\n");

    ec2().terminate(&id).expect("terminated");
    while !hosts.held().expect("readable").is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", hosts.held());
        std::thread::yield_now();
    }
    assert_eq!(hosts.problems(), [""; 0]);
}
