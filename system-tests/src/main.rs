//! `system-tests`: runs the system tests against an exchange.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgGroup, Parser};
use optivex_system_tests::exit::{self, Exit};
use optivex_system_tests::report::{JsonLines, Table, junit, markdown};
use optivex_system_tests::runner::{self, Options, Reporter, Selected, Summary};
use optivex_system_tests::stages::STAGES;
use optivex_system_tests::subject::Subject;

/// System tests that any exchange of the Optivex contract must pass
#[derive(Parser, Debug)]
#[command(version, after_help = exit::TABLE, group(ArgGroup::new("subject").args(["target", "launch"])))]
struct Arguments {
    /// Test the exchange that serves there; needs --users
    #[arg(long, value_name = "URL", requires = "users")]
    target: Option<String>,
    /// Its users file, passwords in the clear: at least 8 traders, 1 admin, 1 viewer
    #[arg(long, value_name = "FILE", requires = "target")]
    users: Option<PathBuf>,
    /// Start the exchange with this command, and OPTIVEX_LISTEN, OPTIVEX_USERS and OPTIVEX_DATA_DIR set;
    /// everything after it is its own. Recovery cases need it
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    launch: Option<Vec<String>>,
    /// Only this stage (repeatable)
    #[arg(long, value_name = "SLUG")]
    stage: Vec<String>,
    /// Only this case, SLUG or STAGE/SLUG (repeatable)
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Hidden cases: run them with the others, leave them out, or run nothing else
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Hidden::With)]
    hidden: Hidden,
    /// Stop at the first case that fails; one case at a time
    #[arg(long)]
    until_first_failure: bool,
    /// Repeat the random cases of the run that told this seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Cases at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Seconds that one answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=600))]
    patience: u16,
    /// How long each case of the stage load loads the exchange, as in 5s or 2m: at least 1s
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = load_time)]
    load_time: Duration,
    /// List stages and cases, and run nothing
    #[arg(long)]
    list: bool,
    /// Tell events on standard output, one JSON object a line
    #[arg(long)]
    json: bool,
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Which of the hidden and the other cases run.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    /// All cases.
    With,
    /// Those that tell what they do.
    Without,
    /// Hidden ones.
    Only,
}

fn load_time(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let fits = Duration::from_secs(1)..=Duration::from_secs(24 * 3_600);
    match fits.contains(&duration) {
        true => Ok(duration),
        false => Err("from 1s to 24h".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let selected = match select(&arguments) {
        Ok(selected) => selected,
        Err(message) => return usage(&message),
    };
    if arguments.list {
        list(&selected);
        return Exit::Ok.into();
    }
    if arguments.target.is_none() && arguments.launch.is_none() {
        return usage("what to test? --target URL --users FILE, or --launch CMD...");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return told(&error.into(), Exit::Infrastructure),
    };
    // A panic is told as the error of its case, in one line; a backtrace helps nobody who tests.
    std::panic::set_hook(Box::new(|_| {}));
    runtime.block_on(run(arguments, selected))
}

fn usage(message: &str) -> ExitCode {
    eprintln!("system-tests: {message}\nSee system-tests --help");
    Exit::Usage.into()
}

fn told(error: &anyhow::Error, exit: Exit) -> ExitCode {
    eprintln!("system-tests: {error:#}");
    exit.into()
}

async fn run(mut arguments: Arguments, selected: Vec<Selected>) -> ExitCode {
    let options = Options {
        seed: arguments.seed.unwrap_or_else(|| u64::from(fastrand::u32(..))),
        jobs: arguments.jobs.into(),
        patience: Duration::from_secs(arguments.patience.into()),
        load_time: arguments.load_time,
        until_first_failure: arguments.until_first_failure,
    };
    let subject = match (&arguments.target, &arguments.users, arguments.launch.take()) {
        (Some(url), Some(users), _) => match Subject::target(url, users, options.patience).await {
            Ok(subject) => subject,
            Err(error) => return told(&error, Exit::Infrastructure),
        },
        (_, _, Some(command)) => Subject::launch(command),
        _ => return usage("what to test?"),
    };
    let mut reporter: Box<dyn Reporter> = match arguments.json {
        true => Box::new(JsonLines(std::io::stdout())),
        false => Box::new(Table::new(std::io::stdout(), std::io::stdout().is_terminal())),
    };
    let running = runner::run(&selected, &subject, &options, reporter.as_mut());
    let summary = tokio::select! {
        summary = running => Some(summary),
        () = interrupted() => None,
    };
    subject.stop().await;
    let Some(summary) = summary else {
        eprintln!("system-tests: interrupted");
        return Exit::Failed.into();
    };
    match write_files(&arguments, &summary) {
        Ok(()) => exit_of(&summary).into(),
        Err(error) => told(&error, Exit::Failed),
    }
}

/// SIGINT or SIGTERM: exchanges that run are ended before we go.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn exit_of(summary: &Summary) -> Exit {
    match () {
        () if summary.count("failed") > 0 => Exit::TestsFailed,
        () if summary.count("error") > 0 && summary.count("passed") == 0 => Exit::Infrastructure,
        () if summary.count("error") > 0 => Exit::Failed,
        () => Exit::Ok,
    }
}

fn write_files(arguments: &Arguments, summary: &Summary) -> anyhow::Result<()> {
    if let Some(path) = &arguments.junit {
        let text = junit(summary)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, markdown(summary)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The stages and cases that were asked for; a name that fits nothing is a mistake.
fn select(arguments: &Arguments) -> Result<Vec<Selected>, String> {
    for slug in &arguments.stage {
        if !STAGES.iter().any(|stage| stage.slug == slug) {
            let known: Vec<&str> = STAGES.iter().map(|stage| stage.slug).collect();
            return Err(format!("no stage {slug:?}; there are {}", known.join(", ")));
        }
    }
    let fits = |name: &str, stage: &str, case: &str| name == case || name == format!("{stage}/{case}");
    for name in &arguments.case {
        let known = |stage: &optivex_system_tests::case::Stage| {
            stage.cases.iter().any(|case| fits(name, stage.slug, case.slug))
        };
        if !STAGES.iter().any(known) {
            return Err(format!("no case {name:?}; see --list"));
        }
    }
    let selected: Vec<Selected> = STAGES
        .iter()
        .filter(|stage| arguments.stage.is_empty() || arguments.stage.iter().any(|slug| slug == stage.slug))
        .map(|stage| {
            let wanted = |case: &&optivex_system_tests::case::Case| {
                let named =
                    arguments.case.is_empty() || arguments.case.iter().any(|name| fits(name, stage.slug, case.slug));
                named && (arguments.hidden == Hidden::With || case.hidden == (arguments.hidden == Hidden::Only))
            };
            (*stage, stage.cases.iter().filter(wanted).copied().collect::<Vec<_>>())
        })
        .filter(|(_, cases)| !cases.is_empty())
        .collect();
    // That none of them is hidden is no mistake.
    if selected.is_empty() && arguments.hidden == Hidden::With {
        return Err("no case is in these stages".to_owned());
    }
    Ok(selected)
}

fn list(selected: &[Selected]) {
    for (stage, cases) in selected {
        let kind = if stage.core { "core" } else { "extension" };
        let base = match stage.builds_on.is_empty() {
            true => String::new(),
            false => format!(", builds on {}", stage.builds_on.join(", ")),
        };
        println!("{} {} ({}, {kind}{base})", stage.number, stage.slug, stage.title);
        for case in cases {
            println!("    {}/{}: {} [{}]", stage.slug, case.slug, case.title, case.clause);
        }
    }
}
