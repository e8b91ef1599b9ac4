//! `cargo xtask run`: a whole exchange to play with.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::tools;
use crate::workspace::Workspace;
use optivex_exit::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build with optimisations: for load and measurements. The first build takes minutes.
    #[arg(long)]
    release: bool,
    /// More arguments for `optivex serve`.
    #[arg(last = true)]
    serve: Vec<String>,
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<Exit> {
    let sh = ws.shell()?;
    let (profile, dir) = if args.release {
        ("release", "release")
    } else {
        ("dev", "debug")
    };
    println!("building the exchange ({profile} profile)");
    cmd!(sh, "cargo build --bin optivex --profile {profile}")
        .quiet()
        .run()
        .map_err(|error| Failure::new(Exit::BuildFailed, error.to_string()))?;
    let grpcurl = Some(tools::grpcurl(ws))
        .filter(|path| path.exists())
        .map_or("grpcurl".to_owned(), |path| tools::shown(&path));
    println!("{}", how_to_call(&grpcurl, args.release));
    // The server takes this process's place: it gets Ctrl-C itself, drains, and its exit code is ours.
    let server = ws.target.join(dir).join("optivex");
    let error = Command::new(&server)
        .current_dir(&ws.root)
        .args(["serve", "--demo", "--listen", "127.0.0.1:50051", "--data-dir", "data"])
        .args(&args.serve)
        .exec();
    Err(error).with_context(|| format!("cannot start {}", server.display()))
}

fn how_to_call(grpcurl: &str, release: bool) -> String {
    let load = if release {
        ""
    } else {
        "\nThis is a debug build; to send load: cargo xtask run --release\n"
    };
    let install = if grpcurl == "grpcurl" {
        "\nNo grpcurl here? cargo xtask doctor --role tests --install puts it into target/tools/python/bin.\n"
    } else {
        ""
    };
    format!(
        r#"
The exchange listens on 127.0.0.1:50051; its data is in ./data. Ctrl-C ends it, orders stay.
In another terminal:

  {grpcurl} -plaintext 127.0.0.1:50051 list
  {grpcurl} -plaintext -d '{{"username":"alice","password":"alice"}}' 127.0.0.1:50051 optivex.v1.AuthService/Login
  {grpcurl} -plaintext -H 'authorization: Bearer TOKEN' 127.0.0.1:50051 optivex.v1.InfoService/ListInstruments

README.md goes on from here.
{install}{load}"#
    )
}
