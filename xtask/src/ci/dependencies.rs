//! The dependencies by cargo-deny (rules: deny.toml).

use anyhow::Result;
use xshell::cmd;

use super::{Ctx, Outcome};
use crate::tools;
use optivex_exit::{Exit, Failure};

pub(super) fn licences(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let (sh, deny) = (&ctx.sh, tools::cargo_deny(ctx.ws));
    cmd!(sh, "{deny} --locked check --hide-inclusion-graph bans licenses sources")
        .quiet()
        .run()?;
    Ok(Outcome::Ok(String::new()))
}

pub(super) fn advisories(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let (sh, deny) = (&ctx.sh, tools::cargo_deny(ctx.ws));
    cmd!(sh, "{deny} --version").quiet().ignore_stdout().run()?;
    // The database is a git repository on GitHub, which not every machine may reach.
    if cmd!(sh, "{deny} fetch db").quiet().run().is_err() {
        return without_database(ctx.strict);
    }
    cmd!(sh, "{deny} --locked check --disable-fetch advisories")
        .quiet()
        .run()?;
    Ok(Outcome::Ok(String::new()))
}

fn without_database(strict: bool) -> Result<Outcome> {
    let why = "the advisory database, github.com/RustSec/advisory-db, cannot be fetched from here";
    if strict {
        return Err(Failure::new(Exit::Infrastructure, why).into());
    }
    Ok(Outcome::NotChecked(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_database_fails_where_it_must_be_there() {
        let error = without_database(true).expect_err("strict");
        assert_eq!(crate::exit::code_of(&error), Exit::Infrastructure);
        let outcome = without_database(false);
        assert!(matches!(outcome, Ok(Outcome::NotChecked(_))), "{outcome:?}");
    }
}
