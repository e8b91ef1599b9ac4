//! Finding the end of a log: the last commit that is whole.

use std::fs::File;
use std::io;

use super::HistoryError;
use super::format::{BLOCK_BYTES, Block, COMMIT_BYTES, Commit, Digest, ENTRY_BYTES, Entry, PAYLOAD_MAX_BYTES, Seed};
use super::index::Index;
use super::state::State;
use crate::storage::StorageFile;

const WINDOW_BYTES: u64 = 1 << 20;

/// Brings the state and the index from where they stand to the last whole commit. Nothing is cut: what
/// follows is cut when something is written.
pub(super) fn scan(file: &File, seed: Seed, state: &mut State, index: &mut Index) -> Result<(), HistoryError> {
    let length = file.metadata()?.len();
    let mut window = Window {
        file,
        length,
        start: state.end,
        bytes: Vec::new(),
    };
    let (mut blocks, mut entries) = (Vec::new(), Vec::new());
    while let Some((commit, checksum)) = next_commit(&mut window, seed, state, &mut blocks, &mut entries)? {
        for (place, block) in blocks.drain(..) {
            let tail = state.tail_mut(block.stream);
            // Checksums are right: only a bug, or somebody who makes them, gets here.
            if block.links != tail.links() || block.ordinal != tail.count {
                return Err(HistoryError::damaged(block.stream.name()));
            }
            tail.push(place, block.count.into());
        }
        for (place, entry) in entries.drain(..) {
            if index.replace(entry.key, place) != entry.previous {
                return Err(HistoryError::damaged("orders"));
            }
        }
        index.keep();
        state.apply(&commit, checksum);
    }
    Ok(())
}

/// The commit at the end, if it is whole: its blocks and entries, and its checksum.
fn next_commit(
    window: &mut Window<'_>,
    seed: Seed,
    state: &State,
    blocks: &mut Vec<(u64, Block)>,
    entries: &mut Vec<(u64, Entry)>,
) -> io::Result<Option<(Commit, u32)>> {
    blocks.clear();
    entries.clear();
    let start = state.end;
    let header = window.at(start, COMMIT_BYTES)?;
    let Some((commit, checksum, parts)) = Commit::decode(header, seed, state.checksum, start) else {
        return Ok(None);
    };
    let Some(end) = start.checked_add(commit.length).filter(|end| *end <= window.length) else {
        return Ok(None);
    };
    let mut digest = Digest::default();
    let mut place = start + COMMIT_BYTES as u64;
    for _ in 0..commit.blocks {
        let bytes = window.at(place, BLOCK_BYTES + PAYLOAD_MAX_BYTES)?;
        let Some(block) = Block::decode(bytes, seed, place) else {
            return Ok(None);
        };
        let length = BLOCK_BYTES + block.payload_bytes;
        if !bytes
            .get(BLOCK_BYTES..length)
            .is_some_and(|payload| block.is_payload(payload))
        {
            return Ok(None);
        }
        digest.add(block.checksum);
        blocks.push((place, block));
        place += length as u64;
    }
    for _ in 0..commit.entries {
        let Some((entry, checksum)) = Entry::decode(window.at(place, ENTRY_BYTES)?, seed, place) else {
            return Ok(None);
        };
        digest.add(checksum);
        entries.push((place, entry));
        place += ENTRY_BYTES as u64;
    }
    Ok((place == end && digest == parts).then_some((commit, checksum)))
}

/// The part of the file that is looked at.
struct Window<'a> {
    file: &'a File,
    /// Of the file.
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// So many bytes from a place on, which never goes back; fewer at the end of the file.
    fn at(&mut self, place: u64, count: usize) -> io::Result<&[u8]> {
        let left = self.length.saturating_sub(place);
        let count = left.min(count as u64) as usize;
        if self.start + (self.bytes.len() as u64) < place + count as u64 {
            self.bytes.resize(left.min(WINDOW_BYTES) as usize, 0);
            let read = self.file.read_at(&mut self.bytes, place)?;
            self.bytes.truncate(read);
            self.start = place;
        }
        let bytes = &self.bytes[(place - self.start) as usize..];
        Ok(&bytes[..bytes.len().min(count)])
    }
}
