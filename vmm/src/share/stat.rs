//! What the host says of a file, by `statx`.
//!
//! Input: descriptors and names. Output: [`Stat`], and which file it is. Not here: what guests are told of
//! it.

use std::hash::Hasher;

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev};
use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3;

/// What the host says of a file; the fields are those of `struct stat`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub(super) device: u64,
    pub(super) ino: u64,
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The device that a device's file stands for.
    pub(super) rdev: u64,
    pub(super) size: u64,
    pub(super) block_size: u32,
    pub(super) blocks: u64,
    /// Seconds and nanoseconds.
    pub(super) accessed: (i64, u32),
    pub(super) modified: (i64, u32),
    pub(super) changed: (i64, u32),
    /// When it was made; zero where the file system does not know.
    born: (i64, u32),
}

impl Stat {
    /// Of what a descriptor stands for.
    pub(super) fn of(fd: impl AsFd) -> Result<Stat, Errno> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        Ok(Stat::from(&rustix::fs::statx(
            fd,
            c"",
            AtFlags::EMPTY_PATH,
            wanted,
        )?))
    }

    /// Of a name in a folder, itself and not what it links to.
    pub(super) fn at(folder: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        Ok(Stat::from(&rustix::fs::statx(folder, name, flags, wanted)?))
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Which file it is, among all that have or have had its name: inode numbers are given again at once. The
    /// device is not in it, since those of mounts change from one start of a host to the next.
    pub(super) fn identity(&self) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.write_u64(self.ino);
        hasher.write_u32(self.mode & 0o170_000);
        hasher.write_i64(self.born.0);
        hasher.write_u32(self.born.1);
        hasher.finish()
    }
}

impl From<&Statx> for Stat {
    fn from(found: &Statx) -> Stat {
        let has_birth = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        let born = (found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
        Stat {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            ino: found.stx_ino,
            mode: found.stx_mode.into(),
            links: found.stx_nlink,
            uid: found.stx_uid,
            gid: found.stx_gid,
            rdev: makedev(found.stx_rdev_major, found.stx_rdev_minor),
            size: found.stx_size,
            block_size: found.stx_blksize,
            blocks: found.stx_blocks,
            accessed: (found.stx_atime.tv_sec, found.stx_atime.tv_nsec),
            modified: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
            born: if has_birth { born } else { (0, 0) },
        }
    }
}
