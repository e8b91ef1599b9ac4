//! A small disk of a test's own.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::statvfs;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const NEEDS_ROOT: &str = "this test mounts a file system: run it as root (sudo -E cargo test), or in a \
                          container that may mount (--cap-add SYS_ADMIN)";

/// Runs a test on a thread whose mounts nobody else sees, and which are gone with it.
pub(crate) fn with_own_mounts(test: impl AsyncFnOnce() + Send + 'static) {
    let run = move || {
        // SAFETY: a new mount namespace changes which files this thread's paths name, and nothing that
        // memory safety rests on; no file descriptor table is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }
            .unwrap_or_else(|error| panic!("{error}: {NEEDS_ROOT}"));
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap_or_else(|error| panic!("{error}: {NEEDS_ROOT}"));
        // Of one thread: all others are in the old namespace.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test());
    };
    let name = thread::current().name().unwrap_or("test").to_owned();
    let thread = thread::Builder::new().name(name).spawn(run).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A file system in memory.
pub(crate) struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    pub(crate) fn mount(path: PathBuf, mebibytes: u64) -> Self {
        fs::create_dir(&path).expect("a new directory");
        let options = std::ffi::CString::new(format!("size={mebibytes}m")).expect("no NUL");
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), options.as_c_str())
            .unwrap_or_else(|error| panic!("{error}: {NEEDS_ROOT}"));
        Self { path }
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        let stat = statvfs(&self.path).expect("it is there");
        stat.f_bavail * stat.f_frsize
    }

    pub(crate) fn set_read_only(&self, read_only: bool) {
        let flags = if read_only {
            MountFlags::RDONLY
        } else {
            MountFlags::empty()
        };
        mount_remount(&self.path, flags, c"").expect("nobody writes there");
    }

    /// A file that takes room until it is dropped, as much as there is at most.
    pub(crate) fn ballast(&self, bytes: u64) -> Ballast {
        let path = self.path.join(format!("ballast-{bytes}"));
        let mut file = File::create(&path).expect("a new file");
        let zeros = vec![0; 64 << 10];
        let mut rest = bytes;
        while rest > 0 {
            let part = usize::try_from(rest).unwrap_or(usize::MAX).min(zeros.len());
            match file.write(&zeros[..part]) {
                Ok(written) => rest -= written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        Ballast(path)
    }
}

pub(crate) struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        fs::remove_file(Path::new(&self.0)).expect("it is there");
    }
}
