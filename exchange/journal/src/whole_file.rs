//! Files that are there whole or not at all: written under another name, synced, then renamed.
//!
//! ```text
//! 0 magic (8) | 8 version (u32) | 12 CRC32C of the content (u32) | 16 journal id (16) | 32 number (u64)
//! | 40 content length (u64) | 48 zeros | 60 CRC32C of bytes 0..60 (u32) | 64 content
//! ```

use std::path::{Path, PathBuf};

use crate::JournalError;
use crate::log::format::{JournalId, u32_at, u64_at};
use crate::storage::{Storage, StorageFile};

const HEADER_BYTES: usize = 64;
const VERSION: u32 = 1;

/// Bytes written between two syncs: a large file must not fill the disk's queue in one go, where the
/// journal's commits would wait behind it.
const SYNC_EVERY_BYTES: usize = 4 << 20;

/// What a whole file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WholeHeader {
    pub(crate) journal: JournalId,
    pub(crate) number: u64,
    pub(crate) length: u64,
    checksum: u32,
}

/// The name under which a file is written before it is whole.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Writes the file in place of what was there; durable when this returns.
pub(crate) fn write(
    storage: &dyn Storage,
    path: &Path,
    magic: [u8; 8],
    journal: JournalId,
    number: u64,
    content: &[u8],
) -> Result<(), JournalError> {
    let under_way = temporary(path);
    let mut header = [0; HEADER_BYTES];
    header[0..8].copy_from_slice(&magic);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&crc32c::crc32c(content).to_le_bytes());
    header[16..32].copy_from_slice(&journal);
    header[32..40].copy_from_slice(&number.to_le_bytes());
    header[40..48].copy_from_slice(&(content.len() as u64).to_le_bytes());
    let checksum = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&checksum.to_le_bytes());

    let file = storage
        .create(&under_way)
        .map_err(JournalError::file("create", &under_way))?;
    let written = (|| {
        file.write_all_at(&header, 0)?;
        for (part, bytes) in content.chunks(SYNC_EVERY_BYTES).enumerate() {
            file.write_all_at(bytes, (HEADER_BYTES + part * SYNC_EVERY_BYTES) as u64)?;
            file.sync()?;
        }
        file.sync()
    })();
    if let Err(error) = written {
        drop(file);
        // The room is worth more than the half; the next start removes it if this does not.
        let _ = storage.remove(&under_way);
        return Err(JournalError::file("write", &under_way)(error));
    }
    storage
        .rename(&under_way, path)
        .map_err(JournalError::file("rename a file to", path))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    storage
        .sync_directory(directory)
        .map_err(JournalError::file("sync", directory))
}

/// Reads and checks the header alone.
pub(crate) fn read_header(
    storage: &dyn Storage,
    path: &Path,
    magic: [u8; 8],
) -> Result<(WholeHeader, Box<dyn StorageFile>), JournalError> {
    let damaged = |why: String| JournalError::Damaged {
        segment: path.to_owned(),
        offset: 0,
        event_seq: 0,
        why,
    };
    let failed = JournalError::file("read", path);
    let file = storage.open(path).map_err(JournalError::file("open", path))?;
    let mut header = [0; HEADER_BYTES];
    let (count, length) = match file
        .read_at(&mut header, 0)
        .and_then(|count| Ok((count, file.length()?)))
    {
        Ok(answer) => answer,
        Err(error) => return Err(failed(error)),
    };
    if count < HEADER_BYTES {
        return Err(damaged(format!(
            "the file has {count} bytes, a header has {HEADER_BYTES}"
        )));
    }
    if header[0..8] != magic {
        return Err(damaged("it is not a file of this kind".to_owned()));
    }
    if u32_at(&header, 60) != crc32c::crc32c(&header[..60]) {
        return Err(damaged("the header's checksum does not match".to_owned()));
    }
    let version = u32_at(&header, 8);
    if version != VERSION {
        return Err(damaged(format!(
            "its format is version {version}, this program reads version {VERSION}"
        )));
    }
    let journal = header[16..32].try_into().expect("16 bytes");
    let answer = WholeHeader {
        journal,
        number: u64_at(&header, 32),
        length: u64_at(&header, 40),
        checksum: u32_at(&header, 12),
    };
    if answer.length.checked_add(HEADER_BYTES as u64) != Some(length) {
        return Err(damaged(format!(
            "the file has {length} bytes, its content alone has {}",
            answer.length
        )));
    }
    Ok((answer, file))
}

/// Reads and checks all of it.
pub(crate) fn read(storage: &dyn Storage, path: &Path, magic: [u8; 8]) -> Result<(WholeHeader, Vec<u8>), JournalError> {
    let (header, file) = read_header(storage, path, magic)?;
    // Not more than the file has: read_header has compared the two.
    let mut content = vec![0; header.length as usize];
    let count = file
        .read_at(&mut content, HEADER_BYTES as u64)
        .map_err(JournalError::file("read", path))?;
    if count < content.len() || crc32c::crc32c(&content) != header.checksum {
        let why = "the content's checksum does not match".to_owned();
        return Err(JournalError::Damaged {
            segment: path.to_owned(),
            offset: HEADER_BYTES as u64,
            event_seq: 0,
            why,
        });
    }
    Ok((header, content))
}
