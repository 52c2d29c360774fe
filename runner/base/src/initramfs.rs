//! Initramfs archives, in the format that the kernel unpacks at boot (cpio, "newc").
//!
//! Input: files with absolute paths in the guest. Output: an archive that can follow another one directly;
//! the kernel unpacks them in order, so that later files win. Not here: compression (plain archives are
//! unpacked fastest), and reading archives.

use std::collections::BTreeSet;
use std::io;

use cpio::newc::{self, Builder, ModeFileType};

/// A file for the guest.
#[derive(Debug, Clone, Copy)]
pub struct InitramfsFile<'a> {
    /// Absolute path in the guest.
    pub path: &'a str,
    /// Permission bits.
    pub mode: u32,
    /// Content, any bytes.
    pub content: &'a [u8],
}

/// A symbolic link for the guest.
#[derive(Debug, Clone, Copy)]
pub struct InitramfsLink<'a> {
    /// Absolute path in the guest.
    pub path: &'a str,
    /// What the link says.
    pub target: &'a str,
}

/// Why files cannot be put into an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The path does not name a file of the guest.
    #[error("`{0}` is not an absolute path of a file, free of `..` and NUL")]
    Path(String),
    /// The archive's format cannot hold more in one file.
    #[error("`{0}` is larger than 4 GiB, the most an initramfs can hold in one file")]
    TooLarge(String),
    /// More than permission bits.
    #[error("mode {mode:#o} of `{path}` has more than permission bits (0 to 0o7777)")]
    Mode {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// Writing into memory failed.
    #[error("building the initramfs: {0}")]
    Io(#[from] io::Error),
}

/// An archive of these files with their parent folders. It can follow another archive directly.
///
/// # Errors
/// [`ArchiveError`] that names the file whose path, mode or size is not possible.
pub fn archive(files: &[InitramfsFile<'_>]) -> Result<Vec<u8>, ArchiveError> {
    write(files, true, true)
}

/// The same with symbolic links besides.
///
/// # Errors
/// As [`archive`].
pub fn archive_with_links(
    files: &[InitramfsFile<'_>],
    links: &[InitramfsLink<'_>],
) -> Result<Vec<u8>, ArchiveError> {
    let mut writer = ArchiveWriter::new(files, links.len());
    writer.files(files, true, true)?;
    for link in links {
        let name = relative(link.path).ok_or_else(|| ArchiveError::Path(link.path.to_owned()))?;
        writer.parents(&name)?;
        writer.entry(&name, 0o777, ModeFileType::Symlink, link.target.as_bytes())?;
    }
    writer.finish()
}

/// An archive of the folders that these files are in.
///
/// # Errors
/// As [`archive`].
pub fn folders(files: &[InitramfsFile<'_>]) -> Result<Vec<u8>, ArchiveError> {
    write(files, true, false)
}

/// An archive of these files, whose folders are there already.
///
/// # Errors
/// As [`archive`].
pub fn files(files: &[InitramfsFile<'_>]) -> Result<Vec<u8>, ArchiveError> {
    write(files, false, true)
}

fn write(files: &[InitramfsFile<'_>], parents: bool, contents: bool) -> Result<Vec<u8>, ArchiveError> {
    let mut writer = ArchiveWriter::new(files, 0);
    writer.files(files, parents, contents)?;
    writer.finish()
}

struct ArchiveWriter {
    out: Vec<u8>,
    next_inode: u32,
    folders: BTreeSet<String>,
}

impl ArchiveWriter {
    /// A writer with room for these files and so many links.
    fn new(files: &[InitramfsFile<'_>], links: usize) -> ArchiveWriter {
        let size: usize = files.iter().map(|file| file.content.len() + 512).sum();
        ArchiveWriter {
            out: Vec::with_capacity(size + (links + 1) * 512),
            next_inode: 1,
            folders: BTreeSet::new(),
        }
    }

    fn files(
        &mut self,
        files: &[InitramfsFile<'_>],
        parents: bool,
        contents: bool,
    ) -> Result<(), ArchiveError> {
        for file in files {
            let name = self.name(file)?;
            if parents {
                self.parents(&name)?;
            }
            if contents {
                self.entry(&name, file.mode, ModeFileType::Regular, file.content)?;
            }
        }
        Ok(())
    }

    /// The name of a file that can be in an archive.
    fn name(&self, file: &InitramfsFile<'_>) -> Result<String, ArchiveError> {
        let name = relative(file.path).ok_or_else(|| ArchiveError::Path(file.path.to_owned()))?;
        if file.mode > 0o7777 {
            return Err(ArchiveError::Mode {
                path: file.path.to_owned(),
                mode: file.mode,
            });
        }
        Ok(name)
    }

    fn parents(&mut self, name: &str) -> Result<(), ArchiveError> {
        for (end, _) in name.match_indices('/') {
            let folder = &name[..end];
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, 0o755, ModeFileType::Directory, &[])?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        kind: ModeFileType,
        content: &[u8],
    ) -> Result<(), ArchiveError> {
        let size = u32::try_from(content.len()).map_err(|_| ArchiveError::TooLarge(format!("/{name}")))?;
        let entry = Builder::new(name)
            .ino(self.next_inode)
            .mode(mode)
            .set_mode_file_type(kind);
        self.next_inode += 1;
        let mut writer = entry.write(&mut self.out, size);
        io::Write::write_all(&mut writer, content)?;
        writer.finish()?;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, ArchiveError> {
        newc::trailer(&mut self.out)?;
        // The kernel looks for the next archive at a multiple of four.
        self.out.resize(self.out.len().next_multiple_of(4), 0);
        Ok(self.out)
    }
}

/// The path below `/`, without empty and `.` components.
fn relative(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return None;
    }
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    (!parts.is_empty() && !parts.contains(&"..") && !path.ends_with("/.")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Name, mode and content of each entry.
    fn entries(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            let mut reader = newc::Reader::new(archive).expect("an entry");
            if reader.entry().is_trailer() {
                return entries;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut content = Vec::new();
            reader.read_to_end(&mut content).expect("content");
            entries.push((name, mode, content));
            archive = reader.finish().expect("padding");
        }
    }

    #[test]
    fn parents_are_made_once_and_content_is_binary() {
        let files = [
            InitramfsFile {
                path: "/etc/app/one",
                mode: 0o600,
                content: &[0, 255, 10],
            },
            InitramfsFile {
                path: "/etc/./app//two",
                mode: 0o4755,
                content: b"",
            },
        ];
        let archive = archive(&files).expect("an archive");
        assert_eq!(archive.len() % 4, 0);
        let expected = [
            ("etc", 0o40755, vec![]),
            ("etc/app", 0o40755, vec![]),
            ("etc/app/one", 0o100600, vec![0, 255, 10]),
            ("etc/app/two", 0o104755, vec![]),
        ];
        assert_eq!(
            entries(&archive),
            expected.map(|(name, mode, content)| (name.to_owned(), mode, content))
        );
    }

    #[test]
    fn links_say_where_they_lead() {
        let file = InitramfsFile {
            path: "/bin/busybox",
            mode: 0o755,
            content: b"x",
        };
        let link = InitramfsLink {
            path: "/bin/sh",
            target: "busybox",
        };
        let archive = archive_with_links(&[file], &[link]).expect("an archive");
        let last = entries(&archive).pop().expect("an entry");
        assert_eq!(last, ("bin/sh".to_owned(), 0o120777, b"busybox".to_vec()));
    }

    #[test]
    fn folders_and_files_come_apart() {
        let files = [InitramfsFile {
            path: "/bin/tools/one",
            mode: 0o755,
            content: b"x",
        }];
        let names = |archive: Vec<u8>| {
            entries(&archive)
                .into_iter()
                .map(|entry| entry.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(folders(&files).expect("an archive")), ["bin", "bin/tools"]);
        assert_eq!(
            names(super::files(&files).expect("an archive")),
            ["bin/tools/one"]
        );
    }

    #[test]
    fn impossible_files_are_named() {
        for path in ["", "/", "relative", "/a/", "/a/../b", "/a\0b", "/.", "/a/."] {
            let file = InitramfsFile {
                path,
                mode: 0o644,
                content: b"",
            };
            let error = archive(&[file]).expect_err(path).to_string();
            assert!(error.contains(&format!("`{path}`")), "{error}");
        }
        let file = InitramfsFile {
            path: "/a",
            mode: 0o10000,
            content: b"",
        };
        assert!(
            archive(&[file])
                .expect_err("a mode")
                .to_string()
                .contains("0o10000")
        );
    }
}
