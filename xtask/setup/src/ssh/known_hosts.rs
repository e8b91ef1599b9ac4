//! Known hosts from pinned keys: the only ones that our ssh looks at.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use super::Host;

/// The file's text: a line a key, under the machine's name.
pub fn text(hosts: &[Host]) -> String {
    let mut text = String::new();
    for host in hosts {
        for key in &host.host_keys {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{} {} {}", host.name, key.algorithm(), key.base64());
        }
    }
    text
}

/// Writes the file in whole.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, hosts: &[Host]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(text(hosts).as_bytes())?;
    file.persist(path)?;
    Ok(())
}
