//! The participants' repository as written: formatted, and nothing for clippy to say. What it does is for the tests.

use anyhow::Result;
use xshell::cmd;

use super::{Ctx, Outcome};
use crate::template;

pub(super) fn check(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let sh = ctx.ws.shell()?;
    // One place, so that libraries are compiled once; the tests have theirs beside it.
    let home = ctx.ws.target.join("tmp/template");
    let repository = home.join("checked");
    sh.remove_path(&repository)?;
    template::write(ctx.ws, &repository)?;
    sh.change_dir(&repository);
    cmd!(sh, "cargo fmt --all --check").quiet().run()?;
    // Its other crates are members of this repository's workspace, too.
    cmd!(sh, "cargo clippy --locked --package xtask --all-targets -- -D warnings")
        .env("CARGO_TARGET_DIR", home.join("target"))
        .quiet()
        .run()?;
    Ok(Outcome::Ok(String::new()))
}
