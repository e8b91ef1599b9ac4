//! What goes wrong by our fault, or by the disk's: the others are judged all the same, and nothing is lost.

mod support;

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use optivex_bundle::digest::SubmissionId;
use optivex_bundle::names::Name;
use optivex_bundle::spool::RECEIPT;
use optivex_bundle::verdict::Verdict;
use support::{Uat, bundle, hostile, is_root, pretend_tests};

const SETTINGS: &str = "{participants: {alice: {}, bob: {}}, self_test: {enabled: false}}";

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn sleeper() -> Vec<u8> {
    bundle(hostile(), &["sleeper"])
}

fn passed(uat: &Uat, participant: &str, id: SubmissionId, told: &str) {
    assert_eq!(uat.result(participant, id).verdict, Verdict::Passed, "{told}");
}

/// It is there, and says why: in the log, in `status`, as a number; and its participant is told whose fault it is.
fn is_aside(uat: &Uat, participant: &str, id: SubmissionId, why: &str, told: &str) {
    let place = uat.spool().aside(&name(participant)).join(id.to_string());
    assert!(place.join("bundle.tar.zst").exists(), "{told}");
    assert!(told.contains("SET ASIDE") && told.contains(why), "{told}");
    let status = uat.run(&["status"]);
    assert!(
        status.contains(&format!("ASIDE    {participant}/{id}: ")) && status.contains(why),
        "{status}"
    );
    let metrics = fs::read_to_string(uat.at("spool/public/metrics.prom")).expect("metrics");
    assert!(metrics.contains("\noptivex_uat_aside 1\n"), "{metrics}");
}

#[test]
fn a_receipt_that_cannot_be_read_is_set_aside_and_the_others_are_judged() {
    for (claimed, receipt, why) in [
        (false, Some(&b"{\"participant\":\"al"[..]), "its receipt cannot be read"),
        (true, Some(b"{}"), "its receipt cannot be read"),
        (false, None, "it has no receipt"),
        (
            false,
            Some(br#"{"participant":"bob","id":"0123456789abcdef","sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":1,"received":"2027-01-01T00:00:00Z","attempt":1}"#),
            "its receipt is that of bob/0123456789abcdef",
        ),
    ] {
        let uat = Uat::with_tests(SETTINGS, pretend_tests());
        let spool = uat.spool();
        let alice = uat.hand_over("alice", &sleeper());
        let bob = uat.hand_over("bob", &sleeper());
        let mut place = spool.waiting_job(&name("alice"), alice);
        if claimed {
            let to = spool.claimed_job(&name("alice"), alice);
            fs::create_dir_all(spool.claimed(&name("alice"))).expect("a folder");
            fs::rename(&place, &to).expect("renamed");
            place = to;
        }
        match receipt {
            Some(bytes) => fs::write(place.join(RECEIPT), bytes).expect("written"),
            None => fs::remove_file(place.join(RECEIPT)).expect("removed"),
        }
        let told = uat.run(&["once"]);
        passed(&uat, "bob", bob, &told);
        is_aside(&uat, "alice", alice, why, &told);
        let result = uat.result("alice", alice);
        assert!(
            matches!(&result.verdict, Verdict::Infrastructure { why: told } if told.contains(why)),
            "{result:?}"
        );
        assert_eq!(SubmissionId::from(&result.submission), alice, "of the bundle that is there");
        // Handed over again, it is judged.
        uat.hand_over_attempt("alice", &sleeper(), result.attempt + 1);
        let told = uat.run(&["once"]);
        passed(&uat, "alice", alice, &told);
        let verified = uat.run(&["verify"]);
        assert!(verified.contains("2 results sound, 0 removed since, 0 wrong"), "{verified}");
    }
}

/// No file of its result can be written: three tries, and it is set aside with all that there is of it.
#[test]
fn a_job_that_ends_in_an_error_of_ours_ends_nothing_else() {
    let uat = Uat::with_tests(SETTINGS, pretend_tests());
    let alice = uat.hand_over("alice", &sleeper());
    fs::write(uat.at("spool/results/alice"), "no folder").expect("written");
    let bob = uat.hand_over("bob", &sleeper());
    let told = uat.run(&["once"]);
    passed(&uat, "bob", bob, &told);
    assert_eq!(told.matches("our trouble").count(), 3, "{told}");
    is_aside(&uat, "alice", alice, "spool/results/alice", &told);
    assert!(uat.run(&["status"]).contains("its participant was not told"));
    // Mended: the next daemon tells.
    fs::remove_file(uat.at("spool/results/alice")).expect("removed");
    uat.run(&["once"]);
    let result = uat.result("alice", alice);
    assert!(matches!(result.verdict, Verdict::Infrastructure { .. }), "{result:?}");
    assert!(!uat.run(&["status"]).contains("not told"));
}

/// A sandbox that cannot be made is no fault of who is in it.
#[test]
fn a_sandbox_that_cannot_be_made_is_ours() {
    let uat = Uat::with_tests(SETTINGS, pretend_tests());
    let id = uat.hand_over("alice", &sleeper());
    let bin = uat.at("bin");
    fs::create_dir(&bin).expect("a folder");
    for program in ["ssh-keygen", "false"] {
        let path = std::env::var_os("PATH").expect("a path");
        let found = std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file());
        let name = if program == "false" { "bwrap" } else { program };
        std::os::unix::fs::symlink(found.expect("installed"), bin.join(name)).expect("a link");
    }
    let output = uat.command(&["once"]).env("PATH", &bin).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let result = uat.result("alice", id);
    assert!(
        matches!(result.verdict, Verdict::Infrastructure { .. }),
        "{result:?}\n{told}"
    );
    assert_eq!(result.troubles.len(), 3, "{result:?}");
}

/// Visible and hidden cases have one wall time between them.
#[test]
fn no_job_takes_its_wall_time_twice() {
    let settings = |seconds: u32| {
        format!(
            "{{participants: {{alice: {{}}}}, self_test: {{enabled: false}}, limits: {{wall_seconds: {seconds}}}, \
             tests: {{arguments: [--sleep, '10']}}}}"
        )
    };
    let uat = Uat::with_tests(&settings(16), pretend_tests());
    let id = uat.hand_over("alice", &sleeper());
    let told = uat.run(&["once"]);
    assert_eq!(
        uat.result("alice", id).verdict,
        Verdict::TimedOut { seconds: 16 },
        "{told}"
    );
}

/// Another account's command would leave files that the daemon cannot write.
#[test]
fn only_the_spools_owner_gives_commands() {
    if !is_root() {
        // Somebody else's spool takes root to make.
        return;
    }
    let uat = Uat::with_tests(SETTINGS, pretend_tests());
    uat.run(&["status"]);
    chown(uat.at("spool"), Some(65534), Some(65534)).expect("root may");
    for command in [&["status"][..], &["pause"], &["once"], &["verify"], &["gc"]] {
        let output = uat.command(command).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {told}");
        assert!(
            told.contains("belongs to user 65534") && told.contains("sudo -u"),
            "{told}"
        );
    }
    assert!(!uat.at("spool/state/pause.json").exists());
}

/// What it judges with is what it began with, whatever is installed over it.
#[test]
fn a_daemon_that_runs_keeps_to_its_own_programs() {
    let uat = Uat::with_tests(SETTINGS, pretend_tests());
    let program = uat.at("uat-daemon");
    fs::copy(support::daemon(), &program).expect("a copy");
    let mut daemon = uat.command_of(&program, &["run"]).spawn().expect("it starts");
    support::until(|| uat.at("spool/public/metrics.prom").exists());
    // As an installation does: another file by the same name.
    fs::write(uat.at("newer"), "no program at all").expect("written");
    fs::rename(uat.at("newer"), &program).expect("renamed");
    let id = uat.hand_over("alice", &sleeper());
    support::until(|| {
        uat.spool()
            .read_result(&name("alice"), id)
            .is_ok_and(|result| result.is_some())
    });
    assert_eq!(uat.result("alice", id).verdict, Verdict::Passed);
    let drained = uat.run(&["drain"]);
    assert!(drained.contains("drained"), "{drained}");
    // systemd starts again what fails, and what ends as it was told to stays ended.
    assert_eq!(daemon.wait().expect("it ended").code(), Some(0));
}

/// Other tests count from when the self-test has passed with them, and that is never beside a deployment.
#[test]
fn the_self_test_is_alone_and_comes_before_other_tests_count() {
    let settings = format!(
        "{{slots: 2, participants: {{alice: {{}}, bob: {{}}}}, tests: {{arguments: [--sleep, '2']}}, \
         self_test: {{reference: {0:?}, faulty: {0:?}}}}}",
        hostile()
    );
    let mut uat = Uat::with_tests(&settings, pretend_tests());
    let folder = uat.at("tests");
    fs::create_dir(&folder).expect("a folder");
    for entry in fs::read_dir(uat.tests).expect("tests").flatten() {
        fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
    }
    support::open(&folder);
    uat.tests = Box::leak(folder.into_boxed_path());
    let log = uat.at("log");
    let mut daemon = uat
        .command(&["run"])
        .stderr(fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("it starts");
    let told = || fs::read_to_string(&log).expect("read");
    let alice = uat.hand_over("alice", &sleeper());
    support::until(|| {
        told().contains("deployments are judged") && uat.spool().claimed_job(&name("alice"), alice).exists()
    });
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/optivex");
    let commit = "f".repeat(40);
    let proto = proto.to_str().expect("UTF-8");
    let program = pretend_tests().to_str().expect("UTF-8");
    let newer = uat.run(&["install-tests", program, "--commit", &commit, "--proto", proto]);
    let bob = uat.hand_over("bob", &sleeper());
    support::until(|| {
        uat.spool()
            .read_result(&name("bob"), bob)
            .is_ok_and(|result| result.is_some())
    });
    uat.run(&["drain"]);
    assert!(daemon.wait().expect("it ended").success());
    let (alice, bob) = (uat.result("alice", alice), uat.result("bob", bob));
    assert_eq!(
        (&alice.verdict, &bob.verdict),
        (&Verdict::Passed, &Verdict::Passed),
        "{}",
        told()
    );
    assert_ne!(alice.tests, bob.tests, "{}", told());
    assert_eq!(
        bob.tests.map(|tests| tests.to_string()).as_deref(),
        Some(newer.trim()),
        "{}",
        told()
    );
    let told = told();
    let at = |text: &str| told.match_indices(text).map(|(at, _)| at).collect::<Vec<_>>();
    let (tested, judged) = (at("self-test: the reference exchange passes"), at("judged participant"));
    assert_eq!((tested.len(), judged.len()), (2, 2), "{told}");
    assert!(
        tested[0] < judged[0] && judged[0] < tested[1] && tested[1] < judged[1],
        "{told}"
    );
}

/// Nothing is claimed without room; what was judged goes first, the oldest first, and the ledger stays.
#[test]
fn without_room_nothing_is_claimed_and_the_oldest_bundles_go() {
    let uat = Uat::with_tests(SETTINGS, pretend_tests());
    let done = |participant: &str, id: SubmissionId| {
        let folder = uat.at("spool/state/done").join(participant);
        folder.join(id.to_string()).join("bundle.tar.zst")
    };
    let judged = ["bob", "alice"].map(|participant| {
        let id = uat.hand_over(participant, &sleeper());
        uat.run(&["once"]);
        (participant, id)
    });
    assert!(judged.iter().all(|(participant, id)| done(participant, *id).exists()));
    // More than any disk has.
    let pebibytes = 1_u64 << 55;
    let settings = SETTINGS.replace(
        "self_test",
        &format!(
            "limits: {{unpacked_bytes: {pebibytes}, disk_reserve_bytes: {}}}, self_test",
            pebibytes * 2
        ),
    );
    fs::write(uat.at("uat.yaml"), settings).expect("written");
    let waits = uat.hand_over("alice", &bundle(hostile(), &["hang"]));
    let output = uat.command(&["once"]).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(102), "{told}");
    assert!(told.contains("the disk is full"), "{told}");
    assert!(
        uat.spool().waiting_job(&name("alice"), waits).exists(),
        "it keeps its place"
    );
    let removed: Vec<usize> = judged
        .iter()
        .map(|(participant, id)| {
            assert!(!done(participant, *id).exists());
            told.find(&format!("done/{participant}/{id}")).expect("it says so")
        })
        .collect();
    assert!(removed[0] < removed[1], "the oldest first: {told}");
    let verified = uat.run(&["verify"]);
    assert!(
        verified.contains("2 results sound, 0 removed since, 0 wrong"),
        "{verified}"
    );
}
