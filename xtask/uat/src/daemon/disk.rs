//! Room on the spool's file system: looked at before a claim, and made by removing the oldest artefacts.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use optivex_bundle::limits::bytes_for_people;
use rustix::fs::statvfs;

use super::context::Context;

/// Why nothing may be claimed for want of room; none if there is, or if some could be made.
pub(crate) fn room(context: &Context) -> Result<Option<String>> {
    let wanted = wanted(context);
    let folder = context.state.spool.root();
    if free(folder)? >= wanted {
        return Ok(None);
    }
    collect(context, wanted)?;
    let free = free(folder)?;
    Ok((free < wanted).then(|| {
        format!(
            "the disk is full: {} free in {}, {} are wanted",
            bytes_for_people(free),
            folder.display(),
            bytes_for_people(wanted)
        )
    }))
}

/// Below what the gate keeps free for itself, so that taking deployments stops before judging them does.
fn wanted(context: &Context) -> u64 {
    let limits = &context.bench.limits;
    (u64::from(context.config.slots()) * (limits.unpacked_bytes + limits.result_bytes)).min(limits.disk_reserve_bytes)
}

pub(crate) fn free(folder: &Path) -> Result<u64> {
    let stat = statvfs(folder).with_context(|| folder.display().to_string())?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Removes bundles that were judged, the oldest first, until so much is free; then results beyond the number that is
/// kept of each participant, which goes by itself. What was removed.
pub(super) fn collect(context: &Context, wanted: u64) -> Result<Vec<PathBuf>> {
    let mut removed = surplus_results(context)?;
    let mut bundles = children(&context.state.all_done())?
        .into_iter()
        .map(|participant| children(&participant))
        .collect::<Result<Vec<_>>>()?
        .concat();
    bundles.sort_by_key(|path| modified(path));
    for path in bundles {
        if free(context.state.spool.root())? >= wanted {
            break;
        }
        remove(&path)?;
        removed.push(path);
    }
    Ok(removed)
}

/// The oldest results of each participant beyond those that are kept. The ledger keeps what they came to.
fn surplus_results(context: &Context) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    let keep = usize::try_from(context.bench.limits.results_kept).unwrap_or(usize::MAX);
    for participant in children(&context.state.spool.root().join("results"))? {
        let mut results = children(&participant)?;
        // Those that run have none yet.
        results.retain(|path| path.join("result.json").exists());
        results.sort_by_key(|path| std::cmp::Reverse(modified(path)));
        for path in results.into_iter().skip(keep) {
            remove(&path)?;
            removed.push(path);
        }
    }
    Ok(removed)
}

fn remove(path: &Path) -> Result<()> {
    tracing::info!(path = %path.display(), "removed to make room");
    match fs::remove_dir_all(path) {
        // Daemon and `gc` may do so at the same time.
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
        _ => Ok(()),
    }
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| folder.display().to_string()),
    }
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
