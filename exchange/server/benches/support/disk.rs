//! What the disk takes for one durable append.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

use super::{Result, directory};

/// Median time of append + fdatasync of 4 KiB into a file that grows, in microseconds.
pub fn append_p50_us(appends: usize) -> Result<f64> {
    let path = directory("disk")?.join("append");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let block = [0x5a; 4096];
    let mut times = Vec::with_capacity(appends);
    for _ in 0..appends {
        let begun = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    drop(file);
    std::fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[appends / 2].as_secs_f64() * 1e6)
}
