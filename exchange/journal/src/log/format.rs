//! Bytes of a segment: its header, and the frame around each record. All numbers are little-endian.
//!
//! ```text
//! segment   header (4096 bytes), records one after another, zeros up to the segment's capacity
//! header    0 magic (8) | 8 version (u32) | 12 zero (u32) | 16 journal id (16) | 32 first event_seq (u64)
//!           | 40 capacity in bytes (u64) | 48 zeros | 4092 CRC32C of bytes 0..4092 (u32)
//! record    0 CRC32C of what follows (u32) | 4 payload length (u32) | 8 event_seq (u64)
//!           | 16 index in its commit (u32) | 20 payload
//! ```
//!
//! A record's checksum starts from one over the journal's id and the segment's first event, so that
//! neither blocks that the file system used for another file before, nor bytes that a client sent as
//! part of a command, ever pass for a record here.

use crate::MAX_RECORD_BYTES;

/// Bytes before the first record. A block of its own: no record shares a sector with the header.
pub(crate) const HEADER_BYTES: u64 = 4096;

/// Bytes before each record's payload.
pub(crate) const FRAME_BYTES: usize = 20;

const MAGIC: [u8; 8] = *b"OPTVXLOG";
const VERSION: u32 = 1;

/// Tells one journal's files from another's.
pub(crate) type JournalId = [u8; 16];

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) journal: JournalId,
    /// The first event that the segment may hold. All events before it were durable when the segment
    /// was made.
    pub(crate) first_event_seq: u64,
    /// How long the file was made.
    pub(crate) capacity: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.journal);
        bytes[32..40].copy_from_slice(&self.first_event_seq.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.capacity.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..4092]);
        bytes[4092..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header; what is wrong with it otherwise.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < HEADER_BYTES as usize {
            return Err(format!(
                "the file has {} bytes, a header has {HEADER_BYTES}",
                bytes.len()
            ));
        }
        if bytes[0..8] != MAGIC {
            return Err("it does not start as a segment does".to_owned());
        }
        if u32_at(bytes, 4092) != crc32c::crc32c(&bytes[..4092]) {
            return Err("the header's checksum does not match".to_owned());
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(format!(
                "its format is version {version}, this program reads version {VERSION}"
            ));
        }
        let journal = bytes[16..32].try_into().expect("16 bytes");
        Ok(Self {
            journal,
            first_event_seq: u64_at(bytes, 32),
            capacity: u64_at(bytes, 40),
        })
    }

    /// Where the checksums of the segment's records start from.
    pub(crate) fn seed(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.journal), &self.first_event_seq.to_le_bytes())
    }
}

/// What stands before a record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    checksum: u32,
    pub(crate) length: usize,
    pub(crate) event_seq: u64,
    /// How many records of the same commit come before this one.
    pub(crate) index: u32,
}

impl Frame {
    /// Reads the frame at the start of `bytes`; `None` if there are too few or if no record has such a frame.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < FRAME_BYTES {
            return None;
        }
        let frame = Self {
            checksum: u32_at(bytes, 0),
            length: u32_at(bytes, 4) as usize,
            event_seq: u64_at(bytes, 8),
            index: u32_at(bytes, 16),
        };
        let sound =
            frame.length <= MAX_RECORD_BYTES && frame.event_seq > u64::from(frame.index) && frame.event_seq < u64::MAX;
        sound.then_some(frame)
    }

    /// Bytes of the whole record.
    pub(crate) fn record_bytes(&self) -> usize {
        FRAME_BYTES + self.length
    }

    /// Whether the checksum is the one of `record`, which starts with this frame.
    pub(crate) fn matches(&self, seed: u32, record: &[u8]) -> bool {
        crc32c::crc32c_append(seed, &record[4..self.record_bytes()]) == self.checksum
    }

    /// All events up to this one were durable when the record was written.
    pub(crate) fn durable_when_written(&self) -> u64 {
        self.event_seq - 1 - u64::from(self.index)
    }
}

/// Appends one record.
pub(crate) fn append_record(bytes: &mut Vec<u8>, seed: u32, event_seq: u64, index: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("records are bounded by MAX_RECORD_BYTES");
    let mut frame = [0; FRAME_BYTES];
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[8..16].copy_from_slice(&event_seq.to_le_bytes());
    frame[16..20].copy_from_slice(&index.to_le_bytes());
    let start = bytes.len();
    bytes.extend_from_slice(&frame);
    bytes.extend_from_slice(payload);
    let checksum = crc32c::crc32c_append(seed, &bytes[start + 4..]);
    bytes[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// The number at an offset that the caller knows to be within the bytes.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("4 bytes"))
}

/// The number at an offset that the caller knows to be within the bytes.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_of_a_header_is_seen() {
        let header = SegmentHeader {
            journal: [7; 16],
            first_event_seq: 42,
            capacity: 65_536,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for offset in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[offset] ^= 0x10;
            assert!(SegmentHeader::decode(&changed).is_err(), "byte {offset}");
        }
    }

    #[test]
    fn a_record_counts_only_in_its_own_segment() {
        let here = SegmentHeader {
            journal: [1; 16],
            first_event_seq: 10,
            capacity: 0,
        };
        let mut bytes = Vec::new();
        append_record(&mut bytes, here.seed(), 12, 1, b"payload");
        let frame = Frame::decode(&bytes).expect("a whole frame");
        assert_eq!(
            (frame.event_seq, frame.index, frame.length, frame.durable_when_written()),
            (12, 1, 7, 10)
        );
        assert!(frame.matches(here.seed(), &bytes));
        for other in [
            SegmentHeader {
                journal: [2; 16],
                ..here
            },
            SegmentHeader {
                first_event_seq: 11,
                ..here
            },
        ] {
            assert!(!frame.matches(other.seed(), &bytes));
        }
    }
}
