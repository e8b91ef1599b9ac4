//! `deploy` itself: from the repository to a receipt.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::time::Instant;

use anyhow::{Context, Result};
use optivex_bundle::archive::{self, About, PackError};
use optivex_bundle::digest::Digest;
use optivex_bundle::limits::{LIMITS, bytes_for_people};
use optivex_bundle::manifest::Manifest;
use optivex_exit::{Exit, Failure};

use crate::repository::Repository;
use crate::settings::{FILE, Places, Settings};
use crate::show;
use crate::uat::{Bundle, Client, Promise};

/// How many changed files are named.
const NAMED: usize = 10;

/// Builds, bundles, hands over, and prints the receipt.
pub fn submit(client: &Client, repository: &Repository, allow_dirty: bool, debug: bool) -> Result<Promise> {
    let commit = repository.commit()?;
    let changes = repository.changes()?;
    if !changes.is_empty() && !allow_dirty {
        return Err(Failure::new(Exit::Usage, dirty(&changes)).into());
    }
    let settings = Settings::read(&repository.root)?;
    let places = Places {
        target: repository.target()?,
        debug,
    };
    let contract = repository.contract()?;
    let before = repository.state()?;
    build(repository, &settings, &places)?;
    let after = repository.state()?;
    if after.0 != before.0 || (!allow_dirty && after.1 != before.1) {
        let message = "the repository was changed while it was built, so nobody can say which commit this is: nothing was \
                       submitted";
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let about = About {
        commit,
        dirty: !changes.is_empty(),
        toolchain: repository.toolchain(),
        contract,
        start: settings.start.clone(),
    };
    let sources = settings.sources(&repository.root, &places)?;
    let mut file = bundle_file(&places)?;
    let manifest = archive::pack(about, sources, &mut file, &LIMITS).map_err(not_packed)?;
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;
    let (sha256, size) = Digest::of_reader(&mut file).context("the bundle")?;
    if size > LIMITS.bundle_bytes {
        let (is, most) = (bytes_for_people(size), bytes_for_people(LIMITS.bundle_bytes));
        let message =
            format!("the bundle has {is}, and UAT takes {most}: see artefacts in {FILE}, or strip what is built");
        return Err(Failure::new(Exit::Failed, message).into());
    }
    let promise = client.submit(&mut Bundle {
        file: &mut file,
        size,
        sha256,
        contract,
    })?;
    print_receipt(&promise, &manifest);
    Ok(promise)
}

fn dirty(changes: &[String]) -> String {
    let mut message = "there are changes that are not committed, and a result must name what it is about:\n".to_owned();
    for change in changes.iter().take(NAMED) {
        message.push_str(&format!("    {change}\n"));
    }
    if changes.len() > NAMED {
        message.push_str(&format!("    and {} more\n", changes.len() - NAMED));
    }
    message.push_str("git commit them, or say --allow-dirty: the result then says that it is not quite this commit's");
    message
}

fn build(repository: &Repository, settings: &Settings, places: &Places) -> Result<()> {
    let command = settings.build_command(places);
    let [program, arguments @ ..] = command.as_slice() else {
        return Ok(());
    };
    eprintln!("building: {}", command.join(" "));
    let begun = Instant::now();
    let output = duct::cmd(program, arguments)
        .dir(&repository.root)
        // Standard output is the receipt's.
        .stdout_to_stderr()
        .unchecked()
        .run()
        .map_err(|error| Failure::new(Exit::BuildFailed, format!("cannot start {program}: {error}")))?;
    if !output.status.success() {
        let message = format!(
            "{} failed ({}): nothing was submitted",
            command.join(" "),
            output.status
        );
        return Err(Failure::new(Exit::BuildFailed, message).into());
    }
    eprintln!("built in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// A file without a name, gone when it is closed.
fn bundle_file(places: &Places) -> Result<fs::File> {
    let folder = places.target.join("deploy");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    tempfile::tempfile_in(&folder).with_context(|| format!("a file in {}", folder.display()))
}

fn not_packed(error: PackError) -> anyhow::Error {
    match error {
        PackError::Unsound(error) => {
            Failure::new(Exit::Usage, format!("UAT would not take this: {error}; see {FILE}")).into()
        }
        error => error.into(),
    }
}

fn print_receipt(promise: &Promise, manifest: &Manifest) {
    let receipt = &promise.receipt;
    let files = manifest.files.len();
    let dirty = if manifest.dirty { " with changes" } else { "" };
    println!("submitted  {}", receipt.id);
    println!("  commit   {}{dirty}", manifest.commit);
    println!("  sha256   {}", receipt.sha256);
    println!(
        "  bundle   {}, {files} {} of {}",
        bytes_for_people(receipt.size),
        if files == 1 { "file" } else { "files" },
        bytes_for_people(manifest.unpacked_bytes())
    );
    let again = if promise.known {
        " (this very bundle was here before)"
    } else {
        ""
    };
    println!("  now      {}{again}", show::state(&promise.state));
    for note in &promise.notes {
        println!("  note     {}", optivex_bundle::manifest::printable(note));
    }
}
