//! A disk in memory that fails as disks do: it forgets what was not synced, sector by sector, writes
//! half, reports errors, runs full, and calls pages clean that it has dropped.

#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use optivex_journal::storage::{Entry, Storage, StorageFile, StorageLock};

const SECTOR: usize = 512;

/// A handle; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

struct State {
    inodes: Vec<Inode>,
    /// What processes see.
    names: BTreeMap<PathBuf, usize>,
    /// What a machine finds that starts anew.
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not synced, in order.
    pending: Vec<(PathBuf, Option<usize>)>,
    directories: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    random: u64,
    /// Of 1000 writing operations this many fail.
    fault_rate: u64,
    /// The next sync of a file fails.
    fail_next_sync: bool,
    capacity: u64,
    pub faults: u64,
}

#[derive(Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    length_dirty: bool,
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl State {
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.random() & 1 == 1
    }

    fn fails(&mut self) -> bool {
        let fails = self.random() % 1000 < self.fault_rate;
        self.faults += u64::from(fails);
        fails
    }

    fn used(&self) -> u64 {
        let linked: BTreeSet<usize> = self.names.values().copied().collect();
        linked.iter().map(|&inode| self.inodes[inode].cached.len() as u64).sum()
    }

    fn set_name(&mut self, path: &Path, inode: Option<usize>) {
        match inode {
            Some(inode) => self.names.insert(path.to_owned(), inode),
            None => self.names.remove(path),
        };
        self.pending.push((path.to_owned(), inode));
    }
}

impl Inode {
    fn touch(&mut self, start: usize, end: usize) {
        if start < end {
            self.dirty.extend(start / SECTOR..=(end - 1) / SECTOR);
        }
    }

    fn set_length(&mut self, length: usize) {
        let before = self.cached.len();
        self.cached.resize(length, 0);
        self.touch(before.min(length), before.max(length));
        self.length_dirty |= before != length;
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        if self.cached.len() < offset + bytes.len() {
            self.set_length(offset + bytes.len());
        }
        self.cached[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.touch(offset, offset + bytes.len());
    }

    fn flush_sector(&mut self, sector: usize) {
        let start = (sector * SECTOR).min(self.cached.len());
        let end = (start + SECTOR).min(self.cached.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.cached[start..end]);
        // Cut off in memory, and zeroed where the sector was written.
        let beyond = ((sector + 1) * SECTOR).min(self.durable.len());
        if end < beyond && end > start {
            self.durable[end..beyond].fill(0);
        }
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.flush_sector(sector);
        }
        if std::mem::take(&mut self.length_dirty) {
            self.durable.resize(self.cached.len(), 0);
        }
    }
}

fn io_error() -> io::Error {
    io::Error::other("injected fault")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            directories: BTreeSet::new(),
            locked: BTreeSet::new(),
            random: seed,
            fault_rate: 0,
            fail_next_sync: false,
            capacity: u64::MAX / 2,
            faults: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Of 1000 writing operations so many fail from now on.
    pub fn set_fault_rate(&self, per_thousand: u64) {
        self.state().fault_rate = per_thousand;
    }

    /// The disk is sound from now on.
    pub fn heal(&self) {
        let mut state = self.state();
        state.fault_rate = 0;
        state.fail_next_sync = false;
        state.capacity = u64::MAX / 2;
    }

    pub fn fail_next_sync(&self) {
        self.state().fail_next_sync = true;
    }

    pub fn faults(&self) -> u64 {
        self.state().faults
    }

    /// Leaves so many bytes free.
    pub fn set_free(&self, free: u64) {
        let mut state = self.state();
        state.capacity = state.used() + free;
    }

    /// The process dies: what it wrote stays in the machine's memory.
    pub fn kill(&self) {
        self.state().locked.clear();
    }

    /// The machine dies: of what was not synced, any sectors are there and any are not.
    pub fn power_cut(&self) {
        let mut state = self.state();
        state.locked.clear();
        for inode in 0..state.inodes.len() {
            let cut_length = state.coin();
            for sector in std::mem::take(&mut state.inodes[inode].dirty) {
                if state.coin() {
                    state.inodes[inode].flush_sector(sector);
                }
            }
            let file = &mut state.inodes[inode];
            if std::mem::take(&mut file.length_dirty) && cut_length {
                file.durable.resize(file.cached.len(), 0);
            }
            file.cached = file.durable.clone();
        }
        let pending = std::mem::take(&mut state.pending);
        let kept = (state.random() % (pending.len() as u64 + 1)) as usize;
        for (path, inode) in pending.into_iter().take(kept) {
            match inode {
                Some(inode) => state.durable_names.insert(path, inode),
                None => state.durable_names.remove(&path),
            };
        }
        state.names = state.durable_names.clone();
    }

    pub fn names(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    pub fn read(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.names[path]].cached.clone()
    }

    /// Changes a file behind everybody's back, durably.
    pub fn overwrite(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = match state.names.get(path) {
            Some(&inode) => inode,
            None => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.to_owned(), inode);
                state.durable_names.insert(path.to_owned(), inode);
                inode
            }
        };
        state.inodes[inode] = Inode {
            cached: bytes.to_vec(),
            durable: bytes.to_vec(),
            ..Inode::default()
        };
    }

    pub fn delete(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// A disk that holds the same and goes its own way.
    pub fn copy(&self) -> Self {
        let copy = Self::new(1);
        let files: Vec<(PathBuf, Vec<u8>)> = self
            .names()
            .into_iter()
            .map(|path| (path.clone(), self.read(&path)))
            .collect();
        copy.state().directories = self.state().directories.clone();
        for (path, bytes) in files {
            copy.overwrite(&path, &bytes);
        }
        copy
    }
}

impl Storage for SimDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.state().directories.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        if !state.directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(directory));
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(inside
            .map(|path| Entry {
                name: name(path),
                is_file: true,
            })
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        if state.fails() {
            return Err(io_error());
        }
        let inode = match state.names.get(path) {
            Some(&inode) => {
                state.inodes[inode].set_length(0);
                inode
            }
            None => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.set_name(path, Some(inode));
                inode
            }
        };
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let inode = *self.state().names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn open_writable(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.fails() {
            return Err(io_error());
        }
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        // One change: a name is never gone and not yet there.
        state.set_name(to, Some(inode));
        state.set_name(from, None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.set_name(path, None);
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.fails() {
            return Err(io_error());
        }
        state.pending.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn StorageLock>>> {
        if !self.state().locked.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock {
            disk: self.clone(),
            path: path.to_owned(),
        })))
    }
}

impl StorageLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.path);
    }
}

impl StorageFile for SimFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let short = if state.fails() {
            Some((state.random() % (bytes.len() as u64 + 1)) as usize)
        } else {
            None
        };
        let length = state.inodes[self.inode].cached.len() as u64;
        let longer = (offset + bytes.len() as u64).saturating_sub(length);
        if longer > state.capacity.saturating_sub(state.used()) {
            return Err(full());
        }
        state.inodes[self.inode].write(&bytes[..short.unwrap_or(bytes.len())], offset as usize);
        if short.is_some() { Err(io_error()) } else { Ok(()) }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let content = &state.inodes[self.inode].cached;
        let start = (offset as usize).min(content.len());
        let count = bytes.len().min(content.len() - start);
        bytes[..count].copy_from_slice(&content[start..start + count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].cached.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.fails() {
            return Err(io_error());
        }
        state.inodes[self.inode].set_length(length as usize);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let present = state.inodes[self.inode].cached.len() as u64;
        let free = state.capacity.saturating_sub(state.used());
        if length.saturating_sub(present) > free {
            state.inodes[self.inode].set_length((present + free) as usize);
            return Err(full());
        }
        if state.fails() {
            return Err(io_error());
        }
        if length > present {
            state.inodes[self.inode].set_length(length as usize);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let planned = std::mem::take(&mut state.fail_next_sync);
        state.faults += u64::from(planned);
        if !planned && !state.fails() {
            state.inodes[self.inode].sync();
            return Ok(());
        }
        // Some sectors arrive, and of the others some are called clean, with or without the memory's
        // copy falling back to what the disk has.
        let (forgets, evicts, forgets_length) = (state.coin(), state.coin(), state.coin());
        for sector in state.inodes[self.inode].dirty.clone() {
            let arrives = state.coin();
            let file = &mut state.inodes[self.inode];
            if arrives {
                file.flush_sector(sector);
                file.dirty.remove(&sector);
            } else if forgets {
                file.dirty.remove(&sector);
                let start = sector * SECTOR;
                let end = (start + SECTOR).min(file.cached.len()).min(file.durable.len());
                if evicts && start < end {
                    file.cached[start..end].copy_from_slice(&file.durable[start..end]);
                }
            }
        }
        if forgets_length {
            state.inodes[self.inode].length_dirty = false;
        }
        Err(io_error())
    }
}
