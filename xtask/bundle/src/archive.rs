//! The bundle: a tar archive, compressed by zstd, whose first entry is the manifest.
//!
//! Packing the same files gives the same bytes. Unpacking believes nothing: after the manifest come exactly the files
//! that it names, in its order, regular files all of them, of the sizes, modes and hashes that it says; so there is no
//! room for links, devices, duplicates, paths that lead elsewhere, or anything more. Whatever is read is bounded before
//! it is read, and what expands is measured while it does.

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};
use zstd::stream::{Decoder, Encoder};

use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::limits::Limits;
use crate::manifest::{BundlePath, FileEntry, MANIFEST, Manifest, ManifestError, Mode, SCHEMA, printable};

/// Better than this costs seconds and gains little on programs.
const LEVEL: i32 = 6;

/// Log of the window that a bundle may ask the unpacker to keep in memory: 8 MiB.
const WINDOW_LOG: u32 = 23;

/// What a manifest says beside the files.
#[derive(Clone, Debug)]
pub struct About {
    /// See [`Manifest::commit`].
    pub commit: String,
    /// See [`Manifest::dirty`].
    pub dirty: bool,
    /// See [`Manifest::toolchain`].
    pub toolchain: String,
    /// See [`Manifest::contract`].
    pub contract: Digest,
    /// See [`Manifest::start`].
    pub start: Vec<String>,
}

/// A file to be packed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Where it will be.
    pub path: BundlePath,
    /// Where it is.
    pub file: PathBuf,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// What was to be packed would not be taken.
    #[error(transparent)]
    Unsound(#[from] ManifestError),
    /// A file that cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that was written to meanwhile.
    #[error("{} changed while it was packed", .0.display())]
    Changed(PathBuf),
    /// The bundle cannot be written.
    #[error("cannot write the bundle: {0}")]
    Write(#[from] io::Error),
}

/// Packs files; the order in which they are given does not matter, and whether they are executable is taken from them.
pub fn pack(about: About, mut sources: Vec<Source>, out: impl Write, limits: &Limits) -> Result<Manifest, PackError> {
    sources.sort();
    let mut files = Vec::with_capacity(sources.len());
    for source in &sources {
        let of_file = |error| PackError::File {
            path: source.file.clone(),
            error,
        };
        let file = File::open(&source.file).map_err(of_file)?;
        let metadata = file.metadata().map_err(of_file)?;
        if !metadata.is_file() {
            return Err(of_file(io::Error::other("is not a regular file")));
        }
        let (sha256, size) = Digest::of_reader(file).map_err(of_file)?;
        files.push(FileEntry {
            path: source.path.clone(),
            size,
            mode: Mode::of_executable(metadata.permissions().mode() & 0o100 != 0),
            sha256,
        });
    }
    let manifest = Manifest {
        schema: SCHEMA,
        commit: about.commit,
        dirty: about.dirty,
        toolchain: about.toolchain,
        contract: about.contract,
        start: about.start,
        files,
    };
    manifest.check(limits)?;
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
    text.push(b'\n');
    if text.len() as u64 > limits.manifest_bytes {
        return Err(ManifestError::TooMuch {
            what: "bytes in the manifest",
            is: text.len() as u64,
            allowed: limits.manifest_bytes,
        }
        .into());
    }

    let mut encoder = Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.window_log(WINDOW_LOG)?;
    let mut tar = tar::Builder::new(encoder);
    tar.append(&header(MANIFEST, text.len() as u64, Mode::Plain)?, text.as_slice())?;
    for (source, entry) in sources.iter().zip(&manifest.files) {
        let of_file = |error| PackError::File {
            path: source.file.clone(),
            error,
        };
        let mut reader = Hashing {
            inner: File::open(&source.file).map_err(of_file)?.take(entry.size),
            hasher: Hasher::default(),
        };
        tar.append(&header(entry.path.as_str(), entry.size, entry.mode)?, &mut reader)?;
        if reader.hasher.finish() != entry.sha256 {
            return Err(PackError::Changed(source.file.clone()));
        }
    }
    tar.into_inner()?.finish()?.flush()?;
    Ok(manifest)
}

fn header(path: &str, size: u64, mode: Mode) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(mode.bits());
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Why a bundle was not unpacked: whose fault it is decides the verdict.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bundle's. In one line.
    #[error("{0}")]
    Unsound(String),
    /// Ours, or this machine's: it is not what was taken in, it cannot be read, or what is in it cannot be written.
    #[error("{0}")]
    Ours(#[from] io::Error),
}

impl From<ManifestError> for UnpackError {
    fn from(error: ManifestError) -> Self {
        unsound(error.to_string())
    }
}

fn unsound(why: impl Into<String>) -> UnpackError {
    UnpackError::Unsound(printable(&why.into()).replace(['\n', '\t'], " "))
}

/// Unpacks a bundle whose hash is known into a folder that is made for it. On an error the folder is to be removed: it
/// holds whatever was sound so far.
pub fn unpack(bundle: &mut File, expected: &Digest, into: &Path, limits: &Limits) -> Result<Manifest, UnpackError> {
    // First, so that a bit that fell over on our disk is not held against the participant.
    bundle.rewind()?;
    let (digest, _) = Digest::of_reader(&mut *bundle)?;
    if digest != *expected {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the bundle in the spool has changed: SHA-256 {digest}, and {expected} was taken in"),
        )
        .into());
    }
    bundle.rewind()?;
    unpack_from(bundle, into, limits)
}

/// Unpacks what a reader gives; see [`unpack`].
pub fn unpack_from(bundle: impl Read, into: &Path, limits: &Limits) -> Result<Manifest, UnpackError> {
    let mut ours = None;
    let result = walk(bundle, Some(into), limits, &mut ours);
    match ours {
        Some(error) => Err(UnpackError::Ours(error)),
        None => result,
    }
}

/// The manifest of a bundle, without its files.
pub fn read_manifest(bundle: impl Read, limits: &Limits) -> Result<Manifest, UnpackError> {
    let mut ours = None;
    let result = walk(bundle, None, limits, &mut ours);
    match ours {
        Some(error) => Err(UnpackError::Ours(error)),
        None => result,
    }
}

/// Reads a bundle. `ours` is set when it cannot be read, as distinct from what is read making no sense.
fn walk(
    bundle: impl Read,
    into: Option<&Path>,
    limits: &Limits,
    ours: &mut Option<io::Error>,
) -> Result<Manifest, UnpackError> {
    let source = Blaming {
        inner: bundle,
        ours,
        left: limits.bundle_bytes,
    };
    let mut decoder = Decoder::with_buffer(BufReader::with_capacity(128 << 10, source))?;
    decoder.window_log_max(WINDOW_LOG)?;
    // Headers, padding and the archive's end beside what is unpacked.
    let allowed = limits.unpacked_bytes + limits.manifest_bytes + (limits.files + 1) * 1024 + 20 * 512;
    let mut tar = tar::Archive::new(Expanding {
        inner: decoder,
        left: allowed,
    });
    // Raw: what extensions say is never read, let alone kept in memory.
    let mut entries = tar.entries().map_err(broken)?.raw(true);

    let first = entries.next().ok_or_else(|| unsound("the bundle is empty"))?;
    let mut first = first.map_err(broken)?;
    let size = expect_entry(&first, MANIFEST, Mode::Plain)?;
    if size > limits.manifest_bytes {
        return Err(unsound(format!(
            "{MANIFEST} has {size} bytes, and {} are allowed",
            limits.manifest_bytes
        )));
    }
    let mut text = Vec::new();
    first.read_to_end(&mut text).map_err(broken)?;
    drop(first);
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| unsound(format!("{MANIFEST} cannot be read: {error}")))?;
    manifest.check(limits)?;
    let Some(into) = into else {
        return Ok(manifest);
    };

    fs::create_dir(into)?;
    for file in &manifest.files {
        let entry = entries
            .next()
            .ok_or_else(|| unsound(format!("{} is in the manifest and not in the bundle", file.path)))?;
        let mut entry = entry.map_err(broken)?;
        let size = expect_entry(&entry, file.path.as_str(), file.mode)?;
        if size != file.size {
            return Err(unsound(format!(
                "{} has {size} bytes, and {} by the manifest",
                file.path, file.size
            )));
        }
        write_file(&mut entry, file, into)?;
    }
    if let Some(entry) = entries.next() {
        let path = entry.map_err(broken)?.path_bytes().into_owned();
        return Err(unsound(format!(
            "{} is in the bundle and not in the manifest",
            String::from_utf8_lossy(&path)
        )));
    }
    // What is behind the archive's end must be nothing, whatever it is compressed to.
    let mut rest = tar.into_inner();
    let mut buffer = [0; 4096];
    loop {
        match rest.read(&mut buffer).map_err(broken)? {
            0 => return Ok(manifest),
            count if buffer[..count].iter().all(|byte| *byte == 0) => {}
            _ => return Err(unsound("there is more behind the end of the bundle")),
        }
    }
}

/// The size of an entry that is the one that must come now.
fn expect_entry<R: Read>(entry: &tar::Entry<'_, R>, path: &str, mode: Mode) -> Result<u64, UnpackError> {
    let header = entry.header();
    let found = header.path_bytes();
    if *found != *path.as_bytes() {
        let found = String::from_utf8_lossy(&found).into_owned();
        return Err(unsound(format!("the bundle has {found:?} where {path:?} must come")));
    }
    if header.as_ustar().is_none() || header.entry_type() != EntryType::Regular {
        return Err(unsound(format!("{path} is not a regular file")));
    }
    let found = header.mode().map_err(broken)?;
    if found != mode.bits() {
        return Err(unsound(format!(
            "{path} has mode {found:04o}, and {mode} by the manifest"
        )));
    }
    header.entry_size().map_err(broken)
}

fn write_file(entry: &mut impl Read, file: &FileEntry, into: &Path) -> Result<(), UnpackError> {
    for folder in file.path.folders() {
        match fs::create_dir(into.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    let path = into.join(file.path.as_str());
    let mut out = durable::create_new(&path, 0o600)?;
    let mut hasher = Hasher::default();
    let mut left = file.size;
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let count = entry.read(&mut buffer).map_err(broken)?;
        if count == 0 {
            return Err(unsound(format!("the bundle breaks off in {}", file.path)));
        }
        hasher.update(&buffer[..count]);
        out.write_all(&buffer[..count])?;
        left = left.saturating_sub(count as u64);
    }
    if hasher.finish() != file.sha256 {
        return Err(unsound(format!(
            "{} has another SHA-256 than the manifest says",
            file.path
        )));
    }
    out.set_permissions(Permissions::from_mode(file.mode.bits()))?;
    Ok(())
}

/// What cannot be decoded is the bundle's fault; what cannot be read was set aside by [`Blaming`].
fn broken(error: io::Error) -> UnpackError {
    unsound(format!("the bundle is broken: {error}"))
}

/// Sets errors of the bundle's own file aside, and reads no more than may be.
struct Blaming<'a, R> {
    inner: R,
    ours: &'a mut Option<io::Error>,
    left: u64,
}

impl<R: Read> Read for Blaming<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let mut probe = [0];
            return match self.inner.read(&mut probe) {
                Ok(0) => Ok(0),
                Ok(_) => Err(io::Error::other("more bytes than a bundle may have")),
                Err(error) => Err(self.set_aside(error)),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        match self.inner.read(&mut buffer[..most]) {
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) => Err(self.set_aside(error)),
        }
    }
}

impl<R> Blaming<'_, R> {
    fn set_aside(&mut self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        let same = io::Error::new(error.kind(), error.to_string());
        *self.ours = Some(error);
        same
    }
}

/// Ends a bundle that unpacks to more than it may.
struct Expanding<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Expanding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("it unpacks to more than is allowed"))?;
        Ok(count)
    }
}
