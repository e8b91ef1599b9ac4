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

/// Beside the bundle: a [`Why`].
const WHY: &str = "aside.json";

#[derive(Debug, Deserialize, Serialize)]
struct Why {
    why: String,
    since: String,
    /// Whether its participant has a result that says so.
    told: bool,
}

/// A deployment that was set aside.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) participant: Name,
    pub(crate) id: SubmissionId,
    pub(crate) place: PathBuf,
    /// In one line, if that could be written down.
    pub(crate) why: Option<String>,
    /// Whether its participant has a result that says so.
    pub(crate) told: bool,
}

/// Sets a deployment aside, and tells its participant that it is our fault; if that cannot be told, the next daemon
/// tries again.
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
    tell(context, participant, id, &to, &one_line(why));
    Ok(())
}

/// Tells of what daemons before this one set aside and could not tell.
pub(crate) fn tell_all(context: &Context) -> Result<()> {
    for aside in all(&context.state.spool)?.into_iter().filter(|aside| !aside.told) {
        let why = aside.why.as_deref().unwrap_or("UAT could not make sense of it");
        tell(context, &aside.participant, aside.id, &aside.place, why);
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
                told: why.as_ref().is_some_and(|why| why.told),
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

fn tell(context: &Context, participant: &Name, id: SubmissionId, place: &Path, why: &str) {
    let told = result(context, participant, id, place, why);
    if let Err(error) = &told {
        tracing::error!(%participant, %id, "no result tells that it was set aside: {error:#}");
    }
    let why = Why {
        why: why.to_owned(),
        since: now(),
        told: told.is_ok(),
    };
    if let Err(error) = write_json(&place.join(WHY), &why) {
        tracing::error!(%participant, %id, "{error:#}");
    }
}

fn result(context: &Context, participant: &Name, id: SubmissionId, place: &Path, why: &str) -> Result<()> {
    let verdict = Verdict::Infrastructure {
        why: format!("set aside by UAT: {why}"),
    };
    let job = Job {
        daemon: context,
        participant: participant.clone(),
        id,
        receipt: receipt(context, participant, id, place, &verdict)?,
    };
    job.publish_untested(verdict)
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
