//! The disk behind a trait, so that tests can have it fail.
//!
//! Only what the journal needs, each operation as the operating system means it: in particular nothing
//! is durable before [`StorageFile::sync`], and no name before [`Storage::sync_directory`].

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// A file that is open.
pub trait StorageFile: Send {
    /// Writes all bytes at the offset. After an error any part of them may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads at the offset; fewer bytes than asked for at the end of the file, 0 behind it.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file, or makes it longer with zeros that need no room yet.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Makes the file at least this long with room on the disk for all of it, so that writing up to
    /// there cannot fail for want of room. What the file holds stays; new bytes are zero.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Returns when content and length are durable. After an error what was written since the last
    /// success may be anywhere between lost and durable, whatever a later call says.
    fn sync(&self) -> io::Result<()>;
}

/// A lock that is given back when dropped.
pub trait StorageLock: Send {}

/// What is in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Name within the directory; names that are not UTF-8 are shown with replacement characters.
    pub name: String,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// Where files are kept.
pub trait Storage: Send + Sync {
    /// Makes the directory and those above it, durably, unless they are there.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// What is in the directory, in no order.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// Makes an empty file for reading and writing, whatever was there under the name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Opens a file for reading and writing.
    fn open_writable(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Gives a file another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns when the names in the directory are durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Bytes that this process can still write under the directory.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;

    /// Takes the lock that the file stands for; `None` if another process has it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn StorageLock>>>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

/// A file lock: the operating system gives it back when the process ends, however it ends.
struct DiskLock(#[expect(dead_code, reason = "holds the lock while it is open")] File);

impl StorageLock for DiskLock {}

impl Storage for Disk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        self.create_directory(parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync_directory(parent),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        fs::read_dir(directory)?
            .map(|entry| {
                let entry = entry?;
                Ok(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_file: entry.file_type()?.is_file(),
                })
            })
            .collect()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn open_writable(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let answer = statvfs(directory)?;
        Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn StorageLock>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(DiskLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl StorageFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match FileExt::read_at(self, &mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), 0, length) {
            Ok(()) => return Ok(()),
            // Not every file system can; what is written has its room as well.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        let zeros = [0; 1 << 16];
        let mut offset = self.metadata()?.len();
        while offset < length {
            let count = zeros.len().min((length - offset) as usize);
            FileExt::write_all_at(self, &zeros[..count], offset)?;
            offset += count as u64;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
