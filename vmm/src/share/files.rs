//! Files' content, and the files that are open for it.
//!
//! Input: nodes. Output: bytes of their files. Not here: writing, which is `change`'s, by descriptors of
//! here.
//!
//! A guest opens nothing. Files stay open here from one piece to the next, and those that the guest has
//! removed until it forgets them; both are bounded.

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::folder::reopen;
use super::server::ShareServer;

/// Files that stay open from one read or write to the next.
const OPEN_FILES: usize = 16;
/// Most files that live on for a guest that has removed them.
const MAX_ORPHANS: usize = 256;

impl ShareServer {
    /// A file that is open for reading, or for writing as well; it stays so for the next time.
    pub(super) fn opened(&mut self, id: u64, writable: bool) -> Result<&OwnedFd, Errno> {
        if let Some(at) = self
            .open
            .iter()
            .position(|(known, writes, _)| *known == id && *writes == writable)
        {
            // Most files are read once or from front to back: the last one is the one.
            if at + 1 != self.open.len()
                && let Some(file) = self.open.remove(at)
            {
                self.open.push_back(file);
            }
        } else {
            let (path, stat) = self.find(id)?;
            let node = self.nodes.get(id)?;
            let folder = &self.folders[node.folder];
            let flags = match writable {
                true => {
                    folder.check_writable()?;
                    OFlags::WRONLY
                }
                false => {
                    folder.check_public(&stat, 0o004)?;
                    OFlags::RDONLY
                }
            };
            let file = reopen(&path, &stat, flags)?;
            if self.open.len() == OPEN_FILES {
                self.open.pop_front();
            }
            self.open.push_back((id, writable, file));
        }
        self.open.back().map(|(_, _, file)| file).ok_or(Errno::IO)
    }

    /// Lets go of a node's open files.
    pub(super) fn close(&mut self, id: u64) {
        self.open.retain(|(known, _, _)| *known != id);
    }

    /// Keeps a file for the guest, which is about to remove its name.
    pub(super) fn keep(&mut self, parent: u64, name: &[u8]) {
        let Some(id) = self.nodes.named(parent, name) else {
            return;
        };
        if self.orphans.len() >= MAX_ORPHANS || self.orphans.contains_key(&id) {
            return;
        }
        let kept = self.find(id).and_then(|(path, stat)| {
            reopen(&path, &stat, OFlags::RDWR).or_else(|_| reopen(&path, &stat, OFlags::RDONLY))
        });
        if let Ok(file) = kept {
            self.orphans.insert(id, file);
        }
    }

    /// Lets go of a file that was kept, since its name is still there.
    pub(super) fn let_go(&mut self, parent: u64, name: &[u8]) {
        if let Some(id) = self.nodes.named(parent, name) {
            self.orphans.remove(&id);
        }
    }

    /// Reads at most so many bytes.
    pub(super) fn read(
        &mut self,
        id: u64,
        offset: u64,
        size: usize,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let file = self.opened(id, false)?;
        let start = out.len();
        let end = start + size.min(room);
        out.resize(end, 0);
        let mut filled = start;
        while filled < end {
            let at = offset.saturating_add((filled - start) as u64);
            match rustix::io::pread(file, &mut out[filled..], at) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        out.truncate(filled);
        Ok(())
    }
}
