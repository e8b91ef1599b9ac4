//! A host's file system: this machine's system directories under an overlay of the host's own, everything else its own
//! and empty.
//!
//! Runs in the host's own mount namespace. Nothing outside the listed directories is visible: no home directory, no
//! build tree, nobody's keys.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{XattrFlags, setxattr};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};

use super::machine::{Image, Machine};

/// What makes up an operating system. Where a system has one of them as a link (`/bin` to `/usr/bin`), so has the host.
const SYSTEM: [&str; 9] = ["usr", "etc", "var", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
const OWN: [(&str, u32); 9] = [
    ("dev", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
];
/// Directories of the system that hold what people put there, and so are the host's own.
const HIDDEN: [&str; 8] = [
    "usr/local",
    "var/tmp",
    "var/log",
    "var/mail",
    "var/backups",
    "var/spool/cron",
    "var/lib/optivex",
    "etc/optivex",
];
/// Keys and names of the machine that the host is on.
const FORGOTTEN: [&str; 6] = [
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/hosts",
    "etc/environment",
    "etc/ssh/ssh_known_hosts",
];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Puts the file system together and makes it this process's root. The first time it is a fresh image.
pub(super) fn enter(machine: &Machine) -> Result<()> {
    let system = &machine.system;
    std::env::set_current_dir(system).with_context(|| format!("cannot enter {}", system.display()))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("cannot keep mounts")?;
    let root = Path::new("root");
    let fresh = !root.exists();
    directory(root, 0o755)?;
    mount_bind(root, root).context("cannot mount the root")?;
    // By its full path: the current directory is below the mount.
    let root = &system.join("root");
    if fresh {
        HIDDEN.into_iter().try_for_each(hide)?;
    }
    for name in SYSTEM {
        overlay(root, name)?;
    }
    for (name, mode) in OWN {
        directory(&root.join(name), mode)?;
    }
    let home = machine.disk.join("home");
    directory(&home, 0o755)?;
    mount_bind(&home, root.join("home")).context("cannot mount /home")?;
    if fresh {
        forget(root)?;
    }
    share(root, &machine.image)?;
    own(root)?;
    let old = root.join("mnt");
    rustix::process::pivot_root(root, &old).context("cannot change the root")?;
    std::env::set_current_dir("/").context("cannot enter the root")?;
    unmount("/mnt", UnmountFlags::DETACH).context("cannot leave the old root")?;
    Ok(())
}

fn overlay(root: &Path, name: &str) -> Result<()> {
    let lower = Path::new("/").join(name);
    let Ok(metadata) = fs::symlink_metadata(&lower) else {
        return Ok(());
    };
    let at = root.join(name);
    if metadata.is_symlink() {
        let to = fs::read_link(&lower).with_context(|| format!("cannot read {}", lower.display()))?;
        return match symlink(to, &at) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error).context("cannot link"),
            _ => Ok(()),
        };
    }
    let (upper, work) = (format!("upper/{name}"), format!("work/{name}"));
    for dir in [at.as_path(), Path::new(&upper), Path::new(&work)] {
        directory(dir, 0o755)?;
    }
    mount_overlay(&lower, Path::new(&upper), Path::new(&work), &at)
}

pub(super) fn mount_overlay(lower: &Path, upper: &Path, work: &Path, at: &Path) -> Result<()> {
    // Its options are a list with separators.
    let path = |path: &Path| {
        path.display()
            .to_string()
            .replace('\\', "\\\\")
            .replace(',', "\\,")
            .replace(':', "\\:")
    };
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        path(lower),
        path(upper),
        path(work)
    );
    let options = std::ffi::CString::new(options).context("a name with a NUL")?;
    mount("overlay", at, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .with_context(|| format!("cannot lay an overlay over {}", lower.display()))
}

/// Has an upper layer show an empty directory in place of what lies below it.
fn hide(path: &str) -> Result<()> {
    let mut upper = PathBuf::from("upper");
    let mut lower = PathBuf::from("/");
    for name in path.split('/') {
        upper.push(name);
        lower.push(name);
        let Ok(below) = fs::symlink_metadata(&lower) else {
            return Ok(());
        };
        if !below.is_dir() {
            return Ok(());
        }
        directory(&upper, below.mode() & 0o7777)?;
        chown(&upper, Some(below.uid()), Some(below.gid()))
            .with_context(|| format!("cannot give {} to its owner", upper.display()))?;
    }
    setxattr(&upper, c"trusted.overlay.opaque", b"y", XattrFlags::empty())
        .with_context(|| format!("cannot hide {}", lower.display()))
}

/// Takes from the image what makes this machine this machine: its people, names and keys.
fn forget(root: &Path) -> Result<()> {
    for path in FORGOTTEN {
        let path = root.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    // Names are looked up in /etc/hosts alone.
    write(&root.join("etc/resolv.conf"), "", 0o644)?;
    for entry in entries(&root.join("etc/ssh"))? {
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            fs::remove_file(entry.path()).context("cannot remove a host key")?;
        }
    }
    let passwd = fs::read_to_string(root.join("etc/passwd")).context("cannot read the accounts")?;
    for (file, mode) in [
        ("passwd", 0o644),
        ("group", 0o644),
        ("shadow", 0o640),
        ("gshadow", 0o640),
        ("subuid", 0o644),
        ("subgid", 0o644),
    ] {
        let path = root.join("etc").join(file);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        write(&path, &super::accounts::of_the_system(file, &text, &passwd), mode)?;
    }
    Ok(())
}

/// What the host has of this machine's, read-only.
fn share(root: &Path, image: &Image) -> Result<()> {
    if let Some(toolchain) = &image.toolchain {
        let at = root.join("opt/rust");
        read_only(toolchain, &at)?;
        directory(&root.join("usr/local/bin"), 0o755)?;
        for entry in entries(&at.join("bin"))? {
            let link = root.join("usr/local/bin").join(entry.file_name());
            let _ = fs::remove_file(&link);
            symlink(Path::new("/opt/rust/bin").join(entry.file_name()), link).context("cannot link the toolchain")?;
        }
    }
    if let Some(registry) = &image.registry {
        read_only(registry, &root.join("opt/crates"))?;
        // Cargo looks for its configuration in every folder above, and new users start with what is in skel.
        directory(&root.join(".cargo"), 0o755)?;
        write(&root.join(".cargo/config.toml"), "[net]\noffline = true\n", 0o644)?;
        let home = root.join("etc/skel/.cargo");
        directory(&home, 0o755)?;
        let _ = fs::remove_file(home.join("registry"));
        symlink("/opt/crates", home.join("registry")).context("cannot link the crates")?;
    }
    if let Some(packages) = &image.packages {
        read_only(packages, &root.join("opt/packages"))?;
        // Nothing of what this machine installs from can be reached.
        let apt = root.join("etc/apt");
        let _ = fs::remove_file(apt.join("sources.list"));
        let sources = apt.join("sources.list.d");
        directory(&sources, 0o755)?;
        empty(&sources)?;
        write(
            &sources.join("rehearsal.list"),
            "deb [trusted=yes] file:/opt/packages ./\n",
            0o644,
        )?;
    }
    Ok(())
}

/// The file systems that every host has for itself.
fn own(root: &Path) -> Result<()> {
    let private = MountFlags::NOSUID | MountFlags::NODEV;
    mount("proc", root.join("proc"), "proc", private | MountFlags::NOEXEC, None).context("cannot mount /proc")?;
    mount("sysfs", root.join("sys"), "sysfs", private | MountFlags::RDONLY, None).context("cannot mount /sys")?;
    mount("tmpfs", root.join("run"), "tmpfs", private, Some(c"mode=755")).context("cannot mount /run")?;
    directory(&root.join("tmp"), 0o1777)?;
    mount("tmpfs", root.join("tmp"), "tmpfs", private, Some(c"mode=1777")).context("cannot mount /tmp")?;

    let dev = root.join("dev");
    mount("tmpfs", &dev, "tmpfs", MountFlags::NOSUID, Some(c"mode=755,size=1m")).context("cannot mount /dev")?;
    for name in DEVICES {
        write(&dev.join(name), "", 0o666)?;
        mount_bind(Path::new("/dev").join(name), dev.join(name)).with_context(|| format!("cannot give /dev/{name}"))?;
    }
    for (name, kind, options) in [
        ("pts", "devpts", c"newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("shm", "tmpfs", c"mode=1777"),
    ] {
        directory(&dev.join(name), 0o755)?;
        mount(
            kind,
            dev.join(name),
            kind,
            MountFlags::NOSUID | MountFlags::NOEXEC,
            Some(options),
        )
        .with_context(|| format!("cannot mount /dev/{name}"))?;
    }
    for (to, name) in [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ] {
        symlink(to, dev.join(name)).with_context(|| format!("cannot make /dev/{name}"))?;
    }
    Ok(())
}

fn read_only(from: &Path, at: &Path) -> Result<()> {
    directory(at, 0o755)?;
    mount_bind(from, at).with_context(|| format!("cannot share {}", from.display()))?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(at, flags, "").with_context(|| format!("cannot share {} read-only", from.display()))
}

pub(super) fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>> {
    fs::read_dir(dir)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read {}", dir.display()))
}

fn empty(dir: &Path) -> Result<()> {
    for entry in entries(dir)? {
        let path = entry.path();
        let removed = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

pub(super) fn directory(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot make {}", path.display()))
}

pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", path.display()))
}
