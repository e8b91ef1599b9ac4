//! `cargo xtask doctor`: what this machine lacks for its role, and the command that installs it.

use anyhow::Result;

use crate::needs::{self, Facts, Need, Plan, Role};
use crate::tools;
use crate::workspace::Workspace;
use optivex_exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the machine is for; each has what the ones before it have.
    #[arg(long, value_enum, default_value_t = Role::Ci)]
    role: Role,
    /// Install what is lacking.
    #[arg(long)]
    install: bool,
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<Exit> {
    let sh = ws.shell()?;
    if args.install {
        needs::ensure(&sh, args.role)?;
        tools::ensure(ws, &sh, args.role)?;
    }
    println!("role: {}", args.role);
    let mut missing: Vec<&Need> = Vec::new();
    for need in needs::of(args.role) {
        let met = need.is_met(&sh);
        line(met, need.name, need.what_for);
        if !met {
            missing.push(need);
        }
    }
    let mut lacks_tool = false;
    for tool in tools::of(args.role) {
        let current = tool.is_current(ws, &sh);
        line(current, tool.title(), "our own, in target/tools");
        lacks_tool |= !current;
    }
    if missing.is_empty() && !lacks_tool {
        println!("\nnothing is lacking");
        return Ok(Exit::Ok);
    }
    println!("\nThis installs what is lacking:\n");
    match needs::plan(&missing, &Facts::gather(&sh)) {
        // The command below does these itself.
        Plan::Nothing | Plan::Run(_) => {}
        plan @ (Plan::Paste(_) | Plan::ByHand(_)) => println!("    {plan}"),
    }
    println!("    cargo xtask doctor --role {} --install\n", args.role);
    Ok(Exit::Infrastructure)
}

fn line(met: bool, name: &str, what_for: &str) {
    println!("  {} {name:<32} {what_for}", if met { "ok     " } else { "LACKING" });
}
