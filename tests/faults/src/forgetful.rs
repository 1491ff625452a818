//! A file system in memory that loses what was not synced when its power goes: for Postgres to stand on.
//!
//! **What is lost.** Of each file every page that was written since its last `fsync`, and with it the file's length;
//! half of the time some of these pages are lost and others are not, as a disk that was in the midst of it leaves them.
//! **What is not.** Names: that a file was made, renamed or removed is kept, as file systems with a journal do for what
//! is so small. Files are opened for direct access, so the kernel keeps nothing that this does not know of.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};
use rand::Rng;
use rand::rngs::StdRng;
use tempfile::TempDir;

/// What is written or lost as one.
const PAGE: usize = 4_096;
/// Nobody else changes anything, but lengths are to be right after the power was gone.
const NO_TIME: Duration = Duration::ZERO;
const ROOT: u64 = 1;
/// The file type in a mode, and that of a socket.
const TYPE_BITS: u32 = 0o170_000;
const SOCKET: u32 = 0o140_000;

/// The file system, mounted until it is dropped.
#[derive(Debug)]
pub(crate) struct Forgetful {
    disk: Arc<Mutex<Disk>>,
    /// Before the folder that it is mounted on.
    _session: BackgroundSession,
    folder: TempDir,
}

impl Forgetful {
    /// Mounts one on a new folder; or says why it cannot be.
    pub(crate) fn mount() -> Result<Self, String> {
        if !Path::new("/dev/fuse").exists() {
            return Err("there is no /dev/fuse here: lost power cannot be tried".to_owned());
        }
        let folder = crate::cluster::folder();
        let disk = Arc::new(Mutex::new(Disk::new()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".to_owned())];
        config.acl = SessionACL::All;
        let session = Session::new(Power(disk.clone()), folder.path(), &config).and_then(Session::spawn);
        let session = session.map_err(|error| format!("a file system of our own cannot be mounted here: {error}"))?;
        Ok(Self { disk, _session: session, folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The power goes: forgets what was not synced. Tells how many pages were lost.
    pub(crate) fn lose_power(&self, rng: &mut StdRng) -> usize {
        locked(&self.disk).lose_power(rng)
    }
}

fn locked(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Disk {
    nodes: HashMap<u64, Node>,
    next: u64,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    mode: u16,
    uid: u32,
    gid: u32,
    links: u32,
    open: u32,
    changed: SystemTime,
}

#[derive(Debug)]
enum Kind {
    File(Pages),
    Folder(BTreeMap<OsString, u64>),
    Link(PathBuf),
    Socket,
}

/// A file, and what it was when it was last synced.
#[derive(Debug, Default)]
struct Pages {
    bytes: Vec<u8>,
    /// Pages that have changed since, as they were.
    before: BTreeMap<usize, Vec<u8>>,
    synced_len: usize,
}

impl Pages {
    fn page(&self, number: usize) -> Vec<u8> {
        let (from, to) = (number * PAGE, ((number + 1) * PAGE).min(self.bytes.len()));
        self.bytes.get(from..to).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// Remembers the pages of a stretch before they change.
    fn touch(&mut self, from: usize, to: usize) {
        for number in from / PAGE..to.div_ceil(PAGE) {
            if !self.before.contains_key(&number) {
                self.before.insert(number, self.page(number));
            }
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        self.touch(offset.min(self.bytes.len()), end);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
    }

    fn set_len(&mut self, len: usize) {
        let (from, to) = (len.min(self.bytes.len()), len.max(self.bytes.len()));
        self.touch(from, to);
        self.bytes.resize(len, 0);
    }

    fn read(&self, offset: usize, size: usize) -> &[u8] {
        let from = offset.min(self.bytes.len());
        &self.bytes[from..(from + size).min(self.bytes.len())]
    }

    fn sync(&mut self) {
        self.before.clear();
        self.synced_len = self.bytes.len();
    }

    /// Goes back to what was synced, but for pages that happen to be kept. Tells how many were lost.
    fn forget(&mut self, mut keeps: impl FnMut() -> bool) -> usize {
        let mut lost = 0;
        let longest = self.bytes.len().max(self.synced_len);
        self.bytes.resize(longest, 0);
        for (number, page) in std::mem::take(&mut self.before) {
            if keeps() {
                continue;
            }
            lost += 1;
            let (from, to) = (number * PAGE, ((number + 1) * PAGE).min(longest));
            self.bytes[from..to].fill(0);
            self.bytes[from..from + page.len()].copy_from_slice(&page);
        }
        self.bytes.truncate(self.synced_len);
        lost
    }
}

impl Disk {
    fn new() -> Self {
        let mut disk = Self { nodes: HashMap::new(), next: ROOT };
        disk.add(Kind::Folder(BTreeMap::new()), 0o755, 0, 0);
        disk
    }

    fn add(&mut self, kind: Kind, mode: u32, uid: u32, gid: u32) -> u64 {
        let number = self.next;
        self.next += 1;
        let mode = u16::try_from(mode & 0o7777).unwrap_or(0o600);
        self.nodes.insert(number, Node { kind, mode, uid, gid, links: 1, open: 0, changed: SystemTime::UNIX_EPOCH });
        number
    }

    fn lose_power(&mut self, rng: &mut StdRng) -> usize {
        let mut files: Vec<_> = self.nodes.iter_mut().collect();
        files.sort_by_key(|(number, _)| **number);
        let mut lost = 0;
        for (_, node) in files {
            if let Kind::File(pages) = &mut node.kind {
                let some_are_kept = rng.random_bool(0.5);
                lost += pages.forget(|| some_are_kept && rng.random_bool(0.5));
            }
        }
        lost
    }

    fn folder(&mut self, number: INodeNo) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        match self.nodes.get_mut(&number.0).map(|node| &mut node.kind) {
            Some(Kind::Folder(entries)) => Ok(entries),
            Some(_) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn file(&mut self, number: INodeNo) -> Result<&mut Pages, Errno> {
        match self.nodes.get_mut(&number.0).map(|node| &mut node.kind) {
            Some(Kind::File(pages)) => Ok(pages),
            Some(_) => Err(Errno::EINVAL),
            None => Err(Errno::ENOENT),
        }
    }

    fn find(&mut self, parent: INodeNo, name: &OsStr) -> Result<u64, Errno> {
        self.folder(parent)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn attributes(&self, number: u64) -> Result<FileAttr, Errno> {
        let node = self.nodes.get(&number).ok_or(Errno::ENOENT)?;
        let (kind, size) = match &node.kind {
            Kind::File(pages) => (FileType::RegularFile, pages.bytes.len()),
            Kind::Folder(_) => (FileType::Directory, PAGE),
            Kind::Link(target) => (FileType::Symlink, target.as_os_str().len()),
            Kind::Socket => (FileType::Socket, 0),
        };
        let (size, times) = (size as u64, node.changed);
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: times,
            mtime: times,
            ctime: times,
            crtime: times,
            kind,
            perm: node.mode,
            nlink: node.links,
            uid: node.uid,
            gid: node.gid,
            rdev: 0,
            blksize: 4_096,
            flags: 0,
        })
    }

    /// Puts something new into a folder.
    fn make(&mut self, req: &Request, parent: INodeNo, name: &OsStr, kind: Kind, mode: u32) -> Result<FileAttr, Errno> {
        if self.folder(parent)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let number = self.add(kind, mode, req.uid(), req.gid());
        self.folder(parent)?.insert(name.to_owned(), number);
        self.attributes(number)
    }

    /// Takes a name off, and what it names once nobody else knows it.
    fn remove(&mut self, parent: INodeNo, name: &OsStr, as_folder: bool) -> Result<(), Errno> {
        let number = self.find(parent, name)?;
        match (self.nodes.get(&number).map(|node| &node.kind), as_folder) {
            (Some(Kind::Folder(entries)), true) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
            (Some(Kind::Folder(_)), false) => return Err(Errno::EISDIR),
            _ => {}
        }
        self.folder(parent)?.remove(name);
        self.unlink(number);
        Ok(())
    }

    fn unlink(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.links = node.links.saturating_sub(1);
            if node.links == 0 && node.open == 0 {
                self.nodes.remove(&number);
            }
        }
    }

    fn opened(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.open += 1;
        }
    }

    fn released(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.open = node.open.saturating_sub(1);
            if node.links == 0 && node.open == 0 {
                self.nodes.remove(&number);
            }
        }
    }
}

/// What the kernel asks of the disk.
struct Power(Arc<Mutex<Disk>>);

fn entry(made: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match made {
        Ok(attributes) => reply.entry(&NO_TIME, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn empty(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Filesystem for Power {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = locked(&self.0);
        entry(disk.find(parent, name).and_then(|number| disk.attributes(number)), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match locked(&self.0).attributes(ino.0) {
            Ok(attributes) => reply.attr(&NO_TIME, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = locked(&self.0);
        if let Some(size) = size
            && let Ok(pages) = disk.file(ino)
        {
            pages.set_len(place(size));
        }
        if let Some(node) = disk.nodes.get_mut(&ino.0) {
            node.mode = mode.and_then(|mode| u16::try_from(mode & 0o7777).ok()).unwrap_or(node.mode);
            (node.uid, node.gid) = (uid.unwrap_or(node.uid), gid.unwrap_or(node.gid));
        }
        match disk.attributes(ino.0) {
            Ok(attributes) => reply.attr(&NO_TIME, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match locked(&self.0).nodes.get(&ino.0).map(|node| &node.kind) {
            Some(Kind::Link(target)) => reply.data(target.as_os_str().as_encoded_bytes()),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn mknod(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: u32, reply: ReplyEntry) {
        let kind = if mode & TYPE_BITS == SOCKET { Kind::Socket } else { Kind::File(Pages::default()) };
        entry(locked(&self.0).make(req, parent, name, kind, mode & !umask), reply);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        entry(locked(&self.0).make(req, parent, name, Kind::Folder(BTreeMap::new()), mode & !umask), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(locked(&self.0).remove(parent, name, false), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(locked(&self.0).remove(parent, name, true), reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        entry(locked(&self.0).make(req, parent, name, Kind::Link(target.to_owned()), 0o777), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut disk = locked(&self.0);
        let renamed = disk.find(parent, name).and_then(|number| {
            disk.folder(parent)?.remove(name);
            let former = disk.folder(new_parent)?.insert(new_name.to_owned(), number);
            former.into_iter().filter(|former| *former != number).for_each(|former| disk.unlink(former));
            Ok(())
        });
        empty(renamed, reply);
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = locked(&self.0);
        let linked = disk.folder(parent).map(|entries| entries.insert(name.to_owned(), ino.0));
        if let (Ok(None), Some(node)) = (&linked, disk.nodes.get_mut(&ino.0)) {
            node.links += 1;
        }
        entry(linked.and_then(|_| disk.attributes(ino.0)), reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        locked(&self.0).opened(ino.0);
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let mut disk = locked(&self.0);
        match disk.make(req, parent, name, Kind::File(Pages::default()), mode & !umask) {
            Ok(attributes) => {
                disk.opened(attributes.ino.0);
                reply.created(&NO_TIME, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match locked(&self.0).file(ino) {
            Ok(pages) => reply.data(pages.read(place(offset), size as usize)),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match locked(&self.0).file(ino) {
            Ok(pages) => {
                pages.write(place(offset), data);
                reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
            }
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        locked(&self.0).released(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(locked(&self.0).file(ino).map(Pages::sync), reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut disk = locked(&self.0);
        let entries: Vec<_> = match disk.folder(ino) {
            Ok(entries) => entries.iter().map(|(name, number)| (*number, name.clone())).collect(),
            Err(error) => return reply.error(error),
        };
        let dots = [".", ".."].map(|name| (ino.0, OsString::from(name)));
        for ((number, name), next) in dots.into_iter().chain(entries).zip(1..).skip(place(offset)) {
            let kind = disk.attributes(number).map_or(FileType::RegularFile, |attributes| attributes.kind);
            if reply.add(INodeNo(number), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 24, 1 << 23, 1 << 23, 1 << 20, 1 << 20, 4_096, 255, 4_096);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_lost_and_what_was_is_not() {
        let mut pages = Pages::default();
        pages.write(0, &[1; PAGE]);
        pages.sync();
        pages.write(PAGE - 1, &[2; 2]);
        pages.set_len(3 * PAGE);
        assert_eq!(pages.forget(|| false), 3);
        assert_eq!(pages.bytes, [1; PAGE]);
        pages.set_len(0);
        pages.forget(|| false);
        assert_eq!(pages.bytes, [1; PAGE]);
        pages.write(0, &[3]);
        pages.forget(|| true);
        assert_eq!((pages.bytes[0], pages.bytes[1]), (3, 1));
    }
}
