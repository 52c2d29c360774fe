//! Files and folders of the guest: how to open one, where to seek, what is known of it.
//!
//! Input: paths as bytes, flags, permission bits.
//! Output: metadata and directory entries.
//! Not here: content, which travels as `Data` frames.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A file to open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenFile {
    /// Path in the guest.
    pub path: ByteBuf,
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Create the file if it does not exist.
    pub create: bool,
    /// Truncate the file to no bytes.
    pub truncate: bool,
    /// Open for writing, each write at the file's end.
    pub append: bool,
    /// With `create`: fail if the file exists.
    pub exclusive: bool,
    /// Permission bits of a new file (0o644 when absent), whatever the agent's umask.
    pub perm: Option<u32>,
}

/// Origin of a seek.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whence {
    /// The file's first byte.
    Set,
    /// The descriptor's position.
    Current,
    /// The file's end.
    End,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirEntry {
    /// File name, any bytes.
    pub name: ByteBuf,
    /// Type of the file; a symbolic link is not followed.
    pub entry_type: EntryType,
}

/// A file's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// Size in bytes.
    pub size: u64,
    /// Time of the last access, in nanoseconds since 1970.
    pub atime_ns: i64,
    /// Time of the last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of the metadata, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Type and permission bits, `st_mode`.
    pub mode: u32,
    /// Id of the owner.
    pub uid: u32,
    /// Id of the group.
    pub gid: u32,
    /// Number of hard links.
    pub nlink: u64,
    /// Inode number.
    pub ino: u64,
    /// Type of the file.
    pub entry_type: EntryType,
    /// Target of a symbolic link; absent for anything else.
    pub target: Option<ByteBuf>,
}

/// Type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// Any other type.
    Other,
}
