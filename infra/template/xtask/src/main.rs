//! Automation of the repository. `cargo xtask --help` tells the commands.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes:
  0    ok
  1    failed
  2    usage
  100  the exchange failed a test
  101  build failed
  102  infrastructure: nothing could be judged";

const FAILED: u8 = 1;
const BUILD_FAILED: u8 = 101;

/// Automation of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the exchange and starts it on 127.0.0.1:50051, with users.yaml and ./data
    Run {
        /// Build with optimisations
        #[arg(long)]
        release: bool,
        /// More arguments for the exchange
        #[arg(last = true)]
        exchange: Vec<String>,
    },
    /// Builds the exchange, and lets the system tests start and judge it
    Test {
        /// Build with optimisations
        #[arg(long)]
        release: bool,
        /// More arguments for the system tests: `-- --stage login`, `-- --help`
        #[arg(last = true)]
        system_tests: Vec<String>,
    },
    /// Hands the exchange over to UAT, and shows what the system tests there say of it
    #[command(disable_help_flag = true)]
    Deploy {
        /// Its own arguments: `status`, `logs`, `results`, `cancel`, `repro`, `--help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            FAILED.into()
        }
    }
}

/// The exit code, unless another program took our place.
fn run(task: Task) -> Result<u8> {
    let workspace = Workspace::find()?;
    match task {
        Task::Run { release, exchange } => {
            if !workspace.build(release)? {
                return Ok(BUILD_FAILED);
            }
            eprintln!("Ctrl-C ends it. In another terminal: grpcurl -plaintext 127.0.0.1:50051 list");
            let mut command = Command::new(workspace.program("exchange", release));
            command.args(["--listen", "127.0.0.1:50051"]);
            command.args(["--users", "users.yaml", "--data-dir", "data"]);
            become_program(command.args(exchange).current_dir(&workspace.root))
        }
        Task::Test { release, system_tests } => {
            if !workspace.build(release)? {
                return Ok(BUILD_FAILED);
            }
            let mut command = Command::new(workspace.program("system-tests", release));
            // Behind --launch is how your exchange is started: change it for one in another language.
            let exchange = workspace.program("exchange", release);
            become_program(command.args(system_tests).arg("--launch").arg(exchange))
        }
        Task::Deploy { arguments } => {
            let deploy = workspace.program("deploy", false);
            if !deploy.exists() {
                eprintln!("building cargo xtask deploy, once");
            }
            let build = [
                "build",
                "--quiet",
                "--locked",
                "--package",
                "optivex-deploy",
                "--bin",
                "deploy",
            ];
            if !workspace.cargo(&build)? {
                return Ok(BUILD_FAILED);
            }
            become_program(Command::new(deploy).args(arguments))
        }
    }
}

/// The program takes this one's place: it gets Ctrl-C itself, and its exit code is ours.
fn become_program(command: &mut Command) -> Result<u8> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// The repository and cargo's target directory.
struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Cargo built this program into `<target>/<profile>/xtask` from `<root>/xtask`.
    fn find() -> Result<Self> {
        let this = std::env::current_exe().context("where is this program?")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        Ok(Self {
            root: root.context("xtask is a folder of the repository")?.to_owned(),
            target: this.ancestors().nth(2).context("not in a target directory")?.to_owned(),
        })
    }

    /// Builds the exchange and the system tests; false if cargo could not, and said why.
    fn build(&self, release: bool) -> Result<bool> {
        // Always both: one of them alone wants shared libraries compiled a little differently, and so twice.
        let mut arguments = vec!["build", "--bin", "exchange", "--bin", "system-tests"];
        if release {
            arguments.push("--release");
        }
        self.cargo(&arguments)
    }

    fn cargo(&self, arguments: &[&str]) -> Result<bool> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let status = cargo.current_dir(&self.root).args(arguments).status();
        Ok(status.context("cannot start cargo")?.success())
    }

    fn program(&self, name: &str, release: bool) -> PathBuf {
        self.target.join(if release { "release" } else { "debug" }).join(name)
    }
}
