//! Stage 2: who a client is, and what it may do.

use crate::case::{Case, Stage};
use crate::context::Context;
use crate::run;
use crate::verdict::Verdict;

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "login",
    title: "Login and roles",
    number: 2,
    core: true,
    builds_on: &["boot"],
    cases: &[Case::new(
        "token",
        "Login trades a user name and password for a token that tells the user's roles.",
        "auth.proto AuthService.Login",
        run!(token),
    )
    .base()],
};

async fn token(context: Context) -> Verdict {
    for session in [context.admin().await?, context.viewer().await?, context.trader().await?] {
        let told = session.roles().to_vec();
        let expected = session
            .user()
            .map(crate::users::User::contract_roles)
            .unwrap_or_default();
        if told != expected {
            return Err(crate::verdict::Stop::failed(
                format!("roles are {told:?}"),
                format!("{expected:?}"),
            ));
        }
    }
    Ok(())
}
