//! Stage 1: it starts, says so, and refuses cleanly what it does not know.

use tonic_health::pb::health_check_response::ServingStatus;

use crate::case::{Case, Stage};
use crate::context::Context;
use crate::launch::health;
use crate::run;
use crate::verdict::{Stop, Verdict};

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "boot",
    title: "Boot",
    number: 1,
    core: true,
    builds_on: &[],
    cases: &[Case::new(
        "health",
        "grpc.health.v1 answers SERVING for the server as a whole, without a token.",
        "launch convention; auth.proto AuthService",
        run!(serving),
    )
    .base()],
};

async fn serving(context: Context) -> Verdict {
    match health(context.url(), "", context.patience()).await {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(status) => Err(Stop::failed(format!("health says {}", status.as_str_name()), "SERVING")),
        Err(error) => Err(Stop::failed(error, "SERVING")),
    }
}
