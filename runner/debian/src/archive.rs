//! A cpio archive (format newc) whose bytes depend on nothing but its content.
//!
//! Input: paths with what is there. Output: one byte string, the same on every machine: entries sorted by
//! path, times zero, owner root, inodes counted from 1. Not here: reading a folder from disk (owners, times
//! and order would come along) and compression (the kernel unpacks plain archives fastest).

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use cpio::newc::{self, ModeFileType};

/// What one path of the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Symlink { target: String },
}

/// An archive being put together; parent folders appear by themselves.
#[derive(Debug, Default)]
pub struct Archive {
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    /// Adds a folder with permission bits `mode`, and its parents with 0755.
    pub fn directory(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.entries.insert(clean(path), Entry::Directory { mode });
    }

    /// Adds a regular file with permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.parents(path);
        self.entries.insert(
            clean(path),
            Entry::File {
                mode,
                content: content.into(),
            },
        );
    }

    /// Adds a symbolic link, unless something has that path already.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entries.entry(clean(path)).or_insert_with(|| Entry::Symlink {
            target: target.to_owned(),
        });
    }

    fn parents(&mut self, path: &str) {
        let path = clean(path);
        for (at, _) in path.match_indices('/') {
            self.entries
                .entry(path[..at].to_owned())
                .or_insert(Entry::Directory { mode: 0o755 });
        }
    }

    /// The archive's bytes.
    ///
    /// # Errors
    /// When a file is too large for the format (4 GiB).
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (inode, (path, entry)) in (1u32..).zip(self.entries) {
            let (kind, mode, content) = match entry {
                Entry::Directory { mode } => (ModeFileType::Directory, mode, Vec::new()),
                Entry::File { mode, content } => (ModeFileType::Regular, mode, content),
                Entry::Symlink { target } => (ModeFileType::Symlink, 0o777, target.into_bytes()),
            };
            let links = if matches!(kind, ModeFileType::Directory) {
                2
            } else {
                1
            };
            let size = u32::try_from(content.len()).with_context(|| format!("{path} is over 4 GiB"))?;
            let header = newc::Builder::new(&path)
                .ino(inode)
                .nlink(links)
                .mtime(0)
                .mode(mode);
            let mut writer = header.set_mode_file_type(kind).write(&mut out, size);
            writer.write_all(&content)?;
            writer.finish()?;
        }
        newc::trailer(&mut out)?;
        ensure!(
            out.len().is_multiple_of(4),
            "the archive's length {} is not a multiple of 4",
            out.len()
        );
        Ok(out)
    }
}

fn clean(path: &str) -> String {
    path.trim_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(order: &[usize]) -> Vec<u8> {
        let mut archive = Archive::default();
        for step in order {
            match step {
                0 => archive.file("/bin/tool", 0o755, *b"payload"),
                1 => archive.symlink("/bin/alias", "tool"),
                _ => archive.directory("/tmp", 0o1777),
            }
        }
        archive.into_bytes().unwrap()
    }

    #[test]
    fn bytes_do_not_depend_on_the_order_of_calls() {
        assert_eq!(sample(&[0, 1, 2]), sample(&[2, 1, 0]));
    }

    #[test]
    fn what_goes_in_is_what_a_reader_finds() {
        let bytes = sample(&[0, 1, 2]);
        let mut rest = bytes.as_slice();
        let mut seen = Vec::new();
        loop {
            let mut reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            assert_eq!((reader.entry().mtime(), reader.entry().uid()), (0, 0));
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
            seen.push((reader.entry().name().to_owned(), reader.entry().mode(), content));
            rest = reader.finish().unwrap();
        }
        assert_eq!(
            seen,
            [
                ("bin".to_owned(), 0o040_755, vec![]),
                ("bin/alias".to_owned(), 0o120_777, b"tool".to_vec()),
                ("bin/tool".to_owned(), 0o100_755, b"payload".to_vec()),
                ("tmp".to_owned(), 0o041_777, vec![]),
            ]
        );
    }

    #[test]
    fn a_link_never_replaces_a_file() {
        let mut archive = Archive::default();
        archive.file("/bin/busybox", 0o755, *b"x");
        archive.symlink("/bin/busybox", "/bin/busybox");
        assert!(matches!(archive.entries["bin/busybox"], Entry::File { .. }));
    }
}
