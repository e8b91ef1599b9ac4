//! Random flow against the reference model.

use crate::context::Context;
use crate::model::venue_flow::{Kinds, drive};
use crate::verdict::Verdict;

/// Catches: whatever comes of combinations: priority after amends, self-trades within partial fills,
/// levels left behind, FOK counted wrong, negative prices.
pub(super) async fn random(context: Context) -> Verdict {
    drive(&context, Kinds::All, &[]).await
}
