//! Stage 3: instruments.

use crate::case::{Case, Stage};
use crate::context::Context;
use crate::run;
use crate::verdict::Verdict;

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "instruments",
    title: "Instruments",
    number: 3,
    core: true,
    builds_on: &["login"],
    cases: &[Case::new(
        "create",
        "A created instrument is answered as every client now sees it.",
        "admin.proto CreateInstrumentResponse.instrument",
        run!(create),
    )
    .base()],
};

async fn create(context: Context) -> Verdict {
    context.instrument().await?;
    Ok(())
}
