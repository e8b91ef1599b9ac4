//! The whole program on this machine, by `cargo xtask rehearse`, and the tests of what it is made of.

use anyhow::Result;
use xshell::{Shell, cmd};

use super::{Ctx, Outcome};
use crate::needs::{self, Role};
use crate::test;
use optivex_exit::{Exit, Failure};

/// As many as deploy something of their own: the reference exchange, the bare template, a planted fault.
const PARTICIPANTS: &str = "3";

pub(super) fn check(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    if !possible(&ctx.sh) {
        return without_root(ctx.strict);
    }
    needs::ensure(&ctx.sh, Role::Rehearsal)?;
    let selection = ["--package", "optivex-rehearse", "--test", "hosts"];
    let (counts, exit) = test::run_built(ctx.ws, &selection, &["--ignored".to_owned()])?;
    ctx.counts += counts;
    if exit != Exit::Ok {
        return Err(Failure::new(exit, format!("hosts: {counts}")).into());
    }
    let sh = &ctx.sh;
    cmd!(sh, "cargo xtask rehearse --participants {PARTICIPANTS}")
        .quiet()
        .run()
        .map_err(|error| Failure::new(Exit::TestsFailed, error.to_string()))?;
    Ok(Outcome::Ok(format!("{PARTICIPANTS} participants")))
}

/// Its hosts are namespaces of Linux, which root makes.
fn possible(sh: &Shell) -> bool {
    cfg!(target_os = "linux") && cmd!(sh, "id -u").quiet().read().is_ok_and(|id| id == "0")
}

fn without_root(strict: bool) -> Result<Outcome> {
    let why = "the rehearsal needs root on Linux: sudo cargo xtask ci";
    if strict {
        return Err(Failure::new(Exit::Infrastructure, why).into());
    }
    Ok(Outcome::NotChecked(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_it_is_told_and_fails_where_it_must_not_be_left_out() {
        let error = without_root(true).expect_err("strict");
        assert_eq!(optivex_exit::code_of(&error), Exit::Infrastructure);
        let outcome = without_root(false);
        assert!(matches!(outcome, Ok(Outcome::NotChecked(_))), "{outcome:?}");
    }
}
