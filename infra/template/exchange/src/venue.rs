//! The venue: instruments, order books, positions, limits, and the one order in which everything happens.
//!
//! This is the seam that decides whether your exchange is right. The server runs every call as a task of its own, on
//! several threads: two inserts, an insert and a cancel, a subscription and a trade meet here at the same moment. The
//! contract answers with one number: `event_seq`, 1, 2, 3, … over all instruments and users. An event is a whole:
//! nobody ever sees half of it. So before you write the first order book, decide who gives that number, and what must
//! have happened when it is given. Then ask your decision:
//!
//! - An insert that trades: can anybody see the book changed and the position not yet?
//! - A subscription is a snapshot and then changes. What happens to the change that comes between the two?
//! - An instrument is in `ListInstruments`: can it be traded and subscribed to at that very moment?
//! - Two orders of one user, each within the limit, together over it. Who counts, and when?
//! - A client that does not read what it subscribed to: who waits for it?
//!
//! A single writer that owns all of this answers most of these at once. Locks answer them one at a time. What belongs to
//! no order (who is logged in, who is subscribed) need not be in it.
//!
//! Keep it free of gRPC, clocks and files, and you can test it a million orders at a time, and run it again.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::config::Settings;
use crate::users::{self, User};

/// The venue. The services share one.
pub struct Venue {
    /// Who may log in.
    pub users: Vec<User>,
    /// Where all lives that must outlive the process.
    pub data_dir: PathBuf,
}

impl Venue {
    /// Brings it up; it is ready when this returns.
    ///
    /// Here it learns what it was. A command whose answer left the exchange has happened, whatever happens to the process
    /// then: `kill -9` is how the system tests end it. What is the least that you must write to know all of it again, and
    /// when, seen from the answer? The directory may be empty, or be left by a process that died in the middle of a write.
    /// Sessions and subscriptions end with the process; orders, trades, positions, limits and the answers to client ids
    /// do not.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let users = users::read(&settings.users)?;
        let data_dir = settings.data_dir.clone();
        fs::create_dir_all(&data_dir).with_context(|| format!("data directory {}", data_dir.display()))?;
        tracing::info!(users = users.len(), data_dir = %data_dir.display(), "venue is open");
        Ok(Self { users, data_dir })
    }

    /// Takes it down after the last answer. Nothing may depend on that: a kill comes without it.
    pub fn close(&self) {
        tracing::info!("venue is closed");
    }
}
