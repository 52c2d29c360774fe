//! FUSE on the wire, as `include/uapi/linux/fuse.h` has it, as far as it is used here.
//!
//! Input: bytes. Output: numbers out of them, and structures as bytes. Not here: what they mean to a file.

use rustix::io::Errno;

use super::stat::Stat;

/// Requests by their numbers.
pub(super) mod op {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const RENAME2: u32 = 45;
}

/// Bits of a SETATTR's `valid`.
pub(super) mod set {
    pub(crate) const MODE: u32 = 1;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
}

pub(super) const MAJOR: u32 = 7;
/// The first that drivers of virtio-fs speak.
pub(super) const MINOR: u32 = 31;
/// Bits of INIT: reads side by side, writes of more than a page, caches that ask whether they are old, lists
/// with what a look would say, cached links.
pub(super) const INIT_FLAGS: u32 = 1 | 1 << 5 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 18 | 1 << 23;
/// Most bytes of one read or write.
pub(super) const MAX_DATA: u32 = 128 << 10;
/// Bytes before each request's own structure.
pub(super) const IN_HEADER: usize = 40;
/// Bytes before each answer.
pub(super) const OUT_HEADER: usize = 16;
/// Number of the root.
pub(super) const ROOT: u64 = 1;

/// What each request begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) opcode: u32,
    pub(super) unique: u64,
    pub(super) node: u64,
}

impl Header {
    /// The header of a request and what follows it; `None` when there is not even a header.
    pub(super) fn parse(request: &[u8]) -> Option<(Header, Args<'_>)> {
        let (header, body) = request.split_at_checked(IN_HEADER)?;
        let mut header = Args(header);
        let (_len, opcode) = (header.u32().ok()?, header.u32().ok()?);
        let (unique, node) = (header.u64().ok()?, header.u64().ok()?);
        Some((Header { opcode, unique, node }, Args(body)))
    }
}

/// The rest of a request; what is missing is EINVAL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Args<'a>(&'a [u8]);

impl<'a> Args<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Errno> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Errno> {
        self.take().map(u64::from_le_bytes)
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, bytes: usize) -> Result<(), Errno> {
        self.0 = self.0.get(bytes..).ok_or(Errno::INVAL)?;
        Ok(())
    }

    /// Bytes up to a zero.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Errno> {
        let end = memchr::memchr(0, self.0).ok_or(Errno::INVAL)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// The name of something in a folder: no path, and nothing that leads out of the folder.
    pub(super) fn name(&mut self) -> Result<&'a [u8], Errno> {
        let name = self.text()?;
        match name {
            b"" | b"." | b".." => Err(Errno::INVAL),
            _ if name.len() > 255 => Err(Errno::NAMETOOLONG),
            _ if name.contains(&b'/') => Err(Errno::INVAL),
            _ => Ok(name),
        }
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Puts numbers behind each other.
pub(super) trait Put {
    fn put32(&mut self, value: u32);
    fn put64(&mut self, value: u64);
}

impl Put for Vec<u8> {
    fn put32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
}

/// What a guest is told of a file.
#[derive(Debug, Clone)]
pub(super) struct Attr {
    /// The number that programs see.
    pub(super) ino: u64,
    pub(super) stat: Stat,
    /// For how long it, and that it has its name, need not be asked again.
    pub(super) valid: Valid,
}

/// For how long a guest need not ask again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Valid {
    /// Whether a name is there, and what it names: seconds.
    pub(super) name: u64,
    /// What is said of a file: seconds and nanoseconds.
    pub(super) attributes: (u64, u32),
}

impl Attr {
    /// `struct fuse_attr`.
    fn put(&self, out: &mut Vec<u8>) {
        let stat = &self.stat;
        [self.ino, stat.size, stat.blocks]
            .into_iter()
            .for_each(|number| out.put64(number));
        let times = [stat.accessed, stat.modified, stat.changed];
        times
            .into_iter()
            .for_each(|(seconds, _)| out.put64(seconds.cast_unsigned()));
        times.into_iter().for_each(|(_, nanos)| out.put32(nanos));
        // A device's number is as old as it is in a `struct stat`: 12 bits and 20.
        let device = (rustix::fs::major(stat.rdev), rustix::fs::minor(stat.rdev));
        let device = (device.1 & 0xff) | (device.0 << 8) | ((device.1 & !0xff) << 12);
        [
            stat.mode,
            stat.links,
            stat.uid,
            stat.gid,
            device,
            stat.block_size,
            0,
        ]
        .into_iter()
        .for_each(|number| out.put32(number));
    }

    /// `struct fuse_attr_out`.
    pub(super) fn put_attr_out(&self, out: &mut Vec<u8>) {
        let (seconds, nanos) = self.valid.attributes;
        out.put64(seconds);
        out.put32(nanos);
        out.put32(0);
        self.put(out);
    }

    /// `struct fuse_entry_out` of node `id`, 128 bytes.
    pub(super) fn put_entry_out(&self, id: u64, out: &mut Vec<u8>) {
        let (seconds, nanos) = self.valid.attributes;
        out.put64(id);
        out.put64(0);
        out.put64(self.valid.name);
        out.put64(seconds);
        out.put32(0);
        out.put32(nanos);
        self.put(out);
    }
}

/// Bytes of a `struct fuse_entry_out`.
pub(super) const ENTRY_OUT: usize = 128;

/// `struct fuse_dirent` of `name`, behind which the next begins at a multiple of 8.
pub(super) fn put_dirent(out: &mut Vec<u8>, ino: u64, next: u64, kind: u32, name: &[u8]) {
    out.put64(ino);
    out.put64(next);
    out.put32(name.len() as u32);
    out.put32(kind);
    out.extend_from_slice(name);
    out.resize(out.len() + dirent_padding(name), 0);
}

/// Bytes of a `struct fuse_dirent` of `name`.
pub(super) fn dirent_len(name: &[u8]) -> usize {
    24 + name.len() + dirent_padding(name)
}

fn dirent_padding(name: &[u8]) -> usize {
    name.len().next_multiple_of(8) - name.len()
}
