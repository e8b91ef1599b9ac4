//! Durable appends: our log and well-kept embedded stores beside a plain append + fdatasync.
//!
//! `cargo bench -p optivex-journal --bench append` prints a table of ratios; the decision that it led to
//! is in the crate's README. Every contestant makes the same records durable, batch by batch, in turn,
//! round by round on the same disk; a ratio is the baseline's time per commit by the contestant's in the same
//! round, median of the rounds: 1.00 is as fast as the baseline, more is faster. Stores get their best case
//! as well: a whole batch as one value.

use optivex_bench::{Goal, Row, median};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use optivex_journal::{Batch, Embedded, Journal, Options};
use redb::{ReadableDatabase, TableDefinition};

type Failure = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Failure>;

const RECORD_BYTES: usize = 128;
const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");

/// One batch: records one after another, the first event's number known.
struct Load {
    first: u64,
    bytes: Vec<u8>,
}

impl Load {
    fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.first..).zip(self.bytes.chunks(RECORD_BYTES))
    }
}

trait Contestant {
    fn commit(&mut self, load: &Load) -> Result<()>;

    /// Events that can be read back, where that is cheap to ask: a contestant that writes nothing must not win.
    fn last(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// What everything is compared with: a file that grows.
struct Plain(File);

impl Contestant for Plain {
    fn commit(&mut self, load: &Load) -> Result<()> {
        self.0.write_all(&load.bytes)?;
        Ok(self.0.sync_data()?)
    }
}

/// A file of written zeros that is overwritten: what the disk can do at best.
struct Overwrite(File, u64);

impl Contestant for Overwrite {
    fn commit(&mut self, load: &Load) -> Result<()> {
        self.0.write_all_at(&load.bytes, self.1)?;
        self.1 += load.bytes.len() as u64;
        Ok(self.0.sync_data()?)
    }
}

struct Ours(Embedded);

impl Contestant for Ours {
    fn commit(&mut self, load: &Load) -> Result<()> {
        let mut batch = Batch::default();
        for (event_seq, record) in load.records() {
            batch.push_bytes(event_seq, record);
        }
        Ok(self.0.commit(&[batch])?)
    }

    fn last(&mut self) -> Result<Option<u64>> {
        Ok(Some(self.0.durable_event_seq()))
    }
}

struct Fjall {
    database: Database,
    keyspace: Keyspace,
    whole: bool,
}

impl Contestant for Fjall {
    fn commit(&mut self, load: &Load) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        if self.whole {
            batch.insert(&self.keyspace, load.first.to_be_bytes(), load.bytes.as_slice());
        } else {
            for (event_seq, record) in load.records() {
                batch.insert(&self.keyspace, event_seq.to_be_bytes(), record);
            }
        }
        Ok(batch.commit()?)
    }

    fn last(&mut self) -> Result<Option<u64>> {
        let Some(entry) = self.keyspace.last_key_value() else {
            return Ok(None);
        };
        let key = entry.key()?;
        Ok((!self.whole).then_some(u64::from_be_bytes(key.as_ref().try_into()?)))
    }
}

struct Redb {
    database: redb::Database,
    whole: bool,
}

impl Contestant for Redb {
    fn commit(&mut self, load: &Load) -> Result<()> {
        // Durability::Immediate is the default.
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            if self.whole {
                table.insert(load.first, load.bytes.as_slice())?;
            } else {
                for (event_seq, record) in load.records() {
                    table.insert(event_seq, record)?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn last(&mut self) -> Result<Option<u64>> {
        use redb::ReadableTable;
        let table = self.database.begin_read()?.open_table(TABLE)?;
        Ok(table.last()?.map(|(key, _)| key.value()).filter(|_| !self.whole))
    }
}

struct Sqlite {
    connection: rusqlite::Connection,
    whole: bool,
}

impl Contestant for Sqlite {
    fn commit(&mut self, load: &Load) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO journal (event_seq, record) VALUES (?1, ?2)")?;
            if self.whole {
                insert.execute((load.first as i64, &load.bytes))?;
            } else {
                for (event_seq, record) in load.records() {
                    insert.execute((event_seq as i64, record))?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn last(&mut self) -> Result<Option<u64>> {
        let last: i64 = self
            .connection
            .query_row("SELECT max(event_seq) FROM journal", (), |row| row.get(0))?;
        Ok((!self.whole).then_some(last as u64))
    }
}

const NAMES: [&str; 9] = [
    "append + fdatasync (baseline)",
    "overwrite zeros + fdatasync",
    "optivex journal",
    "fjall, a value per record",
    "fjall, a value per batch",
    "redb, a value per record",
    "redb, a value per batch",
    "SQLite WAL, a row per record",
    "SQLite WAL, a row per batch",
];

fn contestant(index: usize, directory: &Path, total_bytes: usize) -> Result<Box<dyn Contestant>> {
    let whole = index.is_multiple_of(2);
    Ok(match index {
        0 => Box::new(Plain(
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(directory.join("plain"))?,
        )),
        1 => {
            let mut file = File::create(directory.join("zeros"))?;
            file.write_all(&vec![0; total_bytes])?;
            file.sync_all()?;
            Box::new(Overwrite(file, 0))
        }
        2 => {
            let mut opened = Embedded::open(directory, &Options::default(), Vec::new)?;
            // As the exchange does before it takes commands.
            while !opened.journal.has_room() {
                std::thread::yield_now();
            }
            Box::new(Ours(opened.journal))
        }
        3 | 4 => {
            let database = Database::builder(directory).open()?;
            let keyspace = database.keyspace("journal", KeyspaceCreateOptions::default)?;
            Box::new(Fjall {
                database,
                keyspace,
                whole,
            })
        }
        5 | 6 => Box::new(Redb {
            database: redb::Database::create(directory.join("redb"))?,
            whole,
        }),
        _ => {
            let connection = rusqlite::Connection::open(directory.join("sqlite"))?;
            connection.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE journal (event_seq INTEGER PRIMARY KEY, record BLOB NOT NULL)",
            )?;
            Box::new(Sqlite { connection, whole })
        }
    })
}

/// Content that does not compress: fjall compresses values of 4 KiB and more, and would be measured by
/// how regular the content is.
fn fill(bytes: &mut [u8], seed: u64) {
    let mut state = seed;
    for chunk in bytes.chunks_exact_mut(8) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
}

fn round(index: usize, directory: &Path, batch_bytes: usize, commits: usize) -> Result<Vec<Duration>> {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory)?;
    let mut contestant = contestant(index, directory, batch_bytes * commits)?;
    let mut times = Vec::with_capacity(commits);
    let mut load = Load {
        first: 1,
        bytes: vec![0; batch_bytes],
    };
    for commit in 0..commits {
        fill(&mut load.bytes, commit as u64);
        let start = Instant::now();
        contestant.commit(&load)?;
        times.push(start.elapsed());
        load.first += (batch_bytes / RECORD_BYTES) as u64;
    }
    let last = contestant.last()?;
    assert!(
        last.is_none_or(|last| last + 1 == load.first),
        "{} kept less than it was given",
        NAMES[index]
    );
    drop(contestant);
    fs::remove_dir_all(directory)?;
    Ok(times)
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn main() -> Result<()> {
    // Without it this is a test run, which only shows that everything still works.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, commits) = match (measuring, is_quick) {
        (true, false) => (9, 1200),
        (true, true) => (3, 200),
        (false, _) => (1, 10),
    };
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("append");
    println!("{rounds} rounds of {commits} commits; records of {RECORD_BYTES} bytes; times in microseconds per commit");
    for batch_bytes in [4 << 10, 64 << 10] {
        let (mut means, mut p50, mut p99) = (
            vec![vec![]; NAMES.len()],
            vec![vec![]; NAMES.len()],
            vec![vec![]; NAMES.len()],
        );
        for _ in 0..rounds {
            for index in 0..NAMES.len() {
                let mut times = round(index, &directory, batch_bytes, commits)?;
                means[index].push(microseconds(times.iter().sum::<Duration>()) / commits as f64);
                times.sort_unstable();
                p50[index].push(microseconds(times[commits / 2]));
                p99[index].push(microseconds(times[commits * 99 / 100]));
            }
        }
        println!(
            "\n| batches of {} KiB | ratio by mean | ratio by p50 | mean | p50 | p99 |\n|---|---:|---:|---:|---:|---:|",
            batch_bytes >> 10
        );
        // Round by round: what else the machine does changes from one to the next.
        let ratio = |times: &[Vec<f64>], index: usize| {
            let ratios = times[0].iter().zip(&times[index]);
            median(&ratios.map(|(baseline, own)| baseline / own).collect::<Vec<_>>())
        };
        for (index, name) in NAMES.iter().enumerate() {
            println!(
                "| {name} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
                ratio(&means, index),
                ratio(&p50, index),
                median(&means[index]),
                median(&p50[index]),
                median(&p99[index])
            );
        }
        for (index, name) in NAMES.iter().enumerate().skip(1) {
            let row = Row {
                bench: "append",
                case: &format!("{name}, {} KiB, p50", batch_bytes >> 10),
                unit: "µs",
                rounds: &p50[index],
                baseline: &p50[0],
                goal: Goal::None,
            };
            row.print();
        }
    }
    Ok(())
}
