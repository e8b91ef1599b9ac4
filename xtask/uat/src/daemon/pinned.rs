//! The system tests that submissions are judged by: archives in `CK_TESTS_DIR`, made by the manager, named by their
//! hash; `current` names the one that counts. They are bundles as submissions are, whose start command is the tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use optivex_bundle::archive::{self, About, Source};
use optivex_bundle::contract::contract_of;
use optivex_bundle::digest::Digest;
use optivex_bundle::durable;
use optivex_bundle::limits::{LIMITS, Limits};

use super::judge::Tests;
use super::state::{State, readable};

/// Tests are ours: they may be larger than submissions.
const TESTS_LIMITS: Limits = Limits {
    bundle_bytes: LIMITS.bundle_bytes * 8,
    unpacked_bytes: LIMITS.unpacked_bytes * 8,
    ..LIMITS
};

/// The hash that `current` names.
pub fn current(folder: &Path) -> Result<Digest> {
    let path = folder.join("current");
    let text = fs::read_to_string(&path).with_context(|| format!("which tests? {}", path.display()))?;
    let name = text.trim();
    name.parse().with_context(|| format!("{}: {name}", path.display()))
}

fn archive_of(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}.tar.zst"))
}

/// Unpacks tests, unless they are unpacked already.
pub fn unpacked(folder: &Path, digest: Digest, state: &State) -> Result<Tests> {
    let path = archive_of(folder, digest);
    let into = state.tests().join(digest.to_string());
    if !into.exists() {
        let mut file = File::open(&path).with_context(|| path.display().to_string())?;
        let temporary = state.tests().join(format!("{digest}-{}.tmp", durable::unique()));
        let sound = archive::unpack(&mut file, &digest, &temporary, &TESTS_LIMITS)
            .with_context(|| path.display().to_string())
            .and_then(|_| readable(&temporary));
        if let Err(error) = sound {
            // A broken archive leaves nothing.
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        if let Err(error) = durable::rename(&temporary, &into) {
            let _ = fs::remove_dir_all(&temporary);
            // Another job was faster.
            if !into.exists() {
                return Err(error).with_context(|| into.display().to_string());
            }
        }
    }
    if !into.join("system-tests").is_file() {
        bail!("{}: there is no system-tests in it", path.display());
    }
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let manifest = archive::read_manifest(file, &TESTS_LIMITS).with_context(|| path.display().to_string())?;
    Ok(Tests {
        digest,
        contract: manifest.contract,
        folder: into,
    })
}

/// Makes an archive of a `system-tests`, and makes it the current one.
pub fn install(program: &Path, commit: &str, proto: &Path, folder: &Path) -> Result<Digest> {
    durable::create_folders(folder).with_context(|| folder.display().to_string())?;
    let contract = contract_of(proto)?.with_context(|| {
        format!(
            "{}: no .proto files: which contract do the tests go by?",
            proto.display()
        )
    })?;
    let about = About {
        commit: commit.to_owned(),
        dirty: false,
        toolchain: String::new(),
        contract,
        start: vec!["system-tests".to_owned()],
    };
    let source = Source {
        path: "system-tests".parse()?,
        file: program.to_owned(),
    };
    let temporary = folder.join(format!("{}.tmp", durable::unique()));
    let packed = File::create(&temporary).map_err(anyhow::Error::from).and_then(|file| {
        archive::pack(about, vec![source], &file, &TESTS_LIMITS)?;
        file.sync_all()?;
        Ok(Digest::of_reader(File::open(&temporary)?)?.0)
    });
    let placed = packed.and_then(|digest| {
        durable::rename(&temporary, &archive_of(folder, digest))?;
        durable::write(&folder.join("current"), format!("{digest}\n").as_bytes(), 0o644)?;
        Ok(digest)
    });
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed.with_context(|| format!("{} into {}", program.display(), folder.display()))
}
