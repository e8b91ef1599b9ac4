//! Every bound of the hand-off and of a run, in one value.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a participant may use. Whatever comes from outside is held against one of these where it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    // On the wire.
    /// Bytes of one request line, its newline included.
    pub request_bytes: u64,
    /// Bytes of one line that answers, its newline included.
    pub answer_bytes: u64,
    /// Seconds without a byte, either way, after which the gate hangs up.
    pub idle_seconds: u64,
    /// Seconds that one connection to the gate may take in all.
    pub connection_seconds: u64,
    /// Bytes of a bundle as it is sent.
    pub bundle_bytes: u64,
    /// Connections of one participant to the gate at a time.
    pub connections: u64,
    /// Transfers of one participant at a time, and broken ones that are kept for going on.
    pub transfers: u64,
    /// Deployments of one participant that may wait: newer ones replace them as soon as the daemon looks.
    pub waiting: u64,
    /// Bytes that must stay free on the spool's file system, or nothing is taken.
    pub disk_reserve_bytes: u64,

    // In a bundle.
    /// Bytes of `manifest.json`.
    pub manifest_bytes: u64,
    /// Files, without the manifest.
    pub files: u64,
    /// Bytes of one path.
    pub path_bytes: u64,
    /// Names in one path.
    pub path_depth: u64,
    /// Bytes of all files, unpacked.
    pub unpacked_bytes: u64,
    /// Words of the start command.
    pub start_words: u64,
    /// Bytes of the start command.
    pub start_bytes: u64,

    // Of a submission that runs.
    /// Seconds until it must answer health with SERVING: the contract's.
    pub start_seconds: u64,
    /// Seconds of wall time for all stages.
    pub wall_seconds: u64,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_seconds: u64,
    /// Hundredths of one processor.
    pub cpu_percent: u64,
    /// Seconds of processor time of one process.
    pub cpu_seconds: u64,
    /// Bytes of memory, all processes together.
    pub memory_bytes: u64,
    /// Processes and threads at a time.
    pub processes: u64,
    /// Open files of a process; a subscriber is one.
    pub open_files: u64,
    /// Bytes of one file that it writes.
    pub file_bytes: u64,
    /// Bytes of all that it writes.
    pub data_bytes: u64,
    /// Bytes of what it prints; more is cut off, in the middle.
    pub log_bytes: u64,

    // Of what is told.
    /// Bytes of one file of a result.
    pub result_file_bytes: u64,
    /// Bytes of all files of a result.
    pub result_bytes: u64,
    /// Results of one participant that are kept; the oldest go first.
    pub results_kept: u64,
    /// Deployments that a status lists; the newest.
    pub listed: u64,
}

/// The program's.
pub const LIMITS: Limits = Limits {
    request_bytes: 4 * KIB,
    answer_bytes: 256 * KIB,
    idle_seconds: 60,
    connection_seconds: 3600,
    bundle_bytes: 128 * MIB,
    connections: 8,
    transfers: 3,
    waiting: 4,
    disk_reserve_bytes: 2 * GIB,

    manifest_bytes: 2 * MIB,
    files: 4096,
    path_bytes: 150,
    path_depth: 16,
    unpacked_bytes: 512 * MIB,
    start_words: 64,
    start_bytes: 4 * KIB,

    start_seconds: 10,
    wall_seconds: 900,
    stop_seconds: 5,
    cpu_percent: 200,
    cpu_seconds: 1800,
    memory_bytes: 2 * GIB,
    processes: 512,
    open_files: 8192,
    file_bytes: 512 * MIB,
    data_bytes: GIB,
    log_bytes: 8 * MIB,

    result_file_bytes: 16 * MIB,
    result_bytes: 64 * MIB,
    results_kept: 200,
    listed: 20,
};

const _: () = assert!(LIMITS.faults().is_none(), "LIMITS contradict one another");

/// Seconds after its wall time at which a cell that did not end itself is ended from outside.
pub const CELL_GRACE_SECONDS: u64 = 60;

impl Default for Limits {
    fn default() -> Self {
        LIMITS
    }
}

impl Limits {
    /// The first contradiction among them, if any. Checked when this crate is compiled for [`LIMITS`]; for
    /// values that were set elsewhere, check when they are read.
    pub const fn faults(&self) -> Option<&'static str> {
        // A path in JSON with size, mode and hash, escapes included.
        let entry = 6 * 64 + self.path_bytes;
        let rules = [
            (self.request_bytes >= 512, "a request must fit into request_bytes"),
            (
                self.answer_bytes > self.request_bytes,
                "an answer may quote a request: answer_bytes must exceed request_bytes",
            ),
            (
                self.idle_seconds < self.connection_seconds,
                "idle_seconds must be less than connection_seconds",
            ),
            (
                self.bundle_bytes / self.connection_seconds < MIB,
                "a bundle must get through one connection at 1 MiB/s",
            ),
            (self.transfers >= 1, "one transfer must be possible"),
            (
                self.transfers < self.connections,
                "transfers must leave connections for status",
            ),
            (
                self.waiting >= 2,
                "a newer deployment must be taken beside one that waits",
            ),
            (
                self.disk_reserve_bytes >= self.unpacked_bytes + self.data_bytes,
                "disk_reserve_bytes must hold one running submission",
            ),
            (
                self.bundle_bytes <= self.unpacked_bytes,
                "bundle_bytes above unpacked_bytes: nothing could use it",
            ),
            (
                self.manifest_bytes < self.bundle_bytes,
                "the manifest is a part of the bundle",
            ),
            (
                self.files * entry / 2 <= self.manifest_bytes,
                "manifest_bytes must hold entries for half of files with the longest of paths",
            ),
            (
                self.path_depth * 2 <= self.path_bytes && self.path_bytes <= 155,
                "path_bytes must hold path_depth names, and fit into the prefix of a tar header",
            ),
            (
                self.start_words <= self.start_bytes && self.start_bytes < self.manifest_bytes,
                "the start command is a part of the manifest",
            ),
            (self.start_seconds == 10, "the contract says 10 s until SERVING"),
            (
                self.start_seconds + self.stop_seconds < self.wall_seconds,
                "wall_seconds must leave time for tests",
            ),
            (
                self.cpu_seconds * 100 >= self.wall_seconds * self.cpu_percent,
                "cpu_seconds must not end what wall_seconds and cpu_percent allow",
            ),
            (
                self.open_files >= 2 * 1024,
                "open_files must be enough for the tests' 1,000 subscribers",
            ),
            (
                self.processes >= 64,
                "processes must be enough for a runtime with its threads",
            ),
            (
                self.file_bytes <= self.data_bytes,
                "file_bytes above data_bytes: nothing could use it",
            ),
            (
                self.log_bytes <= self.result_file_bytes,
                "log_bytes must fit into a result's file",
            ),
            (
                self.result_file_bytes <= self.result_bytes,
                "result_file_bytes must fit into result_bytes",
            ),
            (
                1 <= self.listed && self.listed <= self.results_kept,
                "what is listed must be kept",
            ),
        ];
        let mut index = 0;
        while index < rules.len() {
            if !rules[index].0 {
                return Some(rules[index].1);
            }
            index += 1;
        }
        None
    }

    /// `idle_seconds` as a duration.
    pub const fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    /// Seconds that a daemon may take to drain: a job that has just begun is run in two cells that share its wall time,
    /// each with what is beyond that until it is ended from outside, and told.
    pub const fn drain_seconds(&self) -> u64 {
        self.wall_seconds + 2 * CELL_GRACE_SECONDS + 120
    }

    /// `connection_seconds` as a duration.
    pub const fn connection(&self) -> Duration {
        Duration::from_secs(self.connection_seconds)
    }
}

/// A number of bytes as people read it.
pub fn bytes_for_people(bytes: u64) -> String {
    match bytes {
        0..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{:.1} KiB", bytes as f64 / KIB as f64),
        MIB..GIB => format!("{:.1} MiB", bytes as f64 / MIB as f64),
        _ => format!("{:.1} GiB", bytes as f64 / GIB as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_can_be_broken() {
        type Break = fn(&mut Limits);
        let breaks: [(Break, &str); 8] = [
            (|l| l.answer_bytes = l.request_bytes, "may quote"),
            (|l| l.idle_seconds = l.connection_seconds, "idle_seconds"),
            (|l| l.transfers = l.connections, "transfers"),
            (|l| l.unpacked_bytes = l.bundle_bytes - 1, "bundle_bytes above"),
            (|l| l.files *= 100, "manifest_bytes"),
            (|l| l.wall_seconds = 15, "wall_seconds"),
            (|l| l.cpu_seconds = 10, "cpu_seconds"),
            (|l| l.log_bytes = l.result_file_bytes + 1, "log_bytes"),
        ];
        assert_eq!(LIMITS.faults(), None);
        for (change, told) in breaks {
            let mut limits = LIMITS;
            change(&mut limits);
            let fault = limits.faults().unwrap_or_else(|| panic!("{told}: not told"));
            assert!(fault.contains(told), "{told}: {fault}");
        }
    }

    #[test]
    fn for_people() {
        let cases = [
            (0, "0 bytes"),
            (1536, "1.5 KiB"),
            (128 * MIB, "128.0 MiB"),
            (3 * GIB, "3.0 GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(bytes_for_people(bytes), text);
        }
    }
}
