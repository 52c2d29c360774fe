//! Files that a guest finds in its file system when it starts.
//!
//! Input: paths in the guest with content or files of the host. Output: archives for the kernel to unpack.
//! Parents come before the user's initrd, so that a folder or a link it has under that name wins; the files
//! come behind it, so that they win. A guest whose root is a disk finds them below a folder of the agent's,
//! which copies them. Files of the host are read at each boot. Not here: folders, links and devices; and the
//! Lua table that they are written in.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::agent_archive::{self, InitramfsFile};

/// Permissions where nothing else is said.
const MODE: u32 = 0o644;
/// Folder in which the agent looks for files that belong below another root.
const BELOW_ROOTFS: &str = "/.provium/files";

/// A file for the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InjectedFile {
    /// Path of the file in the guest.
    pub(crate) path: String,
    /// Permissions of the file; those of the host's file, or 0644, when absent.
    pub(crate) mode: Option<u32>,
    /// Content of the file.
    pub(crate) content: Content,
}

/// The content of a file for the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Content {
    /// Bytes that the option has itself.
    Bytes(ByteBuf),
    /// A file of the host, which is read when the guest boots.
    Host(PathBuf),
}

/// The archives before and behind the user's initrd.
#[derive(Debug, Default)]
pub(crate) struct Archives {
    /// Folders, which come before the initrd.
    pub(crate) early: Vec<u8>,
    /// Files, which come behind it.
    pub(crate) late: Vec<u8>,
}

impl InjectedFile {
    /// Refuses a path or a mode that no archive can hold, and a file that the host does not have.
    pub(crate) fn check(&self) -> Result<(), String> {
        let probe = InitramfsFile {
            path: &self.path,
            mode: self.mode.unwrap_or(MODE),
            content: &[],
        };
        agent_archive::archive(&[probe]).map_err(|error| error.to_string())?;
        match &self.content {
            Content::Host(path) if !path.is_file() => match path.exists() {
                true => Err(format!("{} is not a file", path.display())),
                false => Err(format!("{}: no such file on the host", path.display())),
            },
            _ => Ok(()),
        }
    }
}

/// The archives that hold the files, for a guest whose root is its initramfs or, with `rootfs`, a disk.
///
/// # Errors
/// The file that cannot be read or is too large.
pub(crate) fn archives(files: &[InjectedFile], rootfs: bool) -> Result<Archives, String> {
    if files.is_empty() {
        return Ok(Archives::default());
    }
    let mut read: Vec<(String, u32, Vec<u8>)> = Vec::with_capacity(files.len());
    for file in files {
        let path = match rootfs {
            true => format!("{BELOW_ROOTFS}{}", file.path),
            false => file.path.clone(),
        };
        let (mode, content) = match &file.content {
            Content::Bytes(bytes) => (MODE, bytes.to_vec()),
            Content::Host(host) => from_host(host).map_err(|error| format!("{}: {error}", host.display()))?,
        };
        read.push((path, file.mode.unwrap_or(mode), content));
    }
    let entries: Vec<_> = read
        .iter()
        .map(|(path, mode, content)| InitramfsFile {
            path,
            mode: *mode,
            content,
        })
        .collect();
    let made = agent_archive::folders(&entries).and_then(|early| {
        Ok(Archives {
            early,
            late: agent_archive::files(&entries)?,
        })
    });
    made.map_err(|error| error.to_string())
}

fn from_host(path: &Path) -> std::io::Result<(u32, Vec<u8>)> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    Ok((mode, std::fs::read(path)?))
}
