//! Submissions that misbehave, each with what it comes to; and after each of them nothing of it is left.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use optivex_bundle::digest::SubmissionId;
use optivex_bundle::spool::ResultFile;
use optivex_bundle::verdict::{JobResult, Limit, Verdict};
use support::{Uat, account, bundle, exchange, faulty, hostile, packed};

/// Bounds that are reached soon, and stages that are over soon.
fn settings(arguments: &str, limits: &str) -> String {
    format!(
        "{{participants: {{mallory: {{}}}}, self_test: {{enabled: false}}, tests: {{arguments: [{arguments}]}}, limits: {{{limits}}}}}"
    )
}

const BOOT: &str = "--stage, boot, --patience, '5'";
const SMALL: &str =
    "memory_bytes: 268435456, data_bytes: 67108864, file_bytes: 33554432, log_bytes: 1048576, processes: 128";

struct Came {
    uat: Uat,
    id: SubmissionId,
    result: JobResult,
    log: String,
    told: String,
}

impl Came {
    fn to(&self, verdict: &Verdict) {
        let launches = self.uat.at("spool/state/work/slot-0/visible/launches.jsonl");
        let launches = fs::read_to_string(launches).unwrap_or_default();
        assert_eq!(
            self.result.verdict, *verdict,
            "{:#?}\n{}\n{}\n{launches}",
            self.result, self.told, self.log
        );
    }
}

/// Hands a bundle over, has it judged, and looks for what is left.
fn judged(bundle: &[u8], settings: &str) -> Came {
    let uat = Uat::new(settings);
    let id = uat.hand_over("mallory", bundle);
    let told = uat.run(&["once"]);
    let left = processes_with("exchange-itself");
    assert!(left.is_empty(), "left: {left:?}\n{told}");
    let left = processes_with("/app/bin/exchange");
    assert!(left.is_empty(), "left: {left:?}\n{told}");
    Came {
        id,
        result: uat.result("mallory", id),
        log: uat.file("mallory", id, ResultFile::Log),
        told,
        uat,
    }
}

/// One at a time: each of these tests looks for processes of submissions on the whole machine, and takes what a
/// submission can take of it.
fn alone() -> fs::File {
    support::locked(&std::env::temp_dir().join("optivex-hostile-tests.lock"))
}

/// Processes of submissions of ours: somebody else's may run on this machine, too.
fn processes_with(word: &str) -> Vec<String> {
    let ours = account().unwrap_or_else(|| rustix::process::getuid().as_raw());
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == ours))
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.contains(word))
        .map(|line| line.replace('\0', " "))
        .collect()
}

/// A misbehaving program, with the real exchange beside it.
fn with_exchange(words: &[&str]) -> Vec<u8> {
    let start = [&["bin/exchange"], words].concat();
    packed(
        &start,
        &[("bin/exchange", hostile()), ("bin/exchange-itself", exchange())],
    )
}

fn mode(mode: &str) -> Came {
    judged(&bundle(hostile(), &[mode]), &settings(BOOT, SMALL))
}

#[test]
fn whoever_takes_too_much_breaks_a_limit() {
    let _alone = alone();
    for (name, limit) in [
        ("fork-bomb", Limit::Processes),
        ("memory", Limit::Memory),
        ("disk", Limit::Data),
        ("tmp", Limit::Data),
        ("big-file", Limit::FileSize),
        ("log", Limit::Log),
    ] {
        let came = mode(name);
        came.to(&Verdict::BrokeLimits { limit });
        assert!(came.result.note.is_some(), "{name}: with numbers");
        assert!(
            came.log.len() <= (1 << 20) + 100,
            "{name}: {} bytes of log",
            came.log.len()
        );
    }
}

#[test]
fn whoever_does_not_serve_did_not_start() {
    let _alone = alone();
    for name in ["crash", "sleeper"] {
        let came = mode(name);
        assert!(
            matches!(came.result.verdict, Verdict::DidNotStart { .. }),
            "{name}: {:#?}",
            came.result
        );
    }
}

#[test]
fn whoever_dies_while_it_is_tested_crashed() {
    let _alone = alone();
    let came = judged(
        &with_exchange(&["crash-late"]),
        &settings("--stage, orders, --patience, '5'", ""),
    );
    came.to(&Verdict::Crashed {
        how: "ended with exit code 3".to_owned(),
    });
}

#[test]
fn whoever_hangs_after_health_fails_and_in_the_end_runs_out_of_time() {
    let _alone = alone();
    let hanging = bundle(hostile(), &["hang"]);
    let came = judged(&hanging, &settings("--stage, boot, --patience, '1'", SMALL));
    came.to(&Verdict::Failed);
    let came = judged(
        &hanging,
        &settings(
            "--stage, boot, --patience, '600'",
            &format!("{SMALL}, wall_seconds: 16"),
        ),
    );
    came.to(&Verdict::TimedOut { seconds: 16 });
}

/// It ignores SIGTERM, in a session of its own, while its exchange is as it should be.
#[test]
fn whoever_daemonizes_goes_with_its_sandbox() {
    let _alone = alone();
    let came = judged(&with_exchange(&["daemon"]), &settings(BOOT, ""));
    came.to(&Verdict::Passed);
    assert!(
        came.log.contains("daemonized: Ok(ExitStatus(unix_wait_status(0)))"),
        "{}",
        came.log
    );
}

#[test]
fn whoever_scans_ports_finds_nothing() {
    let _alone = alone();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let came = judged(&with_exchange(&["scanner"]), &settings(BOOT, ""));
    came.to(&Verdict::Passed);
    assert!(came.log.contains("scanned, and found []"), "{}", came.log);
    assert!(!came.log.contains(": true"), "{}", came.log);
    listener.set_nonblocking(true).expect("set");
    assert!(listener.accept().is_err(), "somebody came to {port}");
}

#[test]
fn whoever_reads_around_finds_nothing() {
    let _alone = alone();
    let uat = Uat::new(&settings(BOOT, ""));
    // Somebody else's bundle and result, a secret beside the spool, the tests.
    let other = uat.at("spool/results/alice/0123456789abcdef");
    fs::create_dir_all(&other).expect("a folder");
    fs::write(other.join("log.txt"), "SECRET").expect("written");
    fs::write("/tmp/optivex-test-secret", "SECRET").expect("written");
    let paths = [
        other.join("log.txt"),
        uat.tests.to_owned(),
        uat.at("spool"),
        "/tmp/optivex-test-secret".into(),
    ];
    let words: Vec<&str> = ["reader"]
        .into_iter()
        .chain(paths.iter().map(|path| path.to_str().expect("UTF-8")))
        .collect();
    let id = uat.hand_over("mallory", &with_exchange(&words));
    let told = uat.run(&["once"]);
    fs::remove_file("/tmp/optivex-test-secret").expect("removed");
    let log = uat.file("mallory", id, ResultFile::Log);
    assert_eq!(uat.result("mallory", id).verdict, Verdict::Passed, "{told}\n{log}");
    assert!(!log.contains("SECRET") && !log.contains(".tar.zst"), "{log}");
    assert!(
        log.contains("WRITTEN [false, false, false, false, false, false]"),
        "{log}"
    );
    let read: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("READ ") && line.contains("Ok("))
        .collect();
    assert!(read.is_empty(), "{read:?}");
    // Of processes it sees its own, and the one that started it.
    let seen: Vec<&str> = log.lines().filter(|line| line.contains("PROCESS ")).collect();
    assert!(
        !seen.is_empty() && seen.iter().all(|line| line.contains("/app/bin/exchange")),
        "{seen:?}"
    );
}

#[test]
fn whoever_tries_to_escape_cannot() {
    let _alone = alone();
    let came = judged(&with_exchange(&["escape"]), &settings(BOOT, ""));
    came.to(&Verdict::Passed);
    assert_eq!(came.log.matches("ESCAPED").count(), 4, "{}", came.log);
    assert!(!came.log.contains(": true"), "{}", came.log);
    let calls: BTreeMap<&str, &str> = came
        .log
        .lines()
        .filter_map(|line| line.strip_prefix("CALL ")?.split_once(": "))
        .collect();
    for (names, came_to) in [
        (
            &[
                "ptrace",
                "process_vm_readv",
                "pidfd_getfd",
                "unshare",
                "setns",
                "clone",
                "mount",
                "fsopen",
                "open_tree",
                "pivot_root",
                "chroot",
                "bpf",
                "perf_event_open",
                "userfaultfd",
                "keyctl",
                "open_by_handle_at",
                "socket of vsock",
                "socket of alg",
                "socket of packet",
                "socket of a family to come",
            ][..],
            "EPERM",
        ),
        (
            &["clone3", "io_uring_setup", "memfd_create", "shmget", "semget", "msgget"],
            "ENOSYS",
        ),
        (&["socket of inet", "getpid"], "allowed"),
    ] {
        for name in names {
            assert_eq!(calls.get(name), Some(&came_to), "{name}: {}", came.log);
        }
    }
    if cfg!(target_arch = "x86_64") {
        assert_eq!(calls.get("getpid of x32"), Some(&"ENOSYS"), "{}", came.log);
    }
    for line in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(came.log.contains(line), "{line}: {}", came.log);
    }
}

/// Of visible tests everybody may know everything; of hidden ones nothing is told, whatever a submission prints.
#[test]
fn whoever_prints_what_the_tests_sent_tells_nothing_of_hidden_ones() {
    let _alone = alone();
    let parrot = with_exchange(&["parrot"]);
    let came = judged(&parrot, &settings("--case, login/token, --case, login/many-logins", ""));
    came.to(&Verdict::Passed);
    assert!(came.log.contains("HEARD"), "{}", came.log);
    assert_eq!(came.result.stages[0].passed, 2, "{:#?}", came.result);
    // Only the hidden one.
    let came = judged(&parrot, &settings("--case, login/many-logins", ""));
    came.to(&Verdict::Passed);
    assert!(!came.log.contains("HEARD"), "{}", came.log);
    assert_eq!(came.result.stages[0].passed, 1, "{:#?}", came.result);
}

/// Right where everybody can see what is asked, and wrong where not.
#[test]
fn whoever_answers_only_visible_tests_fails_and_learns_a_title() {
    let _alone = alone();
    let start = ["env", "OPTIVEX_FAULT=description-in-ascii", "bin/exchange", "serve"];
    let bundle = packed(&start, &[("bin/exchange", faulty())]);
    let came = judged(
        &bundle,
        &settings("--case, instruments/identity, --case, instruments/random", ""),
    );
    came.to(&Verdict::Failed);
    let cases: Vec<_> = came
        .result
        .cases
        .iter()
        .map(|case| (case.case.as_str(), case.hidden, &case.hint))
        .collect();
    assert_eq!(cases, [("random", true, &None)]);
    for file in [
        ResultFile::Stages,
        ResultFile::Markdown,
        ResultFile::Html,
        ResultFile::Junit,
        ResultFile::Result,
    ] {
        let text = came.uat.file("mallory", came.id, file);
        assert!(text.contains("random"), "{file}: {text}");
        assert!(
            !text.contains("description:") && !text.contains("CreateInstrument"),
            "{file}: {text}"
        );
    }
}

fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        // Past the library's own checks.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(if *kind == tar::EntryType::Regular {
            bytes.len() as u64
        } else {
            0
        });
        header.set_mode(0o755);
        if *kind == tar::EntryType::Symlink {
            header.as_mut_bytes()[157..157 + bytes.len()].copy_from_slice(bytes);
        }
        header.set_cksum();
        let content = if *kind == tar::EntryType::Regular {
            bytes
        } else {
            &[][..]
        };
        tar.append(&header, content).expect("appended");
    }
    zstd::encode_all(&tar.into_inner().expect("whole")[..], 3).expect("compressed")
}

#[test]
fn bundles_that_lie_are_refused() {
    let _alone = alone();
    let honest = bundle(hostile(), &["sleeper"]);
    let text = zstd::decode_all(&honest[..]).expect("a bundle");
    let mut archive = tar::Archive::new(&text[..]);
    let mut first = archive.entries().expect("entries").next().expect("one").expect("sound");
    let mut manifest = Vec::new();
    std::io::Read::read_to_end(&mut first, &mut manifest).expect("a manifest");
    let program = fs::read(hostile()).expect("a program");
    let (regular, link) = (tar::EntryType::Regular, tar::EntryType::Symlink);
    let bomb = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
        let zeros = vec![0; 1 << 20];
        for _ in 0..2048 {
            std::io::Write::write_all(&mut encoder, &zeros).expect("compressed");
        }
        encoder.finish().expect("compressed")
    };
    let cases: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
        (
            "traversal",
            tar_of(&[
                ("manifest.json", regular, &manifest),
                ("../../escaped", regular, &program),
            ]),
        ),
        (
            "absolute",
            tar_of(&[
                ("manifest.json", regular, &manifest),
                ("/tmp/escaped", regular, &program),
            ]),
        ),
        (
            "symlink",
            tar_of(&[
                ("manifest.json", regular, &manifest),
                ("bin/exchange", link, b"/etc/passwd"),
            ]),
        ),
        (
            "link first",
            tar_of(&[("bin", link, b"/tmp"), ("bin/exchange", regular, &program)]),
        ),
        (
            "more",
            tar_of(&[
                ("manifest.json", regular, &manifest),
                ("bin/exchange", regular, &program),
                ("x", regular, b"x"),
            ]),
        ),
        ("zip bomb", bomb),
        ("torn", honest[..honest.len() / 2].to_vec()),
        ("nothing", Vec::new()),
    ]);
    for (name, bytes) in cases {
        let came = judged(&bytes, &settings(BOOT, SMALL));
        assert!(
            matches!(came.result.verdict, Verdict::Refused { .. }),
            "{name}: {:#?}",
            came.result
        );
        assert!(
            !Path::new("/tmp/escaped").exists() && !came.uat.home.path().join("escaped").exists(),
            "{name}"
        );
    }
}
