//! What is in a folder, a piece at a time.
//!
//! Input: a folder, where the last piece ended. Output: names, on request with what a look at each would say.
//! Not here: looks themselves (`server`).

use std::mem::MaybeUninit;

use rustix::fs::{OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::nodes::Kind;
use super::server::ShareServer;
use super::wire::{ENTRY_OUT, ROOT, dirent_len, put_dirent};

/// Bytes of entries that are read from the host at once.
const BUFFER: usize = 32 << 10;
/// The kind of a folder in a `struct dirent`.
const DT_DIR: u32 = 4;

impl ShareServer {
    /// The entries behind `offset`, as many as there is room for; with `looks`, each with what a look says.
    pub(super) fn list(
        &mut self,
        id: u64,
        offset: u64,
        looks: bool,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let limit = out.len() + room;
        if id == ROOT {
            let names: Vec<String> = (0..self.folders.len()).map(|index| index.to_string()).collect();
            return self.list_names(&names, offset, looks, limit, out);
        }
        if self.nodes.get(id)?.kind == Kind::Closed {
            return Ok(());
        }
        let place = self.place(id)?;
        self.folders[place.folder].check_public(&place.stat, 0o004)?;
        let path = self.nodes.path(id)?;
        let dir = self.folders[place.folder].at(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        rustix::fs::seek(&dir, SeekFrom::Start(offset))?;
        let mut buffer = [const { MaybeUninit::uninit() }; BUFFER];
        let mut entries = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let itself = matches!(name, b"." | b"..");
            let needed = dirent_len(name) + if looks { ENTRY_OUT } else { 0 };
            if out.len() + needed > limit {
                break;
            }
            let found = match itself {
                true => None,
                false => match self.child(&place, name) {
                    Ok(found) => Some(found),
                    // It is not shown, or was removed meanwhile.
                    Err(_) => continue,
                },
            };
            let ino = match &found {
                Some((_, stat)) => self.folders[place.folder].ino(stat),
                None => entry.ino(),
            };
            let kind = match &found {
                Some((_, stat)) => (stat.mode >> 12) & 15,
                None => DT_DIR,
            };
            if looks {
                match found {
                    // Whoever knows too much already is told the name alone.
                    Some(found) if self.told(id, name, place.folder, found, out).is_ok() => {}
                    _ => out.resize(out.len() + ENTRY_OUT, 0),
                }
            }
            put_dirent(out, ino, entry.next_entry_cookie(), kind, name);
        }
        Ok(())
    }

    /// The shared folders' own names.
    fn list_names(
        &mut self,
        names: &[String],
        offset: u64,
        looks: bool,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, name) in names.iter().enumerate().skip(first) {
            let needed = dirent_len(name.as_bytes()) + if looks { ENTRY_OUT } else { 0 };
            if out.len() + needed > limit {
                break;
            }
            if looks {
                out.resize(out.len() + ENTRY_OUT, 0);
            }
            put_dirent(out, index as u64 + 2, index as u64 + 1, DT_DIR, name.as_bytes());
        }
        Ok(())
    }
}
