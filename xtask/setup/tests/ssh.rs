//! The system's ssh against a real sshd on 127.0.0.1.

mod common;

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::Sshd;
use optivex_setup::log::Log;
use optivex_setup::ssh::quote::Text;
use optivex_setup::ssh::{Error, Ssh, Stdin};

const LONG: Duration = Duration::from_secs(60);

fn words(words: &[&str]) -> Text {
    Text::words(words).expect("can be quoted")
}

#[test]
fn hostile_arguments_arrive_and_the_connection_is_shared() {
    let sshd = Sshd::start();
    let ssh = Ssh::new(sshd.settings()).expect("ssh");
    let log = Log::none();
    let connection = ssh.connect(&sshd.host(), &log).expect("connected");
    for hostile in [
        "",
        "it's",
        "$(touch /owned); `id`",
        "a\nb\\",
        "-n",
        "*",
        "naïve 🦀",
        "'; exit 7; '",
    ] {
        let output = connection
            .run("say", &words(&["printf", "%s|", hostile, "end"]), Stdin::Nothing, LONG)
            .expect("runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{hostile}|end|"));
    }
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "{}", sshd.log());
}

#[test]
fn another_host_key_is_refused_in_words_and_at_once() {
    let mut sshd = Sshd::start();
    let log = Log::none();
    let ssh = Ssh::new(sshd.settings()).expect("ssh");
    let pinned = sshd.host();
    ssh.connect(&pinned, &log).expect("connected");
    let new = sshd.another_host_key();
    let began = Instant::now();
    // sshd may not listen yet: a refused connection is tried again, a wrong key is not.
    let error = ssh.connect(&pinned, &log).expect_err("another key");
    assert!(matches!(error, Error::HostKey { .. }), "{error}");
    assert!(
        error.to_string().contains("another host key than the one pinned"),
        "{error}"
    );
    assert!(began.elapsed() < sshd.settings().patience);
    // While a key is being replaced, both are pinned.
    let mut both = pinned;
    both.host_keys.push(new);
    ssh.connect(&both, &log).expect("one of the two");
    both.host_keys.clear();
    let error = ssh.connect(&both, &log).expect_err("no key");
    assert!(matches!(error, Error::NoHostKey { .. }), "{error}");
}

#[test]
fn tries_until_the_machine_is_up() {
    let mut sshd = Sshd::prepare();
    let ssh = Ssh::new(sshd.settings()).expect("ssh");
    let path = sshd.directory.path().join("machine.log");
    let log = Log::create(&path).expect("a log");
    let host = sshd.host();
    std::thread::scope(|scope| {
        let connected = scope.spawn(|| ssh.connect(&host, &log).map(drop));
        while !fs::read_to_string(&path).expect("a log").contains("(try 2)") {
            std::thread::yield_now();
        }
        sshd.run();
        connected.join().expect("no panic").expect("connected");
    });
}

#[test]
fn patience_ends() {
    let sshd = Sshd::prepare();
    let mut settings = sshd.settings();
    settings.patience = Duration::from_secs(1);
    let ssh = Ssh::new(settings).expect("ssh");
    let log = Log::none();
    let error = ssh.connect(&sshd.host(), &log).expect_err("nobody listens");
    let said = error.to_string();
    assert!(matches!(error, Error::Unreachable { .. }), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}

#[test]
fn a_key_that_is_not_admitted_is_said() {
    let sshd = Sshd::start();
    let other = Sshd::prepare();
    let mut settings = other.settings();
    settings.patience = Duration::from_secs(1);
    let ssh = Ssh::new(settings).expect("ssh");
    let log = Log::none();
    let error = loop {
        // Until sshd listens.
        match ssh.connect(&sshd.host(), &log) {
            Err(Error::Unreachable { .. }) => {}
            result => break result.expect_err("another's key"),
        }
    };
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(error.to_string().contains("identity: "), "{error}");
}

#[test]
fn failures_carry_what_was_said() {
    let sshd = Sshd::start();
    let ssh = Ssh::new(sshd.settings()).expect("ssh");
    let path = sshd.directory.path().join("machine.log");
    let log = Log::create(&path).expect("a log");
    let connection = ssh.connect(&sshd.host(), &log).expect("connected");
    let error = connection
        .run("listing", &words(&["ls", "/is/not there"]), Stdin::Nothing, LONG)
        .expect_err("not there");
    let said = error.to_string();
    assert!(said.starts_with("alice: listing: exit status 2: ls: "), "{said}");
    let log = fs::read_to_string(&path).expect("a log");
    assert!(log.contains("# listing\n$ ls '/is/not there'\nls: "), "{log}");
    // The connection lives on.
    connection
        .run("true", &words(&["true"]), Stdin::Nothing, LONG)
        .expect("runs");
}

#[test]
fn uploads_arrive_byte_by_byte() {
    let sshd = Sshd::start();
    let ssh = Ssh::new(sshd.settings()).expect("ssh");
    let log = Log::none();
    let connection = ssh.connect(&sshd.host(), &log).expect("connected");
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let local = sshd.directory.path().join("local");
    fs::write(&local, &bytes).expect("written");
    for (name, stdin) in [("a'b c", Stdin::Bytes(&bytes)), ("file", Stdin::File(&local))] {
        let remote = sshd.directory.path().join(name);
        let of = format!("of={}", remote.display());
        connection
            .run("upload", &words(&["dd", &of, "status=none"]), stdin, LONG)
            .expect("runs");
        assert!(fs::read(&remote).expect("there") == bytes, "{name}");
    }
}

#[test]
fn a_limit_of_time_and_an_interrupt_end_a_command() {
    let sshd = Sshd::start();
    let settings = sshd.settings();
    let stop = settings.stop.clone();
    let ssh = Ssh::new(settings).expect("ssh");
    let log = Log::none();
    let connection = ssh.connect(&sshd.host(), &log).expect("connected");
    let sleep = words(&["sleep", "30"]);
    let error = connection
        .run("sleep", &sleep, Stdin::Nothing, Duration::from_secs(1))
        .expect_err("too long");
    assert_eq!(error.to_string(), "alice: sleep: not done after 1 s");
    stop.store(true, Ordering::Relaxed);
    let error = connection
        .run("sleep", &sleep, Stdin::Nothing, LONG)
        .expect_err("stopped");
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    let error = ssh.connect(&sshd.host(), &log).expect_err("stopped");
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
}

#[test]
fn output_beyond_the_bound_is_no_answer() {
    let sshd = Sshd::start();
    let ssh = Ssh::new(sshd.settings()).expect("ssh");
    let log = Log::none();
    let connection = ssh.connect(&sshd.host(), &log).expect("connected");
    let flood = words(&["head", "-c", "20000000", "/dev/zero"]);
    let error = connection.read("facts", &flood, LONG).expect_err("too much");
    assert!(matches!(error, Error::TooMuch { .. }), "{error}");
    // A command whose output nobody reads may say what it likes.
    connection.run("build", &flood, Stdin::Nothing, LONG).expect("runs");
}

#[test]
fn a_broken_connection_is_said() {
    let mut sshd = Sshd::start();
    let ssh = Ssh::new(sshd.settings()).expect("ssh");
    let log = Log::none();
    let connection = ssh.connect(&sshd.host(), &log).expect("connected");
    // The server's process of this connection ends.
    let error = connection
        .run("ending it", &words(&["kill", "-9", "0"]), Stdin::Nothing, LONG)
        .expect_err("gone");
    assert!(matches!(error, Error::Broke { .. } | Error::Failed { .. }), "{error}");
    sshd.stop();
}

#[test]
fn without_an_identity_nothing_starts() {
    let sshd = Sshd::prepare();
    fs::remove_file(sshd.identity()).expect("removed");
    let error = Ssh::new(sshd.settings()).expect_err("no identity");
    assert!(error.to_string().contains("the identity "), "{error}");
}

#[test]
fn a_person_gets_the_same_pinned_connection() {
    let mut sshd = Sshd::start();
    let known_hosts = sshd.directory.path().join("known_hosts");
    let host = sshd.host();
    optivex_setup::ssh::known_hosts::write(&known_hosts, std::slice::from_ref(&host)).expect("written");
    let run = |sshd: &Sshd| {
        let arguments = Ssh::interactive(&sshd.settings(), &host, &known_hosts);
        let ssh = std::process::Command::new("ssh")
            .args(arguments)
            .arg("echo hello")
            .output();
        let output = ssh.expect("ssh starts");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };
    let ssh = Ssh::new(sshd.settings()).expect("ssh");
    // Until it listens.
    drop(ssh.connect(&host, &Log::none()).expect("connected"));
    assert_eq!(run(&sshd), (Some(0), "hello\n".to_owned()));
    let replaced = optivex_setup::ssh::Host {
        host_keys: vec![sshd.another_host_key()],
        ..host.clone()
    };
    drop(ssh.connect(&replaced, &Log::none()).expect("connected"));
    let (code, said) = run(&sshd);
    assert_eq!(code, Some(255));
    assert!(said.contains("Host key verification failed"), "{said}");
}
