//! Bytes of history's log. All numbers are little-endian; a place is an offset in the file, 0 is none.
//!
//! ```text
//! log       header (4096 bytes), commits one after another
//! header    0 magic (8) | 8 version (u32) | 12 buckets of the index, as a power of two (u32)
//!           | 16 id (16) | 32 zeros | 4092 CRC32C of bytes 0..4092 (u32)
//! commit    0 CRC32C of bytes 4..40 (u32) | 4 CRC32C of its parts' CRCs (u32) | 8 its length in bytes (u64)
//!           | 16 last event_seq (u64) | 24 last trade_id so far (u64) | 32 blocks (u32) | 36 entries (u32)
//!           | 40 blocks | entries
//! block     0 CRC32C of bytes 4..56 (u32) | 4 payload length (u32) | 8 kind of stream (u32)
//!           | 12 user or instrument (u32) | 16 number of its first message (u64)
//!           | 24 messages of the stream before it (u64) | 32 messages in it (u32)
//!           | 36 place of the stream's block before (u64) | 44 place of one further back (u64)
//!           | 52 CRC32C of the payload (u32) | 56 payload: messages, each after its length
//! entry     0 CRC32C of what follows (u32) | 4 offset of a message in its block's payload (u32)
//!           | 8 key (u64) | 16 place of the block (u64) | 24 place of the bucket's entry before (u64)
//! ```
//!
//! Checksums start from one over the log's id and the place, so that nothing passes for what it is not
//! where it does not belong; a commit's starts from the one of the commit before, too, so that what a
//! crash left behind the end never follows what is written there later.

use optivex_engine::types::{InstrumentId, UserId};

use crate::log::format::{u32_at, u64_at};

/// Bytes before the first commit. A block of its own: no commit shares a sector with it.
pub(super) const HEADER_BYTES: u64 = 4096;
pub(super) const COMMIT_BYTES: usize = 40;
pub(super) const BLOCK_BYTES: usize = 56;
pub(super) const ENTRY_BYTES: usize = 32;
/// A block gets no further message once its payload is this large: reading one message reads its block.
pub(super) const PAYLOAD_FULL_BYTES: usize = 8 << 10;
/// Longest payload: one message, at most 16 KiB, comes last.
pub(super) const PAYLOAD_MAX_BYTES: usize = PAYLOAD_FULL_BYTES + (1 << 14);
/// Version 1 was a database.
pub(super) const VERSION: u32 = 2;
/// No block, no entry.
pub(super) const NOWHERE: u64 = 0;

const MAGIC: [u8; 8] = *b"OPTVXHIS";
const BUCKET_BITS_MAX: u32 = 32;

/// Tells one history from another.
pub(super) type HistoryId = [u8; 16];

/// What the log says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogHeader {
    pub(super) id: HistoryId,
    /// The index of done orders has `1 << bucket_bits` buckets.
    pub(super) bucket_bits: u32,
}

/// Why a log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Damaged,
    Version(u32),
}

impl LogHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.bucket_bits.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id);
        let checksum = crc32c::crc32c(&bytes[..4092]);
        bytes[4092..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() < HEADER_BYTES as usize
            || bytes[0..8] != MAGIC
            || u32_at(bytes, 4092) != crc32c::crc32c(&bytes[..4092])
        {
            return Err(Unreadable::Damaged);
        }
        let (version, bucket_bits) = (u32_at(bytes, 8), u32_at(bytes, 12));
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        if bucket_bits > BUCKET_BITS_MAX {
            return Err(Unreadable::Damaged);
        }
        let id = bytes[16..32].try_into().expect("16 bytes");
        Ok(Self { id, bucket_bits })
    }

    /// Where all checksums start from.
    pub(super) fn seed(&self) -> Seed {
        Seed(crc32c::crc32c(&self.id))
    }
}

/// Checksums of one log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u32);

impl Seed {
    fn at(self, place: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &place.to_le_bytes()), bytes)
    }

    fn after(self, previous: u32, place: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(Seed(self.0 ^ previous).at(place, &[]), bytes)
    }
}

/// Checksum over the checksums of a commit's parts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Digest(u32);

impl Digest {
    pub(super) fn add(&mut self, checksum: u32) {
        self.0 = crc32c::crc32c_append(self.0, &checksum.to_le_bytes());
    }
}

/// What stands before a commit's blocks and entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) length: u64,
    pub(super) watermark: u64,
    pub(super) last_trade_id: u64,
    pub(super) blocks: u32,
    pub(super) entries: u32,
}

impl Commit {
    /// Writes the header; its checksum.
    pub(super) fn encode(&self, bytes: &mut [u8], seed: Seed, previous: u32, place: u64, parts: Digest) -> u32 {
        bytes[4..8].copy_from_slice(&parts.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.watermark.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last_trade_id.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.entries.to_le_bytes());
        let checksum = seed.after(previous, place, &bytes[4..COMMIT_BYTES]);
        bytes[0..4].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }

    /// The header, its checksum and that of the parts; none if there is no such commit.
    pub(super) fn decode(bytes: &[u8], seed: Seed, previous: u32, place: u64) -> Option<(Self, u32, u32)> {
        if bytes.len() < COMMIT_BYTES {
            return None;
        }
        let checksum = seed.after(previous, place, &bytes[4..COMMIT_BYTES]);
        let commit = Self {
            length: u64_at(bytes, 8),
            watermark: u64_at(bytes, 16),
            last_trade_id: u64_at(bytes, 24),
            blocks: u32_at(bytes, 32),
            entries: u32_at(bytes, 36),
        };
        (checksum == u32_at(bytes, 0)).then_some((commit, checksum, u32_at(bytes, 4)))
    }
}

impl PartialEq<u32> for Digest {
    fn eq(&self, other: &u32) -> bool {
        self.0 == *other
    }
}

/// Messages that belong together, numbered upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// `optivex.v1.ExecutionReport` of a user, by `report_seq`.
    Reports(UserId),
    /// `optivex.v1.Trade` of all instruments, by `trade_id`.
    Trades,
    /// `optivex.v1.Trade` of one instrument, by `trade_id`.
    InstrumentTrades(InstrumentId),
    /// Symbols, by instrument.
    Symbols,
}

impl Stream {
    fn encode(self) -> (u32, u32) {
        match self {
            Self::Reports(user) => (1, user.0),
            Self::Trades => (2, 0),
            Self::InstrumentTrades(instrument) => (3, instrument.0),
            Self::Symbols => (4, 0),
        }
    }

    fn decode(kind: u32, id: u32) -> Option<Self> {
        Some(match kind {
            1 => Self::Reports(UserId(id)),
            2 => Self::Trades,
            3 => Self::InstrumentTrades(InstrumentId(id)),
            4 => Self::Symbols,
            _ => return None,
        })
    }

    /// How errors call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reports(_) => "reports",
            Self::Trades => "trades",
            Self::InstrumentTrades(_) => "instrument trades",
            Self::Symbols => "symbols",
        }
    }
}

/// What stands before a block's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Of the header.
    pub(super) checksum: u32,
    payload_checksum: u32,
    pub(super) stream: Stream,
    pub(super) payload_bytes: usize,
    /// Number of its first message.
    pub(super) first: u64,
    /// Messages of the stream before it.
    pub(super) ordinal: u64,
    /// Messages in it.
    pub(super) count: u32,
    pub(super) links: Links,
}

/// From a block to earlier ones of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// The one before.
    pub(super) previous: u64,
    /// One further back: see [`super::stream::Tail`].
    pub(super) jump: u64,
}

impl Block {
    /// For a block that is to be written; [`Block::encode`] makes the checksum.
    pub(super) fn new(stream: Stream, first: u64, ordinal: u64, links: Links) -> Self {
        Self {
            checksum: 0,
            payload_checksum: 0,
            stream,
            payload_bytes: 0,
            first,
            ordinal,
            count: 0,
            links,
        }
    }

    /// Writes the header before its payload, which is there already; the checksum.
    pub(super) fn encode(&self, block: &mut [u8], seed: Seed, place: u64) -> u32 {
        let (kind, id) = self.stream.encode();
        let length = u32::try_from(block.len() - BLOCK_BYTES).expect("bounded by PAYLOAD_MAX_BYTES");
        block[4..8].copy_from_slice(&length.to_le_bytes());
        block[8..12].copy_from_slice(&kind.to_le_bytes());
        block[12..16].copy_from_slice(&id.to_le_bytes());
        block[16..24].copy_from_slice(&self.first.to_le_bytes());
        block[24..32].copy_from_slice(&self.ordinal.to_le_bytes());
        block[32..36].copy_from_slice(&self.count.to_le_bytes());
        block[36..44].copy_from_slice(&self.links.previous.to_le_bytes());
        block[44..52].copy_from_slice(&self.links.jump.to_le_bytes());
        let payload_checksum = crc32c::crc32c(&block[BLOCK_BYTES..]);
        block[52..56].copy_from_slice(&payload_checksum.to_le_bytes());
        let checksum = seed.at(place, &block[4..BLOCK_BYTES]);
        block[0..4].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }

    /// The header; none if there is no block.
    pub(super) fn decode(bytes: &[u8], seed: Seed, place: u64) -> Option<Self> {
        let bytes = bytes.get(..BLOCK_BYTES)?;
        let block = Self {
            checksum: u32_at(bytes, 0),
            payload_bytes: u32_at(bytes, 4) as usize,
            stream: Stream::decode(u32_at(bytes, 8), u32_at(bytes, 12))?,
            first: u64_at(bytes, 16),
            ordinal: u64_at(bytes, 24),
            count: u32_at(bytes, 32),
            links: Links {
                previous: u64_at(bytes, 36),
                jump: u64_at(bytes, 44),
            },
            payload_checksum: u32_at(bytes, 52),
        };
        let is_sound = block.payload_bytes <= PAYLOAD_MAX_BYTES
            && block.links.jump <= block.links.previous
            && block.links.previous < place
            && seed.at(place, &bytes[4..]) == block.checksum;
        is_sound.then_some(block)
    }

    /// Whether this is the block's payload.
    pub(super) fn is_payload(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes && crc32c::crc32c(payload) == self.payload_checksum
    }
}

/// From a key to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Offset of the message in its block's payload.
    pub(super) offset: u32,
    pub(super) key: u64,
    /// Place of the block.
    pub(super) block: u64,
    /// Place of the entry before in the same bucket.
    pub(super) previous: u64,
}

impl Entry {
    /// Appends the entry; its checksum.
    pub(super) fn encode(&self, out: &mut Vec<u8>, seed: Seed, place: u64) -> u32 {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[4..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.key.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.block.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous.to_le_bytes());
        let checksum = seed.at(place, &bytes[4..]);
        bytes[0..4].copy_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&bytes);
        checksum
    }

    /// The entry and its checksum, if that is right.
    pub(super) fn decode(bytes: &[u8], seed: Seed, place: u64) -> Option<(Self, u32)> {
        let bytes = bytes.get(..ENTRY_BYTES)?;
        let checksum = u32_at(bytes, 0);
        let entry = Self {
            offset: u32_at(bytes, 4),
            key: u64_at(bytes, 8),
            block: u64_at(bytes, 16),
            previous: u64_at(bytes, 24),
        };
        (seed.at(place, &bytes[4..]) == checksum).then_some((entry, checksum))
    }
}
