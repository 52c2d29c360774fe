//! Files that a guest finds in its file system when it starts.
//!
//! Input: [`InjectedFile`]s. Output: archives for the kernel to unpack. They are below a folder of the
//! agent's, which puts them in their places, whatever the root is, and leaves folders and links that lead
//! there as they are. Without the agent, parents come before the user's initrd, so that a folder it has under
//! that name wins, and the files behind it, so that they win. Files of the host are read at each boot. Not
//! here: folders, links and devices.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use provium_base::initramfs::{self, InitramfsFile};
use provium_vmm::host_file;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::error::OptionsError;

/// Permissions where nothing else is said.
const MODE: u32 = 0o644;
/// Where the agent looks for them.
const BELOW_AGENT: &str = "/.provium/files";

/// A file for the guest. The order of the fields is that of their names, in which fixtures hold them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectedFile {
    /// What is in it.
    pub content: FileContent,
    /// Its permissions; those of the host's file, or 0644, when absent.
    pub mode: Option<u32>,
    /// Its path in the guest.
    pub path: String,
}

/// What is in a file for the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileContent {
    /// These bytes.
    Bytes(ByteBuf),
    /// The content of a file of the host.
    Host(PathBuf),
}

/// The archives before and behind the user's initrd.
#[derive(Debug, Default)]
pub(super) struct FileArchives {
    /// Folders.
    pub(super) early: Vec<u8>,
    /// Files.
    pub(super) late: Vec<u8>,
}

impl InjectedFile {
    /// A file of these bytes.
    pub fn of_bytes(path: impl Into<String>, content: impl Into<Vec<u8>>) -> InjectedFile {
        InjectedFile {
            content: FileContent::Bytes(ByteBuf::from(content)),
            mode: None,
            path: path.into(),
        }
    }

    /// A copy of a file of the host.
    pub fn of_host(path: impl Into<String>, host: impl Into<PathBuf>) -> InjectedFile {
        InjectedFile {
            content: FileContent::Host(host.into()),
            mode: None,
            path: path.into(),
        }
    }

    /// Refuses a path or a mode that no archive can hold, and a file that the host does not have.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn check(&self) -> Result<(), OptionsError> {
        initramfs::archive(&[InitramfsFile {
            path: &self.path,
            mode: self.mode.unwrap_or(MODE),
            content: &[],
        }])?;
        match &self.content {
            FileContent::Host(path) if !path.is_file() => Err(match path.exists() {
                true => OptionsError::NotAFile(path.clone()),
                false => OptionsError::NoFile(path.clone()),
            }),
            _ => Ok(()),
        }
    }

    /// Its path in the archive, its permissions and its content.
    fn read(&self, agent: bool) -> Result<(String, u32, Vec<u8>), OptionsError> {
        let path = match agent {
            true => format!("{BELOW_AGENT}{}", self.path),
            false => self.path.clone(),
        };
        let (mode, content) = match &self.content {
            FileContent::Bytes(bytes) => (MODE, bytes.to_vec()),
            FileContent::Host(host) => from_host(host).map_err(|error| OptionsError::File {
                path: host.clone(),
                error,
            })?,
        };
        Ok((path, self.mode.unwrap_or(mode), content))
    }
}

/// The archives that hold the files, for a guest with or without an agent.
///
/// # Errors
/// The file that cannot be read or is too large.
pub(super) fn archives(files: &[InjectedFile], agent: bool) -> Result<FileArchives, OptionsError> {
    if files.is_empty() {
        return Ok(FileArchives::default());
    }
    let read = files.iter().map(|file| file.read(agent));
    let read: Vec<_> = read.collect::<Result<_, _>>()?;
    let entries: Vec<_> = read
        .iter()
        .map(|(path, mode, content)| InitramfsFile {
            path,
            mode: *mode,
            content,
        })
        .collect();
    Ok(match agent {
        true => FileArchives {
            early: Vec::new(),
            late: initramfs::archive(&entries)?,
        },
        false => FileArchives {
            early: initramfs::folders(&entries)?,
            late: initramfs::files(&entries)?,
        },
    })
}

/// Permissions and content of a file of the host.
fn from_host(path: &Path) -> io::Result<(u32, Vec<u8>)> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    Ok((mode, host_file::read(path)?))
}
