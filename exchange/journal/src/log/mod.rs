//! The embedded journal: a log of segment files.
//!
//! # Layout
//!
//! ```text
//! DATA_DIR/lock                              held by the one process that may write
//! DATA_DIR/journal/genesis                   what the journal was made with, and its random id
//! DATA_DIR/journal/00000000000000000001.log  a segment, named by the first event it may hold
//! DATA_DIR/journal/spare.tmp                 the next segment, with its room on the disk
//! DATA_DIR/snapshots/….snapshot              named by the last event that the state includes
//! ```
//!
//! Records follow one another by `event_seq`, within segments and across them. A commit lies in one
//! segment. Its records are written with one call behind the durable end, then synced; only then is the
//! durable end moved. The bytes are laid out in `format.rs`.
//!
//! # Torn tail or damage
//!
//! A disk makes the sectors of a write durable in any order, so after a crash the last commit may be there
//! in any part: later records may be whole where earlier ones are not. Cutting that is right, since nothing
//! of it was acknowledged. A record that cannot be read among acknowledged ones is something else: cutting
//! there would lose orders, so the start must fail. The two look alike where the reading stops. They are
//! told apart by what lies behind:
//!
//! - Every record carries its index in its commit. A commit is written only when everything before it is
//!   durable. So a whole record with event `s` and index `k` proves: when it was written, all events up
//!   to `s - 1 - k` were durable.
//! - Say event `e` cannot be read. If behind that place a whole record stands whose proof covers `e`,
//!   then `e` was durable, perhaps acknowledged, and is now gone: damage. If no record proves it, then every
//!   whole record there belongs to the commit of `e` itself, which was not finished, or not told to be.
//! - A segment is made only when everything before its first event is durable. So its header proves the
//!   same for all segments before it: a gap there is always damage. A snapshot is kept only of what is
//!   durable, so it proves it too.
//! - Preallocated zeros are no record, prove nothing, and look the same as sectors that never arrived;
//!   no rule needs to tell them apart.
//! - That a record "stands there" means that 32 bits of checksum match which start from a random id that
//!   no client knows; a client cannot send bytes that pass for a record.
//!
//! What this cannot tell: damage to the very last commit before a crash, as nothing was written after it.
//! It is cut as a torn tail would be, and told, unless a snapshot or history has it, as after every orderly
//! end.
//! Sectors are taken to be written whole or not at all, as disks promise and other databases rely on.
//!
//! # After a failed write or sync
//!
//! When a sync fails, the kernel may drop the pages and call them clean: a later sync that succeeds proves
//! nothing about them. So nothing is written behind a failed commit. The segment is cut at its durable end,
//! that is synced, and only then a new segment is started, for the same events. If the process dies in
//! between, the next one reads what it finds: of a commit that was never acknowledged a part, from its
//! first record on, may stay as if it had been, once. It is written again in its place and synced before
//! anything relies on it, because it may have been read from pages that are not on the disk.
//! If a disk forgets even the cut, the next segment's header says which records count: those before its
//! first event.
//!
//! # Room
//!
//! A segment has all its room before it is named, and one spare always waits: commands that were taken
//! while [`Journal::has_room`](crate::Journal::has_room) held can be written without asking the disk for
//! more. The room is reserved (`fallocate`), not filled with zeros: that would make single commits a tenth
//! to a fifth faster, and write every byte twice.

pub(crate) mod directory;
mod embedded;
pub(crate) mod format;
mod reader;
mod segment;
mod spare;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use embedded::Embedded;
pub use reader::{Reader, Record, Records};

use crate::SnapshotStore;

/// How much of the journal stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retention {
    /// Everything, for ever: any moment of the past can be rebuilt.
    #[default]
    All,
    /// Whole segments go when the older kept snapshot and durable history make them needless.
    BehindSnapshot,
}

/// Settings of an embedded journal.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of a segment in bytes; at least 8 KiB. A commit larger than that gets a segment of its own.
    pub segment_bytes: u64,
    /// Room that must be free on the disk beside what is preallocated, in bytes: less is "no room".
    pub reserve_bytes: u64,
    /// How much of the journal stays.
    pub retention: Retention,
    /// How often the free room is looked at, and a spare segment tried again.
    pub room_check_interval: Duration,
    /// Whether spare segments are made by a thread of their own, so that no commit waits for it.
    pub spare_in_background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            reserve_bytes: 64 << 20,
            retention: Retention::All,
            room_check_interval: Duration::from_millis(100),
            spare_in_background: true,
        }
    }
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The segment's file.
    pub segment: Arc<Path>,
    /// The record's first byte in it.
    pub offset: u64,
}

/// Bytes behind the last whole record that are not a record: what a crash in the middle of a write
/// leaves. They were never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Where they start.
    pub position: Position,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
    /// How much shorter the file is than it was made.
    pub missing_bytes: u64,
    /// The last event before them; 0 if there is none.
    pub last_event_seq: u64,
}

/// Something that lies elsewhere and shows which events were durable: it is kept of durable events only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// All events up to this one.
    pub(crate) through: u64,
    /// What shows it.
    pub(crate) by: &'static str,
}

/// What opening a journal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// The oldest event that is kept; one more than the last if there is none.
    pub first_event_seq: u64,
    /// The last event; 0 if there is none.
    pub last_event_seq: u64,
    /// How many segments there are.
    pub segments: usize,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Tail>,
    /// Whether the journal was made by this call.
    pub created: bool,
}

/// A journal that is open for writing, with what belongs to it.
pub struct Opened {
    /// The journal.
    pub journal: Embedded,
    /// Its snapshots.
    pub snapshots: SnapshotStore,
    /// The bytes that the journal was made with.
    pub genesis: Vec<u8>,
    /// What was found.
    pub report: OpenReport,
}
