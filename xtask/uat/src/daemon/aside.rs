//! Deployments that cannot be judged, by a fault of ours or of the disk: put where people find them, and told of. The
//! daemon goes on without them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use optivex_bundle::digest::{Digest, SubmissionId};
use optivex_bundle::durable;
use optivex_bundle::names::Name;
use optivex_bundle::spool::{BUNDLE, RECEIPT, Receipt, Spool, read_json};
use optivex_bundle::verdict::Verdict;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::job::Job;
use super::judge::one_line;
use super::state::{now, write_json};

/// Written last: without it the participant was not told yet.
const WHY: &str = "aside.json";

#[derive(Debug, Deserialize, Serialize)]
struct Why {
    why: String,
    since: String,
}

/// A deployment that was set aside.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) participant: Name,
    pub(crate) id: SubmissionId,
    pub(crate) place: PathBuf,
    /// None if the participant was not told.
    pub(crate) why: Option<String>,
}

/// Sets a deployment aside, and tells its participant that it is our fault.
pub(crate) fn set_aside(context: &Context, participant: &Name, id: SubmissionId, why: &str) -> Result<()> {
    let spool = &context.state.spool;
    let claimed = spool.claimed_job(participant, id);
    let from = match fs::symlink_metadata(&claimed) {
        Ok(_) => claimed,
        Err(_) => spool.waiting_job(participant, id),
    };
    let folder = spool.aside(participant);
    durable::create_folders(&folder).with_context(|| folder.display().to_string())?;
    let to = free_place(&folder, id);
    durable::rename(&from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    tracing::error!(%participant, %id, place = %to.display(), "SET ASIDE, not judged: {why}");
    told(context, participant, id, &to, why)
}

/// What daemons before this one set aside and did not tell.
pub(crate) fn tell_all(context: &Context) -> Result<()> {
    for aside in all(&context.state.spool)? {
        if aside.why.is_none()
            && let Err(error) = told(
                context,
                &aside.participant,
                aside.id,
                &aside.place,
                "UAT could not make sense of it",
            )
        {
            tracing::error!(place = %aside.place.display(), "set aside, and its participant was not told: {error:#}");
        }
    }
    Ok(())
}

/// All that were set aside.
pub(crate) fn all(spool: &Spool) -> Result<Vec<Aside>> {
    let mut found = Vec::new();
    for participant in spool.participants_aside()? {
        let folder = spool.aside(&participant);
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let place = entry?.path();
            let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Behind the first one of an id there may be others, as ID.2.
            let Some(id) = name.split('.').next().and_then(|id| id.parse().ok()) else {
                continue;
            };
            let why: Option<Why> = read_json(&place.join(WHY)).unwrap_or_default();
            found.push(Aside {
                participant: participant.clone(),
                id,
                place,
                why: why.map(|why| why.why),
            });
        }
    }
    found.sort_by(|one, other| one.place.cmp(&other.place));
    Ok(found)
}

fn free_place(folder: &Path, id: SubmissionId) -> PathBuf {
    let first = folder.join(id.to_string());
    let others = (2..).map(|number| folder.join(format!("{id}.{number}")));
    std::iter::once(first)
        .chain(others)
        .find(|place| fs::symlink_metadata(place).is_err())
        .unwrap_or_else(|| folder.join(durable::unique()))
}

fn told(context: &Context, participant: &Name, id: SubmissionId, place: &Path, why: &str) -> Result<()> {
    let why = one_line(why);
    let verdict = Verdict::Infrastructure {
        why: format!("set aside by UAT: {why}"),
    };
    match receipt(context, participant, id, place, &verdict) {
        Ok(receipt) => Job {
            daemon: context,
            participant: participant.clone(),
            id,
            receipt,
        }
        .publish_untested(verdict)?,
        // Without its bytes nothing can be said of it.
        Err(error) => tracing::error!(%participant, %id, "no result tells of it: {error:#}"),
    }
    write_json(&place.join(WHY), &Why { why, since: now() })
}

/// The receipt, or one made of the bundle that is there.
fn receipt(
    context: &Context,
    participant: &Name,
    id: SubmissionId,
    place: &Path,
    verdict: &Verdict,
) -> Result<Receipt> {
    if let Ok(Some(receipt)) = read_json::<Receipt>(&place.join(RECEIPT))
        && receipt.participant == *participant
        && receipt.id == id
    {
        return Ok(receipt);
    }
    let path = place.join(BUNDLE);
    let bundle = File::open(&path).with_context(|| path.display().to_string())?;
    let received = bundle.metadata()?.modified()?;
    let (sha256, size) = Digest::of_reader(bundle).with_context(|| path.display().to_string())?;
    let before = context.state.spool.read_result(participant, id).unwrap_or_default();
    let attempt = before.map_or(1, |before| match before.verdict == *verdict {
        // Told by a daemon that ended in the middle of it.
        true => before.attempt,
        false => before.attempt + 1,
    });
    Ok(Receipt {
        participant: participant.clone(),
        id,
        sha256,
        size,
        received: humantime::format_rfc3339_nanos(received).to_string(),
        attempt,
    })
}
