//! The sound exchange passes every case. `OPTIVEX_RUNS=50` says how often in a row: each run with a seed and an
//! exchange of its own.

mod support;

use std::env::{self, VarError};
use std::ffi::OsStr;
use std::num::NonZeroU32;

use optivex_system_tests::launch::{Home, Launcher};
use optivex_system_tests::users::UsersFile;
use support::{exchange, program, text};

/// Runs the program; the exchange is to pass. What it told.
fn passes(arguments: &[&OsStr]) -> String {
    let output = program(arguments);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}\n{}", text(&output.stderr));
    told
}

/// How often all of it runs: `OPTIVEX_RUNS`, or once.
fn runs() -> u32 {
    match env::var("OPTIVEX_RUNS") {
        Ok(text) => match text.parse::<NonZeroU32>() {
            Ok(runs) => runs.get(),
            Err(error) => panic!("OPTIVEX_RUNS={text}: {error}"),
        },
        Err(VarError::NotPresent) => 1,
        Err(error) => panic!("OPTIVEX_RUNS: {error}"),
    }
}

#[test]
fn the_sound_exchange_passes_every_case() {
    let runs = runs();
    let exchange = exchange();
    for run in 1..=runs {
        let told = passes(&["--launch".as_ref(), exchange.as_os_str(), "serve".as_ref()]);
        assert!(
            told.contains(" 0 failed, 0 errors, 0 blocked, 0 skipped "),
            "run {run} of {runs}: {told}"
        );
        // How many, how long, which seed.
        println!(
            "run {run} of {runs}: {}",
            told.trim_end().lines().last().unwrap_or_default()
        );
    }
}

/// One that runs already, and whose users have a past; what needs --launch is skipped and says so.
#[test]
fn an_exchange_that_runs_already_passes_again_and_again() {
    let users = UsersFile::generated();
    let home = Home::new(&users).expect("a data directory");
    let launcher = Launcher {
        command: vec![exchange().to_str().expect("UTF-8").to_owned(), "serve".to_owned()],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let process = runtime.block_on(launcher.start(&home)).expect("it serves");
    let file = home.users();
    let options = ["--target", process.url(), "--users", file.to_str().expect("UTF-8")];
    for stages in [["instruments", "recovery"], ["login", "instruments"]] {
        let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        for stage in &stages {
            arguments.extend([OsStr::new("--stage"), OsStr::new(stage)]);
        }
        let told = passes(&arguments);
        assert!(told.contains(" 0 failed, 0 errors, 0 blocked, "), "{told}");
        assert_eq!(told.contains("needs --launch"), stages.contains(&"recovery"), "{told}");
    }
}
