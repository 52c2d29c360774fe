//! [`ShareServer`]: requests of one guest, answered.
//!
//! Input: requests. Output: answers. Here are those that look; `files` has files' content, `listing`
//! that of folders, and `change` what changes something.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;

use provium_devices::StateError;
use provium_devices::virtio::fs::FileServer;
use provium_devices::virtio::saved::FsState;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::folder::{Folder, SharedFolder, Shown, is_kernels_own};
use super::nodes::{Kind, Nodes};
use super::stat::Stat;
use super::wire::{Args, Attr, Header, INIT_FLAGS, MAJOR, MAX_DATA, MINOR, OUT_HEADER, Put, ROOT, Valid, op};

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// The answer is there.
    Yes,
    /// The request is one that nobody answers.
    Never,
}

/// The server of one guest's shared folders.
#[derive(Debug, Default)]
pub struct ShareServer {
    pub(super) folders: Vec<Folder>,
    pub(super) nodes: Nodes,
    /// Files by their nodes and by whether they can be written; used last, last.
    pub(super) open: VecDeque<(u64, bool, OwnedFd)>,
    /// Files that the guest has removed and still has open.
    pub(super) orphans: HashMap<u64, OwnedFd>,
}

/// A folder that cannot be shared.
#[derive(Debug, thiserror::Error)]
#[error("cannot share {}: {source}", path.display())]
pub struct ShareError {
    /// The folder.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

/// A folder that something is looked for in, or done in.
pub(super) struct Place {
    /// The node.
    pub(super) id: u64,
    /// The number of the shared folder.
    pub(super) folder: usize,
    /// The path from the shared folder on.
    path: Vec<u8>,
    /// A descriptor of its path.
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
}

impl ShareServer {
    /// A server of these folders, in the order of their numbers.
    ///
    /// # Errors
    /// The first that cannot be opened, and why.
    pub fn new(folders: &[SharedFolder]) -> Result<ShareServer, ShareError> {
        let open = |spec: &SharedFolder| {
            Folder::open(spec.clone()).map_err(|source| ShareError {
                path: spec.path.clone(),
                source,
            })
        };
        Ok(ShareServer {
            folders: folders.iter().map(open).collect::<Result<_, _>>()?,
            ..ShareServer::default()
        })
    }

    /// Whether there is nothing to serve.
    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    fn serve(
        &mut self,
        header: Header,
        mut args: Args<'_>,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Result<Answered, Errno> {
        let node = header.node;
        match header.opcode {
            op::LOOKUP => self.lookup(node, args.name()?, out)?,
            op::FORGET => {
                let times = args.u64()?;
                self.forget(node, times);
                return Ok(Answered::Never);
            }
            op::BATCH_FORGET => {
                let count = args.u32()?;
                args.skip(4)?;
                for _ in 0..count {
                    let (node, times) = (args.u64()?, args.u64()?);
                    self.forget(node, times);
                }
                return Ok(Answered::Never);
            }
            op::INTERRUPT => return Ok(Answered::Never),
            op::GETATTR => self.attr(node)?.put_attr_out(out),
            op::READLINK => {
                let (fd, _) = self.find(node)?;
                let target = rustix::fs::readlinkat(&fd, c"", Vec::new())?;
                out.extend_from_slice(target.as_bytes());
            }
            op::READ => {
                args.skip(8)?;
                let (offset, size) = (args.u64()?, args.u32()?);
                self.read(node, offset, size.min(MAX_DATA) as usize, room, out)?;
            }
            op::READDIR | op::READDIRPLUS => {
                args.skip(8)?;
                let (offset, size) = (args.u64()?, args.u32()?);
                let room = room.min(size.min(MAX_DATA) as usize);
                self.list(node, offset, header.opcode == op::READDIRPLUS, room, out)?;
            }
            op::STATFS => self.statfs(node, out)?,
            op::INIT => self.init(args, out)?,
            op::DESTROY => self.reset(),
            _ => self.change(header, args, out)?,
        }
        Ok(Answered::Yes)
    }

    fn init(&mut self, mut args: Args<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
        let (major, minor) = (args.u32()?, args.u32()?);
        if major < MAJOR || (major == MAJOR && minor < MINOR) {
            return Err(Errno::PROTO);
        }
        self.reset();
        let (readahead, flags) = (args.u32()?, args.u32()?);
        out.put32(MAJOR);
        out.put32(MINOR);
        if major > MAJOR {
            // It asks again, for this one.
            out.resize(out.len() + 56, 0);
            return Ok(());
        }
        out.put32(readahead.min(MAX_DATA));
        out.put32(flags & INIT_FLAGS);
        // max_background and congestion_threshold
        out.put32(64 | 48 << 16);
        out.put32(MAX_DATA);
        // Time stamps are of nanoseconds.
        out.put32(1);
        out.resize(out.len() + 36, 0);
        Ok(())
    }

    fn forget(&mut self, node: u64, times: u64) {
        if self.nodes.forget(node, times) {
            self.orphans.remove(&node);
            self.close(node);
        }
    }

    /// A folder to look for something in.
    pub(super) fn place(&self, id: u64) -> Result<Place, Errno> {
        let node = self.nodes.get(id)?;
        match node.kind {
            Kind::Folder => {}
            Kind::Closed => return Err(Errno::NOENT),
            Kind::File(_) => return Err(Errno::NOTDIR),
        }
        let (fd, stat) = self.find(id)?;
        self.folders[node.folder].check_public(&stat, 0o001)?;
        Ok(Place {
            id,
            folder: node.folder,
            path: self.nodes.path(id)?,
            fd,
            stat,
        })
    }

    /// What `name` in a folder is, and what is said of it.
    pub(super) fn child(&self, place: &Place, name: &[u8]) -> Result<(Kind, Stat), Errno> {
        let folder = &self.folders[place.folder];
        let mut path = place.path.clone();
        match &path[..] {
            b"." => path.clear(),
            _ => path.push(b'/'),
        }
        path.extend_from_slice(name);
        let shown = folder.shows(&path);
        if shown == Shown::Not {
            return Err(Errno::NOENT);
        }
        let stat = Stat::at(&place.fd, name)?;
        if !stat.is_folder() {
            return Ok((Kind::File(stat.identity()), stat));
        }
        // Where another file system begins, it may be one that is nobody's.
        let closed = shown == Shown::Closed
            || stat.device != place.stat.device && is_kernels_own(folder.at(&path, OFlags::PATH)?)?;
        Ok((if closed { Kind::Closed } else { Kind::Folder }, stat))
    }

    fn lookup(&mut self, parent: u64, name: &[u8], out: &mut Vec<u8>) -> Result<(), Errno> {
        if parent == ROOT {
            let index = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            let index: usize = index.ok_or(Errno::NOENT)?;
            let folder = self.folders.get(index).ok_or(Errno::NOENT)?;
            if name != index.to_string().as_bytes() {
                return Err(Errno::NOENT);
            }
            let stat = Stat::of(folder.at(b".", OFlags::PATH)?)?;
            return self.told(ROOT, name, index, (Kind::Folder, stat), out);
        }
        let place = self.place(parent)?;
        match self.child(&place, name) {
            Ok(found) => self.told(parent, name, place.folder, found, out),
            Err(Errno::NOENT) if self.folders[place.folder].spec.public => {
                // So long, too, nobody need ask for what is not there.
                let valid = self.folders[place.folder].valid(&place.stat);
                let nothing = Attr {
                    ino: 0,
                    stat: place.stat,
                    valid,
                };
                nothing.put_entry_out(0, out);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Tells the guest of what was found under a name.
    pub(super) fn told(
        &mut self,
        parent: u64,
        name: &[u8],
        folder: usize,
        (kind, stat): (Kind, Stat),
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let id = self.nodes.found(parent, name, folder, kind)?;
        self.attr_of(folder, stat).put_entry_out(id, out);
        Ok(())
    }

    /// The same for something that was just made.
    pub(super) fn told_of_new(&mut self, place: &Place, name: &[u8], out: &mut Vec<u8>) -> Result<(), Errno> {
        let found = self.child(place, name)?;
        self.told(place.id, name, place.folder, found, out)
    }

    pub(super) fn attr_of(&self, folder: usize, stat: Stat) -> Attr {
        let folder = &self.folders[folder];
        Attr {
            ino: folder.ino(&stat),
            valid: folder.valid(&stat),
            stat,
        }
    }

    pub(super) fn attr(&self, id: u64) -> Result<Attr, Errno> {
        if id == ROOT {
            let mut stat = Stat::at(rustix::fs::CWD, b"/")?;
            stat.mode = 0o040_555;
            stat.links = 2;
            return Ok(Attr {
                ino: ROOT,
                stat,
                valid: Valid::default(),
            });
        }
        let folder = self.nodes.get(id)?.folder;
        let (_, stat) = self.find(id)?;
        Ok(self.attr_of(folder, stat))
    }

    /// A descriptor of a node's path, and what is said of it, if the node is still what it was.
    ///
    /// # Errors
    /// ESTALE when it is not.
    pub(super) fn find(&self, id: u64) -> Result<(OwnedFd, Stat), Errno> {
        if let Some(orphan) = self.orphans.get(&id) {
            let fd = rustix::io::fcntl_dupfd_cloexec(orphan, 0)?;
            let stat = Stat::of(&fd)?;
            return Ok((fd, stat));
        }
        let node = self.nodes.get(id)?;
        let path = self.nodes.path(id)?;
        let fd = self.folders[node.folder]
            .at(&path, OFlags::PATH)
            .map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Errno::STALE,
                error => error,
            })?;
        let stat = Stat::of(&fd)?;
        let is_folder = stat.is_folder();
        let same = match node.kind {
            Kind::Folder | Kind::Closed => is_folder,
            Kind::File(identity) => !is_folder && stat.identity() == identity,
        };
        if same { Ok((fd, stat)) } else { Err(Errno::STALE) }
    }

    fn statfs(&self, id: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        let found = match id {
            ROOT => rustix::fs::statvfs(c"/")?,
            id => rustix::fs::fstatvfs(&self.find(id)?.0)?,
        };
        let numbers = [
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
        ];
        numbers.into_iter().for_each(|number| out.put64(number));
        out.put32(found.f_bsize as u32);
        out.put32(255);
        out.put32(found.f_frsize as u32);
        out.resize(out.len() + 28, 0);
        Ok(())
    }
}

impl FileServer for ShareServer {
    fn answer(&mut self, request: &[u8], room: usize, reply: &mut Vec<u8>) {
        reply.clear();
        let Some((header, args)) = Header::parse(request) else {
            return;
        };
        reply.resize(OUT_HEADER, 0);
        let for_body = room.saturating_sub(OUT_HEADER);
        let error = match self.serve(header, args, for_body, reply) {
            Ok(Answered::Never) => return reply.clear(),
            Ok(Answered::Yes) if reply.len() <= room => 0,
            Ok(Answered::Yes) => Errno::RANGE.raw_os_error(),
            Err(error) => error.raw_os_error(),
        };
        if error != 0 {
            reply.truncate(OUT_HEADER);
        }
        let len = reply.len() as u32;
        reply[..4].copy_from_slice(&len.to_le_bytes());
        reply[4..8].copy_from_slice(&(-error).to_le_bytes());
        reply[8..16].copy_from_slice(&header.unique.to_le_bytes());
    }

    fn reset(&mut self) {
        self.nodes = Nodes::default();
        self.open.clear();
        self.orphans.clear();
    }

    fn save(&self) -> FsState {
        let (nodes, next_node) = self.nodes.save();
        FsState {
            folders: self.folders.iter().map(Folder::save).collect(),
            next_node,
            nodes,
        }
    }

    fn restore(&mut self, state: &FsState) -> Result<(), StateError> {
        let nodes = Nodes::restore(&state.nodes, state.next_node, state.folders.len())?;
        let same = self
            .folders
            .iter()
            .map(Folder::save)
            .eq(state.folders.iter().cloned());
        if !same {
            self.folders = state.folders.iter().map(Folder::restore).collect();
        }
        self.open.clear();
        self.orphans.clear();
        self.nodes = nodes;
        Ok(())
    }
}
