//! Files and folders that are there whole or not at all, whenever the power fails.
//!
//! Everything follows one order: write beside the place, fsync, rename, fsync the folder. A name that does not begin
//! with a dot and does not end in `.tmp` is never half of anything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Replaces a file, or makes it: readers see the old bytes or the new ones. The mode is for a new file.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = parent(path)?;
    let temporary = Temporary::beside(path)?;
    let mut file = create_new(&temporary.path, mode)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary.path, path)?;
    temporary.keep();
    sync_folder(folder)
}

/// Renames a file or a folder, both on one file system, and sees to it that it stays renamed. A folder takes no other's
/// place, unless that one is empty.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let (old, new) = (parent(from)?, parent(to)?);
    sync_folder(new)?;
    if old == new { Ok(()) } else { sync_folder(old) }
}

/// Removes a file, and sees to it that it stays away. One that is not there is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(parent(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a folder and those around it, for this user alone, and sees to it that they stay.
pub fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let folder = parent(path)?;
    create_folders(folder)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_folder(folder),
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sees to it that the names in a folder stay as they are.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A new file for writing and reading: never one that is there, never through a link.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(folder) => Ok(folder),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "a path without a folder")),
    }
}

/// A name beside a file, removed unless kept.
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    fn beside(path: &Path) -> io::Result<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a name"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", unique()));
        Ok(Self {
            path: path.with_file_name(hidden),
            kept: false,
        })
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // What is left of a write that failed; a later one does not mind it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A part of a name that no other process and no other call on this machine has: it need not be secret.
pub fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos());
    format!(
        "{:x}-{:x}-{:x}",
        std::process::id(),
        now,
        CALLS.fetch_add(1, Ordering::Relaxed)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("status.json");
        for text in ["one", "two, longer", "3"] {
            write(&path, text.as_bytes(), 0o600).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("read"), text);
        }
        assert_eq!(names(home.path()), ["status.json"]);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("taken");
        fs::create_dir_all(path.join("by a folder")).expect("made");
        write(&path, b"text", 0o600).expect_err("a folder is in the way");
        assert_eq!(names(home.path()), ["taken"]);
    }

    #[test]
    fn folders_are_renamed_whole_and_take_nobodys_place() {
        let home = tempfile::tempdir().expect("a folder");
        let (from, to) = (home.path().join("a/b/x.tmp"), home.path().join("c/x"));
        create_folders(&from).expect("made");
        create_folders(to.parent().expect("c")).expect("made");
        write(&from.join("file"), b"text", 0o644).expect("written");
        rename(&from, &to).expect("renamed");
        assert_eq!(names(&to), ["file"]);
        create_folders(&from).expect("made again");
        rename(&from, &to).expect_err("taken");
        remove(&to.join("file")).expect("removed");
        remove(&to.join("file")).expect("nothing to do");
    }
}
