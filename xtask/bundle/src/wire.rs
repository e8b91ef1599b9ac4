//! What `deploy` and `uat-gate` say to each other over the standard input and output of one SSH connection.
//!
//! The client writes one line of JSON, a [`Request`] of at most [`crate::limits::Limits::request_bytes`], and for
//! [`Ask::Submit`], once it reads [`Answer::Go`], the bytes of the bundle from that offset on. The gate writes
//! [`Answer`]s, one a line; after [`Answer::File`] come exactly that file's bytes. The last answer is always
//! [`Answer::Done`], [`Answer::Again`] or [`Answer::Refused`]: without one of them the connection broke.
//!
//! A result goes home in the same words, from UAT's daemon to the standard input of `optivex-receive` on the dev machine:
//! [`Answer::Job`], then an [`Answer::File`] with its bytes for each file, then [`Answer::Done`]. The receiver answers
//! with one line, [`Answer::Done`] once all of it is on disk, or [`Answer::Refused`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::{Digest, SubmissionId};
use crate::spool::{Receipt, ResultFile, State};

/// The version that this crate speaks.
pub const VERSION: u32 = 1;

/// What a client asks for. Who it is comes from its key, and from nothing that it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// The request itself.
    pub ask: Ask,
}

impl Request {
    /// In the current version.
    pub fn new(ask: Ask) -> Self {
        Self { v: VERSION, ask }
    }
}

/// All that can be asked for. Where an id may be left out, the newest is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Take a bundle. Answers: `Go` unless it is there already; after the bytes `Receipt`.
    Submit {
        /// Hash of the whole bundle.
        sha256: Digest,
        /// Bytes of the whole bundle.
        size: u64,
        /// The contract that it was built against.
        contract: Digest,
    },
    /// What became of one's deployments. Answers: `Uat`; `Job`s, newest first; with `follow` then `Progress`.
    Status {
        /// Only this one.
        id: Option<SubmissionId>,
        /// Tell the events of this one as they come, from this offset on, until it is over.
        follow: Option<u64>,
    },
    /// The submission's own log. Answers: `Log`.
    Logs {
        /// Of which.
        id: Option<SubmissionId>,
        /// From this offset on.
        from: u64,
    },
    /// All files of a result. Answers: `Job`, then `File`s.
    Results {
        /// Of which.
        id: Option<SubmissionId>,
    },
    /// Do not judge it, or stop. Answers: `Job`.
    Cancel {
        /// Which.
        id: SubmissionId,
    },
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Send the bytes from this offset on: so many of them are here already.
    Go {
        /// Bytes that are here.
        offset: u64,
    },
    /// It is on disk, and will be judged: this is the promise.
    Receipt {
        /// What was promised.
        receipt: Receipt,
        /// What became of it so far: the same bundle may have been here before.
        state: State,
        /// What else there is to know: UAT is paused, the contract differs.
        notes: Vec<String>,
    },
    /// How UAT is.
    Uat {
        /// In one line each; none when all is well.
        notes: Vec<String>,
    },
    /// One deployment.
    Job {
        /// What was promised.
        receipt: Receipt,
        /// What became of it.
        state: State,
    },
    /// An event of a deployment that runs: a line of `stages.jsonl`.
    Progress {
        /// The offset behind it.
        next: u64,
        /// See [`crate::progress::Event`].
        event: Value,
    },
    /// A part of a log.
    Log {
        /// The offset behind it.
        next: u64,
        /// What is no UTF-8 is replaced.
        text: String,
    },
    /// A file, whose bytes follow this line.
    File {
        /// Its name.
        name: ResultFile,
        /// Its length in bytes.
        size: u64,
        /// Its hash.
        sha256: Digest,
    },
    /// Nothing: it shows that the connection lives.
    Alive,
    /// That was all.
    Done,
    /// This connection lasted long enough: ask again, from where you are.
    Again,
    /// No.
    Refused {
        /// What kind of no.
        reason: Reason,
        /// For people.
        message: String,
    },
}

/// Why the gate said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not a request.
    Malformed,
    /// Another version of this protocol.
    Version,
    /// More than may be sent.
    TooBig,
    /// The bytes that came are not those that were announced; they are thrown away, so all are to be sent again.
    WrongHash,
    /// The client said nothing for too long, or hung up.
    Silence,
    /// Too many connections or deployments of this participant at once.
    TooMany,
    /// There is no such deployment of this participant.
    Unknown,
    /// It is not over, so there is no result.
    NotYet,
    /// It is over already.
    Over,
    /// UAT has no room.
    DiskFull,
    /// UAT has trouble of its own.
    Ours,
}

impl Reason {
    /// Whether the same request may be answered differently in a moment.
    pub const fn passes(self) -> bool {
        matches!(self, Reason::Silence | Reason::TooMany | Reason::WrongHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_short_line() {
        let sha256 = Digest::of(b"x");
        let request = Request::new(Ask::Submit {
            sha256,
            size: u64::MAX,
            contract: sha256,
        });
        let line = serde_json::to_string(&request).expect("JSON");
        assert!(line.len() < 512 && !line.contains('\n'), "{line}");
        assert_eq!(serde_json::from_str::<Request>(&line).expect("read"), request);
        for (text, ask) in [
            (r#"{"v":1,"ask":{"status":{}}}"#, Ask::Status { id: None, follow: None }),
            (r#"{"v":1,"ask":{"results":{"id":null}}}"#, Ask::Results { id: None }),
        ] {
            assert_eq!(serde_json::from_str::<Request>(text).expect(text).ask, ask);
        }
    }

    #[test]
    fn what_is_not_a_request() {
        for text in [
            "",
            "{}",
            r#"{"v":1}"#,
            r#"{"v":1,"ask":"shell"}"#,
            r#"{"v":1,"ask":{"status":{}},"participant":"bob"}"#,
            r#"{"v":1,"ask":{"status":{"id":null,"participant":"bob"}}}"#,
            r#"{"v":1,"ask":{"status":{},"cancel":{"id":"0123456789abcdef"}}}"#,
            r#"{"v":1,"ask":{"results":{"id":"../../../bob/0"}}}"#,
            r#"{"v":1,"ask":{"submit":{"sha256":"x","size":1,"contract":"x"}}}"#,
            r#"{"v":1,"ask":{"cancel":{}}}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
